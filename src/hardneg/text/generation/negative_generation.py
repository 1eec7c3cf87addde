"""Generation of hard negatives as texts, one or more per train pair (HNLMRec eq. 4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from hardneg.config import Config
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split
from hardneg.llm.protocol import ChatModel, Reply, Request
from hardneg.llm.tasks import Task
from hardneg.llm.untrusted import data_block
from hardneg.text.generation.executor import LlmExecutor
from hardneg.text.generation.profile_generation import NOT_ANSWERED, clean_all, titles_or_blank
from hardneg.text.generation.prompt_template import load_prompt
from hardneg.text.generation.reply_parsers import (
    MAX_CHARACTERS,
    MAX_PAIRS,
    NegativeReply,
    NegativesReply,
    ParsedReply,
    negative_parser,
    negatives_parser,
    reply_schema,
    title_parser,
)
from hardneg.text.grounding import TitleIndex
from hardneg.text.profiles import Profiles
from hardneg.types import Flags, Indices

ONE_PROMPT, SEVERAL_PROMPT, TITLE_PROMPT = "negative", "negatives", "negative_title"


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

    @model_validator(mode="after")
    def _check_combination(self) -> NegativesConfig:
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"found n {self.n} with temperature 0, whose draws are all equal; set temperature to 0.7")
        if self.constrained and self.pairs_per_call > 1:
            raise ValueError(
                f"found constrained with pairs_per_call {self.pairs_per_call}, expected 1; set pairs_per_call to 1"
            )
        return self


def shown_titles(split: Split, model: ChatModel, config: NegativesConfig) -> TitleIndex:
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
        full = self._owns_all[train.users] if self.config.constrained else np.zeros(len(train), bool)
        reasons = ["", "the user has no profile", "nothing is known of the item", "the user has every title"]
        which = np.select([no_user, no_item, full], [1, 2, 3], 0)
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

    def request_one(self, pair: int, draw: int = 0) -> Request:
        """Return the request about one pair."""
        user, item = self.split.train.users[pair], self.split.train.items[pair]
        blocks = {"user": self._user_block(user), "item": data_block("item", self._item_data(item))}
        if self.config.constrained:
            request = self._request(TITLE_PROMPT, blocks, draw)
            return replace(request, closed_list=self.closed_list_name, excluded=self.owned_titles(user))
        return replace(self._request(ONE_PROMPT, blocks, draw), schema=reply_schema(NegativeReply))

    def request_several(self, pairs: Sequence[int] | Indices, draw: int = 0) -> Request:
        """Return the request about several pairs of one user, numbered from 1."""
        train = self.split.train
        items = [{"item": n, **self._item_data(train.items[pair])} for n, pair in enumerate(pairs, start=1)]
        user = self._user_block(train.users[pairs[0]])
        blocks = {"user": user, "items": data_block("items", {"chosen": items})}
        request = self._request(SEVERAL_PROMPT, blocks, draw, len(items))
        return replace(request, schema=reply_schema(NegativesReply))

    def request_group(self, pairs: Sequence[int] | Indices, draw: int = 0) -> Request:
        """Return the request about a group of one or several pairs."""
        return self.request_one(int(pairs[0]), draw) if len(pairs) == 1 else self.request_several(pairs, draw)

    @cached_property
    def closed_list_name(self) -> str:
        """Name of the closed list."""
        return closed_list(self.titles)[0]

    def owned_titles(self, user: int) -> tuple[str, ...]:
        """Return the titles of the closed list that the user has, with their variants."""
        return self.titles.variants(self.split.train.items_of(user))

    @cached_property
    def _owns_all(self) -> Flags:
        """(users,) True where the user has every title of the closed list."""
        train, n_titles = self.split.train, len(self.titles.distinct)
        candidates = train.counts >= len(self.titles.first)
        owns = [candidates[user] and len(self.owned_titles(user)) >= n_titles for user in range(train.n_users)]
        return np.array(owns, bool)

    def _user_block(self, user: int) -> str:
        return data_block("user", {"profile": self._user_profiles[user]})

    def _item_data(self, item: int) -> dict[str, object]:
        parts = {"title": self.titles.texts[item], "profile": self._item_profiles[item]}
        return {name: text for name, text in parts.items() if text}

    @cached_property
    def _user_profiles(self) -> list[str]:
        return clean_all(self.profiles.users, self.model, MAX_CHARACTERS)

    @cached_property
    def _item_profiles(self) -> list[str]:
        return clean_all(self.profiles.items, self.model, MAX_CHARACTERS)

    def _request(self, prompt_name: str, blocks: Mapping[str, str], draw: int, n_answers: int = 1) -> Request:
        prompt = load_prompt(prompt_name)
        max_tokens = prompt.header.answer_tokens * n_answers
        return Request(prompt.render(**blocks), max_tokens, temperature=self.config.temperature, draw=draw)


SCHEMA = {"row": pl.Int64, "draw": pl.Int64, "text": pl.String, "reasoning": pl.String, "reason": pl.String}
"""Columns of negative texts: pair index, number of the draw, the text, the LLM's reasoning, and the reason why there is
no text ("" where there is one)."""

DEFAULT = NegativesConfig()


def generate_negatives(
    split: Split, profiles: Profiles, executor: LlmExecutor, model: ChatModel, config: NegativesConfig = DEFAULT
) -> pl.DataFrame:
    """Generate `config.n` negatives for every train pair: columns of SCHEMA, one row per pair and draw.

    Requests are sorted by user. With several pairs per call, pairs that a call left out or answered badly are requested
    again, one per call, after all others; "None" is an answer and is final.
    """
    answers = NegativeRequests(PairPrompts(split, profiles, model, config), executor).answer_all()
    rows = [
        (pair, draw, answer.text, answer.reasoning, answer.reason)
        for pair, draws in enumerate(answers)
        for draw, answer in enumerate(draws)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@dataclass(frozen=True)
class NegativeRequests:
    """Requests for negatives of train pairs, sent through an executor."""

    prompts: PairPrompts
    executor: LlmExecutor

    def answer_all(self) -> list[list[ParsedReply]]:
        """Return the answers by pair index and draw."""
        n = self.prompts.config.n
        answers = [[ParsedReply(reason=reason or NOT_ANSWERED)] * n for reason in self.prompts.skip_reasons]
        groups = self.prompts.groups()
        for pair, draw, answer in self.answer_groups(groups):
            answers[pair][draw] = answer
        shared = [(pair, draw) for group in groups if len(group) > 1 for pair in group.tolist() for draw in range(n)]
        follow_ups = [(pair, draw) for pair, draw in shared if not answers[pair][draw].answered]
        for pair, draw, answer in self.answer_singly(follow_ups):
            answers[pair][draw] = answer
        return answers

    def answer_groups(self, groups: list[Indices]) -> Iterator[tuple[int, int, ParsedReply]]:
        """Yield pair index, draw and answer of every pair of these groups, `config.n` draws of each."""
        n = self.prompts.config.n

        def tasks() -> Iterator[Task[list[ParsedReply]]]:
            for number, pairs in enumerate(groups):
                parse = self._group_parser(pairs)
                for draw in range(n):
                    yield Task(number * n + draw, self.prompts.request_group(pairs, draw), parse)

        for answer in self.executor(tasks(), len(groups) * n):
            number, draw = divmod(answer.row, n)
            pairs = groups[number].tolist()
            values = answer.value or [ParsedReply(reason=answer.reason)] * len(pairs)
            yield from ((pair, draw, value) for pair, value in zip(pairs, values, strict=True))

    def answer_singly(self, follow_ups: list[tuple[int, int]]) -> Iterator[tuple[int, int, ParsedReply]]:
        """Yield pair index, draw and answer of these pair indices and draws, with one call for each."""

        def tasks() -> Iterator[Task[ParsedReply]]:
            for number, (pair, draw) in enumerate(follow_ups):
                yield Task(number, self.prompts.request_one(pair, draw), self._single_parser(pair))

        for answer in self.executor(tasks(), len(follow_ups)):
            yield (*follow_ups[answer.row], answer.value or ParsedReply(reason=answer.reason))

    def _group_parser(self, pairs: Indices) -> Callable[[Reply], list[ParsedReply]]:
        if len(pairs) > 1:
            return negatives_parser(
                len(pairs), load_prompt(ONE_PROMPT).header.answer_words, self.prompts.model.chat_markers
            )
        parse = self._single_parser(int(pairs[0]))
        return lambda reply: [parse(reply)]

    def _single_parser(self, pair: int) -> Callable[[Reply], ParsedReply]:
        chat_markers = self.prompts.model.chat_markers
        if self.prompts.config.constrained:
            return title_parser(
                self.prompts.titles.exact.__contains__,
                self.prompts.owned_titles(self.prompts.split.train.users[pair]),
                chat_markers,
            )
        return negative_parser(load_prompt(ONE_PROMPT).header.answer_words, chat_markers)


def report_missing(texts: pl.DataFrame) -> RowReport:
    """Count negatives without a text by reason, the most frequent first. texts: columns of SCHEMA."""
    grouped = texts.filter(pl.col("text") == "").group_by("reason", maintain_order=True)
    counts = grouped.agg(pl.len(), pl.col("row").first()).sort("len", descending=True, maintain_order=True)
    remedy = "their pairs keep a uniform negative; see rejected.parquet"
    return tuple(
        RowIssue("negative texts", f"without a text: {reason}", count, f"pair row {pair}", remedy)
        for reason, count, pair in counts.rows()
    )
