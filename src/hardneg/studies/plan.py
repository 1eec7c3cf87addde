"""The artifacts that the runs of a grid share: their order, their folders, and which are finished, stale or blocked."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Self

import polars as pl

from hardneg import artifacts, pipeline, storage, text
from hardneg.errors import ConfigError, HardnegError
from hardneg.stage import Stage
from hardneg.studies.cells import Cell
from hardneg.studies.load import AnySource, G
from hardneg.studies.ready_studies import Source, fill_source
from hardneg.studies.recipes import Entry, ReplyEstimate, StageContext, slug
from hardneg.studies.recipes.implied import AuxiliaryRun
from hardneg.studies.spec import Grid, StudySpec
from hardneg.types import Progress

BUILD_TIMES = "build_times.json"
"""File of a split's folder: name of an artifact -> its key, and the seconds that it took to make."""
NOISY_SPLIT = "split"
"""Folder among the shared ones: the split with noise."""
BUILD_SCHEMA = {"split": pl.String, "folder": pl.String, "seconds": pl.Float64, "mib": pl.Float64}
"""seconds: wall time; null where it was not measured, or where work of an earlier call was continued."""
STALE = "differ from what this file asks for; run the study again, and remove the folder first if that is intended"


@dataclass(frozen=True)
class Artifact:
    """A folder that the runs of one split share."""

    split: str
    entry: Entry
    folder: Path


class Plan:
    """Shared artifacts of a grid. cells: those of the grid, with the settings of their runs."""

    def __init__(self, grid: Grid, cells: Sequence[Cell], out: Path, device: str = "cpu") -> None:
        self.grid, self.cells, self.out, self.device = grid, cells, out, device
        self._open_encoder = cache(lambda name: text.sentence_encoder(name, device=device))
        self.failures: dict[Path, str] = {}
        self._problems: dict[Path, str | None] = {}
        self._unverified: dict[Path, str] = {}

    def split_dir(self, split: str) -> Path:
        """Return the split folder that runs use: the given one, or the one with noise that is made from it."""
        spec = self.grid.splits[split]
        return spec.folder if spec.noise is None else self._shared_dir(split) / NOISY_SPLIT

    def readable_split_dir(self, split: str) -> Path:
        """Return the split folder that runs use, or the given one where that is not made yet."""
        folder = self.split_dir(split)
        return folder if artifacts.is_artifact(folder) else self.grid.splits[split].folder

    def artifact(self, split: str, entry: Entry) -> Artifact:
        """Return the artifact of an entry on a split."""
        split = entry.split or split
        folder = entry.recipe.existing_folder(split) or self._shared_dir(split) / entry.folder_name
        return Artifact(split, entry, folder)

    def artifacts_of(self, cell: Cell) -> dict[str, Artifact]:
        """Return section -> artifact that the runs of a cell read."""
        return {section: self.artifact(cell.split, entry) for section, entry in cell.entries.items()}

    def mask_on(self, split: str) -> Artifact | None:
        """Return the suspects of the released mask; None where no mask is asked for, or the split has none."""
        entry = self.grid.entry("suspects", self.grid.released_mask if isinstance(self.grid, StudySpec) else None)
        if entry is None or (entry.recipe.exists and entry.recipe.existing_folder(split) is None):
            return None
        return self.artifact(split, entry)

    def needed(self, cells: Sequence[Cell]) -> list[Artifact]:
        """Return everything that cells need, dependencies first and released masks last."""
        read = [(cell.split, entry) for cell in cells for entry in cell.entries.values()]
        masks = [(mask.split, mask.entry) for cell in cells if (mask := self.mask_on(cell.split)) is not None]
        parts = [(split, part) for split, entry in read + masks for part in entry.with_dependencies(self.grid)]
        return list({item.folder: item for item in (self.artifact(*part) for part in parts)}.values())

    def auxiliary_runs(self, cells: Sequence[Cell]) -> list[tuple[Artifact, AuxiliaryRun]]:
        """Return the runs that artifacts for these cells are made from, finished or not."""
        needed = ((artifact, artifact.entry.recipe) for artifact in self.needed(cells))
        return [(artifact, recipe) for artifact, recipe in needed if type(recipe) is AuxiliaryRun]

    def auxiliary_cells(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return the cell of every auxiliary run that is not finished yet."""
        return [
            self._cell(artifact.split, run.model, run.row)
            for artifact, run in self.auxiliary_runs(cells)
            if not artifacts.is_artifact(artifact.folder)
        ]

    def build(self, cells: Sequence[Cell], progress: Progress | None = None) -> None:
        """Make what cells need; a failure blocks the cells that need the artifact, and nothing else."""
        self.failures.clear()
        for split in dict.fromkeys(cell.split for cell in cells):
            self._make_split(split)
        for artifact in self.needed(cells):
            if artifact.entry.recipe.exists:
                continue
            folders = (dependency.folder for dependency in self._dependencies(artifact).values())
            reason = next((self.failures[folder] for folder in folders if folder in self.failures), None)
            try:
                reason = reason or self.failures.get(self.split_dir(artifact.split))
                if reason is None:
                    self._make(artifact, progress)
            except (HardnegError, OSError) as error:
                reason = str(error)
            if reason is not None:
                self.failures[artifact.folder] = f"{artifact.entry.title} could not be made: {' '.join(reason.split())}"
        self._problems.clear()
        self._unverified.clear()

    def estimate_replies(self, cells: Sequence[Cell], progress: Progress | None = None) -> dict[str, ReplyEstimate]:
        """Return title -> language model replies of artifacts that are not made yet; shared replies count once."""
        estimates, known = dict[str, ReplyEstimate](), set[tuple[str, ...]]()
        for artifact in self.needed(cells):
            if artifact.entry.recipe.exists or artifacts.is_artifact(artifact.folder):
                continue
            estimate = artifact.entry.recipe.estimate_replies(self._context(artifact, progress))
            if estimate is not None and (artifact.split, *estimate.key) not in known:
                known.add((artifact.split, *estimate.key))
                estimates[f"{artifact.entry.title} on {artifact.split}"] = estimate
        return estimates

    def problem_of(self, cell: Cell) -> str | None:
        """Return why the runs of a cell cannot be used or made; None where nothing is known to be in their way."""
        problems = map(self.problem, self.artifacts_of(cell).values())
        of_split = self.failures.get(self.split_dir(cell.split))
        return of_split or next((problem for problem in problems if problem is not None), None)

    def problem(self, artifact: Artifact) -> str | None:
        """Return why an artifact cannot be used: it failed, or is stale; None where it is finished or not made yet."""
        folder = artifact.folder
        if folder not in self._problems:
            self._problems[folder] = self.failures.get(folder) or self._staleness(artifact)
        return self._problems[folder]

    def unverified(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Return title -> reason of finished artifacts whose settings cannot be compared with those of the file."""
        needed = [artifact for artifact in self.needed(cells) if self.problem(artifact) is None]
        return {
            f"{artifact.entry.title} on {artifact.split}": self._unverified[artifact.folder]
            for artifact in needed
            if artifact.folder in self._unverified
        }

    def mask_problem(self, split: str) -> str | None:
        """Return why nothing is scored under the released mask that the file asks for; None where it is, or none is."""
        mask = self.mask_on(split)
        if mask is None:
            return None
        missing = None if artifacts.is_artifact(mask.folder) else f"{mask.entry.title} are not made yet"
        return self.problem(mask) or missing

    def build_times(self) -> pl.DataFrame:
        """Return the finished artifacts of all splits with seconds and size (BUILD_SCHEMA)."""
        rows = []
        for split in dict.fromkeys(cell.split for cell in self.cells):
            times = _read_times(self._shared_dir(split))
            folders = (path.parent for path in self._shared_dir(split).glob(f"*/{artifacts.MANIFEST}"))
            for folder in sorted(folder for folder in folders if not folder.name.startswith(".")):
                note: Any = times.get(folder.name)  # it may be of an artifact that was there before
                known = isinstance(note, dict) and note.get("key") == artifacts.key_at(folder)
                mib = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
                rows.append((split, folder.name, note.get("seconds") if known else None, mib))
        return pl.DataFrame(rows, schema=BUILD_SCHEMA, orient="row")

    def _staleness(self, artifact: Artifact) -> str | None:
        dependencies = self._dependencies(artifact).values()
        inherited = next((problem for problem in map(self.problem, dependencies) if problem is not None), None)
        if inherited is not None or artifact.entry.recipe.exists or not artifacts.is_artifact(artifact.folder):
            return inherited
        try:
            stage = self._stage(artifact)
        except (HardnegError, OSError) as error:
            self._unverified[artifact.folder] = " ".join(str(error).split())
            return None
        return None if stage.is_finished(artifact.folder) else f"{artifact.entry.title} {STALE}"

    def _make_split(self, split: str) -> None:
        """Make the split with noise, where the file asks for one; a failure blocks everything on the split."""
        spec, folder = self.grid.splits[split], self.split_dir(split)
        if spec.noise is None:
            return
        try:
            pipeline.noise_stage(spec.folder, spec.noise).run(folder)
        except (HardnegError, OSError) as error:
            self.failures[folder] = f"split {split!r} with noise could not be made: {' '.join(str(error).split())}"

    def _make(self, artifact: Artifact, progress: Progress | None) -> None:
        stage = self._stage(artifact, progress)
        if stage.is_finished(artifact.folder):
            return
        continued = artifacts.partial_folder(artifact.folder, stage.key()).exists()
        started = time.perf_counter()
        stage.run(artifact.folder)
        seconds = None if continued else time.perf_counter() - started
        folder = self._shared_dir(artifact.split)
        times = _read_times(folder) | {artifact.folder.name: {"key": stage.key(), "seconds": seconds}}
        storage.replace_file(folder / BUILD_TIMES, json.dumps(times, indent=2).encode() + b"\n")

    def _stage(self, artifact: Artifact, progress: Progress | None = None) -> Stage:
        """Return the stage of an artifact whose dependencies are finished."""
        return artifact.entry.recipe.stage(self._context(artifact, progress))

    def _context(self, artifact: Artifact, progress: Progress | None = None) -> StageContext:
        return StageContext(
            self.readable_split_dir(artifact.split),
            {role: dependency.folder for role, dependency in self._dependencies(artifact).items()},
            lambda model, row: self._cell(artifact.split, model, row).config,
            self._open_encoder,
            self.device,
            progress,
            self.out,
        )

    def _dependencies(self, artifact: Artifact) -> dict[str, Artifact]:
        entries = artifact.entry.dependencies(self.grid)
        return {role: self.artifact(artifact.split, entry) for role, entry in entries.items()}

    def _cell(self, split: str, model: str, row: str) -> Cell:
        for cell in self.cells:
            if (cell.split, cell.model, cell.row) == (split, model, row):
                return cell
        raise ConfigError(f"found no line {split} / {model} / {row}, expected one to train an auxiliary run of")

    def _shared_dir(self, split: str) -> Path:
        return self.out / "shared" / slug(split)


def _read_times(folder: Path) -> dict[str, Any]:
    """Return folder name -> key and seconds; empty where nothing is noted."""
    path = folder / BUILD_TIMES
    return storage.read_json(path) if path.is_file() else {}


class PlannedGrid(Generic[G]):
    """A checked study or search file with its folder and the artifacts that runs share.

    only: splits to run now; empty for all.
    """

    def __init__(self, spec: G, cells: list[Cell], out: Path, device: str = "cpu", only: Sequence[str] = ()) -> None:
        self.spec, self.cells, self.out, self.device, self.only = spec, cells, out, device, tuple(only)
        self.plan = Plan(spec, cells, out, device)

    @classmethod
    def load(
        cls,
        source: Source,
        out: str | Path | None = None,
        *,
        only: Sequence[str] = (),
        llms: Sequence[str] = (),
        seeds: int | None = None,
        device: str = "cpu",
    ) -> Self:
        """Read and check a file, a ready study by its name, or the contents of a file as a mapping.

        out: the folder, out/NAME by default. only: some splits of the file; for a study, the folders of others need not
        exist. For a file without splits of its own, such as a ready study, their folders, each as FOLDER or NAME=FOLDER.
        llms: language models, for a file that repeats parts for each of them. seeds: number of seeds of a study, in place of
        those of the file. Raises ConfigError with every problem of the
        file, or where optuna is missing for a search.
        """
        filled = fill_source(source, only, llms, seeds)
        spec, cells = cls.read(filled)
        return cls(spec, cells, Path(out or Path("out") / spec.name), device, filled.only)

    @staticmethod
    def read(source: AnySource, only: Sequence[str] = ()) -> tuple[G, list[Cell]]:
        """Read and check a file, and return it with its cells."""
        raise NotImplementedError
