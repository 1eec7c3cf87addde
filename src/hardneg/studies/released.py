"""A separate table of the same runs under DTL-NS's released mask, marked as such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from hardneg.data.dataset import read_parquet
from hardneg.evaluation.released import WARNING
from hardneg.pipeline import EVALUATION, RELEASED
from hardneg.report import plots, printers

HEADERS = ["row", "metric", "train mask", "RELEASED MASK (not valid)", "the mask alone adds"]
SCHEMA = {
    "row": pl.String,
    "metric": pl.String,
    "seeds": pl.Int64,
    "honest": pl.Float64,
    "released_mask": pl.Float64,
    "lift": pl.Float64,
}


@dataclass(frozen=True)
class ReleasedTable:
    """Means under both masks.

    frame: row, metric, seeds, mean over seeds under the train mask (honest) and under the released mask, and the gain by the
    released mask as a share of the former (null where that is 0).
    """

    frame: pl.DataFrame

    @classmethod
    def read(cls, runs: Mapping[str, Sequence[Path]], metrics: Sequence[str]) -> ReleasedTable:
        """Read finished runs. runs: line -> folders of its seeds."""
        lines = [_line(line, folders, metric) for line, folders in runs.items() if folders for metric in metrics]
        return cls(pl.DataFrame(lines, schema=SCHEMA))

    @property
    def headers(self) -> list[str]:
        """Headers of the printed table."""
        return HEADERS

    @property
    def cells(self) -> list[list[str]]:
        """Cells of the printed table."""
        return [
            [
                row,
                printers.metric_label(metric),
                f"{honest:.4f}",
                f"{released:.4f}",
                "–" if lift is None else f"{lift:+.1%}",
            ]
            for row, metric, _, honest, released, lift in self.frame.iter_rows()
        ]

    @property
    def markdown(self) -> str:
        """The warning and the table."""
        return f"\n**{WARNING}.**\n\n{printers.markdown(self.headers, self.cells)}"

    @property
    def svg(self) -> str:
        """Both masks as a picture, by the first metric."""
        figure, (ax,) = plots.new_figure(size=(8.6, 1.3 + 0.27 * self.frame["row"].n_unique()))
        plots.plot_two_masks(self.frame, self.frame["metric"][0], ax=ax)
        return plots.as_svg(figure)


def _line(line: str, folders: Sequence[Path], metric: str) -> dict[str, object]:
    honest, released = (_mean(folders, evaluation, metric) for evaluation in (EVALUATION, RELEASED))
    values = {"honest": honest, "released_mask": released, "lift": released / honest - 1 if honest else None}
    return {"row": line, "metric": metric, "seeds": len(folders), **values}


def _mean(folders: Sequence[Path], evaluation: str, metric: str) -> float:
    name, _, k = metric.partition("@")
    is_metric = pl.col("metric") == name, pl.col("k") == int(k)
    frames = [read_parquet(folder / evaluation / "metrics.parquet") for folder in folders]
    values = [frame.filter(*is_metric)["value"].item() for frame in frames]
    return float(sum(values)) / len(values)
