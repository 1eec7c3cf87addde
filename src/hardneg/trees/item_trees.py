"""The two item trees of DTL-NS: structural, from common users; semantic, from item vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    """Settings of both trees; the defaults are those of the release, except the seed."""

    graph: GraphConfig = GraphConfig()
    embedding_size: PositiveInt = 32
    """Number of eigenvectors of the item graph."""
    tree: TreeConfig = TreeConfig()
    seed: int = 0


@dataclass(frozen=True)
class Trees:
    """Path codes of one catalogue in both trees. source: origin of the semantic tree's vectors."""

    structural: PathCodes
    semantic: PathCodes
    source: str

    def __post_init__(self) -> None:
        if self.structural.n_items != self.semantic.n_items:
            raise DataError(
                f"found {self.structural.n_items:,} structural and {self.semantic.n_items:,} semantic codes, expected "
                "equal numbers; give trees of one catalogue"
            )

    def shuffled(self, rng: Generator) -> Trees:
        """Return a control: each tree with its codes permuted among items."""
        return self._with(lambda codes: codes.shuffled(rng), "shuffled")

    def random_like(self, rng: Generator) -> Trees:
        """Return a control: random codes of equal shape in place of each tree."""
        return self._with(lambda codes: codes.random_like(rng), "random, shaped like")

    def _with(self, change: Callable[[PathCodes], PathCodes], prefix: str) -> Trees:
        return Trees(change(self.structural), change(self.semantic), f"{prefix} {self.source}")


def structural_codes(
    train: Interactions, config: TreesConfig, progress: Progress | None = None
) -> tuple[PathCodes, dict[str, Any]]:
    """Build the structural tree from train pairs; items that share no user with another item get no code.

    Returns the codes, and notes on the graph and its spectrum for a manifest.
    """
    graph = jaccard_graph(train, config.graph, generator(config.seed, "histories of the item graph"), progress)
    spectrum = spectral_embedding(graph.weights, config.embedding_size, seed=config.seed)
    codes = build_tree(spectrum.points, config.tree, seed=config.seed, progress=_with_prefix(progress, "structural"))
    largest = float(spectrum.values[0]) if len(spectrum.values) else None
    notes = {"null vectors dropped": spectrum.components, "eigenvectors": len(spectrum.values)}
    return codes, {**graph.notes(), **notes, "largest eigenvalue kept": largest}


def semantic_codes(vectors: Floats, config: TreesConfig, progress: Progress | None = None) -> PathCodes:
    """Build the semantic tree from item vectors (n_items, size); items with NaN get no code."""
    return build_tree(vectors, config.tree, seed=config.seed, progress=_with_prefix(progress, "semantic"))


def mask_untrained(vectors: Floats, train: Interactions) -> Floats:
    """Return a model's item vectors with NaN for items without train pairs, whose vectors are still random."""
    if len(vectors) != train.n_items:
        raise DataError(
            f"found vectors of {len(vectors):,} items, the split has {train.n_items:,}; give a run of this split"
        )
    return np.asarray(np.where(train.item_counts[:, None] > 0, vectors, np.nan))


def _with_prefix(progress: Progress | None, prefix: str) -> Progress | None:
    return None if progress is None else lambda label, done, total: progress(f"{prefix} {label}", done, total)
