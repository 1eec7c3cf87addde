"""Ways to divide a dataset into train, valid and test. What train decides, held-out pairs cannot change."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.dataset import Dataset
from hardneg.data.filters import FilterConfig, apply
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split, Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.random import generator

Share = Annotated[float, Field(ge=0, le=1)]
_PLACE, _SIZE = "_place", "_size"


class SplitConfig(Config):
    """How to divide."""

    by: Literal["ratio", "leave-one-out", "time", "given"] = "ratio"
    """ratio: at random within each user. leave-one-out: each user's last pair is test, the one before valid.
    time: two moments for everybody. given: the dataset's own split column."""
    train: Share = 0.8
    valid: Share = 0.1
    """With `given` data that has no valid part: this share of each user's train pairs, at random."""
    test: Share = 0.1
    seed: int = 0
    filters: FilterConfig = FilterConfig()

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> SplitConfig:
        if self.by in ("ratio", "time") and abs(self.train + self.valid + self.test - 1) > 1e-9:
            raise ValueError(f"train + valid + test is {self.train + self.valid + self.test:g}, expected 1")
        return self


def make_split(dataset: Dataset, config: SplitConfig) -> Split:
    """Filter, divide, number users and items by train alone, and keep the texts and train reviews."""
    interactions = dataset.interactions
    if config.by != "given":
        interactions = interactions.drop(c.SPLIT, strict=False)
    frame, row_report = apply(interactions, config.filters)
    # Not the file's order but the ids decide what the random shares get.
    frame = frame.sort(c.USER_ID, c.ITEM_ID)
    frame = _WAYS[config.by](frame, config).with_columns(pl.col(c.SPLIT).cast(pl.String))
    frame, full = _without_saturated_users(frame)
    vocabulary = _vocabulary(frame)
    frame, cold = _without_unknown(frame, vocabulary)
    if frame.filter(pl.col(c.SPLIT) == "train").is_empty():
        reasons = "".join(f" ({entry})" for entry in full)
        raise DataError(f"the split leaves no train pairs{reasons}; check the shares and the split column")
    return Split.of(frame, vocabulary, dataset.items, row_report=dataset.row_report + row_report + full + cold)


def _ratio(frame: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    return _by_place(_shuffled_places(frame, config.seed), valid=config.valid, test=config.test)


def _leave_one_out(frame: pl.DataFrame, _: SplitConfig) -> pl.DataFrame:
    _require_times(frame, "leave-one-out")
    frame = frame.sort(c.USER_ID, c.TIMESTAMP, c.ITEM_ID).with_columns(
        pl.int_range(pl.len()).over(c.USER_ID).alias(_PLACE), pl.len().over(c.USER_ID).alias(_SIZE)
    )
    from_the_end = pl.col(_SIZE) - pl.col(_PLACE)
    enough = pl.col(_SIZE) >= 3
    frame = _labelled(frame, ("test", enough & (from_the_end == 1)), ("valid", enough & (from_the_end == 2)), "train")
    return frame.drop(_PLACE, _SIZE)


def _time(frame: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    _require_times(frame, "time")
    times = frame[c.TIMESTAMP].sort()
    after_all = times[-1] + 1

    def moment(share: float) -> int:
        place = round(share * len(times))
        return int(times[place]) if place < len(times) else after_all

    start_of_valid, start_of_test = moment(config.train), moment(config.train + config.valid)
    time = pl.col(c.TIMESTAMP)
    return _labelled(frame, ("train", time < start_of_valid), ("valid", time < start_of_test), "test")


def _given(frame: pl.DataFrame, config: SplitConfig) -> pl.DataFrame:
    if c.SPLIT not in frame.columns:
        raise ConfigError("--by given needs a split column, found none; import with given files or map a split column")
    unknown = frame.filter(~pl.col(c.SPLIT).is_in(c.PARTS).fill_null(value=False))
    if not unknown.is_empty():
        found = ", ".join(sorted(map(repr, unknown[c.SPLIT].unique().to_list())))
        user, item = unknown.select(c.USER_ID, c.ITEM_ID).row(0)
        raise DataError(
            f"the split column holds {found} in {len(unknown):,} rows (first: user {user!r}, item {item!r}), "
            "expected train, valid or test; rename them on import with --split-value THEIRS=OURS"
        )
    if (frame[c.SPLIT] == "valid").any() or config.valid == 0:
        return frame
    train = frame.filter(pl.col(c.SPLIT) == "train").drop(c.SPLIT)
    carved = _by_place(_shuffled_places(train, config.seed), valid=config.valid, test=0)
    return pl.concat([carved, frame.filter(pl.col(c.SPLIT) != "train")], how="diagonal")


_WAYS = {"ratio": _ratio, "leave-one-out": _leave_one_out, "time": _time, "given": _given}


def _shuffled_places(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Give each pair a random place among its user's pairs."""
    keys = pl.Series("_key", generator(seed, "split").random(len(frame)))
    return (
        frame.with_columns(keys)
        .with_columns(
            (pl.col("_key").rank("ordinal").over(c.USER_ID) - 1).alias(_PLACE), pl.len().over(c.USER_ID).alias(_SIZE)
        )
        .drop("_key")
    )


def _by_place(frame: pl.DataFrame, *, valid: float, test: float) -> pl.DataFrame:
    """The first round(test x size) places are test, the next valid; one pair at least stays in train."""
    n_test = (test * pl.col(_SIZE)).round()
    n_held_out = pl.min_horizontal(n_test + (valid * pl.col(_SIZE)).round(), pl.col(_SIZE) - 1)
    place = pl.col(_PLACE)
    first, second = ("test", place < pl.min_horizontal(n_test, n_held_out)), ("valid", place < n_held_out)
    return _labelled(frame, first, second, "train").drop(_PLACE, _SIZE)


def _labelled(
    frame: pl.DataFrame, first: tuple[str, pl.Expr], second: tuple[str, pl.Expr], otherwise: str
) -> pl.DataFrame:
    """Fill the split column: a name where its condition holds, the first that does, else the last name."""
    part = pl.when(first[1]).then(pl.lit(first[0])).when(second[1]).then(pl.lit(second[0]))
    return frame.with_columns(part.otherwise(pl.lit(otherwise)).alias(c.SPLIT))


def _without_saturated_users(frame: pl.DataFrame) -> tuple[pl.DataFrame, RowReport]:
    """A user who has every item in train has no negative; such users are left out and named.

    Their items may go with them, and leave another user with every item: so on, until nobody is left out.
    """
    left_out: list[str] = []
    kept = frame
    while full := _saturated(kept):
        left_out += full
        kept = kept.filter(~pl.col(c.USER_ID).is_in(full))
    if not left_out:
        return frame, ()
    remedy = f"{len(left_out):,} such user(s) were left out, since no negative exists for them"
    reason = "of users with every item in train"
    entry = RowIssue("split", reason, len(frame) - len(kept), f"user {left_out[0]!r}", remedy)
    return kept, (entry,)


def _saturated(frame: pl.DataFrame) -> list[str]:
    train = frame.filter(pl.col(c.SPLIT) == "train")
    n_items = train[c.ITEM_ID].n_unique()
    full = train.group_by(c.USER_ID).agg(pl.len()).filter(pl.col("len") >= n_items)
    return full[c.USER_ID].sort().to_list()


def _vocabulary(frame: pl.DataFrame) -> Vocabulary:
    train = frame.filter(pl.col(c.SPLIT) == "train")
    return Vocabulary(_ordered(train[c.USER_ID]), _ordered(train[c.ITEM_ID]))


def _ordered(ids: pl.Series) -> list[str]:
    """Distinct ids, by value where all are whole numbers, else by spelling."""
    distinct = ids.unique().to_list()
    if all(text.isascii() and text.isdigit() for text in distinct):
        return sorted(distinct, key=lambda text: (int(text), text))
    return sorted(distinct)


def _without_unknown(frame: pl.DataFrame, vocabulary: Vocabulary) -> tuple[pl.DataFrame, RowReport]:
    """Held-out pairs of users or items that train lacks cannot be ranked; they are left out and named."""
    row_report: RowReport = ()
    for column, known, remedy in (
        (c.USER_ID, vocabulary.user_ids, "they were left out, since nothing is known of these users"),
        (c.ITEM_ID, vocabulary.item_ids, "they were left out, since nothing was learnt of these items"),
    ):
        unknown = frame.filter(~pl.col(column).is_in(known))
        if not unknown.is_empty():
            part, user, item = unknown.select(c.SPLIT, c.USER_ID, c.ITEM_ID).row(0)
            reason = f"whose {column} train lacks"
            first = f"{part} pair of user {user!r} and item {item!r}"
            row_report += (RowIssue("split", reason, len(unknown), first, remedy),)
            frame = frame.filter(pl.col(column).is_in(known))
    return frame, row_report


def _require_times(frame: pl.DataFrame, way: str) -> None:
    if c.TIMESTAMP not in frame.columns:
        raise ConfigError(f"--by {way} needs a timestamp column, found {', '.join(frame.columns)}; map one on import")
    missing = frame.filter(pl.col(c.TIMESTAMP).is_null())
    if not missing.is_empty():
        user, item = missing.select(c.USER_ID, c.ITEM_ID).row(0)
        raise DataError(
            f"{len(missing):,} pairs have no timestamp (first: user {user!r}, item {item!r}), "
            f"expected one everywhere; use --by ratio or complete the column"
        )
