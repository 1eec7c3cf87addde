"""Raw, grounded and constrained negatives in one table."""

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
    """Return one row per grounding table, with the columns of SCHEMA.

    groundings: name -> grounding table (mining.generated.GROUNDING_SCHEMA). n_pairs: training pairs of the split.
    texts: generated texts. used: texts that become negatives. in_catalogue, already_chosen, suspect: shares of the used
    texts that match an item, an item of the user, or an item too similar to the positive or the history. coverage:
    share of training pairs with a used text; the others keep their uniform negative.
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
