"""What a folder was made from must be of the split at hand, or of other data altogether."""

from __future__ import annotations

from pathlib import Path

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError

VALID = "valid"
"""Note of a folder that comes from a run: hash of the validation pairs that chose the run's epoch."""


def chosen_by(split_folder: Path) -> dict[str, str]:
    """The note VALID of what comes from a run of this split. A note and no input: keys do not know of it."""
    return {VALID: artifacts.file_hash(split_folder / "valid.parquet")}


def inherited(*folders: Path | None) -> dict[str, str]:
    """The note VALID of what comes from these folders of one split; nothing where none of them has it."""
    there = [folder for folder in folders if folder is not None]
    notes = [artifacts.read_manifest(folder, str(artifacts.kind_at(folder)))["notes"] for folder in there]
    found = [str(note[VALID]) for note in notes if VALID in note]
    return {VALID: found[0]} if found else {}


def hash_of_same_split(folder: Path, kind: str, split_folder: Path) -> str:
    """The folder's content hash, once `require_same_split` lets it pass."""
    require_same_split(folder, kind, split_folder)
    return artifacts.folder_hash(folder)


def require_same_split(folder: Path, kind: str, split_folder: Path) -> None:
    """ConfigError where a folder was not made from what this split may be learnt from.

    Another split of the same data may have as many train pairs, and have learnt from this one's test pairs. Where the
    folder says so (VALID), the run that it comes from was chosen by this split's validation pairs, too.
    """
    manifest = artifacts.read_manifest(folder, kind)
    if manifest["inputs"].get("training data") != splits.training_data_hash(split_folder):
        raise ConfigError(
            f"{folder} was made from another split than {split_folder}; make these {kind} from this split"
        )
    chosen = chosen_by(split_folder)
    if manifest["notes"].get(VALID, chosen[VALID]) != chosen[VALID]:
        raise ConfigError(
            f"{folder} comes from a run that other validation pairs chose than those of {split_folder}, which may be "
            f"test pairs here; make these {kind} from this split"
        )


POOLED = "pooled"
"""Setting of a tuned folder that was tuned on several sets of data: how many."""


def is_pooled(tuned_folder: Path) -> bool:
    """True for a tuned folder by `finetune_pooled`."""
    return POOLED in artifacts.read_manifest(tuned_folder, "tuned")["config"]


def dataset_of(split_folder: Path) -> str:
    """Hash of the dataset that a split divides, also where noise was put into the split afterwards.

    It is the dataset folder as imported: the same raw data imported again with other filters is taken for other data.
    Raises ConfigError where the split does not say, as one by an older `hardneg data noise`.
    """
    made_from = artifacts.read_manifest(split_folder, splits.KIND)["inputs"]
    if "dataset" not in made_from:
        raise ConfigError(
            f"{split_folder} does not say which dataset it divides, so nobody can tell what has seen its test pairs; "
            "make the split again"
        )
    return str(made_from["dataset"])


def hash_of_transferable(folder: Path, kind: str, split_folder: Path) -> str:
    """The content hash of a pooled folder, once it is sure that it has not learnt from another split of the same data.

    That one's train pairs are this one's test pairs. Sets of other data, and this split itself, are welcome.
    """
    manifest, chosen = artifacts.read_manifest(folder, kind), chosen_by(split_folder)[VALID]
    made_from, notes = manifest["inputs"], manifest["notes"]
    learnt, dataset = splits.training_data_hash(split_folder), dataset_of(split_folder)
    numbers = [name.removeprefix("dataset ") for name in made_from if name.startswith("dataset ")]
    for number in numbers:
        same = made_from[f"training data {number}"] == learnt and notes.get(f"{VALID} {number}", chosen) == chosen
        if made_from[f"dataset {number}"] == dataset and not same:
            raise ConfigError(
                f"{folder} has learnt from another split of the data of {split_folder}, whose test pairs it may have "
                "seen; pool other data, or this split"
            )
    return artifacts.folder_hash(folder)
