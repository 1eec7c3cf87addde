"""What the runs of a grid share: profiles, mined negatives, neighbours of items, trees, suspects, made once a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hardneg import pipeline
from hardneg.errors import ConfigError, HardnegError
from hardneg.pipeline import RunConfig
from hardneg.studies.apart import RunSpec
from hardneg.studies.cells import Cell
from hardneg.studies.dual_tree import ControlSpec, GivenFolders, GrownSpec, JudgedSpec, Orchard
from hardneg.studies.learnt import FromLabelsSpec, Place, SynthesisedSpec
from hardneg.studies.runs import slug
from hardneg.studies.spec import GivenSpec, Grid, LikeSpec, NeighboursSpec, RandomSpec, RetrievedSpec
from hardneg.types import Progress

Section = Literal["negatives", "suspects", "trees", "vectors"]
"""Of the file; vectors are of texts, and their name is that of an encoder."""


@dataclass(frozen=True)
class Shared:
    """A folder that runs need."""

    split: str
    section: Section
    name: str

    def cannot(self, reason: str) -> str:
        """What is said where it could not be made."""
        said = " ".join(reason.split())
        if self.section == "vectors":
            return f"texts could not be encoded with {self.name!r}: {said}"
        return f"{self.section} {self.name!r} could not be made: {said}"


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
        """The suspects folder whose released mask runs are scored under; None on a split that has none."""
        spec = self.grid.suspects.get(self.released_mask or "")
        absent = isinstance(spec, GivenFolders) and split not in spec.folders
        return None if absent else self.suspects(split, self.released_mask)

    def vectors(self, split: str, encoder: str) -> Path:
        """The folder of a split's texts as vectors."""
        return self._of(split) / f"vectors-{slug(encoder)}"

    def wanted(self, cells: Sequence[Cell]) -> list[Shared]:
        """All that these cells need, what others are made from first."""
        return list(dict.fromkeys(each for cell in cells for one in self._used_by(cell) for each in self._with(one)))

    def reason(self, cell: Cell) -> str | None:
        """Why what a cell needs could not be made; None where it could."""
        return next((self.failed[one] for one in self._used_by(cell) if one in self.failed), None)

    def make(self, cells: Sequence[Cell], progress: Progress | None = None) -> None:
        """Make what these cells need and does not stand; what fails is remembered, and costs the runs that need it."""
        for one in self.wanted(cells):
            lacking = next((self.failed[other] for other in self._made_from(one) if other in self.failed), None)
            if lacking is not None:
                self.failed[one] = one.cannot(lacking)
                continue
            try:
                self._make(one, progress)
            except (HardnegError, OSError) as error:
                self.failed[one] = one.cannot(str(error))

    def _used_by(self, cell: Cell) -> Iterator[Shared]:
        named: tuple[tuple[Section, str | None], ...] = (
            ("negatives", cell.negatives),
            ("trees", cell.trees),
            ("suspects", cell.suspects),
            ("suspects", self.released_mask),
            ("vectors", None if cell.fusion is None else cell.fusion.encoder),
        )
        return (Shared(cell.split, section, name) for section, name in named if name is not None)

    def _with(self, one: Shared) -> Iterator[Shared]:
        for other in self._made_from(one):
            yield from self._with(other)
        yield one

    def _made_from(self, one: Shared) -> list[Shared]:
        found: dict[Section, str | None] = {}
        spec = None if one.section == "vectors" else getattr(self.grid, one.section)[one.name]
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
        from hardneg.text import encoder

        folder, profiles = self.grid.splits[split].folder, self._of(split) / "profiles"
        pipeline.profile(folder, profiles)
        pipeline.encode(folder, profiles, self.vectors(split, name), encoder(name, device=self.device), progress)

    def _grow(self, split: str, name: str, progress: Progress | None) -> None:
        spec, out = self.grid.trees[name], self._of(split) / f"trees-{slug(name)}"
        if isinstance(spec, ControlSpec):
            like = self.trees(split, spec.like)
            assert like is not None
            pipeline.control_trees(self.grid.splits[split].folder, like, out, spec.method, spec.seed)
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
            mine_like = pipeline.mine_random if isinstance(spec, RandomSpec) else pipeline.mine_shuffled
            mine_like(folder, like, out, spec.seed)
        elif isinstance(spec, SynthesisedSpec | FromLabelsSpec):
            Place(folder, self._of(split), self.device).make(spec, self._settings(split, spec.labels), out, progress)
        elif isinstance(spec, RetrievedSpec):
            self._retrieve(folder, self._of(split) / "profiles", spec, out, progress)
        elif isinstance(spec, NeighboursSpec):
            self._find_neighbours(folder, spec, out, progress)

    def _settings(self, split: str, run: RunSpec) -> RunConfig:
        """Of a run that is trained apart."""
        place = split, run.model, run.row
        for cell in self.cells:
            if (cell.split, cell.model, cell.row) == place:
                return cell.config
        raise ConfigError(f"found no line {' / '.join(place)}, expected one to train a run of")

    def _retrieve(
        self, folder: Path, profiles: Path, spec: RetrievedSpec, out: Path, progress: Progress | None
    ) -> None:
        from hardneg.text import encoder

        pipeline.profile(folder, profiles)
        chosen = encoder(spec.encoder, device=self.device)
        pipeline.mine_retrieved(folder, profiles, out, spec.options, chosen, progress)

    def _find_neighbours(self, folder: Path, spec: NeighboursSpec, out: Path, progress: Progress | None) -> None:
        from hardneg.text import encoder

        opened = encoder(spec.encoder, device=self.device) if spec.by == "text" else None
        pipeline.find_neighbours(folder, out, spec.by, k=spec.k, encoder=opened, seed=spec.seed, progress=progress)

    def _orchard(self, split: str) -> Orchard:
        return Orchard(self.grid.splits[split].folder, self._of(split), self.device)

    def _of(self, split: str) -> Path:
        return self.out / "shared" / slug(split)
