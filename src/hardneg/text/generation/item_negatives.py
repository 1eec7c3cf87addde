"""Generation of hard negatives of items: k products that a customer of the item could take for a substitute."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field, NonNegativeFloat, PositiveInt, create_model

from hardneg.config import Config
from hardneg.data.products import normalise_title
from hardneg.data.row_report import RowReport, report_reasons
from hardneg.data.split import Split
from hardneg.llm.protocol import BadReply, ChatModel, Message, Reply, Request, Task
from hardneg.llm.structured import Structured, reply_parser, strict_schema
from hardneg.llm.untrusted import clean, data_block
from hardneg.text.generation.executor import AnswerFactor, LlmExecutor, explain_missing
from hardneg.text.generation.message_formats import (
    MAX_CHARACTERS,
    NONE_FOUND,
    ItemName,
    PromptTemplate,
    load_prompt,
    parsed_reply,
)
from hardneg.text.generation.negative_generation import closed_list, shown_titles
from hardneg.text.generation.profile_generation import NOT_ANSWERED, clean_all
from hardneg.text.grounding import TitleIndex
from hardneg.text.texts import item_texts
from hardneg.types import Indices

ITEM_PROMPT, ITEM_TITLES_PROMPT = "item_negatives", "item_negative_titles"
"""Prompts for titles in JSON, and for titles of the catalogue, one a line."""
SCHEMA = {"item": pl.Int64, "rank": pl.Int64, "text": pl.String, "reason": pl.String}
"""Columns of named products: item index, number of the product, its title, and the reason why there is none ("" where
there is one). An item without any product has one row."""
RESPECTS = ("other_brand", "simpler", "other_type", "cheaper", "other_size", "older")
"""Keys of a JSON reply: the respect in which a product differs from the item; the first k are requested.

One key for each product, because small models repeat the first entry of a list."""
LINE = "\n"
"""Text between two titles of the catalogue in a reply."""


class ItemNegativesConfig(Config):
    """Number of products that the model names for each item."""

    k: Annotated[int, Field(ge=1, le=len(RESPECTS))] = 3
    """Products of each item, 1 to 6."""
    constrained: bool = False
    """Answers are catalogue titles other than the item's own; only for models that support closed lists."""
    temperature: Annotated[NonNegativeFloat, Field(le=2)] = 0.7
    """Sampling temperature. At 0, small models name the item itself, over and over."""
    longest_title: PositiveInt = 200
    """Maximum characters of a title in a prompt."""
    answer_factor: AnswerFactor = 1.0
    """Factor on the maximum tokens of an answer; a model that thinks before it answers needs more."""


@cache
def reply_schema(k: int) -> str:
    """Return the JSON schema of a reply with k products."""
    fields: dict[str, tuple[type, object]] = dict.fromkeys(RESPECTS[:k], (ItemName, ...))
    doc = "A product for each respect in which it differs from the item."
    return strict_schema(create_model("ItemNegativesReply", __base__=Structured, __doc__=doc, **fields))  # type: ignore[call-overload]


class LenientReply(Structured):
    """An ItemNegativesReply that may lack products."""

    other_brand: str | None = None
    simpler: str | None = None
    other_type: str | None = None
    cheaper: str | None = None
    other_size: str | None = None
    older: str | None = None


@dataclass(frozen=True)
class NamedProducts:
    """Distinct titles that a reply names, in its order, or the reason why there is none."""

    titles: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class ItemNegativesPrompts:
    """Prompts with an instruction, examples and the item's title, or its other texts where it has no title.

    They depend on the item alone: the instruction and the examples are a prefix that all prompts share.
    """

    split: Split
    model: ChatModel
    config: ItemNegativesConfig

    def __len__(self) -> int:
        return self.split.train.n_items

    @cached_property
    def titles(self) -> TitleIndex:
        """Titles from `shown_titles`."""
        return shown_titles(self.split, self.model, self.config)

    @cached_property
    def skip_reasons(self) -> list[str]:
        """Reason why each item has no request, "" where it has one."""
        only = self.config.constrained and len(self.titles.first) < 2
        known = "the catalogue has no other title" if only else ""
        return [known if any(data.values()) else "nothing is known of the item" for data in self._item_data]

    @cached_property
    def prompted_items(self) -> Indices:
        """Items that have a request, ascending."""
        return np.flatnonzero(np.array([not reason for reason in self.skip_reasons], bool))

    def request(self, item: int) -> Request:
        """Return the request about an item."""
        config, prompt = self.config, self._prompt
        messages = prompt.render(item=data_block("item", self._item_data[item]))
        max_tokens = round(prompt.header.answer_tokens * config.answer_factor) * config.k
        messages = (messages[0], *self._examples, *messages[1:])
        if not config.constrained:
            return Request(messages, max_tokens, config.temperature, schema=reply_schema(config.k))
        return Request(
            messages,
            max_tokens,
            config.temperature,
            closed_list=self.closed_list_name,
            excluded=self.own_titles(item),
            n_answers=config.k,
        )

    def parser(self, item: int) -> Callable[[Reply], NamedProducts]:
        """Return the parser of replies about an item, which raises BadReply where no title can be used."""
        markers = self.model.chat_markers
        if self.config.constrained:
            return catalogue_parser(self.titles.exact.__contains__, self.own_titles(item), markers)
        return products_parser(self._prompt.header.answer_words, markers)

    @cached_property
    def closed_list_name(self) -> str:
        """Name of the closed list."""
        return closed_list(self.titles)[0]

    def own_titles(self, item: int) -> tuple[str, ...]:
        """Return the titles of the closed list that are the item's own, with their variants."""
        return self.titles.variants(np.array([item]))

    @cached_property
    def _prompt(self) -> PromptTemplate:
        return load_prompt(ITEM_TITLES_PROMPT if self.config.constrained else ITEM_PROMPT)

    @cached_property
    def _examples(self) -> tuple[Message, ...]:
        """Turns of the chat that show the form of an answer with k products."""
        turns = []
        for example in load_prompt(ITEM_PROMPT).header.examples:
            products = {name: example.products[name] for name in RESPECTS[: self.config.k]}
            answer = LINE.join(products.values()) if self.config.constrained else json.dumps(products)
            (question,) = self._prompt.render(item=data_block("item", {"title": example.title}))[1:]
            turns += [question, Message("assistant", answer)]
        return tuple(turns)

    @cached_property
    def _item_data(self) -> list[dict[str, str]]:
        """Data of each item in a prompt."""
        texts = clean_all(item_texts(self.split.texts), self.model, self.config.longest_title)
        return [
            {"title": title} if title else {"text": text} for title, text in zip(self.titles.texts, texts, strict=True)
        ]


def products_parser(words: int, chat_markers: Sequence[str]) -> Callable[[Reply], NamedProducts]:
    """Return a parser of a JSON reply. words: maximum of a title that the prompt asks for.

    Titles that are equal when normalised count once. A blank, null or far too long title is left out.
    """
    read = reply_parser(LenientReply)

    def parse(reply: Reply) -> NamedProducts:
        titles, reasons = dict[str, str](), list[str]()
        for text in dict(read(reply)).values():
            try:
                answer = parsed_reply(text or "", "", words, chat_markers)
            except BadReply as bad:
                reasons.append(bad.reason)
                continue
            if answer.text:
                titles.setdefault(normalise_title(answer.text) or answer.text, answer.text)
            else:
                reasons.append(answer.reason)
        if not titles and NONE_FOUND not in reasons:
            raise BadReply(f"no product is named: {reasons[0]}")
        return NamedProducts(tuple(titles.values()), "" if titles else NONE_FOUND)

    return parse


def catalogue_parser(
    in_catalogue: Callable[[str], bool], own: Sequence[str], chat_markers: Sequence[str]
) -> Callable[[Reply], NamedProducts]:
    """Return a parser of titles of the closed list, one a line. own: titles of the list that are the item's."""
    excluded = frozenset(own)

    def parse(reply: Reply) -> NamedProducts:
        lines = [clean(line, chat_markers=chat_markers, max_length=MAX_CHARACTERS) for line in reply.text.split(LINE)]
        titles = dict.fromkeys(line for line in lines if in_catalogue(line) and line not in excluded)
        if not titles:
            raise BadReply(f"found {lines[0][:60]!r}, which is no other title of the catalogue")
        return NamedProducts(tuple(titles))

    return parse


DEFAULT = ItemNegativesConfig()


def name_products(
    split: Split, executor: LlmExecutor, model: ChatModel, config: ItemNegativesConfig = DEFAULT
) -> pl.DataFrame:
    """Let the model name up to `config.k` products for every item: columns of SCHEMA."""
    prompts = ItemNegativesPrompts(split, model, config)
    named = [NamedProducts(reason=reason or NOT_ANSWERED) for reason in prompts.skip_reasons]
    for item, products in answer_items(prompts, executor, prompts.prompted_items):
        named[item] = products
    rows = [
        (item, rank, title, products.reason)
        for item, products in enumerate(named)
        for rank, title in enumerate(products.titles[: config.k] or [""])
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def answer_items(
    prompts: ItemNegativesPrompts, executor: LlmExecutor, items: Indices
) -> Iterator[tuple[int, NamedProducts]]:
    """Yield item and named products for each of these items."""
    tasks = (Task(item, prompts.request(item), prompts.parser(item)) for item in items.tolist())
    for answer in executor(tasks, len(items)):
        yield answer.row, answer.value or NamedProducts(reason=explain_missing(answer, "items.answer_factor"))


def report_unnamed(named: pl.DataFrame) -> RowReport:
    """Count items without a product by reason, the most frequent first. named: columns of SCHEMA."""
    missing, remedy = named.filter(pl.col("text") == ""), "their pairs keep a uniform negative; see named.parquet"
    return report_reasons(missing, "item", "named products", "items without any: {reason}", "item {key}", remedy)
