"""Splitting of a dataset into train, valid and test. The training data never depend on the held-out pairs."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from hardneg.config import Config, Seed
from hardneg.data import columns as c
from hardneg.data.dataset import Dataset
from hardneg.data.division import REMARKS, Division, count_parts
from hardneg.data.filters import FilterConfig, filter_interactions, require_dates
from hardneg.data.held_out_counts import draw_held_out_counts
from hardneg.data.products import describe_frequent_title
from hardneg.data.row_report import RowIssue, RowReport, drop_rows
from hardneg.data.split import Split, Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.random import generator

Share = Annotated[float, Field(ge=0, le=1)]


class SplitConfig(Config):
    """Settings of a split."""

    by: Literal["ratio", "leave-one-out", "time", "given"] = "ratio"
    """ratio: at random within each user. leave-one-out: each user's last pair is test, the one before is valid.
    time: at two timestamps, the same for all users. given: by the dataset's split column. Rows without a time are left
    out where times decide."""
    train: Share = 0.8
    valid: Share = 0.1
    """With `given` data without a valid part: random share of each user's train pairs."""
    test: Share = 0.1
    seed: Seed = 0
    """Of the random shares, and of the order of pairs at one time (leave-one-out)."""
    filters: FilterConfig = FilterConfig()

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> SplitConfig:
        if self.by in ("ratio", "time") and abs(self.train + self.valid + self.test - 1) > 1e-9:
            raise ValueError(f"train + valid + test is {self.train + self.valid + self.test:g}, expected 1")
        return self


_REMEDIES = {
    "ratio": "raise the share of train",
    "leave-one-out": "use --by ratio",
    "time": "use --by ratio, or change the shares",
    "given": "check the split column",
}
"""What to do where a split leaves no train pairs."""


def make_split(dataset: Dataset, config: SplitConfig) -> Split:
    """Filter and split the interactions; users and items are numbered by train alone."""
    interactions, untimed = dataset.interactions, cast(RowReport, ())
    if config.by != "given":
        interactions = interactions.drop(c.SPLIT, strict=False)
    if config.by in ("leave-one-out", "time"):
        interactions, untimed = _drop_missing_times(interactions, config.by)
    require_dates(interactions, config.filters)
    frame, filtered = filter_interactions(interactions, config.filters)
    # Sorted, so that random numbers do not depend on the order of the file.
    division = _SPLITTERS[config.by](frame.sort(c.USER_ID, c.ITEM_ID), config)
    frame, saturated = _drop_saturated_users(division.frame)
    train = frame.filter(pl.col(c.SPLIT) == "train")
    if train.is_empty():
        cause = "" if saturated else division.cause
        reasons = "; ".join(filter(None, [cause, *map(str, saturated)]))
        raise DataError(f"the split leaves no train pairs ({reasons}); {_REMEDIES[config.by]}")
    vocabulary = Vocabulary.of(train)
    frame, unknown = _drop_unknown_ids(frame, vocabulary)
    notes = division.notes(count_parts(frame), saturated + unknown)
    notes[REMARKS] += describe_frequent_title(dataset.items.filter(pl.col(c.ITEM_ID).is_in(vocabulary.item_ids)))
    row_report = dataset.row_report + untimed + filtered + saturated + unknown
    split = Split.of(frame, vocabulary, dataset.items, row_report=row_report, notes=notes)
    return split if len(frame) == len(dataset.interactions) else split.with_left_out(dataset.interactions)


def number_pairs(dataset: Dataset) -> Split:
    """Return every pair of a dataset as a train pair, also those of users with every item, who have no negatives."""
    frame, _ = filter_interactions(dataset.interactions, FilterConfig())
    frame = frame.with_columns(pl.lit("train").alias(c.SPLIT))
    return Split.of(frame, Vocabulary.of(frame), dataset.items)


def _split_by_ratio(frame: pl.DataFrame, config: SplitConfig) -> Division:
    shares = {"train": config.train, "valid": config.valid, "test": config.test}
    divided, remarks = _divide(frame, config.seed, valid=config.valid, test=config.test)
    cause = "; ".join(remarks) or "every user keeps a train pair, and a share of less than one pair rounds to none"
    return Division(divided, shares, cause, remarks)


def _split_leave_one_out(frame: pl.DataFrame, config: SplitConfig) -> Division:
    keys = pl.Series("_key", generator(config.seed, "ties of time").random(len(frame)))
    frame = frame.with_columns(keys).sort(c.USER_ID, c.TIMESTAMP, "_key").drop("_key")
    size = pl.len().over(c.USER_ID)
    from_the_end = size - pl.int_range(pl.len()).over(c.USER_ID)
    test, valid = ((size >= 3) & (from_the_end == n) for n in (1, 2))
    as_the_pair_before = pl.struct(c.USER_ID, c.TIMESTAMP) == pl.struct(c.USER_ID, c.TIMESTAMP).shift(1)
    tied = frame.filter((test | valid) & as_the_pair_before)[c.USER_ID].n_unique()
    n_users, short = frame[c.USER_ID].n_unique(), frame.filter(size < 3)[c.USER_ID].n_unique()
    held_out = f"{short:,} of {n_users:,} users have fewer than 3 pairs, of which none is held out"
    ties = f"{tied:,} of {n_users:,} users have several pairs at the time of a held-out one; the seed decides which is later"
    remarks = tuple(text for count, text in ((short, held_out), (tied, ties)) if count)
    return Division(_assign_parts(frame, test=test, valid=valid), cause=held_out, remarks=remarks)


def _split_by_time(frame: pl.DataFrame, config: SplitConfig) -> Division:
    times = frame[c.TIMESTAMP].sort()
    places = (round(share * len(frame)) for share in (config.train, config.train + config.valid))
    # An empty part starts after all pairs.
    start_of_valid, start_of_test = (times[place] if place < len(times) else float("inf") for place in places)
    time = pl.col(c.TIMESTAMP)
    shares = {"train": config.train, "valid": config.valid, "test": config.test}
    moment, size = times.value_counts().sort("count", c.TIMESTAMP, descending=[True, False]).row(0)
    largest = f"the largest moment, timestamp {moment:.15g}, has {size / len(frame):.0%} of the pairs"
    return Division(
        _assign_parts(frame, test=time >= start_of_test, valid=time >= start_of_valid),
        shares,
        f"the pairs of one moment are in one part; {largest}",
        (largest,) if size > len(frame) / 2 else (),
    )


def _split_as_given(frame: pl.DataFrame, config: SplitConfig) -> Division:
    if c.SPLIT not in frame.columns:
        raise ConfigError("--by given needs a split column, found none; import with given files or map a split column")
    unknown = frame.filter(~pl.col(c.SPLIT).is_in(c.PARTS).fill_null(value=False))
    if not unknown.is_empty():
        values = ", ".join(sorted(map(repr, unknown[c.SPLIT].unique().to_list())))
        user, item = unknown.select(c.USER_ID, c.ITEM_ID).row(0)
        raise DataError(
            f"the split column holds {values} in {len(unknown):,} rows (first: user {user!r}, item {item!r}), "
            "expected train, valid or test; rename them on import with --split-value THEIRS=OURS"
        )
    cause = "the imported files have none" + (" and the valid share is 0" if config.valid == 0 else "")
    if (frame[c.SPLIT] == "valid").any() or config.valid == 0:
        return Division(frame, cause=cause)
    train = frame.filter(pl.col(c.SPLIT) == "train").drop(c.SPLIT)
    divided, remarks = _divide(train, config.seed, valid=config.valid, test=0)
    frame = pl.concat([divided, frame.filter(pl.col(c.SPLIT) != "train")], how="diagonal")
    return Division(frame, cause="; ".join([cause, *remarks]), remarks=remarks)


_SPLITTERS = {
    "ratio": _split_by_ratio,
    "leave-one-out": _split_leave_one_out,
    "time": _split_by_time,
    "given": _split_as_given,
}


def _divide(frame: pl.DataFrame, seed: int, *, valid: float, test: float) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Assign, in random order, each user's first pairs to test, the next to valid, one or more to train.

    frame: sorted by user. Their numbers are `draw_held_out_counts`. Returns remarks too.
    """
    keys = pl.Series("_key", generator(seed, "split").random(len(frame)))
    sizes = frame[c.USER_ID].rle().struct.field("len").to_numpy().astype(np.int64)
    n_test, n_valid = draw_held_out_counts(
        sizes, valid=valid, test=test, rng=generator(seed, "sizes of held-out parts")
    )
    counts = {"_test": np.repeat(n_test, sizes), "_held_out": np.repeat(n_test + n_valid, sizes)}
    place = pl.col("_key").rank("ordinal").over(c.USER_ID) - 1
    numbered = frame.with_columns(keys, **{name: pl.Series(values) for name, values in counts.items()})
    parts = _assign_parts(numbered, test=place < pl.col("_test"), valid=place < pl.col("_held_out"))
    short = int((sizes == 1).sum()) if valid + test > 0 else 0
    remarks = (f"{short:,} of {len(sizes):,} users have one pair, which stays in train",) if short else ()
    return parts.drop("_key", *counts), remarks


def _assign_parts(frame: pl.DataFrame, *, test: pl.Expr, valid: pl.Expr) -> pl.DataFrame:
    """Fill the split column: test where `test` holds, else valid where `valid` holds, else train."""
    part = pl.when(test).then(pl.lit("test")).when(valid).then(pl.lit("valid")).otherwise(pl.lit("train"))
    return frame.with_columns(part.alias(c.SPLIT))


def _drop_saturated_users(frame: pl.DataFrame) -> tuple[pl.DataFrame, RowReport]:
    """Leave out and report users who have every item in train, since they have no negatives.

    Dropping them can remove items and thereby saturate further users, so this repeats until no user is saturated.
    """
    left_out: list[str] = []
    remaining = frame
    while saturated := _find_saturated_users(remaining):
        left_out += saturated
        remaining = remaining.filter(~pl.col(c.USER_ID).is_in(saturated))
    if not left_out:
        return frame, ()
    remedy = f"{len(left_out):,} such user(s) were left out, since they have no negatives"
    reason = "of users with every item in train"
    return remaining, (RowIssue("split", reason, len(frame) - len(remaining), f"user {left_out[0]!r}", remedy),)


def _find_saturated_users(frame: pl.DataFrame) -> list[str]:
    train = frame.filter(pl.col(c.SPLIT) == "train")
    n_items = train[c.ITEM_ID].n_unique()
    saturated = train.group_by(c.USER_ID).agg(pl.len()).filter(pl.col("len") >= n_items)
    return saturated[c.USER_ID].sort().to_list()


def _drop_unknown_ids(frame: pl.DataFrame, vocabulary: Vocabulary) -> tuple[pl.DataFrame, RowReport]:
    """Leave out and report held-out pairs whose user or item is not in train, since they cannot be ranked."""
    row_report: RowReport = ()
    first = f"{{{c.SPLIT}}} pair of user {{{c.USER_ID}!r}} and item {{{c.ITEM_ID}!r}}"
    for column, known, name in ((c.USER_ID, vocabulary.user_ids, "users"), (c.ITEM_ID, vocabulary.item_ids, "items")):
        reason, remedy = f"whose {column} train lacks", f"they were left out, since these {name} have no train pairs"
        frame, issues = drop_rows(frame, ~pl.col(column).is_in(known), "split", reason, first, remedy)
        row_report += issues
    return frame, row_report


def _drop_missing_times(interactions: pl.DataFrame, method: str) -> tuple[pl.DataFrame, RowReport]:
    """Leave out and report rows without a time. Raises an error where no row has one."""
    if c.TIMESTAMP not in interactions.columns:
        raise ConfigError(
            f"--by {method} needs a timestamp column, found {', '.join(interactions.columns)}; map one on import"
        )
    if interactions[c.TIMESTAMP].is_null().all():
        raise DataError(
            f"none of {len(interactions):,} rows has a timestamp, expected one for every pair; "
            "use --by ratio or complete the column"
        )
    first = f"user {{{c.USER_ID}!r}}, item {{{c.ITEM_ID}!r}}"
    return drop_rows(interactions, pl.col(c.TIMESTAMP).is_null(), "split", "without a timestamp", first)
