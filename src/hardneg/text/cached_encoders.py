"""Text encoders that are asked like language models: through the store, the limits and the budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from hardneg.data.row_report import RowIssue
from hardneg.errors import ConfigError, DataError
from hardneg.llm.local.pooling import PooledModel
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.names import address_of
from hardneg.llm.protocol import ChatModel, Refusal, Reply, Request, Usage
from hardneg.llm.remote.embedding import EmbeddingEndpoint
from hardneg.llm.tasks import Task, TaskAnswer
from hardneg.llm.tokens import estimate_prompt_tokens
from hardneg.llm.vectors import embedded_text, embedding_request, pack_vector, unpack_vector
from hardneg.text.encoders import SentenceEncoder, TextEncoder, sentence_encoder
from hardneg.types import Floats, Progress

CAUSAL = "hf-causal:"
SHOWN = 60
Vector = Floats | str
"""A vector, or why there is none."""
EncoderExecutor = Callable[[Iterable[Task[Vector]], int], Iterator[TaskAnswer[Vector]]]
"""Has tasks answered, given how many there are: `hardneg.llm.engine.scheduler.ask` with its model, store and limits."""


class SentenceModel:
    """A sentence-transformers encoder in the guise of a ChatModel, so that its vectors are stored like any other's."""

    concurrency = 1
    chat_markers: tuple[str, ...] = ()
    context_length: int | None = None

    def __init__(self, inner: SentenceEncoder, *, batch_size: int = 64) -> None:
        self._inner, self.batch_size, self.name = inner, batch_size, inner.name

    @property
    def identity(self) -> str:
        """That of the encoder."""
        return self._inner.identity

    def count_tokens(self, request: Request) -> int:
        """An estimate; nothing is billed by it."""
        return estimate_prompt_tokens(request)

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Encode a batch in another thread."""
        vectors = await asyncio.to_thread(self._inner.encode, [embedded_text(request) for request in requests])
        return [
            Reply(pack_vector(vector), Usage(estimate_prompt_tokens(request), 0, estimated=True))
            for vector, request in zip(vectors, requests, strict=True)
        ]


class CachedEncoder:
    """A TextEncoder over an embedding model that is asked through an engine.

    model: an EmbeddingEndpoint, a PooledModel or a SentenceModel. asker: has its tasks answered. A text that got no
    vector becomes a row of NaN, as a blank one does, and stands in `ledger`, which covers the last `encode`.
    """

    def __init__(self, model: ChatModel, asker: EncoderExecutor) -> None:
        self._model, self._asker = model, asker
        self.row_report: tuple[RowIssue, ...] = ()

    @property
    def name(self) -> str:
        """That of the model."""
        return self._model.name

    @property
    def identity(self) -> str:
        """That of the model."""
        return self._model.identity

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Return (len(texts), size) float32 rows of unit length; each distinct text is asked for once.

        Raises DataError where every text is blank, and where no text at all got a vector.
        """
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        if not distinct:
            raise DataError("every text is blank, so there is nothing to encode; import an item table with texts")
        rows, failed = _Rows(len(distinct)), dict[int, str]()
        tasks = (Task(row, embedding_request(text), _read) for row, text in enumerate(distinct))
        for done, answer in enumerate(self._asker(tasks, len(distinct)), 1):
            problem = rows.put(answer.row, answer.reason if answer.value is None else answer.value)
            if problem:
                failed[answer.row] = problem
            if progress is not None:
                progress(f"encoding with {self.name}", done, len(distinct))
        self.row_report = _ledger(self.name, distinct, failed)
        if rows.vectors is None:
            raise DataError(
                f"no text got a vector ({self.row_report[0].reason}); check the encoder's name and its endpoint"
            )
        places = {text: place for place, text in enumerate(distinct)}
        return rows.vectors[[places.get(text, -1) for text in texts]]


class _Rows:
    """A matrix that takes its width from the first vector; its last row stays NaN."""

    def __init__(self, n: int) -> None:
        self._n = n
        self.vectors: Floats | None = None

    def put(self, row: int, vector: Vector) -> str:
        """Keep a vector; otherwise say why not."""
        if isinstance(vector, str):
            return vector
        if self.vectors is None:
            self.vectors = np.full((self._n + 1, len(vector)), np.nan, np.float32)
        if len(vector) != self.vectors.shape[1]:
            return f"a vector of {len(vector)} numbers came back, expected {self.vectors.shape[1]}"
        self.vectors[row] = vector
        return ""


def _read(reply: Reply) -> Vector:
    """The vector of a reply, of unit length. What is none is said, not raised: asked again, a text stays what it is."""
    try:
        vector = unpack_vector(reply.text)
    except ValueError as error:
        return f"the reply is no vector ({error})"
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length == 0:
        return "the vector has no direction"
    return np.asarray(vector / length, np.float32)


def _ledger(name: str, texts: Sequence[str], failed: dict[int, str]) -> tuple[RowIssue, ...]:
    """An entry for each reason, of the texts that got no vector."""
    entries = []
    for reason in sorted(set(failed.values())):
        rows = sorted(row for row, said in failed.items() if said == reason)
        first = f"{texts[rows[0]][:SHOWN]!r}"
        entries.append(
            RowIssue(f"encoding with {name}", reason, len(rows), first, "such texts have no vector; mend them")
        )
    return tuple(entries)


def open_encoder(
    name: str,
    *,
    device: str = "cpu",
    key_variable: str = "",
    asking: Callable[[ChatModel], EncoderExecutor] | None = None,
) -> TextEncoder:
    """Open a text encoder by its name.

    minilm, a folder, a hub name        a sentence-transformers model
    openai:text-embedding-3-small       OpenAI; the key is in OPENAI_API_KEY
    http(s)://HOST/v1#MODEL             any server with /v1/embeddings; key_variable names its key's variable, if any
    hf-causal:NAME@last (or @mean)      hidden states of a causal language model, of a folder or of the hub, pooled

    asking: binds the engine, its store and its limits to a model; then equal texts are encoded once across runs.
    Without, only sentence-transformers models can be opened: the others cost money or hours. Raises ConfigError.
    """
    model = _model(name, device, key_variable)
    if asking is None:
        if model is not None:
            raise ConfigError(f"text encoder {model.name!r} is asked through a store of replies; give one")
        return sentence_encoder(name, device=device)
    model = model or SentenceModel(sentence_encoder(name, device=device))
    return CachedEncoder(model, asking(model))


def _model(name: str, device: str, key_variable: str) -> ChatModel | None:
    """The embedding model of a name, None where it is a sentence-transformers one."""
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
