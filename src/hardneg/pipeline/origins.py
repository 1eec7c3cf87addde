"""What a folder was made from must be of the split at hand."""

from __future__ import annotations

from pathlib import Path

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError


def hash_of_same_split(folder: Path, kind: str, split_folder: Path) -> str:
    """The folder's content hash, once it is sure that it was made from what this split may be learnt from.

    Another split of the same data may have as many train pairs, and have learnt from this one's test pairs.
    """
    made_from = artifacts.manifest_of(folder, kind)["made_from"]
    if made_from.get("learnt from") != splits.learnt_from_hash(split_folder):
        raise ConfigError(
            f"{folder} was made from another split than {split_folder}; make these {kind} from this split"
        )
    return artifacts.folder_hash(folder)
