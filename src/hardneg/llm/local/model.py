"""A Hugging Face causal language model in this process as a ChatModel."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from hardneg.llm.local.closed_list import ClosedList, ClosedListConstraint
from hardneg.llm.local.decoding import DecodedText, DecodingJob, decode
from hardneg.llm.local.grammar import Held
from hardneg.llm.local.loaded import LoadedModel
from hardneg.llm.local.scoring import log_probabilities
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.protocol import LlmError, Refusal, Reply, Request, Usage

AnswerFormat = Reply | Refusal


@dataclass(frozen=True)
class _Asked:
    """A request whose prompt fits: its place in the batch and its token ids."""

    place: int
    request: Request
    ids: list[int]


class LocalModel:
    """A causal language model from a folder or by its name on the hub (see `weights.Source`).

    batch_size: requests a call; one call runs at a time. What a reply can be held to: a JSON schema, a closed list
    (`with_closed_list`), or `choices`, whose probabilities are exact. Loading waits until something is asked.
    """

    concurrency = 1

    def __init__(self, source: ModelSource, *, batch_size: int = 8) -> None:
        self._source, self.batch_size = source, batch_size
        self._catalogues: dict[str, ClosedList] = {}
        self._loaded = LoadedModel(source)

    def __repr__(self) -> str:
        return f"LocalModel({self.name!r})"

    @property
    def name(self) -> str:
        """The folder's name, or the name on the hub."""
        return self._source.name

    @cached_property
    def identity(self) -> str:
        """A folder's content hash, or a hub name with its commit; how the weights are held; the closed lists, if any."""
        lists = "".join(f"+{name}={self._catalogues[name].digest}" for name in sorted(self._catalogues))
        return self._source.identity() + lists

    @property
    def context_length(self) -> int | None:
        """As the model's settings say."""
        return self._source.context_length

    @property
    def chat_markers(self) -> tuple[str, ...]:
        """Every added token of the tokenizer."""
        return self._loaded.prompts.chat_markers

    def describe(self) -> str:
        """What it is, for people."""
        source = self._source
        return (
            f"{self.name} on {source.device}, weights as {source.precision}, messages by {self._loaded.prompts.format}"
        )

    def with_closed_list(self, name: str, answers: Sequence[str]) -> LocalModel:
        """The same model that also knows a closed list of answers, by a name for `Request.closed_list`.

        Weights are shared. The list is part of the new model's identity, so that the store cannot take an answer that
        was held to another list. Raises ConfigError for an empty list and for blank answers.
        """
        other = copy.copy(self)
        other.__dict__.pop("identity", None)
        made = ClosedList.of(answers, self._loaded.prompts.encode_text)
        other._catalogues = {**self._catalogues, name: made}
        return other

    def count_tokens(self, request: Request) -> int:
        """Tokens of the prompt, exactly; 0 for a prompt that will be refused."""
        ids = self._loaded.prompts.encode_chat(request.messages)
        return 0 if isinstance(ids, Refusal) else len(ids)

    async def complete(self, requests: Sequence[Request]) -> list[AnswerFormat]:
        """Answer a batch in another thread; a request that cannot be answered is refused alone.

        Raises LlmError for a closed list that the model was not given and for a schema that it cannot be held to.
        """
        return await asyncio.to_thread(self._complete, requests)

    def _complete(self, requests: Sequence[Request]) -> list[AnswerFormat]:
        with self._loaded.lock:
            started = time.perf_counter()
            answers: dict[int, AnswerFormat] = {}
            asked = [self._asked(*numbered, answers) for numbered in enumerate(requests)]
            fit = [one for one in asked if one is not None]
            for choices in dict.fromkeys(one.request.choices for one in fit):
                those = [one for one in fit if one.request.choices == choices]
                self._in_halves(self._score if choices else self._write, those, answers)
            share = (time.perf_counter() - started) / len(requests) if requests else 0.0
        return [_timed(answers[place], share) for place in range(len(requests))]

    def _asked(self, place: int, request: Request, answers: dict[int, AnswerFormat]) -> _Asked | None:
        """The request with its prompt; None, with the refusal in `answers`, where it cannot be asked."""
        ids = self._loaded.prompts.encode_chat(request.messages)
        if isinstance(ids, Refusal):
            answers[place] = ids
            return None
        if self.context_length is not None and len(ids) + request.max_tokens > self.context_length:
            answers[place] = Refusal(
                f"prompt and longest answer ({request.max_tokens} tokens) pass the model's {self.context_length} tokens"
            )
            return None
        return _Asked(place, request, ids)

    def _write(self, asked: list[_Asked]) -> list[AnswerFormat]:
        loaded, jobs = self._loaded, [self._job(one) for one in asked]
        ready = [job for job in jobs if isinstance(job, DecodingJob)]
        made = decode(loaded.model, ready, ends=loaded.ends, pad=loaded.pad) if ready else []
        replies = iter([self._reply(job, written) for job, written in zip(ready, made, strict=True)])
        return [job if isinstance(job, Refusal) else next(replies) for job in jobs]

    def _job(self, one: _Asked) -> DecodingJob | Refusal:
        request = one.request
        seed = hashlib.sha256(f"{request.digest(self.identity)} {request.draw}".encode()).digest()
        job = DecodingJob(one.ids, request.max_tokens, request.temperature, int.from_bytes(seed[:7]))
        if request.closed_list:
            return self._from_list(job, request)
        if request.schema:
            return replace(job, constraint=self._loaded.grammars.held_to(request.schema, job.limit))
        return job

    def _from_list(self, job: DecodingJob, request: Request) -> DecodingJob | Refusal:
        if request.closed_list not in self._catalogues:
            raise LlmError(f"{self.name} knows no list {request.closed_list!r}; give it with with_closed_list")
        closed_list = self._catalogues[request.closed_list]
        walk = closed_list.walk(request.excluded, job.limit)
        if walk.empty:
            return Refusal(f"no answer of the list {request.closed_list!r} is allowed within {job.limit} tokens")
        return replace(job, constraint=ClosedListConstraint(closed_list, walk, self._loaded.ends[0]))

    def _reply(self, job: DecodingJob, written: DecodedText) -> Reply:
        constraint = job.constraint
        if isinstance(constraint, ClosedListConstraint):
            text, finish = constraint.answer, "stop"
        else:
            text = self._loaded.prompts.tokenizer.decode(written.ids, skip_special_tokens=True)
            closed = isinstance(constraint, Held) and constraint.closed
            finish = "length" if not written.ended else "closed" if closed else "stop"
        return Reply(text, Usage(len(job.ids), len(written.ids) + written.ended), finish)

    def _score(self, asked: list[_Asked]) -> list[AnswerFormat]:
        """Probabilities of the choices, equal for all; where one begins another, the answer's end counts as well."""
        loaded, choices = self._loaded, asked[0].request.choices
        labels = [loaded.prompts.encode_text(choice) for choice in choices]
        if not all(labels):
            return [Refusal("a choice is blank, expected words")] * len(asked)
        if any(a is not b and b[: len(a)] == a for a in labels for b in labels):
            labels = [[*label, loaded.ends[0]] for label in labels]
        found = log_probabilities(loaded.model, [one.ids for one in asked], labels, pad=loaded.pad)
        return [
            Reply(choices[row.index(max(row))], Usage(len(one.ids), 1), probabilities=tuple(row))
            for one, row in zip(asked, found.double().softmax(1).tolist(), strict=True)
        ]

    def _in_halves(
        self, work: Callable[[list[_Asked]], list[AnswerFormat]], asked: list[_Asked], answers: dict[int, AnswerFormat]
    ) -> None:
        """Do the work; where it does not fit the device's memory, half of it at a time."""
        from torch import OutOfMemoryError, cuda

        with suppress(OutOfMemoryError):
            answers |= zip((one.place for one in asked), work(asked), strict=True)
            return
        cuda.empty_cache()
        if len(asked) == 1:
            answers[asked[0].place] = Refusal(f"a prompt of {len(asked[0].ids)} tokens passes the device's memory")
            return
        middle = len(asked) // 2
        self._in_halves(work, asked[:middle], answers)
        self._in_halves(work, asked[middle:], answers)


def _timed(answer: AnswerFormat, seconds: float) -> AnswerFormat:
    """The answer with its share of the batch's time."""
    if isinstance(answer, Refusal):
        return answer
    return Reply(answer.text, answer.usage, answer.finish, seconds, answer.probabilities)
