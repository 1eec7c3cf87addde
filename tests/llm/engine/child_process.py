"""A process that sends tasks to the faulty server, for tests that kill it: python -m tests.llm.engine.child_process STORE URL ROWS [first row].

Ends with a line of JSON: row -> [value, reason].
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.llm.engine.clients import Plain, parse

from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.protocol import Message, Request, Task
from hardneg.llm.session import answer_tasks

CONFIG = EngineConfig(timeout=60, first_wait=0.02, retries=8)
RULES = "Answer with a JSON object whose key is answer."


def request(row: int) -> Request:
    """Return the request of a row; every tenth row repeats another's."""
    return Request((Message("system", RULES), Message("user", f"row {row - 1 if row % 10 == 9 else row}")), 20)


def tasks(rows: int, first: int = 0) -> Iterator[Task[str]]:
    """Return tasks from row `first` on, then those before it."""
    return (Task(row, request(row), parse) for row in (*range(first, rows), *range(first)))


def main() -> None:
    path, url, rows, *first = sys.argv[1:]
    with ReplyStore(Path(path)) as store:
        answers = list(answer_tasks(tasks(int(rows), int(first[0]) if first else 0), Plain(url), store, CONFIG))
    assert len({answer.row for answer in answers}) == len(answers)
    sys.stdout.write(json.dumps({answer.row: [answer.value, answer.reason] for answer in answers}) + "\n")


if __name__ == "__main__":
    main()
