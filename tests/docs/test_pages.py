"""Links resolve; the README stays short; every term is the field's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.pages import ROOT, anchors, blocks, links, pages, prose

PAGES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]
GUIDES = [page for page in pages() if not {"results", "CHANGELOG.md", "performance.md"} & {*page.parts}]
"""Pages whose commands all run in a test. Those of results and performance take hours, and data that are elsewhere."""
MOST_WORDS = 25
PRIVATE = (
    "house|room|rooms|told|foretold|asked|rival|rivals|ledger|orchard|secretly|stands|pair row|pair rows|held against|"
    "written vector|honest mask"
)


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target} does not exist"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target} names no heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        waiting += [page.parent / target.partition("#")[0] for target in links(page)]
    assert {page for page in pages() if page not in reached} <= {ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@pytest.mark.parametrize("page", [page for page in PAGES if "tables" not in str(page.id)])
def test_sentences_are_short_and_in_the_field_s_terms(page: Path) -> None:
    for line in prose(page).splitlines():
        if line.startswith(("|", "#", "!", "<!--")):
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`|\$[^$]+\$", "CODE", line))
        words = re.findall(rf"\b(?:{PRIVATE})\b", text)
        assert not words, f"{page.name}: {words} in {line!r}"
        for sentence in re.split(r"(?<=[.!?:;])\s+", re.sub(r"[*_]", "", text)):
            count = sum(any(letter.isalnum() for letter in word) for word in sentence.split())
            assert count <= MOST_WORDS, f"{page.name}: {count} words in {sentence!r}"


@pytest.mark.parametrize("page", PAGES)
def test_lists_begin_after_a_blank_line(page: Path) -> None:
    before = ""
    for line in prose(page).splitlines():
        assert not re.match(r"(- |1\. )", line) or re.match(r"($|- |\d+\. |  )", before), f"{page.name}: {line!r}"
        before = line


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in GUIDES])
def test_every_block_of_a_guide_with_a_command_is_executed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^```(?:python)?\n((?:hardneg |import hardneg).*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    executed = {block.text for block in blocks(page) if block.action == "run"}
    assert not [fence for fence in fences if fence not in executed]
