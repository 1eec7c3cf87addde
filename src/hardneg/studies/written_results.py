"""Results of a study as its folder has them: index, tables and runs. The splits need not be there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import storage
from hardneg.data.dataset import read_parquet
from hardneg.diagnostics.sampled_negatives import NEAREST_ITEM
from hardneg.report.verdicts import describe_verdict
from hardneg.studies.results import INDEX, RUNS, TABLES
from hardneg.studies.runs import SAMPLED


@dataclass(frozen=True)
class WrittenTable:
    """A comparison as it was written: its entry in the index, the folder of its files, and the metrics of the study."""

    entry: dict[str, Any]
    folder: Path
    metrics: tuple[str, ...]

    @property
    def key(self) -> str:
        """Beginning of the names of its files."""
        return str(self.entry["file"])

    @property
    def title(self) -> str:
        """Its split and model."""
        return f"{self.entry['split']}, {self.entry['model']}"

    @property
    def compared(self) -> bool:
        """True where its baseline has finished runs."""
        return bool(self.entry["compared"])

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The lines of its `tables.comparison_table`."""
        return self.read("")

    @property
    def baseline(self) -> str:
        """Name of the line that the others are compared with."""
        return str(self.frame.filter(pl.col("verdict").is_null())["row"][0])

    @property
    def verdict(self) -> str:
        """A sentence of what is better and worse by the first metric."""
        return describe_verdict(self.frame, self.metrics[0])

    def read(self, suffix: str) -> pl.DataFrame:
        """Return one of its files, by the end of the name."""
        return read_parquet(self.folder / f"{self.key}{suffix}.parquet")


class WrittenStudy:
    """Runs, tables and index of a study, as they were written. folder: that with the tables."""

    def __init__(self, folder: Path) -> None:
        self.index = storage.read_json(folder / TABLES / INDEX)
        self.folder, self.study_dir = folder, folder / self.index["folder"]
        self.runs = read_parquet(folder / RUNS)
        metrics = tuple(self.index["metrics"])
        self.tables = [WrittenTable(entry, folder / TABLES, metrics) for entry in self.index["tables"]]

    @property
    def finished(self) -> pl.DataFrame:
        """Rows of finished runs, one for each metric."""
        return self.runs.filter(pl.col("status") == "done")

    def finished_runs(self, table: WrittenTable) -> pl.DataFrame:
        """Return the finished runs of a table, one row each."""
        own = (pl.col("split") == table.entry["split"]) & (pl.col("model") == table.entry["model"])
        return self.finished.filter(own).unique("folder", maintain_order=True)

    def false_negatives(self, table: WrittenTable) -> pl.DataFrame:
        """Return row, epoch, like_probability of sampled negatives, the mean over parts; empty without ground truth."""
        frames = [
            read_parquet(path).select(pl.lit(run["line"]).alias("row"), "epoch", "part", "like_probability")
            for run in self.finished_runs(table).rows(named=True)
            if (path := self.study_dir / run["folder"] / SAMPLED).is_file()
        ]
        return pl.concat(frames).filter(pl.col("part") != NEAREST_ITEM) if frames else pl.DataFrame()

    def curves(self, table: WrittenTable) -> tuple[pl.DataFrame, str]:
        """Return row, epoch, value, seconds of the runs that were trained, and the metric; see `curve_figures`."""
        runs, frames = self.finished_runs(table), []
        metric = "" if runs.is_empty() else str(runs["valid_metric"][0])
        rate = pl.col("seconds").sum().over("line") / pl.col("epochs").sum().over("line")
        for run in runs.filter(pl.col("valid_metric") == metric).with_columns(rate.alias("rate")).rows(named=True):
            path = self.study_dir / run["folder"] / "metrics.parquet"
            curve = read_parquet(path) if path.is_file() else pl.DataFrame({"weight": []})
            if "weight" in curve.columns or not run["epochs"]:  # nothing was trained
                continue
            valid = curve.filter((pl.col("split") == "valid") & (pl.col("metric") == metric))
            line, seconds = pl.lit(run["line"]).alias("row"), (pl.col("epoch") * run["rate"]).alias("seconds")
            frames.append(valid.select(line, "epoch", "value", seconds))
        return (pl.concat(frames), metric) if frames else (pl.DataFrame(), metric)
