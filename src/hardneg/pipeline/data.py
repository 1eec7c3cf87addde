"""Stages of the data room: simulate, split, disturb, and the truth of what was simulated."""

from __future__ import annotations

from pathlib import Path

from hardneg import artifacts
from hardneg.data import dataset as datasets
from hardneg.data import noise as noises
from hardneg.data import simulate as simulation
from hardneg.data import split as splits
from hardneg.data import truth as truths
from hardneg.data.noise import NoiseConfig, NoisySplit
from hardneg.data.split import Split
from hardneg.data.splitters import SplitConfig, make_split
from hardneg.data.truth import Truth
from hardneg.errors import ConfigError
from hardneg.pipeline.provenance import dataset_of


def simulate(out: Path, config: simulation.SimulationConfig) -> None:
    """Simulate a store into a dataset folder."""
    if not artifacts.is_finished(out, artifacts.artifact_key(datasets.KIND, config.model_dump(), {})):
        simulation.write_simulated(out, config)


def split(dataset: Path, out: Path, config: SplitConfig) -> Split:
    """Divide a dataset folder into a split folder."""
    files = ("interactions.parquet", "items.parquet")
    inputs = {"dataset": artifacts.folder_hash(dataset, files)}
    settings = config.model_dump(mode="json")
    if not artifacts.is_finished(out, artifacts.artifact_key(splits.KIND, settings, inputs)):
        splits.write_split(out, make_split(datasets.read_dataset(dataset), config), config=settings, inputs=inputs)
    return splits.read_split(out)


def add_noise(split_folder: Path, out: Path, config: NoiseConfig) -> NoisySplit:
    """Make a split folder whose train pairs hold false positives and lack true ones; what these are stands beside.

    Raises ConfigError where the split has noise already, of which the record would be lost, or does not say which
    dataset it divides (`dataset_of`).
    """
    if (split_folder / noises.NOISE_FILE).is_file():
        raise ConfigError(
            f"{split_folder} has noise already ({noises.NOISE_FILE}), expected a split without; disturb the one it was made from"
        )
    inputs = {"split": artifacts.folder_hash(split_folder), "dataset": dataset_of(split_folder)}
    settings = {"noise": config.model_dump(mode="json")}
    if not artifacts.is_finished(out, artifacts.artifact_key(splits.KIND, settings, inputs)):
        made = noises.make_noisy_split(splits.read_split(split_folder), config)
        splits.write_split(
            out, made.split, config=settings, inputs=inputs, more={noises.NOISE_FILE: made.noise.table()}
        )
    return NoisySplit(splits.read_split(out), noises.read_noise(out))


def truth_of(dataset: Path, split_folder: Path) -> Truth:
    """The truth of a simulated dataset, in the numbering of its split."""
    return truths.read_truth(dataset).reindex(splits.read_split(split_folder).vocabulary)
