"""CPU seconds of judge likelihood for one user: one request for all candidates, beside a pass for each title.

    python benchmarks/likelihood.py data/scientific-split smollm2-135m

The user's history has 10 titles, and there are 50 candidates. Precisions and ways alternate in one process, one thread. CPU
seconds are those of the process, so other jobs matter less than by the clock. A pass for each title reads the history
anew; 10 titles are measured and taken five times. The term without history, which all users share, is not included.
Prints a table; writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from hardneg.data import split as splits
from hardneg.judging.likelihood import history_prompt
from hardneg.llm.local.model import LocalModel
from hardneg.llm.local.weights import WeightPrecision
from hardneg.llm.names import model_source
from hardneg.llm.protocol import Refusal, Request, continuation_request
from hardneg.report import printers

HISTORY, CANDIDATES, MEASURED, LONGEST = 10, 50, 10, 100
PRECISIONS: tuple[WeightPrecision, ...] = ("float32", "bfloat16")


def ask(model: LocalModel, requests: Sequence[Request]) -> float:
    """Send requests one after the other; return the CPU seconds."""
    started = time.process_time()
    for request in requests:
        [reply] = asyncio.run(model.complete([request]))
        assert not isinstance(reply, Refusal), reply
    return time.process_time() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("model")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    titles = [title[:LONGEST] for title in splits.read_split(arguments.split).texts["title"].to_list() if title]
    items = np.random.default_rng(0).choice(len(titles), HISTORY + CANDIDATES, replace=False).tolist()
    prompt = history_prompt([titles[item] for item in items[:HISTORY]])
    together = continuation_request(prompt, [f" {titles[item]}" for item in items[HISTORY:]])
    singly = [continuation_request(prompt, [text]) for text in together.continuations[:MEASURED]]
    models = {name: LocalModel(model_source(arguments.model, precision=name), batch_size=1) for name in PRECISIONS}
    seconds: dict[tuple[str, str], list[float]] = {}
    ways = {"one request": ([together], 1), "a pass for each title": (singly, CANDIDATES // MEASURED)}
    for model in models.values():
        ask(model, singly[:1])  # loads the weights
    for _ in range(arguments.repeats):
        for name, model in models.items():
            for way, (requests, factor) in ways.items():
                seconds.setdefault((name, way), []).append(factor * ask(model, requests))
    n_tokens = models[PRECISIONS[0]].count_tokens(together)
    print(f"{n_tokens} tokens of prompt and candidates")
    rows = [
        [name, way, f"{statistics.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"]
        for (name, way), values in seconds.items()
    ]
    print(printers.markdown(["weights", "way", "CPU seconds, median", "range"], rows))


if __name__ == "__main__":
    main()
