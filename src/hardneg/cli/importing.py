"""`hardneg data import`: files of many kinds into a dataset folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardneg.cli.common import JsonOption, bars, console, emit_counts, table
from hardneg.cli.options import mapping
from hardneg.errors import ConfigError, DataError
from hardneg.stage import Stage

if TYPE_CHECKING:
    from hardneg.data import Dataset
    from hardneg.data.presets import DatasetCounts, DatasetPreset
    from hardneg.data.readers import StreamedDataset

SourceName = Literal[
    "table",
    "lightgcn",
    "pairs",
    "amazon-2014",
    "amazon-2018",
    "amazon-2023",
    "yelp",
    "movielens",
    "recbole",
    "selfrec",
]
PresetName = Literal["hnlmrec-toys", "hnlmrec-cds", "hnlmrec-yelp", "hnlmrec-electronics"]
REVIEWS = {"items", "without_reviews", "preset"}
OPTIONS: dict[str, set[str]] = {
    "table": {"items", "column", "item_column", "split_value"},
    "lightgcn": {"valid", "test"},
    "pairs": {"valid", "test", "item_offset"},
    "amazon-2014": REVIEWS,
    "amazon-2018": REVIEWS,
    "amazon-2023": REVIEWS,
    "yelp": REVIEWS,
    "movielens": {"items"},
    "recbole": {"items", "column", "item_column", "valid", "test"},
    "selfrec": {"valid", "test"},
}
"""Which options each source knows."""


def import_(
    source: Annotated[SourceName, typer.Argument(help="Format of the files.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="The interactions or reviews; of files in parts the train file, the others by option."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to make.")] = Path("data/imported"),
    items: Annotated[
        Path | None, typer.Option(help="table, amazon, yelp, movielens, recbole: file of item texts.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="table, recbole: OURS=THEIRS for user_id, item_id, rating, timestamp, review; table: split."),
    ] = None,
    item_column: Annotated[
        list[str] | None,
        typer.Option(
            help="table, recbole: OURS=THEIRS for item_id, title, brand, categories, attributes, description."
        ),
    ] = None,
    split_value: Annotated[
        list[str] | None, typer.Option(help="table: THEIRS=train, THEIRS=valid, THEIRS=test for the split column.")
    ] = None,
    valid: Annotated[
        Path | None, typer.Option(help="lightgcn, pairs, recbole, selfrec: file of validation pairs.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="lightgcn, pairs, recbole, selfrec: file of test pairs.")] = None,
    item_offset: Annotated[int, typer.Option(min=0, help="pairs: number of the first item.")] = 0,
    preset: Annotated[
        PresetName | None, typer.Option(help="amazon, yelp: filters of a paper's dataset; its counts are shown.")
    ] = None,
    without_reviews: Annotated[
        bool, typer.Option("--without-reviews", help="amazon, yelp: leave out what the reviews say.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read files into a dataset folder; a bad row is left out, counted and named.

    Files of reviews, MovieLens, RecBole and SELFRec may be larger than memory. A preset filters by rating and time while
    reading, and takes the 10-core of what is left.

    Examples:

    `hardneg data import table reviews.csv --items products.csv --column user_id=reviewer --item-column title=name --out data/shop`

    `hardneg data import amazon-2018 Toys.json.gz --items meta_Toys.json.gz --preset hnlmrec-toys --out data/toys`

    `hardneg data import movielens u.data --items u.item --out data/ml-100k`

    `hardneg data import recbole ml-100k.inter --items ml-100k.item --out data/ml-100k`

    `hardneg data import selfrec train.txt --test test.txt --out data/lastfm`

    `hardneg data import lightgcn train.txt --test test.txt --out data/yelp`

    `hardneg data import pairs train.txt --valid valid.txt --test test.txt --item-offset 15138 --out data/sports`
    """
    if not files or len(files) != 1:
        raise ConfigError(f"found {len(files or [])} files, expected one: hardneg data import {source} FILE --out DIR")
    given = {"interactions": files[0], "items": items, "valid": valid, "test": test}
    read = {name: path for name, path in given.items() if path is not None}
    settings: dict[str, Any] = {
        "source": source,
        "column": mapping(column or [], "--column"),
        "item_column": mapping(item_column or [], "--item-column"),
        "split_value": mapping(split_value or [], "--split-value"),
        "item_offset": item_offset,
    }
    settings |= {"without_reviews": True} if without_reviews else {}
    settings |= {"preset": preset} if preset else {}
    _require_options_of(source, settings, read)
    _import(out, read, settings, _preset(preset, source), as_json=as_json)


def _require_options_of(source: str, settings: Mapping[str, Any], read: Mapping[str, Path]) -> None:
    """An option that the source does not know is an error, not a thing to pass over."""
    given = [name for name, value in {**settings, **read}.items() if value and name not in ("source", "interactions")]
    foreign = [name for name in given if name not in OPTIONS[source]]
    if foreign:
        raise ConfigError(
            f"--{foreign[0].replace('_', '-')} is no option of source {source!r}; see hardneg data import --help"
        )


def _preset(name: PresetName | None, source: str) -> DatasetPreset | None:
    from hardneg.data.presets import PRESETS

    if name is None:
        return None
    if not source.startswith(PRESETS[name].sources):
        raise ConfigError(f"preset {name} is for sources {PRESETS[name].sources}..., found {source}; choose another")
    return PRESETS[name]


def _import(
    out: Path, read: Mapping[str, Path], settings: dict[str, Any], preset: DatasetPreset | None, *, as_json: bool
) -> None:
    """Make the folder unless it stands, and say what it holds."""
    from hardneg import artifacts
    from hardneg.data.dataset import KIND
    from hardneg.data.row_report import RowIssue

    if missing := [path for path in read.values() if not path.is_file()]:
        raise DataError(f"{missing[0]} does not exist; check the path")
    if preset is not None:
        settings = settings | {"filters": preset.filters.model_dump(mode="json")}
    inputs = {name: artifacts.file_hash(path) for name, path in read.items()}
    if not artifacts.is_finished(out, artifacts.artifact_key(KIND, settings, inputs)):
        _make(out, read, settings, inputs, preset)
    notes = artifacts.read_manifest(out, KIND)["notes"]
    found = _counts(out)
    counts = {
        "pairs": found.pairs,
        "users": found.users,
        "items": found.items,
        "items with a text table row": notes["items"],
    }
    row_report = tuple(RowIssue(**entry) for entry in notes["rows left out"])
    compare = {} if preset is None else {"paper": vars(preset.paper), "notes": preset.notes}
    emit_counts(counts, row_report, out, more=compare, as_json=as_json)
    if preset is not None and not as_json:
        console().print(table(["", "found", "paper"], [list(row) for row in preset.compare(found)]))
        for note in preset.notes:
            console().print(note, markup=False)


def _make(
    out: Path, read: Mapping[str, Path], settings: dict[str, Any], inputs: dict[str, str], preset: DatasetPreset | None
) -> None:
    from hardneg.data import Dataset, importing
    from hardneg.data import dataset as datasets

    data = _data(read, settings)
    if isinstance(data, Dataset):
        Stage(datasets.KIND, settings, inputs, lambda draft: datasets.write_dataset(draft, data)).run(out)
        return
    filters = preset.filters if preset else None
    with bars() as progress:
        Stage(
            datasets.KIND,
            settings,
            inputs,
            lambda draft: importing.write_streamed(draft, data, filters, progress=progress),
        ).run(out)


def _counts(out: Path) -> DatasetCounts:
    """Of the pairs that the folder holds, without reading its texts."""
    import polars as pl

    from hardneg.data.presets import DatasetCounts

    pairs = pl.scan_parquet(out / "interactions.parquet", glob=False)
    found = pairs.select(pl.col("user_id").n_unique(), pl.col("item_id").n_unique(), pl.len().alias("pairs")).collect()
    return DatasetCounts(*found.row(0))


def _data(read: Mapping[str, Path], settings: Mapping[str, Any]) -> Dataset | StreamedDataset:
    """What the files hold: read, or, where they may be large, about to be read."""
    from hardneg.data import readers

    file, items = read["interactions"], read.get("items")
    names = {"train": "interactions", "valid": "valid", "test": "test"}
    parts = {part: read[name] for part, name in names.items() if name in read}
    columns, item_columns = settings["column"], settings["item_column"]
    texts = "without_reviews" not in settings
    by_source: dict[str, Callable[[], Dataset | StreamedDataset]] = {
        "table": lambda: readers.read_table(
            file, items, columns=columns, item_columns=item_columns, split_values=settings["split_value"]
        ),
        "lightgcn": lambda: readers.read_lightgcn(parts),
        "pairs": lambda: readers.read_pairs(parts, item_offset=settings["item_offset"]),
        "amazon-2014": lambda: readers.open_amazon(2014, file, items, with_reviews=texts),
        "amazon-2018": lambda: readers.open_amazon(2018, file, items, with_reviews=texts),
        "amazon-2023": lambda: readers.open_amazon(2023, file, items, with_reviews=texts),
        "yelp": lambda: readers.open_yelp(file, items, with_reviews=texts),
        "movielens": lambda: readers.open_movielens(file, items),
        "recbole": lambda: readers.open_recbole(parts, items, columns=columns, item_columns=item_columns),
        "selfrec": lambda: readers.open_selfrec(parts),
    }
    return by_source[settings["source"]]()
