"""What the authors of DTL-NS (arXiv 2602.18249) published beside their pairs: candidates, and the labels of a model."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions
from hardneg.data.readers.integer_lines import read_lines
from hardneg.data.readers.pairs import read_pairs
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split
from hardneg.errors import DataError

LABEL = "label"
CANDIDATES, ENHANCED = "candidate_items.txt", "train_enhance_dtl_fni.txt"


def released_labels(folder: Path) -> pl.DataFrame:
    """user_id, item_id, label of every published candidate, ids as `data import pairs --item-offset` makes them.

    label: 1.0 where the candidate was added to the train pairs, 0.0 where it was not, null where it is a test or valid
    pair: the authors took those out after the model's answers, so that their labels are not known.

    These labels are *built with held-out data*: only users with test pairs have candidates, and what lacks a label is
    what is held out. They serve to be compared with, not to train a method that is then evaluated.
    """
    train = _pairs(folder, "train.txt", 0)
    offset = int(train[c.USER_ID].cast(pl.Int64).max()) + 1  # type: ignore[arg-type]
    train, enhanced = (_pairs(folder, name, offset) for name in ("train.txt", ENHANCED))
    held_out = pl.concat(_pairs(folder, name, offset) for name in ("valid.txt", "test.txt"))
    added = enhanced.join(train, on=[c.USER_ID, c.ITEM_ID], how="anti")
    given = pl.concat(
        [
            held_out.unique().with_columns(pl.lit(None, pl.Float64).alias(LABEL)),
            added.unique().with_columns(pl.lit(1.0).alias(LABEL)),
        ]
    )
    known = pl.lit(True).alias("known")
    candidates = _candidates(folder, offset)
    joined = candidates.join(
        given.with_columns(known), on=[c.USER_ID, c.ITEM_ID], how="left", maintain_order="left", validate="1:1"
    )
    label = pl.when(pl.col("known").is_null()).then(0.0).otherwise(pl.col(LABEL)).alias(LABEL)
    return joined.select(c.USER_ID, c.ITEM_ID, label)


def added_pairs(enhanced: Path, split: Split, *, item_offset: int) -> tuple[Interactions, RowReport]:
    """The pairs of an enhanced train file (ENHANCED) that are none of the split's train pairs, in the split's numbers.

    item_offset: what to take from an item's number; the release numbers items after the users. Pairs of ids that the
    split does not know are left out and counted. Built with held-out data, like the labels.
    """
    found = read_pairs({"train": enhanced}, item_offset=item_offset)
    numbers = found.interactions.select(
        pl.col(c.USER_ID).replace_strict(split.vocabulary.users, default=-1, return_dtype=pl.Int64).alias(c.USER),
        pl.col(c.ITEM_ID).replace_strict(split.vocabulary.items, default=-1, return_dtype=pl.Int64).alias(c.ITEM),
    )
    users, items = (numbers[name].to_numpy() for name in (c.USER, c.ITEM))
    known = (users >= 0) & (items >= 0)
    row_report = found.row_report
    if not known.all():
        row = found.interactions.row(int(known.argmin()))
        reason, first = "of ids that the split does not know", f"user {row[0]}, item {row[1]}"
        remedy = "they were left out; check the split and the item offset"
        row_report += (RowIssue(enhanced.name, reason, int((~known).sum()), first, remedy),)
    users, items, train = users[known], items[known], split.train
    fresh = ~train.contains(users, items)
    return Interactions.of(users[fresh], items[fresh], n_users=train.n_users, n_items=train.n_items), row_report


def _candidates(folder: Path, offset: int) -> pl.DataFrame:
    """user_id, item_id, by user and rank. Lines are `user item item ...`."""
    words = read_lines(_file(folder, CANDIDATES)).select(pl.col("words").cast(pl.List(pl.Int64)))
    each = words.select(
        pl.col("words").list.first().alias(c.USER_ID), pl.col("words").list.slice(1).alias(c.ITEM_ID)
    ).explode(c.ITEM_ID)
    return each.select(pl.col(c.USER_ID).cast(pl.String), (pl.col(c.ITEM_ID) - offset).cast(pl.String))


def _pairs(folder: Path, name: str, offset: int) -> pl.DataFrame:
    dataset = read_pairs({"train": _file(folder, name)}, item_offset=offset)
    return dataset.interactions.select(c.USER_ID, c.ITEM_ID)


def _file(folder: Path, name: str) -> Path:
    """The file, or its .gz."""
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not found:
        raise DataError(f"{folder} holds no {name}, expected the folder that DTL-NS released; check the path")
    return found[0]
