"""Stages that make datasets and splits, and the ground truth of simulated data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.data import Dataset, readers
from hardneg.data import dataset as datasets
from hardneg.data import noise as noises
from hardneg.data import split as splits
from hardneg.data.dataset import KIND, write_dataset
from hardneg.data.id_normalisation import normalise_ids
from hardneg.data.importing import write_streamed
from hardneg.data.noise import NoiseConfig
from hardneg.data.presets import PRESETS, DatasetPresetName
from hardneg.data.readers import StreamedDataset
from hardneg.data.readers.text_format import TextOptions
from hardneg.data.simulate import SimulationConfig, write_simulated
from hardneg.data.splitters import SplitConfig, make_split
from hardneg.data.truth import Truth, read_truth
from hardneg.errors import ConfigError, DataError
from hardneg.pipeline.provenance import dataset_of
from hardneg.stage import Draft, Stage
from hardneg.types import Progress


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


@dataclass(frozen=True)
class ImportRequest:
    """Files to read, and the settings that determine the dataset.

    source: name of the format, or a reader from outside the package. files: "interactions", "items", "valid", "test" ->
    path, None if not given. options: settings of the format; empty ones are left out of the key. preset: filters of a
    published dataset.
    """

    source: str
    files: Mapping[str, Path | None]
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: DatasetPresetName | None = None

    def __post_init__(self) -> None:
        """Raise ConfigError where the preset is one of another source."""
        if self.preset is not None and not self.source.startswith(expected := PRESETS[self.preset].sources):
            raise ConfigError(
                f"preset {self.preset} is for sources {expected}..., found {self.source}; choose another preset"
            )

    @property
    def paths(self) -> dict[str, Path]:
        """The given files. Raises DataError where one does not exist."""
        paths = {name: path for name, path in self.files.items() if path is not None}
        if missing := [path for path in paths.values() if not path.is_file()]:
            raise DataError(f"{missing[0]} does not exist; check the path")
        return paths

    @property
    def parts(self) -> dict[str, Path]:
        """The files of pairs: train, valid, test -> path."""
        names = {"train": "interactions", "valid": "valid", "test": "test"}
        return {part: self.paths[name] for part, name in names.items() if name in self.paths}

    def read(self) -> Dataset | StreamedDataset:
        """Read the files, or open them to be read in chunks."""
        file, items, options = self.paths["interactions"], self.paths.get("items"), self.options
        with_reviews = "without_reviews" not in options
        columns = {name: options.get(name, {}) for name in ("columns", "item_columns")}
        columns["time_format"] = options.get("time_format")
        text = TextOptions.of(*(options.get(name) for name in ("delimiter", "quote", "encoding")))
        by_source: dict[str, Callable[[], Dataset | StreamedDataset]] = {
            "table": lambda: readers.open_table(
                file, items, **columns, split_values=options.get("split_values", {}), options=text
            ),
            "amazon-2014": lambda: readers.open_amazon(2014, file, items, with_reviews=with_reviews),
            "amazon-2018": lambda: readers.open_amazon(2018, file, items, with_reviews=with_reviews),
            "amazon-2023": lambda: readers.open_amazon(2023, file, items, with_reviews=with_reviews),
            "yelp": lambda: readers.open_yelp(file, items, with_reviews=with_reviews),
            "movielens": lambda: readers.open_movielens(file, items),
            "recbole": lambda: readers.open_recbole(self.parts, items, **columns, options=text),
            "selfrec": lambda: readers.open_selfrec(self.parts, text),
            "lightgcn": lambda: readers.read_lightgcn(self.parts),
            "pairs": lambda: readers.read_pairs(self.parts, item_offset=options.get("item_offset", 0)),
        }
        if self.source in by_source:
            return by_source[self.source]()
        reader: readers.DatasetReader = readers.READERS.find(self.source)
        return reader(file, items)


def import_stage(request: ImportRequest, progress: Progress | None = None) -> Stage:
    """Return the stage that imports files into a dataset; large files are read in bounded memory."""
    preset = None if request.preset is None else PRESETS[request.preset]
    settings: dict[str, Any] = {"source": request.source}
    settings |= {name: value for name, value in request.options.items() if value not in ({}, None, False)}
    if preset is not None:
        settings |= {"preset": request.preset, "filters": preset.filters.model_dump(mode="json")}
    inputs = {name: artifacts.file_hash(path) for name, path in request.paths.items()}

    def build(draft: Draft) -> None:
        data = request.read()
        if how := request.options.get("normalise_ids"):
            data = normalise_ids(data, how)
        if isinstance(data, Dataset):
            write_dataset(draft, data)
        else:
            write_streamed(draft, data, None if preset is None else preset.filters, progress)

    return Stage(KIND, settings, inputs, build)
