"""Several samplers under several seeds on one split; a run that stands is not run again."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
from hardneg.pipeline import EVALUATION, RUN, RunConfig, evaluate_run, train
from hardneg.report.tables import Measured

Finished = Callable[[int, int, str], None]
"""Called with (runs done, runs in all, the run that ended)."""


@dataclass(frozen=True)
class Row:
    """A line of the table to be: a name, a run (its seed is replaced), and the negatives folder it needs, if any."""

    name: str
    config: RunConfig
    negatives: Path | None = None

    def folder(self, runs: Path, seed: int) -> Path:
        """Where the run of one seed lies."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
        return runs / f"{slug}-seed{seed}"


@dataclass(frozen=True)
class Job:
    """One run, as it is handed to a worker."""

    split: Path
    row: Row
    seed: int
    runs: Path
    truth: Path | None

    def do(self) -> str:
        """Train and evaluate, on one thread; return the run's name."""
        import torch

        torch.set_num_threads(1)
        fit = self.row.config.fit.model_copy(update={"seed": self.seed})
        folder = self.row.folder(self.runs, self.seed)
        config = self.row.config.model_copy(update={"fit": fit})
        train(self.split, folder, config, negatives=self.row.negatives, truth=self.truth)
        evaluate_run(folder, self.split)
        return folder.name


def run_rows(
    split: Path,
    rows: list[Row],
    seeds: range,
    runs: Path,
    *,
    truth: Path | None = None,
    workers: int = 1,
    finished: Finished | None = None,
) -> list[Measured]:
    """Train and evaluate every row under every seed, in this process or in several, and collect the results."""
    jobs = [Job(split, row, seed, runs, truth) for seed in seeds for row in rows]
    for done, name in enumerate(_names(jobs, workers), start=1):
        if finished is not None:
            finished(done, len(jobs), name)
    return [collect(row, seeds, runs) for row in rows]


def _names(jobs: list[Job], workers: int) -> Iterator[str]:
    if workers == 1:
        yield from (job.do() for job in jobs)
        return
    # Fresh processes: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_on_interrupt)
    try:
        yield from (future.result() for future in as_completed([pool.submit(job.do) for job in jobs]))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_on_interrupt() -> None:
    """A worker that meets Ctrl-C ends without a traceback; its checkpoint stays."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def collect(row: Row, seeds: range, runs: Path) -> Measured:
    """Read the finished runs of a row."""
    folders = [row.folder(runs, seed) for seed in seeds]
    per_user = [read_parquet(folder / EVALUATION / "per_user.parquet") for folder in folders]
    metrics = [name for name in per_user[0].columns if "@" in name]
    costs = [json.loads((folder / "costs.json").read_text(encoding="utf-8")) for folder in folders]
    notes = artifacts.manifest_of(folders[0], RUN)["notes"]
    pairs = notes.get("pairs")
    return Measured(
        row.name,
        {name: np.stack([frame[name].to_numpy() for frame in per_user]) for name in metrics},
        np.array([cost["seconds"] for cost in costs]),
        _served_by_part(row, seeds, runs),
        None if not pairs else notes["pairs without a vector"] / pairs,
    )


def _served_by_part(row: Row, seeds: range, runs: Path) -> dict[str, float]:
    """Part -> mean like-probability over all epochs and seeds."""
    frame = served(row, seeds, runs)
    if frame.is_empty():
        return {}
    total = (pl.col("like_probability") * pl.col("count")).sum() / pl.col("count").sum()
    means = frame.group_by("part", maintain_order=True).agg(total.alias("rate"))
    return dict(means.iter_rows())


def served(row: Row, seeds: range, runs: Path) -> pl.DataFrame:
    """row, seed, epoch, part, like_probability, count; empty where the truth is unknown."""
    return _stacked(row, seeds, runs, "served.parquet")


def curves(row: Row, seeds: range, runs: Path) -> pl.DataFrame:
    """row, seed, epoch, split, metric, value."""
    return _stacked(row, seeds, runs, "metrics.parquet")


def _stacked(row: Row, seeds: range, runs: Path, file: str) -> pl.DataFrame:
    frames = [
        read_parquet(path).select(pl.lit(row.name).alias("row"), pl.lit(seed).alias("seed"), pl.all())
        for seed in seeds
        if (path := row.folder(runs, seed) / file).is_file()
    ]
    return pl.concat(frames) if frames else pl.DataFrame()
