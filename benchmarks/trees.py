"""The two item trees at 10 thousand, 100 thousand and a million items: seconds of every step, and memory.

    python benchmarks/trees.py [--items 10000 100000] [--split data/sports-split] [--out benchmarks/results/trees.md]

Interactions are synthetic: as many users as items, history lengths lognormal, items by a power law within groups. Each
size runs in its own process with one thread. Seconds are processor time, because the machine may be shared. The semantic
tree is built from 64 synthetic numbers per item, in groups; no model is trained. `--split` adds a real split, with
synthetic vectors too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import load, machine

from hardneg.data import Interactions
from hardneg.data import split as splits
from hardneg.random import generator
from hardneg.trees import TreesConfig, build_tree, jaccard_graph, spectral_embedding
from hardneg.trees.trees_folder import describe_tree
from hardneg.types import Floats, Indices

MEAN_HISTORY = 12
GROUP = 400
"""Items per group."""
STEPS = ("item graph", "eigenvectors", "structural tree", "semantic tree")


def interactions(n_items: int, rng: np.random.Generator) -> Interactions:
    """Draw four in five pairs of a user from two groups, the rest from all items; both follow a power law."""
    counts = np.maximum(rng.lognormal(np.log(MEAN_HISTORY) - 0.5, 1, n_items).astype(np.int64), 2)
    users = np.repeat(np.arange(n_items), counts)
    favourites = rng.integers(0, n_items // GROUP, (n_items, 2))
    within = favourites[users, rng.integers(0, 2, len(users))] * GROUP + (GROUP * rng.random(len(users)) ** 2).astype(
        np.int64
    )
    anywhere = shuffled_power_law(n_items, len(users), rng)
    items = np.where(rng.random(len(users)) < 0.8, within, anywhere)
    return Interactions.of(users, items, n_users=n_items, n_items=n_items)


def shuffled_power_law(n_items: int, n: int, rng: np.random.Generator) -> Indices:
    """Draw items by a power law over a random order."""
    return rng.permutation(n_items)[(n_items * rng.random(n) ** 3).astype(np.int64)]


def synthetic_vectors(n_items: int, rng: np.random.Generator) -> Floats:
    """Draw (n_items, 64) float32 vectors, each group around its own centre."""
    centres = rng.standard_normal((n_items // GROUP + 1, 64), np.float32)
    return centres[np.arange(n_items) // GROUP] + rng.standard_normal((n_items, 64), np.float32)


def measure(source: str) -> None:
    """Measure one size or one split and print a line of JSON."""
    train = (
        interactions(int(source), np.random.default_rng(0))
        if source.isdigit()
        else splits.read_split(Path(source)).train
    )
    vectors = synthetic_vectors(train.n_items, np.random.default_rng(1))
    config, seconds, before = TreesConfig(), dict[str, float](), peak()
    warm_up()

    def timed(name: str, step: Callable[[], Any]) -> Any:
        started, wall = time.process_time(), time.perf_counter()
        result = step()
        seconds[name] = time.process_time() - started
        seconds["wall"] = seconds.get("wall", 0) + time.perf_counter() - wall
        print(f"{train.n_items:,} items, {name}: {seconds[name]:.2f} s, {peak():,.0f} MiB so far", file=sys.stderr)
        return result

    graph = timed("item graph", lambda: jaccard_graph(train, config.graph, generator(0, "benchmark")))
    points = timed("eigenvectors", lambda: spectral_embedding(graph.weights, config.embedding_size, seed=0)).points
    codes = timed("structural tree", lambda: build_tree(points, config.tree, seed=0))
    semantic = timed("semantic tree", lambda: build_tree(vectors, config.tree, seed=0))
    print(
        json.dumps(
            {
                "items": train.n_items,
                "pairs": len(train),
                "seconds": seconds,
                "before": before,
                "peak": peak(),
                "graph": graph.notes(),
                "structural": describe_tree(codes),
                "semantic": describe_tree(semantic),
            }
        )
    )


def warm_up() -> None:
    """Compile and import before timing."""
    train = interactions(2000, np.random.default_rng(0))
    config = TreesConfig()
    graph = jaccard_graph(train, config.graph, generator(0, "benchmark"))
    build_tree(spectral_embedding(graph.weights, 8, seed=0).points, config.tree, seed=0)


def peak() -> float:
    """Return the peak memory of this process in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure_in_process(source: str) -> dict[str, Any]:
    """Run `measure` in a separate process."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", source]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(process.stdout)


def row(source: str, result: dict[str, Any]) -> list[str]:
    seconds, graph = result["seconds"], result["graph"]
    name = f"{result['items']:,}" if source.isdigit() else f"{result['items']:,} ({Path(source).name})"
    neighbours = graph["neighbours kept an item"]
    return [
        name,
        f"{result['pairs']:,}",
        f"{graph['item graph edges']:,}",
        "all" if neighbours == "all" else f"{neighbours} ({graph['items with more neighbours']:,} items had more)",
        *(f"{seconds[step]:.1f}" for step in STEPS),
        f"{sum(seconds[step] for step in STEPS):.1f}",
        f"{seconds['wall']:.1f}",
        f"{result['before']:,.0f}",
        f"{result['peak']:,.0f}",
        " / ".join(f"{result[tree]['leaves']:,}" for tree in ("structural", "semantic")),
    ]


def markdown(rows: list[list[str]]) -> str:
    limits = TreesConfig().graph
    titles = [
        "items",
        "train pairs",
        "edges",
        "neighbours per item",
        *(f"{step}, s" for step in STEPS),
        "all four, s",
        "wall time, s",
    ]
    titles += ["MiB before", "peak MiB", "leaves"]
    lines = ["# Two item trees", ""]
    lines.append(
        "Synthetic interactions, `python benchmarks/trees.py`; one process with one thread per line, one run each. "
        f"Seconds are processor time, except wall time, because the machine was shared. {machine()}, load "
        f"averages at the end {load()}. The graph keeps all edges up to {limits.most_edges:,} entries, else the strongest "
        f"of each item, and samples users of more than {limits.most_history:,} train items (there are none here)."
    )
    lines += ["", f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--split", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    sources = [*([str(arguments.split)] if arguments.split else []), *map(str, arguments.items)]
    text = markdown([row(source, measure_in_process(source)) for source in sources])
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
