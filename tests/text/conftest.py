"""A rule-based language model, called without the engine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.llm.function_model import FunctionModel

from hardneg.data import Interactions, Split, Vocabulary
from hardneg.llm.protocol import BadReply, Message, Refusal, Request, Task, TaskAnswer


class Rules:
    """An executor over a FunctionModel. again: number of repeated requests after a bad reply."""

    def __init__(self, answer: Callable[[Request], Any], *, again: int = 0) -> None:
        self.model, self.again = FunctionModel(answer, name="rules"), again

    def __call__(self, tasks: Iterable[Task], total: int) -> Iterator[TaskAnswer]:
        with asyncio.Runner() as runner:
            for task in tasks:
                yield self._answer(task, runner)

    def _answer(self, task: Task, runner: asyncio.Runner) -> TaskAnswer:
        request, reason, reply = task.request, "", None
        for attempt in range(1 + self.again):
            reply = runner.run(self.model.complete([request]))[0]
            if isinstance(reply, Refusal):
                return TaskAnswer(task.row, None, reply.reason, None, attempt + 1)
            try:
                return TaskAnswer(task.row, task.parse(reply), "", reply, attempt + 1)
            except BadReply as bad:
                reason = bad.reason
                request = replace(request, messages=(*task.request.messages, Message("user", f"Again. {attempt}")))
        return TaskAnswer(task.row, None, reason, reply, 1 + self.again)


def blocks(request: Request) -> dict[str, Any]:
    """Return the data blocks of a request by name, parsed as JSON."""
    content = request.messages[-1].content
    return {name: json.loads(data) for name, data in re.findall(r"<(\w+)>\n(.*)\n</\1>", content)}


def obedient(request: Request) -> str:
    """Answer each of our prompts in the required format, from the data in the prompt."""
    shown = blocks(request)
    if "items" in shown:
        entries = [
            {"item": entry["item"], "hard_negative_item": f"near {entry['title']}", "reasoning": "close"}
            for entry in shown["items"]["chosen"]
        ]
        return json.dumps({"negatives": entries})
    if "user" in shown and "item" in shown:
        return json.dumps({"hard_negative_item": f"near {shown['item']['title']}", "reasoning": "close"})
    if "user" in shown:
        titles = [entry.get("title", "?") for entry in shown["user"]["chosen"]]
        return json.dumps({"summarization": f"likes {', '.join(titles[:9])}", "reasoning": "chose them"})
    return json.dumps({"summarization": f"for people of {shown['item'].get('title', '?')}", "reasoning": "it says so"})


@pytest.fixture(scope="session")
def rules() -> type[Rules]:
    return Rules


@pytest.fixture(scope="session")
def blocks_of() -> Callable[[Request], dict[str, Any]]:
    return blocks


@pytest.fixture
def good() -> Rules:
    return Rules(obedient)


def make_toy(reviews: list[tuple[int, int, str]] | None = None, titles: list[str] | None = None) -> Split:
    """Three users and five items: user 0 has items 0, 1 and 2, user 1 items 2 and 3, user 2 item 4."""
    train = Interactions.of(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 2, 3, 4]), n_users=3, n_items=5)
    empty = Interactions.of(np.array([], int), np.array([], int), n_users=3, n_items=5)
    ids = Vocabulary(["a", "b", "c"], ["1", "2", "3", "4", "5"])
    names = titles or ["red kettle", "red pan", "green tent", "green stove", "blue mat"]
    texts = pl.DataFrame({"item_id": ids.item_ids, "title": names, "brand": ["Alder", "", "", "", ""]})
    review_table = pl.DataFrame(
        reviews or [], schema={"user": pl.Int64, "item": pl.Int64, "review": pl.String}, orient="row"
    )
    return Split(train, empty, empty, ids, texts, review_table)


@pytest.fixture(scope="session")
def toy() -> Callable[..., Split]:
    return make_toy
