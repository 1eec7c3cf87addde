"""Parts of every page: control characters, and contrast in both colour schemes."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from hardneg.report.page import PageSection, ReportPage, render_report
from hardneg.report.svg import STYLES

CSS = (files("hardneg.report") / "templates" / "page.css").read_text(encoding="utf-8")
TEXTS, LINES = ("text", "soft", "accent", "warm", "s3"), tuple(f"s{number}" for number in range(STYLES))


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    digits = colour if len(colour) == 6 else "".join(digit * 2 for digit in colour)
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_and_lines_are_readable(scheme: int) -> None:
    colours = dict(re.findall(r"--([\w]+): #([0-9a-f]+);", re.findall(r":root \{(.*?)\}", CSS, re.S)[scheme]))
    for background in (colours["background"], colours["card"]):
        assert min(contrast(colours[name], background) for name in TEXTS) >= 4.5
        assert min(contrast(colours[name], background) for name in LINES) >= 3
        assert contrast(colours["thin"], background) >= 2.5


def test_control_characters_are_shown_as_escapes() -> None:
    page = ReportPage("a\x1b[31m\u202etitle", "", [], [PageSection("key", "A section", code="one\n\ttwo")])
    text = render_report(page)
    assert text.count(r"a\x1b[31m\u202etitle") == 2
    assert "one\n\ttwo" in text
