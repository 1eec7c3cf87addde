"""HNLMRec's use of semantic negatives (eq. 6 to 10): project, mix with a uniform negative, align."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from hardneg.config import PerRow, VectorSize
from hardneg.errors import ConfigError
from hardneg.random import Stream, generator
from hardneg.sampling.mined import MinedNegatives, require_most
from hardneg.sampling.sampler import SamplerConfig, SamplerInputs, hardest
from hardneg.types import Batch, Embeddings, HopsRead, Items, Negatives, Vectors, gather_rows

MEASURED = (
    "norm of e_hard",
    "score with the user of e_hard",
    "norm of uniform negatives",
    "score with the user of uniform negatives",
    "norm of positives",
    "score with the user of positives",
    "spread of e_hard",
)
"""Metrics of every epoch (split "negatives"): means over the pairs with a vector.

The spread of a batch is 1 - ||mean||^2 / mean ||.||^2. Near 0 the projector maps all texts to one vector. With
`match_norm` it includes the spread of item norms, so it no longer shows that all pairs share one direction."""


class Semantic(SamplerConfig):
    """HNLMRec, eq. 6 to 10, by default with norms matched: in the literal form, `semantic-literal`, e_hard collapses.

    The paper states no value for alpha, lambda 1 or the temperature.
    """

    kind: Literal["semantic"] = "semantic"
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the projected text vector in the negative (eq. 7), 0 to 1."""
    align_weight: NonNegativeFloat = 0.01
    """Weight of the alignment loss (lambda 1 in eq. 10)."""
    temperature: PositiveFloat = 0.2
    """Temperature of the alignment loss (eq. 9)."""
    hidden_size: VectorSize = 256
    """Width of the projector's hidden layer (eq. 6)."""
    projector_l2: NonNegativeFloat = 1e-4
    """Weight of half the squared norm of the projector's two matrices (part of ||Theta||^2 in eq. 10)."""
    negatives: PerRow = 1
    """Number of uniform negatives per pair, each mixed with the text vector of the pair; 1 in the paper's main results."""
    candidates: PerRow = 1
    """Remedy, not in the paper: the text vector is mixed with the highest scored of this many uniform items, as in DNS."""
    match_norm: bool = True
    """Remedy, not in the paper: projected vectors get the norm of the uniform negative that they are mixed with.

    It prevents a projector that lowers the BPR loss by long vectors, which collapse to one."""
    detach_projector: bool = False
    """Remedy, not in the paper: the projector gets no gradient of the BPR loss, only that of the alignment loss.

    It prevents a projector that lowers the BPR loss by easy vectors. Without alignment the projector is not trained."""
    centred: bool = False
    """Remedy, not in the paper: e- + alpha (e_hard - mean e_hard of the batch) in place of eq. 7.

    It removes the component that all pairs share, against a projector that maps all texts to one vector."""
    without_alignment: bool = False
    """Ablation: lambda 1 is 0, regardless of align_weight."""
    without_text: bool = False
    """Ablation: alpha and lambda 1 are 0, regardless of their options; the same negatives as `uniform`."""
    allow_empty: bool = False
    """Accept negatives of which most pairs have no vector; these pairs keep their uniform negative."""

    @property
    def text_share(self) -> float:
        """Alpha after the ablations."""
        return 0.0 if self.without_text else self.alpha

    @property
    def alignment_weight(self) -> float:
        """Lambda 1 after the ablations."""
        return 0.0 if self.without_text or self.without_alignment else self.align_weight

    @property
    def trains_projector(self) -> bool:
        """True where a loss has a gradient for the projector."""
        return self.alignment_weight > 0 or (self.text_share > 0 and not self.detach_projector)

    def build(self, inputs: SamplerInputs) -> SemanticSampler:
        """Return the sampler, with a projector for the mined vectors."""
        if inputs.mined is None:
            raise ConfigError(
                "sampler 'semantic' found no negatives; build them with `hardneg negatives retrieve` and pass "
                "--negatives FOLDER"
            )
        require_most(inputs.mined.present, f"pairs ({inputs.mined.source})", "vector", allow_empty=self.allow_empty)
        return SemanticSampler(self, inputs.mined, inputs.final_size, seed=inputs.seed)


class SemanticLiteral(Semantic):
    """HNLMRec, the literal form of eq. 6 to 10, without remedies: `semantic` without matched norms."""

    kind: Literal["semantic-literal"] = "semantic-literal"  # type: ignore[assignment]
    match_norm: Literal[False] = False
    """Norms are not matched in the literal form."""


class SemanticSampler(nn.Module):
    """Mixes a uniform negative with e_hard = W2 ReLU(W1 e + b1) + b2, where e is the encoded text negative of the pair.

    The released code differs: its projector is not trained, ends in a ReLU and is used with a hinge loss. Here it is
    trained with the backbone, ends linearly and is used with BPR, with the sign corrected (eq. 8 as printed is unbounded
    below). A pair without a text vector keeps its uniform negative, has no alignment loss, and is counted.
    """

    hops_read: HopsRead = "none"

    def __init__(self, options: Semantic, mined: MinedNegatives, final_size: int, *, seed: int) -> None:
        super().__init__()
        self.options, self.mined = options, mined
        input_size = mined.vectors.shape[1]
        rng = generator(seed, "start of the projector")
        self.weight_1, self.bias_1 = _layer(rng, input_size, options.hidden_size)
        self.weight_2, self.bias_2 = _layer(rng, options.hidden_size, final_size)

    @property
    def n_candidates(self) -> int:
        """Number of uniform negatives times the candidates of each."""
        return self.options.negatives * self.options.candidates

    def project(self, vectors: Tensor) -> Tensor:
        """Project text vectors (batch, text size) to (batch, final size), eq. 6."""
        return F.relu(vectors @ self.weight_1 + self.bias_1) @ self.weight_2 + self.bias_2

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:  # noqa: ARG002
        """Return vectors (batch, negatives, final size), with alignment and projector norm as the auxiliary loss.

        totals: MEASURED, over the pairs with a vector. Where alpha and lambda 1 are 0, the uniform negatives are
        returned as items.
        """
        pair_rows = batch.rows.cpu().numpy()
        text = torch.from_numpy(self.mined.vectors_of(pair_rows)).to(candidates.device)
        present = ~text[:, 0].isnan()
        counters = {"pairs": len(pair_rows), "pairs without a vector": float((~present).sum())}
        candidates = self._choose_items(batch, embeddings, candidates)
        if self.options.text_share == 0 and self.options.alignment_weight == 0:
            return Items(candidates, counters=counters)
        uniform = gather_rows(embeddings.final_items, candidates)
        projected = self.project(text.nan_to_num(0.0))
        hard = self.scale_projected(projected, uniform, present)
        alpha = (self.options.text_share * present).reshape(-1, 1, 1)
        text_items = torch.from_numpy(self.mined.items_of(pair_rows)).to(candidates.device)
        text_items = text_items.unsqueeze(1).expand(-1, candidates.shape[1], -1)
        return Vectors(
            vectors=(uniform if self.options.centred else (1 - alpha) * uniform) + alpha * hard,
            ego=gather_rows(embeddings.items[0], candidates),
            sources=torch.cat([candidates.unsqueeze(2), text_items], dim=2),
            parts=("uniform item", *("text item" for _ in range(text_items.shape[2]))),
            auxiliary=self._auxiliary_loss(batch, embeddings, projected, present),
            counters=counters,
            totals=_measure(batch, embeddings, uniform, hard, present),
            hard=torch.where(present.reshape(-1, 1, 1), hard.detach(), torch.nan),
        )

    def _choose_items(self, batch: Batch, embeddings: Embeddings, candidates: Tensor) -> Tensor:
        """Choose (batch, negatives) of (batch, negatives x candidates) items."""
        if self.options.candidates == 1:
            return candidates
        groups = candidates.view(len(candidates) * self.options.negatives, self.options.candidates)
        users = gather_rows(embeddings.final_users, batch.users).repeat_interleave(self.options.negatives, dim=0)
        return hardest(users, embeddings.final_items, groups.contiguous()).view(len(candidates), -1)

    def scale_projected(self, projected: Tensor, uniform: Tensor, present: Tensor) -> Tensor:
        """Apply the remedies to e_hard: (batch, 1, size), or (batch, negatives, size) with `match_norm`."""
        hard = projected.detach() if self.options.detach_projector else projected
        if self.options.centred:
            hard = hard - torch.where(present.unsqueeze(1), hard, 0.0).sum(dim=0) / present.sum().clamp(min=1)
        hard = hard.unsqueeze(1)
        if self.options.match_norm:
            hard = F.normalize(hard, dim=2) * uniform.norm(dim=2, keepdim=True).detach()
        return hard

    def _auxiliary_loss(
        self, batch: Batch, embeddings: Embeddings, projected: Tensor, present: Tensor
    ) -> Tensor | None:
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
def _measure(
    batch: Batch, embeddings: Embeddings, uniform: Tensor, hard: Tensor, present: Tensor
) -> dict[str, tuple[float, float]]:
    """Return the sum of each metric over the pairs with a vector, and their number; a pair counts by its mean."""
    users = F.embedding(batch.users, embeddings.final_users).unsqueeze(1)
    positives = F.embedding(batch.positives, embeddings.final_items).unsqueeze(1)
    metrics = []
    for vectors in (hard, uniform, positives):
        metrics += [vectors.norm(dim=2).mean(dim=1), (vectors * users).sum(dim=2).mean(dim=1)]
    sums = torch.where(present, torch.stack(metrics), 0.0).sum(dim=1)
    vectors = hard[:, 0]
    mean = torch.where(present.unsqueeze(1), vectors, 0.0).sum(dim=0) / present.sum().clamp(min=1)
    centred, total = (torch.where(present, rows.square().sum(dim=1), 0.0).sum() for rows in (vectors - mean, vectors))
    spread = centred / total.clamp(min=torch.finfo(total.dtype).tiny) * present.sum()
    *totals, count = torch.stack([*sums, spread, present.sum()]).tolist()  # one transfer from the device
    return {name: (total, count) for name, total in zip(MEASURED, totals, strict=True)}


def alignment(users: Tensor, positives: Tensor, hard: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Return the alignment loss (eq. 9): mean of -log[e^(s+/t) / (e^(s+/t) + e^(s-/t))], s the cosine with the user.

    users, positives, hard: (batch, size). present: (batch,), the pairs in the mean. 0 where no pair is present.
    """
    positive = F.cosine_similarity(users, positives, dim=1)
    negative = F.cosine_similarity(users, hard, dim=1)
    losses = F.softplus((negative - positive) / temperature)
    return torch.where(present, losses, 0.0).sum() / present.sum().clamp(min=1)


def _layer(rng: Generator, size_in: int, size_out: int) -> tuple[nn.Parameter, nn.Parameter]:
    bound = np.sqrt(6.0 / (size_in + size_out))
    weight = rng.uniform(-bound, bound, (size_in, size_out)).astype(np.float32)
    return nn.Parameter(torch.from_numpy(weight)), nn.Parameter(torch.zeros(size_out))
