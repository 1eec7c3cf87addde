"""Checks that hold for every page: nothing is requested, everything is named, texts from data stay text."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

ATTACK = '</script><script>alert(1)</script><img src=x onerror="alert(1)">{{ 7 * 7 }}'
VOID = {"meta", "link", "input", "br", "img"}


class Elements(HTMLParser):
    """The elements of a page: (tag, attributes, tags around it), and its visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        """Attributes of the elements with these tags."""
        return [attributes for tag, attributes, _ in self.found if tag in tags]


def check_page(text: str, *, scripts: int = 1) -> Elements:
    """Check a whole page and return its elements. scripts: number of script elements."""
    assert text.startswith("<!doctype html>")
    page = Elements(text)
    assert page.open == []
    assert len(page.all("script")) == scripts
    for attributes in page.all(*{tag for tag, *_ in page.found}):
        assert not {"src", "onerror", "onclick", "style", "srcdoc", "action"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    ids = Counter(attributes["id"] for attributes in page.all(*{tag for tag, *_ in page.found}) if "id" in attributes)
    assert set(ids.values()) <= {1}, ids.most_common(3)
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    for attributes in page.all("svg"):
        named = (attributes.get("aria-labelledby") or "").split()
        assert attributes.get("aria-hidden") == "true" or (
            attributes["role"] == "img" and set(named) <= ids.keys() and named
        )
    for tag, _, around in page.found:
        assert tag not in ("input", "select") or "label" in around
        assert tag != "table" or "div" in around
    return page
