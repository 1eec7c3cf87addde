"""Stages that make datasets and splits, and the ground truth of simulated data."""

from __future__ import annotations

from pathlib import Path

from hardneg import artifacts
from hardneg.data import dataset as datasets
from hardneg.data import noise as noises
from hardneg.data import split as splits
from hardneg.data.noise import NoiseConfig
from hardneg.data.simulate import SimulationConfig, write_simulated
from hardneg.data.splitters import SplitConfig, make_split
from hardneg.data.truth import Truth, read_truth
from hardneg.errors import ConfigError
from hardneg.pipeline.provenance import dataset_of
from hardneg.stage import Draft, Stage


def simulate_stage(config: SimulationConfig) -> Stage:
    """Return the stage that simulates a dataset with known preferences."""
    return Stage(datasets.KIND, config.model_dump(), {}, lambda draft: write_simulated(draft, config))


def split_stage(dataset: Path, config: SplitConfig) -> Stage:
    """Return the stage that divides a dataset folder into train, validation and test pairs."""
    inputs = {"dataset": artifacts.folder_hash(dataset, ("interactions.parquet", "items.parquet"))}

    def build(draft: Draft) -> None:
        splits.write_split(draft, make_split(datasets.read_dataset(dataset), config))

    return Stage(splits.KIND, config.model_dump(mode="json"), inputs, build)


def noise_stage(split_dir: Path, config: NoiseConfig) -> Stage:
    """Return the stage that adds false positives to the train pairs and hides true ones; noise.parquet records which.

    Raises ConfigError where the split has noise already, of which the record would be lost, or where it does not say
    which dataset it divides (`dataset_of`).
    """
    if (split_dir / noises.NOISE_FILE).is_file():
        raise ConfigError(
            f"{split_dir} has noise already ({noises.NOISE_FILE}), expected a split without; use the split it was made from"
        )
    inputs = {"split": artifacts.folder_hash(split_dir), "dataset": dataset_of(split_dir)}

    def build(draft: Draft) -> None:
        noisy, noise = noises.make_noisy_split(splits.read_split(split_dir), config)
        splits.write_split(draft, noisy)
        noise.table().write_parquet(draft.folder / noises.NOISE_FILE)

    return Stage(splits.KIND, {"noise": config.model_dump(mode="json")}, inputs, build)


def truth_of(dataset: Path, split_dir: Path) -> Truth:
    """Return the ground truth of a simulated dataset, in the numbering of its split."""
    return read_truth(dataset).reindex(splits.read_split(split_dir).vocabulary)
