"""The filters of HNLMRec's datasets, and the counts that its release gives for them.

Source: github.com/user683/HNLMRec, README. Its data are not released, and its counts do not all fit its filters; what
does not fit is said beside the counts that were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from hardneg.data.filters import FilterConfig

DatasetPresetName = Literal["hnlmrec-toys", "hnlmrec-cds", "hnlmrec-yelp", "hnlmrec-electronics"]


@dataclass(frozen=True)
class DatasetCounts:
    """Users, items and distinct pairs of a dataset."""

    users: int
    items: int
    pairs: int

    @property
    def per_user(self) -> float:
        """Mean pairs of a user."""
        return self.pairs / self.users

    @property
    def per_item(self) -> float:
        """Mean pairs of an item."""
        return self.pairs / self.items

    @property
    def density(self) -> float:
        """Pairs over all that there could be."""
        return self.pairs / (self.users * self.items)


@dataclass(frozen=True)
class DatasetPreset:
    """Filters, the counts that the paper gives after them, and the kind of source that they are meant for."""

    sources: str
    filters: FilterConfig
    paper: DatasetCounts
    remark: str = ""

    @property
    def notes(self) -> list[str]:
        """What to know before found and published counts are compared."""
        kcore, mean = self.filters.kcore, min(self.paper.per_user, self.paper.per_item)
        impossible = (
            f"The paper states a {kcore}-core, which its counts rule out: their mean is {mean:.2f} pairs, below {kcore}"
            + (" (possible only if they are counts of train pairs)." if mean >= TRAIN_SHARE * kcore else ".")
        )
        return [
            f"Kept: rating {self.filters.min_rating:g} or more, from {self.filters.since} to before {self.filters.until} "
            f"(the paper gives months; its last is read as not included), then {kcore}-core.",
            *([impossible] if mean < kcore else []),
            *([self.remark] if self.remark else []),
            "The paper's data and splits are not released; take its counts as a hint, not as a target.",
        ]

    def beside(self, found: DatasetCounts) -> list[tuple[str, str, str]]:
        """Rows of (what, found, paper)."""
        rows = [(name, f"{getattr(found, name):,}", f"{getattr(self.paper, name):,}") for name in vars(found)]
        rows += [
            (name, f"{getattr(found, field):.2f}", f"{getattr(self.paper, field):.2f}")
            for name, field in (("pairs a user", "per_user"), ("pairs an item", "per_item"))
        ]
        return [*rows, ("density", f"{found.density:.2e}", f"{self.paper.density:.2e}")]


TRAIN_SHARE = 0.8
"""Of the pairs, in the paper's splits."""


def _filters(since: int, until: int, min_rating: float = 4) -> FilterConfig:
    return FilterConfig(min_rating=min_rating, since=date(since, 1, 1), until=date(until, 1, 1), kcore=10)


PRESETS: dict[DatasetPresetName, DatasetPreset] = {
    "hnlmrec-toys": DatasetPreset("amazon", _filters(2015, 2018), DatasetCounts(22_338, 9_023, 200_511)),
    "hnlmrec-cds": DatasetPreset("amazon", _filters(2014, 2016), DatasetCounts(19_385, 8_279, 186_535)),
    "hnlmrec-yelp": DatasetPreset("yelp", _filters(2015, 2018), DatasetCounts(29_832, 16_781, 513_976)),
    "hnlmrec-electronics": DatasetPreset(
        "amazon",
        _filters(2010, 2018, min_rating=3),
        DatasetCounts(97_570, 44_669, 178_259),
        "The paper prints a density of 4.1e-7, which its counts make 4.1e-5, and calls the set Electronics-2023 in one "
        "place, Amazon Fashion in another.",
    ),
}
