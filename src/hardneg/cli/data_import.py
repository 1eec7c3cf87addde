"""`hardneg data import`: files of many formats into a dataset folder, one command for each format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardneg.cli.common import JsonOption, add_command, console, emit_counts, emit_following, new_group, table
from hardneg.cli.options import parse_mapping
from hardneg.cli.progress import show_progress
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.data.presets import DatasetCounts
    from hardneg.pipeline.data_import import ImportRequest, Opener

app = new_group("Read files into a dataset folder. A malformed row is left out, counted and named.")

PresetName = Literal["hnlmrec-toys", "hnlmrec-cds", "hnlmrec-yelp", "hnlmrec-electronics"]

OutOption = Annotated[Path, typer.Option(help="Dataset folder to write.")]
OUT = Path("data/imported")
ReviewsArgument = Annotated[Path, typer.Argument(help="File of reviews, also with .gz; may be larger than memory.")]
TrainArgument = Annotated[Path, typer.Argument(help="File of train pairs.")]
ItemsOption = Annotated[Path | None, typer.Option(help="File of item texts.")]
ValidOption = Annotated[Path | None, typer.Option(help="File of validation pairs.")]
TestOption = Annotated[Path | None, typer.Option(help="File of test pairs.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OURS=THEIRS",
        help="Column of the interactions: user_id, item_id, rating, timestamp, review, split. Repeatable.",
    ),
]
ItemColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OURS=THEIRS",
        help="Column of the items: item_id, title, brand, categories, attributes, description. Repeatable.",
    ),
]
PresetOption = Annotated[
    PresetName | None, typer.Option(help="Filters of a paper's dataset; the paper's counts are printed beside.")
]
WithoutReviewsOption = Annotated[bool, typer.Option("--without-reviews", help="Leave the review texts out.")]


@add_command(app, "table")
def import_table_command(
    file: Annotated[Path, typer.Argument(help="Interactions: .parquet, .csv or .tsv, the last two also with .gz.")],
    out: OutOption = OUT,
    items: ItemsOption = None,
    column: ColumnOption = None,
    item_column: ItemColumnOption = None,
    split_value: Annotated[
        list[str] | None,
        typer.Option(
            metavar="THEIRS=OURS", help="Value of the split column that means train, valid or test. Repeatable."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import a table of interactions and, if given, a table of items.

    Example: `hardneg data import table reviews.csv --items products.csv --column user_id=reviewer --item-column title=name --out data/shop`
    """
    from hardneg.data import readers
    from hardneg.pipeline import ImportRequest

    options = {
        "column": parse_mapping(column or [], "--column"),
        "item_column": parse_mapping(item_column or [], "--item-column"),
        "split_value": parse_mapping(split_value or [], "--split-value"),
    }
    _import(
        ImportRequest("table", {"interactions": file, "items": items}, options),
        lambda _: readers.read_table(
            file,
            items,
            columns=options["column"],
            item_columns=options["item_column"],
            split_values=options["split_value"],
        ),
        out,
        as_json=as_json,
    )


@add_command(app, "amazon")
def import_amazon_command(
    file: ReviewsArgument,
    year: Annotated[Literal["2014", "2018", "2023"], typer.Option(help="Year of the Amazon review data.")],
    out: OutOption = OUT,
    items: ItemsOption = None,
    preset: PresetOption = None,
    without_reviews: WithoutReviewsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import Amazon reviews and metadata of 2014, 2018 or 2023.

    Example: `hardneg data import amazon Toys.json.gz --year 2018 --items meta_Toys.json.gz --preset hnlmrec-toys --out data/toys`
    """
    from hardneg.data import readers

    request = _review_request(f"amazon-{year}", file, items, preset, without_reviews=without_reviews)
    number: Any = int(year)
    _import(
        request,
        lambda _: readers.open_amazon(number, file, items, with_reviews=not without_reviews),
        out,
        as_json=as_json,
    )


@add_command(app, "yelp")
def import_yelp_command(
    file: ReviewsArgument,
    out: OutOption = OUT,
    items: ItemsOption = None,
    preset: PresetOption = None,
    without_reviews: WithoutReviewsOption = False,
    as_json: JsonOption = False,
) -> None:
    """Import Yelp reviews and businesses.

    Example: `hardneg data import yelp review.json --items business.json --preset hnlmrec-yelp --out data/yelp`
    """
    from hardneg.data import readers

    request = _review_request("yelp", file, items, preset, without_reviews=without_reviews)
    _import(request, lambda _: readers.open_yelp(file, items, with_reviews=not without_reviews), out, as_json=as_json)


@add_command(app, "movielens")
def import_movielens_command(
    file: Annotated[Path, typer.Argument(help="Ratings: u.data, ratings.dat or ratings.csv.")],
    out: OutOption = OUT,
    items: ItemsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import MovieLens ratings and films.

    Example: `hardneg data import movielens u.data --items u.item --out data/ml-100k`
    """
    from hardneg.data import readers
    from hardneg.pipeline import ImportRequest

    request = ImportRequest("movielens", {"interactions": file, "items": items})
    _import(request, lambda _: readers.open_movielens(file, items), out, as_json=as_json)


@add_command(app, "recbole")
def import_recbole_command(
    file: Annotated[Path, typer.Argument(help="File .inter of interactions, or of train pairs.")],
    out: OutOption = OUT,
    items: ItemsOption = None,
    valid: ValidOption = None,
    test: TestOption = None,
    column: ColumnOption = None,
    item_column: ItemColumnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import the atomic files of RecBole.

    Example: `hardneg data import recbole ml-100k.inter --items ml-100k.item --out data/ml-100k`
    """
    from hardneg.data import readers
    from hardneg.pipeline import ImportRequest

    options = {
        "column": parse_mapping(column or [], "--column"),
        "item_column": parse_mapping(item_column or [], "--item-column"),
    }
    _import(
        ImportRequest("recbole", {"interactions": file, "items": items, "valid": valid, "test": test}, options),
        lambda request: readers.open_recbole(
            request.parts, items, columns=options["column"], item_columns=options["item_column"]
        ),
        out,
        as_json=as_json,
    )


@add_command(app, "selfrec")
def import_selfrec_command(
    file: TrainArgument,
    out: OutOption = OUT,
    valid: ValidOption = None,
    test: TestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import the triple files of SELFRec: user, item, rating.

    Example: `hardneg data import selfrec train.txt --test test.txt --out data/lastfm`
    """
    from hardneg.data import readers
    from hardneg.pipeline import ImportRequest

    request = ImportRequest("selfrec", {"interactions": file, "valid": valid, "test": test})
    _import(request, lambda request: readers.open_selfrec(request.parts), out, as_json=as_json)


@add_command(app, "lightgcn")
def import_lightgcn_command(
    file: TrainArgument,
    out: OutOption = OUT,
    valid: ValidOption = None,
    test: TestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import the list files of LightGCN: a user and all items of that user on a line.

    Example: `hardneg data import lightgcn train.txt --test test.txt --out data/yelp`
    """
    from hardneg.data import readers
    from hardneg.pipeline import ImportRequest

    request = ImportRequest("lightgcn", {"interactions": file, "valid": valid, "test": test})
    _import(request, lambda request: readers.read_lightgcn(request.parts), out, as_json=as_json)


@add_command(app, "pairs")
def import_pairs_command(
    file: TrainArgument,
    out: OutOption = OUT,
    valid: ValidOption = None,
    test: TestOption = None,
    item_offset: Annotated[int, typer.Option(min=0, help="Number of the first item.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Import files of user and item numbers, a pair on a line.

    Example: `hardneg data import pairs train.txt --valid valid.txt --test test.txt --item-offset 15138 --out data/sports`
    """
    from hardneg.data import readers
    from hardneg.pipeline import ImportRequest

    files = {"interactions": file, "valid": valid, "test": test}
    _import(
        ImportRequest("pairs", files, {"item_offset": item_offset}),
        lambda request: readers.read_pairs(request.parts, item_offset=item_offset),
        out,
        as_json=as_json,
    )


@add_command(app, "custom")
def import_custom_command(
    reader: Annotated[str, typer.Argument(help="Reader: module:function, or an entry point of hardneg.readers.")],
    file: Annotated[Path, typer.Argument(help="File of interactions.")],
    out: OutOption = OUT,
    items: ItemsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import files with a reader from outside the package.

    Example: `hardneg data import custom my_package:read_shop sales.csv --items products.csv --out data/shop`
    """
    from hardneg.data.readers import find_reader
    from hardneg.pipeline import ImportRequest

    request = ImportRequest(reader, {"interactions": file, "items": items})
    _import(request, lambda _: find_reader(reader)(file, items), out, as_json=as_json)


def _review_request(
    source: str, file: Path, items: Path | None, preset: PresetName | None, *, without_reviews: bool
) -> ImportRequest:
    from hardneg.data.presets import PRESETS
    from hardneg.pipeline import ImportRequest

    if preset is not None and not source.startswith(PRESETS[preset].sources):
        expected = PRESETS[preset].sources
        raise ConfigError(f"preset {preset} is for sources {expected}..., found {source}; choose another preset")
    options = {"without_reviews": True} if without_reviews else {}
    return ImportRequest(source, {"interactions": file, "items": items}, options, preset)


def _import(request: ImportRequest, read: Opener, out: Path, *, as_json: bool) -> None:
    """Write the dataset folder unless it is finished, and print its counts."""
    from hardneg import artifacts
    from hardneg.data.dataset import KIND
    from hardneg.data.presets import PRESETS
    from hardneg.pipeline import import_stage

    with show_progress() as progress:
        import_stage(request, read, progress).run(out)
    preset = None if request.preset is None else PRESETS[request.preset]
    found = _count(out)
    n_texts = artifacts.read_manifest(out, KIND)["notes"]["items"]
    counts = {"pairs": found.pairs, "users": found.users, "items": found.items, "items with a text table row": n_texts}
    following = ("data", "split", out)
    if preset is None or as_json:
        paper = {} if preset is None else {"paper": vars(preset.paper), "notes": preset.notes}
        emit_counts(counts, out, KIND, more=paper, as_json=as_json, following=following)
        return
    emit_counts(counts, out, KIND, as_json=False)
    console().print(table(["", "found", "paper"], [list(row) for row in preset.compare(found)]))
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
