"""Prompts about train pairs that ask a language model for hard negatives (HNLMRec eq. 4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from hardneg.config import Config
from hardneg.data.split import Split
from hardneg.llm.protocol import ChatModel, Request
from hardneg.llm.untrusted import data_block
from hardneg.text.generation.profile_prompts import clean_all, titles_or_blank
from hardneg.text.generation.prompt_template import load_prompt
from hardneg.text.generation.reply_parsers import (
    MAX_CHARACTERS,
    MAX_PAIRS,
    NegativeReply,
    NegativesReply,
    reply_schema,
)
from hardneg.text.profiles import Profiles
from hardneg.text.title_index import TitleIndex
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
