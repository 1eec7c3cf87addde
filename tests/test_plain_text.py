"""Text as text: control characters are shown, and no cell is a formula."""

from __future__ import annotations

import pytest

from hardneg.plain_text import escape_cell, escape_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]8;;http://x\x07y", r"\x1b]8;;http://x\x07y"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2069", r"a\u202eb\u2069"),
        ("a\rb\x08c\x7f", r"a\rb\x08c\x7f"),
        ("half \ud800", r"half \ud800"),
        ("käse\t日本語\n👩\u200d💻 ", "käse\t日本語\n👩\u200d💻 "),
    ],
)
def test_controls_are_shown_and_text_stays(text: str, shown: str) -> None:
    assert escape_controls(text) == shown


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1", "'＝1"),
        ("\t=1", r"\t=1"),
        ("\r=1", r"\r=1"),
        ("two\nlines\x1b[2J", r"two\nlines\x1b[2J"),
        ("-5", "-5"),
        ("+49123", "+49123"),
        ("-5.25", "-5.25"),
        ("a=1", "a=1"),
        ("'=1", "'=1"),
        ("", ""),
        ("<b>bold</b> [red]", "<b>bold</b> [red]"),
    ],
)
def test_a_cell_is_no_formula_and_one_line(text: str, cell: str) -> None:
    assert escape_cell(text) == cell
