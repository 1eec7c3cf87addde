"""Judge by likelihood: how much likelier a language model finds a candidate's title after the titles of the history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from hardneg.config import PerRow, Seed
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.judging.calibration import Calibration, HiddenItems, calibrate, hide_items
from hardneg.judging.judge import Judge, JudgeConfig, JudgeInputs, JudgementIssue, gather_histories
from hardneg.judging.judge_prompts import NO_TITLE, NO_TITLES, clean_titles
from hardneg.judging.llm_judge import JUDGING, LIMIT, count_prompt_tokens
from hardneg.judging.suspects import UserCandidates
from hardneg.llm.protocol import ChatModel, LlmError, Reply, Request, Task, continuation_request, unpack_vector
from hardneg.llm.untrusted import ELLIPSIS
from hardneg.random import generator
from hardneg.text.estimates.cost_estimate import CostEstimate, StageEstimate, combine_errors
from hardneg.text.generation.executor import LlmExecutor
from hardneg.types import Floats, Indices

HEAD, LINE, MARK = "Products bought by one customer:\n", "- {title}\n", "-"
"""The prompt: a heading, a line for each title of the history, and the mark of one more line, which the title follows."""
PROMPT_VERSION = 1
Scored = tuple[Floats, Floats]
"""Scores and probabilities, (users, n) each."""


class TitleLikelihood(JudgeConfig):
    """log p(title | titles of the history) - log p(title) by a language model, calibrated on hidden training items."""

    queries_llm: ClassVar[bool] = True
    kind: Literal["likelihood"] = "likelihood"
    longest_history: PositiveInt = 20
    """Maximum number of titles of a history.

    Training pairs have no times. So the items have one random order for all users, and the first ones are read."""
    longest_title: PositiveInt = 100
    """Maximum characters of a title."""
    normalize: bool = True
    """Divide by -log p(title), which grows with the title's length; the score is the share that the history explains."""
    against: PerRow = 5
    """Number of random unobserved items per hidden training item of the calibration."""
    calibration_users: PositiveInt = 1000
    """Maximum number of users with a hidden item."""
    seed: Seed = 0
    """Seed of the hidden and the random items, and of the order of histories."""

    def build(self, inputs: JudgeInputs) -> Judge:
        """Return the judge. Raises ConfigError without a model, DataError where no user has two items with a title."""
        executor, info = inputs.model(self.kind)
        titles = clean_titles(inputs.split, info.chat_markers, self.longest_title)
        titles = [title.removesuffix(ELLIPSIS) for title in titles]
        return LikelihoodJudge(f"{self.kind} {info.name}", self, inputs.split, titles, executor, inputs.issues)


def likelihood_prompt_digest() -> Mapping[str, str]:
    """Return name and version -> digest of the prompt, for manifests."""
    text = HEAD + LINE + MARK
    return {f"judge likelihood {PROMPT_VERSION}": hashlib.sha256(text.encode()).hexdigest()}


def history_prompt(titles: Sequence[str]) -> str:
    """Return the prompt after these titles of a history."""
    return HEAD + "".join(LINE.format(title=title) for title in titles) + MARK


@dataclass(frozen=True)
class _Rows:
    """Users with histories and candidates; users[k] has history[starts[k]:starts[k + 1]].

    places: (calls, 2) row and column of each candidate to score, ordered by row.
    """

    users: Indices
    starts: Indices
    history: Indices
    candidates: Indices
    places: Indices


@dataclass
class LikelihoodJudge:
    """Scores candidates by a causal language model. One request holds all candidates of a user.

    titles: of all items, cleaned, "" for none. issues: list that gets failed requests and candidates without a score.
    calibration: None before the first call of `judge`, which also sends the requests of the calibration.
    """

    name: str
    config: TitleLikelihood
    split: Split
    titles: Sequence[str]
    executor: LlmExecutor
    issues: list[JudgementIssue]
    calibration: Calibration | None = None
    calibration_notes: dict[str, Any] = field(default_factory=dict)

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """Return the probabilities (users, n), NaN for padding (-1) and for candidates without a score."""
        return self.judge(users, candidates)[1]

    def judge(self, users: Indices, candidates: Indices) -> Scored:
        """Return scores and probabilities; raises DataError where the calibration has no scores."""
        rows = self._candidate_rows(users, candidates)
        if self.calibration is None:
            scores, hidden = self._scores(rows, self._hidden_rows)
            if np.isnan(hidden[:, 0]).all() or np.isnan(hidden[:, 1:]).all():
                raise DataError(
                    "found no score of a hidden or of a random item, expected some for the calibration; see the failures above"
                )
            self.calibration, self.calibration_notes = calibrate(hidden)
        else:
            [scores] = self._scores(rows)
        self._report_missing_titles(rows)
        return scores, np.where(np.isnan(scores), np.nan, self.calibration(scores))

    def requests(self, users: Indices, candidates: Indices) -> tuple[list[Request], list[Request], int]:
        """Return the requests of single titles and of users, those of the calibration included, and the rows to score."""
        blocks = (self._candidate_rows(users, candidates), self._hidden_rows)
        calls = [self._after_history(rows, *call) for rows in blocks for call in _calls(rows)]
        return [self._alone(title) for title in self._distinct_titles(blocks)], calls, len(blocks[0].places)

    def first_requests(self, users: Indices, candidates: Indices, n: int) -> list[Request]:
        """Return the first n requests about users."""
        rows = self._candidate_rows(users, candidates)
        return [self._after_history(rows, *call) for call in islice(_calls(rows), n)]

    def _scores(self, *blocks: _Rows) -> list[Floats]:
        """Return the scores of each block, NaN where there is none, from one run of the executor.

        Failures of the first block, the candidates, become issues.
        """
        titles = self._distinct_titles(blocks)
        calls = [(block, *call) for block, rows in enumerate(blocks) for call in _calls(rows)]
        alone, after = np.full(len(titles), np.nan), [np.full(rows.candidates.shape, np.nan) for rows in blocks]
        failed: dict[str, str] = {}

        def tasks() -> Iterator[Task[Floats]]:
            for number, title in enumerate(titles):
                yield Task(number, self._alone(title), _vector_parser(1))
            for number, (block, row, columns) in enumerate(calls, start=len(titles)):
                yield Task(number, self._after_history(blocks[block], row, columns), _vector_parser(len(columns)))

        for answer in self.executor(tasks(), len(titles) + len(calls)):
            if answer.row < len(titles):
                alone[answer.row] = np.nan if answer.value is None else answer.value[0]
                failed |= {} if answer.value is not None else {titles[answer.row]: answer.reason}
                continue
            block, row, columns = calls[answer.row - len(titles)]
            after[block][row, columns] = np.nan if answer.value is None else answer.value
            if answer.value is None and block == 0:
                self._report(blocks[0], row, columns, answer.reason)
        self._report_failed_titles(blocks[0], after[0], failed)
        return [self._combine(rows, values, titles, alone) for rows, values in zip(blocks, after, strict=True)]

    def _combine(self, rows: _Rows, after: Floats, titles: Sequence[str], alone: Floats) -> Floats:
        number = {title: index for index, title in enumerate(titles)}
        of_item = np.array([alone[number[title]] if title in number else np.nan for title in self.titles])
        base = np.where(rows.candidates >= 0, of_item[rows.candidates], np.nan)
        return (after - base) / -base if self.config.normalize else after - base

    def _after_history(self, rows: _Rows, row: int, columns: Indices) -> Request:
        history = rows.history[rows.starts[row] : rows.starts[row + 1]].tolist()
        items = rows.candidates[row, columns].tolist()
        prompt = history_prompt([self.titles[item] for item in history])
        return continuation_request(prompt, [f" {self.titles[item]}" for item in items])

    def _alone(self, title: str) -> Request:
        return continuation_request(history_prompt([]), [f" {title}"])

    def _distinct_titles(self, blocks: Sequence[_Rows]) -> list[str]:
        items = np.unique(np.concatenate([rows.candidates[tuple(rows.places.T)] for rows in blocks]))
        return sorted({self.titles[item] for item in items.tolist()})

    def _candidate_rows(self, users: Indices, candidates: Indices) -> _Rows:
        return self._rows(users, *gather_histories(self._titled, users), candidates)

    @cached_property
    def _hidden_rows(self) -> _Rows:
        config, owned = self.config, self.split.owned
        hidden: HiddenItems = hide_items(
            self._titled, against=config.against, seed=config.seed, max_users=config.calibration_users, owned=owned
        )
        return self._rows(hidden.users, hidden.starts, hidden.rest, hidden.candidates)

    def _rows(self, users: Indices, starts: Indices, history: Indices, candidates: Indices) -> _Rows:
        """Order histories at random, cut them, and select the candidates to score."""
        owners = np.repeat(np.arange(len(users)), np.diff(starts))
        history = history[np.lexsort((self._places[history], owners))]
        read = np.arange(len(history)) - starts[owners] < self.config.longest_history
        cut = np.concatenate([[0], np.cumsum(np.minimum(np.diff(starts), self.config.longest_history))])
        scored = (candidates >= 0) & self._has_title[candidates] & (np.diff(starts) > 0)[:, None]
        return _Rows(users, cut, history[read], candidates, np.argwhere(scored))

    @cached_property
    def _has_title(self) -> Indices:
        return np.array([bool(title) for title in self.titles])

    @cached_property
    def _titled(self) -> Interactions:
        """Training pairs whose item has a title."""
        train = self.split.train
        there = self._has_title[train.items]
        return Interactions(train.users[there], train.items[there], train.n_users, train.n_items)

    @cached_property
    def _places(self) -> Indices:
        """Place of each item in the order of histories."""
        return generator(self.config.seed, "order of histories").permutation(len(self.titles))

    def _report(self, rows: _Rows, row: int, columns: Indices, reason: str) -> None:
        user, items = int(rows.users[row]), rows.candidates[row, columns].tolist()
        self.issues.extend(JudgementIssue(user, item, reason) for item in items)

    def _report_failed_titles(self, rows: _Rows, after: Floats, failed: Mapping[str, str]) -> None:
        for row, column in rows.places.tolist() if failed else ():
            reason = failed.get(self.titles[rows.candidates[row, column]])
            if reason is not None and not np.isnan(after[row, column]):
                self._report(rows, row, np.array([column]), reason)

    def _report_missing_titles(self, rows: _Rows) -> None:
        untitled = (rows.candidates >= 0) & ~self._has_title[rows.candidates]
        no_history = (rows.candidates >= 0) & ~untitled & (np.diff(rows.starts) == 0)[:, None]
        for lacking, reason in ((untitled, NO_TITLE), (no_history, NO_TITLES)):
            for row in np.flatnonzero(lacking.any(axis=1)).tolist():
                self._report(rows, row, np.flatnonzero(lacking[row]), reason)


def _calls(rows: _Rows) -> Iterator[tuple[int, Indices]]:
    """Yield row and columns of each user with candidates to score."""
    starts = np.flatnonzero(np.diff(rows.places[:, 0], prepend=-1))
    for places in np.split(rows.places, starts[1:]) if len(starts) else ():
        yield int(places[0, 0]), places[:, 1]


def estimate_likelihood(
    judge: LikelihoodJudge, candidates: UserCandidates, model_info: ChatModel, limit: int = LIMIT
) -> CostEstimate:
    """Estimate calls and tokens of judging the candidates, the calibration included; there are no answer tokens."""
    alone, calls, n_candidates = judge.requests(candidates.users, candidates.items)
    counts = [
        count_prompt_tokens(requests.__getitem__, len(requests), model_info, limit) for requests in (alone, calls)
    ]
    error = combine_errors([count.error for count in counts])
    counted, total = sum(count.counted for count in counts), sum(count.total for count in counts)
    return CostEstimate(
        (StageEstimate(JUDGING, n_candidates, counted, len(alone) + len(calls), total, error, 0.0, None),)
    )


def _vector_parser(n: int) -> Callable[[Reply], Floats]:
    """Return a parser of replies with n numbers.

    It raises LlmError for others: a request that asks again would have another prompt, and so other scores.
    """

    def parse(reply: Reply) -> Floats:
        try:
            vector = unpack_vector(reply.text)
        except ValueError:
            vector = np.empty(0)
        if len(vector) != n or not np.isfinite(vector).all():
            raise LlmError(f"found a reply without {n} log-probabilities; use a local model, which scores given texts")
        return vector.astype(float)

    return parse
