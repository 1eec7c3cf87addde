"""Where texts lie among embeddings: one fixed linear map, the same for every set of data."""

from __future__ import annotations

from pathlib import Path

from hardneg.errors import DataError
from hardneg.finetuning.projection import orthogonal
from hardneg.text import text_vectors
from hardneg.types import Floats


def text_projection(vectors_folder: Path, n_items: int, size: int, *, seed: int = 0) -> Floats:
    """(n_items, size): the item texts of a vectors folder through one orthogonal map drawn from the seed, NaN without text.

    The map knows nothing of the set, so equal texts have equal places in all sets that share encoder, size and seed.
    Lengths and cosines stay the same on average. Raises ConfigError where texts have fewer numbers than `size`.
    """
    texts = text_vectors.read_text_vectors(vectors_folder).items
    if len(texts) != n_items:
        raise DataError(
            f"{vectors_folder} has {len(texts):,} items, the split {n_items:,}; encode the texts of this split"
        )
    return orthogonal(texts.shape[1], size, seed=seed)(texts)
