"""Shared by all processes: read the exported data, run the action of each input line, answer with one line of JSON.

Importing this moves standard output to standard error, so that a library's prints cannot get between the answers.
It needs numpy and nothing of hardneg.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

EMBEDDING_SIZE, HOPS, BATCH, LEARNING_RATE, L2, CANDIDATES, K = 64, 3, 2048, 3e-3, 1e-4, 10, 20
PASSES = 10
"""Passes over the pairs in one "epoch" of cornac and implicit, so that their start-up counts less."""

Action = Callable[[], Mapping[str, Any]]
"""Do the work to be timed; return metrics, or "passes" if there was more than one."""


@dataclass(frozen=True)
class Data:
    """Pairs (n, 2) of user and item by part, and random tables (n_users, size), (n_items, size) for the evaluation."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    users: np.ndarray
    items: np.ndarray

    @classmethod
    def read(cls, folder: Path) -> Data:
        return cls(**{name: np.load(folder / f"{name}.npy") for name in cls.__dataclass_fields__})

    @property
    def n_users(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        return len(self.items)

    @property
    def seen(self) -> np.ndarray:
        """Pairs that are masked when ranking for the test pairs: train and validation."""
        return np.concatenate([self.train, self.valid])


def answer(**values: Any) -> None:
    ANSWERS.write(json.dumps(values) + "\n")
    ANSWERS.flush()


def run_actions(actions: Mapping[str, Action], **about: Any) -> None:
    """Describe this process, then run the action of each line until "quit"; seconds are of this process alone."""
    answer(ready=True, **about)
    for line in sys.stdin:
        name = line.strip()
        if name == "quit":
            return
        wall, cpu = time.perf_counter(), time.process_time()
        values = dict(actions[name]())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        passes = values.pop("passes", 1)
        answer(wall=wall / passes, cpu=cpu / passes, **values)


def skip(reason: str) -> None:
    """Report that this process cannot take part, and why; exit."""
    answer(skip=reason)
    sys.exit(0)
