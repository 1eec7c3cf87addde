"""Readers of the API: files of public formats, as datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from hardneg import pipeline
from hardneg.api.folders import DatasetFolder, Workspace
from hardneg.config import parse_config
from hardneg.data.ids import IdNormalisation
from hardneg.data.presets import DatasetPresetName
from hardneg.data.simulate import PRESETS, SimulationConfig, TextQuality
from hardneg.pipeline.data import ImportRequest

AnyPath = str | Path


def table(
    interactions: AnyPath,
    items: AnyPath | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
    split_values: Mapping[str, str] | None = None,
    time_format: str | None = None,
    normalise_ids: IdNormalisation | None = None,
    delimiter: str | None = None,
    quote: str | None = None,
    encoding: str | None = None,
    workspace: Workspace | None = None,
) -> DatasetFolder:
    """Import tables: delimited text, plain or gzip, or Parquet.

    columns: our name (user_id, item_id, rating, timestamp, review, split) -> column of the interactions. item_columns:
    item_id, title, ... -> column of the items. split_values: value of the split column -> train, valid or test.
    time_format: seconds, ..., iso, day-first, month-first, year-first or a pattern of `strptime`. normalise_ids: spelling
    of the ids of both tables. delimiter, quote ("none" for none), encoding: of delimited text; by default the content
    decides.
    """
    options: dict[str, object] = {"columns": dict(columns or {}), "item_columns": dict(item_columns or {})}
    options |= {"split_values": dict(split_values or {}), "time_format": time_format, "normalise_ids": normalise_ids}
    options |= {"delimiter": delimiter, "quote": quote, "encoding": encoding}
    return _import(ImportRequest("table", _files(interactions, items), options), workspace)


def amazon(
    reviews: AnyPath,
    items: AnyPath | None = None,
    *,
    year: Literal[2014, 2018, 2023] = 2018,
    preset: DatasetPresetName | None = None,
    with_reviews: bool = True,
    normalise_ids: IdNormalisation | None = None,
    workspace: Workspace | None = None,
) -> DatasetFolder:
    """Import Amazon reviews and product metadata of one release. preset: filters of a dataset of HNLMRec."""
    options = {"without_reviews": not with_reviews, "normalise_ids": normalise_ids}
    return _import(ImportRequest(f"amazon-{year}", _files(reviews, items), options, preset), workspace)


def yelp(
    reviews: AnyPath,
    items: AnyPath | None = None,
    *,
    preset: DatasetPresetName | None = None,
    with_reviews: bool = True,
    normalise_ids: IdNormalisation | None = None,
    workspace: Workspace | None = None,
) -> DatasetFolder:
    """Import reviews and businesses of the Yelp Open Dataset. preset: filters of a dataset of HNLMRec."""
    options = {"without_reviews": not with_reviews, "normalise_ids": normalise_ids}
    return _import(ImportRequest("yelp", _files(reviews, items), options, preset), workspace)


def movielens(
    ratings: AnyPath,
    items: AnyPath | None = None,
    *,
    normalise_ids: IdNormalisation | None = None,
    workspace: Workspace | None = None,
) -> DatasetFolder:
    """Import MovieLens ratings and films, of any of its releases."""
    options = {"normalise_ids": normalise_ids}
    return _import(ImportRequest("movielens", _files(ratings, items), options), workspace)


def pairs(
    train: AnyPath,
    *,
    valid: AnyPath | None = None,
    test: AnyPath | None = None,
    item_offset: int = 0,
    workspace: Workspace | None = None,
) -> DatasetFolder:
    """Import files of user and item numbers, a pair on a line. item_offset: number of the first item."""
    return _import(ImportRequest("pairs", _parts(train, valid, test), {"item_offset": item_offset}), workspace)


def lightgcn(
    train: AnyPath,
    *,
    valid: AnyPath | None = None,
    test: AnyPath | None = None,
    workspace: Workspace | None = None,
) -> DatasetFolder:
    """Import the list files of LightGCN: a user and all items of that user on a line."""
    return _import(ImportRequest("lightgcn", _parts(train, valid, test)), workspace)


def recbole(
    interactions: AnyPath,
    items: AnyPath | None = None,
    *,
    time_format: str | None = None,
    normalise_ids: IdNormalisation | None = None,
    workspace: Workspace | None = None,
) -> DatasetFolder:
    """Import RecBole's atomic files. time_format, normalise_ids: as of `table`."""
    options = {"time_format": time_format, "normalise_ids": normalise_ids}
    return _import(ImportRequest("recbole", _files(interactions, items), options), workspace)


def read(
    reader: str,
    interactions: AnyPath,
    items: AnyPath | None = None,
    *,
    normalise_ids: IdNormalisation | None = None,
    workspace: Workspace | None = None,
) -> DatasetFolder:
    """Import files with a reader from outside the package: module:function, or an entry point of hardneg.readers."""
    options = {"normalise_ids": normalise_ids}
    return _import(ImportRequest(reader, _files(interactions, items), options), workspace)


def simulate(
    text: TextQuality = "informative", *, workspace: Workspace | None = None, **settings: Any
) -> DatasetFolder:
    """Simulate a dataset with known preferences. settings: n_users, n_items, seed, ... of `SimulationConfig`."""
    place = workspace or Workspace()
    values = {**PRESETS[text].model_dump(), **settings}
    config: SimulationConfig = parse_config(SimulationConfig, values, where="simulate")
    return DatasetFolder(place.run(pipeline.simulate_stage(config)), place)


def _import(request: ImportRequest, workspace: Workspace | None) -> DatasetFolder:
    place = workspace or Workspace()
    return DatasetFolder(place.run(pipeline.import_stage(request)), place)


def _files(interactions: AnyPath, items: AnyPath | None) -> dict[str, Path | None]:
    return {"interactions": Path(interactions), "items": None if items is None else Path(items)}


def _parts(train: AnyPath, valid: AnyPath | None, test: AnyPath | None) -> dict[str, Path | None]:
    files = {"interactions": train, "valid": valid, "test": test}
    return {name: None if path is None else Path(path) for name, path in files.items()}
