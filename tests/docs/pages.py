"""Pages of the documentation: their links, and the marked code blocks that a test executes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKER = re.compile(r"^<!-- (run|file): (.+?) -->$")
FENCE = re.compile(r"^```(\w*)$")


@dataclass(frozen=True)
class Block:
    """A code block that follows a marker: `run` executes it, `file` writes it into a file called `name`."""

    action: str
    name: str
    language: str
    text: str
    line: int

    @property
    def commands(self) -> list[list[str]]:
        """Words of each `hardneg` command, comments and line continuations removed."""
        joined = self.text.replace("\\\n", " ")
        return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def pages() -> list[Path]:
    """Return README.md, CONTRIBUTING.md, CHANGELOG.md and every page of docs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the marked blocks of a page, in order."""
    found, marker, lines = [], None, enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
    for number, line in lines:
        if fence := FENCE.match(line):
            text = "".join(f"{inner}\n" for inner in _until_fence(lines))
            if marker is not None:
                found.append(Block(*marker, fence[1], text, number))
            marker = None
        elif match := MARKER.match(line):
            marker = (match[1], match[2])
        elif line:
            marker = None
    return found


def _until_fence(lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _, line in lines:
        if line == "```":
            return
        yield line


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def links(page: Path) -> list[str]:
    """Return the targets of a page's relative links."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]
