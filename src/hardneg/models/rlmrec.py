"""RLMRec: a backbone whose embeddings are aligned with text profiles, by contrast or by reconstruction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from hardneg.config import require_memory
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError
from hardneg.models.config import LightGCN, xavier
from hardneg.models.contrastive import contrast_views, contrast_with_own
from hardneg.models.feed_forward import FeedForward
from hardneg.models.text_model import (
    BaseBackbone,
    TextModel,
    TextModelConfig,
    add_loss,
    add_loss_of_negatives,
    first_items,
)
from hardneg.random import generator
from hardneg.text import TextVectors
from hardneg.types import Batch, Embeddings, Negatives, RequiredRows, TrainingPass, gather_rows

SLOPE = 0.01
"""Slope of the leaky ReLU below 0."""
Contrast = Literal["all", "batch"]


class RLMRecConModel(TextModel):
    """Training adds weight x the contrast of users, positives and negatives with their mapped profiles."""

    def __init__(self, base: nn.Module, texts: TextVectors, options: RLMRecCon, *, seed: int) -> None:
        super().__init__(base, texts)
        self.options = options
        sizes = (self.texts.size, (self.texts.size + self.final_size) // 2, self.final_size)
        self.map = FeedForward(sizes, slope=SLOPE, seed=seed, purpose="profiles")

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Compute the base's training pass; the loss that is added waits for the sampled negatives."""
        computed = super().training_pass(batch, required)
        tables = computed.scored or computed.embeddings
        return add_loss_of_negatives(
            computed, lambda negatives: self.options.weight * self.contrast(batch, tables, negatives)
        )

    def contrast(self, batch: Batch, tables: Embeddings, negatives: Negatives) -> Tensor:
        """Return the sum of the three losses; nodes without a profile are in none of them."""
        items = first_items(negatives).flatten()
        return (
            self._of_users(batch.users, tables.final_users)
            + self._of_items(batch.positives, tables.final_items)
            + self._of_items(items[items >= 0], tables.final_items)
        )

    def _of_users(self, users: Tensor, table: Tensor) -> Tensor:
        distinct, counts = _with_profile(users, self.texts.has_user)
        if self.options.contrast == "batch":
            return self._contrast(distinct, counts, table, self.texts.users[distinct])
        known = self.texts.has_user[:, 0] > 0
        require_memory(3 * 4 * len(distinct) * len(known), "the contrast of a batch with all users")
        own = (known.cumsum(dim=0) - 1)[distinct]
        profiles = self.map(self.texts.users[known])
        return contrast_with_own(gather_rows(table, distinct), profiles, own, self.options.temperature, counts)

    def _of_items(self, items: Tensor, table: Tensor) -> Tensor:
        distinct, counts = _with_profile(items, self.texts.has_item)
        return self._contrast(distinct, counts, table, self.texts.items[distinct])

    def _contrast(self, nodes: Tensor, counts: Tensor, table: Tensor, texts: Tensor) -> Tensor:
        own = torch.arange(len(nodes), device=nodes.device)
        rows, profiles = gather_rows(table, nodes), self.map(texts)
        return contrast_with_own(rows, profiles, own, self.options.temperature, counts)


def _with_profile(nodes: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
    """Return the distinct nodes with a profile, and how often each occurs."""
    distinct, counts = torch.unique(nodes[has[nodes, 0] > 0], return_counts=True)
    return distinct, counts.float()


class RLMRecCon(TextModelConfig):
    """RLMRec-Con (Ren et al., 2024): a backbone whose embeddings are contrasted with their text profiles.

    A perceptron maps profiles into the space of the final embeddings, which are read as they are trained. Three InfoNCE
    losses are added: of users against the profiles of all users, of positive items against those of the batch's positives,
    and of negative items against those of its negatives. A mixed negative counts as the first item of its mixture.

    Differences from the release: an item is in a denominator once, where the release repeats items that occur several times
    in a batch, so that they are their own negatives. Nodes without a profile are left out. LightGCN has the mean of the
    hops, the release their sum, with a fifth of the edges dropped in every step; `base` decides here. L2 is not of the
    perceptron. With contrast "all", every step maps every profile; with "batch" it costs less memory and time.
    """

    kind: Literal["rlmrec-con"] = "rlmrec-con"
    base: BaseBackbone = LightGCN()
    """The backbone: its options, or its kind alone; in a row of a study it is the model of the table by default."""
    weight: NonNegativeFloat = 1e-2
    """Weight of the contrastive losses; the release has .01, and .001 for Steam."""
    temperature: PositiveFloat = 0.2
    """Divisor of the cosines; the release has .2, and .1 for Steam."""
    contrast: Contrast = "all"
    """Users in the denominator: all, as in the release, or those of the batch, which costs less."""

    def build_with_texts(self, train: Interactions, texts: TextVectors, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return RLMRecConModel(self.base.build(train, seed=seed), texts, self, seed=seed)


@dataclass(frozen=True)
class MaskedNodes:
    """Nodes of one step whose hop-0 rows are the token: users (n,) and items (m,), ascending."""

    users: Tensor
    items: Tensor

    def mask(self, start: tuple[Tensor, Tensor], token: Tensor) -> tuple[Tensor, Tensor]:
        """Replace their rows in both tables by the token (1, size)."""
        users, items = (
            table.index_put((rows,), token.expand(len(rows), -1))
            for table, rows in zip(start, (self.users, self.items), strict=True)
        )
        return users, items

    def among(self, batch: Batch) -> MaskedNodes:
        """Return those that are users or positive items of a batch."""
        return MaskedNodes(
            self.users[torch.isin(self.users, batch.users)], self.items[torch.isin(self.items, batch.positives)]
        )

    def add_to(self, required: RequiredRows | None) -> RequiredRows | None:
        """Return the required rows and those of the nodes."""
        if required is None:
            return None
        users, items = (
            np.union1d(rows, own.cpu().numpy())
            for rows, own in ((required.users, self.users), (required.items, self.items))
        )
        return replace(required, users=users, items=items)


class RLMRecGenModel(TextModel):
    """Training masks nodes, scores the masked tables, and adds weight x the loss of the profiles reconstructed from them.

    The sampler reads tables without a mask, for which a step propagates a second time, forward only.
    """

    def __init__(self, base: nn.Module, texts: TextVectors, options: RLMRecGen, *, seed: int) -> None:
        super().__init__(base, texts)
        with torch.no_grad():
            n_hops = len(self().users)
        if n_hops < 2:
            raise ConfigError(
                f"found base {type(base).__name__} with hop 0 alone, expected one that propagates: a masked node is "
                "reconstructed from its neighbours; choose lightgcn, or the model rlmrec-con"
            )
        self.options, self.seed = options, seed
        self.token = xavier(1, base.get_parameter("users").shape[1], seed=seed, purpose="mask token")
        sizes = (self.final_size, (self.texts.size + self.final_size) // 2, self.texts.size)
        self.map = FeedForward(sizes, slope=SLOPE, seed=seed, purpose="reconstruction")
        known = torch.cat([self.texts.has_user, self.texts.has_item])[:, 0] > 0
        self.known_nodes = torch.nonzero(known)[:, 0].numpy()

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Compute the base's training pass from masked tables, and its call from tables without a mask."""
        start, masked = self.start(), self.draw(batch)
        read = masked if self.options.contrast == "all" else masked.among(batch)
        computed = self.run_base(masked.mask(start, self.token), batch, read.add_to(required))
        tables = computed.scored or computed.embeddings
        clean = self.run_base(start, None, required).embeddings
        computed = replace(computed, embeddings=clean, scored=tables)
        return add_loss(computed, self.options.weight * self.reconstruct(tables, read))

    def draw(self, batch: Batch) -> MaskedNodes:
        """Draw the masked nodes of a step among those with a profile, at least one."""
        rng = generator(self.seed, f"masked nodes, step {batch.step}", batch.epoch)
        n = max(round(self.options.mask_ratio * len(self.known_nodes)), 1)
        nodes, n_users = np.sort(rng.permutation(self.known_nodes)[:n]), len(self.texts.users)
        users, items = nodes[nodes < n_users], nodes[nodes >= n_users] - n_users
        return MaskedNodes(*(torch.from_numpy(rows).to(batch.users.device) for rows in (users, items)))

    def reconstruct(self, tables: Embeddings, nodes: MaskedNodes) -> Tensor:
        """Return InfoNCE of reconstructed and true profiles; users and items are negatives of each other."""
        rows = torch.cat([gather_rows(tables.final_users, nodes.users), gather_rows(tables.final_items, nodes.items)])
        if not len(rows):
            return rows.sum()
        profiles = torch.cat([self.texts.users[nodes.users], self.texts.items[nodes.items]])
        return contrast_views(self.map(rows), profiles, self.options.temperature)


class RLMRecGen(TextModelConfig):
    """RLMRec-Gen (Ren et al., 2024): the profiles of masked nodes are reconstructed from their propagated neighbours.

    In every step some users and items have a learned token in place of their hop-0 row. A perceptron maps the final
    embeddings of these to profiles; InfoNCE compares them with the true profiles, users and items in one pool. As in the
    release, the ranking loss reads the masked tables; a sampler reads clean ones. The base needs a graph: without one, a
    masked node says nothing of its profile. Defaults are those of the release for Amazon-book.

    Differences from the release: only nodes with a profile are masked. LightGCN has the mean of the hops, the release their
    sum, with a fifth of the edges dropped in every step; `base` decides here. The token starts at random, not at zero. L2 is
    of hop 0 with the mask, not of the perceptron. With contrast "all", the cost grows with the square of the masked nodes;
    with "batch" it is lower.
    """

    kind: Literal["rlmrec-gen"] = "rlmrec-gen"
    base: BaseBackbone = LightGCN()
    """The backbone: its options, or its kind alone; in a row of a study it is the model of the table by default."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Share of the users and items with a profile that are masked in a step; the release has .05 to .15."""
    weight: NonNegativeFloat = 0.1
    """Weight of the reconstruction; the release has .1, and .01 for Yelp."""
    temperature: PositiveFloat = 0.5
    """Divisor of the cosines; the release has .5, and .1 for Yelp."""
    contrast: Contrast = "all"
    """Nodes that are reconstructed: all masked ones, as in the release, or those of the batch, which costs less."""

    def build_with_texts(self, train: Interactions, texts: TextVectors, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return RLMRecGenModel(self.base.build(train, seed=seed), texts, self, seed=seed)
