"""Generation of hard negatives as texts, one or more per train pair (HNLMRec eq. 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split
from hardneg.llm.protocol import ChatModel, Reply
from hardneg.llm.tasks import Task
from hardneg.text.generation.executor import LlmExecutor
from hardneg.text.generation.negative_prompts import ONE_PROMPT, NegativesConfig, PairPrompts
from hardneg.text.generation.profile_generation import NOT_ANSWERED
from hardneg.text.generation.prompt_template import load_prompt
from hardneg.text.generation.reply_parsers import ParsedReply, negative_parser, negatives_parser, title_parser
from hardneg.text.profiles import Profiles
from hardneg.types import Indices

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
