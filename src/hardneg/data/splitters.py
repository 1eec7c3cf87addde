"""Splitting of a dataset into train, valid and test. The training data never depend on the held-out pairs."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.dataset import Dataset
from hardneg.data.filters import FilterConfig, filter_interactions
from hardneg.data.row_report import RowIssue, RowReport, drop_rows
from hardneg.data.split import Split, Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.random import generator

Share = Annotated[float, Field(ge=0, le=1)]


class SplitConfig(Config):
    """Settings of a split."""

    by: Literal["ratio", "leave-one-out", "time", "given"] = "ratio"
    """ratio: at random within each user. leave-one-out: each user's last pair is test, the one before is valid.
    time: at two timestamps, the same for all users. given: by the dataset's split column."""
    train: Share = 0.8
    valid: Share = 0.1
    """With `given` data without a valid part: random share of each user's train pairs."""
    test: Share = 0.1
    seed: int = 0
    filters: FilterConfig = FilterConfig()

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> SplitConfig:
        if self.by in ("ratio", "time") and abs(self.train + self.valid + self.test - 1) > 1e-9:
            raise ValueError(f"train + valid + test is {self.train + self.valid + self.test:g}, expected 1")
        return self


def make_split(dataset: Dataset, config: SplitConfig) -> Split:
    """Filter and split the interactions; users and items are numbered by train alone."""
    interactions = dataset.interactions
    if config.by != "given":
        interactions = interactions.drop(c.SPLIT, strict=False)
    frame, row_report = filter_interactions(interactions, config.filters)
    # Sorted, so that random shares do not depend on the order of the file.
    frame = frame.sort(c.USER_ID, c.ITEM_ID)
    frame = _SPLITTERS[config.by](frame, config).with_columns(pl.col(c.SPLIT).cast(pl.String))
    frame, saturated = _drop_saturated_users(frame)
    train = frame.filter(pl.col(c.SPLIT) == "train")
    vocabulary = Vocabulary(_sort_ids(train[c.USER_ID]), _sort_ids(train[c.ITEM_ID]))
    frame, unknown = _drop_unknown_ids(frame, vocabulary)
    if train.is_empty():
        reasons = "".join(f" ({entry})" for entry in saturated)
        raise DataError(f"the split leaves no train pairs{reasons}; check the shares and the split column")
    return Split.of(frame, vocabulary, dataset.items, row_report=dataset.row_report + row_report + saturated + unknown)


def _split_by_ratio(frame: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    return _divide(frame, config.seed, valid=config.valid, test=config.test)


def _split_leave_one_out(frame: pl.DataFrame, _: SplitConfig) -> pl.DataFrame:
    _require_times(frame, "leave-one-out")
    frame = frame.sort(c.USER_ID, c.TIMESTAMP, c.ITEM_ID)
    size = pl.len().over(c.USER_ID)
    from_the_end = size - pl.int_range(pl.len()).over(c.USER_ID)
    test, valid = ((size >= 3) & (from_the_end == n) for n in (1, 2))
    return _assign_parts(frame, test=test, valid=valid)


def _split_by_time(frame: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    _require_times(frame, "time")
    times = frame[c.TIMESTAMP].sort().to_list()
    times.append(times[-1] + 1)  # where an empty part starts
    start_of_valid, start_of_test = (
        times[min(round(share * len(frame)), len(frame))] for share in (config.train, config.train + config.valid)
    )
    time = pl.col(c.TIMESTAMP)
    return _assign_parts(frame, test=time >= start_of_test, valid=time >= start_of_valid)


def _split_as_given(frame: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
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
    if (frame[c.SPLIT] == "valid").any() or config.valid == 0:
        return frame
    train = frame.filter(pl.col(c.SPLIT) == "train").drop(c.SPLIT)
    divided = _divide(train, config.seed, valid=config.valid, test=0)
    return pl.concat([divided, frame.filter(pl.col(c.SPLIT) != "train")], how="diagonal")


_SPLITTERS = {
    "ratio": _split_by_ratio,
    "leave-one-out": _split_leave_one_out,
    "time": _split_by_time,
    "given": _split_as_given,
}


def _divide(frame: pl.DataFrame, seed: int, *, valid: float, test: float) -> pl.DataFrame:
    """Assign, in random order, each user's first round(test x size) pairs to test, the next to valid, one or more to train."""
    keys = pl.Series("_key", generator(seed, "split").random(len(frame)))
    place, size = pl.col("_key").rank("ordinal").over(c.USER_ID) - 1, pl.len().over(c.USER_ID)
    n_test = (test * size).round()
    n_held_out = pl.min_horizontal(n_test + (valid * size).round(), size - 1)
    is_test = place < pl.min_horizontal(n_test, n_held_out)
    return _assign_parts(frame.with_columns(keys), test=is_test, valid=place < n_held_out).drop("_key")


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


def _sort_ids(ids: pl.Series) -> list[str]:
    """Return the distinct ids, sorted as numbers if all are whole numbers, else as strings."""
    distinct = ids.unique().to_list()
    if all(text.isascii() and text.isdigit() for text in distinct):
        return sorted(distinct, key=lambda text: (int(text), text))
    return sorted(distinct)


def _drop_unknown_ids(frame: pl.DataFrame, vocabulary: Vocabulary) -> tuple[pl.DataFrame, RowReport]:
    """Leave out and report held-out pairs whose user or item is not in train, since they cannot be ranked."""
    row_report: RowReport = ()
    first = f"{{{c.SPLIT}}} pair of user {{{c.USER_ID}!r}} and item {{{c.ITEM_ID}!r}}"
    for column, known, name in ((c.USER_ID, vocabulary.user_ids, "users"), (c.ITEM_ID, vocabulary.item_ids, "items")):
        reason, remedy = f"whose {column} train lacks", f"they were left out, since these {name} have no train pairs"
        frame, issues = drop_rows(frame, ~pl.col(column).is_in(known), "split", reason, first, remedy)
        row_report += issues
    return frame, row_report


def _require_times(frame: pl.DataFrame, method: str) -> None:
    if c.TIMESTAMP not in frame.columns:
        raise ConfigError(
            f"--by {method} needs a timestamp column, found {', '.join(frame.columns)}; map one on import"
        )
    missing = frame.filter(pl.col(c.TIMESTAMP).is_null())
    if not missing.is_empty():
        user, item = missing.select(c.USER_ID, c.ITEM_ID).row(0)
        raise DataError(
            f"{len(missing):,} pairs have no timestamp (first: user {user!r}, item {item!r}), "
            f"expected one for every pair; use --by ratio or complete the column"
        )
