"""AlphaRec: text vectors through a perceptron and the graph, without trained tables of users and items."""

from __future__ import annotations

from typing import Annotated, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import nn

from hardneg.config import VectorSize
from hardneg.data.interactions import Interactions
from hardneg.models.feed_forward import FeedForward
from hardneg.models.graph import Graph
from hardneg.models.propagation import propagate
from hardneg.models.text_model import TextModelConfig, TextTables
from hardneg.text import TextVectors
from hardneg.types import Embeddings, RequiredRows

SLOPE = 0.01
"""Slope of the leaky ReLU below 0."""


class AlphaRecModel(nn.Module):
    """E^(0) = W2 LeakyReLU(W1 t + b1) + b2 of users and items alike; the mean of the hops, divided by its length.

    A node without a text has E^(0) = 0, and so has only its neighbours. The layers are the only parameters.
    """

    def __init__(self, train: Interactions, texts: TextVectors, options: AlphaRec, *, seed: int) -> None:
        super().__init__()
        self.texts, self.graph, self.hops = TextTables(texts), Graph(train), options.hops
        self.final_size = options.embedding_size
        sizes = (self.texts.size, options.hidden_size, options.embedding_size)
        self.layers = FeedForward(sizes, slope=SLOPE, seed=seed, purpose="AlphaRec")

    def forward(self, required: RequiredRows | None = None) -> Embeddings:  # noqa: ARG002 - neighbours need all rows
        """Return one table of users and one of items, rows of length 1: inner products are cosines."""
        users = self.texts.has_user * self.layers(self.texts.users)
        items = self.texts.has_item * self.layers(self.texts.items)
        hops = propagate((self.graph,) * self.hops, users, items, pooling="mean")
        return Embeddings((F.normalize(hops.final_users, dim=1),), (F.normalize(hops.final_items, dim=1),), "mean")


class AlphaRec(TextModelConfig):
    """AlphaRec (Sheng et al., 2025): item texts through two layers and LightGCN's propagation; no trained embeddings.

    A user is the mean of the vectors of the train items, by the same layers. Scores are cosines, in training and ranking.
    The paper trains by sampled softmax of cosines with 256 uniform negatives and temperature 0.15 (Games 0.2), learning
    rate 5e-4: fit.loss {kind: softmax, temperature: 0.15}, sampler {kind: uniform, negatives: 256}. Differences from the
    release: the mean of a user is divided by its length; samplers read the final embeddings, as one hop, whose L2 is
    constant. The release has 1,536 hidden numbers for text vectors of 3,072.
    """

    kind: Literal["alpharec"] = "alpharec"
    profile: Literal["profiles", "items"] = "items"
    """Text vector of a user: the mean of the vectors of the user's train items, as in the paper, or the encoded profile."""
    embedding_size: VectorSize = 64
    """Size of the user and item embeddings."""
    hidden_size: VectorSize = 256
    """Width of the hidden layer."""
    hops: Annotated[int, Field(ge=0, le=64)] = 2
    """Number of propagation steps; 0 is the two layers alone."""

    def build_with_texts(self, train: Interactions, texts: TextVectors, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return AlphaRecModel(train, texts, self, seed=seed)
