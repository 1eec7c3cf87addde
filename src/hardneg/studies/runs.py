"""Training runs: rows x seeds on one split. A finished run is not repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from hardneg import artifacts, pipeline
from hardneg.data.dataset import read_parquet
from hardneg.errors import HardnegError
from hardneg.judging.suspects import THRESHOLD
from hardneg.pipeline import (
    EVALUATION,
    METRICS,
    RELEASED,
    RUN,
    FusionConfig,
    PopularityConfig,
    RerankConfig,
    RunConfig,
)
from hardneg.report.tables import MethodScores
from hardneg.stage import Stage
from hardneg.storage import read_json
from hardneg.studies.process_pool import Outcome, run_pool
from hardneg.studies.recipes import slug
from hardneg.studies.row_notes import describe_runs, describe_suspects
from hardneg.training import Watch
from hardneg.types import Progress

SAMPLED = "sampled.parquet"
"""File of a run with the share of false negatives among its sampled negatives, where the truth is known."""
CLOCKS = ("seconds", "peak_memory_mib")
"""Costs of a run that differ between machines and calls."""
RunEnded = Callable[[int, int, str], None]
"""Called with (runs ended, runs in all, name of the last one)."""


class RunFailedError(HardnegError, RuntimeError):
    """Runs of a grid failed; the others are finished."""


@dataclass(frozen=True)
class Row:
    """A line of a table: a name, and the settings of its runs but for the seed.

    folders: the artifacts that runs read, by argument of `train_stage`: negatives, suspects, trees; vectors for a fusion,
    judged for a reranking. untrained: set where nothing is trained; runs of `source_line` are fused with text or reranked,
    or text or popularity is taken alone. trained_line: the line that was trained, where it is another.
    """

    name: str
    config: RunConfig
    folders: Mapping[str, Path] = field(default_factory=dict)
    untrained: FusionConfig | RerankConfig | PopularityConfig | None = None
    source_line: str | None = None
    trained_line: str | None = None

    def folder(self, runs_dir: Path, seed: int) -> Path:
        """Return the folder of the run of one seed."""
        return runs_dir / f"{slug(self.name)}-seed{seed}"

    def trained_folder(self, runs_dir: Path, seed: int) -> Path:
        """Return the folder of the run that was trained, at the start of a fusion or reranking."""
        return replace(self, name=self.trained_line or self.name).folder(runs_dir, seed)


@dataclass(frozen=True)
class RunTask:
    """One run, as it is sent to a worker."""

    split_dir: Path
    row: Row
    seed: int
    runs_dir: Path
    truth: Literal["held-out"] | Path | None = None
    metrics: tuple[str, ...] = METRICS
    device: str = "cpu"
    label: str = ""
    released: Path | None = None
    """Suspects under whose released mask it is scored as well: one mask for all rows, whatever the threshold of a row."""

    @property
    def name(self) -> str:
        """Name for people."""
        return self.label or self.folder.name

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.row.folder(self.runs_dir, self.seed)

    @property
    def source_folder(self) -> Path | None:
        """Folder of the run that is fused or reranked; None for text alone or a trained run."""
        line = self.row.source_line
        return None if line is None else replace(self.row, name=line).folder(self.runs_dir, self.seed)

    @property
    def order(self) -> int:
        """0 for a trained run, 1 for one by fusion or text alone, 2 for a reranked one, which may read one of these."""
        return 0 if self.row.untrained is None else 2 if isinstance(self.row.untrained, RerankConfig) else 1

    @property
    def config(self) -> RunConfig:
        """Settings of the row under this seed."""
        fit = self.row.config.fit.model_copy(update={"seed": self.seed})
        return self.row.config.model_copy(update={"fit": fit})

    @property
    def select(self) -> str:
        """Validation metric that chose the epoch, or the weight of a run that trains nothing."""
        return self.config.fit.select if self.row.untrained is None else self.row.untrained.select

    def run(self, progress: Progress) -> None:
        """Train, fuse or rerank a finished run, or take text alone, and evaluate."""
        self.stage(progress).run(self.folder)
        pipeline.evaluate_run(self.folder, self.split_dir, self.metrics)
        if self.released is not None:
            pipeline.released_stage(self.folder, self.split_dir, self.released, self.metrics, threshold=THRESHOLD).run(
                self.folder / pipeline.RELEASED, replace=True
            )

    def stage(self, progress: Progress | None = None) -> Stage:
        """Return the stage that makes the run, once everything that it reads is finished."""
        row, source = self.row, self.source_folder
        if isinstance(row.untrained, RerankConfig):
            assert source is not None
            return pipeline.rerank_stage(source, self.split_dir, row.folders["judged"], row.untrained)
        if isinstance(row.untrained, PopularityConfig):
            return pipeline.popularity_stage(self.split_dir, row.untrained)
        if row.untrained is not None and source is not None:
            return pipeline.fuse_stage(source, self.split_dir, row.folders["vectors"], row.untrained)
        if row.untrained is not None:
            return pipeline.text_only_stage(self.split_dir, row.folders["vectors"], row.untrained)
        watch = None if progress is None else by_epoch(self.name, self.config.fit.epochs, progress)
        return pipeline.stage_of_run(
            self.split_dir,
            self.config,
            **row.folders,
            truth=self.truth,
            validates=True,
            device=self.device,
            watch=watch,
        )

    def is_finished(self) -> bool:
        """Return True where the run is made and scored. Raises ConfigError where its folder holds another run."""
        inputs = [*self.row.folders.values(), *([] if self.source_folder is None else [self.source_folder])]
        if not self.folder.exists() or not all(map(artifacts.is_artifact, inputs)):
            return False
        stage = self.stage()
        if stage.extends(self.folder):  # training goes on from there
            return False
        return artifacts.is_finished(self.folder, stage.key()) and self.is_scored()

    def is_scored(self) -> bool:
        """Return True where every evaluation of the finished run exists that can be made now."""
        honest = pipeline.evaluation_stage(self.folder, self.split_dir, self.metrics)
        if not honest.is_finished(self.folder / EVALUATION):
            return False
        if (mask := self.available_mask()) is None:
            return True
        released = pipeline.released_stage(self.folder, self.split_dir, mask, self.metrics, threshold=THRESHOLD)
        return released.is_finished(self.folder / RELEASED)

    def available_mask(self) -> Path | None:
        """Return the suspects of the released mask, once they are made."""
        return self.released if self.released is not None and artifacts.is_artifact(self.released) else None


def by_epoch(name: str, epochs: int, progress: Progress) -> Watch:
    """Return a watch that reports the epoch after every step, so that a worker soon notices a pipe that has ended."""

    def report(epoch: int, step: int, steps: int, loss: float, best: float) -> None:  # noqa: ARG001
        progress(name, epoch if step == steps else epoch - 1, epochs)

    return report


def run_rows(
    split_dir: Path,
    rows: list[Row],
    seeds: range,
    runs_dir: Path,
    *,
    truth: Path | None = None,
    workers: int = 1,
    ended: RunEnded | None = None,
) -> list[MethodScores]:
    """Train and evaluate every row under every seed, in this process or in several, and collect the results.

    Raises RunFailedError after all runs have ended; `hardneg study run` lists failures instead.
    """
    tasks = [RunTask(split_dir, row, seed, runs_dir, truth) for seed in seeds for row in rows]

    def report(done: int, total: int, outcome: Outcome) -> None:
        if ended is not None:
            ended(done, total, outcome.name)

    outcomes = run_pool(tasks, 0 if workers == 1 else workers, ended=report)
    failures = [f"{outcome.name}: {outcome.reason}" for outcome in outcomes if outcome.reason is not None]
    if failures:
        raise RunFailedError(f"{len(failures)} of {len(tasks)} runs failed; {'; '.join(failures)}")
    return [collect_scores(row, seeds, runs_dir) for row in rows]


def collect_scores(row: Row, seeds: Iterable[int], runs_dir: Path) -> MethodScores:
    """Read the finished runs of a row."""
    folders, trained = ([find(runs_dir, seed) for seed in seeds] for find in (row.folder, row.trained_folder))
    notes = describe_runs(folders, trained) + describe_suspects(row.folders.get("suspects"), row.config.suspects)
    return scores_of_runs(row.name, folders, notes)


def scores_of_runs(name: str, folders: Sequence[Path], notes: tuple[str, ...] = ()) -> MethodScores:
    """Read finished and evaluated runs of one method, one a seed."""
    per_user = [read_parquet(pipeline.find_evaluation(folder) / "per_user.parquet") for folder in folders]
    metrics = [name for name in per_user[0].columns if "@" in name and all(name in frame for frame in per_user)]
    costs = [read_json(folder / "costs.json") for folder in folders]
    noted = artifacts.read_manifest(folders[0], RUN)["notes"]
    pairs, files = noted.get("pairs"), [folder / SAMPLED for folder in folders]
    sampled = [read_parquet(file) for file in files if file.is_file()]
    like_rate = (pl.col("like_probability") * pl.col("count")).sum() / pl.col("count").sum()
    by_part = pl.concat(sampled).group_by("part", maintain_order=True).agg(like_rate).iter_rows() if sampled else ()
    return MethodScores(
        name,
        {name: np.stack([frame[name].to_numpy() for frame in per_user]) for name in metrics},
        np.array([cost["seconds"] for cost in costs]),
        dict(by_part),
        None if not pairs else noted["pairs without a vector"] / pairs,
        notes,
    )


def read_sampled(row: Row, seeds: Iterable[int], runs_dir: Path) -> pl.DataFrame:
    """Return row, seed, epoch, part, like_probability, count of sampled negatives; empty without ground truth."""
    return _read_stacked(row, seeds, runs_dir, SAMPLED)


def read_curves(row: Row, seeds: Iterable[int], runs_dir: Path) -> pl.DataFrame:
    """Return row, seed, epoch, split, metric, value."""
    return _read_stacked(row, seeds, runs_dir, "metrics.parquet")


def _read_stacked(row: Row, seeds: Iterable[int], runs_dir: Path, file: str) -> pl.DataFrame:
    frames = [
        read_parquet(path).select(pl.lit(row.name).alias("row"), pl.lit(seed).alias("seed"), pl.all())
        for seed in seeds
        if (path := row.folder(runs_dir, seed) / file).is_file()
    ]
    return pl.concat(frames) if frames else pl.DataFrame()


def training_summary(folder: Path, select: str) -> dict[str, Any]:
    """Return the best value of a run on validation pairs, its epochs, and its costs. select: metric of that value."""
    notes = artifacts.read_manifest(folder, RUN)["notes"]
    costs = read_json(folder / "costs.json")
    curves = read_parquet(folder / "metrics.parquet")
    best = curves.filter(pl.col("split") == "valid", pl.col("metric") == select)["value"].max()
    epochs = {"epochs": notes["epochs"], "best_epoch": notes["best epoch"]}
    return {"valid_value": best, **epochs, **{name: costs[name] for name in CLOCKS}}
