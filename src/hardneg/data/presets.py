"""Filters of HNLMRec's datasets, with the counts published for them, read from presets.yaml.

The data are not released, and some counts contradict the filters; `notes` names the contradictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import yaml
from pydantic import TypeAdapter

from hardneg.data.filters import FilterConfig

DatasetPresetName = Literal["hnlmrec-toys", "hnlmrec-cds", "hnlmrec-yelp", "hnlmrec-electronics"]
TRAIN_SHARE = 0.8
"""Share of train pairs in the paper's splits."""


@dataclass(frozen=True)
class DatasetCounts:
    """Users, items and distinct pairs of a dataset."""

    users: int
    items: int
    pairs: int

    def quantities(self) -> dict[str, str]:
        """Return the counts, the pairs per user and item, and the density: name -> text."""
        texts = {name: f"{count:,}" for name, count in vars(self).items()}
        texts |= {
            "pairs per user": f"{self.pairs / self.users:.2f}",
            "pairs per item": f"{self.pairs / self.items:.2f}",
        }
        return texts | {"density": f"{self.pairs / (self.users * self.items):.2e}"}


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
        kcore, mean = self.filters.kcore, self.paper.pairs / max(self.paper.users, self.paper.items)
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
        values, published = counts.quantities(), self.paper.quantities()
        return [(name, values[name], published[name]) for name in values]


PRESETS = TypeAdapter(dict[DatasetPresetName, DatasetPreset]).validate_python(
    yaml.safe_load((files("hardneg.data") / "presets.yaml").read_text(encoding="utf-8"))
)
