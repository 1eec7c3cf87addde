"""Time of one training epoch of LightGCN: ours and a plain torch implementation, side by side in one run.

    python benchmarks/epoch.py [SPLIT] [--repeats N] [--out benchmarks/results/epoch.md]

The peer is a common implementation of LightGCN: the graph in coordinate format, autograd through it, hops stacked, uniform
negatives drawn as arrays. All train on the same pairs with the same sizes and one thread, in turn. Ratios are of processor
seconds within a turn. Multi-view reads random path codes. Without SPLIT, 200,000 random pairs of 30,000 users are used.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from machine import machine
from peer_processes import spread
from scipy.sparse import block_array

from hardneg.data import Interactions
from hardneg.data import split as splits
from hardneg.models import LightGCNModel
from hardneg.models.graph import normalised_adjacency
from hardneg.random import Stream
from hardneg.report import printers
from hardneg.sampling import AHNS, DNS, MixGCF, MultiView, SamplerConfig, SamplerInputs, Uniform, UniformCandidates
from hardneg.training import FitConfig, fit_model
from hardneg.trees import PathCodes, Trees

SIZE, HOPS, BATCH = 64, 3, 2048
HEADS = ["epoch", "processor seconds, median", "plain torch / this, median [min, max]", "this / ours, uniform"]


def plain_epoch(train: Interactions) -> Callable[[], None]:
    above = normalised_adjacency(train)
    graph = block_array([[None, above], [above.T, None]]).tocoo()
    places = torch.from_numpy(np.stack([graph.row, graph.col]).astype(np.int64))
    adjacency = torch.sparse_coo_tensor(places, torch.from_numpy(graph.data), graph.shape).coalesce()
    table = torch.nn.Parameter(torch.randn(sum(graph.shape) // 2, SIZE) * 0.1)
    adam = torch.optim.Adam([table], lr=3e-3)
    rng, candidates = np.random.default_rng(0), UniformCandidates(train)

    def epoch() -> None:
        order = rng.permutation(len(train))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            negatives = candidates.draw(rows, train.users[rows], n=1, stream=Stream(0, "plain", 1))[:, 0]
            tables = [table]
            for _ in range(HOPS):
                tables.append(torch.sparse.mm(adjacency, tables[-1]))
            final = torch.stack(tables, dim=1).mean(dim=1)
            users, items, others = (
                torch.from_numpy(index)
                for index in (train.users[rows], train.items[rows] + train.n_users, negatives + train.n_users)
            )
            difference = (final[users] * (final[others] - final[items])).sum(dim=1)
            norm = sum(table[index].square().sum() for index in (users, items, others)) / (2 * len(rows))
            loss = F.softplus(difference).mean() + 1e-4 * norm
            adam.zero_grad()
            loss.backward()
            adam.step()

    return epoch


def our_epoch(train: Interactions, sampler: SamplerConfig) -> Callable[[], None]:
    model = LightGCNModel(train, embedding_size=SIZE, hops=HOPS)
    config = FitConfig(epochs=1, batch_size=BATCH, check_every=1)
    inputs = SamplerInputs(SIZE, None, 0, trees=random_trees(train.n_items))
    built, candidates = sampler.build(inputs), UniformCandidates(train)

    def epoch() -> None:
        fit_model(model, train, built, candidates, config, validate=lambda _: {"recall@20": 0.0})

    return epoch


def random_trees(n_items: int) -> Trees:
    """Draw codes of 3 to 7 levels with 4 children, the depths of the released trees."""
    rng = np.random.default_rng(0)
    present = np.arange(7) < rng.integers(3, 8, n_items)[:, None]
    structural, semantic = (
        PathCodes(np.where(present, rng.integers(4, size=(n_items, 7)), -1).astype(np.int16)) for _ in range(2)
    )
    return Trees(structural, semantic, "made up")


def seconds(epoch: Callable[[], None]) -> float:
    start = time.process_time()
    epoch()
    return time.process_time() - start


def random_pairs() -> Interactions:
    rng = np.random.default_rng(0)
    users, items = rng.integers(30_000, size=200_000), (rng.random(200_000) ** 2 * 10_000).astype(int)
    return Interactions.of(users, items, n_users=30_000, n_items=10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train = random_pairs() if arguments.split is None else splits.read_split(arguments.split).train
    samplers = Uniform(), DNS(candidates=10), AHNS(candidates=10), MixGCF(candidates=10), MultiView(candidates=10)
    ours = {s.kind: our_epoch(train, s) for s in samplers}
    peer = plain_epoch(train)
    for epoch in (peer, *ours.values()):
        epoch()
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ours}
    for _ in range(arguments.repeats):
        base = seconds(peer)
        for name, epoch in ours.items():
            measured[name].append((base, seconds(epoch)))
    text = table(measured)
    about = (
        f"{len(train):,} pairs, size {SIZE}, {HOPS} hops, batch {BATCH}, 1 thread, {arguments.repeats} repeats in turn"
    )
    where = "" if arguments.split is None else f" {arguments.split}"
    text = f"# One epoch of LightGCN\n\n`python benchmarks/epoch.py{where} --repeats {arguments.repeats}`: {about}. {machine()}.\n\n{text}"
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


def table(measured: dict[str, list[tuple[float, float]]]) -> str:
    """Return a table with a row per sampler; ratios are taken within a turn."""
    base_median = statistics.median(base for base, _ in measured["uniform"])
    lines = [["plain torch, coordinate format, uniform", f"{base_median:.2f}", "1", ""]]
    for name, pairs in measured.items():
        faster = [base / own for base, own in pairs]
        slower = [own / uniform for (_, own), (_, uniform) in zip(pairs, measured["uniform"], strict=True)]
        own = statistics.median(own for _, own in pairs)
        lines.append([f"ours, {name}", f"{own:.2f}", spread(faster), spread(slower)])
    return printers.markdown(HEADS, lines)


if __name__ == "__main__":
    main()
