"""Lower bound of an epoch of LightGCN on this machine: bytes moved over the rate at which one thread moves them.

    python benchmarks/bandwidth.py data/sports-split [--repeats 5] [--out benchmarks/results/bandwidth.md]

A product of the graph with a table reads one row of the table for every stored number of the graph. Arithmetic is small in
comparison; all other accesses are sequential. The bound is gathered bytes / best gather rate + streamed bytes / best copy
rate. Rates are the best of all repeats, times are medians; both increase the distance to the bound. The gather rate is
one that a compiled kernel reaches here, sums included, so it is a target rather than a physical limit.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from peer_processes import EMBEDDING_SIZE, Answers, Entry, export, take_turns
from scipy.sparse import block_array

from hardneg.data import split as splits
from hardneg.models.graph import normalised_adjacency

HOPS, BATCH = 3, 2048
OUT_OF_CACHE = 256 * 2**20
ADAM_PASSES = 7
"""Passes over the 32-bit parameters: read gradient, parameter, both moments; write parameter, both moments."""
ENTRIES = ("ours 32 bits", "float32", 4), ("ours 16 bits", "float16", 2)


@dataclass(frozen=True)
class Traffic:
    """Bytes of one epoch: rows gathered by products of the graph, and sequential accesses."""

    gathered: float
    streamed: float

    def seconds(self, gather_rate: float, stream_rate: float) -> float:
        """Return the seconds at rates in bytes per second."""
        return self.gathered / gather_rate + self.streamed / stream_rate


def epoch_traffic(
    *, nnz: int, nodes: int, size: int, hops: int, number_bytes: int, steps: int, batch: int, index_bytes: int = 4
) -> Traffic:
    """Return the minimum traffic of `steps` steps; number_bytes: of hop tables and graph values (4 or 2).

    Per step: hops products forward and hops backward, each nnz gathered rows, nnz indices and values, one written
    table; the pooled table forward (each hop read, one written), its gradient added in the backward products (read once
    a hop); Adam; three rows a pair read and their gradients added (read and written) forward and backward.
    """
    table = nodes * size * number_bytes
    product = nnz * (index_bytes + number_bytes) + nodes * 8 + table
    pooled = (hops + 2) * table + hops * table
    adam = ADAM_PASSES * nodes * size * 4
    pairs = 3 * batch * size * (number_bytes + 2 * 4)
    gathered = 2 * hops * nnz * size * number_bytes
    return Traffic(steps * gathered, steps * (2 * hops * product + pooled + adam + pairs))


def best_seconds(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def copy_rate(n_bytes: int, repeats: int) -> float:
    """Return bytes read plus bytes written per second."""
    source, target = (torch.ones(n_bytes // 8, dtype=torch.float32) for _ in range(2))
    times = max(1, OUT_OF_CACHE // n_bytes)

    def work() -> None:
        for _ in range(times):
            target.copy_(source)

    return times * n_bytes / best_seconds(work, repeats)


def gather_rate(indices: np.ndarray, starts: np.ndarray, nodes: int, dtype: torch.dtype, repeats: int) -> float:
    """Return bytes of rows read and summed per second, by torch's embedding_bag, which writes only the sums."""
    table = torch.ones(nodes, EMBEDDING_SIZE).to(dtype)
    rows, bags = torch.from_numpy(indices.astype(np.int32)), torch.from_numpy(starts.astype(np.int32))
    seconds = best_seconds(lambda: F.embedding_bag(rows, table, bags, mode="sum"), repeats)
    return len(indices) * EMBEDDING_SIZE * table.element_size() / seconds


def table_of(columns: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    split = splits.read_split(arguments.split)
    above = normalised_adjacency(split.train)
    graph = block_array([[None, above], [above.T, None]], format="csr")
    nodes, steps = graph.shape[0], -(-len(split.train) // BATCH)
    random_rows = np.random.default_rng(0).integers(nodes, size=graph.nnz)
    entries = [Entry(name, "ours.py", ("lightgcn", "uniform", storage)) for name, storage, _ in ENTRIES]
    with tempfile.TemporaryDirectory() as name:
        export(split, Path(name))
        answers, about = take_turns(entries, "epoch", Path(name), arguments.repeats)
    streams = {n: copy_rate(n, 3 * arguments.repeats) for n in (2 * nodes * EMBEDDING_SIZE * 4, OUT_OF_CACHE)}
    parts = [f"# Distance from the memory's speed\n\n{arguments.split.name}, one thread; gigabytes per second."]
    parts.append(
        table_of(
            ["copied at once, read + written", "GB/s"],
            [[f"{n / 2**20:.0f} MiB", f"{r / 1e9:.1f}"] for n, r in streams.items()],
        )
    )
    rates, bounds = [], []
    for name, storage, width in ENTRIES:
        dtype = getattr(torch, storage)
        own, random = (
            gather_rate(order, graph.indptr[:-1], nodes, dtype, 3 * arguments.repeats)
            for order in (graph.indices, random_rows)
        )
        rates.append([f"{EMBEDDING_SIZE * width} bytes", f"{own / 1e9:.1f}", f"{random / 1e9:.1f}"])
        traffic = epoch_traffic(
            nnz=graph.nnz, nodes=nodes, size=EMBEDDING_SIZE, hops=HOPS, number_bytes=width, steps=steps, batch=BATCH
        )
        bounds.append(bound_row(name, traffic, traffic.seconds(max(own, random), max(streams.values())), answers))
    parts.append(table_of(["row gathered and summed", "GB/s, the graph's own order", "GB/s, random rows"], rates))
    parts.append(
        table_of(["epoch", "gathered GB", "streamed GB", "bound, s", "measured, s", "measured / bound"], bounds)
    )
    parts += [f"Left out: {name} ({info['skip']})." for name, info in about.items() if "skip" in info]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text)


def bound_row(name: str, traffic: Traffic, bound: float, answers: Answers) -> list[str]:
    row = [name, f"{traffic.gathered / 1e9:.1f}", f"{traffic.streamed / 1e9:.1f}", f"{bound:.2f}"]
    if name not in answers:
        return [*row, "–", "–"]
    seconds = statistics.median(answer["wall"] for answer in answers[name])
    return [*row, f"{seconds:.2f}", f"{seconds / bound:.2f}"]


if __name__ == "__main__":
    main()
