"""Filters of HNLMRec's datasets, with the counts published for them.

Source: github.com/user683/HNLMRec, README. The data are not released, and some counts contradict the filters; `notes`
names the contradictions.
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
        """Mean number of pairs per user."""
        return self.pairs / self.users

    @property
    def per_item(self) -> float:
        """Mean number of pairs per item."""
        return self.pairs / self.items

    @property
    def density(self) -> float:
        """Pairs / (users x items)."""
        return self.pairs / (self.users * self.items)


@dataclass(frozen=True)
class DatasetPreset:
    """Filters of a published dataset.

    sources: reader that the filters are meant for. paper: published counts after the filters. remark: error in the
    publication.
    """

    sources: str
    filters: FilterConfig
    paper: DatasetCounts
    remark: str = ""

    @property
    def notes(self) -> list[str]:
        """Notes on how the counts compare with the published ones."""
        kcore, mean = self.filters.kcore, min(self.paper.per_user, self.paper.per_item)
        impossible = (
            f"The paper states a {kcore}-core, which its counts exclude: their mean is {mean:.2f} pairs, below {kcore}"
            + (" (possible only if they are counts of train pairs)." if mean >= TRAIN_SHARE * kcore else ".")
        )
        return [
            f"Kept: rating {self.filters.min_rating:g} or more, from {self.filters.since} to before {self.filters.until} "
            f"(the paper gives months; its last month is excluded), then {kcore}-core.",
            *([impossible] if mean < kcore else []),
            *([self.remark] if self.remark else []),
            "The paper's data and splits are not released; its counts are a rough guide.",
        ]

    def compare(self, counts: DatasetCounts) -> list[tuple[str, str, str]]:
        """Return rows of (quantity, value, published value)."""
        quantities = [(name, name, ",") for name in vars(counts)]
        quantities += [("pairs per user", "per_user", ".2f"), ("pairs per item", "per_item", ".2f")]
        quantities += [("density", "density", ".2e")]
        return [
            (label, format(getattr(counts, name), spec), format(getattr(self.paper, name), spec))
            for label, name, spec in quantities
        ]


TRAIN_SHARE = 0.8
"""Share of train pairs in the paper's splits."""


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
        "The paper prints a density of 4.1e-7, but its counts give 4.1e-5. It names the dataset Electronics-2023 in one "
        "place and Amazon Fashion in another.",
    ),
}
