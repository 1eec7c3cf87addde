"""Raw, grounded and constrained negatives side by side."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

SCHEMA = {
    "way": pl.String,
    "texts": pl.Int64,
    "used": pl.Int64,
    "in_catalogue": pl.Float64,
    "already_chosen": pl.Float64,
    "suspect": pl.Float64,
    "coverage": pl.Float64,
}


def compare_grounding(groundings: Mapping[str, pl.DataFrame], n_pairs: int) -> pl.DataFrame:
    """One row a way, columns of SCHEMA.

    groundings: name -> its grounding table (negatives.written.GROUNDING_SCHEMA). n_pairs: train pairs of the split.
    texts: written. used: of these, those that serve. in_catalogue, already_chosen, suspect: shares of those that serve:
    an item is meant, the user has it, it is too near to the positive or the history. coverage: share of train pairs
    with a text that serves; the others keep their uniform negative.
    """
    return pl.DataFrame([_row(way, frame, n_pairs) for way, frame in groundings.items()], schema=SCHEMA)


def _row(way: str, frame: pl.DataFrame, n_pairs: int) -> dict[str, object]:
    used = frame.filter("used")
    return {
        "way": way,
        "texts": len(frame),
        "used": len(used),
        "in_catalogue": used["item_id"].is_not_null().mean(),
        "already_chosen": (used["flag"] == "already chosen").mean(),
        "suspect": (used["flag"] == "suspect").mean(),
        "coverage": used["row"].n_unique() / max(n_pairs, 1),
    }
