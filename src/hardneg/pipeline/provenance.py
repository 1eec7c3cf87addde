"""Origin of artifacts: the split they were made from, and the language model replies they needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.artifacts import COSTS
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.storage import read_json

VALID = "valid"
"""Note of an artifact that comes from a run: hash of the validation pairs that chose the run's epoch."""
POOLED = "pooled"
"""Setting of a model that was tuned on several datasets: their number."""


def validation_note(split_dir: Path) -> dict[str, str]:
    """Return the note VALID for an artifact that comes from a run of this split. Keys do not depend on notes."""
    return {VALID: artifacts.file_hash(split_dir / "valid.parquet")}


def inherited_note(*folders: Path | None) -> dict[str, str]:
    """Return the note VALID that these artifacts of one split carry; nothing where none has it."""
    existing = [folder for folder in folders if folder is not None]
    notes = [artifacts.read_manifest(folder, str(artifacts.kind_at(folder)))["notes"] for folder in existing]
    hashes = [str(note[VALID]) for note in notes if VALID in note]
    return {VALID: hashes[0]} if hashes else {}


def split_inputs(split_dir: Path, **of_same_split: tuple[Path | None, str]) -> dict[str, str]:
    """Return the input hashes of a stage: the split's training data, and artifacts of the same split.

    of_same_split: name -> (folder, kind); a folder of None is left out. Raises ConfigError as `require_same_split`.
    """
    inputs = {"training data": splits.training_data_hash(split_dir)}
    for name, (folder, kind) in of_same_split.items():
        if folder is not None:
            inputs[name] = hash_of_same_split(folder, kind, split_dir)
    return inputs


def hash_of_same_split(folder: Path, kind: str, split_dir: Path) -> str:
    """Return an artifact's content hash, after `require_same_split`."""
    require_same_split(folder, kind, split_dir)
    return artifacts.folder_hash(folder)


def require_same_split(folder: Path, kind: str, split_dir: Path) -> None:
    """Raise ConfigError where an artifact was not made from the training data of this split.

    Another split of the same data may have as many train pairs, and its training data may hold this one's test pairs.
    Where the artifact comes from a run (VALID), this split's validation pairs must have chosen that run, too.
    """
    manifest = artifacts.read_manifest(folder, kind)
    if manifest["inputs"].get("training data") != splits.training_data_hash(split_dir):
        raise ConfigError(f"{folder} was made from another split than {split_dir}; make these {kind} from this split")
    expected = validation_note(split_dir)[VALID]
    if manifest["notes"].get(VALID, expected) != expected:
        raise ConfigError(
            f"{folder} comes from a run that other validation pairs chose than those of {split_dir}, which may be "
            f"test pairs here; make these {kind} from this split"
        )


def is_pooled(tuned_dir: Path) -> bool:
    """Return True for a model that was tuned on several datasets."""
    return POOLED in artifacts.read_manifest(tuned_dir, "tuned")["config"]


def dataset_of(split_dir: Path) -> str:
    """Return the hash of the dataset that a split divides, also where noise was added to the split.

    It is the hash of the dataset folder as imported: the same raw data with other filters counts as other data.
    Raises ConfigError where the split does not record it.
    """
    inputs = artifacts.read_manifest(split_dir, splits.KIND)["inputs"]
    if "dataset" not in inputs:
        raise ConfigError(
            f"{split_dir} does not say which dataset it divides, so what used its test pairs is unknown; "
            "make the split again"
        )
    return str(inputs["dataset"])


def hash_of_transferable(folder: Path, kind: str, split_dir: Path) -> str:
    """Return the content hash of a pooled artifact that was not made from another split of this split's dataset.

    The train pairs of such a split are test pairs of this one. Other datasets, and this split itself, are accepted.
    """
    manifest, valid = artifacts.read_manifest(folder, kind), validation_note(split_dir)[VALID]
    inputs, notes = manifest["inputs"], manifest["notes"]
    training_data, dataset = splits.training_data_hash(split_dir), dataset_of(split_dir)
    for number in (name.removeprefix("dataset ") for name in inputs if name.startswith("dataset ")):
        same_split = inputs[f"training data {number}"] == training_data
        same_split &= notes.get(f"{VALID} {number}", valid) == valid
        if inputs[f"dataset {number}"] == dataset and not same_split:
            raise ConfigError(
                f"{folder} was tuned on another split of the data of {split_dir}, which may hold its test pairs; "
                "pool other data, or this split"
            )
    return artifacts.folder_hash(folder)


@dataclass(frozen=True)
class LlmNeeds:
    """Replies, tokens and dollars (None where a price is unknown), paid by this or by earlier runs."""

    calls: int = 0
    tokens: int = 0
    money: float | None = 0.0

    def __add__(self, other: LlmNeeds) -> LlmNeeds:
        money = None if self.money is None or other.money is None else self.money + other.money
        return LlmNeeds(self.calls + other.calls, self.tokens + other.tokens, money)

    def as_costs(self) -> dict[str, Any]:
        """Return the entry of costs.json."""
        return {"needed": asdict(self)}

    def without_own_calls(self) -> dict[str, Any]:
        """Return the costs.json of a stage that called no language model itself."""
        return self.as_costs() | {"llm_calls": 0, "llm_tokens": 0, "money": 0.0}


def needs_of(folder: Path | None) -> LlmNeeds:
    """Return what an artifact's costs.json says was needed; nothing where it has none."""
    path = None if folder is None else folder / COSTS
    if path is None or not path.is_file():
        return LlmNeeds()
    return LlmNeeds(**read_json(path).get("needed", {}))
