"""`hardneg data`: import, simulate, split, describe, add noise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardneg.cli import data_import
from hardneg.cli.common import OutputOptions, add_command, emit_counts, new_group, render_table
from hardneg.cli.options import SeedOption, SplitArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from hardneg.data.describe import Description

app = new_group("Import, simulate, split and describe data.")
app.add_typer(data_import.app, name="import")

PARTS = ("train", "valid", "test")


@add_command(app, "simulate")
def simulate_command(
    shared: OutputOptions,
    out: Annotated[Path, typer.Option(help="Dataset folder to write.")] = Path("data/simulated"),
    text: Annotated[
        Literal["informative", "weak", "misleading"], typer.Option(help="How item texts relate to user preferences.")
    ] = "informative",
    seed: SeedOption = 0,
) -> None:
    """Simulate a store with known user preferences, and compare it with two real datasets.

    Example: `hardneg data simulate --text weak --out data/weak`
    """
    from dataclasses import asdict

    from hardneg import pipeline
    from hardneg.data import simulate as simulation
    from hardneg.data.describe import REFERENCE_DATASETS

    pipeline.simulate_stage(simulation.PRESETS[text].model_copy(update={"seed": seed})).run(out)
    rows = [_describe(out), *REFERENCE_DATASETS]
    shared.emit([asdict(row) for row in rows], _table(rows), ("data", "split", out), written=out)


@add_command(app, "split")
def split_command(
    shared: OutputOptions,
    dataset: Annotated[Path, typer.Argument(help="Dataset folder.")],
    out: Annotated[Path, typer.Option(help="Split folder to write.")] = Path("data/split"),
    by: Annotated[
        Literal["ratio", "leave-one-out", "time", "given"],
        typer.Option(
            help="ratio: shares of each user's pairs; leave-one-out: the last two pairs of each user; time: two moments "
            "for all users; given: the parts of the imported files."
        ),
    ] = "ratio",
    train: Annotated[float, typer.Option(help="Share of train pairs, from 0 to 1.")] = 0.8,
    valid: Annotated[float, typer.Option(help="Share of validation pairs, from 0 to 1.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of test pairs, from 0 to 1.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Random seed of the shares.")] = 0,
    min_rating: Annotated[float | None, typer.Option(help="Smallest rating to keep.")] = None,
    since: Annotated[str | None, typer.Option(help="First day to keep, UTC, for example 2015-01-01.")] = None,
    until: Annotated[str | None, typer.Option(help="First day to leave out, UTC.")] = None,
    kcore: Annotated[int, typer.Option(min=0, help="Smallest number of pairs of every user and item.")] = 0,
) -> None:
    """Filter a dataset and split it into train, validation and test pairs.

    Examples:

    `hardneg data split data/shop --by time --min-rating 4 --kcore 5 --out data/shop-split`

    `hardneg data split data/sports --by given --out data/sports-split`
    """
    from hardneg import pipeline
    from hardneg.config import parse_config
    from hardneg.data.split import read_split
    from hardneg.data.splitters import SplitConfig

    filters = {"min_rating": min_rating, "since": since, "until": until, "kcore": kcore}
    shares = {"train": train, "valid": valid, "test": test}
    config = parse_config(
        SplitConfig, {"by": by, **shares, "seed": seed, "filters": filters}, where="hardneg data split"
    )
    split = read_split(pipeline.split_stage(dataset, config).run(out))
    counts = {name: len(getattr(split, name)) for name in PARTS}
    counts |= {"users": split.train.n_users, "items": split.train.n_items}
    emit_counts(shared, counts, out, "split", ("train", out))


@add_command(app, "describe")
def describe_command(
    shared: OutputOptions,
    folders: Annotated[list[Path], typer.Argument(help="Dataset or split folders.")],
) -> None:
    """Print sizes, density, popularity Gini, and the correlation of text similarity with preference.

    Example: `hardneg data describe data/shop data/simulated`
    """
    from dataclasses import asdict

    rows = [_describe(folder) for folder in folders]
    split = (folders[0] / "train.parquet").is_file()
    following = ("train" if split else "data split").split()
    shared.emit([asdict(row) for row in rows], _table(rows), (*following, folders[0]))


@add_command(app, "add-noise")
def add_noise_command(
    shared: OutputOptions,
    split: SplitArgument,
    out: Annotated[Path, typer.Option(help="Split folder to write.")] = Path("data/noisy-split"),
    false_positives: Annotated[
        float, typer.Option(help="Number of false positives to add to train, as a share of its pairs.")
    ] = 0.1,
    hidden: Annotated[float, typer.Option(help="Share of train pairs to remove, from 0 to 1.")] = 0.1,
    by: Annotated[
        Literal["uniform", "popularity"], typer.Option(help="Distribution of the items of false positives.")
    ] = "uniform",
    seed: SeedOption = 0,
) -> None:
    """Add false positives to the train pairs and remove true ones; validation and test pairs stay.

    The changes are recorded in noise.parquet, which only diagnostics read.

    Example: `hardneg data add-noise data/shop-split --false-positives 0.1 --hidden 0.1 --out data/noisy-split`
    """
    from hardneg import pipeline
    from hardneg.config import parse_config
    from hardneg.data.noise import NoiseConfig, read_noise
    from hardneg.data.split import read_split

    values = {"false_positives": false_positives, "hidden": hidden, "by": by, "seed": seed}
    pipeline.noise_stage(split, parse_config(NoiseConfig, values, where="hardneg data add-noise")).run(out)
    record, noisy = read_noise(out), read_split(out)
    counts = {"false positives added": len(record.added), "true positives removed": len(record.hidden)}
    counts |= {name: len(getattr(noisy, name)) for name in PARTS}
    emit_counts(shared, counts, out, "split", ("train", out))


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
        data = make_split(datasets.read_dataset(folder), SplitConfig(train=1, valid=0, test=0))
    pairs = union(union(data.train, data.valid), data.test)
    return describe_pairs(folder.name, pairs, text_preference_correlation(pairs, item_texts(data.texts)))


def _table(rows: Sequence[Description]) -> Table:
    headers = ["set", "users", "items", "pairs", "density", "popularity Gini", "text-preference r"]
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
    return render_table(headers, cells)
