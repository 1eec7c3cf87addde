"""Train pairs that the authors of DTL-NS added to a released split."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions
from hardneg.data.readers.pairs import read_pairs
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split


def added_pairs(enhanced: Path, split: Split, *, item_offset: int) -> tuple[Interactions, RowReport]:
    """Return the pairs of an enhanced train file (ENHANCED) outside the split's train pairs, as dense indices.

    item_offset: number to subtract from an item's number; the release numbers items after the users. Pairs with ids
    outside the split are left out and reported. These pairs depend on held-out data, like the labels.
    """
    dataset = read_pairs({"train": enhanced}, item_offset=item_offset)
    numbers = dataset.interactions.select(
        pl.col(c.USER_ID).replace_strict(split.vocabulary.users, default=-1, return_dtype=pl.Int64).alias(c.USER),
        pl.col(c.ITEM_ID).replace_strict(split.vocabulary.items, default=-1, return_dtype=pl.Int64).alias(c.ITEM),
    )
    users, items = (numbers[name].to_numpy() for name in (c.USER, c.ITEM))
    known = (users >= 0) & (items >= 0)
    row_report = dataset.row_report
    if not known.all():
        row = dataset.interactions.row(int(known.argmin()))
        reason, first = "with ids outside the split", f"user {row[0]}, item {row[1]}"
        remedy = "they were left out; check the split and the item offset"
        row_report += (RowIssue(enhanced.name, reason, int((~known).sum()), first, remedy),)
    users, items, train = users[known], items[known], split.train
    is_added = ~train.contains(users, items)
    return Interactions.of(users[is_added], items[is_added], n_users=train.n_users, n_items=train.n_items), row_report
