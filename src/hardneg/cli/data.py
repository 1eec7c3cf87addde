"""`hardneg data`: import, simulate, split, describe, add noise."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from hardneg.cli import data_import
from hardneg.cli.common import OutputOptions, ReadingOptions, add_command, new_group, run_stage
from hardneg.cli.options import SeedOption, SplitArgument
from hardneg.cli.output import render_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardneg.data import Interactions
    from hardneg.data.describe import Description

app = new_group("Import, simulate, split and describe data.")
app.add_typer(data_import.app, name="import")


@add_command(app, "simulate")
def simulate_command(
    shared: OutputOptions,
    out: Annotated[Path, Option(help="Dataset folder to write.")] = Path("data/simulated"),
    text: Annotated[
        Literal["informative", "weak", "misleading"], Option(help="How item texts relate to user preferences.")
    ] = "informative",
    seed: SeedOption = 0,
    csv: Annotated[
        Path | None, Option(help="Folder for orders.csv and products.csv, the same store as two tables.")
    ] = None,
) -> None:
    """Simulate a store with known user preferences, and compare it with two real datasets.

    Examples:

    `hardneg data simulate --text weak --out data/weak`

    `hardneg data simulate --csv . --out data/store`
    """
    from hardneg import pipeline
    from hardneg.data import describe, shop_tables, simulate
    from hardneg.data.dataset import read_dataset

    pipeline.simulate_stage(simulate.PRESETS[text].model_copy(update={"seed": seed})).run(out)
    following: tuple[object, ...] = ("data", "split", out)
    if csv is not None:
        following = ("run", *shop_tables.write_shop_tables(read_dataset(out), csv))
    _emit_descriptions(shared, [_describe(out), *describe.REFERENCE_DATASETS], following, written=out)


@add_command(app, "split")
def split_command(
    shared: ReadingOptions,
    dataset: Annotated[Path, Argument(help="Dataset folder.")],
    out: Annotated[Path, Option(help="Split folder to write.")] = Path("data/split"),
    by: Annotated[
        Literal["ratio", "leave-one-out", "time", "given"],
        Option(
            help="ratio: shares of each user's pairs; leave-one-out: the last two pairs of each user; time: two moments "
            "for all users; given: the parts of the imported files."
        ),
    ] = "ratio",
    train: Annotated[float, Option(help="Share of train pairs, from 0 to 1.")] = 0.8,
    valid: Annotated[float, Option(help="Share of validation pairs, from 0 to 1.")] = 0.1,
    test: Annotated[float, Option(help="Share of test pairs, from 0 to 1.")] = 0.1,
    seed: Annotated[int, Option(help="Random seed of the shares, and of the order of pairs at one time.")] = 0,
    min_rating: Annotated[float | None, Option(help="Smallest rating to keep.")] = None,
    since: Annotated[str | None, Option(help="First day to keep, UTC, for example 2015-01-01.")] = None,
    until: Annotated[str | None, Option(help="First day to leave out, UTC.")] = None,
    kcore: Annotated[int, Option(min=0, help="Smallest number of pairs of every user and item.")] = 0,
) -> None:
    """Filter a dataset and split it into train, validation and test pairs.

    Examples:

    `hardneg data split data/shop --by time --min-rating 4 --kcore 5 --out data/shop-split`

    `hardneg data split data/sports --by given --out data/sports-split`
    """
    from hardneg import pipeline
    from hardneg.config import parse_config
    from hardneg.data import SplitConfig

    filters = {"min_rating": min_rating, "since": since, "until": until, "kcore": kcore}
    values = {"by": by, "train": train, "valid": valid, "test": test, "seed": seed, "filters": filters}
    stage = pipeline.split_stage(dataset, parse_config(SplitConfig, values, where="hardneg data split"))
    notes, (counts, train_pairs) = run_stage(stage, out), _count_parts(out)
    counts |= {"users": train_pairs.n_users, "items": train_pairs.n_items}
    counts |= {name: notes[name] for name in ("items with a text",) if name in notes}
    shared.emit_counts(counts, out, notes, ("train", out))


@add_command(app, "describe")
def describe_command(
    shared: ReadingOptions, folders: Annotated[list[Path], Argument(help="Dataset or split folders.")]
) -> None:
    """Print sizes, repeated pairs, density, popularity Gini, and the correlation of text similarity with preference.

    Example: `hardneg data describe data/shop data/simulated`
    """
    following = ["train"] if (folders[0] / "train.parquet").is_file() else ["data", "split"]
    _emit_descriptions(shared, [_describe(folder) for folder in folders], (*following, folders[0]))


@add_command(app, "add-noise")
def add_noise_command(
    shared: ReadingOptions,
    split: SplitArgument,
    out: Annotated[Path, Option(help="Split folder to write.")] = Path("data/noisy-split"),
    false_positives: Annotated[
        float, Option(help="Number of false positives to add to train, as a share of its pairs.")
    ] = 0.1,
    hidden: Annotated[float, Option(help="Share of train pairs to remove, from 0 to 1.")] = 0.1,
    by: Annotated[
        Literal["uniform", "popularity"], Option(help="Distribution of the items of false positives.")
    ] = "uniform",
    seed: SeedOption = 0,
) -> None:
    """Add false positives to the train pairs and remove true ones; validation and test pairs stay.

    The changes are recorded in noise.parquet, which only diagnostics read.

    Example: `hardneg data add-noise data/shop-split --false-positives 0.1 --hidden 0.1 --out data/noisy-split`
    """
    from hardneg import pipeline
    from hardneg.config import parse_config
    from hardneg.data import noise

    values = {"false_positives": false_positives, "hidden": hidden, "by": by, "seed": seed}
    stage = pipeline.noise_stage(split, parse_config(noise.NoiseConfig, values, where="hardneg data add-noise"))
    notes, record = run_stage(stage, out), noise.read_noise(out)
    counts = {"false positives added": len(record.added), "true positives removed": len(record.hidden)}
    shared.emit_counts(counts | _count_parts(out)[0], out, notes, ("train", out))


def _count_parts(folder: Path) -> tuple[dict[str, int], Interactions]:
    """Return the number of pairs of every part of a split, and the train pairs."""
    from hardneg.data.split import read_split

    split = read_split(folder)
    return {"train": len(split.train), "valid": len(split.valid), "test": len(split.test)}, split.train


def _describe(folder: Path) -> Description:
    from hardneg import text
    from hardneg.data import dataset, describe, interactions, split, splitters

    repeated = 0
    if (folder / "train.parquet").is_file():
        parts = split.read_split(folder)
    else:
        data = dataset.read_dataset(folder)
        parts = splitters.number_pairs(data)
        repeated = len(data.interactions) - len(parts.train)
    pairs = interactions.union(interactions.union(parts.train, parts.valid), parts.test)
    correlation = text.text_preference_correlation(pairs, text.item_texts(parts.texts))
    return describe.describe_pairs(folder.name, pairs, correlation, repeated=repeated)


def _emit_descriptions(
    shared: OutputOptions, rows: Sequence[Description], following: Sequence[object], **more: Any
) -> None:
    headers = ["set", "users", "items", "pairs", "repeated", "density", "popularity Gini", "text-preference r"]
    cells = [
        [
            row.name,
            *(f"{count:,}" for count in (row.users, row.items, row.pairs, row.repeated)),
            f"{row.density:.3%}",
            f"{row.gini:.3f}",
            "–" if row.text_correlation is None else f"{row.text_correlation:.3f}",
        ]
        for row in rows
    ]
    shared.emit([asdict(row) for row in rows], render_table(headers, cells), following, **more)
