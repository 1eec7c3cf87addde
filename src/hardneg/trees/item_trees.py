"""The two trees of DTL-NS: one over who chose the items together, one over what a model or a text says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator
from pydantic import PositiveInt

from hardneg.config import Config
from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.trees.clustering import TreeConfig, build_tree
from hardneg.trees.codes import PathCodes
from hardneg.trees.item_graph import GraphConfig, jaccard_graph
from hardneg.trees.spectral import spectral_embedding
from hardneg.types import Floats, Progress


class TreesConfig(Config):
    """Everything that decides the trees; the defaults are those of the release, the seed apart."""

    graph: GraphConfig = GraphConfig()
    embedding_size: PositiveInt = 32
    """Eigenvectors of the item graph."""
    tree: TreeConfig = TreeConfig()
    seed: int = 0


@dataclass(frozen=True)
class Trees:
    """Path codes of one catalogue in both trees. source: what the semantic tree was grown from."""

    structural: PathCodes
    semantic: PathCodes
    source: str

    def __post_init__(self) -> None:
        if self.structural.n_items != self.semantic.n_items:
            raise DataError(
                f"found {self.structural.n_items:,} structural and {self.semantic.n_items:,} semantic codes, expected "
                "one of each an item; give trees of one catalogue"
            )

    def shuffled(self, rng: Generator) -> Trees:
        """A control: in each tree the same codes, handed out at random."""
        return self._with(lambda codes: codes.shuffled(rng), "shuffled")

    def random_like(self, rng: Generator) -> Trees:
        """A control: random codes of equal shape in place of each tree."""
        return self._with(lambda codes: codes.random_like(rng), "random, shaped like")

    def _with(self, change: Callable[[PathCodes], PathCodes], word: str) -> Trees:
        changed = change(self.structural), change(self.semantic)
        return replace(self, structural=changed[0], semantic=changed[1], source=f"{word} {self.source}")


def structural_codes(
    train: Interactions, config: TreesConfig, progress: Progress | None = None
) -> tuple[PathCodes, dict[str, Any]]:
    """Grow the structural tree from train pairs; items that share no user with another one get no code.

    Returns the codes, and notes on the graph and its spectrum for a manifest.
    """
    graph = jaccard_graph(train, config.graph, generator(config.seed, "histories of the item graph"), progress)
    spectrum = spectral_embedding(graph.weights, config.embedding_size, seed=config.seed)
    codes = build_tree(spectrum.points, config.tree, seed=config.seed, progress=_named(progress, "structural"))
    largest = float(spectrum.values[0]) if len(spectrum.values) else None
    notes = {"null vectors dropped": spectrum.components, "eigenvectors": len(spectrum.values)}
    return codes, {**graph.notes(), **notes, "largest eigenvalue kept": largest}


def semantic_codes(vectors: Floats, config: TreesConfig, progress: Progress | None = None) -> PathCodes:
    """Grow the semantic tree from item vectors (n_items, size) as they are; NaN in a row: the item gets no code."""
    return build_tree(vectors, config.tree, seed=config.seed, progress=_named(progress, "semantic"))


def mask_untrained(vectors: Floats, train: Interactions) -> Floats:
    """A trained model's item vectors, NaN for items that train does not have: theirs are as they were drawn."""
    if len(vectors) != train.n_items:
        raise DataError(
            f"found vectors of {len(vectors):,} items, the split has {train.n_items:,}; give a run of this split"
        )
    return np.asarray(np.where(train.item_counts[:, None] > 0, vectors, np.nan))


def _named(progress: Progress | None, name: str) -> Progress | None:
    return None if progress is None else lambda what, done, total: progress(f"{name} {what}", done, total)
