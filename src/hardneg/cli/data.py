"""`hardneg data ...`: import, simulate, describe, split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hardneg.cli.options import mapping
from hardneg.cli.shell import JsonOption, command, console, emit, table
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.data import Dataset
    from hardneg.data.describe import Description
    from hardneg.data.ledger import Ledger

app = typer.Typer(help="Bring data in, simulate a store, describe, split.", no_args_is_help=True)
Out = Annotated[Path, typer.Option(help="Folder to make.")]


@app.command("import")
@command
def import_(
    source: Annotated[Literal["table", "lightgcn", "pairs"], typer.Argument(help="Format of the files.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="table: the interactions. Others: the train file, then valid and test by option."),
    ] = None,
    out: Out = Path("data/imported"),
    items: Annotated[Path | None, typer.Option(help="table: a table of item texts.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="table: OURS=THEIRS for user_id, item_id, rating, timestamp, review, split."),
    ] = None,
    item_column: Annotated[
        list[str] | None, typer.Option(help="table: OURS=THEIRS for item_id, title, brand, categories, description.")
    ] = None,
    split_value: Annotated[
        list[str] | None, typer.Option(help="table: THEIRS=train, THEIRS=valid, THEIRS=test for the split column.")
    ] = None,
    valid: Annotated[Path | None, typer.Option(help="lightgcn, pairs: file of validation pairs.")] = None,
    test: Annotated[Path | None, typer.Option(help="lightgcn, pairs: file of test pairs.")] = None,
    item_offset: Annotated[int, typer.Option(min=0, help="pairs: number of the first item.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Read files into a dataset folder; a bad row is left out, counted and named.

    Examples:

    `hardneg data import table reviews.csv --items products.csv --column user_id=reviewer --item-column title=name --out data/shop`

    `hardneg data import lightgcn train.txt --test test.txt --out data/yelp`

    `hardneg data import pairs train.txt --valid valid.txt --test test.txt --item-offset 15138 --out data/sports`
    """
    from hardneg import artifacts
    from hardneg.data import dataset as datasets

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
    _require_options_of(source, settings, read)
    data = _read(source, read, settings)
    inputs = {name: artifacts.file_hash(path) for name, path in read.items()}
    if not artifacts.finished(out, artifacts.key_of(datasets.KIND, settings, inputs)):
        datasets.write(out, data, config=settings, inputs=inputs)
    counts = {
        "pairs": len(data.interactions),
        "users": data.interactions["user_id"].n_unique(),
        "items": data.interactions["item_id"].n_unique(),
        "items with a text table row": len(data.items),
    }
    _say(counts, data.ledger, out, as_json=as_json)


def _require_options_of(source: str, settings: dict[str, Any], read: dict[str, Path]) -> None:
    """An option that the source does not know is an error, not a thing to pass over."""
    table_only: list[str] = [n for n in ("column", "item_column", "split_value") if settings[n]] + ["items"] * (
        "items" in read
    )
    files_only: list[str] = [name for name in ("valid", "test") if name in read]
    foreign: list[str] = files_only if source == "table" else table_only
    if source != "pairs" and settings["item_offset"]:
        foreign.append("item_offset")
    if foreign:
        raise ConfigError(
            f"--{foreign[0].replace('_', '-')} is no option of source {source!r}; see hardneg data import --help"
        )


def _read(source: str, read: dict[str, Path], settings: dict[str, Any]) -> Dataset:
    from hardneg.data.sources import read_lightgcn, read_pairs, read_table

    if source == "table":
        return read_table(
            read["interactions"],
            read.get("items"),
            columns=settings["column"],
            item_columns=settings["item_column"],
            split_values=settings["split_value"],
        )
    names = {"train": "interactions", "valid": "valid", "test": "test"}
    parts = {part: read[name] for part, name in names.items() if name in read}
    if source == "lightgcn":
        return read_lightgcn(parts)
    return read_pairs(parts, item_offset=settings["item_offset"])


@app.command("simulate")
@command
def simulate(
    out: Out = Path("data/simulated"),
    text: Annotated[
        Literal["informative", "weak", "misleading"], typer.Option(help="How far texts tell of taste.")
    ] = "informative",
    seed: Annotated[int, typer.Option(help="Another store of the same kind.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a store whose tastes are known, and hold it beside two real sets.

    Example: `hardneg data simulate --text weak --out data/weak`
    """
    from hardneg import pipeline
    from hardneg.data import simulate as simulation
    from hardneg.data.describe import REAL_SETS

    settings = simulation.PRESETS[text].model_copy(update={"seed": seed})
    pipeline.simulate(out, settings)
    _show([_describe(out), *REAL_SETS], as_json=as_json)


@app.command("describe")
@command
def describe(
    folders: Annotated[list[Path], typer.Argument(help="Dataset or split folders.")],
    as_json: JsonOption = False,
) -> None:
    """Print sizes, density, popularity Gini and text-taste correlation.

    Example: `hardneg data describe data/shop data/simulated`
    """
    _show([_describe(folder) for folder in folders], as_json=as_json)


@app.command("split")
@command
def split(
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    out: Out = Path("data/split"),
    by: Annotated[
        Literal["ratio", "leave-one-out", "time", "given"],
        typer.Option(
            help="Shares of each user's pairs, each user's last two, two moments for all, or the file's own parts."
        ),
    ] = "ratio",
    train: Annotated[float, typer.Option(help="Share of train pairs.")] = 0.8,
    valid: Annotated[float, typer.Option(help="Share of validation pairs.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of test pairs.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the random shares.")] = 0,
    min_rating: Annotated[float | None, typer.Option(help="Keep ratings of at least this.")] = None,
    since: Annotated[str | None, typer.Option(help="Keep pairs from this day on, as 2015-01-01 (UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Keep pairs before this day (UTC).")] = None,
    kcore: Annotated[int, typer.Option(min=0, help="Pairs that every user and item must have.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Filter and divide a dataset into a split folder.

    Examples:

    `hardneg data split data/shop --by time --min-rating 4 --kcore 5 --out data/shop-split`

    `hardneg data split data/sports --by given --out data/sports-split`
    """
    from hardneg import pipeline
    from hardneg.artifacts import manifest_of
    from hardneg.config import parse
    from hardneg.data.ledger import Entry
    from hardneg.data.splitting import SplitConfig

    filters = {"min_rating": min_rating, "since": since, "until": until, "kcore": kcore}
    shares = {"train": train, "valid": valid, "test": test}
    values = {"by": by, **shares, "seed": seed, "filters": filters}
    config = parse(SplitConfig, values, where="hardneg data split")
    made = pipeline.split(dataset, out, config)
    counts = {name: len(getattr(made, name)) for name in ("train", "valid", "test")}
    counts |= {"users": made.train.n_users, "items": made.train.n_items}
    ledger = tuple(Entry(**entry) for entry in manifest_of(out, "split")["notes"]["ledger"])
    _say(counts, ledger, out, as_json=as_json)


def _describe(folder: Path) -> Description:
    from hardneg.artifacts import manifest_of
    from hardneg.data import SplitConfig, make_split
    from hardneg.data import dataset as datasets
    from hardneg.data import split as splits
    from hardneg.data.describe import describe as describe_pairs
    from hardneg.data.interactions import union
    from hardneg.text import item_texts, text_taste_correlation

    if (folder / "train.parquet").is_file():
        data = splits.read(folder)
    else:
        manifest_of(folder, datasets.KIND)
        everything = SplitConfig(train=1, valid=0, test=0)
        data = make_split(datasets.read(folder), everything)
    pairs = union(union(data.train, data.valid), data.test)
    return describe_pairs(folder.name, pairs, text_taste_correlation(pairs, item_texts(data.texts)))


def _show(rows: list[Description], *, as_json: bool) -> None:
    from dataclasses import asdict

    headers = ["set", "users", "items", "pairs", "density", "popularity Gini", "text-taste r"]
    cells = [
        [
            row.name,
            *(f"{count:,}" for count in (row.users, row.items, row.pairs)),
            f"{row.density:.3%}",
            f"{row.gini:.3f}",
            "–" if row.text_taste is None else f"{row.text_taste:.3f}",
        ]
        for row in rows
    ]
    emit([asdict(row) for row in rows], as_json=as_json, text=table(headers, cells))


def _say(counts: dict[str, int], ledger: Ledger, out: Path, *, as_json: bool) -> None:
    """Counts, and every entry of the ledger as a line."""
    from hardneg.data.ledger import as_notes

    text = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    emit({**counts, "ledger": as_notes(ledger), "out": str(out)}, as_json=as_json, text=f"{out}: {text}")
    if not as_json:
        for entry in ledger:
            console().print(f"  {entry}", markup=False)
