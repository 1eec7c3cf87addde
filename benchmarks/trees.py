"""The two item trees at 10 thousand, 100 thousand and a million items: seconds of every step, and memory.

    python benchmarks/trees.py [--items 10000 100000] [--split data/sports-split] [--out benchmarks/results/trees.md]

Interactions are made up: as many users as items, users by a lognormal, items by a power law within groups of taste. Each
size is a process of its own with one thread; seconds are the processor's, for the machine may have other work. The semantic tree is over 64 made-up numbers an item, in groups; no model is
trained. `--split` adds a real split, its semantic tree over made-up numbers too.
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
"""Items of a group of taste."""
STEPS = ("item graph", "eigenvectors", "structural tree", "semantic tree")


def interactions(n_items: int, rng: np.random.Generator) -> Interactions:
    """Four in five pairs of a user are of two groups, the others of all items; in both, items follow a power law."""
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
    """Popular items in no order of their numbers."""
    return rng.permutation(n_items)[(n_items * rng.random(n) ** 3).astype(np.int64)]


def made_up_vectors(n_items: int, rng: np.random.Generator) -> Floats:
    """(n_items, 64) float32, groups around centres of their own."""
    centres = rng.standard_normal((n_items // GROUP + 1, 64), np.float32)
    return centres[np.arange(n_items) // GROUP] + rng.standard_normal((n_items, 64), np.float32)


def measure(what: str) -> None:
    """One size or one split; what it took as a line of JSON."""
    train = interactions(int(what), np.random.default_rng(0)) if what.isdigit() else splits.read_split(Path(what)).train
    vectors = made_up_vectors(train.n_items, np.random.default_rng(1))
    config, seconds, before = TreesConfig(), dict[str, float](), peak()
    warm()

    def timed(name: str, step: Callable[[], Any]) -> Any:
        started, wall = time.process_time(), time.perf_counter()
        found = step()
        seconds[name] = time.process_time() - started
        seconds["wall"] = seconds.get("wall", 0) + time.perf_counter() - wall
        print(f"{train.n_items:,} items, {name}: {seconds[name]:.2f} s, {peak():,.0f} MiB so far", file=sys.stderr)
        return found

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


def warm() -> None:
    """Compile and import before the clock runs."""
    train = interactions(2000, np.random.default_rng(0))
    config = TreesConfig()
    graph = jaccard_graph(train, config.graph, generator(0, "benchmark"))
    build_tree(spectral_embedding(graph.weights, 8, seed=0).points, config.tree, seed=0)


def peak() -> float:
    """MiB that this process had at most so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(what: str) -> dict[str, Any]:
    """The same, in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", what]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout)


def row(what: str, found: dict[str, Any]) -> list[str]:
    seconds, graph = found["seconds"], found["graph"]
    name = f"{found['items']:,}" if what.isdigit() else f"{found['items']:,} ({Path(what).name})"
    kept = graph["neighbours kept an item"]
    return [
        name,
        f"{found['pairs']:,}",
        f"{graph['item graph edges']:,}",
        "all" if kept == "all" else f"{kept} ({graph['items with more neighbours']:,} items had more)",
        *(f"{seconds[step]:.1f}" for step in STEPS),
        f"{sum(seconds[step] for step in STEPS):.1f}",
        f"{seconds['wall']:.1f}",
        f"{found['before']:,.0f}",
        f"{found['peak']:,.0f}",
        " / ".join(f"{found[tree]['leaves']:,}" for tree in ("structural", "semantic")),
    ]


def markdown(rows: list[list[str]]) -> str:
    limits = TreesConfig().graph
    titles = [
        "items",
        "train pairs",
        "edges",
        "neighbours kept an item",
        *(f"{step}, s" for step in STEPS),
        "all four, s",
        "on the clock, s",
    ]
    titles += ["MiB before", "MiB at most", "leaves"]
    lines = ["# Two item trees", ""]
    lines.append(
        f"Made-up interactions, `python benchmarks/trees.py`; one process and one thread a line, one run each. Seconds are the processor's, but for those on the clock: the machine had other work. {machine()}, load "
        f"averages at the end {load()}. The graph keeps all edges while {limits.most_edges:,} entries hold them, else the "
        f"strongest of each item, and samples users of more than {limits.most_history:,} train items (there are none here)."
    )
    lines += ["", f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cells)} |" for cells in rows), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--split", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
        return
    wanted = [*([str(given.split)] if given.split else []), *map(str, given.items)]
    text = markdown([row(what, measured(what)) for what in wanted])
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
