"""Several samplers under several seeds on one split; a run that stands is not run again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
from hardneg.errors import HardnegError
from hardneg.judging.suspects import THRESHOLD
from hardneg.pipeline import (
    EVALUATION,
    METRICS,
    RELEASED,
    RUN,
    FusionConfig,
    RunConfig,
    evaluate_released,
    evaluate_run,
    evaluation_stage,
    fuse_stage,
    released_stage,
    text_only_stage,
    train_stage,
)
from hardneg.report.tables import MethodScores
from hardneg.studies import process_pool
from hardneg.training import Watch
from hardneg.types import Progress

Finished = Callable[[int, int, str], None]
"""Called with (runs done, runs in all, the run that ended)."""


class RunFailedError(HardnegError, RuntimeError):
    """Runs of a grid failed; the others stand."""


def slug(name: str) -> str:
    """A name as a folder's name."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")


@dataclass(frozen=True)
class Fusion:
    """The line whose runs are fused (None: text alone), with which encoded texts, and how."""

    of: str | None
    vectors: Path
    config: FusionConfig


@dataclass(frozen=True)
class Row:
    """A line of the table to be: a name, a run (its seed is replaced), and the folders it needs, if any.

    fusion: where nothing is trained and finished runs are fused with text.
    """

    name: str
    config: RunConfig
    negatives: Path | None = None
    fusion: Fusion | None = None
    suspects: Path | None = None
    trees: Path | None = None

    def folder(self, runs: Path, seed: int) -> Path:
        """Where the run of one seed lies."""
        return runs / f"{slug(self.name)}-seed{seed}"

    def fused_from(self, runs: Path, seed: int) -> Path:
        """Where the run lies that is fused, or the run itself where none is."""
        of = None if self.fusion is None else self.fusion.of
        return runs / f"{slug(of or self.name)}-seed{seed}"


@dataclass(frozen=True)
class Job:
    """One run, as it is handed to a worker."""

    split: Path
    row: Row
    seed: int
    runs: Path
    truth: Path | None = None
    metrics: tuple[str, ...] = METRICS
    device: str = "cpu"
    label: str = ""
    released: Path | None = None
    """Suspects whose released mask it is scored under as well: one mask for all rows, whatever threshold a row has."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label or self.folder.name

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return self.row.folder(self.runs, self.seed)

    @property
    def config(self) -> RunConfig:
        """The row's settings under this seed."""
        fit = self.row.config.fit.model_copy(update={"seed": self.seed})
        return self.row.config.model_copy(update={"fit": fit})

    def do(self, progress: Progress) -> None:
        """Train, or fuse what was trained, or take text alone, and evaluate."""
        given = self.row.fusion
        if given is not None and given.of is None:
            text_only_stage(self.split, given.vectors, given.config).run(self.folder)
        elif given is not None:
            fuse_stage(self.row.fused_from(self.runs, self.seed), self.split, given.vectors, given.config).run(
                self.folder
            )
        else:
            train_stage(
                self.split,
                self.config,
                negatives=self.row.negatives,
                suspects=self.row.suspects,
                trees=self.row.trees,
                truth=self.truth,
                device=self.device,
                watch=by_epoch(self.name, self.config.fit.epochs, progress),
            ).run(self.folder)
        evaluate_run(self.folder, self.split, self.metrics)
        if self.released is not None:
            evaluate_released(self.folder, self.split, self.released, self.metrics, threshold=THRESHOLD)

    @property
    def scored(self) -> bool:
        """Does every evaluation of the finished run stand that can be made now?"""
        stage = evaluation_stage(self.folder, self.split, self.metrics)
        return stage.is_finished(self.folder / EVALUATION) and (self.mask is None or self._scored_released)

    @property
    def mask(self) -> Path | None:
        """The suspects behind the released mask, once they are made."""
        made = self.released is not None and artifacts.is_artifact(self.released)
        return self.released if made else None

    @property
    def _scored_released(self) -> bool:
        assert self.mask is not None
        stage = released_stage(self.folder, self.split, self.mask, self.metrics, threshold=THRESHOLD)
        return stage.is_finished(self.folder / RELEASED)


def by_epoch(name: str, epochs: int, progress: Progress) -> Watch:
    """Tell the epoch after every step, so that a worker whose study is gone notices soon."""

    def see(epoch: int, step: int, steps: int, loss: float, best: float) -> None:  # noqa: ARG001
        progress(name, epoch if step == steps else epoch - 1, epochs)

    return see


def run_rows(
    split: Path,
    rows: list[Row],
    seeds: range,
    runs: Path,
    *,
    truth: Path | None = None,
    workers: int = 1,
    finished: Finished | None = None,
) -> list[MethodScores]:
    """Train and evaluate every row under every seed, in this process or in several, and collect the results.

    The first failure is raised, after the other runs have ended; `hardneg study` lists failures and goes on.
    """
    jobs = [Job(split, row, seed, runs, truth) for seed in seeds for row in rows]

    def ended(done: int, total: int, outcome: process_pool.Outcome) -> None:
        if finished is not None:
            finished(done, total, outcome.name)

    outcomes = process_pool.run(jobs, 0 if workers == 1 else workers, ended=ended)
    failed = [f"{outcome.name}: {outcome.reason}" for outcome in outcomes if outcome.reason is not None]
    if failed:
        raise RunFailedError(f"{len(failed)} of {len(jobs)} runs failed; {'; '.join(failed)}")
    return [collect(row, seeds, runs) for row in rows]


def collect(row: Row, seeds: Iterable[int], runs: Path) -> MethodScores:
    """Read the finished runs of a row."""
    folders = [row.folder(runs, seed) for seed in seeds]
    per_user = [read_parquet(folder / EVALUATION / "per_user.parquet") for folder in folders]
    metrics = [name for name in per_user[0].columns if "@" in name]
    costs = [json.loads((folder / "costs.json").read_text(encoding="utf-8")) for folder in folders]
    notes = artifacts.read_manifest(folders[0], RUN)["notes"]
    pairs = notes.get("pairs")
    return MethodScores(
        row.name,
        {name: np.stack([frame[name].to_numpy() for frame in per_user]) for name in metrics},
        np.array([cost["seconds"] for cost in costs]),
        _served_by_part(row, seeds, runs),
        None if not pairs else notes["pairs without a vector"] / pairs,
    )


def _served_by_part(row: Row, seeds: Iterable[int], runs: Path) -> dict[str, float]:
    """Part -> mean like-probability over all epochs and seeds."""
    frame = served(row, seeds, runs)
    if frame.is_empty():
        return {}
    total = (pl.col("like_probability") * pl.col("count")).sum() / pl.col("count").sum()
    means = frame.group_by("part", maintain_order=True).agg(total.alias("rate"))
    return dict(means.iter_rows())


def served(row: Row, seeds: Iterable[int], runs: Path) -> pl.DataFrame:
    """row, seed, epoch, part, like_probability, count; empty where the truth is unknown."""
    return _stacked(row, seeds, runs, "served.parquet")


def curves(row: Row, seeds: Iterable[int], runs: Path) -> pl.DataFrame:
    """row, seed, epoch, split, metric, value."""
    return _stacked(row, seeds, runs, "metrics.parquet")


def _stacked(row: Row, seeds: Iterable[int], runs: Path, file: str) -> pl.DataFrame:
    frames = [
        read_parquet(path).select(pl.lit(row.name).alias("row"), pl.lit(seed).alias("seed"), pl.all())
        for seed in seeds
        if (path := row.folder(runs, seed) / file).is_file()
    ]
    return pl.concat(frames) if frames else pl.DataFrame()
