"""LLMRec: a backbone with side features, which are item texts and user profiles propagated over the graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat
from scipy.sparse import csr_array
from torch import Tensor, nn

from hardneg.data.interactions import Interactions
from hardneg.models.config import LightGCN
from hardneg.models.feed_forward import FeedForward
from hardneg.models.graph import normalised_adjacency
from hardneg.models.pruned_bpr import keep_smallest, triplet_losses
from hardneg.models.text_model import (
    BaseBackbone,
    TextModel,
    TextModelConfig,
    TextTables,
    accept_sparse,
    add_loss_of_negatives,
    first_items,
)
from hardneg.text import TextVectors
from hardneg.types import Batch, Embeddings, Floats, Indices, Negatives, RequiredRows, TrainingPass


def propagated_features(graph: csr_array, items: Floats, users: Floats) -> dict[str, Floats]:
    """Return the texts of items and the profiles of users, propagated: to the other side, and from there back to their own.

    graph: (n_users, n_items), normalised. items, users: (n, size), rows of 0 without a text. The result has "attributes of
    users", "attributes of items", "profiles of users" and "profiles of items".
    """
    attributes, profiles = graph @ items, graph.T @ users
    return {
        "attributes of users": attributes,
        "attributes of items": graph.T @ attributes,
        "profiles of users": graph @ profiles,
        "profiles of items": profiles,
    }


class SideFeatures(nn.Module):
    """Linear maps of item texts and user profiles, propagated; computed from texts that are propagated once, in advance.

    Propagation and a linear map commute: graph (T W + 1 b) = (graph T) W + (graph 1) b. The last column of a table is
    graph 1, where 1 stands for nodes with a text.
    """

    def __init__(self, train: Interactions, texts: TextTables, size: int, *, seed: int) -> None:
        super().__init__()
        items, users = (
            torch.cat(table, dim=1).numpy() for table in ((texts.items, texts.has_item), (texts.users, texts.has_user))
        )
        for name, table in propagated_features(normalised_adjacency(train), items, users).items():
            rows = torch.from_numpy(np.ascontiguousarray(table, np.float32))
            self.register_buffer(name.replace(" ", "_"), rows, persistent=False)
        sizes = (texts.size, size)
        self.attribute_map = FeedForward(sizes, slope=0, seed=seed, purpose="map of item texts")
        self.profile_map = FeedForward(sizes, slope=0, seed=seed, purpose="map of user profiles")

    def attributes(self, side: str, rows: Tensor | None) -> Tensor:
        """Return the propagated item texts of some users or items, (n, size); None for all."""
        return _map(self.attribute_map, self.get_buffer(f"attributes_of_{side}"), rows)

    def profiles(self, side: str, rows: Tensor | None) -> Tensor:
        """Return the propagated user profiles of some users or items, (n, size); None for all."""
        return _map(self.profile_map, self.get_buffer(f"profiles_of_{side}"), rows)


def _map(layer: FeedForward, table: Tensor, rows: Tensor | None) -> Tensor:
    table = table if rows is None else table[rows]
    return torch.addmm(table[:, -1:] * layer.biases[0], table[:, :-1], layer.weights[0])


class LLMRecModel(TextModel):
    """Final embeddings of the base plus normalised side features; training adds a pruned BPR loss of the features."""

    def __init__(self, base: nn.Module, texts: TextVectors, options: LLMRec, train: Interactions, *, seed: int) -> None:
        super().__init__(base, texts)
        self.options = options
        self.features = SideFeatures(train, self.texts, self.final_size, seed=seed)

    def forward(self, required: RequiredRows | None = None) -> Embeddings:
        """Compute the base and add the side features, also to the tables of hops above 0."""
        return _add_to_hops(super().forward(required), self._side_tables(required))

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Compute the base's training pass with side features; those of hops are for the sampler alone."""
        computed, sides = super().training_pass(batch, required), self._side_tables(required)
        scored = _add_to_pooled(computed.scored or computed.embeddings, sides)
        computed = replace(computed, embeddings=_add_to_hops(computed.embeddings, sides), scored=scored)
        return add_loss_of_negatives(
            computed, lambda negatives: self.options.side_weight * self.side_loss(batch, negatives)
        )

    def side_loss(self, batch: Batch, negatives: Negatives) -> Tensor:
        """Return the mean of the smallest BPR losses of profiles of users and attributes of items, 0 without negatives."""
        items = first_items(negatives)
        users, positives = (side.unsqueeze(1).expand_as(items)[items >= 0] for side in (batch.users, batch.positives))
        items = items[items >= 0]
        rows = self.features.profiles("users", users)
        liked, disliked = (self.features.attributes("items", index) for index in (positives, items))
        losses = keep_smallest(triplet_losses(rows, liked, disliked), self.options.prune)
        return losses.mean() if len(losses) else losses.sum()

    def _side_tables(self, required: RequiredRows | None) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the normalised side features of users and of items; 0 in rows that are not required."""
        users, items = (None, None) if required is None else (required.users, required.items)
        return self._side_table("users", users), self._side_table("items", items)

    def _side_table(self, side: str, required: Indices | None) -> Tensor:
        table = self.features.get_buffer(f"profiles_of_{side}")
        rows = None if required is None else torch.from_numpy(required).to(table.device)
        profiles = F.normalize(self.features.profiles(side, rows), dim=1)
        attributes = F.normalize(self.features.attributes(side, rows), dim=1)
        added = self.options.profile_weight * profiles + self.options.attribute_weight * attributes
        return added if rows is None else table.new_zeros((len(table), self.final_size)).index_copy(0, rows, added)


def _add_to_pooled(embeddings: Embeddings, sides: tuple[Tensor, Tensor]) -> Embeddings:
    """Add side features to the pooled tables alone."""
    users, items = embeddings.final_users + sides[0], embeddings.final_items + sides[1]
    return replace(embeddings, pooled=(accept_sparse(users), accept_sparse(items)))


def _add_to_hops(embeddings: Embeddings, sides: tuple[Tensor, Tensor]) -> Embeddings:
    """Add side features to the pooled tables, and to each hop what gives these when hops are pooled.

    Hop 0 is without them, so that L2 is of trained numbers, unless it is the only hop or hops are concatenated.
    """
    pooling, n_hops, size = embeddings.pooling, len(embeddings.users), embeddings.users[0].shape[1]
    first = 1 if n_hops > 1 and pooling != "concat" else 0
    scale = {"mean": n_hops / (n_hops - first), "sum": 1 / (n_hops - first)}.get(pooling, 1.0)

    def add(tables: tuple[Tensor, ...], side: Tensor) -> tuple[Tensor, ...]:
        shares = torch.split(side, size, dim=1) if pooling == "concat" else [side] * n_hops
        # Hops that a step does not read are empty, and stay so.
        added = (
            accept_sparse(table + scale * share) if len(table) else table
            for table, share in zip(tables[first:], shares[first:], strict=True)
        )
        return *tables[:first], *added

    users, items = add(embeddings.users, sides[0]), add(embeddings.items, sides[1])
    return replace(_add_to_pooled(embeddings, sides), users=users, items=items)


class LLMRec(TextModelConfig):
    """LLMRec (Wei et al., 2024): a backbone with side features, the texts of items and the profiles of users.

    Both are mapped linearly, propagated over the training pairs to the other side and back, normalised, weighted, and added
    to the final embeddings. BPR of propagated profiles of users and texts of items is added with a small weight; of its
    losses the largest are pruned. The third part, triplets that a language model picks among candidates, is a use of
    suspects by any run: `--suspects FOLDER --use-suspects triplets`, with any judge.

    Errors of the release that are avoided: it keeps the largest losses in place of the smallest; its regulariser is the
    reciprocal of the norms, here it is L2 of hop 0; it clips gradients before they are computed, which has no effect, so
    nothing is clipped here; it selects the epoch on test pairs; every pass overwrites the profiles of a tenth of the users
    with the mean, for good. Left out: image features, masking of features with their restoration (weight .00001 there),
    pruning of training pairs. An item has one text, not one for each attribute. The graph is normalised on both sides, and
    `base` decides on the propagation of embeddings; the release takes a softmax of their last hop.
    """

    kind: Literal["llmrec"] = "llmrec"
    base: BaseBackbone = LightGCN()
    """The backbone: its options, or its kind alone; in a row of a study it is the model of the table by default."""
    profile_weight: NonNegativeFloat = 2.8
    """Length of the propagated user profiles in the final embeddings; the release has 2.8, and .72 for MovieLens."""
    attribute_weight: NonNegativeFloat = 0.005
    """Length of the propagated item texts in the final embeddings; the release has .005, and .003 for MovieLens."""
    side_weight: NonNegativeFloat = 0.012
    """Weight of the BPR loss of the side features."""
    prune: Annotated[float, Field(ge=0, lt=1)] = 0.71
    """Share of these losses, the largest, that is left out; the release has .71, and .4 for MovieLens."""

    def build_with_texts(self, train: Interactions, texts: TextVectors, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return LLMRecModel(self.base.build(train, seed=seed), texts, self, train, seed=seed)
