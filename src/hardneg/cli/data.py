"""`hardneg data ...`: import, simulate, describe, split, noise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardneg.cli.common import JsonOption, command, emit, emit_counts, table
from hardneg.cli.importing import import_

if TYPE_CHECKING:
    from hardneg.data.describe import Description

app = typer.Typer(help="Bring data in, simulate a store, describe, split, disturb.", no_args_is_help=True)
Out = Annotated[Path, typer.Option(help="Folder to make.")]


app.command("import")(command(import_))


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
    from hardneg.data.describe import REFERENCE_DATASETS

    settings = simulation.PRESETS[text].model_copy(update={"seed": seed})
    pipeline.simulate_stage(settings).run(out)
    _show([_describe(out), *REFERENCE_DATASETS], as_json=as_json)


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
    from hardneg.artifacts import read_manifest
    from hardneg.config import parse_config
    from hardneg.data.row_report import RowIssue
    from hardneg.data.split import read_split
    from hardneg.data.splitters import SplitConfig

    filters = {"min_rating": min_rating, "since": since, "until": until, "kcore": kcore}
    shares = {"train": train, "valid": valid, "test": test}
    values = {"by": by, **shares, "seed": seed, "filters": filters}
    config = parse_config(SplitConfig, values, where="hardneg data split")
    made = read_split(pipeline.split_stage(dataset, config).run(out))
    counts = {name: len(getattr(made, name)) for name in ("train", "valid", "test")}
    counts |= {"users": made.train.n_users, "items": made.train.n_items}
    row_report = tuple(RowIssue(**entry) for entry in read_manifest(out, "split")["notes"]["rows left out"])
    emit_counts(counts, row_report, out, as_json=as_json)


@app.command("noise")
@command
def noise(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    out: Out = Path("data/noisy-split"),
    false_positives: Annotated[float, typer.Option(help="Added to train, as a share of its pairs.")] = 0.1,
    hidden: Annotated[float, typer.Option(help="Share of train pairs taken out of it.")] = 0.1,
    by: Annotated[
        Literal["uniform", "popularity"], typer.Option(help="How the items of false positives are drawn.")
    ] = "uniform",
    seed: Annotated[int, typer.Option(help="Other pairs of the same number.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Put false positives into train and hide true ones: a split folder whose valid and test pairs are as they were.

    What was done stands in noise.parquet, which only diagnostics read.

    Example: `hardneg data noise data/shop-split --false-positives 0.1 --hidden 0.1 --out data/noisy-split`
    """
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.config import parse_config
    from hardneg.data.noise import NoiseConfig, read_noise
    from hardneg.data.row_report import RowIssue
    from hardneg.data.split import read_split

    values = {"false_positives": false_positives, "hidden": hidden, "by": by, "seed": seed}
    pipeline.noise_stage(split, parse_config(NoiseConfig, values, where="hardneg data noise")).run(out)
    record, noisy = read_noise(out), read_split(out)
    counts = {"false positives added": len(record.added), "true positives hidden": len(record.hidden)}
    counts |= {name: len(getattr(noisy, name)) for name in ("train", "valid", "test")}
    row_report = tuple(RowIssue(**entry) for entry in read_manifest(out, "split")["notes"]["rows left out"])
    emit_counts(counts, row_report, out, as_json=as_json)


def _describe(folder: Path) -> Description:
    from hardneg.artifacts import read_manifest
    from hardneg.data import SplitConfig, make_split
    from hardneg.data import dataset as datasets
    from hardneg.data import split as splits
    from hardneg.data.describe import describe_pairs
    from hardneg.data.interactions import union
    from hardneg.text import item_texts, text_preference_correlation

    if (folder / "train.parquet").is_file():
        data = splits.read_split(folder)
    else:
        read_manifest(folder, datasets.KIND)
        everything = SplitConfig(train=1, valid=0, test=0)
        data = make_split(datasets.read_dataset(folder), everything)
    pairs = union(union(data.train, data.valid), data.test)
    return describe_pairs(folder.name, pairs, text_preference_correlation(pairs, item_texts(data.texts)))


def _show(rows: list[Description], *, as_json: bool) -> None:
    from dataclasses import asdict

    headers = ["set", "users", "items", "pairs", "density", "popularity Gini", "text-taste r"]
    cells = [
        [
            row.name,
            *(f"{count:,}" for count in (row.users, row.items, row.pairs)),
            f"{row.density:.3%}",
            f"{row.gini:.3f}",
            "–" if row.text_correlation is None else f"{row.text_correlation:.3f}",
        ]
        for row in rows
    ]
    emit([asdict(row) for row in rows], as_json=as_json, text=table(headers, cells))
