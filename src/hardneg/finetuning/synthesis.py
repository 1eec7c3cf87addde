"""Synthesis of a hard-negative vector for every training pair: a float16 matrix by pair index, made in shards."""

from __future__ import annotations

import io
import os
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydantic import PositiveInt

from hardneg import artifacts
from hardneg.config import Config
from hardneg.errors import DataError
from hardneg.finetuning.encoding_cache import EncodingCache
from hardneg.finetuning.inference import encode_pairs, shares_prefixes
from hardneg.finetuning.inputs import PairInputs
from hardneg.finetuning.model import HardNegativeEncoder
from hardneg.finetuning.perceptron import AnyEncoder
from hardneg.finetuning.projection import Projection, ProjectionConfig, orthogonal, pca
from hardneg.finetuning.template import Template
from hardneg.random import generator
from hardneg.types import Floats, Indices, Progress

VECTORS = "embeddings.npy"
PROJECTION = "projection.safetensors"
SHARDS = "shards"
SHARDS_KEY = "key.txt"


class SynthesisConfig(Config):
    """Settings of synthesis."""

    projection: ProjectionConfig | None = None
    """Projection to fewer dimensions; by default vectors keep the model's width."""
    batch_size: PositiveInt = 64
    """Prompts in memory at a time; changes only speed and rounding."""
    shard_rows: PositiveInt = 8192
    """Pairs per shard, after which an interrupted run resumes; the pairs of a user are not divided."""
    share_prefix: bool = True
    """Compute instruction and user once per user if the model allows it; changes only speed and rounding."""


def synthesize(
    encoder: AnyEncoder,
    template: Template,
    inputs: PairInputs,
    folder: Path,
    config: SynthesisConfig | None = None,
    *,
    key: str = "",
    progress: Progress | None = None,
) -> Path:
    """Write embeddings.npy, (pairs, width) float16, into `folder` and return its path; open it with mmap_mode="r".

    Rows have unit norm (Eq. 12 does not constrain it) unless projected. A pair without profiles has a vector from its
    embeddings; a pair with an empty prompt has a row of NaN (`PairInputs.row_report` counts both). After an interruption,
    another call with the same key makes only missing shards. On one CPU thread the file is then identical to that of an
    uninterrupted run. Raises DataError if the folder holds shards of another key.
    """
    config = config or SynthesisConfig()
    if (folder / VECTORS).is_file():
        return folder / VECTORS
    synthesis = _Synthesis(encoder.eval(), template, inputs, folder, config)
    edges = _shard_edges(inputs, config.shard_rows)
    shards = _open_shards(folder / SHARDS, key)
    synthesis.prepare_projection()
    paths = [shards / f"{number:06d}.npy" for number in range(len(edges) - 1)]
    for path, (start, end) in zip(paths, pairwise(edges), strict=True):
        if not path.is_file():
            _write_shard(path, synthesis.vectors(np.arange(start, end)))
        if progress is not None:
            progress("synthesizing vectors", int(end), len(inputs.pairs))
    return _concatenate(folder, paths)


class _Synthesis:
    """The parts of synthesis that stay the same from shard to shard."""

    def __init__(
        self, encoder: AnyEncoder, template: Template, inputs: PairInputs, folder: Path, config: SynthesisConfig
    ) -> None:
        self._encoder, self._inputs, self._config = encoder, inputs, config
        self._path = folder / PROJECTION
        self._tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
        self._share_prefixes = config.share_prefix and shares_prefixes(encoder, template)
        self._empty = inputs.has_empty_prompt(template)
        self._projection: Projection | None = None
        self._cache: EncodingCache | None = None
        if isinstance(encoder, HardNegativeEncoder) and encoder.config.reading == "apart":
            self._cache = EncodingCache(encoder, inputs, self._tokens, batch_size=config.batch_size)

    def prepare_projection(self) -> None:
        """Compute the projection, or read the one of an interrupted run."""
        config = self._config.projection
        if config is None:
            return
        if not self._path.is_file():
            temporary = self._path.with_suffix(".new")
            self._compute_projection(config).save(temporary)
            os.replace(temporary, self._path)
        self._projection = Projection.read(self._path)

    def vectors(self, rows: Indices) -> Floats:
        """Return the vectors of pair indices as they are stored."""
        vectors = self._encode(rows)
        vectors = vectors if self._projection is None else self._projection(vectors)
        vectors[self._empty[rows]] = np.nan
        return vectors.astype(np.float16)

    def _encode(self, rows: Indices) -> Floats:
        return encode_pairs(
            self._encoder,
            self._inputs,
            self._tokens,
            rows,
            batch_size=self._config.batch_size,
            share_prefixes=self._share_prefixes,
            cache=self._cache,
        )

    def _compute_projection(self, config: ProjectionConfig) -> Projection:
        if config.kind == "orthogonal":
            return orthogonal(self._encoder.width, config.size, seed=config.seed)
        usable = np.flatnonzero(~self._empty)
        sample = generator(config.seed, "rows of a projection").permutation(usable)[: config.sample]
        return pca(self._encode(np.sort(sample)), config.size)


def _open_shards(folder: Path, key: str) -> Path:
    """Create the folder of shards; raise DataError if it belongs to another key."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SHARDS_KEY
    if not path.is_file():
        artifacts.replace_file(path, key.encode())
    elif path.read_bytes() != key.encode():
        raise DataError(f"{folder} holds shards of another model or of other settings; remove it to start again")
    return folder


def _write_shard(path: Path, vectors: Floats) -> None:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    artifacts.replace_file(path, buffer.getvalue())


def _shard_edges(inputs: PairInputs, shard_rows: int) -> list[int]:
    """Return the boundaries of shards: about `shard_rows` apart, between users."""
    starts, n = inputs.pairs.starts, len(inputs.pairs)
    first_rows = starts[np.searchsorted(starts, np.arange(0, n, shard_rows))]
    return [*np.unique(first_rows[first_rows < n]).tolist(), n]


def _concatenate(folder: Path, paths: list[Path]) -> Path:
    """Write all shards into one file, then remove them."""
    shards = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths]
    if not shards:
        raise DataError("found no train pairs, expected at least one; check the split")
    temporary = folder / f".{VECTORS}.new"
    shape = (sum(map(len, shards)), shards[0].shape[1])
    vectors = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
    start = 0
    for shard in shards:
        vectors[start : start + len(shard)] = shard
        start += len(shard)
    vectors.flush()
    os.replace(temporary, folder / VECTORS)
    shutil.rmtree(folder / SHARDS)
    return folder / VECTORS
