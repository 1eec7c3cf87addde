"""`hardneg data import`: files of many formats into a dataset folder, one command for each format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from hardneg.cli.common import OutputOptions, add_command, new_group, run_stage
from hardneg.cli.options import Pairs, pairs_option, parse_mapping
from hardneg.cli.output import console, emit_following, render_table, show_progress

app = new_group("Read files into a dataset folder. A malformed row is left out, counted and named.")

PresetName = Literal["hnlmrec-toys", "hnlmrec-cds", "hnlmrec-yelp", "hnlmrec-electronics"]
FileArgument = Annotated[Path, Argument(help="File of interactions; may be larger than memory.")]
ItemsOption = Annotated[Path | None, Option(help="File of item texts.")]


@dataclass(frozen=True)
class ImportOptions(OutputOptions):
    """Options of every format."""

    out: Annotated[Path, Option(help="Dataset folder to write.")] = Path("data/imported")
    normalise_ids: Annotated[
        Literal["strip", "integer"] | None,
        Option(
            help="Spelling of the ids of both tables. strip: without white space around; integer: also, of whole numbers, "
            "without leading zeros and a trailing .0."
        ),
    ] = None

    def write(
        self, source: str, files: dict[str, Path | None], preset: PresetName | None = None, **options: object
    ) -> None:
        """Write the dataset folder unless it is finished, and print its counts. options: those of the reader."""
        from hardneg.data.presets import PRESETS, DatasetCounts
        from hardneg.pipeline import ImportRequest, import_stage

        options |= {"normalise_ids": self.normalise_ids}
        with show_progress() as progress:
            notes = run_stage(import_stage(ImportRequest(source, files, options, preset), progress), self.out)
        counts = _count(self.out)
        following = ("data", "split", self.out)
        if preset is None:
            self.emit_counts(counts, self.out, notes, following)
            return
        paper = PRESETS[preset]
        self.emit_counts(counts, self.out, notes, (), paper=vars(paper.paper), notes=paper.notes)
        if self.as_json:
            return
        console().print(render_table(["", "found", "paper"], paper.compare(DatasetCounts(**counts))))
        for note in paper.notes:
            console().print(note, markup=False)
        emit_following(following)


@dataclass(frozen=True)
class ColumnOptions:
    """Names of the columns in files that have some."""

    column: Annotated[
        Pairs,
        pairs_option(
            "Column of the interactions: user_id, item_id, rating, timestamp, review, split.", "--column", "OURS=THEIRS"
        ),
    ] = None
    item_column: Annotated[
        Pairs,
        pairs_option(
            "Column of the items: item_id, title, brand, categories, attributes, description.",
            "--item-column",
            "OURS=THEIRS",
        ),
    ] = None

    @property
    def mappings(self) -> dict[str, dict[str, str]]:
        """The options of a reader."""
        columns, item_columns = parse_mapping(self.column, "--column"), parse_mapping(self.item_column, "--item-column")
        return {"columns": columns, "item_columns": item_columns}


TimeFormatOption = Annotated[
    str | None,
    Option(
        help="Format of the timestamps: seconds, milliseconds, microseconds, nanoseconds, iso, day-first, month-first, "
        "year-first, or a pattern such as '%d.%m.%Y %H:%M'. Default: that which the column decides."
    ),
]


@dataclass(frozen=True)
class TextFormatOptions:
    """Format of delimited text, for files whose content does not decide it."""

    delimiter: Annotated[
        str | None,
        Option(help="Delimiter: comma, semicolon, tab, pipe, space, :: or other characters [default: by content]."),
    ] = None
    quote: Annotated[
        str | None, Option(help="Quote character, or none [default: double quotes, but none between tabs or ::].")
    ] = None
    encoding: Annotated[
        str | None, Option(help="Encoding, for example latin-1 [default: UTF-8 or by byte order mark].")
    ] = None

    @property
    def settings(self) -> dict[str, str | None]:
        """The options of a reader."""
        return {"delimiter": self.delimiter, "quote": self.quote, "encoding": self.encoding}


@dataclass(frozen=True)
class PartFiles:
    """Files of a dataset that is split already."""

    file: Annotated[Path, Argument(help="File of train pairs.")]
    valid: Annotated[Path | None, Option(help="File of validation pairs.")] = None
    test: Annotated[Path | None, Option(help="File of test pairs.")] = None

    @property
    def inputs(self) -> dict[str, Path | None]:
        """The files by their names in the manifest."""
        return {"interactions": self.file, "valid": self.valid, "test": self.test}


@dataclass(frozen=True)
class ReviewFiles:
    """Files of reviews and of the items reviewed."""

    file: Annotated[Path, Argument(help="File of reviews, also with .gz; may be larger than memory.")]
    items: ItemsOption = None
    preset: Annotated[
        PresetName | None, Option(help="Filters of a paper's dataset; the paper's counts are printed as well.")
    ] = None
    without_reviews: Annotated[bool, Option("--without-reviews", help="Leave the review texts out.")] = False

    def write(self, shared: ImportOptions, source: str) -> None:
        """Import the files."""
        options = {"without_reviews": True} if self.without_reviews else {}
        shared.write(source, {"interactions": self.file, "items": self.items}, self.preset, **options)


@add_command(app, "table")
def import_table_command(
    shared: ImportOptions,
    columns: ColumnOptions,
    text: TextFormatOptions,
    file: Annotated[
        Path, Argument(help="Interactions: delimited text, plain or gzip, or Parquet; recognised by content.")
    ],
    items: ItemsOption = None,
    split_value: Annotated[
        Pairs,
        pairs_option("Value of the split column that means train, valid or test.", "--split-value", "THEIRS=OURS"),
    ] = None,
    time_format: TimeFormatOption = None,
) -> None:
    """Import a table of interactions and, if given, a table of items.

    For a text without column names, give the numbers of its columns: `--column user_id=1`.

    Example: `hardneg data import table reviews.csv --items products.csv --column user_id=reviewer --item-column title=name --out data/shop`
    """
    split_values = parse_mapping(split_value, "--split-value")
    shared.write(
        "table",
        {"interactions": file, "items": items},
        None,
        **columns.mappings,
        **text.settings,
        split_values=split_values,
        time_format=time_format,
    )


@add_command(app, "recbole")
def import_recbole_command(
    shared: ImportOptions,
    columns: ColumnOptions,
    text: TextFormatOptions,
    files: PartFiles,
    items: ItemsOption = None,
    time_format: TimeFormatOption = None,
) -> None:
    """Import the atomic files of RecBole; a single file of interactions is not split.

    Example: `hardneg data import recbole ml-100k.inter --items ml-100k.item --out data/ml-100k`
    """
    options = {**columns.mappings, **text.settings, "time_format": time_format}
    shared.write("recbole", {**files.inputs, "items": items}, None, **options)


@add_command(app, "amazon")
def import_amazon_command(
    shared: ImportOptions,
    files: ReviewFiles,
    year: Annotated[Literal["2014", "2018", "2023"], Option(help="Year of the Amazon review data.")],
) -> None:
    """Import Amazon reviews and metadata of 2014, 2018 or 2023.

    Example: `hardneg data import amazon Toys.json.gz --year 2018 --items meta_Toys.json.gz --preset hnlmrec-toys --out data/toys`
    """
    files.write(shared, f"amazon-{year}")


@add_command(app, "yelp")
def import_yelp_command(shared: ImportOptions, files: ReviewFiles) -> None:
    """Import Yelp reviews and businesses.

    Example: `hardneg data import yelp review.json --items business.json --preset hnlmrec-yelp --out data/yelp`
    """
    files.write(shared, "yelp")


@add_command(app, "selfrec")
def import_selfrec_command(shared: ImportOptions, text: TextFormatOptions, files: PartFiles) -> None:
    """Import the triple files of SELFRec: user, item, rating.

    Example: `hardneg data import selfrec train.txt --test test.txt --out data/lastfm`
    """
    shared.write("selfrec", files.inputs, None, **text.settings)


@add_command(app, "lightgcn")
def import_lightgcn_command(shared: ImportOptions, files: PartFiles) -> None:
    """Import the list files of LightGCN: a user and all items of that user on a line.

    Example: `hardneg data import lightgcn train.txt --test test.txt --out data/yelp`
    """
    shared.write("lightgcn", files.inputs)


@add_command(app, "pairs")
def import_pairs_command(
    shared: ImportOptions,
    files: PartFiles,
    item_offset: Annotated[int, Option(min=0, help="Number of the first item.")] = 0,
) -> None:
    """Import files of user and item numbers, a pair on a line.

    Example: `hardneg data import pairs train.txt --valid valid.txt --test test.txt --item-offset 15138 --out data/sports`
    """
    shared.write("pairs", files.inputs, item_offset=item_offset)


@add_command(app, "movielens")
def import_movielens_command(shared: ImportOptions, file: FileArgument, items: ItemsOption = None) -> None:
    """Import MovieLens ratings (u.data, ratings.dat or ratings.csv) and films.

    Example: `hardneg data import movielens u.data --items u.item --out data/ml-100k`
    """
    shared.write("movielens", {"interactions": file, "items": items})


@add_command(app, "custom")
def import_custom_command(
    shared: ImportOptions,
    reader: Annotated[str, Argument(help="Reader: module:function, or an entry point of hardneg.readers.")],
    file: FileArgument,
    items: ItemsOption = None,
) -> None:
    """Import files with a reader from outside the package.

    Example: `hardneg data import custom my_package:read_shop sales.csv --items products.csv --out data/shop`
    """
    shared.write(reader, {"interactions": file, "items": items})


def _count(out: Path) -> dict[str, int]:
    """Count the pairs, users and items of a dataset folder without reading its texts."""
    import polars as pl

    pairs = pl.scan_parquet(out / "interactions.parquet", glob=False)
    users, items = pl.col("user_id").n_unique().alias("users"), pl.col("item_id").n_unique().alias("items")
    return pairs.select(pl.len().alias("pairs"), users, items).collect().row(0, named=True)
