"""A study: cells x seeds, run once each, whatever fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from hardneg import artifacts, pipeline
from hardneg.config import write_yaml
from hardneg.errors import ConfigError, HardnegError
from hardneg.studies import process_pool
from hardneg.studies.experiment_cells import Cell
from hardneg.studies.load import read_study
from hardneg.studies.runs import Fusion, Job, Row, slug
from hardneg.studies.spec import StudySpec
from hardneg.studies.stages import Stages
from hardneg.types import Progress


@dataclass(frozen=True)
class Run:
    """One cell under one seed. stands: it is trained and scored already."""

    cell: Cell
    job: Job
    stands: bool


@dataclass(frozen=True)
class Study:
    """A study as it was read and laid out."""

    spec: StudySpec
    cells: list[Cell]
    out: Path
    device: str = "cpu"
    only: tuple[str, ...] = ()
    """Splits that the cells are of; empty for all."""

    @classmethod
    def read(cls, path: Path, out: Path | None = None, *, only: Sequence[str] = (), device: str = "cpu") -> Study:
        """Read and check a file; out: the study folder, out/NAME if not given; only: some splits of it."""
        spec, cells = read_study(path, only)
        return cls(spec, cells, out or Path("out") / spec.name, device, tuple(only))

    @cached_property
    def stages(self) -> Stages:
        """The shared folders."""
        return Stages(self.spec, self.cells, self.out, self.device, self.spec.released_mask)

    @property
    def results(self) -> Path:
        """Where tables go: the study folder, or, for a part of the splits, a folder of that part."""
        return self.out / "parts" / "-".join(map(slug, self.only)) if self.only else self.out

    @property
    def metrics(self) -> tuple[str, ...]:
        """Everything a run is scored by."""
        return tuple(dict.fromkeys([*pipeline.METRICS, *self.spec.metrics]))

    def seeds(self, cell: Cell) -> tuple[int, ...]:
        """Those that a cell is run under."""
        return self.spec.seeds[: self.spec.rows[cell.row].seeds]

    def job(self, cell: Cell, seed: int) -> Job:
        """The run of one cell under one seed."""
        split = self.spec.splits[cell.split]
        runs = self.out / "runs" / slug(cell.split) / slug(cell.model)
        negatives = self.stages.negatives(cell.split, cell.negatives)
        suspects = self.stages.suspects(cell.split, cell.suspects)
        trees = self.stages.trees(cell.split, cell.trees)
        row = Row(cell.line, cell.config, negatives, self._fusion(cell), suspects, trees)
        label = f"{cell.name}, seed {seed}"
        released = self.stages.released(cell.split)
        return Job(split.folder, row, seed, runs, split.truth, self.metrics, self.device, label, released)

    def _fusion(self, cell: Cell) -> Fusion | None:
        if cell.fusion is None:
            return None
        vectors = self.stages.vectors(cell.split, cell.fusion.encoder)
        return Fusion(None if cell.alone else cell.trained, vectors, cell.fusion.config(cell.config.fit.select))

    def runs(self) -> list[Run]:
        """Every run, seed after seed, and whether it stands: made from what the file asks, as far as that is known.
        ConfigError where folders hold something else."""
        inputs = _Inputs()
        found, others = [], []
        for seed in self.spec.seeds:
            for cell in (cell for cell in self.cells if seed in self.seeds(cell)):
                job = self.job(cell, seed)
                try:
                    stands = inputs.stands(job)
                except HardnegError as error:
                    others.append(str(error))
                    stands = False
                found.append(Run(cell, job, stands and self.stages.reason(cell) is None))
        if others:
            raise ConfigError(f"{len(others)} run(s) are in the way: {others[0]}")
        return found

    def run(
        self, workers: int = 1, *, ended: process_pool.Ended | None = None, progress: Progress | None = None
    ) -> list[process_pool.Outcome]:
        """Make what is shared, then every run that does not stand; how each of these ended.

        workers: processes; 0 runs everything in this one.
        """
        runs = self.runs()
        self.out.mkdir(parents=True, exist_ok=True)
        write_yaml(self.out / "study.yaml", self.spec, only_given=True)
        self.stages.make(self.cells, progress)
        runs = [replace(run, job=self.job(run.cell, run.job.seed)) for run in runs]  # now that it is known what failed
        blocked = [outcome for run in runs if (outcome := self._blocked(run)) is not None]
        jobs = [run.job for run in runs if not (run.stands and run.job.scored) and self._blocked(run) is None]
        trained, fused = ([job for job in jobs if (job.row.fusion is None) is first] for first in (True, False))
        total = len(blocked) + len(jobs)

        def tell(done: int, outcome: process_pool.Outcome) -> None:
            if ended is not None:
                ended(done, total, outcome)

        for done, outcome in enumerate(blocked, start=1):
            tell(done, outcome)
        outcomes = list(blocked)
        for part in (trained, fused):  # what is fused must be trained before
            before = len(outcomes)
            outcomes += process_pool.run(
                part,
                workers,
                ended=lambda done, _, outcome, before=before: tell(before + done, outcome),  # type: ignore[misc]
                progress=progress,
            )
        return outcomes

    def _blocked(self, run: Run) -> process_pool.Outcome | None:
        """The failure of a run for which something shared could not be made."""
        reason = self.stages.reason(run.cell)
        return None if reason is None else process_pool.Outcome(run.job.name, reason)


class _Inputs:
    """Hashes of what runs are made from, each computed once."""

    def stands(self, job: Job) -> bool:
        """True where the run is trained and scored; ConfigError where its folder holds something else."""
        if not job.folder.exists():
            return False
        if job.row.fusion is not None:
            return self._fused_stands(job, job.row.fusion)
        stage = pipeline.train_stage(
            job.split,
            job.config,
            negatives=job.row.negatives,
            suspects=job.row.suspects,
            trees=job.row.trees,
            truth=job.truth,
        )
        return artifacts.is_finished(job.folder, stage.key()) and job.scored

    def _fused_stands(self, job: Job, fusion: Fusion) -> bool:
        base = None if fusion.of is None else job.row.fused_from(job.runs, job.seed)
        needed = [fusion.vectors, *([] if base is None else [base])]
        if any(not artifacts.is_artifact(folder) for folder in needed):
            return False
        if base is None:
            key = pipeline.text_only_stage(job.split, fusion.vectors, fusion.config).key()
        else:
            key = pipeline.fuse_stage(base, job.split, fusion.vectors, fusion.config).key()
        return artifacts.is_finished(job.folder, key) and job.scored
