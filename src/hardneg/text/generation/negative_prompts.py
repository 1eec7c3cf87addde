"""What a language model is shown of train pairs when it is to name hard negatives (HNLMRec eq. 4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from hardneg.config import Config
from hardneg.data.split import Split
from hardneg.llm.protocol import Message, Request
from hardneg.llm.untrusted import clean, data_block
from hardneg.text.generation.executor import ModelInfo
from hardneg.text.generation.profile_prompts import titles_or_blank
from hardneg.text.generation.prompt_template import load_prompt
from hardneg.text.generation.reply_parsers import MAX_CHARACTERS, MAX_PAIRS, NegativeReply, NegativesReply, reply_schema
from hardneg.text.profiles import Profiles
from hardneg.text.title_index import TitleIndex
from hardneg.types import Flags, Indices

ONE_PROMPT, SEVERAL_PROMPT, TITLE_PROMPT = "negative", "negatives", "negative_title"


class NegativesConfig(Config):
    """How many negatives are asked for, and in how many calls."""

    n: PositiveInt = 1
    """Negatives a pair, a draw each; the paper's main runs use one."""
    pairs_per_call: Annotated[int, Field(ge=1, le=MAX_PAIRS)] = 1
    """Pairs of one user in one call; the paper asks about each pair by itself. What a call leaves out is asked singly."""
    constrained: bool = False
    """The answer is a title of the catalogue that the user does not have; only for models that decode from closed lists."""
    temperature: Annotated[NonNegativeFloat, Field(le=2)] = 0.0
    """Above 0 where n > 1, else all draws would say the same."""
    longest_title: PositiveInt = 200
    """Characters."""

    @model_validator(mode="after")
    def _fits_together(self) -> NegativesConfig:
        if self.n > 1 and self.temperature == 0:
            raise ValueError(
                f"found n {self.n} with temperature 0, whose draws are all alike; set temperature, say to 0.7"
            )
        if self.constrained and self.pairs_per_call > 1:
            raise ValueError("found constrained with several pairs a call, expected one; set pairs_per_call to 1")
        return self


def shown_titles(split: Split, view: ModelInfo, config: NegativesConfig) -> TitleIndex:
    """Titles of all items as a model is shown them: cleaned, cut, "" where an item has none."""
    titles = titles_or_blank(split.texts)
    return TitleIndex.of(
        [clean(title, chat_markers=view.chat_markers, max_length=config.longest_title) for title in titles]
    )


def closed_list(names: TitleIndex) -> tuple[str, list[str]]:
    """Name and titles of the closed list that constrained answers come from; the model is to be given both beforehand.

    The name is made of the content: another list is another request.
    """
    digest = hashlib.sha256(json.dumps(names.distinct).encode()).hexdigest()
    return f"titles-{digest[:16]}", names.distinct


@dataclass(frozen=True)
class PairPrompts:
    """Eq. 4: the user's profile; the title and profile of the item. The user comes first: equal beginnings meet."""

    split: Split
    profiles: Profiles
    view: ModelInfo
    config: NegativesConfig

    @cached_property
    def names(self) -> TitleIndex:
        """Titles as `shown_titles` has them."""
        return shown_titles(self.split, self.view, self.config)

    @cached_property
    def reasons(self) -> list[str]:
        """Of every pair row, why nothing is asked about it, "" where something is."""
        train = self.split.train
        no_user = np.array([not text for text in self.profiles.users], bool)[train.users]
        nothing = [not name and not text for name, text in zip(self.names.texts, self.profiles.items, strict=True)]
        no_item = np.array(nothing, bool)[train.items]
        full = self._owns_all[train.users] if self.config.constrained else np.zeros(len(train), bool)
        reasons = ["", "the user has no profile", "nothing is known of the item", "the user has every title"]
        which = np.select([no_user, no_item, full], [1, 2, 3], 0)
        return [reasons[number] for number in which.tolist()]

    @cached_property
    def askable(self) -> Indices:
        """Pair rows about which something is asked, ascending: sorted by user."""
        return np.flatnonzero(np.array([not reason for reason in self.reasons], bool))

    def groups(self) -> list[Indices]:
        """Pair rows of each call: up to `pairs_per_call` of one user, in their order."""
        rows = self.askable
        users = self.split.train.users[rows]
        first_of_user = np.searchsorted(users, users)  # place of the user's first row among `rows`
        place = np.arange(len(rows)) - first_of_user
        starts = np.flatnonzero(place % self.config.pairs_per_call == 0)
        return np.split(rows, starts[1:]) if len(rows) else []

    def single(self, row: int, draw: int = 0) -> Request:
        """What is asked about one pair."""
        wording = load_prompt(TITLE_PROMPT if self.config.constrained else ONE_PROMPT)
        user, item = self.split.train.users[row], self.split.train.items[row]
        messages = wording.render(user=self._user_block(user), item=data_block("item", self._item(item)))
        if self.config.constrained:
            owned = self._owned(user)
            return self._request(messages, wording.head.answer_tokens, draw, closed_list=self.catalogue, excluded=owned)
        return self._request(messages, wording.head.answer_tokens, draw, schema=reply_schema(NegativeReply))

    def several(self, rows: Sequence[int] | Indices, draw: int = 0) -> Request:
        """What is asked about several pairs of one user; they are numbered from 1."""
        wording, train = load_prompt(SEVERAL_PROMPT), self.split.train
        items = [{"item": n, **self._item(train.items[row])} for n, row in enumerate(rows, start=1)]
        user = self._user_block(train.users[rows[0]])
        messages = wording.render(user=user, items=data_block("items", {"chosen": items}))
        return self._request(
            messages, wording.head.answer_tokens * len(items), draw, schema=reply_schema(NegativesReply)
        )

    def group(self, rows: Sequence[int] | Indices, draw: int = 0) -> Request:
        """What is asked about a group: one pair by itself, or several."""
        return self.single(int(rows[0]), draw) if len(rows) == 1 else self.several(rows, draw)

    @cached_property
    def catalogue(self) -> str:
        """Name of the closed list."""
        return closed_list(self.names)[0]

    def owned(self, row: int) -> tuple[str, ...]:
        """Titles of the closed list that the pair's user has, and their other spellings."""
        return self._owned(self.split.train.users[row])

    def _owned(self, user: int) -> tuple[str, ...]:
        return self.names.spelt_like(self.split.train.items_of(user))

    @cached_property
    def _owns_all(self) -> Flags:
        """(users,) True where nothing of the closed list is left."""
        train, n_titles = self.split.train, len(self.names.distinct)
        may = train.counts >= len(self.names.first)
        return np.array([may[user] and len(self._owned(user)) >= n_titles for user in range(train.n_users)], bool)

    def _user_block(self, user: int) -> str:
        return data_block("user", {"profile": self._users[user]})

    def _item(self, item: int) -> dict[str, object]:
        parts = {"title": self.names.texts[item], "profile": self._items[item]}
        return {name: text for name, text in parts.items() if text}

    @cached_property
    def _users(self) -> list[str]:
        return [self._cleaned(text, MAX_CHARACTERS) for text in self.profiles.users]

    @cached_property
    def _items(self) -> list[str]:
        return [self._cleaned(text, MAX_CHARACTERS) for text in self.profiles.items]

    def _request(
        self,
        messages: tuple[Message, ...],
        max_tokens: int,
        draw: int,
        *,
        schema: str = "",
        closed_list: str = "",
        excluded: tuple[str, ...] = (),
    ) -> Request:
        return Request(
            messages,
            max_tokens=max_tokens,
            temperature=self.config.temperature,
            schema=schema,
            closed_list=closed_list,
            excluded=excluded,
            draw=draw,
        )

    def _cleaned(self, text: str, longest: int) -> str:
        return clean(text, chat_markers=self.view.chat_markers, max_length=longest)
