"""The control without a language model: a perceptron of [e_u, e_v], tuned by the same loss towards the same labels."""

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
    """How large it is."""

    hidden_size: PositiveInt = 512
    hidden_layers: PositiveInt = 2
    size: PositiveInt = 384
    """Of the vectors; that of MiniLM's, so that a projector downstream has as many weights."""
    seed: int = 0
    """Decides how its weights start."""


class NoTemplate(Template):
    """The template of who reads no language: the places of e_u and e_v, and nothing else."""

    def __init__(self) -> None:
        self.config = TemplateConfig(texts=False)

    def prefix(self, profile: str) -> list[int]:  # noqa: ARG002 - not read, and that is the point
        """The place of e_u."""
        return [USER]

    def suffix(self, profile: str) -> list[int]:  # noqa: ARG002
        """The place of e_v."""
        return [ITEM]


class Perceptron(nn.Module):
    """Writes a vector for every pair from e_u and e_v: linear layers with ReLU between them.

    It is tuned, saved and asked as a `HardNegativeEncoder` is; label_lift is the same part with the same start scale.
    """

    decoder = False
    scales_in: Tensor

    def __init__(self, config: PerceptronConfig, *, spaces: EmbeddingSpaces) -> None:
        super().__init__()
        self.config, self.width = config, config.size
        rng = torch.Generator().manual_seed(config.seed)
        inside = [config.hidden_size] * config.hidden_layers
        sizes = [spaces.users.size + spaces.items.size, *inside, config.size]
        self.layers = nn.ModuleList(_linear(*pair, rng=rng) for pair in pairwise(sizes))
        self.label_lift = ProjectionHead(spaces.labels, config.size, scale_out=1.0, rng=rng)
        self.register_buffer("scales_in", torch.tensor([spaces.users.rms, spaces.items.rms]))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Of e_u, of e_v, and of labels; the last two are one."""
        items = int(self.label_lift.inner.in_features)
        first: nn.Module = self.layers[0]
        assert isinstance(first, nn.Linear)
        return first.in_features - items, items, items

    @property
    def device(self) -> torch.device:
        """Where inputs have to lie."""
        return self.scales_in.device

    def trained(self) -> dict[str, nn.Parameter]:
        """Name -> parameter: all of them."""
        return dict(self.named_parameters())

    def forward(self, batch: PromptBatch) -> Tensor:
        """(batch, size), of any length; compare by cosine. The ids are not looked at."""
        user_scale, item_scale = self.scales_in
        states = torch.cat([batch.users / user_scale, batch.items / item_scale], dim=1)
        *inside, last = self.layers
        for layer in inside:
            states = torch.relu(layer(states))
        found: Tensor = last(states)
        return found


AnyEncoder = HardNegativeEncoder | Perceptron
"""What `tune` tunes and `synthesise` asks."""


def _linear(size_in: int, size_out: int, *, rng: torch.Generator) -> nn.Linear:
    made = nn.Linear(size_in, size_out)
    with torch.no_grad():
        made.weight.normal_(0, (2 / size_in) ** 0.5, generator=rng)
        made.bias.zero_()
    return made
