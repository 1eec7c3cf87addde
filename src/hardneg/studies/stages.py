"""What the runs of a grid share: profiles, mined negatives, neighbours of items, trees, suspects, made once a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from hardneg import artifacts, pipeline
from hardneg.config import Config
from hardneg.errors import ConfigError, HardnegError
from hardneg.pipeline import RunConfig
from hardneg.studies.auxiliary_runs import RunSpec, run_folder
from hardneg.studies.build_times import tabulate, timed
from hardneg.studies.dual_tree import ControlSpec, GivenFolders, GrownSpec, JudgedSpec, Orchard
from hardneg.studies.experiment_cells import Cell
from hardneg.studies.provenance import Asked, remember, remembered
from hardneg.studies.runs import slug
from hardneg.studies.spec import GivenSpec, Grid, LikeSpec, NeighboursSpec, RandomSpec, RetrievedSpec
from hardneg.studies.synthesized_spec import FromLabelsSpec, Place, SynthesisedSpec
from hardneg.types import Progress

Section = Literal["negatives", "suspects", "trees", "vectors"]
"""Of the file; vectors are of texts, and their name is that of an encoder."""
OTHERWISE = "stand as an earlier file asked for them, not as this one does; run again, and remove what is in the way"


@dataclass(frozen=True)
class Shared:
    """A folder that runs need."""

    split: str
    section: Section
    name: str

    @property
    def named(self) -> str:
        """For people."""
        return f"texts encoded with {self.name!r}" if self.section == "vectors" else f"{self.section} {self.name!r}"

    def cannot(self, reason: str) -> str:
        """What is said where it could not be made."""
        said = " ".join(reason.split())
        if self.section == "vectors":
            return f"texts could not be encoded with {self.name!r}: {said}"
        return f"{self.named} could not be made: {said}"


@dataclass(frozen=True)
class Stages:
    """Where the shared folders of a grid lie, and which could not be made.

    cells: of the grid, with the settings that their runs have. released_mask: suspects that all runs are scored under.
    failed: why something could not be made.
    """

    grid: Grid
    cells: Sequence[Cell]
    out: Path
    device: str = "cpu"
    released_mask: str | None = None
    failed: dict[Shared, str] = field(default_factory=dict)

    def negatives(self, split: str, name: str | None) -> Path | None:
        """The negatives folder of a name on a split."""
        if name is None:
            return None
        spec = self.grid.negatives[name]
        return spec.folders[split] if isinstance(spec, GivenSpec) else self._of(split) / f"negatives-{slug(name)}"

    def suspects(self, split: str, name: str | None) -> Path | None:
        """The suspects folder of a name on a split."""
        if name is None:
            return None
        spec = self.grid.suspects[name]
        return spec.folders[split] if isinstance(spec, GivenFolders) else self._of(split) / f"suspects-{slug(name)}"

    def trees(self, split: str, name: str | None) -> Path | None:
        """The trees folder of a name on a split."""
        if name is None:
            return None
        spec = self.grid.trees[name]
        return spec.folders[split] if isinstance(spec, GivenFolders) else self._of(split) / f"trees-{slug(name)}"

    def released(self, split: str) -> Path | None:
        """The suspects folder whose released mask runs are scored under; None on a split that has none, or whose mask
        could not be made."""
        mask = self._mask(split)
        return None if mask is None or self.problem(mask) is not None else self.suspects(split, mask.name)

    def no_mask(self, split: str) -> str | None:
        """Why nothing is scored under the released mask that the file asks for; None where it is, or none is asked."""
        mask = self._mask(split)
        if mask is None or artifacts.is_artifact(self._folder(mask)):
            return None if mask is None else self.problem(mask)
        return self.failed.get(mask, f"{mask.section} {mask.name!r} are not made yet")

    def _mask(self, split: str) -> Shared | None:
        spec = self.grid.suspects.get(self.released_mask or "")
        absent = spec is None or (isinstance(spec, GivenFolders) and split not in spec.folders)
        return None if absent or self.released_mask is None else Shared(split, "suspects", self.released_mask)

    def vectors(self, split: str, encoder: str) -> Path:
        """The folder of a split's texts as vectors."""
        return self._of(split) / f"vectors-{slug(encoder)}"

    def wanted(self, cells: Sequence[Cell]) -> list[Shared]:
        """All that these cells need, what others are made from first; the released mask last."""
        used = [one for cell in cells for one in self._used_by(cell)]
        masks = [mask for cell in cells if (mask := self._mask(cell.split)) is not None]
        return list(dict.fromkeys(each for one in (*used, *masks) for each in self._with(one)))

    def reason(self, cell: Cell) -> str | None:
        """Why what a cell needs is not there; None where it is, or is still to be made."""
        return next((said for one in self._used_by(cell) if (said := self.problem(one)) is not None), None)

    def problem(self, one: Shared) -> str | None:
        """Why something could not be made, or that what stands was made as an earlier file asked; None where all is well."""
        return self.failed.get(one) or next(
            (f"{other.named} {OTHERWISE}" for other in self._with(one) if self._otherwise(other)), None
        )

    def unsure(self, cells: Sequence[Cell]) -> list[Shared]:
        """Folders of which nobody noted as what they were made."""
        return [
            one
            for one in self.wanted(cells)
            if not self._is_given(one) and self._folder(one).exists() and remembered(self._note(one)) is None
        ]

    def sure(self, cell: Cell) -> bool:
        """Is everything that a cell needs known to be what the file asks?"""
        return not self.unsure([cell]) and self.reason(cell) is None

    def trained_for(self, one: Shared) -> RunSpec | None:
        """The run that is trained apart to make it; None where there is none."""
        spec = None if one.section == "vectors" else self._spec(one)
        if isinstance(spec, SynthesisedSpec | FromLabelsSpec):
            return spec.labels
        return spec.run if isinstance(spec, GrownSpec | JudgedSpec) else None

    def to_train_apart(self, cells: Sequence[Cell]) -> list[Cell]:
        """Those of which a run is still to be trained apart for what these cells need, once for each such run."""
        runs = dict[Path, Cell]()
        for one in self.wanted(cells):
            if (spec := self.trained_for(one)) is not None and not artifacts.is_artifact(self._folder(one)):
                runs[run_folder(self._of(one.split), spec)] = self._cell(one.split, spec)
        return [cell for folder, cell in runs.items() if not artifacts.is_artifact(folder)]

    def _otherwise(self, one: Shared) -> bool:
        """Does it stand, noted as something else?"""
        noted = None if self._is_given(one) or not self._folder(one).exists() else remembered(self._note(one))
        return noted is not None and noted != self._asked(one)

    def _asked(self, one: Shared) -> Asked:
        if one.section == "vectors":
            return {"encoder": one.name}
        spec = self._spec(one)
        run = self.trained_for(one)
        config = None if run is None else self._settings(one.split, run).model_dump(mode="json")
        return {"asked": spec.model_dump(mode="json"), "run": config}

    def _spec(self, one: Shared) -> Config:
        spec: Config = getattr(self.grid, one.section)[one.name]
        return spec

    def _is_given(self, one: Shared) -> bool:
        return one.section != "vectors" and isinstance(self._spec(one), GivenSpec | GivenFolders)

    def _folder(self, one: Shared) -> Path:
        makers = {"negatives": self.negatives, "suspects": self.suspects, "trees": self.trees, "vectors": self.vectors}
        folder = makers[one.section](one.split, one.name)
        assert folder is not None
        return folder

    def _note(self, one: Shared) -> Path:
        return self.out / "asked" / slug(one.split) / f"{self._folder(one).name}.json"

    def make(self, cells: Sequence[Cell], progress: Progress | None = None) -> None:
        """Make what these cells need and does not stand; what fails is remembered, and costs the runs that need it."""
        for one in self.wanted(cells):
            lacking = next((self.failed[other] for other in self._made_from(one) if other in self.failed), None)
            if lacking is not None:
                self.failed[one] = one.cannot(lacking)
                continue
            try:
                self._make(one, progress)
                if not self._is_given(one):
                    remember(self._note(one), self._asked(one))
            except (HardnegError, OSError) as error:
                self.failed[one] = one.cannot(str(error))

    def _used_by(self, cell: Cell) -> Iterator[Shared]:
        named: tuple[tuple[Section, str | None], ...] = (
            ("negatives", cell.negatives),
            ("trees", cell.trees),
            ("suspects", cell.suspects),
            ("vectors", None if cell.fusion is None else cell.fusion.encoder),
        )
        return (Shared(cell.split, section, name) for section, name in named if name is not None)

    def _with(self, one: Shared) -> Iterator[Shared]:
        for other in self._made_from(one):
            yield from self._with(other)
        yield one

    def _made_from(self, one: Shared) -> list[Shared]:
        found: dict[Section, str | None] = {}
        spec = None if one.section == "vectors" else self._spec(one)
        if isinstance(spec, LikeSpec | ControlSpec | JudgedSpec):
            found[one.section] = spec.like
        if isinstance(spec, JudgedSpec):
            found["trees"] = spec.trees
        return [Shared(one.split, section, name) for section, name in found.items() if name is not None]

    def _make(self, one: Shared, progress: Progress | None) -> None:
        makers = {
            "negatives": self._mine,
            "suspects": self._judge,
            "trees": self._grow,
            "vectors": self._encode,
        }
        makers[one.section](one.split, one.name, progress)

    def _encode(self, split: str, name: str, progress: Progress | None) -> None:
        from hardneg.text import sentence_encoder

        folder, profiles = self.grid.splits[split].folder, self._of(split) / "profiles"
        self._profile(folder, profiles)
        with timed(self.vectors(split, name)):
            pipeline.encode_texts_stage(folder, profiles, sentence_encoder(name, device=self.device), progress).run(
                self.vectors(split, name)
            )

    def _grow(self, split: str, name: str, progress: Progress | None) -> None:
        spec, out = self.grid.trees[name], self._of(split) / f"trees-{slug(name)}"
        if isinstance(spec, ControlSpec):
            like = self.trees(split, spec.like)
            assert like is not None
            with timed(out):
                pipeline.control_trees_stage(self.grid.splits[split].folder, like, spec.method, spec.seed).run(out)
        elif isinstance(spec, GrownSpec):
            self._orchard(split).grow(spec, self._settings(split, spec.run), out, progress)

    def _judge(self, split: str, name: str, progress: Progress | None) -> None:
        spec, out = self.grid.suspects[name], self._of(split) / f"suspects-{slug(name)}"
        if isinstance(spec, JudgedSpec):
            trees, like = self.trees(split, spec.trees), self.suspects(split, spec.like)
            settings = self._settings(split, spec.run)
            self._orchard(split).judge(spec, settings, out, trees=trees, like=like, progress=progress)

    def _mine(self, split: str, name: str, progress: Progress | None) -> None:
        folder, out = self.grid.splits[split].folder, self._of(split) / f"negatives-{slug(name)}"
        spec = self.grid.negatives[name]
        if isinstance(spec, LikeSpec):
            like = self.negatives(split, spec.like)
            assert like is not None
            mine_like = (
                pipeline.random_negatives_stage if isinstance(spec, RandomSpec) else pipeline.shuffled_negatives_stage
            )
            with timed(out):
                mine_like(folder, like, spec.seed).run(out)
        elif isinstance(spec, SynthesisedSpec | FromLabelsSpec):
            Place(folder, self._of(split), self.device).make(spec, self._settings(split, spec.labels), out, progress)
        elif isinstance(spec, RetrievedSpec):
            self._retrieve(folder, self._of(split) / "profiles", spec, out, progress)
        elif isinstance(spec, NeighboursSpec):
            self._find_neighbours(folder, spec, out, progress)

    def _settings(self, split: str, run: RunSpec) -> RunConfig:
        """Of a run that is trained apart."""
        return self._cell(split, run).config

    def _cell(self, split: str, run: RunSpec) -> Cell:
        place = split, run.model, run.row
        for cell in self.cells:
            if (cell.split, cell.model, cell.row) == place:
                return cell
        raise ConfigError(f"found no line {' / '.join(place)}, expected one to train a run of")

    def _retrieve(
        self, folder: Path, profiles: Path, spec: RetrievedSpec, out: Path, progress: Progress | None
    ) -> None:
        from hardneg.text import sentence_encoder

        self._profile(folder, profiles)
        chosen = sentence_encoder(spec.encoder, device=self.device)
        with timed(out):
            pipeline.retrieve_stage(folder, profiles, spec.options, chosen, progress).run(out)

    def _profile(self, folder: Path, out: Path) -> None:
        with timed(out):
            pipeline.extract_profiles_stage(folder).run(out)

    def _find_neighbours(self, folder: Path, spec: NeighboursSpec, out: Path, progress: Progress | None) -> None:
        from hardneg.text import sentence_encoder

        opened = sentence_encoder(spec.encoder, device=self.device) if spec.by == "text" else None
        with timed(out):
            pipeline.neighbours_stage(folder, spec.by, k=spec.k, encoder=opened, seed=spec.seed, progress=progress).run(
                out
            )

    def _orchard(self, split: str) -> Orchard:
        return Orchard(self.grid.splits[split].folder, self._of(split), self.device)

    def took(self) -> pl.DataFrame:
        """What stands of all splits, how long it took and how large it is (`took.SCHEMA`)."""
        splits = dict.fromkeys(cell.split for cell in self.cells)
        return pl.concat([tabulate(split, self._of(split)) for split in splits])

    def _of(self, split: str) -> Path:
        return self.out / "shared" / slug(split)
