"""`hardneg data import`: files of many formats into a dataset folder, one command for each format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardneg.cli.common import OutputOptions, add_command, console, emit_counts, emit_following, new_group, render_table
from hardneg.cli.options import Pairs, pairs_option, parse_mapping
from hardneg.cli.progress import show_progress

if TYPE_CHECKING:
    from hardneg.data.presets import DatasetCounts, DatasetPreset

app = new_group("Read files into a dataset folder. A malformed row is left out, counted and named.")

PresetName = Literal["hnlmrec-toys", "hnlmrec-cds", "hnlmrec-yelp", "hnlmrec-electronics"]
FileArgument = Annotated[Path, typer.Argument(help="File of interactions; all formats but tables may exceed memory.")]
ItemsOption = Annotated[Path | None, typer.Option(help="File of item texts.")]
COLUMNS = pairs_option(
    "Column of the interactions: user_id, item_id, rating, timestamp, review, split.", "--column", "OURS=THEIRS"
)
ITEM_COLUMNS = pairs_option(
    "Column of the items: item_id, title, brand, categories, attributes, description.", "--item-column", "OURS=THEIRS"
)


@dataclass(frozen=True)
class ImportOptions(OutputOptions):
    """Options of every format."""

    out: Annotated[Path, typer.Option(help="Dataset folder to write.")] = Path("data/imported")


@dataclass(frozen=True)
class PartFiles:
    """Files of a dataset that is split already."""

    file: Annotated[Path, typer.Argument(help="File of train pairs.")]
    valid: Annotated[Path | None, typer.Option(help="File of validation pairs.")] = None
    test: Annotated[Path | None, typer.Option(help="File of test pairs.")] = None

    @property
    def inputs(self) -> dict[str, Path | None]:
        """The files by their names in the manifest."""
        return {"interactions": self.file, "valid": self.valid, "test": self.test}


@dataclass(frozen=True)
class ReviewFiles:
    """Files of reviews and of the items reviewed."""

    file: Annotated[Path, typer.Argument(help="File of reviews, also with .gz; may be larger than memory.")]
    items: ItemsOption = None
    preset: Annotated[
        PresetName | None, typer.Option(help="Filters of a paper's dataset; the paper's counts are printed as well.")
    ] = None
    without_reviews: Annotated[bool, typer.Option("--without-reviews", help="Leave the review texts out.")] = False


@add_command(app, "table")
def import_table_command(
    shared: ImportOptions,
    file: Annotated[Path, typer.Argument(help="Interactions: .parquet, .csv or .tsv, the last two also with .gz.")],
    items: ItemsOption = None,
    column: Annotated[Pairs, COLUMNS] = None,
    item_column: Annotated[Pairs, ITEM_COLUMNS] = None,
    split_value: Annotated[
        Pairs,
        pairs_option("Value of the split column that means train, valid or test.", "--split-value", "THEIRS=OURS"),
    ] = None,
) -> None:
    """Import a table of interactions and, if given, a table of items.

    Example: `hardneg data import table reviews.csv --items products.csv --column user_id=reviewer --item-column title=name --out data/shop`
    """
    options = {
        "columns": parse_mapping(column, "--column"),
        "item_columns": parse_mapping(item_column, "--item-column"),
        "split_values": parse_mapping(split_value, "--split-value"),
    }
    _import(shared, "table", {"interactions": file, "items": items}, options)


@add_command(app, "recbole")
def import_recbole_command(
    shared: ImportOptions,
    files: PartFiles,
    items: ItemsOption = None,
    column: Annotated[Pairs, COLUMNS] = None,
    item_column: Annotated[Pairs, ITEM_COLUMNS] = None,
) -> None:
    """Import the atomic files of RecBole; a single file of interactions is not split.

    Example: `hardneg data import recbole ml-100k.inter --items ml-100k.item --out data/ml-100k`
    """
    options = {
        "columns": parse_mapping(column, "--column"),
        "item_columns": parse_mapping(item_column, "--item-column"),
    }
    _import(shared, "recbole", {**files.inputs, "items": items}, options)


@add_command(app, "amazon")
def import_amazon_command(
    shared: ImportOptions,
    files: ReviewFiles,
    year: Annotated[Literal["2014", "2018", "2023"], typer.Option(help="Year of the Amazon review data.")],
) -> None:
    """Import Amazon reviews and metadata of 2014, 2018 or 2023.

    Example: `hardneg data import amazon Toys.json.gz --year 2018 --items meta_Toys.json.gz --preset hnlmrec-toys --out data/toys`
    """
    _import_reviews(shared, f"amazon-{year}", files)


@add_command(app, "yelp")
def import_yelp_command(shared: ImportOptions, files: ReviewFiles) -> None:
    """Import Yelp reviews and businesses.

    Example: `hardneg data import yelp review.json --items business.json --preset hnlmrec-yelp --out data/yelp`
    """
    _import_reviews(shared, "yelp", files)


@add_command(app, "selfrec")
def import_selfrec_command(shared: ImportOptions, files: PartFiles) -> None:
    """Import the triple files of SELFRec: user, item, rating.

    Example: `hardneg data import selfrec train.txt --test test.txt --out data/lastfm`
    """
    _import(shared, "selfrec", files.inputs)


@add_command(app, "lightgcn")
def import_lightgcn_command(shared: ImportOptions, files: PartFiles) -> None:
    """Import the list files of LightGCN: a user and all items of that user on a line.

    Example: `hardneg data import lightgcn train.txt --test test.txt --out data/yelp`
    """
    _import(shared, "lightgcn", files.inputs)


@add_command(app, "pairs")
def import_pairs_command(
    shared: ImportOptions,
    files: PartFiles,
    item_offset: Annotated[int, typer.Option(min=0, help="Number of the first item.")] = 0,
) -> None:
    """Import files of user and item numbers, a pair on a line.

    Example: `hardneg data import pairs train.txt --valid valid.txt --test test.txt --item-offset 15138 --out data/sports`
    """
    _import(shared, "pairs", files.inputs, {"item_offset": item_offset})


@add_command(app, "movielens")
def import_movielens_command(shared: ImportOptions, file: FileArgument, items: ItemsOption = None) -> None:
    """Import MovieLens ratings (u.data, ratings.dat or ratings.csv) and films.

    Example: `hardneg data import movielens u.data --items u.item --out data/ml-100k`
    """
    _import(shared, "movielens", {"interactions": file, "items": items})


@add_command(app, "custom")
def import_custom_command(
    shared: ImportOptions,
    reader: Annotated[str, typer.Argument(help="Reader: module:function, or an entry point of hardneg.readers.")],
    file: FileArgument,
    items: ItemsOption = None,
) -> None:
    """Import files with a reader from outside the package.

    Example: `hardneg data import custom my_package:read_shop sales.csv --items products.csv --out data/shop`
    """
    _import(shared, reader, {"interactions": file, "items": items})


def _import_reviews(shared: ImportOptions, source: str, files: ReviewFiles) -> None:
    options = {"without_reviews": True} if files.without_reviews else {}
    _import(shared, source, {"interactions": files.file, "items": files.items}, options, files.preset)


def _import(
    shared: ImportOptions,
    source: str,
    files: Mapping[str, Path | None],
    options: Mapping[str, Any] | None = None,
    preset: PresetName | None = None,
) -> None:
    """Write the dataset folder unless it is finished, and print its counts."""
    from hardneg.data.presets import PRESETS
    from hardneg.pipeline import ImportRequest, import_stage

    request = ImportRequest(source, files, options or {}, preset)
    with show_progress() as progress:
        import_stage(request, progress).run(shared.out)
    _emit_dataset(shared, None if preset is None else PRESETS[preset])


def _emit_dataset(shared: ImportOptions, preset: DatasetPreset | None) -> None:
    from hardneg.artifacts import read_manifest
    from hardneg.data.dataset import KIND

    out, counted, following = shared.out, _count(shared.out), ("data", "split", shared.out)
    counts = {"pairs": counted.pairs, "users": counted.users, "items": counted.items}
    counts["items with a text table row"] = read_manifest(out, KIND)["notes"]["items"]
    if preset is None or shared.as_json:
        paper = {} if preset is None else {"paper": vars(preset.paper), "notes": preset.notes}
        emit_counts(shared, counts, out, KIND, following, paper)
        return
    emit_counts(shared, counts, out, KIND, ())
    console().print(render_table(["", "found", "paper"], [list(row) for row in preset.compare(counted)]))
    for note in preset.notes:
        console().print(note, markup=False)
    emit_following(following)


def _count(out: Path) -> DatasetCounts:
    """Count the pairs of a dataset folder without reading its texts."""
    import polars as pl

    from hardneg.data.presets import DatasetCounts

    pairs = pl.scan_parquet(out / "interactions.parquet", glob=False)
    counts = pairs.select(pl.col("user_id").n_unique(), pl.col("item_id").n_unique(), pl.len().alias("pairs")).collect()
    return DatasetCounts(*counts.row(0))
