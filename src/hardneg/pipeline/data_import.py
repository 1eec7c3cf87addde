"""The stage that imports files into a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.data import Dataset
from hardneg.data.dataset import KIND, write_dataset
from hardneg.data.importing import write_streamed
from hardneg.data.presets import PRESETS, DatasetPresetName
from hardneg.data.readers import StreamedDataset
from hardneg.errors import DataError
from hardneg.stage import Draft, Stage
from hardneg.types import Progress


@dataclass(frozen=True)
class ImportRequest:
    """Files to read, and the settings that determine the dataset.

    source: name of the format. files: "interactions", "items", "valid", "test" -> path, None if not given. options:
    settings of the format; empty ones are left out of the key. preset: filters of a published dataset.
    """

    source: str
    files: Mapping[str, Path | None]
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: DatasetPresetName | None = None

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


Opener = Callable[[ImportRequest], Dataset | StreamedDataset]
"""Reads the files of a request, or opens them to be read in chunks."""


def import_stage(request: ImportRequest, read: Opener, progress: Progress | None = None) -> Stage:
    """Return the stage that imports files into a dataset; large files are read in bounded memory."""
    preset = None if request.preset is None else PRESETS[request.preset]
    settings: dict[str, Any] = {"source": request.source}
    settings |= {name: value for name, value in request.options.items() if value not in ({}, None, False)}
    if preset is not None:
        settings |= {"preset": request.preset, "filters": preset.filters.model_dump(mode="json")}
    inputs = {name: artifacts.file_hash(path) for name, path in request.paths.items()}

    def build(draft: Draft) -> None:
        data = read(request)
        if isinstance(data, Dataset):
            write_dataset(draft, data)
        else:
            write_streamed(draft, data, None if preset is None else preset.filters, progress)

    return Stage(KIND, settings, inputs, build)
