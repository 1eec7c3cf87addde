"""Beside a study's tables: the same runs under DTL-NS's released mask, in a table of its own, marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from hardneg.data.dataset import read_parquet
from hardneg.evaluation.released import WARNING
from hardneg.pipeline import EVALUATION, RELEASED
from hardneg.report import plots, tables

SCHEMA = {
    "row": pl.String,
    "metric": pl.String,
    "seeds": pl.Int64,
    "honest": pl.Float64,
    "released_mask": pl.Float64,
    "lift": pl.Float64,
}


@dataclass(frozen=True)
class Released:
    """frame: row, metric, seeds, the means over seeds under the honest and the released mask, and what the mask adds
    as a share of the honest mean (null where that is 0)."""

    frame: pl.DataFrame

    @classmethod
    def of(cls, runs: Mapping[str, Sequence[Path]], metrics: Sequence[str]) -> Released:
        """Read the runs that stand. runs: line -> folders of its seeds."""
        lines = [_line(line, folders, metric) for line, folders in runs.items() if folders for metric in metrics]
        return cls(pl.DataFrame(lines, schema=SCHEMA))

    @property
    def headers(self) -> list[str]:
        """For people."""
        return ["row", "metric", "honest mask", "RELEASED MASK (not honest)", "the mask alone adds"]

    @property
    def cells(self) -> list[list[str]]:
        """For people."""
        return [
            [row, tables.metric_label(metric), f"{one:.4f}", f"{other:.4f}", "–" if lift is None else f"{lift:+.1%}"]
            for row, metric, _, one, other, lift in self.frame.iter_rows()
        ]

    @property
    def markdown(self) -> str:
        """The warning and the table."""
        return f"\n**{WARNING}.**\n\n{tables.markdown(self.headers, self.cells)}"

    @property
    def svg(self) -> str:
        """Both masks as a picture, by the first metric."""
        figure, ax = plots.tall_figure(self.frame["row"].n_unique())
        plots.plot_two_masks(self.frame, self.frame["metric"][0], ax=ax)
        return plots.as_svg(figure)


def _line(line: str, folders: Sequence[Path], metric: str) -> dict[str, object]:
    honest, released = (_mean(folders, evaluation, metric) for evaluation in (EVALUATION, RELEASED))
    lift = released / honest - 1 if honest else None
    values = {"honest": honest, "released_mask": released, "lift": lift}
    return {"row": line, "metric": metric, "seeds": len(folders), **values}


def _mean(folders: Sequence[Path], evaluation: str, metric: str) -> float:
    name, _, k = metric.partition("@")
    wanted = pl.col("metric") == name, pl.col("k") == int(k)
    values = [
        read_parquet(folder / evaluation / "metrics.parquet").filter(*wanted)["value"].item() for folder in folders
    ]
    return float(sum(values)) / len(values)
