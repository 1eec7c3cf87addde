"""Text of unknown origin as text: no control character acts on a terminal, and no cell is a formula of a spreadsheet."""

from __future__ import annotations

import re

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that act on a terminal or reorder a line: all controls but tab and line feed, and halves of surrogates."""
FORMULA = re.compile(r"(?![+-]?[0-9]+([.,][0-9]+)?$)[=+\-@\t\r＝＋－＠]")
"""Beginning of a cell that a spreadsheet computes; a plain number such as -5 is none."""


def escape_controls(text: str) -> str:
    """Return the text with control characters shown as Python escapes; ids, titles and replies may contain them."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


def escape_line(text: str) -> str:
    """Return the text as one line: tabs and line feeds are shown as escapes as well."""
    return escape_controls(text).replace("\n", "\\n").replace("\t", "\\t")


def escape_cell(text: str) -> str:
    """Return the text as one line that a spreadsheet shows: an apostrophe precedes what it would compute."""
    line = escape_line(text)
    return f"'{line}" if FORMULA.match(line) else line
