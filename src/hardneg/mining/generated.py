"""Negatives that a language model named, as vectors and items by pair row (HNLMRec eq. 5), in three ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardneg.config import Config
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.sampling.mined import SCHEMA, MinedNegatives, mean_vectors
from hardneg.text.encoders import TextEncoder
from hardneg.text.grounding import (
    FLAGS,
    MATCH_TYPES,
    REASONS,
    EncodedCatalogue,
    GroundingConfig,
    Matches,
    match,
    reasons_against,
)
from hardneg.text.title_index import TitleIndex
from hardneg.types import Flags, Floats, Indices, Progress

NamingMode = Literal["raw", "grounded", "constrained"]
Flag = Literal["out of catalogue", "already chosen", "suspect"]
CHUNK = 4096
"""Texts that are encoded and matched at a time."""
GROUNDING = "grounding.parquet"
GROUNDING_SCHEMA = {
    "row": pl.Int64,
    "draw": pl.Int64,
    "negative_text": pl.String,
    "item_id": pl.String,
    "how": pl.String,
    "similarity": pl.Float64,
    "flag": pl.String,
    "reason": pl.String,
    "used": pl.Boolean,
}
"""A row for every text: what it means, what speaks against it, whether it serves."""


class GeneratedConfig(Config):
    """What becomes of the texts.

    raw, as in the paper: the vector of every text as it stands, whatever it means. grounded: the vector of the item that
    a text means; flagged texts do not serve. constrained: as grounded, for texts that were chosen from the closed list
    of titles.
    """

    way: NamingMode = "raw"
    leave_out: tuple[Flag, ...] = ("out of catalogue", "already chosen", "suspect")
    """Flags for which a grounded or constrained text does not serve. What means no item never does."""
    grounding: GroundingConfig = GroundingConfig()


@dataclass(frozen=True)
class GroundedTexts:
    """Texts with what they mean. The first two are by distinct text, the others by text of a pair.

    vectors: (distinct, size) float16. matches: of each distinct text. rows, draws, which: (texts,) pair row, draw and
    distinct text. against: (texts,) a number of grounding.REASONS.
    """

    distinct: list[str]
    vectors: NDArray[np.float16]
    matches: Matches
    rows: Indices
    draws: Indices
    which: Indices
    against: Indices

    @property
    def items(self) -> Indices:
        """(texts,) the item that is meant, -1 for none."""
        return self.matches.items[self.which]


@dataclass(frozen=True)
class GeneratedNegatives:
    """The parts of a negatives folder: `mined.write(folder, mined, table, rejected, more={GROUNDING: grounding})`."""

    mined: MinedNegatives
    table: pl.DataFrame
    rejected: pl.DataFrame
    grounding: pl.DataFrame


def ground_texts(
    texts: pl.DataFrame,
    names: TitleIndex,
    split: Split,
    encoder: TextEncoder,
    config: GroundingConfig,
    progress: Progress | None = None,
) -> GroundedTexts:
    """Encode each distinct text once and find what it means and what speaks against it.

    texts: columns of text.negative_texts.SCHEMA; blank texts are left out. names: the titles as the model was shown
    them. Raises DataError where there is no text at all.
    """
    said = texts.filter(pl.col("text") != "")
    if said.is_empty():
        raise DataError(
            f"none of {len(texts):,} negatives has a text ({_most_frequent(texts)}); look at the replies first"
        )
    distinct = said["text"].unique(maintain_order=True)
    places = pl.DataFrame({"text": distinct, "which": np.arange(len(distinct))})
    which = said.select("text").join(places, on="text", how="left", maintain_order="left")["which"].to_numpy()
    catalogue = EncodedCatalogue(names, encoder.encode(names.texts, progress))
    vectors, matches = _encode_and_match(distinct.to_list(), catalogue, encoder, config, progress)
    rows, draws = said["row"].to_numpy(), said["draw"].to_numpy()
    against = reasons_against(rows, which, matches, vectors, catalogue, split.train, config)
    return GroundedTexts(distinct.to_list(), vectors, matches, rows, draws, which, against)


def tabulate_generated(
    texts: pl.DataFrame,
    grounded: GroundedTexts,
    split: Split,
    config: GeneratedConfig,
    source: str,
    item_vectors: Floats | None = None,
) -> GeneratedNegatives:
    """Put written texts into the form of the negatives folder.

    texts: as given to `ground_texts`. item_vectors: (items, size) of the items' texts; needed unless raw. source: who
    wrote and who encoded, for tables and pages.
    """
    used = select_texts(grounded, config)
    n_draws = int(texts["draw"].max() or 0) + 1  # type: ignore[arg-type]
    shape = (len(split.train), n_draws)
    items = _by_pair(grounded, used, grounded.items, shape)
    if config.way == "raw":
        vectors = mean_vectors(_by_pair(grounded, used, grounded.which, shape), grounded.vectors)
    else:
        if item_vectors is None:
            raise DataError(
                f"way {config.way!r} found no item vectors, expected those of the items' texts; encode them"
            )
        vectors = mean_vectors(items, item_vectors)
    told = _told(texts, grounded, used, split)
    return GeneratedNegatives(
        MinedNegatives(items, vectors, source),
        _table(told, source),
        _rejected(told, texts, split),
        told.select(pl.col(name).cast(kind) for name, kind in GROUNDING_SCHEMA.items()),
    )


def select_texts(grounded: GroundedTexts, config: GeneratedConfig) -> Flags:
    """(texts,) which of them serve."""
    if config.way == "raw":
        return np.ones(len(grounded.rows), bool)
    left_out: Flags = np.array([flag in config.leave_out for flag in FLAGS])[grounded.against]
    return np.asarray((grounded.items >= 0) & ~left_out)


def _encode_and_match(
    distinct: list[str],
    catalogue: EncodedCatalogue,
    encoder: TextEncoder,
    config: GroundingConfig,
    progress: Progress | None,
) -> tuple[NDArray[np.float16], Matches]:
    """Chunk by chunk, so that only 16-bit vectors of all texts stand in memory."""
    size = catalogue.vectors.shape[1]
    vectors, matches = np.empty((len(distinct), size), np.float16), []
    for start in range(0, len(distinct), CHUNK):
        chunk = distinct[start : start + CHUNK]
        encoded = encoder.encode(chunk)
        vectors[start : start + len(chunk)] = encoded
        matches.append(match(chunk, encoded, catalogue, config))
        if progress is not None:
            progress("encoding and grounding negatives", start + len(chunk), len(distinct))
    return vectors, Matches.joined(matches)


def _by_pair(grounded: GroundedTexts, used: Flags, values: Indices, shape: tuple[int, int]) -> Indices:
    """(pairs, draws) a value of each text that serves, -1 elsewhere."""
    placed = np.full(shape, -1, np.int64)
    placed[grounded.rows[used], grounded.draws[used]] = values[used]
    return placed


def _told(texts: pl.DataFrame, grounded: GroundedTexts, used: Flags, split: Split) -> pl.DataFrame:
    """A row for every text with all that is known of it."""
    said = texts.filter(pl.col("text") != "")
    item_ids = np.array([*split.vocabulary.item_ids, None], dtype=object)
    return pl.DataFrame(
        {
            "row": grounded.rows,
            "draw": grounded.draws,
            **_ids(grounded.rows, split),
            "negative_text": said["text"],
            "item_id": pl.Series(item_ids[grounded.items].tolist(), dtype=pl.String),
            "how": np.array(MATCH_TYPES)[grounded.matches.how[grounded.which]],
            "similarity": grounded.matches.similarity[grounded.which].astype(float),
            "flag": np.array(FLAGS)[grounded.against],
            "reason": np.array(REASONS)[grounded.against],
            "reasoning": said["reasoning"],
            "used": used,
        }
    )


def _table(told: pl.DataFrame, source: str) -> pl.DataFrame:
    served = told.filter("used").with_columns(source=pl.lit(source))
    return served.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _rejected(told: pl.DataFrame, texts: pl.DataFrame, split: Split) -> pl.DataFrame:
    """What does not serve, and pairs for which nothing was written: user_id, positive_item_id, text, item, reason."""
    columns = ("user_id", "positive_item_id", "negative_text", "item_id", "similarity", "reason")
    unused = told.filter(~pl.col("used")).select(columns)
    unwritten = texts.filter(pl.col("text") == "")
    ids = pl.DataFrame(
        _ids(unwritten["row"].to_numpy(), split), schema={"user_id": pl.String, "positive_item_id": pl.String}
    )
    blank = ids.with_columns(
        negative_text=pl.lit(""),
        item_id=pl.lit(None, pl.String),
        similarity=pl.lit(None, pl.Float64),
        reason=unwritten["reason"],
    )
    return pl.concat([unused, blank])


def _ids(rows: Indices, split: Split) -> dict[str, pl.Series]:
    """Ids of user and positive of pair rows."""
    user_ids = np.array(split.vocabulary.user_ids, dtype=object)[split.train.users[rows]]
    item_ids = np.array(split.vocabulary.item_ids, dtype=object)[split.train.items[rows]]
    return {
        "user_id": pl.Series(user_ids.tolist(), dtype=pl.String),
        "positive_item_id": pl.Series(item_ids.tolist(), dtype=pl.String),
    }


def _most_frequent(texts: pl.DataFrame) -> str:
    if texts.is_empty():
        return "there are no pairs"
    reason, count = texts["reason"].value_counts(sort=True).row(0)
    return f"{count:,} times: {reason}"
