"""Artifacts that exist already, by their folders."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError
from hardneg.pipeline.provenance import require_same_split
from hardneg.sampling.mined import folder_kind
from hardneg.studies.recipes import NegativesRecipe, Recipe, StudyFile, SuspectsRecipe, TreesRecipe
from hardneg.studies.spec import Grid


class ExistingFolders(Recipe):
    """A folder for each split."""

    exists: ClassVar[bool] = True
    method: Literal["given"] = "given"
    folders: dict[str, Path]
    """Split -> folder."""

    def existing_folder(self, split: str) -> Path | None:
        return self.folders.get(split)

    def problems(self, file: StudyFile) -> list[str]:
        """Return the folders that are for no split of the file, of the wrong kind, or made from another split."""
        problems = [
            f"{split!r} is no name under `splits`" for split in self.folders if split not in file.names["splits"]
        ]
        for split in (split for split in self.folders if split in file.required_splits):
            folder, spec = self.folders[split], file.grid.splits.get(split)
            kind = self.makes or folder_kind(folder)
            try:
                artifacts.read_manifest(folder, kind)
                if spec is not None and artifacts.kind_at(spec.folder) == splits.KIND:
                    require_same_split(folder, kind, spec.folder)
            except (ConfigError, DataError) as error:
                problems.append(str(error))
        return problems

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return [] if split in self.folders else [f"no {self.section} folder is given for split {split!r}"]


class GivenNegatives(ExistingFolders, NegativesRecipe):
    """Negatives or neighbours."""

    makes: ClassVar[str | None] = None


class GivenTrees(ExistingFolders, TreesRecipe):
    """Trees."""


class GivenSuspects(ExistingFolders, SuspectsRecipe):
    """Suspects."""
