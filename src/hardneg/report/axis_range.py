"""The range of an axis where a few values lie far from the others: they are cut, and drawn as arrows at its end."""

from __future__ import annotations

from collections.abc import Sequence

CUT_NOTE = "arrow: beyond axis"
"""Addition to the label of an axis that does not hold every value."""
HALF = 0.5
"""Share of the range that the other values need at most, for a few to be cut."""
MOST_CUT = 3
"""At most one in so many values is cut."""


def choose_range(spans: Sequence[tuple[float, float]], always: Sequence[float] = ()) -> tuple[float, float]:
    """Return the lowest and the highest value that an axis holds.

    spans: lowest and highest value of each mark. always: values that the axis must hold. The fewest outer spans are left
    out without which the range is at most half as long, and again, until a third of the spans is left out.
    """
    kept, left, count = sorted(spans), len(spans) // MOST_CUT, 1
    full = _range(kept, always)
    while count <= left:
        cuts = (_without_ends(kept, below, count - below) for below in range(count + 1))
        best = min(cuts, key=lambda spans: _length(_range(spans, always)))
        if _length(_range(best, always)) > HALF * _length(_range(kept, always)):
            count += 1
        else:
            kept, left, count = best, left - count, 1
    found = _range(kept, always)
    return found if _length(found) > 0 else full


def _without_ends(spans: list[tuple[float, float]], below: int, above: int) -> list[tuple[float, float]]:
    """Return sorted spans without those that begin lowest and those that end highest."""
    rest = sorted(spans[below:], key=lambda span: span[1])
    return sorted(rest[: len(rest) - above])


def _range(spans: Sequence[tuple[float, float]], always: Sequence[float]) -> tuple[float, float]:
    ends = [*always, *(end for span in spans for end in span)]
    return min(ends), max(ends)


def _length(span: tuple[float, float]) -> float:
    return span[1] - span[0]
