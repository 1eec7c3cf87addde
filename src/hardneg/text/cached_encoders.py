"""Text encoders whose requests go through the reply store, rate limits and budget of language models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from hardneg.data.row_report import RowCounter, RowIssue, RowReport
from hardneg.errors import ConfigError, DataError
from hardneg.llm.local.pooling import PooledModel
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.names import address_of
from hardneg.llm.protocol import ChatModel, Refusal, Reply, Request, Usage
from hardneg.llm.remote.embedding import EmbeddingEndpoint
from hardneg.llm.tasks import Task
from hardneg.llm.tokens import estimate_prompt_tokens
from hardneg.llm.vectors import embedded_text, embedding_request, pack_vector, unpack_vector
from hardneg.text.encoders import SentenceEncoder, TextEncoder, distinct_texts, sentence_encoder, spread_vectors
from hardneg.text.generation.executor import LlmExecutor
from hardneg.types import Floats, Progress

CAUSAL = "hf-causal:"
SHOWN_CHARACTERS = 60
Vector = Floats | str
"""A vector, or the reason why there is none."""


class SentenceModel:
    """Adapter that makes a sentence-transformers encoder a ChatModel, so that its vectors are stored like replies."""

    concurrency = 1
    chat_markers: tuple[str, ...] = ()
    context_length: int | None = None

    def __init__(self, inner: SentenceEncoder, *, batch_size: int = 64) -> None:
        self._inner, self.batch_size, self.name = inner, batch_size, inner.name

    @property
    def identity(self) -> str:
        """Identity of the encoder."""
        return self._inner.identity

    def count_tokens(self, request: Request) -> int:
        """Estimate the tokens of a request."""
        return estimate_prompt_tokens(request)

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Encode a batch in a worker thread."""
        vectors = await asyncio.to_thread(self._inner.encode, [embedded_text(request) for request in requests])
        return [
            Reply(pack_vector(vector), Usage(estimate_prompt_tokens(request), 0, estimated=True))
            for vector, request in zip(vectors, requests, strict=True)
        ]


class CachedEncoder:
    """A TextEncoder over an embedding model that is called through an LLM executor.

    model: an EmbeddingEndpoint, a PooledModel or a SentenceModel. A text without a vector becomes a row of NaN, as a
    blank one does, and is listed in `row_report`, which covers the last `encode`.
    """

    def __init__(self, model: ChatModel, executor: LlmExecutor) -> None:
        self._model, self._executor, self.name = model, executor, model.name
        self.row_report: RowReport = ()

    @property
    def identity(self) -> str:
        """Identity of the model."""
        return self._model.identity

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Return (len(texts), size) float32 rows of unit length; each distinct text is requested once.

        Raises DataError where every text is blank, and where no text got a vector.
        """
        distinct = distinct_texts(texts)
        vectors, failures = dict[int, Floats](), dict[int, str]()
        size = None
        tasks = (Task(row, embedding_request(text), _parse_vector) for row, text in enumerate(distinct))
        for done, answer in enumerate(self._executor(tasks, len(distinct)), 1):
            vector = answer.reason if answer.value is None else answer.value
            if isinstance(vector, str):
                failures[answer.row] = vector
            elif size is not None and len(vector) != size:
                failures[answer.row] = f"a vector of {len(vector)} numbers came back, expected {size}"
            else:
                vectors[answer.row], size = vector, len(vector)
            if progress is not None:
                progress(f"encoding with {self.name}", done, len(distinct))
        self.row_report = self._report(distinct, failures)
        if size is None:
            raise DataError(f"no text got a vector ({self.row_report[0].reason}); check the encoder and its endpoint")
        table = np.full((len(distinct), size), np.nan, np.float32)
        for row, vector in vectors.items():
            table[row] = vector
        return spread_vectors(table, distinct, texts)

    def _report(self, texts: Sequence[str], failures: dict[int, str]) -> RowReport:
        counter = RowCounter()
        for row, reason in sorted(failures.items()):
            first = f"{texts[row][:SHOWN_CHARACTERS]!r}"
            remedy = "such texts have no vector; correct them"
            counter.add(RowIssue(f"encoding with {self.name}", reason, 1, first, remedy))
        return counter.row_report


def _parse_vector(reply: Reply) -> Vector:
    """Return the vector of a reply, scaled to unit length, or the reason why there is none.

    Returns the reason instead of raising BadReply, because a repeated request would bring the same reply.
    """
    try:
        vector = unpack_vector(reply.text)
    except ValueError as error:
        return f"the reply is no vector ({error})"
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length == 0:
        return "the vector has no direction"
    return np.asarray(vector / length, np.float32)


def open_encoder(
    name: str,
    *,
    device: str = "cpu",
    key_variable: str = "",
    executor_for: Callable[[ChatModel], LlmExecutor] | None = None,
) -> TextEncoder:
    """Open a text encoder by its name.

    minilm, a folder, a hub name        a sentence-transformers model
    openai:text-embedding-3-small       OpenAI; the key is in OPENAI_API_KEY
    http(s)://HOST/v1#MODEL             any server with /v1/embeddings; key_variable names its key's variable, if any
    hf-causal:NAME@last (or @mean)      hidden states of a causal language model, of a folder or of the hub, pooled

    executor_for: returns an executor (engine, store and limits) for a model, so that equal texts are encoded once
    across runs. Without it only sentence-transformers models can be opened. Raises ConfigError.
    """
    model = _embedding_model(name, device, key_variable)
    if executor_for is None:
        if model is not None:
            raise ConfigError(f"text encoder {model.name!r} needs a store of replies, found none; give one")
        return sentence_encoder(name, device=device)
    model = model or SentenceModel(sentence_encoder(name, device=device))
    return CachedEncoder(model, executor_for(model))


def _embedding_model(name: str, device: str, key_variable: str) -> ChatModel | None:
    """Return the embedding model of a name, None for a sentence-transformers model."""
    address = address_of(name, key_variable)
    if address is not None:
        return EmbeddingEndpoint(address)
    if not name.startswith(CAUSAL):
        return None
    location, _, pooling = name.removeprefix(CAUSAL).partition("@")
    if pooling == "mean":
        return PooledModel(ModelSource(location, device), pooling="mean")
    if pooling not in ("last", ""):
        raise ConfigError(f"found pooling {pooling!r} in {name!r}, expected {CAUSAL}NAME@last or {CAUSAL}NAME@mean")
    return PooledModel(ModelSource(location, device))
