"""The one way to make an artifact: a `Stage` knows its key before it runs, and runs at most once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardneg import artifacts, storage


@dataclass
class Draft:
    """An artifact while it is written: files go into `folder`, what a reader should know into `notes`.

    key: the key of the finished artifact, which checkpoints carry. earlier: a finished artifact that this one extends.
    """

    folder: Path
    key: str
    notes: dict[str, Any] = field(default_factory=dict)
    earlier: Path | None = None

    def write_costs(self, costs: Mapping[str, Any] | None) -> None:
        """Write costs.json (seconds, calls, tokens, money, ...); nothing where there are no costs."""
        if costs is not None:
            storage.write_json(self.folder / artifacts.COSTS, costs)


@dataclass(frozen=True)
class Stage:
    """An artifact before it exists.

    kind: what the folder will hold ("split", "negatives", "run", ...). settings: every setting that changes the result,
    seeds included, and no other. inputs: name -> content hash of what the artifact is made from. build: writes the files.
    extends: returns True where a folder holds a shorter version of this artifact, which `build` can go on from.
    """

    kind: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    build: Callable[[Draft], None]
    extends: Callable[[Path], bool] = lambda _: False

    def key(self) -> str:
        """Return the hash of kind, settings, inputs and version that names the result."""
        return artifacts.artifact_key(self.kind, self.settings, self.inputs)

    def is_finished(self, folder: Path) -> bool:
        """Return True where `folder` holds exactly this artifact."""
        return artifacts.key_at(folder) == self.key()

    def run(self, folder: Path, *, replace: bool = False, earlier: Path | None = None) -> Path:
        """Make the artifact in `folder`, unless it is finished, and return the folder.

        Unfinished work is kept beside `folder` when `build` fails, so that the next call continues from its checkpoint.
        A finished folder is verified, and cleaned of what a killed process left. A shorter version in `folder` is
        replaced once this one is finished; earlier: another folder that may hold one. replace: take the place of any
        other artifact in `folder`. Raises ConfigError in that case otherwise, and where another process is making the
        same artifact; DamagedError where the finished one was changed.
        """
        key = self.key()
        if self.is_finished(folder):
            artifacts.read_manifest(folder, self.kind)  # verified
            storage.remove_temporary(folder)
        else:
            notes: dict[str, Any] = {}
            shorter = [path for path in (folder, earlier) if path is not None and self.extends(path)]
            with artifacts.writing(
                folder, self.kind, self.settings, self.inputs, notes, replace=replace or folder in shorter
            ) as unfinished:
                self.build(Draft(unfinished, key, notes, shorter[0] if shorter else None))
        artifacts.remove_unfinished(folder, None if replace else key)
        (folder / artifacts.CHECKPOINT).unlink(missing_ok=True)  # a kill before this line costs no epoch
        shutil.rmtree(artifacts.replaced_folder(folder), ignore_errors=True)
        return folder
