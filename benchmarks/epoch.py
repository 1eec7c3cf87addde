"""Time of one training epoch of LightGCN and of one evaluation: ours and plain torch, side by side in one run.

    python benchmarks/epoch.py [SPLIT] [--device cpu|cuda] [--repeats N] [--out benchmarks/results/epoch.md]

The peer is a common implementation of LightGCN: the graph in coordinate format, autograd through it, hops stacked, uniform
negatives drawn as arrays. Its evaluation is a product, a mask and topk for 128 users at a time. All have the same pairs, sizes
and one thread, in turn. Ratios are within a turn, of processor seconds on the CPU and of the clock's on CUDA, where the device
has finished. Multi-view reads random path codes. Without SPLIT, 200,000 random pairs of 30,000 users are used.
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
from hardneg.evaluation import inner_product, top_items
from hardneg.models import LightGCNModel
from hardneg.models.graph import normalised_adjacency
from hardneg.random import Stream
from hardneg.report import printers
from hardneg.sampling import AHNS, DNS, MixGCF, MultiView, SamplerConfig, SamplerInputs, Uniform, UniformCandidates
from hardneg.training import FitConfig, fit_model
from hardneg.trees import PathCodes, Trees
from hardneg.types import Embeddings

SIZE, HOPS, BATCH, BLOCK = 64, 3, 2048, 128
CPU = torch.device("cpu")
HEADS = ["epoch", "seconds, median", "plain torch / this, median [min, max]", "this / ours, uniform"]


def plain_epoch(train: Interactions, device: torch.device) -> Callable[[], None]:
    above = normalised_adjacency(train)
    graph = block_array([[None, above], [above.T, None]]).tocoo()
    places = torch.from_numpy(np.stack([graph.row, graph.col]).astype(np.int64))
    adjacency = torch.sparse_coo_tensor(places, torch.from_numpy(graph.data), graph.shape).coalesce().to(device)
    table = torch.nn.Parameter(torch.randn(sum(graph.shape) // 2, SIZE, device=device) * 0.1)
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
                torch.from_numpy(index).to(device)
                for index in (train.users[rows], train.items[rows] + train.n_users, negatives + train.n_users)
            )
            difference = (final[users] * (final[others] - final[items])).sum(dim=1)
            norm = sum(table[index].square().sum() for index in (users, items, others)) / (2 * len(rows))
            loss = F.softplus(difference).mean() + 1e-4 * norm
            adam.zero_grad()
            loss.backward()
            adam.step()

    return epoch


def our_epoch(train: Interactions, sampler: SamplerConfig, device: torch.device) -> Callable[[], None]:
    model = LightGCNModel(train, embedding_size=SIZE, hops=HOPS).to(device)
    config = FitConfig(epochs=1, batch_size=BATCH, check_every=1)
    inputs = SamplerInputs(SIZE, None, 0, trees=random_trees(train.n_items))
    built, candidates = sampler.build(inputs), UniformCandidates(train)

    def epoch() -> None:
        fit_model(model, train, built, candidates, config, validate=lambda _: {"recall@20": 0.0})

    return epoch


def evaluations(train: Interactions, device: torch.device) -> dict[str, Callable[[], None]]:
    """Return the rankings of the 20 best items of every user, from the same random tables."""
    rng = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, SIZE, generator=rng).to(device) for n in (train.n_users, train.n_items))
    ours = inner_product(Embeddings((users,), (items,), "mean"), shortlist=None)
    blocks = [np.arange(first, min(first + BLOCK, train.n_users)) for first in range(0, train.n_users, BLOCK)]
    starts, seen = torch.from_numpy(train.starts).to(device), torch.from_numpy(train.items).to(device)

    def plain() -> None:
        for block in blocks:
            scores = users[block[0] : block[-1] + 1] @ items.T
            bounds = starts[block[0] : block[-1] + 2]
            rows = torch.repeat_interleave(torch.arange(len(block), device=device), bounds.diff())
            scores[rows, seen[bounds[0] : bounds[-1]]] = -torch.inf
            torch.topk(scores, 20)

    def own() -> None:
        for block in blocks:
            top_items(ours, block, train, 20)

    return {"plain torch": plain, f"ours ({ours.ranking})": own}


def random_trees(n_items: int) -> Trees:
    """Draw codes of 3 to 7 levels with 4 children, the depths of the released trees."""
    rng = np.random.default_rng(0)
    present = np.arange(7) < rng.integers(3, 8, n_items)[:, None]
    structural, semantic = (
        PathCodes(np.where(present, rng.integers(4, size=(n_items, 7)), -1).astype(np.int16)) for _ in range(2)
    )
    return Trees(structural, semantic, "made up")


def seconds(epoch: Callable[[], None], device: torch.device = CPU) -> float:
    """Return the processor seconds of a call, or those of the clock until CUDA has finished."""
    if device.type == "cpu":
        start = time.process_time()
        epoch()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    epoch()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def random_pairs() -> Interactions:
    rng = np.random.default_rng(0)
    users, items = rng.integers(30_000, size=200_000), (rng.random(200_000) ** 2 * 10_000).astype(int)
    return Interactions.of(users, items, n_users=30_000, n_items=10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path, nargs="?")
    parser.add_argument("--device", type=torch.device, default=CPU)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train = random_pairs() if arguments.split is None else splits.read_split(arguments.split).train
    samplers = Uniform(), DNS(candidates=10), AHNS(candidates=10), MixGCF(candidates=10), MultiView(candidates=10)
    device = arguments.device
    ours = {s.kind: our_epoch(train, s, device) for s in samplers}
    peer, rankings = plain_epoch(train, device), evaluations(train, device)
    for call in (peer, *ours.values(), *rankings.values()):
        call()
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ours}
    ranked: list[list[float]] = []
    for _ in range(arguments.repeats):
        base = seconds(peer, device)
        for name, epoch in ours.items():
            measured[name].append((base, seconds(epoch, device)))
        ranked.append([seconds(ranking, device) for ranking in rankings.values()])
    card = "1 thread" if device.type == "cpu" else torch.cuda.get_device_name(device)
    about = (
        f"{len(train):,} pairs, size {SIZE}, {HOPS} hops, batch {BATCH}, {card}, {arguments.repeats} repeats in turn"
    )
    where = "" if arguments.split is None else f" {arguments.split}"
    where += "" if device.type == "cpu" else f" --device {device}"
    command = f"`python benchmarks/epoch.py{where} --repeats {arguments.repeats}`"
    text = f"# One epoch of LightGCN\n\n{command}: {about}. {machine()}.\n\n{table(measured)}\n"
    text += f"All users ranked:\n\n{ranking_table(list(rankings), ranked)}"
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


def ranking_table(names: list[str], turns: list[list[float]]) -> str:
    """Return a table with a row per ranking; ratios to the first are taken within a turn."""
    columns = list(zip(*turns, strict=True))
    rows = [
        [
            name,
            f"{statistics.median(own):.3f}",
            spread([base / mine for base, mine in zip(columns[0], own, strict=True)]),
        ]
        for name, own in zip(names, columns, strict=True)
    ]
    return printers.markdown(["ranking", "seconds, median", "plain torch / this, median [min, max]"], rows)


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
