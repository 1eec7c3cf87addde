"""What a search found, for people: the best settings with their budget, and the spaces that were searched."""

from __future__ import annotations

from collections.abc import Collection

from hardneg.studies.spec import Choices, Range, Scalar, Space
from hardneg.studies.tuned_settings import Best, Found

HEADERS = ["split", "model", "row", "trials", "failed", "validation", "as given", "settings found"]


def found_cells(
    best: Best, wanted: Collection[tuple[str, str, str]] | None = None
) -> tuple[list[str], list[list[str]], list[str]]:
    """Headers, cells, and one line for every space that was searched."""
    each = {place: found for place, found in best.each.items() if wanted is None or place in wanted}
    cells = [[*place, *_cells(found)] for place, found in each.items()]
    spaces: dict[str, list[str]] = {}
    for (_, _, row), found in each.items():
        rows = spaces.setdefault(space_text(found.space), [])
        if row not in rows:
            rows.append(row)
    return HEADERS, cells, [f"Space of {', '.join(rows)}: {text}." for text, rows in spaces.items()]


def _cells(found: Found) -> list[str]:
    given = "–" if found.default_value is None else f"{found.default_value:.4f}"
    chosen = settings_text(found.settings) + ("" if found.trial else " (as given)")
    return [str(found.trials), str(found.failed), f"{found.metric} {found.value:.4f}", given, chosen]


def settings_text(settings: dict[str, Scalar]) -> str:
    """Settings in one line."""
    said = (
        f"{field} {value:.3g}" if isinstance(value, float) else f"{field} {value}" for field, value in settings.items()
    )
    return ", ".join(said) or "nothing to search"


def space_text(space: Space) -> str:
    """A space in one line."""
    return "; ".join(f"{field} {_entry(entry)}" for field, entry in space.items()) or "nothing to search"


def _entry(entry: Choices | Range) -> str:
    if isinstance(entry, Choices):
        return "one of " + ", ".join(map(str, entry.choices))
    return f"{entry.low:g} to {entry.high:g}" + (", log" if entry.log else "")
