"""The limit of epochs: runs that it ended, and training that goes on from such a run under a higher one.

A run that ended at its limit keeps its last epoch. The same run with a higher limit starts there, and equals one that had
the higher limit from the start.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.checkpoint import CheckpointFile
from hardneg.errors import ConfigError
from hardneg.stage import Draft
from hardneg.storage import read_json

LAST_EPOCH = "last-epoch.safetensors"
"""File of a run that ended at its limit: the checkpoint that training goes on from."""
STILL_RISING = "still rising"
"""Note of a run whose best epoch is the last one that the limit allows."""
RAISE_IT = "the best epoch is the last one allowed; raise --epochs, and training goes on from there"
CONTINUED = "continued after epoch"
"""Note of a run: last epoch of the shorter run that it went on from."""
KERNEL = "graph kernel"
"""Note of a run: the kernel that propagated."""


def at_limit(settings: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    """Return the settings of a run under another limit of epochs; with None, what runs of all limits share."""
    return {**settings, "fit": {**settings["fit"], "epochs": epochs}}


def is_shorter_run(folder: Path, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> bool:
    """Return True where a folder holds the run with these settings and inputs, but a lower limit of epochs."""
    kind = artifacts.kind_at(folder)
    if kind is None:
        return False
    manifest = artifacts.read_manifest(folder, kind)
    limit = manifest["config"].get("fit", {}).get("epochs")
    if limit is None or limit >= settings["fit"]["epochs"]:
        return False
    return bool(manifest["key"] == artifacts.artifact_key(kind, at_limit(settings, limit), inputs))


def copy_if_complete(earlier: Path, draft: Draft) -> bool:
    """Copy a shorter run that patience ended, which a higher limit does not change; return False for any other."""
    manifest = _read(earlier)
    if manifest["notes"]["epochs"] == manifest["config"]["fit"]["epochs"]:
        return False
    for name in artifacts.listed_hashes(manifest):
        shutil.copyfile(earlier / name, draft.folder / name)
    draft.notes |= manifest["notes"]
    return True


def start_from(earlier: Path, checkpoint: CheckpointFile, draft: Draft) -> None:
    """Make the last epoch of a shorter run the checkpoint of a run that has none yet.

    Without a last epoch (patience ended the shorter run at its limit) training starts anew. Raises ConfigError where
    another graph kernel computed the shorter run, since it rounds differently.
    """
    last, notes = CheckpointFile(earlier, checkpoint.key, LAST_EPOCH), _read(earlier)["notes"]
    if not last.path.is_file():
        return
    if notes.get(KERNEL) != draft.notes.get(KERNEL):
        raise ConfigError(
            f"{earlier} was trained with the graph kernel {notes.get(KERNEL)}, found {draft.notes.get(KERNEL)} here, which "
            "rounds differently; choose another --out to train from the first epoch"
        )
    draft.notes[CONTINUED] = notes["epochs"]
    if not checkpoint.path.is_file():
        seconds = read_json(earlier / artifacts.COSTS)["seconds"]
        last.copy(checkpoint.path, seconds=seconds)


def limit_notes(best_epoch: int, limit: int) -> dict[str, str]:
    """Return the note of a run whose best epoch is the last one that the limit allows; no note for any other."""
    return {STILL_RISING: RAISE_IT} if best_epoch == limit else {}


def _read(folder: Path) -> dict[str, Any]:
    return artifacts.read_manifest(folder, str(artifacts.kind_at(folder)))
