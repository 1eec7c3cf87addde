"""The methods of the comparison as contents of a study file and of a search file, which every other command reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardneg.quickstart.budget import BACKBONES, SEEDS
from hardneg.types import WeightPrecision

BASELINE, DNS, MIXGCF = "uniform", "DNS", "MixGCF"
RETRIEVED = "semantic (retrieved)"
SELECT = "ndcg@20"
"""Metric that chooses epochs, settings and the best method on validation pairs, and that is tested on test pairs."""
METRICS = (SELECT, "recall@20")
LEAST_STEPS = 20
"""Least number of steps of an epoch, as far as batches of SMALLEST_BATCH allow."""
SMALLEST_BATCH, LARGEST_BATCH = 128, 2048
OF_ITEMS = {"method": "extractive", "users": False}
"""Profiles without those of users, of which there are many to encode; a user is the mean of the train items."""
SPACE: dict[str, Any] = {
    "fit.learning_rate": {"low": 2e-3, "high": 1e-2, "log": True},
    "fit.l2": {"low": 1e-4, "high": 1e-1, "log": True},
}
CANDIDATES: dict[str, Any] = {"sampler.candidates": {"choices": [4, 8, 16, 32]}}
ALPHA: dict[str, Any] = {"sampler.alpha": {"low": 0.02, "high": 0.5, "log": True}}


@dataclass(frozen=True)
class LanguageModel:
    """The language model that names negatives. store: file of its replies."""

    name: str
    precision: WeightPrecision | None
    store: Path

    @property
    def row(self) -> str:
        """Name of its row."""
        return f"semantic (named by {self.name})"


@dataclass(frozen=True)
class Methods:
    """The methods that the data allow.

    texts: True where items have texts. llm: None without a language model.
    """

    texts: bool
    llm: LanguageModel | None = None

    @property
    def rows(self) -> dict[str, Any]:
        """Rows of the study file: name -> sampler and what it needs."""
        fused: dict[str, Any] = {"fusion": {"profile": "items", "profiles": OF_ITEMS}} if self.texts else {}
        rows: dict[str, Any] = {
            BASELINE: {"sampler": {"kind": "uniform"}},
            DNS: {"sampler": {"kind": "dns", "candidates": 8}, "space": CANDIDATES, **fused},
            MIXGCF: {"sampler": {"kind": "mixgcf", "candidates": 16}, "space": CANDIDATES, **fused},
        }
        if self.texts:
            rows[RETRIEVED] = {"sampler": {"kind": "semantic"}, "negatives": "retrieved", "space": ALPHA}
        if self.llm is not None:
            sampler = {"kind": "semantic", "allow_empty": True}  # a small model may name few items of the catalogue
            rows[self.llm.row] = {"sampler": sampler, "negatives": "named", "space": ALPHA}
        for control, row in self.controls.items():
            negatives = f"{rows[row]['negatives']}, random"
            rows[control] = {"sampler": rows[row]["sampler"], "negatives": negatives, "tuned_as": row}
        return rows

    @property
    def controls(self) -> dict[str, str]:
        """Control -> its row: random vectors in place of text vectors, with the settings found for the row."""
        rows = [RETRIEVED] * self.texts + ([] if self.llm is None else [self.llm.row])
        return {f"{row}, random vectors": row for row in rows}

    @property
    def searched(self) -> dict[str, Any]:
        """Rows whose settings are searched."""
        return {name: row for name, row in self.rows.items() if name not in self.controls}

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """Lines with text and the same lines without."""
        return [(f"{row} + text", row) for row in (DNS, MIXGCF)] if self.texts else []

    def _negatives(self) -> dict[str, Any]:
        negatives: dict[str, Any] = {"retrieved": {"method": "retrieved", "profiles": OF_ITEMS}} if self.texts else {}
        if self.llm is not None:
            named = {"method": "generated", "llm": self.llm.name, "store": str(self.llm.store), "profiles": None}
            negatives["named"] = named | ({} if self.llm.precision is None else {"precision": self.llm.precision})
        return negatives | {f"{name}, random": {"method": "random", "like": name} for name in negatives}

    def grid(self, split_dir: Path, name: str, backbone: str, epochs: int, n_pairs: int) -> dict[str, Any]:
        """Return what the study file and the search file share."""
        return {
            "splits": {name: str(split_dir)},
            "models": {backbone: BACKBONES[backbone].model_dump(include={"kind"})},
            "negatives": self._negatives(),
            "rows": self.rows,
            "fit": {
                "epochs": epochs,
                "batch_size": batch_size(n_pairs),
                "learning_rate": 5e-3,
                "l2": 1e-2,
                "check_every": max(1, min(5, epochs // 10)),
                "select": SELECT,
            },
        }

    def study(self, grid: Mapping[str, Any], tuned: Path | None) -> dict[str, Any]:
        """Return the contents of the study file. tuned: folder of the search."""
        rows = {name: {key: value for key, value in row.items() if key != "space"} for name, row in self.rows.items()}
        values = {**grid, "name": "study", "rows": rows, "seeds": SEEDS, "baseline": BASELINE}
        values |= {"metrics": METRICS, "popularity": True, "comparisons": self.comparisons}
        return values | ({} if tuned is None else {"tuned": str(tuned)})

    def search(self, grid: Mapping[str, Any], trials: int) -> dict[str, Any]:
        """Return the contents of the search file."""
        rows = {
            name: {key: value for key, value in row.items() if key != "fusion"} for name, row in self.searched.items()
        }
        return {**grid, "name": "search", "rows": rows, "trials": trials, "space": SPACE}


def batch_size(n_pairs: int) -> int:
    """Return the largest power of two, within bounds, of which an epoch has LEAST_STEPS steps at least."""
    size = SMALLEST_BATCH
    while size < LARGEST_BATCH and n_pairs >= 2 * size * LEAST_STEPS:
        size *= 2
    return size
