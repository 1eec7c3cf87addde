"""What the runs of a grid share: profiles, mined negatives, neighbours of items, made once a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hardneg import artifacts, pipeline
from hardneg.errors import ConfigError, HardnegError
from hardneg.pipeline import RunConfig
from hardneg.studies.cells import Cell
from hardneg.studies.learnt import FromLabelsSpec, LabelsSpec, Place, SynthesisedSpec
from hardneg.studies.runs import slug
from hardneg.studies.spec import GivenSpec, Grid, LikeSpec, NeighboursSpec, RandomSpec, RetrievedSpec
from hardneg.types import Progress


@dataclass(frozen=True)
class Stages:
    """Where the shared folders of a grid lie, and which could not be made.

    cells: of the grid, with the settings that their runs have. failed: (split, name of the negatives) -> reason.
    """

    grid: Grid
    cells: Sequence[Cell]
    out: Path
    device: str = "cpu"
    failed: dict[tuple[str, str], str] = field(default_factory=dict)

    def negatives(self, split: str, name: str | None) -> Path | None:
        """The negatives folder of a name on a split."""
        if name is None:
            return None
        spec = self.grid.negatives[name]
        return spec.folders[split] if isinstance(spec, GivenSpec) else self._of(split) / f"negatives-{slug(name)}"

    def suspects(self, split: str, name: str | None) -> Path | None:
        """The suspects folder of a name on a split."""
        return None if name is None else self.grid.suspects[name].folders[split]

    def released(self, split: str, name: str | None) -> Path | None:
        """The suspects folder whose released mask runs are scored under; None on a split that has none."""
        return None if name is None else self.grid.suspects[name].folders.get(split)

    def stand(self, split: str, name: str | None) -> bool:
        """True where the negatives are made, or none are needed."""
        folder = self.negatives(split, name)
        return folder is None or (folder / artifacts.MANIFEST).is_file()

    def wanted(self, cells: Sequence[Cell]) -> list[tuple[str, str]]:
        """(split, name) of all that these cells need, what others are made from first."""
        wanted: dict[tuple[str, str], None] = {}
        for cell in cells:
            if cell.negatives is not None:
                spec = self.grid.negatives[cell.negatives]
                source = [spec.like] if isinstance(spec, LikeSpec) else []
                wanted |= dict.fromkeys((cell.split, name) for name in (*source, cell.negatives))
        return list(wanted)

    def vectors(self, split: str, encoder: str) -> Path:
        """The folder of a split's texts as vectors."""
        return self._of(split) / f"vectors-{slug(encoder)}"

    def reason(self, cell: Cell) -> str | None:
        """Why what a cell needs could not be made; None where it could."""
        needed = [cell.negatives or "", *([] if cell.fusion is None else [_as_vectors(cell.fusion.encoder)])]
        return next((self.failed[cell.split, name] for name in needed if (cell.split, name) in self.failed), None)

    def make(self, cells: Sequence[Cell], progress: Progress | None = None) -> None:
        """Make what these cells need and does not stand; what fails is remembered, and costs the runs that need it."""
        for split, name in self.wanted(cells):
            try:
                self._make(split, name, progress)
            except (HardnegError, OSError) as error:
                self.failed[split, name] = f"negatives {name!r} could not be made: {' '.join(str(error).split())}"
        for split, encoder in dict.fromkeys((c.split, c.fusion.encoder) for c in cells if c.fusion is not None):
            try:
                self._encode(split, encoder, progress)
            except (HardnegError, OSError) as error:
                said = f"texts could not be encoded with {encoder!r}: {' '.join(str(error).split())}"
                self.failed[split, _as_vectors(encoder)] = said

    def _encode(self, split: str, name: str, progress: Progress | None) -> None:
        from hardneg.text import encoder

        folder, profiles = self.grid.splits[split].folder, self._of(split) / "profiles"
        pipeline.profile(folder, profiles)
        pipeline.encode(folder, profiles, self.vectors(split, name), encoder(name, device=self.device), progress)

    def _make(self, split: str, name: str, progress: Progress | None) -> None:
        folder, out = self.grid.splits[split].folder, self._of(split) / f"negatives-{slug(name)}"
        spec = self.grid.negatives[name]
        if isinstance(spec, LikeSpec):
            like = self.negatives(split, spec.like)
            assert like is not None
            mine_like = pipeline.mine_random if isinstance(spec, RandomSpec) else pipeline.mine_shuffled
            mine_like(folder, like, out, spec.seed)
        elif isinstance(spec, SynthesisedSpec | FromLabelsSpec):
            Place(folder, self._of(split), self.device).make(spec, self._mixgcf(split, spec.labels), out, progress)
        elif isinstance(spec, RetrievedSpec):
            self._retrieve(folder, self._of(split) / "profiles", spec, out, progress)
        elif isinstance(spec, NeighboursSpec):
            self._find_neighbours(folder, spec, out, progress)

    def _mixgcf(self, split: str, labels: LabelsSpec) -> RunConfig:
        """The settings of the run that labels come from."""
        place = split, labels.model, labels.row
        for cell in self.cells:
            if (cell.split, cell.model, cell.row) == place:
                return cell.config
        raise ConfigError(f"found no line {' / '.join(place)}, expected one that labels can come from")

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

    def _of(self, split: str) -> Path:
        return self.out / "shared" / slug(split)


def _as_vectors(encoder: str) -> str:
    """What vectors are called among what failed; no negatives can have this name."""
    return f"/vectors/{encoder}"
