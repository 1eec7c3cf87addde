"""Generation of hard negatives as texts, one or more per train pair (HNLMRec eq. 4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated

import numpy as np
import polars as pl
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from hardneg.config import Config
from hardneg.data.row_report import RowReport, report_reasons
from hardneg.data.split import Split
from hardneg.llm.protocol import ChatModel, Reply, Request, Task
from hardneg.llm.structured import strict_schema
from hardneg.llm.untrusted import data_block
from hardneg.text.generation.executor import AnswerFactor, LlmExecutor, explain_missing
from hardneg.text.generation.message_formats import (
    MAX_CHARACTERS,
    MAX_PAIRS,
    NegativeReply,
    NegativesReply,
    ParsedReply,
    load_prompt,
    negatives_parser,
    text_parser,
    title_parser,
)
from hardneg.text.generation.profile_generation import NOT_ANSWERED, clean_all, titles_or_blank
from hardneg.text.grounding import TitleIndex
from hardneg.text.profiles import Profiles
from hardneg.types import Indices

if TYPE_CHECKING:
    from hardneg.text.generation.item_negatives import ItemNegativesConfig

ONE_PROMPT, SEVERAL_PROMPT, TITLE_PROMPT = "negative", "negatives", "negative_title"
SCHEMA = {"row": pl.Int64, "draw": pl.Int64, "text": pl.String, "reasoning": pl.String, "reason": pl.String}
"""Columns of negative texts: pair index, number of the draw, the text, the LLM's reasoning, and the reason why there is
no text ("" where there is one)."""


class NegativesConfig(Config):
    """Number of negatives and of pairs per call."""

    n: PositiveInt = 1
    """Negatives per pair, each a separate draw; the paper's main runs use one."""
    pairs_per_call: Annotated[int, Field(ge=1, le=MAX_PAIRS)] = 1
    """Pairs of one user in one call; the paper uses one. Pairs without an answer are requested again, one per call."""
    constrained: bool = False
    """Answers are catalogue titles that the user does not have; only for models that support closed lists."""
    temperature: Annotated[NonNegativeFloat, Field(le=2)] = 0.0
    """Sampling temperature; above 0 where n > 1, or all draws would be equal."""
    longest_title: PositiveInt = 200
    """Maximum characters of a title in a prompt."""
    answer_factor: AnswerFactor = 1.0
    """Factor on the maximum tokens of an answer; a model that thinks before it answers needs more."""

    @model_validator(mode="after")
    def _check_combination(self) -> NegativesConfig:
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"found n {self.n} with temperature 0, whose draws are all equal; set temperature to 0.7")
        if self.constrained and self.pairs_per_call > 1:
            raise ValueError(
                f"found constrained with pairs_per_call {self.pairs_per_call}, expected 1; set pairs_per_call to 1"
            )
        return self


def shown_titles(split: Split, model: ChatModel, config: NegativesConfig | ItemNegativesConfig) -> TitleIndex:
    """Return the titles of all items as prompts show them: cleaned and truncated, "" where an item has none."""
    return TitleIndex.of(clean_all(titles_or_blank(split.texts), model, config.longest_title))


def closed_list(titles: TitleIndex) -> tuple[str, list[str]]:
    """Return name and titles of the closed list for constrained answers; the model needs both beforehand.

    The name contains a hash of the titles, so that requests over different lists differ.
    """
    digest = hashlib.sha256(json.dumps(titles.distinct).encode()).hexdigest()
    return f"titles-{digest[:16]}", titles.distinct


@dataclass(frozen=True)
class PairPrompts:
    """Prompts with the user's profile and the item's title and profile (eq. 4).

    The user comes first, so that prompts of one user share a prefix.
    """

    split: Split
    profiles: Profiles
    model: ChatModel
    config: NegativesConfig

    @cached_property
    def titles(self) -> TitleIndex:
        """Titles from `shown_titles`."""
        return shown_titles(self.split, self.model, self.config)

    @cached_property
    def skip_reasons(self) -> list[str]:
        """Reason why each pair has no request, "" where it has one."""
        train = self.split.train
        no_user = np.array([not text for text in self.profiles.users], bool)[train.users]
        unknown = [not title and not text for title, text in zip(self.titles.texts, self.profiles.items, strict=True)]
        no_item = np.array(unknown, bool)[train.items]
        owns_all, titles = np.zeros(train.n_users, bool), self.titles  # users who have every title of the closed list
        if self.config.constrained:
            for user in np.flatnonzero(train.counts >= len(titles.first)).tolist():
                owns_all[user] = len(self.owned_titles(user)) >= len(titles.distinct)
        reasons = ["", "the user has no profile", "nothing is known of the item", "the user has every title"]
        which = np.select([no_user, no_item, owns_all[train.users]], [1, 2, 3], 0)
        return [reasons[number] for number in which.tolist()]

    @cached_property
    def prompted_pairs(self) -> Indices:
        """Pair indices that have a request, ascending, hence sorted by user."""
        return np.flatnonzero(np.array([not reason for reason in self.skip_reasons], bool))

    def groups(self) -> list[Indices]:
        """Return the pair indices of each call: up to `pairs_per_call` of one user, in order."""
        pairs = self.prompted_pairs
        users = self.split.train.users[pairs]
        first_of_user = np.searchsorted(users, users)  # position of the user's first pair in `pairs`
        position = np.arange(len(pairs)) - first_of_user
        starts = np.flatnonzero(position % self.config.pairs_per_call == 0)
        return np.split(pairs, starts[1:]) if len(pairs) else []

    def request(self, pairs: Sequence[int] | Indices, draw: int = 0) -> Request:
        """Return the request about pairs of one user; several pairs are numbered from 1."""
        users, items = self.split.train.users, self.split.train.items
        n, user = len(pairs), int(users[pairs[0]])
        entries = [self._item_data(items[pair]) for pair in pairs]
        name = TITLE_PROMPT if self.config.constrained else ONE_PROMPT if n == 1 else SEVERAL_PROMPT
        blocks = {"user": data_block("user", {"profile": self._cleaned.users[user]})}
        if n == 1:
            blocks["item"] = data_block("item", entries[0])
        else:
            numbered = [{"item": number, **entry} for number, entry in enumerate(entries, start=1)]
            blocks["items"] = data_block("items", {"chosen": numbered})
        prompt = load_prompt(name)
        max_tokens = round(prompt.header.answer_tokens * self.config.answer_factor) * n
        request = Request(prompt.render(**blocks), max_tokens, temperature=self.config.temperature, draw=draw)
        if self.config.constrained:
            return replace(request, closed_list=self.closed_list_name, excluded=self.owned_titles(user))
        return replace(request, schema=strict_schema(NegativeReply if n == 1 else NegativesReply))

    def parser(self, pairs: Indices) -> Callable[[Reply], list[ParsedReply]]:
        """Return the parser of replies to the request about these pairs: an answer per pair."""
        words, chat_markers = load_prompt(ONE_PROMPT).header.answer_words, self.model.chat_markers
        if len(pairs) > 1:
            return negatives_parser(len(pairs), words, chat_markers)
        if self.config.constrained:
            owned = self.owned_titles(self.split.train.users[pairs[0]])
            parse = title_parser(self.titles.exact.__contains__, owned, chat_markers)
        else:
            parse = text_parser(NegativeReply, words, chat_markers)
        return lambda reply: [parse(reply)]

    @cached_property
    def closed_list_name(self) -> str:
        """Name of the closed list."""
        return closed_list(self.titles)[0]

    def owned_titles(self, user: int) -> tuple[str, ...]:
        """Return the titles of the closed list that the user has, with their variants."""
        return self.titles.variants(self.split.train.items_of(user))

    def _item_data(self, item: int) -> dict[str, object]:
        parts = {"title": self.titles.texts[item], "profile": self._cleaned.items[item]}
        return {name: text for name, text in parts.items() if text}

    @cached_property
    def _cleaned(self) -> Profiles:
        items, users = (clean_all(p, self.model, MAX_CHARACTERS) for p in (self.profiles.items, self.profiles.users))
        return Profiles(items, users, self.profiles.source)


DEFAULT = NegativesConfig()


def generate_negatives(
    split: Split, profiles: Profiles, executor: LlmExecutor, model: ChatModel, config: NegativesConfig = DEFAULT
) -> pl.DataFrame:
    """Generate `config.n` negatives for every train pair: columns of SCHEMA, one row per pair and draw.

    Requests are sorted by user. With several pairs per call, pairs that a call left out or answered badly are requested
    again, one per call, after all others; "None" is an answer and is final.
    """
    prompts, n = PairPrompts(split, profiles, model, config), config.n
    answers = [[ParsedReply(reason=reason or NOT_ANSWERED)] * n for reason in prompts.skip_reasons]
    groups = prompts.groups()
    for pair, draw, answer in answer_calls(prompts, executor, [(pairs, k) for pairs in groups for k in range(n)]):
        answers[pair][draw] = answer
    shared = (pair for pairs in groups if len(pairs) > 1 for pair in pairs)
    follow_ups = [(np.array([pair]), k) for pair in shared for k in range(n) if not answers[pair][k].answered]
    for pair, draw, answer in answer_calls(prompts, executor, follow_ups):
        answers[pair][draw] = answer
    rows = [
        (pair, draw, answer.text, answer.reasoning, answer.reason)
        for pair, draws in enumerate(answers)
        for draw, answer in enumerate(draws)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def answer_calls(
    prompts: PairPrompts, executor: LlmExecutor, calls: Sequence[tuple[Indices, int]]
) -> Iterator[tuple[int, int, ParsedReply]]:
    """Yield pair index, draw and answer of every pair of these calls, each the pair indices of one user and a draw."""

    def tasks() -> Iterator[Task[list[ParsedReply]]]:
        for number, (pairs, draw) in enumerate(calls):
            yield Task(number, prompts.request(pairs, draw), prompts.parser(pairs))

    for answer in executor(tasks(), len(calls)):
        pairs, draw = calls[answer.row]
        values = answer.value or [ParsedReply(reason=explain_missing(answer, "ask.answer_factor"))] * len(pairs)
        yield from ((pair, draw, value) for pair, value in zip(pairs.tolist(), values, strict=True))


def report_missing(texts: pl.DataFrame) -> RowReport:
    """Count negatives without a text by reason, the most frequent first. texts: columns of SCHEMA."""
    missing, remedy = texts.filter(pl.col("text") == ""), "their pairs keep a uniform negative; see rejected.parquet"
    return report_reasons(missing, "row", "negative texts", "without a text: {reason}", "pair row {key}", remedy)
