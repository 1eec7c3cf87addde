"""Hugging Face causal language models in this process: their answers, and embeddings from their hidden states."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from hardneg.llm.local.closed_list import ClosedList, ClosedListConstraint
from hardneg.llm.local.continuations import continuation_log_probabilities
from hardneg.llm.local.decoding import decode, supports_cached_rows
from hardneg.llm.local.grammar import SchemaConstraint
from hardneg.llm.local.label_scores import log_probabilities
from hardneg.llm.local.token_choice import DecodedText, DecodingJob
from hardneg.llm.local.weights import LoadedModel, ModelHead, ModelSource
from hardneg.llm.protocol import LlmError, Refusal, Reply, Request, Usage, embedded_text, pack_vector
from hardneg.types import Floats

SEPARATOR = "\n"
"""Text between two answers of a closed list."""
MIN_BATCH, MAX_BATCH = 8, {"cpu": 32, "cuda": 128}
"""Bounds of the default number of requests per call, and the number on other devices than the CPU."""
CALL_PARAMETERS = 12_000_000_000
"""Parameters of the model times requests per call: a call of a larger model takes longer, and is lost if interrupted."""
NOT_SHARED = (
    "its attention has a window or a form of its own, so prompts share no prefix; answers are slower, not others"
)


@dataclass(frozen=True)
class _Prompt:
    """A request whose prompt fits the model, its token ids, and those of its continuations."""

    request: Request
    ids: list[int]
    continuations: list[list[int]] = field(default_factory=list)

    @property
    def n_tokens(self) -> int:
        """Number of tokens that the model reads."""
        return len(self.ids) + sum(map(len, self.continuations))


class _ModelInProcess(ABC):
    """A model that answers one call at a time, in another thread."""

    concurrency = 1

    def __init__(self, source: ModelSource, head: ModelHead) -> None:
        self._source = source
        self._loaded = LoadedModel(source, head)

    @property
    def chat_markers(self) -> tuple[str, ...]:
        """Every added token of the tokenizer."""
        return self._loaded.prompts.chat_markers

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Answer a batch in another thread; a request that cannot be answered is refused on its own.

        Raises LlmError for an unknown closed list and for a schema that cannot be enforced.
        """
        return await asyncio.to_thread(self._complete, requests)

    def load(self) -> None:
        """Load the weights, so that the seconds of the first replies do not include it."""
        with self._loaded.lock:
            _ = self._loaded.model

    def unload(self) -> None:
        """Let go of the weights; the next call loads them again."""
        self._loaded.unload()

    def _complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        with self._loaded.lock:
            started = time.perf_counter()
            answers = self._answer(requests)
            share = (time.perf_counter() - started) / max(len(requests), 1)
        return [answer if isinstance(answer, Refusal) else replace(answer, seconds=share) for answer in answers]

    @abstractmethod
    def _answer(self, requests: Sequence[Request]) -> list[Reply | Refusal]: ...


class LocalModel(_ModelInProcess):
    """A causal language model from a folder or the hub (see `weights.ModelSource`), loaded on first use.

    batch_size: requests per call, by default from the model's size; one call runs at a time. Replies can be constrained
    to a JSON schema or a closed list (`with_closed_list`), or be one of `choices`, whose probabilities are exact. Log-probabilities of given texts
    (`protocol.continuation_request`) are exact as well.
    """

    def __init__(self, source: ModelSource, *, batch_size: int | None = None) -> None:
        super().__init__(source, "language model")
        self._batch_size, self.name = batch_size, source.name
        self.notices: list[str] = []
        self._closed_lists: dict[str, ClosedList] = {}

    @cached_property
    def batch_size(self) -> int:
        """Requests per call: as given, or as many as fit CALL_PARAMETERS, between 8 and 32; 128 on other devices."""
        if self._batch_size is not None:
            return self._batch_size
        if self._source.device != "cpu":
            return MAX_BATCH["cuda"]
        return max(MIN_BATCH, min(MAX_BATCH["cpu"], CALL_PARAMETERS // self._source.n_parameters))

    @cached_property
    def identity(self) -> str:
        """Identity of the source, followed by the digests of the closed lists."""
        lists = "".join(f"+{name}={self._closed_lists[name].digest}" for name in sorted(self._closed_lists))
        return self._source.identity() + lists

    @property
    def context_length(self) -> int | None:
        """Maximum number of tokens by the model's settings."""
        return self._source.context_length

    def describe(self) -> str:
        """Return one line on the model for people."""
        source, messages = self._source, self._loaded.prompts.format
        return f"{self.name} on {source.device}, weights as {source.precision}, messages by {messages}"

    def with_closed_list(self, name: str, answers: Sequence[str]) -> LocalModel:
        """Return this model with a closed list of answers, under a name for `Request.closed_list`.

        Weights are shared. The list is part of the new model's identity, so the store never returns an answer that was
        constrained to another list. Raises ConfigError for an empty list and for blank answers.
        """
        other = copy.copy(self)
        other.__dict__.pop("identity", None)
        closed_list = ClosedList.of(answers, self._loaded.prompts.encode_text)
        other._closed_lists = {**self._closed_lists, name: closed_list}
        return other

    def count_tokens(self, request: Request) -> int:
        """Return the exact number of tokens of the prompt and the continuations; 0 for a request that will be refused."""
        prompt = self._encode(request)
        return 0 if isinstance(prompt, Refusal) else prompt.n_tokens

    def _answer(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        answers: dict[int, Reply | Refusal] = {}
        groups: dict[tuple[str, ...], dict[int, _Prompt]] = {}
        continued: dict[int, _Prompt] = {}
        for index, request in enumerate(requests):
            prompt = self._encode(request)
            if isinstance(prompt, Refusal):
                answers[index] = prompt
            elif request.continuations:
                continued[index] = prompt
            else:
                groups.setdefault(request.choices, {})[index] = prompt
        for choices, prompts in groups.items():
            replies = _answer_in_halves(self._score if choices else self._write, [*prompts.values()])
            answers |= zip(prompts, replies, strict=True)
        if continued:
            answers |= zip(continued, _answer_in_halves(self._continue, [*continued.values()]), strict=True)
        return [answers[index] for index in range(len(requests))]

    def _encode(self, request: Request) -> _Prompt | Refusal:
        """Tokenize prompt and continuations, each continuation alone, so that its tokens do not depend on the prompt."""
        prompts, continuations = self._loaded.prompts, list[list[int]]()
        if request.continuations:
            texts = (embedded_text(request), *request.continuations)
            first, *continuations = [prompts.encode_text(text.encode("utf-8", "ignore").decode()) for text in texts]
            if not first or not all(continuations):
                return Refusal("the prompt or a continuation is blank, expected text")
            ids = [*prompts.start_tokens, *first]
        elif isinstance(chat := prompts.encode_chat(request.messages), Refusal):
            return chat
        else:
            ids = chat
        limit, longest = self.context_length, max([request.max_tokens, *map(len, continuations)])
        if limit is None or len(ids) + longest <= limit:
            return _Prompt(request, ids, continuations)
        return Refusal(
            f"the prompt ({len(ids)} tokens) and its longest answer ({longest} tokens) exceed the model's {limit} tokens"
        )

    def _write(self, prompts: list[_Prompt]) -> list[Reply | Refusal]:
        loaded, jobs = self._loaded, [self._job(prompt) for prompt in prompts]
        if not self.notices and not supports_cached_rows(loaded.model):
            self.notices.append(NOT_SHARED)
        ready = [job for job in jobs if isinstance(job, DecodingJob)]
        texts = iter(
            decode(loaded.model, ready, ends=loaded.ends, pad=loaded.pad, prefixes=loaded.prefixes) if ready else []
        )
        return [
            job if isinstance(job, Refusal) else self._reply(prompt.request, job, next(texts))
            for prompt, job in zip(prompts, jobs, strict=True)
        ]

    def _job(self, prompt: _Prompt) -> DecodingJob | Refusal:
        request, end = prompt.request, self._loaded.ends[0]
        seed = hashlib.sha256(f"{request.digest(self.identity)} {request.draw}".encode()).digest()
        job = DecodingJob(prompt.ids, request.max_tokens, request.temperature, int.from_bytes(seed[:7]))
        if request.closed_list:
            if request.closed_list not in self._closed_lists:
                raise LlmError(f"{self.name} has no closed list {request.closed_list!r}; add it by with_closed_list")
            separator = self._loaded.prompts.encode_text(SEPARATOR)
            constraint = self._closed_lists[request.closed_list].constraint(
                request.excluded, job.limit, end, count=request.n_answers, separator=separator
            )
            if constraint.empty:
                return Refusal(f"no answer of the list {request.closed_list!r} is allowed within {job.limit} tokens")
            return replace(job, constraint=constraint)
        if request.schema:
            return replace(job, constraint=self._loaded.grammars.constraint(request.schema, job.limit))
        return job

    def _reply(self, request: Request, job: DecodingJob, decoded: DecodedText) -> Reply:
        constraint = job.constraint
        if isinstance(constraint, ClosedListConstraint):
            if constraint.answer < 0:
                raise LlmError("an answer of a closed list was cut; report this with the list")
            answers = self._closed_lists[request.closed_list].answers
            text, finish = SEPARATOR.join(answers[index] for index in constraint.answers), "stop"
        else:
            text = self._loaded.prompts.tokenizer.decode(decoded.ids, skip_special_tokens=True)
            closed = isinstance(constraint, SchemaConstraint) and constraint.closed
            finish = "length" if not decoded.ended else "closed" if closed else "stop"
        return Reply(text, Usage(len(job.ids), len(decoded.ids) + decoded.ended), finish)

    def _score(self, prompts: list[_Prompt]) -> list[Reply | Refusal]:
        """Return the probabilities of choices that all prompts share; if one begins another, the end token counts too."""
        loaded, choices = self._loaded, prompts[0].request.choices
        labels = [loaded.prompts.encode_text(choice) for choice in choices]
        if not all(labels):
            return [Refusal("a choice is blank, expected words")] * len(prompts)
        if any(a is not b and b[: len(a)] == a for a in labels for b in labels):
            labels = [[*label, loaded.ends[0]] for label in labels]
        ids = [prompt.ids for prompt in prompts]
        scores = log_probabilities(loaded.model, ids, labels, pad=loaded.pad, prefixes=loaded.prefixes)
        return [
            Reply(choices[row.index(max(row))], Usage(len(prompt.ids), 1), probabilities=tuple(row))
            for prompt, row in zip(prompts, scores.double().softmax(1).tolist(), strict=True)
        ]

    def _continue(self, prompts: list[_Prompt]) -> list[Reply | Refusal]:
        """Return the log-probabilities of continuations; requests with the same prompt share its keys and values."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault(tuple(prompt.ids), []).append(index)
        loaded, scores = self._loaded, dict[int, Floats]()
        for ids, indices in groups.items():
            texts = [tokens for index in indices for tokens in prompts[index].continuations]
            values = continuation_log_probabilities(loaded.model, ids, texts, pad=loaded.pad)
            ends = np.cumsum([len(prompts[index].continuations) for index in indices])
            scores |= zip(indices, np.split(values, ends[:-1]), strict=True)
        return [Reply(pack_vector(scores[index]), Usage(prompt.n_tokens, 0)) for index, prompt in enumerate(prompts)]


def _answer_in_halves(
    answer: Callable[[list[_Prompt]], list[Reply | Refusal]], prompts: list[_Prompt]
) -> list[Reply | Refusal]:
    """Return the answers; where a batch exceeds the device's memory, answer half of it at a time."""
    from torch import OutOfMemoryError, cuda

    with suppress(OutOfMemoryError):
        return answer(prompts)
    cuda.empty_cache()
    if len(prompts) == 1:
        return [Refusal(f"a prompt of {len(prompts[0].ids)} tokens exceeds the device's memory")]
    middle = len(prompts) // 2
    return [*_answer_in_halves(answer, prompts[:middle]), *_answer_in_halves(answer, prompts[middle:])]


HiddenStatePooling = Literal["last", "mean"]


class PooledModel(_ModelInProcess):
    """The last layer of a causal language model, pooled over a text: its last token, or the mean over its tokens.

    Vectors have unit length and the model's hidden size (4,096 in HNLMRec). Texts are tokenized without a chat format,
    with the tokenizer's own start tokens, and cut after `longest` tokens. Files: see `weights.ModelSource`.
    """

    context_length: int | None = None
    """None: longer texts are cut."""

    def __init__(
        self, source: ModelSource, *, pooling: HiddenStatePooling = "last", longest: int = 512, batch_size: int = 16
    ) -> None:
        super().__init__(source, "hidden states")
        self.batch_size = batch_size
        self._pooling, self._max_tokens, self.name = pooling, longest, f"{source.name} ({pooling})"

    @cached_property
    def identity(self) -> str:
        """Identity of the source, the pooling and the maximum number of tokens."""
        return f"{self._source.identity()}:{self._pooling} of {self._max_tokens}"

    def count_tokens(self, request: Request) -> int:
        """Return the exact number of tokens that are encoded."""
        return len(self._ids(request))

    def _answer(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        ids = [self._ids(request) for request in requests]
        filled = [row for row in ids if row]
        vectors = iter(self._encode(filled) if filled else ())
        return [
            Reply(pack_vector(next(vectors)), Usage(len(row), 0)) if row else Refusal("a blank text") for row in ids
        ]

    def _encode(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return unit vectors (rows, hidden size). Padding follows the texts, where a causal model does not see it."""
        import torch

        model, longest = self._loaded.model, max(map(len, rows))
        ids = torch.tensor([[*row, *[row[0]] * (longest - len(row))] for row in rows], device=model.device)
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        mask = torch.arange(longest, device=ids.device) < lengths[:, None]
        with torch.no_grad():
            states = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
        if self._pooling == "last":
            pooled = states[torch.arange(len(rows), device=ids.device), lengths - 1]
        else:
            pooled = (states * mask[:, :, None]).sum(1) / lengths[:, None]
        vectors: Floats = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors

    def _ids(self, request: Request) -> list[int]:
        text = embedded_text(request).encode("utf-8", "ignore").decode()
        ids = self._loaded.prompts.encode_text(text)
        return [*self._loaded.prompts.start_tokens, *ids][: self._max_tokens] if ids else []
