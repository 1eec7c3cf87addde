"""Hard negatives that a language model names, a text or more for every train pair (HNLMRec eq. 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from hardneg.data.row_report import RowIssue, RowReport
from hardneg.data.split import Split
from hardneg.llm.protocol import Reply
from hardneg.llm.tasks import Task
from hardneg.text.generation.executor import LlmExecutor, ModelInfo
from hardneg.text.generation.negative_prompts import ONE_PROMPT, NegativesConfig, PairPrompts
from hardneg.text.generation.profile_generation import NOT_ANSWERED
from hardneg.text.generation.prompt_template import load_prompt
from hardneg.text.generation.reply_parsers import ParsedReply, negative_parser, negatives_parser, title_parser
from hardneg.text.profiles import Profiles
from hardneg.types import Indices

SCHEMA = {"row": pl.Int64, "draw": pl.Int64, "text": pl.String, "reasoning": pl.String, "reason": pl.String}
"""Of the texts: pair row, number of the draw, the text, why it was named, why there is none ("" where there is one)."""

DEFAULT = NegativesConfig()

NegativeAnswer = ParsedReply | str
"""An answer, or the reason why there is none."""


def generate_negatives(
    split: Split, profiles: Profiles, asker: LlmExecutor, view: ModelInfo, config: NegativesConfig = DEFAULT
) -> pl.DataFrame:
    """Have `config.n` negatives named for every train pair; columns of SCHEMA, a row for every pair row and draw.

    Calls come sorted by user. With several pairs a call, what a call left out or answered badly is asked again singly,
    after all the others; "None" is an answer and is not asked again.
    """
    found = NegativeRequests(PairPrompts(split, profiles, view, config), asker).everything()
    return _table(found)


@dataclass(frozen=True)
class NegativeRequests:
    """The questions about train pairs, and their answers."""

    prompts: PairPrompts
    asker: LlmExecutor

    def everything(self) -> list[list[NegativeAnswer]]:
        """Answers by pair row and draw."""
        n = self.prompts.config.n
        found: list[list[NegativeAnswer]] = [[reason or NOT_ANSWERED] * n for reason in self.prompts.reasons]
        groups = self.prompts.groups()
        for row, draw, answer in self.groups(groups):
            found[row][draw] = answer
        together = [(row, draw) for rows in groups if len(rows) > 1 for row in rows.tolist() for draw in range(n)]
        for row, draw, answer in self.singles([at for at in together if isinstance(found[at[0]][at[1]], str)]):
            found[row][draw] = answer
        return found

    def groups(self, groups: list[Indices]) -> Iterator[tuple[int, int, NegativeAnswer]]:
        """Pair row, draw and answer of every pair of these groups, `config.n` draws of each."""
        n = self.prompts.config.n

        def tasks() -> Iterator[Task[list[NegativeAnswer]]]:
            for number, rows in enumerate(groups):
                parse = self._parse_group(rows)
                for draw in range(n):
                    yield Task(number * n + draw, self.prompts.group(rows, draw), parse)

        for answer in self.asker(tasks(), len(groups) * n):
            number, draw = divmod(answer.row, n)
            rows = groups[number].tolist()
            values = [answer.reason] * len(rows) if answer.value is None else answer.value
            yield from ((row, draw, value) for row, value in zip(rows, values, strict=True))

    def singles(self, wanted: list[tuple[int, int]]) -> Iterator[tuple[int, int, NegativeAnswer]]:
        """Pair row, draw and answer of these pair rows and draws, each asked about by itself."""

        def tasks() -> Iterator[Task[ParsedReply]]:
            for number, (row, draw) in enumerate(wanted):
                yield Task(number, self.prompts.single(row, draw), self._parse_single(row))

        for answer in self.asker(tasks(), len(wanted)):
            yield (*wanted[answer.row], answer.reason if answer.value is None else answer.value)

    def _parse_group(self, rows: Indices) -> Callable[[Reply], list[NegativeAnswer]]:
        if len(rows) > 1:
            return negatives_parser(
                len(rows), load_prompt(ONE_PROMPT).head.answer_words, self.prompts.view.chat_markers
            )
        single = self._parse_single(int(rows[0]))
        return lambda reply: [single(reply)]

    def _parse_single(self, row: int) -> Callable[[Reply], ParsedReply]:
        chat_markers = self.prompts.view.chat_markers
        if self.prompts.config.constrained:
            return title_parser(self.prompts.names.exact.__contains__, self.prompts.owned(row), chat_markers)
        return negative_parser(load_prompt(ONE_PROMPT).head.answer_words, chat_markers)


def report_missing(texts: pl.DataFrame) -> RowReport:
    """What is missing among negative texts (a frame of SCHEMA), counted by reason, the most frequent first."""
    grouped = texts.filter(pl.col("text") == "").group_by("reason", maintain_order=True)
    counted = grouped.agg(pl.len(), pl.col("row").first()).sort("len", descending=True, maintain_order=True)
    remedy = "their pairs keep a uniform negative; see rejected.parquet"
    return tuple(
        RowIssue("negative texts", f"without a text: {reason}", count, f"pair row {row}", remedy)
        for reason, count, row in counted.rows()
    )


def _table(found: list[list[NegativeAnswer]]) -> pl.DataFrame:
    rows = []
    for row, draws in enumerate(found):
        for draw, answer in enumerate(draws):
            if isinstance(answer, str):
                rows.append((row, draw, "", "", answer))
            else:
                rows.append((row, draw, answer.text, answer.reasoning, answer.reason))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
