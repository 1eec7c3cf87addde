"""SGL: LightGCN with a contrastive loss between two random subgraphs."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn

from hardneg.config import VectorSize
from hardneg.data.interactions import Interactions
from hardneg.models.config import LightGCNModel, ModelConfig
from hardneg.models.contrastive import BatchNodes
from hardneg.models.graph import Graph
from hardneg.models.propagation import propagate
from hardneg.random import generator
from hardneg.types import Batch, Flags, RequiredRows, TrainingPass

Augmentation = Literal["edge-drop", "node-drop", "random-walk"]
"""Random subgraphs: without some pairs, without some users and items, or without other pairs at every hop."""
VIEWS = ("view 1", "view 2")


class SGLModel(LightGCNModel):
    """LightGCN; training adds weight x InfoNCE between two views, for users and for items.

    A view is the mean of the hops over a subgraph that is drawn at the start of an epoch. Its degrees are those of the
    subgraph. Sampler, BPR and evaluation read the whole graph.
    """

    def __init__(self, train: Interactions, options: SGL, *, seed: int) -> None:
        super().__init__(train, embedding_size=options.embedding_size, hops=options.hops, seed=seed)
        self.train_pairs, self.options, self.seed = train, options, seed
        self._views: tuple[int, list[tuple[Graph, ...]]] = (0, [])

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Propagate over the graph and over both subgraphs of the epoch."""
        embeddings, nodes = self(required), BatchNodes.of(batch)
        one, other = (
            propagate(graphs, self.users, self.items, pooling="mean", required=nodes.required)
            for graphs in self._graphs(batch.epoch)
        )
        loss = nodes.contrast(one, other, self.options.temperature)
        return TrainingPass(embeddings, auxiliary=self.options.weight * loss)

    def _graphs(self, epoch: int) -> list[tuple[Graph, ...]]:
        """Return a graph per hop for both views of an epoch."""
        if self._views[0] != epoch:
            self._views = (epoch, [self._draw(view, epoch) for view in VIEWS])
        return self._views[1]

    def _draw(self, view: str, epoch: int) -> tuple[Graph, ...]:
        rng, options = generator(self.seed, f"subgraph, {view}", epoch), self.options
        if options.augmentation == "random-walk":
            return tuple(Graph(drop_edges(self.train_pairs, options.dropout, rng)) for _ in range(self.hops))
        drop = drop_edges if options.augmentation == "edge-drop" else drop_nodes
        return (Graph(drop(self.train_pairs, options.dropout, rng)),) * self.hops


def drop_edges(train: Interactions, ratio: float, rng: Generator) -> Interactions:
    """Remove a share of the pairs, rounded down, drawn uniformly."""
    return _keep(train, ~_draw(len(train), ratio, rng))


def drop_nodes(train: Interactions, ratio: float, rng: Generator) -> Interactions:
    """Remove the pairs of a share of the users and of a share of the items, rounded down, drawn uniformly."""
    users, items = _draw(train.n_users, ratio, rng), _draw(train.n_items, ratio, rng)
    return _keep(train, ~(users[train.users] | items[train.items]))


def _draw(n: int, ratio: float, rng: Generator) -> Flags:
    chosen = np.zeros(n, bool)
    chosen[rng.permutation(n)[: int(n * ratio)]] = True
    return chosen


def _keep(train: Interactions, kept: Flags) -> Interactions:
    return Interactions(train.users[kept], train.items[kept], train.n_users, train.n_items)


class SGL(ModelConfig):
    """SGL (Wu et al., 2021): LightGCN with a contrastive loss between two random subgraphs, drawn anew every epoch.

    Users and items are contrasted separately, each among the distinct ones of the batch. Differences from SELFRec: there,
    both are in one pool, and a switch that is always true ignores the augmentation. The release takes all users and all
    items as negatives.
    """

    kind: Literal["sgl"] = "sgl"
    embedding_size: VectorSize = 64
    """Size of the user and item embeddings."""
    hops: Annotated[int, Field(ge=1, le=64)] = 3
    """Number of propagation steps."""
    augmentation: Augmentation = "edge-drop"
    """Subgraphs: edge-drop, node-drop or random-walk (other edges at every hop)."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the pairs, or of the users and items, that a subgraph lacks; the paper searches 0 to 0.5."""
    weight: NonNegativeFloat = 0.1
    """Weight of the contrastive loss; the paper searches 0.005 to 1."""
    temperature: PositiveFloat = 0.2
    """Divisor of the cosines; the paper searches 0.1 to 1."""

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return SGLModel(train, self, seed=seed)
