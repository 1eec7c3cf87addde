"""Generation of item and user profiles (HNLMRec eq. 2 and 3): prompts filled with data up to a token budget."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.split import Split
from hardneg.llm.protocol import ChatModel, Request, Task
from hardneg.llm.structured import strict_schema
from hardneg.llm.untrusted import clean, data_block
from hardneg.text.generation.executor import AnswerFactor, LlmExecutor, explain_missing
from hardneg.text.generation.message_formats import (
    MAX_CHARACTERS,
    ParsedReply,
    ProfileReply,
    load_prompt,
    text_parser,
)
from hardneg.text.profiles import Missing, Profiles, ProfileSide
from hardneg.types import Indices

ITEM_PROMPT, USER_PROMPT = "item_profile", "user_profile"
NOT_ANSWERED = "not answered"


class ProfilesConfig(Config):
    """Limits of the data in a prompt, and the sampling temperature.

    An item's reviews are added longest first, as many as fit the token budget, because short ones ("great!") carry
    little preference. Lengths count up to `longest_review` characters, so that one very long text cannot replace ten
    reviews; ties keep the order of pair indices. A user's items are added by the length of the user's own review,
    measured alike, longest first. Items without a review follow, those with the fewest users first, because they are
    the most specific.
    """

    item_prompt_tokens: PositiveInt = 2_000
    """Maximum tokens of an item's prompt, instructions included; also bounded by the model's context, where known."""
    user_prompt_tokens: PositiveInt = 3_000
    """Maximum tokens of a user's prompt."""
    most_reviews: NonNegativeInt = 20
    """Maximum number of reviews in an item's prompt."""
    most_items: PositiveInt = 30
    """Maximum number of items in a user's prompt."""
    longest_title: PositiveInt = 200
    """Maximum characters of a title."""
    longest_text: PositiveInt = 1_000
    """Maximum characters of each of brand, categories, attributes and description."""
    longest_review: PositiveInt = 600
    """Maximum characters of a review."""
    temperature: Annotated[NonNegativeFloat, Field(le=2)] = 0.0
    """Sampling temperature."""
    users: bool = True
    """Write profiles of users as well; without, user profiles are blank and only |V| requests are sent."""
    answer_factor: AnswerFactor = 1.0
    """Factor on the maximum tokens of an answer, from 0.1 on; a model that thinks before it answers needs more, and a small
    one that repeats itself less."""


DEFAULT = ProfilesConfig()


@dataclass(frozen=True)
class ItemPrompts:
    """Prompts with the title, attributes and train reviews of each item (eq. 2)."""

    split: Split
    model: ChatModel
    config: ProfilesConfig
    prompt_name = ITEM_PROMPT

    def __len__(self) -> int:
        return self.split.train.n_items

    def request(self, row: int) -> Request | str:
        """Return the request for the profile of item `row`, or the reason why it has none."""
        order, starts = self._review_order
        texts, review_rows = self._texts(row), order[starts[row] : starts[row + 1]][: self.config.most_reviews]
        if not texts and not len(review_rows):
            return "nothing is known of it"
        reviews = clean_all(self.split.reviews[c.REVIEW][review_rows].to_list(), self.model, self.config.longest_review)

        def block(n: int) -> str:
            return data_block("item", texts | ({"reviews": reviews[:n]} if n else {}))

        request = _largest_request(self, block, range(len(reviews) + 1), self.config.item_prompt_tokens)
        return "its texts alone pass the token budget" if request is None else request

    def _texts(self, item: int) -> dict[str, object]:
        """Return the texts of an item by column, without blank ones."""
        texts = self.split.texts
        longest = {c.TITLE: self.config.longest_title}
        cleaned = {
            name: clean(
                texts[name][item],
                chat_markers=self.model.chat_markers,
                max_length=longest.get(name, self.config.longest_text),
            )
            for name in c.TEXT
            if name in texts.columns
        }
        return {name: text for name, text in cleaned.items() if text}

    @cached_property
    def _review_order(self) -> tuple[Indices, Indices]:
        """Rows of train reviews by item, in the order of ProfilesConfig, and (items + 1,) starts of the items."""
        items = self.split.reviews[c.ITEM].to_numpy()
        order = np.lexsort((-_lengths(self.split.reviews[c.REVIEW], self.config.longest_review), items))
        return order, np.searchsorted(items[order], np.arange(len(self) + 1))


@dataclass(frozen=True)
class UserPrompts:
    """Prompts with the title, profile and the user's own train review of each train item of a user (eq. 3).

    item_profiles: a text per item, "" where there is none.
    """

    split: Split
    item_profiles: Sequence[str]
    model: ChatModel
    config: ProfilesConfig
    prompt_name = USER_PROMPT

    def __len__(self) -> int:
        return self.split.train.n_users

    def request(self, row: int) -> Request | str:
        """Return the request for the profile of user `row`, or the reason why it has none."""
        entries = [entry for entry in map(self._entry, self.shown_pairs(row)) if entry]
        if not entries:
            return "nothing is known of the user's items"

        def block(n: int) -> str:
            return data_block("user", {"chosen": entries[:n]})

        request = _largest_request(self, block, range(1, len(entries) + 1), self.config.user_prompt_tokens)
        return "the first item alone passes the token budget" if request is None else request

    def shown_pairs(self, user: int) -> Indices:
        """Return the pair indices that the user's prompt may show, in their order."""
        first, last = self.split.train.starts[user : user + 2]
        return self._order[first:last][: self.config.most_items]

    @cached_property
    def _order(self) -> Indices:
        """(pairs,) pair indices by user, in the order of ProfilesConfig."""
        train, lengths = self.split.train, _lengths(self._reviews, self.config.longest_review)
        n_users = np.where(lengths > 0, 0, train.item_counts[train.items])  # orders only pairs without a review
        return np.lexsort((train.items, n_users, -lengths, train.users))

    @cached_property
    def _reviews(self) -> pl.Series:
        """(pairs,) review of each pair, "" where there is none."""
        pairs = pl.DataFrame({c.USER: self.split.train.users, c.ITEM: self.split.train.items})
        reviews = self.split.reviews.unique([c.USER, c.ITEM], keep="last")
        return pairs.join(reviews, on=[c.USER, c.ITEM], how="left", maintain_order="left")[c.REVIEW].fill_null("")

    def _entry(self, pair: int) -> dict[str, str]:
        item, markers = self.split.train.items[pair], self.model.chat_markers
        review = clean(self._reviews[int(pair)], chat_markers=markers, max_length=self.config.longest_review)
        parts = {"title": self._titles[item], "profile": self._profiles[item], "review": review}
        return {name: text for name, text in parts.items() if text}

    @cached_property
    def _titles(self) -> list[str]:
        return clean_all(titles_or_blank(self.split.texts), self.model, self.config.longest_title)

    @cached_property
    def _profiles(self) -> list[str]:
        return clean_all(self.item_profiles, self.model, MAX_CHARACTERS)


def clean_all(texts: Sequence[str], model: ChatModel, longest: int) -> list[str]:
    """Return texts that are safe in a prompt, each cut to `longest` characters."""
    return [clean(text, chat_markers=model.chat_markers, max_length=longest) for text in texts]


def titles_or_blank(items: pl.DataFrame) -> list[str]:
    """Return the title of each item, "" where it has none."""
    return items[c.TITLE].to_list() if c.TITLE in items.columns else [""] * len(items)


def _lengths(texts: pl.Series, longest: int) -> Indices:
    """Return (texts,) lengths in characters, at most `longest`, without surrounding white space."""
    characters: Indices = texts.str.strip_chars().str.len_chars().cast(pl.Int64).to_numpy()
    return np.minimum(characters, longest)


def _largest_request(
    prompts: ItemPrompts | UserPrompts, block: Callable[[int], str], sizes: range, tokens: int
) -> Request | None:
    """Return the request with block(n) for the largest n of `sizes` whose prompt has at most `tokens` tokens, or None.

    Prompt and longest answer also fit the model's context, where it is known. Counts once where everything fits, which
    is the usual case, else searches by bisection.
    """
    prompt, model, schema = load_prompt(prompts.prompt_name), prompts.model, strict_schema(ProfileReply)
    side, max_tokens = (
        prompts.prompt_name.partition("_")[0],
        round(prompt.header.answer_tokens * prompts.config.answer_factor),
    )

    def build(n: int) -> Request:
        messages = prompt.render(**{side: block(n)})
        return Request(messages, max_tokens, temperature=prompts.config.temperature, schema=schema)

    if model.context_length is not None:
        tokens = min(tokens, model.context_length - max_tokens)
    request = build(sizes[-1])
    if model.count_tokens(request) <= tokens:
        return request
    n_fitting = bisect_left(sizes[:-1], True, key=lambda n: model.count_tokens(build(n)) > tokens)
    return build(sizes[n_fitting - 1]) if n_fitting else None


def generate_profiles(
    split: Split, executor: LlmExecutor, model: ChatModel, config: ProfilesConfig = DEFAULT
) -> Profiles:
    """Generate a profile of every item, then of every user; users' prompts contain the profiles of their train items.

    Rows without a profile hold "" and are listed in `missing` with the reason. Reads only train pairs, train reviews
    and item texts of the split.
    """
    items = request_profiles(ItemPrompts(split, model, config), executor)
    user_prompts = UserPrompts(split, [answer.text for answer in items], model, config)
    users = request_profiles(user_prompts, executor) if config.users else [ParsedReply()] * len(user_prompts)
    return Profiles(
        [answer.text for answer in items],
        [answer.text for answer in users],
        model.name,
        [answer.reasoning for answer in items],
        [answer.reasoning for answer in users],
        (*_missing("item", items), *_missing("user", users)),
    )


def _missing(side: ProfileSide, answers: list[ParsedReply]) -> Iterator[Missing]:
    return (Missing(side, row, answer.reason) for row, answer in enumerate(answers) if answer.reason)


def request_profiles(
    prompts: ItemPrompts | UserPrompts, executor: LlmExecutor, rows: Sequence[int] | Indices | None = None
) -> list[ParsedReply]:
    """Return the answers of these rows, or of all rows of the prompts.

    Requests are built while the executor consumes them, so that they are never in memory together.
    """
    rows = range(len(prompts)) if rows is None else [int(row) for row in rows]
    answers = {row: ParsedReply(reason=NOT_ANSWERED) for row in rows}
    parse = text_parser(ProfileReply, load_prompt(prompts.prompt_name).header.answer_words, prompts.model.chat_markers)

    def tasks() -> Iterator[Task[ParsedReply]]:
        for row in rows:
            request = prompts.request(row)
            if isinstance(request, str):
                answers[row] = ParsedReply(reason=request)
            else:
                yield Task(row, request, parse)

    for answer in executor(tasks(), len(rows)):
        answers[answer.row] = answer.value or ParsedReply(reason=explain_missing(answer, "answer_factor"))
    return [answers[row] for row in rows]
