"""HNLMRec's use of text negatives (eq. 6 to 10): project, mix with a uniform negative, align."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from hardneg.config import later
from hardneg.errors import ConfigError
from hardneg.random import Stream, generator
from hardneg.sampling.config import SamplerConfig
from hardneg.sampling.mined import MinedNegatives
from hardneg.sampling.sampler import SamplerInputs, gather_rows, hardest
from hardneg.types import Batch, Embeddings, HopsRead, Items, Negatives, Vectors

SPREAD = "spread of e_hard"
MEASURED = (
    *(
        f"{what} of {whose}"
        for whose in ("e_hard", "uniform negatives", "positives")
        for what in ("norm", "score with the user")
    ),
    SPREAD,
)
"""What a run's metrics hold of every epoch (split "negatives"), means over pairs with a vector. The spread is that of a
batch, 1 - ||mean||^2 / mean ||.||^2: near 0 the projector serves all pairs one vector, whatever their texts say. Where norms are matched it also holds the spread of
the items' norms, and does not show that all pairs have one direction (`diagnostics.nearest` does)."""


class Semantic(SamplerConfig):
    """Options of eq. 6 to 10; the defaults are their literal form. The paper prints no value for alpha, lambda 1 or the
    temperature."""

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
    negatives: PositiveInt = 1
    """Uniform negatives of a pair, each mixed with the pair's one text vector; the paper's main results have one."""
    candidates: PositiveInt = 1
    """Remedy, not in the paper: of so many uniform items the one that the model likes best is what the text vector is
    mixed with, as DNS would choose. Against an easy item under the text."""
    match_norm: bool = False
    """Remedy, not in the paper: scale each projected vector to the norm of the uniform negative it is mixed with, a row
    of the item table. Against a projector that lowers BPR by making its vectors long."""
    detach_projector: bool = False
    """Remedy, not in the paper: no gradient of BPR reaches the projector, which learns from the alignment alone; without
    alignment it stays as it started. Against a projector that lowers BPR by making its vectors easy."""
    centred: bool = later(False)
    """Remedy, not in the paper: e- + alpha (e_hard - the batch's mean e_hard) in place of eq. 7, so that what all pairs'
    vectors share cancels, and e- keeps its full share. Against a projector that makes one vector for all pairs."""
    without_alignment: bool = False
    """Ablation: lambda 1 is 0, whatever align_weight says."""
    without_text: bool = False
    """Ablation: alpha and lambda 1 are 0, whatever they say; to the bit what the sampler `uniform` serves."""

    @property
    def text_share(self) -> float:
        """Alpha, as the ablations leave it."""
        return 0.0 if self.without_text else self.alpha

    @property
    def alignment_weight(self) -> float:
        """Lambda 1, as the ablations leave it."""
        return 0.0 if self.without_text or self.without_alignment else self.align_weight

    @property
    def trains_projector(self) -> bool:
        """Does any loss reach the projector?"""
        return self.alignment_weight > 0 or (self.text_share > 0 and not self.detach_projector)

    def build(self, inputs: SamplerInputs) -> SemanticSampler:
        """Build the projector for the mined vectors at hand."""
        if inputs.mined is None:
            raise ConfigError(
                "sampler 'semantic' found no mined negatives; make them with `hardneg mine` and pass --negatives"
            )
        return SemanticSampler(self, inputs.mined, inputs.final_size, seed=inputs.seed)


class SemanticSampler(nn.Module):
    """Mixes a uniform negative (or the hardest of several) with W2 ReLU(W1 e + b1) + b2, e being the encoded text negative of the pair.

    Differs from the release, whose projector is never trained, ends in a ReLU and meets hinge loss; here it is trained
    with the backbone, ends linearly and meets BPR with the sign mended (eq. 8 as printed is unbounded below). A pair
    without a text vector keeps its uniform negative and takes no part in the alignment; such pairs are counted.
    """

    def __init__(self, options: Semantic, mined: MinedNegatives, final_size: int, *, seed: int) -> None:
        super().__init__()
        self.options, self.mined = options, mined
        input_size = mined.vectors.shape[1]
        rng = generator(seed, "start of the projector")
        self.weight_1, self.bias_1 = _layer(rng, input_size, options.hidden_size)
        self.weight_2, self.bias_2 = _layer(rng, options.hidden_size, final_size)

    @property
    def n_candidates(self) -> int:
        """The uniform negatives that are mixed with, or what they are chosen from."""
        return self.options.negatives * self.options.candidates

    @property
    def hops_read(self) -> HopsRead:
        """None: it reads the pooled tables and hop 0."""
        return "none"

    def project(self, vectors: Tensor) -> Tensor:
        """Eq. 6: (batch, text size) -> (batch, final size)."""
        return F.relu(vectors @ self.weight_1 + self.bias_1) @ self.weight_2 + self.bias_2

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:  # noqa: ARG002
        """Return vectors (batch, negatives, final size) and, as auxiliary loss, the weighted alignment and projector norm.

        totals hold, over pairs with a vector, norms of e_hard beside those of the uniform negatives (an even sample of
        the item table) and of the positives, the three's scores with the user, and the spread of e_hard. Where alpha and lambda 1 are 0 the
        uniform negatives are returned as the items that they are: the plain backbone.
        """
        pair_rows = batch.rows.cpu().numpy()
        text = torch.from_numpy(self.mined.vectors_of(pair_rows)).to(candidates.device)
        present = ~text[:, 0].isnan()
        counters = {"pairs": len(pair_rows), "pairs without a vector": float((~present).sum())}
        candidates = self._mixed_with(batch, embeddings, candidates)
        if self.options.text_share == 0 and self.options.alignment_weight == 0:
            return Items(candidates, counters=counters)
        uniform = gather_rows(embeddings.final_items, candidates)
        projected = self.project(text.nan_to_num(0.0))
        hard = self.scale_projected(projected, uniform, present)
        alpha = (self.options.text_share * present).reshape(-1, 1, 1)
        named = torch.from_numpy(self.mined.items_of(pair_rows)).to(candidates.device)
        named = named.unsqueeze(1).expand(-1, candidates.shape[1], -1)
        return Vectors(
            vectors=(uniform if self.options.centred else (1 - alpha) * uniform) + alpha * hard,
            ego=gather_rows(embeddings.items[0], candidates),
            sources=torch.cat([candidates.unsqueeze(2), named], dim=2),
            parts=("uniform item", *("text item" for _ in range(named.shape[2]))),
            auxiliary=self._auxiliary(batch, embeddings, projected, present),
            counters=counters,
            totals=_norms_and_scores(batch, embeddings, uniform, hard, present),
            hard=torch.where(present.reshape(-1, 1, 1), hard.detach(), torch.nan),
        )

    def _mixed_with(self, batch: Batch, embeddings: Embeddings, candidates: Tensor) -> Tensor:
        """(batch, negatives) of (batch, negatives x candidates) items."""
        if self.options.candidates == 1:
            return candidates
        groups = candidates.view(len(candidates) * self.options.negatives, self.options.candidates)
        users = gather_rows(embeddings.final_users, batch.users).repeat_interleave(self.options.negatives, dim=0)
        return hardest(users, embeddings.final_items, groups.contiguous()).view(len(candidates), -1)

    def scale_projected(self, projected: Tensor, uniform: Tensor, present: Tensor) -> Tensor:
        """e_hard as it is mixed: (batch, 1, size), or (batch, negatives, size) where norms are matched."""
        hard = projected.detach() if self.options.detach_projector else projected
        if self.options.centred:
            hard = hard - torch.where(present.unsqueeze(1), hard, 0.0).sum(dim=0) / present.sum().clamp(min=1)
        hard = hard.unsqueeze(1)
        if self.options.match_norm:
            hard = F.normalize(hard, dim=2) * uniform.norm(dim=2, keepdim=True).detach()
        return hard

    def _auxiliary(self, batch: Batch, embeddings: Embeddings, projected: Tensor, present: Tensor) -> Tensor | None:
        if not self.options.trains_projector:
            return None
        loss = self.options.projector_l2 / 2 * (self.weight_1.square().sum() + self.weight_2.square().sum())
        if self.options.alignment_weight > 0:
            users = gather_rows(embeddings.final_users, batch.users)
            positives = gather_rows(embeddings.final_items, batch.positives)
            aligned = alignment(users, positives, projected, present, self.options.temperature)
            loss = loss + self.options.alignment_weight * aligned
        return loss


@torch.no_grad()
def _norms_and_scores(
    batch: Batch, embeddings: Embeddings, uniform: Tensor, hard: Tensor, present: Tensor
) -> dict[str, tuple[float, float]]:
    """Sums over pairs with a vector, and how many these are; several negatives of a pair count by their mean."""
    users = F.embedding(batch.users, embeddings.final_users).unsqueeze(1)
    positives = F.embedding(batch.positives, embeddings.final_items).unsqueeze(1)
    measured = []
    for vectors in (hard, uniform, positives):
        measured += [vectors.norm(dim=2).mean(dim=1), (vectors * users).sum(dim=2).mean(dim=1)]
    sums = torch.where(present, torch.stack(measured), 0.0).sum(dim=1)
    spread = _spread(hard[:, 0], present) * present.sum()
    *found, count = torch.stack([*sums, spread, present.sum()]).tolist()  # one look at the device
    return {name: (total, count) for name, total in zip(MEASURED, found, strict=True)}


def _spread(vectors: Tensor, present: Tensor) -> Tensor:
    """Of the present rows of (batch, size); 0 without any."""
    mean = torch.where(present.unsqueeze(1), vectors, 0.0).sum(dim=0) / present.sum().clamp(min=1)
    about, square = (torch.where(present, rows_.square().sum(dim=1), 0.0).sum() for rows_ in (vectors - mean, vectors))
    return about / square.clamp(min=torch.finfo(square.dtype).tiny)


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
