"""Time of one product of the graph with a table, the largest part of a step of LightGCN, by several implementations.

    python benchmarks/products.py data/sports-split [--repeats 15] [--out benchmarks/results/products.md]

Both sides of the graph once, one thread, in a loop, so with warm caches. All take turns: a cell is the median over turns,
and a ratio is taken within each turn. All but the 16-bit product must give the same sums.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import block_array

from hardneg.data import split as splits
from hardneg.models.graph import Graph, normalised_adjacency

SIZE = 64
OURS = "ours, 32 bits"
Product = Callable[[], tuple[np.ndarray, ...]]
"""Return all sums in one array, or those of users and of items."""


@numba.njit(fastmath=True)
def plain_numba(starts, neighbours, weights, table, out):
    for row in range(len(starts) - 1):
        out[row] = 0
        for k in range(starts[row], starts[row + 1]):
            for column in range(table.shape[1]):
                out[row, column] += weights[k] * table[neighbours[k], column]
    return out


def implementations(folder: Path) -> dict[str, Product]:
    """Return name -> a call that returns (users + items, SIZE), in one part or two."""
    train = splits.read_split(folder).train
    above = normalised_adjacency(train)
    whole = block_array([[None, above], [above.T, None]], format="csr")
    table = np.random.default_rng(0).standard_normal((whole.shape[0], SIZE), np.float32)
    tensor = torch.from_numpy(table)
    starts, columns, weights = (torch.from_numpy(x) for x in (whole.indptr, whole.indices, whole.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse.*")
        compressed = torch.sparse_csr_tensor(starts.long(), columns.long(), weights, size=whole.shape)
        coordinates = compressed.to_sparse_coo().coalesce()
    out = np.empty_like(table)
    return {
        OURS: own(Graph(train), table),
        "ours, 16 bits (table in 32, converted)": own(Graph(train, storage="float16"), table),
        "ours, 16 bits (table in 16)": own(Graph(train, storage="float16"), table, stored=True),
        "plain numba": lambda: (plain_numba(whole.indptr, whole.indices, whole.data, table, out),),
        "torch, compressed rows (MKL)": lambda: ((compressed @ tensor).numpy(),),
        "torch, coordinates": lambda: ((coordinates @ tensor).numpy(),),
        "torch, embedding_bag": lambda: (
            F.embedding_bag(columns, tensor, starts[:-1], mode="sum", per_sample_weights=weights).numpy(),
        ),
    }


def own(graph: Graph, table: np.ndarray, *, stored: bool = False) -> Product:
    """Return our product, with or without the conversion of the table."""
    users, items = np.split(table, [graph.users.shape[0]])
    if stored:
        stored_users, stored_items = graph.store(users), graph.store(items)
        return lambda: (graph.users.product(stored_items).numbers, graph.items.product(stored_users).numbers)
    return lambda: (
        graph.users.product(graph.store(items)).numbers,
        graph.items.product(graph.store(users)).numbers,
    )


def require_equal_sums(products: dict[str, Product]) -> None:
    """Check that all products give the same sums; 16 bits within their precision."""
    expected = np.concatenate(products["torch, compressed rows (MKL)"]())
    for name, product in products.items():
        tolerance = 2e-2 if "16 bits" in name else 1e-4
        np.testing.assert_allclose(np.concatenate(product()), expected, atol=tolerance, err_msg=name)


def seconds(product: Product) -> float:
    start = time.perf_counter()
    product()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    products = implementations(arguments.split)
    require_equal_sums(products)
    turns = [{name: seconds(product) for name, product in products.items()} for _ in range(arguments.repeats)]
    rows = []
    for name in products:
        ratios = sorted(turn[name] / turn[OURS] for turn in turns)
        milliseconds = 1000 * statistics.median(turn[name] for turn in turns)
        rows.append(
            f"| {name} | {milliseconds:.2f} | {statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}] |"
        )
    text = "\n".join(
        [
            f"# One product of the graph with a table of {SIZE} columns\n",
            f"{arguments.split.name}, one thread, {arguments.repeats} turns; median [min, max].\n",
            f"| product | ms | over {OURS} |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )
    print(text)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
