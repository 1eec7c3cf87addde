"""Interfaces of candidate sources and samplers, the options and names of samplers, and operations that they share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions, union
from hardneg.errors import ConfigError, DataError
from hardneg.plugins import PluginConfig, Registry
from hardneg.random import Stream
from hardneg.sampling.draws import draw_outside
from hardneg.sampling.kernels import best_candidates, pick_ranked, score_candidates
from hardneg.sampling.mined import ItemNeighbours, MinedNegatives
from hardneg.trees import Trees
from hardneg.types import Batch, Embeddings, Floats, HopsRead, Indices, Negatives

if TYPE_CHECKING:
    from hardneg.sampling.sources import SourceConfig

ROUNDS = 30
"""Rejected draws per candidate, after which the exact complement is used."""


class CandidateSource(Protocol):
    """Draws items outside an exclusion set. Samplers choose among them."""

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Return items of shape (len(users), n). Row i belongs to users[i] and may contain an item twice.

        rows: (len(users),) pair indices. They and the stream determine every draw.
        """
        ...


@runtime_checkable
class ReportsProbabilities(Protocol):
    """A candidate source that knows the probability of every draw."""

    def log_probabilities(self, users: Indices, items: Indices) -> Floats:
        """Return the log of the probability of drawing items (batch, n) for users (batch,), float32."""
        ...


@runtime_checkable
class ReadsBatch(Protocol):
    """A candidate source whose draws depend on the other pairs of the batch."""

    @property
    def counters(self) -> dict[str, float]:
        """Name -> amount, of the draws of this object."""
        ...

    def of_batch(self, rows: Indices) -> CandidateSource:
        """Return the source of the batch with these pair indices."""
        ...


@dataclass(frozen=True)
class UniformCandidates:
    """Uniform over the items outside `excluded`, which contains the training pairs and further excluded pairs."""

    excluded: Interactions

    def __post_init__(self) -> None:
        full = np.flatnonzero(self.excluded.counts >= self.excluded.n_items)
        if len(full):
            raise DataError(
                f"found {len(full)} user(s) with all {self.excluded.n_items} items (first: user {full[0]}), expected at "
                "least one item that can be a negative; drop these users before training"
            )

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Draw with rejection; after ROUNDS rejections draw from the exact complement."""
        items = np.empty((len(users), n), np.int64)
        excluded = self.excluded
        arguments = stream.key, stream.epoch, rows, users, excluded.n_items, (excluded.starts, excluded.items)
        in_chunks(draw_outside, len(users), *arguments, ROUNDS, items)
        return items

    def log_probabilities(self, users: Indices, items: Indices) -> Floats:
        """Return -log of the number of items outside the exclusion set."""
        free = self.excluded.n_items - self.excluded.counts[users]
        return np.broadcast_to(-np.log(free).astype(np.float32)[:, None], items.shape)


def exclude_suspects(train: Interactions, suspects: Interactions) -> tuple[Interactions, int]:
    """Return the pairs that are never drawn: training pairs and suspects.

    The suspects of users who would have no candidate left are not excluded; the number of these users is returned too.
    """
    both = union(train, suspects)
    full = both.counts >= train.n_items
    excluded = ~full[suspects.users]
    excluded_suspects = Interactions(suspects.users[excluded], suspects.items[excluded], train.n_users, train.n_items)
    unrestricted_users = int(np.count_nonzero(full & (train.counts < train.n_items)))
    return both if excluded.all() else union(train, excluded_suspects), unrestricted_users


class NegativeSampler(Protocol):
    """Chooses or synthesizes the negatives of a batch.

    A sampler with parameters is an nn.Module. The loop trains these parameters together with those of the backbone.
    """

    @property
    def n_candidates(self) -> int:
        """Number of candidates per pair that the loop draws."""
        ...

    @property
    def hops_read(self) -> HopsRead:
        """Sides whose tables of hops above 0 are read, "none" by default. A backbone may discard the other tables."""
        return "none"

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return negatives for every pair of the batch.

        embeddings: valid for the users of the batch and for `items_read`; other rows may be NaN. candidates: (batch,
        n_candidates) items outside the exclusion set. stream: random numbers of each pair, by `stream.uniform`.
        """
        ...


@runtime_checkable
class ReadsOtherItems(Protocol):
    """A sampler that reads pooled rows of items other than the positives and the candidates."""

    def other_items(self, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:
        """Return these items, in any shape. The arguments are those of `sample`."""
        ...


@runtime_checkable
class ReadsEpochs(Protocol):
    """A sampler that reads the tables of all users and items before every epoch."""

    def begin_epoch(self, epoch: int, embeddings: Embeddings) -> None:
        """Read the embeddings before the first step of an epoch, without gradients. epoch: from 1."""
        ...


def find_epoch_reader(sampler: NegativeSampler) -> ReadsEpochs | None:
    """Return the sampler, or the one whose negatives it changes, if that reads epochs."""
    inner = getattr(sampler, "inner", sampler)
    return inner if isinstance(inner, ReadsEpochs) else None


class OuterSampler:
    """Base of samplers that change the negatives of another sampler, `inner`."""

    inner: NegativeSampler

    @property
    def n_candidates(self) -> int:
        """Number of candidates of the inner sampler."""
        return self.inner.n_candidates

    @property
    def hops_read(self) -> HopsRead:
        """Sides that the inner sampler reads."""
        return self.inner.hops_read


def keeps_candidates(sampler: NegativeSampler) -> bool:
    """Return True where a sampler returns its candidates as they were drawn, with the probabilities of their source."""
    return bool(getattr(sampler, "keeps_candidates", False))


def items_read(sampler: NegativeSampler, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:
    """Return the items (n,) whose pooled rows a training step reads, with repeats."""
    parts = [batch.positives, candidates.flatten()]
    read = getattr(sampler, "other_items", None)  # isinstance of a protocol takes 50 microseconds
    if read is not None:
        parts.append(read(batch, candidates, stream).flatten())
    return torch.cat(parts)


@dataclass(frozen=True)
class TrainingPairs:
    """Pairs of training and the source of candidates, for samplers that follow items over epochs.

    train: training pairs. users, items: of all pairs by pair index, extra positives after the training pairs.
    """

    train: Interactions
    users: Indices
    items: Indices
    candidates: CandidateSource

    def draw_of_users(self, n: int, stream: Stream) -> Indices:
        """Draw candidates of every user, (n_users, n), by the user's index in place of a pair index."""
        users = np.arange(self.train.n_users)
        return self.candidates.draw(users, users, n=n, stream=stream)


def require_pairs(inputs: SamplerInputs, kind: str) -> TrainingPairs:
    """Return the training pairs. Raises ConfigError without them, and where their candidates depend on a batch."""
    if inputs.pairs is None:
        raise ConfigError(f"sampler {kind!r} found no training pairs, expected them; build it with SamplerInputs.pairs")
    source = getattr(inputs.pairs.candidates, "source", inputs.pairs.candidates)
    if isinstance(source, ReadsBatch):
        raise ConfigError(
            f"sampler {kind!r} draws candidates of all users, found those of a batch; choose fit.candidates uniform or "
            "popularity"
        )
    return inputs.pairs


@dataclass(frozen=True)
class SamplerInputs:
    """Inputs from which a sampler is built, in addition to its options.

    final_size: length of a pooled embedding. mined: semantic negatives. seed: seed of the sampler's parameters.
    neighbours: neighbours of every item. trees: structural and semantic item tree. pairs: of training.
    """

    final_size: int
    mined: MinedNegatives | None
    seed: int
    neighbours: ItemNeighbours | None = None
    trees: Trees | None = None
    pairs: TrainingPairs | None = None


def require_known_rows(index: Tensor, table: Tensor) -> None:
    """Raise DataError where an index is outside the table; compiled code does not check indices."""
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(table):
        raise DataError(
            f"found rows {int(index.min())} to {int(index.max())} of a table that has {len(table)}; declare the tables that "
            "the sampler reads in its `hops_read`, and return items of the catalogue"
        )


def hardest(queries: Tensor, table: Tensor, candidates: Tensor) -> Tensor:
    """Return the candidate of each pair with the largest inner product with its query: (batch,).

    queries: (batch, size). table: (n, size). candidates: (batch, n). The first of equal candidates is returned. A
    candidate whose row contains NaN is returned first: the row was not computed in this step, and the loss shows it.
    The choice carries no gradient. The CPU allocates no (batch, n, size) tensor.
    """
    queries, table = queries.detach(), table.detach()
    require_known_rows(candidates, table)
    if queries.device.type != "cpu":
        best = scores(queries, F.embedding(candidates, table)).argmax(dim=1, keepdim=True)
        return candidates.gather(1, best).squeeze(1)
    chosen = np.empty(len(queries), np.int64)
    arrays = (tensor.contiguous().numpy() for tensor in (queries, table, candidates))
    in_chunks(best_candidates, len(queries), *arrays, chosen)
    return torch.from_numpy(chosen)


def scores(users: Tensor, items: Tensor) -> Tensor:
    """Return the inner products (batch, n) of users (batch, size) and items (batch, n, size)."""
    return (items * users.unsqueeze(1)).sum(dim=2)


SAMPLERS = Registry(
    "sampler",
    "hardneg.samplers",
    {
        "uniform": "hardneg.sampling.uniform:Uniform",
        "popularity": "hardneg.sampling.popularity:PopularitySampling",
        "in-batch": "hardneg.sampling.in_batch:InBatchSampling",
        "dns": "hardneg.sampling.dns:DNS",
        "adaptive-softmax": "hardneg.sampling.adaptive_softmax:AdaptiveSoftmax",
        "ahns": "hardneg.sampling.ahns:AHNS",
        "mixgcf": "hardneg.sampling.mixgcf:MixGCF",
        "dens": "hardneg.sampling.dens:DENS",
        "ans": "hardneg.sampling.ans:ANS",
        "srns": "hardneg.sampling.srns:SRNS",
        "gdns": "hardneg.sampling.gdns:GDNS",
        "multi-view": "hardneg.sampling.mixgcf:MultiView",
        "semantic": "hardneg.sampling.semantic:Semantic",
        "semantic-literal": "hardneg.sampling.semantic:SemanticLiteral",
        "semantic-mixing": "hardneg.sampling.semantic_mixing:SemanticMixing",
    },
)


class SamplerConfig(PluginConfig):
    """Options of a sampler. A field of this type accepts every sampler by its `kind`."""

    registry: ClassVar[Registry] = SAMPLERS

    @property
    def own_source(self) -> SourceConfig | None:
        """Candidate source that the sampler has in place of `fit.candidates`; none by default."""
        return None

    @abstractmethod
    def build(self, inputs: SamplerInputs) -> NegativeSampler:
        """Return the sampler. Raises ConfigError where `inputs` lack something that it needs."""
        ...


class StatelessSampler(SamplerConfig):
    """A sampler that needs nothing besides its options and the pooled embeddings: it is its own configuration.

    A subclass defines `sample`; it overrides `n_candidates` to compare several candidates and `hops_read` to read the
    tables of single hops.
    """

    @property
    def n_candidates(self) -> int:
        """Number of candidates per pair that the loop draws, 1 by default."""
        return 1

    @property
    def hops_read(self) -> HopsRead:
        """Tables of hops above 0 that the sampler reads, "none" by default."""
        return "none"

    def build(self, inputs: SamplerInputs) -> Self:  # noqa: ARG002
        """Return the sampler itself."""
        return self

    @abstractmethod
    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return negatives for every pair, as in `NegativeSampler.sample`."""
        ...


def score_all(queries: Tensor, table: Tensor, candidates: Tensor) -> Tensor:
    """Return the inner products of each query with the rows of its candidates, (batch, n) float32, without gradients.

    queries: (batch, size). table: (n_items, size). candidates: (batch, n).
    """
    queries, table = queries.detach(), table.detach()
    require_known_rows(candidates, table)
    if queries.device.type != "cpu":
        return scores(queries, F.embedding(candidates, table))
    out = np.empty(candidates.shape, np.float32)
    arrays = (tensor.contiguous().numpy() for tensor in (queries, table, candidates))
    in_chunks(score_candidates, len(queries), *arrays, out)
    return torch.from_numpy(out)


def pick_by_rank(preferences: Tensor, ranks: Tensor | None = None) -> Tensor:
    """Return the column of the preference with the given rank in each row of preferences (batch, n): (batch,).

    ranks: (batch,), or (batch, k) for a result (batch, k), of 0..n - 1, where 0 is the largest; None for 0. Of equal
    preferences the first ranks higher. A row with NaN returns the first NaN, as `hardest` does.
    """
    if ranks is None:
        ranks = torch.zeros(len(preferences), dtype=torch.int64, device=preferences.device)
    if ranks.ndim == 2:
        return torch.stack([pick_by_rank(preferences, column) for column in ranks.unbind(1)], dim=1)
    if preferences.device.type != "cpu":
        ranks = torch.where(preferences.isnan().any(dim=1), 0, ranks)
        return preferences.sort(dim=1, descending=True, stable=True).indices.gather(1, ranks.unsqueeze(1)).squeeze(1)
    places = np.empty(len(preferences), np.int64)
    pick_ranked(preferences.contiguous().numpy(), ranks.contiguous().numpy(), places)
    return torch.from_numpy(places)
