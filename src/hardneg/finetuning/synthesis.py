"""Every train pair once through a tuned model: a float16 matrix by pair row, made in shards."""

from __future__ import annotations

import io
import json
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
from hardneg.finetuning.template import Template, Tokenised
from hardneg.random import generator
from hardneg.types import Floats, Indices, Progress

VECTORS = "embeddings.npy"
PROJECTION = "projection.safetensors"
SHARDS = "shards"
DONE = "done.json"


class SynthesisConfig(Config):
    """How vectors are written."""

    projection: ProjectionConfig | None = None
    """Make them narrower on the way out; by default they keep the model's width."""
    batch_size: PositiveInt = 64
    """Prompts in memory at once; changes speed and rounding alone."""
    shard_rows: PositiveInt = 8192
    """Pairs between two points that an interrupted run goes on from; a user's pairs are not divided."""
    share_prefix: bool = True
    """Compute instruction and user once a user where the model allows it; changes speed and rounding alone."""


def synthesize(
    writer: AnyEncoder,
    template: Template,
    inputs: PairInputs,
    folder: Path,
    config: SynthesisConfig | None = None,
    *,
    key: str = "",
    progress: Progress | None = None,
) -> Path:
    """Write embeddings.npy, (pairs, width) float16, into `folder` and return its path; open it with mmap_mode="r".

    Rows have unit length (Eq. 12 says nothing of their length) unless projected. A pair without profiles has its
    vector from its embeddings; a pair of which the prompt says nothing is a row of NaN (`Inputs.ledger` counts both).
    A shard is written beside and renamed, then noted in shards/done.json; called again with the same key, only shards
    that are not there are made, and the file is the same to the last bit on one CPU thread. Raises DataError where the
    folder holds shards of another key.
    """
    config = config or SynthesisConfig()
    if (folder / VECTORS).is_file():
        return folder / VECTORS
    job = _Job(writer.eval(), template, inputs, folder, config)
    edges = _edges(inputs, config.shard_rows)
    done = _Done.read(folder / SHARDS, key)
    job.prepare()
    for number, (start, end) in enumerate(pairwise(edges)):
        if not done.has(number):
            done.add(number, job.rows(np.arange(start, end)))
        if progress is not None:
            progress("writing vectors", int(end), len(inputs.pairs))
    return _assembled(folder, [done.path(number) for number in range(len(edges) - 1)])


class _Job:
    """What stays the same from shard to shard."""

    def __init__(
        self, writer: AnyEncoder, template: Template, inputs: PairInputs, folder: Path, config: SynthesisConfig
    ) -> None:
        self._writer, self._inputs, self._config = writer, inputs, config
        self._path = folder / PROJECTION
        self._tokens: Tokenised = template.tokenised(inputs.user_profiles, inputs.item_profiles)
        self._shared = config.share_prefix and shares_prefixes(writer, template)
        self._silent = inputs.silent(template)
        self._projection: Projection | None = None
        self._parts: EncodingCache | None = None
        if isinstance(writer, HardNegativeEncoder) and writer.config.reading == "apart":
            self._parts = EncodingCache(writer, inputs, self._tokens, batch_size=config.batch_size)

    def prepare(self) -> None:
        """Find the projection, or read the one that this folder was begun with."""
        config = self._config.projection
        if config is None:
            return
        if not self._path.is_file():
            beside = self._path.with_suffix(".new")
            self._found(config).save(beside)
            os.replace(beside, self._path)
        self._projection = Projection.read(self._path)

    def rows(self, rows: Indices) -> Floats:
        """Vectors of pair rows as they are kept."""
        found = self._vectors(rows)
        found = found if self._projection is None else self._projection(found)
        found[self._silent[rows]] = np.nan
        return found.astype(np.float16)

    def _vectors(self, rows: Indices) -> Floats:
        size = self._config.batch_size
        given = self._writer, self._inputs, self._tokens, rows
        return encode_pairs(*given, batch_size=size, shared=self._shared, parts=self._parts)

    def _found(self, config: ProjectionConfig) -> Projection:
        if config.kind == "orthogonal":
            return orthogonal(self._writer.width, config.size, seed=config.seed)
        telling = np.flatnonzero(~self._silent)
        drawn = generator(config.seed, "rows of a projection").permutation(telling)[: config.sample]
        return pca(self._vectors(np.sort(drawn)), config.size)


class _Done:
    """The shards that stand, and the key that they belong to."""

    def __init__(self, folder: Path, key: str, numbers: set[int]) -> None:
        self._folder, self._key, self._numbers = folder, key, numbers

    @classmethod
    def read(cls, folder: Path, key: str) -> _Done:
        """What an interrupted run left, if there was one."""
        path = folder / DONE
        folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            return cls(folder, key, set())
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            found_key, numbers = said["key"], {int(number) for number in said["shards"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} cannot be read ({error}); remove {folder} to start again") from None
        if found_key != key:
            raise DataError(f"{folder} holds shards of another model or of other settings; remove it to start again")
        return cls(folder, key, numbers)

    def path(self, number: int) -> Path:
        """A shard's file."""
        return self._folder / f"{number:06d}.npy"

    def has(self, number: int) -> bool:
        """True where a shard stands."""
        return number in self._numbers and self.path(number).is_file()

    def add(self, number: int, vectors: Floats) -> None:
        """Write a shard beside, rename it, and note it."""
        held = io.BytesIO()
        np.save(held, vectors, allow_pickle=False)
        artifacts.replace_file(self.path(number), held.getvalue())
        self._numbers.add(number)
        said = {"key": self._key, "shards": sorted(self._numbers)}
        artifacts.replace_file(self._folder / DONE, (json.dumps(said) + "\n").encode())


def _edges(inputs: PairInputs, shard_rows: int) -> list[int]:
    """Where shards begin and end: about `shard_rows` apart, between users."""
    starts, n = inputs.pairs.starts, len(inputs.pairs)
    wanted = np.arange(0, n, shard_rows)
    begins = starts[np.searchsorted(starts, wanted)]
    return [*np.unique(begins[begins < n]).tolist(), n]


def _assembled(folder: Path, shards: list[Path]) -> Path:
    """One file of all shards, which then go."""
    parts = [np.load(path, mmap_mode="r", allow_pickle=False) for path in shards]
    if not parts:
        raise DataError("there are no train pairs, so there is nothing to write; check the split")
    beside = folder / f".{VECTORS}.new"
    shape = (sum(map(len, parts)), parts[0].shape[1])
    whole = np.lib.format.open_memmap(beside, mode="w+", dtype=np.float16, shape=shape)
    start = 0
    for part in parts:
        whole[start : start + len(part)] = part
        start += len(part)
    whole.flush()
    os.replace(beside, folder / VECTORS)
    shutil.rmtree(folder / SHARDS)
    return folder / VECTORS
