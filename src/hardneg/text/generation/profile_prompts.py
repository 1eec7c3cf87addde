"""What a language model is shown of items and users (HNLMRec eq. 2 and 3), and how it is chosen within a token budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Protocol

import numpy as np
import polars as pl
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.split import Split
from hardneg.llm.protocol import Request
from hardneg.llm.untrusted import clean, data_block
from hardneg.text.generation.executor import ModelInfo
from hardneg.text.generation.prompt_template import PromptTemplate, load_prompt
from hardneg.text.generation.reply_parsers import MAX_CHARACTERS, ProfileReply, reply_schema
from hardneg.types import Indices

ITEM_PROMPT, USER_PROMPT = "item_profile", "user_profile"


class ProfilesConfig(Config):
    """How much of the data a prompt shows, and how the model answers.

    Reviews of an item go in longest first, as many as keep the whole prompt within its tokens: short ones ("great!")
    say nothing of taste. Only the first `longest_review` characters of a review count and are shown, so that one wall
    of text cannot take the place of ten customers; reviews equally long by that measure go in the order of the pair
    rows. Items of a user go in by the length of the user's own review, by the same measure, longest first: there the
    user speaks. Items without one come after, those that fewest users chose first, since they tell most of a taste.
    """

    item_prompt_tokens: PositiveInt = 2_000
    """Most tokens of an item's prompt, as the model counts them, instructions included. Fewer where the model's own
    context, if known, leaves less beside the answer."""
    user_prompt_tokens: PositiveInt = 3_000
    """Most tokens of a user's prompt."""
    most_reviews: NonNegativeInt = 20
    """Reviews that an item's prompt may show."""
    most_items: PositiveInt = 30
    """Items that a user's prompt may show."""
    longest_title: PositiveInt = 200
    """Characters; so are the next two."""
    longest_text: PositiveInt = 1_000
    """Of each text of an item but the title: brand, categories, attributes, description."""
    longest_review: PositiveInt = 600
    temperature: Annotated[NonNegativeFloat, Field(le=2)] = 0.0


class PromptSet(Protocol):
    """The prompts of one stage, a row each."""

    def __len__(self) -> int:
        """Rows, those that cannot be asked about included."""
        ...

    def request(self, row: int) -> Request | str:
        """The request of a row, or the reason why nothing is asked about it."""
        ...


@dataclass(frozen=True)
class ItemPrompts:
    """Eq. 2: title, attributes and train reviews of each item."""

    split: Split
    view: ModelInfo
    config: ProfilesConfig

    def __len__(self) -> int:
        return self.split.train.n_items

    def request(self, row: int) -> Request | str:
        """Who would enjoy item `row`?"""
        texts, reviews = self.texts(row), self.reviews.of_owner(row)[: self.config.most_reviews]
        if not texts and not len(reviews):
            return "nothing is known of it"
        shown = [self._cleaned(review, self.config.longest_review) for review in self.reviews.texts[reviews].to_list()]

        def build(n: int) -> Request:
            said = {"reviews": shown[:n]} if n else {}
            return self._request(data_block("item", texts | said))

        found = _largest_within(build, len(shown), self.view, self.config.item_prompt_tokens)
        return "its texts alone pass the token budget" if found is None else found

    def texts(self, item: int) -> dict[str, object]:
        """What the item table says of an item, by column, blank columns left out."""
        longest = {c.TITLE: self.config.longest_title}
        cleaned = {
            name: self._cleaned(values[item], longest.get(name, self.config.longest_text))
            for name, values in self._columns.items()
        }
        return {name: text for name, text in cleaned.items() if text}

    @cached_property
    def reviews(self) -> TextsByOwner:
        """Train reviews by item, as ProfilesConfig orders them."""
        reviews = self.split.reviews
        return TextsByOwner.of(reviews[c.ITEM].to_numpy(), reviews[c.REVIEW], len(self), self.config.longest_review)

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        return {name: self.split.texts[name].to_list() for name in c.TEXT if name in self.split.texts.columns}

    def _cleaned(self, text: str, longest: int) -> str:
        return clean(text, chat_markers=self.view.chat_markers, max_length=longest)

    def _request(self, block: str) -> Request:
        return profile_request(load_prompt(ITEM_PROMPT), self.config, item=block)


@dataclass(frozen=True)
class UserPrompts:
    """Eq. 3: title, profile and the user's own train review of each train item of a user.

    item_profiles: a text an item, "" where there is none.
    """

    split: Split
    item_profiles: Sequence[str]
    view: ModelInfo
    config: ProfilesConfig

    def __len__(self) -> int:
        return self.split.train.n_users

    def request(self, row: int) -> Request | str:
        """What does user `row` like?"""
        shown = [entry for entry in map(self._entry, self.pair_rows(row)) if entry]
        if not shown:
            return "nothing is known of the user's items"

        def build(n: int) -> Request:
            block = data_block("user", {"chosen": shown[:n]})
            return profile_request(load_prompt(USER_PROMPT), self.config, user=block)

        found = _largest_within(build, len(shown), self.view, self.config.user_prompt_tokens, least=1)
        return "the first item alone passes the token budget" if found is None else found

    def pair_rows(self, user: int) -> Indices:
        """The pair rows that the prompt may show, in their order."""
        first, last = self.split.train.starts[user : user + 2]
        return self._order[first:last][: self.config.most_items]

    @cached_property
    def _order(self) -> Indices:
        """(pairs,) pair rows by user, as ProfilesConfig orders them."""
        train = self.split.train
        lengths = np.zeros(len(train), np.int64)
        known = self._review_rows >= 0
        lengths[known] = _lengths(self.split.reviews[c.REVIEW], self.config.longest_review)[self._review_rows[known]]
        chosen_by = np.where(lengths > 0, 0, train.item_counts[train.items])  # asked only where there is no review
        return np.lexsort((train.items, chosen_by, -lengths, train.users))

    @cached_property
    def _review_rows(self) -> Indices:
        """(pairs,) the row of the pair's review, -1 where there is none."""
        train, reviews = self.split.train, self.split.reviews
        users, items = reviews[c.USER].to_numpy(), reviews[c.ITEM].to_numpy()
        of_train = np.flatnonzero(train.contains(users, items))
        rows = np.full(len(train), -1, np.int64)
        rows[np.searchsorted(train.keys, users[of_train] * train.n_items + items[of_train])] = of_train
        return rows

    def _entry(self, pair_row: int) -> dict[str, str]:
        item, row = self.split.train.items[pair_row], int(self._review_rows[pair_row])
        review = self._cleaned(self.split.reviews[c.REVIEW][row], self.config.longest_review) if row >= 0 else ""
        parts = {"title": self._titles[item], "profile": self._profiles[item], "review": review}
        return {name: text for name, text in parts.items() if text}

    @cached_property
    def _titles(self) -> list[str]:
        return [self._cleaned(title, self.config.longest_title) for title in titles_or_blank(self.split.texts)]

    @cached_property
    def _profiles(self) -> list[str]:
        return [self._cleaned(text, MAX_CHARACTERS) for text in self.item_profiles]

    def _cleaned(self, text: str, longest: int) -> str:
        return clean(text, chat_markers=self.view.chat_markers, max_length=longest)


def profile_request(wording: PromptTemplate, config: ProfilesConfig, **blocks: str) -> Request:
    """The request for one profile."""
    return Request(
        wording.render(**blocks),
        max_tokens=wording.head.answer_tokens,
        temperature=config.temperature,
        schema=reply_schema(ProfileReply),
    )


def titles_or_blank(items: pl.DataFrame) -> list[str]:
    """Titles alone: "" where an item has none."""
    return items[c.TITLE].to_list() if c.TITLE in items.columns else [""] * len(items)


@dataclass(frozen=True)
class TextsByOwner:
    """Texts grouped by owner, longest first within each.

    texts: all of them. order: their rows, by owner. starts: (owners + 1,), places in `order`.
    """

    texts: pl.Series
    order: Indices
    starts: Indices

    @classmethod
    def of(cls, owners: Indices, texts: pl.Series, n_owners: int, longest: int) -> TextsByOwner:
        """owners: (texts,) whose text it is. longest: characters that count."""
        order = np.lexsort((np.arange(len(owners)), -_lengths(texts, longest), owners))
        return cls(texts, order, np.searchsorted(owners[order], np.arange(n_owners + 1)))

    def of_owner(self, owner: int) -> Indices:
        """Rows of the owner's texts."""
        return self.order[self.starts[owner] : self.starts[owner + 1]]


def _lengths(texts: pl.Series, longest: int) -> Indices:
    """(texts,) characters without the white space around them, `longest` at most."""
    characters: Indices = texts.str.strip_chars().str.len_chars().cast(pl.Int64).to_numpy()
    return np.minimum(characters, longest)


def _largest_within(
    build: Callable[[int], Request], n: int, view: ModelInfo, tokens: int, least: int = 0
) -> Request | None:
    """build(m) with the largest m of least..n whose prompt keeps within `tokens`; None where none does.

    Where the model's context is known, prompt and longest answer keep within that too.

    Mostly everything fits, which takes one count; else it is found by halving.
    """
    request = build(n)
    if view.context_length is not None:
        tokens = min(tokens, view.context_length - request.max_tokens)
    if view.count_tokens(request) <= tokens:
        return request
    found, low, high = None, least, n - 1
    while low <= high:
        middle = (low + high) // 2
        request = build(middle)
        if view.count_tokens(request) <= tokens:
            found, low = request, middle + 1
        else:
            high = middle - 1
    return found
