"""KAR: text vectors through a mixture of experts, added to the embeddings of a backbone."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from hardneg.config import VectorSize
from hardneg.data.interactions import Interactions
from hardneg.models.config import LightGCN, xavier
from hardneg.models.feed_forward import FeedForward
from hardneg.models.text_model import BaseBackbone, TextModel, TextModelConfig
from hardneg.text import TextVectors

SIDES = ("user", "item")


class HybridExperts(nn.Module):
    """Hybrid-expert adaptor: the sum over experts of gate_k(t) ReLU(W2 ReLU(W1 t + b1) + b2), mapped to `size` numbers.

    Experts are shared by both sides, or belong to one. A side has a gate, the softmax of a linear layer over its experts,
    and a map to the size of the embeddings.
    """

    def __init__(self, text_size: int, options: KAR, size: int, *, seed: int) -> None:
        super().__init__()
        sizes = (text_size, options.hidden_size, options.expert_size)

        def experts(n: int, owner: str) -> nn.ModuleList:
            names = (f"expert {k} of {owner}" for k in range(n))
            return nn.ModuleList(FeedForward(sizes, slope=0, seed=seed, purpose=name) for name in names)

        n_experts = options.shared_experts + options.specific_experts
        self.shared = experts(options.shared_experts, "both sides")
        self.specific = nn.ModuleDict({side: experts(options.specific_experts, f"{side}s") for side in SIDES})
        self.gates = nn.ModuleDict(
            {
                side: FeedForward((text_size, n_experts), slope=0, seed=seed, purpose=f"gate of {side}s")
                for side in SIDES
            }
        )
        self.maps = nn.ParameterDict(
            {
                side: xavier(options.expert_size, size, seed=seed, purpose=f"map of expert outputs of {side}s")
                for side in SIDES
            }
        )

    def forward(self, side: str, texts: Tensor) -> Tensor:
        """Return (n, size) for text vectors (n, text size) of users or items."""
        shares = self.gates[side](texts).softmax(dim=1)
        experts = [*self.shared, *self.specific[side]]  # type: ignore[misc]
        outputs = torch.stack([expert(texts).relu() for expert in experts], dim=1)
        mixed: Tensor = torch.einsum("nk,nks->ns", shares, outputs)
        return mixed @ torch.as_tensor(self.maps[side])


class KARModel(TextModel):
    """Hop 0 is the trained table plus the adapted text vector; nodes without a text have the trained table alone."""

    def __init__(self, base: nn.Module, texts: TextVectors, options: KAR, *, seed: int) -> None:
        super().__init__(base, texts)
        size = base.get_parameter("users").shape[1]
        self.adaptor = HybridExperts(self.texts.size, options, size, seed=seed)

    def start(self) -> tuple[Tensor, Tensor]:
        """Add the adapted text vectors to the tables of the base."""
        users, items = super().start()
        adapted_users = self.texts.has_user * self.adaptor("user", self.texts.users)
        adapted_items = self.texts.has_item * self.adaptor("item", self.texts.items)
        return users + adapted_users, items + adapted_items


class KAR(TextModelConfig):
    """KAR (Xi et al., 2024): text vectors of users and items, adapted by a mixture of experts, are added to a backbone.

    Published for click-through-rate prediction, where adapted vectors are further input features of a model such as DIN.
    There is no official recipe for collaborative filtering. Here a vector is added to the embedding of its user or item at
    hop 0, so that a graph propagates it; L2 is of the sum. As in the release, experts end in a ReLU. The linear map to the
    size of the embeddings is ours. The paper's texts are an LLM's reasoning on preferences and facts on items; any profiles
    and encoder serve here. Dropout of the release is left out.
    """

    kind: Literal["kar"] = "kar"
    adapted_from: ClassVar[str] = "click-through-rate prediction"
    base: BaseBackbone = LightGCN()
    """The backbone: its options, or its kind alone; in a row of a study it is the model of the table by default."""
    shared_experts: Annotated[int, Field(ge=0, le=64)] = 2
    """Number of experts that users and items share; the paper searches 2 to 6 experts."""
    specific_experts: Annotated[int, Field(ge=1, le=64)] = 5
    """Number of experts of users, and of items."""
    hidden_size: VectorSize = 128
    """Width of an expert's hidden layer."""
    expert_size: VectorSize = 32
    """Width of an expert's output, before the linear map to the size of the embeddings."""

    def build_with_texts(self, train: Interactions, texts: TextVectors, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return KARModel(self.base.build(train, seed=seed), texts, self, seed=seed)
