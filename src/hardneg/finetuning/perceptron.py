"""The control without a language model: a perceptron of [e_u, e_v], tuned with the same loss and the same labels."""

from __future__ import annotations

from itertools import pairwise

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from hardneg.config import Config
from hardneg.finetuning.inputs import EmbeddingSpaces, PromptBatch
from hardneg.finetuning.model import HardNegativeEncoder, ProjectionHead
from hardneg.finetuning.template import ITEM, USER, Template, TemplateConfig


class PerceptronConfig(Config):
    """Size of the perceptron."""

    hidden_size: PositiveInt = 512
    """Width of the hidden layers."""
    hidden_layers: PositiveInt = 2
    """Number of hidden layers."""
    size: PositiveInt = 384
    """Size of the vectors; the default is MiniLM's, so that a downstream projector has equally many weights."""
    seed: int = 0
    """Seed of the initialization."""


class NoTemplate(Template):
    """Template without text: the marks of e_u and e_v only."""

    def __init__(self) -> None:
        self.config = TemplateConfig(texts=False)

    def prefix(self, profile: str) -> list[int]:  # noqa: ARG002 - the control ignores profiles
        """Return the mark of e_u."""
        return [USER]

    def suffix(self, profile: str) -> list[int]:  # noqa: ARG002
        """Return the mark of e_v."""
        return [ITEM]


class Perceptron(nn.Module):
    """Emits a vector for every pair from e_u and e_v: linear layers with ReLU between them.

    It has the interface of `HardNegativeEncoder`; label_head is the same module with the same initial scale.
    """

    decoder = False
    scales_in: Tensor

    def __init__(self, config: PerceptronConfig, *, spaces: EmbeddingSpaces) -> None:
        super().__init__()
        self.config, self.spaces, self.width = config, spaces, config.size
        rng = torch.Generator().manual_seed(config.seed)
        hidden = [config.hidden_size] * config.hidden_layers
        sizes = [spaces.users.size + spaces.items.size, *hidden, config.size]
        self.layers = nn.ModuleList(_linear(*pair, rng=rng) for pair in pairwise(sizes))
        self.label_head = ProjectionHead(spaces.labels, config.size, scale_out=1.0, rng=rng)
        self.register_buffer("scales_in", torch.tensor([spaces.users.rms, spaces.items.rms]))

    @property
    def device(self) -> torch.device:
        """Device of the inputs."""
        return self.scales_in.device

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Return name -> parameter: all of them."""
        return dict(self.named_parameters())

    def forward(self, batch: PromptBatch) -> Tensor:
        """Return (batch, size), not normalized; compare by cosine. Token ids are ignored."""
        user_scale, item_scale = self.scales_in
        states = torch.cat([batch.users / user_scale, batch.items / item_scale], dim=1)
        *hidden, last = self.layers
        for layer in hidden:
            states = torch.relu(layer(states))
        vectors: Tensor = last(states)
        return vectors


AnyEncoder = HardNegativeEncoder | Perceptron
"""Models that `tune` and `synthesize` accept."""


def _linear(size_in: int, size_out: int, *, rng: torch.Generator) -> nn.Linear:
    layer = nn.Linear(size_in, size_out)
    with torch.no_grad():
        layer.weight.normal_(0, (2 / size_in) ** 0.5, generator=rng)
        layer.bias.zero_()
    return layer
