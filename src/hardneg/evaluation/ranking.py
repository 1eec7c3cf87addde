"""Full ranking in blocks of users: all items outside the mask are ranked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation.kernels import NO_KEY, items_of, top_k
from hardneg.evaluation.metrics import METRICS, parse_metric
from hardneg.evaluation.reranking import PairBonus
from hardneg.evaluation.shortlist import Shortlist
from hardneg.speeds import MeasuredLoop, Seconds, best_of_rounds
from hardneg.types import Embeddings, Flags, Floats, Indices

BLOCK = 128
"""Users scored at once."""
PART = 8192
"""Items scored at once by inner products on the CPU, which takes BLOCK x PART x 4 bytes, 4 MiB; other scores are of all items."""

EXACT, SHORTLIST = "exact", "16-bit shortlist"
"""Names of both ways to find the best items."""
MEASURED_USERS, MEASURED_ITEMS, ROUNDS = 512, 10_000, 5
"""Size of the ranking that is measured, and number of measurements."""
CLEARLY = 0.8
"""Share of the exact ranking's time up to which a shortlist is taken without being asked for."""

ScoreFunction = Callable[[Indices], Tensor]
"""Users (block,) -> scores of every item (block, n_items)."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of every user with held-out items.

    users: (n,). n_relevant: (n,) number of held-out items. values: metric name -> (n,).
    """

    users: Indices
    n_relevant: Indices
    values: dict[str, Floats]

    def means(self) -> dict[str, float]:
        """Return the mean over users of every metric."""
        return {name: float(value.mean()) for name, value in self.values.items()}


@dataclass(frozen=True)
class InnerProduct:
    """Score function of pooled embeddings: users (n_users, size) and items (size, n_items).

    shortlist: preselects items in bfloat16, if given. bonus: added to the scores of some pairs, if given. by_items: scores
    of an item-item model, which are added, if given.
    """

    users: Tensor
    items: Tensor
    shortlist: Shortlist | None = None
    bonus: PairBonus | None = None
    by_items: ScoreFunction | None = None

    def __call__(self, block: Indices) -> Tensor:
        """Return the scores (block, n_items) of users (block,)."""
        scores = self.of_part(block)
        scores = scores if self.by_items is None else scores + self.by_items(block)
        return scores if self.bonus is None else self.bonus.add_to(scores, block)

    def of_part(self, block: Indices, part: slice = slice(None)) -> Tensor:
        """Return the inner products of users (block,) with a part of the items, (block, items of the part)."""
        return self.users[torch.from_numpy(block).to(self.users.device)] @ self.items[:, part]

    @property
    def is_plain(self) -> bool:
        """Return True if scores are inner products alone, in main memory."""
        return self.bonus is None and self.by_items is None and self.users.device.type == "cpu"

    @property
    def ranking(self) -> str:
        """Return how the best items are found: exact or shortlist."""
        return EXACT if self.shortlist is None else SHORTLIST

    def speed_warning(self) -> str:
        """Return a sentence if a shortlist is slower than the exact ranking on this machine, else nothing."""
        seconds = RANKING.seconds() if self.shortlist is not None else {}
        if not seconds or seconds[SHORTLIST] <= seconds[EXACT]:
            return ""
        ratio = seconds[SHORTLIST] / seconds[EXACT]
        return (
            f"the 16-bit shortlist takes {ratio:.1f} times as long as the exact ranking on this machine; leave it out"
        )


@dataclass(frozen=True)
class Popularity:
    """Score function of the most popular items: the training pairs of an item, the same for every user."""

    train: Interactions

    @cached_property
    def order(self) -> Indices:
        """Items from the most to the least popular, ties by lower item, (n_items,)."""
        return np.asarray((-self.train.item_counts).argsort(kind="stable"))

    def __call__(self, block: Indices) -> Tensor:
        """Return the scores (block, n_items) of users (block,)."""
        return torch.from_numpy(self.train.item_counts).float().expand(len(block), -1)

    def top_items(self, users: Indices, seen: Interactions, k: int) -> Indices:
        """Return the k best unseen items as `ranking.top_items`, without ranking all items of each user."""
        items = self.order[: k + int(seen.counts[users].max(initial=0))]
        unseen = ~seen.contains(users[:, None], items[None, :])
        rank = unseen.cumsum(axis=1)
        rows, places = np.nonzero(unseen & (rank <= k))
        best = np.full((len(users), min(k, len(self.order))), -1, np.int64)
        best[rows, rank[rows, places] - 1] = items[places]
        return best


def inner_product(
    embeddings: Embeddings,
    *,
    shortlist: bool | None = False,
    bonus: PairBonus | None = None,
    by_items: ScoreFunction | None = None,
) -> InnerProduct:
    """Return the inner product of pooled embeddings, plus scores by items and the bonus of a pair, as a score function.

    shortlist: on the CPU, preselect items in bfloat16 and rank them in float32. The ranking is the same, except for
    items whose scores differ only by float32 rounding. Faster on processors with bfloat16 multiplication, else slower.
    None: where it is possible and was measured to be clearly faster on this machine.
    Raises ConfigError where it is asked for together with a bonus, or with scores by items.
    """
    if shortlist is None:
        possible = bonus is None and by_items is None and embeddings.users[0].device.type == "cpu"
        shortlist = possible and preferred_ranking() == SHORTLIST
    if shortlist and bonus is not None:
        raise ConfigError("found a reranked run, whose bonuses a shortlist cannot rank; leave --shortlist out")
    if shortlist and by_items is not None:
        raise ConfigError("found an item-item model, whose scores a shortlist cannot rank; leave --shortlist out")
    users, items = embeddings.final_users.detach(), embeddings.final_items.detach()
    if not (users.isfinite().all() and items.isfinite().all()):
        raise DataError("found embeddings that are not finite; train again with a lower learning rate")
    preselection = Shortlist.of(users, items) if shortlist and users.device.type == "cpu" else None
    return InnerProduct(users, items.T.contiguous(), preselection, bonus, by_items)


def measure_rankings() -> Seconds:
    """Return the seconds of both ways to rank 10,000 items of random embeddings for 512 users."""
    random = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 64, generator=random) for n in (MEASURED_USERS, MEASURED_ITEMS))
    embeddings, blocks = Embeddings((users,), (items,), "mean"), np.arange(MEASURED_USERS).reshape(-1, BLOCK)
    nothing = np.empty(0, np.int64)
    seen = Interactions(nothing, nothing, MEASURED_USERS, MEASURED_ITEMS)

    def rank(*, shortlist: bool) -> None:
        score = inner_product(embeddings, shortlist=shortlist)
        for block in blocks:
            top_items(score, block, seen, 20)

    return best_of_rounds({EXACT: partial(rank, shortlist=False), SHORTLIST: partial(rank, shortlist=True)}, ROUNDS)


RANKING = MeasuredLoop("ranking of all items", (EXACT, SHORTLIST), measure_rankings)


def preferred_ranking() -> str:
    """Return the ranking that evaluations use: a shortlist only where it takes at most CLEARLY of the exact time.

    Deeper rankings, longer embeddings and fewer items than were measured favour the exact one.
    """
    seconds = RANKING.seconds()
    return SHORTLIST if seconds[SHORTLIST] <= CLEARLY * seconds[EXACT] else EXACT


def evaluate_scores(
    score: ScoreFunction, held_out: Interactions, seen: Interactions, *, metrics: tuple[str, ...], block: int = BLOCK
) -> Evaluation:
    """Rank all items for every user with held-out pairs and compute the metrics.

    seen: masked pairs, which are exactly the observed train pairs. metrics: names such as "recall@20". The result does
    not depend on `block`.
    """
    return evaluate_parts(score, (held_out,), seen, metrics=metrics, block=block)[0]


def evaluate_parts(
    score: ScoreFunction,
    parts: Sequence[Interactions],
    seen: Interactions,
    *,
    metrics: tuple[str, ...],
    block: int = BLOCK,
) -> list[Evaluation]:
    """Rank all items once and compute the metrics of several sets of held-out pairs, each over its own users.

    A part counts its own pairs as relevant; all items outside `seen` are ranked, those of other parts included. The other
    arguments are those of `evaluate_scores`.
    """
    parsed = {name: parse_metric(name) for name in metrics}
    depth = max(k for _, k in parsed.values())
    ranked = np.flatnonzero(sum(part.counts for part in parts))
    if not len(ranked):
        raise DataError("found no user with held-out pairs, expected at least one; check the split")
    blocks = [_find_hits(score, ranked[i : i + block], parts, seen, depth) for i in range(0, len(ranked), block)]
    evaluations = []
    for part, hits in zip(parts, map(np.concatenate, zip(*blocks, strict=True)), strict=True):
        users = np.flatnonzero(part.counts)
        own, n_relevant = hits[part.counts[ranked] > 0], part.counts[users]
        values = {name: METRICS[metric](own, n_relevant, k=k) for name, (metric, k) in parsed.items()}
        evaluations.append(Evaluation(users, n_relevant, values))
    return evaluations


def top_items(score: ScoreFunction, users: Indices, seen: Interactions, k: int) -> Indices:
    """Return the k best unseen items of each user (users, k), best first, ties by lower item, -1 past the last."""
    if k < 1 or (len(users) and users.max() >= seen.n_users):
        raise DataError(
            f"found depth {k} and users up to {users.max(initial=0)}, expected 1 or more and users below {seen.n_users}"
        )
    if isinstance(score, InnerProduct) and score.items.shape[1] != seen.n_items:
        raise DataError(f"found scores of {score.items.shape[1]} items, expected {seen.n_items} as in `seen`")
    if isinstance(score, Popularity):
        return score.top_items(users, seen, k)
    if isinstance(score, InnerProduct) and score.shortlist is not None:
        return score.shortlist.top_items(users, seen, k)
    keys = np.full((len(users), min(k, seen.n_items)), NO_KEY)
    for offset, scores in _score_parts(score, users, seen.n_items):
        in_chunks(top_k, len(users), scores.view(np.int32), offset, users, seen.starts, seen.items, keys)
    return items_of(keys)


def _score_parts(score: ScoreFunction, users: Indices, n_items: int) -> Iterator[tuple[int, Floats]]:
    """Yield the first item of a part of the catalogue and its scores (users, items), which may be overwritten."""
    if isinstance(score, InnerProduct) and score.is_plain:
        for first in range(0, n_items, PART):
            yield first, score.of_part(users, slice(first, first + PART)).float().numpy()
        return
    scores = score(users)
    if scores.shape != (len(users), n_items):
        raise DataError(f"found scores {tuple(scores.shape)}, expected {(len(users), n_items)} (users x items)")
    yield 0, np.array(scores.cpu().numpy(), np.float32)


def _find_hits(
    score: ScoreFunction, users: Indices, parts: Sequence[Interactions], seen: Interactions, depth: int
) -> list[Flags]:
    """Return (users, depth) for each part, True if the item at that rank is one of its pairs."""
    ranked = top_items(score, users, seen, depth)
    found = [(ranked >= 0) & part.contains(users[:, None], np.maximum(ranked, 0)) for part in parts]
    missing = ((0, 0), (0, depth - ranked.shape[1]))  # ranks past the last item
    return [np.pad(hits, missing) for hits in found]
