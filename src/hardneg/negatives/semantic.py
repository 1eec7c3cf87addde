"""HNLMRec's use of text negatives (eq. 6 to 10): project, mix with a uniform negative, align."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hardneg.config import Config
from hardneg.errors import ConfigError
from hardneg.negatives.mined import Mined
from hardneg.negatives.sampler import Ingredients, rows
from hardneg.random import Stream, generator
from hardneg.types import Batch, Embeddings, HopsRead, Vectors


class Semantic(Config):
    """Options of eq. 6 to 10. The paper prints no value for alpha, lambda 1 or the temperature."""

    kind: Literal["semantic"] = "semantic"
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the projected text vector in the negative (eq. 7); 0 leaves the uniform negative."""
    align_weight: NonNegativeFloat = 0.01
    """Weight of the alignment loss, lambda 1 in eq. 10."""
    temperature: PositiveFloat = 0.2
    """Of the alignment loss (eq. 9)."""
    hidden_size: PositiveInt = 256
    """Width of the projector's hidden layer (eq. 6)."""
    projector_l2: NonNegativeFloat = 1e-4
    """Weight of half the squared norm of the projector's two matrices, their share in ||Theta||^2 of eq. 10."""
    match_norm: bool = False
    """Not in the paper: scale each projected vector to the norm of the uniform negative it is mixed with."""

    def build(self, ingredients: Ingredients) -> SemanticSampler:
        """Build the projector for the mined vectors at hand."""
        if ingredients.mined is None:
            raise ConfigError(
                "sampler 'semantic' found no mined negatives; make them with `hardneg mine` and pass --negatives"
            )
        return SemanticSampler(self, ingredients.mined, ingredients.final_size, seed=ingredients.seed)


class SemanticSampler(nn.Module):
    """Mixes a uniform negative with W2 ReLU(W1 e + b1) + b2, e being the encoded text negative of the pair.

    Differs from the release, whose projector is never trained, ends in a ReLU and meets hinge loss; here it is trained
    with the backbone, ends linearly and meets BPR with the sign mended (eq. 8 as printed is unbounded below). A pair
    without a text vector keeps its uniform negative and takes no part in the alignment; such pairs are counted.
    """

    def __init__(self, options: Semantic, mined: Mined, final_size: int, *, seed: int) -> None:
        super().__init__()
        self.options, self.mined = options, mined
        input_size = mined.vectors.shape[1]
        rng = generator(seed, "start of the projector")
        self.weight_1, self.bias_1 = _layer(rng, input_size, options.hidden_size)
        self.weight_2, self.bias_2 = _layer(rng, options.hidden_size, final_size)

    @property
    def n_candidates(self) -> int:
        """One: the uniform negative that is mixed with."""
        return 1

    @property
    def hops_read(self) -> HopsRead:
        """None: it reads the pooled tables and hop 0."""
        return "none"

    def project(self, vectors: Tensor) -> Tensor:
        """Eq. 6: (batch, text size) -> (batch, final size)."""
        return F.relu(vectors @ self.weight_1 + self.bias_1) @ self.weight_2 + self.bias_2

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Vectors:  # noqa: ARG002
        """Return vectors (batch, 1, final size) and, as auxiliary loss, the weighted alignment and projector norm."""
        pair_rows = batch.rows.cpu().numpy()
        text = torch.from_numpy(self.mined.vectors_of(pair_rows)).to(candidates.device)
        present = ~text[:, :1].isnan()
        uniform = rows(embeddings.final_items, candidates[:, 0])
        hard = self._hard(text.nan_to_num(0.0), uniform)
        alpha = self.options.alpha * present
        named = torch.from_numpy(self.mined.items[pair_rows]).to(candidates.device)
        return Vectors(
            vectors=((1 - alpha) * uniform + alpha * hard).unsqueeze(1),
            ego=rows(embeddings.items[0], candidates[:, :1]),
            sources=torch.cat([candidates[:, :1], named], dim=1).unsqueeze(1),
            parts=("uniform item", *("text item" for _ in range(named.shape[1]))),
            auxiliary=self._auxiliary(batch, embeddings, hard, present.squeeze(1)),
            counters={"pairs": len(pair_rows), "pairs without a vector": float((~present).sum())},
        )

    def _hard(self, text: Tensor, uniform: Tensor) -> Tensor:
        hard = self.project(text)
        if self.options.match_norm:
            hard = F.normalize(hard, dim=1) * uniform.norm(dim=1, keepdim=True).detach()
        return hard

    def _auxiliary(self, batch: Batch, embeddings: Embeddings, hard: Tensor, present: Tensor) -> Tensor | None:
        if self.options.alpha == 0 and self.options.align_weight == 0:
            return None  # the projector takes no part: the plain backbone
        loss = self.options.projector_l2 / 2 * (self.weight_1.square().sum() + self.weight_2.square().sum())
        if self.options.align_weight > 0:
            users = rows(embeddings.final_users, batch.users)
            positives = rows(embeddings.final_items, batch.positives)
            aligned = alignment(users, positives, hard, present, self.options.temperature)
            loss = loss + self.options.align_weight * aligned
        return loss


def alignment(users: Tensor, positives: Tensor, hard: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Eq. 9: mean over pairs with a vector of -log[e^(s+/t) / (e^(s+/t) + e^(s-/t))], s the cosine with the user.

    users, positives, hard: (batch, size). present: (batch,). Zero where no pair has a vector.
    """
    toward = F.cosine_similarity(users, positives, dim=1)
    away = F.cosine_similarity(users, hard, dim=1)
    losses = F.softplus((away - toward) / temperature)
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)


def _layer(rng: Generator, size_in: int, size_out: int) -> tuple[nn.Parameter, nn.Parameter]:
    bound = np.sqrt(6.0 / (size_in + size_out))
    weight = rng.uniform(-bound, bound, (size_in, size_out)).astype(np.float32)
    return nn.Parameter(torch.from_numpy(weight)), nn.Parameter(torch.zeros(size_out))
