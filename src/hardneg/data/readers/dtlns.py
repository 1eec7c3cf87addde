"""Candidates and labels that the authors of DTL-NS (arXiv 2602.18249) released with their pairs."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.readers.integer_lines import read_words
from hardneg.data.readers.pairs import read_pairs
from hardneg.data.row_report import RowCounter, RowReport
from hardneg.errors import DataError

LABEL = "label"
CANDIDATES, ENHANCED = "candidate_items.txt", "train_enhance_dtl_fni.txt"


def released_labels(folder: Path) -> pl.DataFrame:
    """Return user_id, item_id and label of every released candidate, with ids as in `data import pairs --item-offset`.

    label: 1.0 if the candidate was added to the train pairs, 0.0 if not, null for a valid or test pair. The authors
    removed held-out pairs after the model had labelled them, so their labels are unknown.

    These labels *depend on held-out data*: only users with test pairs have candidates, and the candidates without a
    label are the held-out pairs. Use them for comparison, never to train a method that is then evaluated.
    """
    train = _read_id_pairs(folder, "train.txt", 0)
    offset = int(train[c.USER_ID].cast(pl.Int64).max()) + 1  # type: ignore[arg-type]
    train, enhanced = (_read_id_pairs(folder, name, offset) for name in ("train.txt", ENHANCED))
    held_out = pl.concat(_read_id_pairs(folder, name, offset) for name in ("valid.txt", "test.txt"))
    added = enhanced.join(train, on=[c.USER_ID, c.ITEM_ID], how="anti")
    labels = pl.concat(
        [
            held_out.unique().with_columns(pl.lit(None, pl.Float64).alias(LABEL)),
            added.unique().with_columns(pl.lit(1.0).alias(LABEL)),
        ]
    )
    known = pl.lit(True).alias("known")
    candidates = _read_candidates(folder, offset)
    joined = candidates.join(
        labels.with_columns(known), on=[c.USER_ID, c.ITEM_ID], how="left", maintain_order="left", validate="1:1"
    )
    label = pl.when(pl.col("known").is_null()).then(0.0).otherwise(pl.col(LABEL)).alias(LABEL)
    return joined.select(c.USER_ID, c.ITEM_ID, label)


def _read_candidates(folder: Path, offset: int) -> pl.DataFrame:
    """Return user_id and item_id by user and rank, from lines `user item item ...`."""
    counter = RowCounter()
    words = read_words(_find_file(folder, CANDIDATES), counter).select(pl.col("words").cast(pl.List(pl.Int64)))
    _require_all_rows(counter.row_report)
    pairs = words.select(
        pl.col("words").list.first().alias(c.USER_ID), pl.col("words").list.slice(1).alias(c.ITEM_ID)
    ).explode(c.ITEM_ID)
    return pairs.select(pl.col(c.USER_ID).cast(pl.String), (pl.col(c.ITEM_ID) - offset).cast(pl.String))


def _read_id_pairs(folder: Path, name: str, offset: int) -> pl.DataFrame:
    dataset = read_pairs({"train": _find_file(folder, name)}, item_offset=offset)
    _require_all_rows(dataset.row_report)
    return dataset.interactions.select(c.USER_ID, c.ITEM_ID)


def _require_all_rows(row_report: RowReport) -> None:
    """Raise DataError if rows were left out, whose labels would be missing."""
    if row_report:
        raise DataError(f"{row_report[0]}; expected a file as released, download it again")


def _find_file(folder: Path, name: str) -> Path:
    """Return the path of a file or of its .gz."""
    paths = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not paths:
        raise DataError(f"{folder} holds no {name}, expected a folder released by DTL-NS; check the path")
    return paths[0]
