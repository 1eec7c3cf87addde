"""Places of texts among embeddings: one fixed linear map, the same for every dataset."""

from __future__ import annotations

from pathlib import Path

from hardneg.errors import DataError
from hardneg.finetuning.linear_maps import orthogonal
from hardneg.text import text_vectors
from hardneg.types import Floats


def text_projection(vectors_dir: Path, n_items: int, size: int, *, seed: int = 0) -> Floats:
    """Return (n_items, size): item text vectors under one orthogonal map drawn from the seed, NaN without text.

    The map does not depend on the dataset: equal texts have equal places wherever encoder, size and seed are equal.
    Lengths and cosines stay the same on average. Raises ConfigError where text vectors are shorter than `size`.
    """
    texts = text_vectors.read_text_vectors(vectors_dir).items
    if len(texts) != n_items:
        raise DataError(
            f"{vectors_dir} has {len(texts):,} items, the split {n_items:,}; encode the texts of this split"
        )
    return orthogonal(texts.shape[1], size, seed=seed)(texts)
