"""Synthesis of a hard-negative vector for every training pair: pairs are encoded in shards, what they share once."""

from __future__ import annotations

import copy
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hardneg import storage
from hardneg.config import BatchSize, Config
from hardneg.errors import DataError
from hardneg.finetuning.inputs import (
    PairInputs,
    Template,
    TokenisedPrompts,
    float_tensor,
    pad_ids,
    prompt_batch,
    prompt_lengths,
)
from hardneg.finetuning.late_interaction import EncodedSide, encode_side, join_sides
from hardneg.finetuning.linear_maps import Projection, ProjectionConfig, orthogonal, pca
from hardneg.finetuning.model import AnyEncoder, HardNegativeEncoder, last_states
from hardneg.random import generator
from hardneg.types import Flags, Floats, Indices, Progress

VECTORS = "embeddings.npy"
PROJECTION = "projection.safetensors"
SHARDS = "shards"
SHARDS_KEY = "key.txt"


class SynthesisConfig(Config):
    """Settings of synthesis."""

    projection: ProjectionConfig | None = None
    """Projection to fewer dimensions; by default vectors keep the model's width."""
    batch_size: BatchSize = 64
    """Prompts in memory at a time; changes only speed and rounding."""
    shard_rows: BatchSize = 8192
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
        shutil.rmtree(folder / SHARDS, ignore_errors=True)  # the process was killed before it removed them
        return folder / VECTORS
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    cache = None
    if isinstance(encoder, HardNegativeEncoder) and encoder.config.reading == "apart":
        cache = EncodingCache(encoder, inputs, tokens, batch_size=config.batch_size)
    encode = partial(
        encode_pairs,
        encoder.eval(),
        inputs,
        tokens,
        batch_size=config.batch_size,
        share_prefixes=config.share_prefix and shares_prefixes(encoder, template),
        cache=cache,
    )
    empty = inputs.has_empty_prompt(template)
    edges = _shard_edges(inputs, config.shard_rows)
    shards = _open_shards(folder / SHARDS, key)
    projection = None
    if config.projection is not None:
        projection = _open_projection(folder / PROJECTION, config.projection, encode, encoder.width, empty)
    paths = [shards / f"{number:06d}.npy" for number in range(len(edges) - 1)]
    for path, (start, end) in zip(paths, pairwise(edges), strict=True):
        if not path.is_file():
            vectors = encode(np.arange(start, end))
            vectors = vectors if projection is None else projection(vectors)
            vectors[empty[start:end]] = np.nan
            _write_shard(path, vectors.astype(np.float16))
        if progress is not None:
            progress("synthesizing vectors", int(end), len(inputs.pairs))
    return _concatenate(folder, paths)


def _open_projection(
    path: Path, config: ProjectionConfig, encode: Callable[[Indices], Floats], width: int, empty: Flags
) -> Projection:
    """Compute the projection, or read the one of an interrupted run."""
    if not path.is_file():
        if config.kind == "orthogonal":
            projection = orthogonal(width, config.size, seed=config.seed)
        else:
            sample = generator(config.seed, "rows of a projection").permutation(np.flatnonzero(~empty))
            projection = pca(encode(np.sort(sample[: config.sample])), config.size)
        with storage.replacing(path) as new:
            projection.save(new)
    return Projection.read(path)


def _open_shards(folder: Path, key: str) -> Path:
    """Create the folder of shards; raise DataError if it belongs to another key."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SHARDS_KEY
    if not path.is_file():
        storage.replace_file(path, key.encode())
    elif path.read_bytes() != key.encode():
        raise DataError(f"{folder} holds shards of another model or of other settings; remove it to start again")
    return folder


def _write_shard(path: Path, vectors: Floats) -> None:
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    storage.replace_file(path, buffer.getvalue())


def _shard_edges(inputs: PairInputs, shard_rows: int) -> list[int]:
    """Return the boundaries of shards: about `shard_rows` apart, between users."""
    starts, n = inputs.pairs.starts, len(inputs.pairs)
    first_rows = starts[np.searchsorted(starts, np.arange(0, n, shard_rows))]
    return [*np.unique(first_rows[first_rows < n]).tolist(), n]


def _concatenate(folder: Path, paths: list[Path]) -> Path:
    """Write all shards into one file, then remove them."""
    shards = [storage.read_array(path) for path in paths]
    if not shards:
        raise DataError("found no train pairs, expected at least one; check the split")
    shape = (sum(map(len, shards)), shards[0].shape[1])
    with storage.replacing(folder / VECTORS) as new, new.open("wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for shard in shards:
            file.write(shard.tobytes())
    shutil.rmtree(folder / SHARDS)
    return folder / VECTORS


GROUP_BATCHES = 4
"""Batches whose prefixes are in memory at a time, so that suffixes of similar length can be batched."""
USER_BATCHES = 16
"""Batches of users whose encodings for late interaction are in memory at a time."""
MAX_CACHE_BYTES = 4 * 2**30
"""Maximum size of the cached item encodings; those of a larger catalogue are computed again for every shard."""
EncodedRows = Iterator[tuple[Indices, Tensor]]
"""Positions in the requested rows, and their vectors."""


def encode_pairs(
    encoder: AnyEncoder,
    inputs: PairInputs,
    tokens: TokenisedPrompts,
    rows: Indices,
    *,
    batch_size: int,
    share_prefixes: bool,
    cache: EncodingCache | None = None,
) -> Floats:
    """Return (len(rows), width) float32 unit vectors, one per pair index.

    share_prefixes: compute the prefix (instruction and user) once per user, and only the item's part for every pair. This
    requires `shares_prefixes`; the vectors are equal within rounding. cache: for late interaction, reused across calls.
    """
    vectors = np.empty((len(rows), encoder.width), np.float32)
    if share_prefixes and isinstance(encoder, HardNegativeEncoder) and encoder.config.reading == "apart":
        batches = (cache or EncodingCache(encoder, inputs, tokens, batch_size=batch_size)).vectors(rows)
    elif share_prefixes and isinstance(encoder, HardNegativeEncoder):
        batches = _encode_by_user(encoder, inputs, tokens, rows, batch_size)
    else:
        batches = _encode_prompts(encoder, inputs, tokens, rows, batch_size)
    for positions, batch in batches:
        vectors[positions] = torch.nn.functional.normalize(batch, dim=1).cpu().numpy()
    return vectors


def shares_prefixes(encoder: AnyEncoder, template: Template) -> bool:
    """Return True if the prefix of a user can be computed once for all pairs.

    That holds for late interaction, and for a decoder that is pooled at its last token and attends to whole prompts.
    """
    if not isinstance(encoder, HardNegativeEncoder):
        return False
    if encoder.config.reading == "apart":
        return True
    window = getattr(encoder.inner.config.get_text_config(), "sliding_window", None)
    return encoder.decoder and encoder.pooling == "last" and (window is None or template.longest <= window)


def _encode_prompts(
    encoder: AnyEncoder, inputs: PairInputs, tokens: TokenisedPrompts, rows: Indices, batch_size: int
) -> EncodedRows:
    order = np.argsort(prompt_lengths(inputs, tokens, rows), kind="stable")
    for start in range(0, len(order), batch_size):
        positions = order[start : start + batch_size]
        with torch.inference_mode():
            yield positions, encoder(prompt_batch(inputs, tokens, rows[positions], encoder.device))


def _encode_by_user(
    encoder: HardNegativeEncoder, inputs: PairInputs, tokens: TokenisedPrompts, rows: Indices, batch_size: int
) -> EncodedRows:
    """Encode groups of users with prefixes of similar length; within a group, suffixes sorted by length."""
    for group in _group_users(inputs, tokens, rows, batch_size * GROUP_BATCHES):
        users = np.unique(inputs.pairs.users[rows[group]])
        prefixes = _Prefixes(encoder, inputs, tokens, users)
        order = group[np.argsort(tokens.suffix_lengths[inputs.pairs.items[rows[group]]], kind="stable")]
        for start in range(0, len(order), batch_size):
            positions = order[start : start + batch_size]
            yield positions, prefixes.continue_with(rows[positions])


def _group_users(inputs: PairInputs, tokens: TokenisedPrompts, rows: Indices, max_size: int) -> Iterator[Indices]:
    """Yield positions in `rows`: all pairs of some users, at most `max_size` unless a single user has more."""
    users = inputs.pairs.users[rows]
    order = np.lexsort((np.arange(len(rows)), users, tokens.prefix_lengths[users]))
    firsts = np.flatnonzero(np.diff(users[order], prepend=-1))
    start = 0
    for first, end in zip(firsts, [*firsts[1:], len(order)], strict=True):
        if end - start > max_size and first > start:
            yield order[start:first]
            start = int(first)
    if start < len(order):
        yield order[start:]


class _Prefixes:
    """Keys and values of the prefixes of some users."""

    def __init__(
        self, encoder: HardNegativeEncoder, inputs: PairInputs, tokens: TokenisedPrompts, users: Indices
    ) -> None:
        from transformers import DynamicCache

        self._encoder, self._inputs, self._tokens, self._users = encoder, inputs, tokens, users
        ids, self._lengths = pad_ids([tokens.prefixes[user] for user in users.tolist()], encoder.device)
        self._mask = torch.arange(ids.shape[1], device=ids.device) < self._lengths[:, None]
        self._cache = DynamicCache()
        with torch.inference_mode(), encoder.autocast():
            encoder.inner(
                inputs_embeds=encoder.embed(ids, float_tensor(inputs.users[users], encoder.device), None),
                attention_mask=self._mask.long(),
                past_key_values=self._cache,
                use_cache=True,
            )

    def continue_with(self, rows: Indices) -> Tensor:
        """Return (len(rows), width): the last token's state of each pair's prompt."""
        encoder, pairs = self._encoder, self._inputs.pairs
        items = pairs.items[rows]
        ids, lengths = pad_ids([self._tokens.suffixes[item] for item in items.tolist()], encoder.device)
        prefixes = torch.from_numpy(np.searchsorted(self._users, pairs.users[rows])).to(encoder.device)
        steps = torch.arange(ids.shape[1], device=encoder.device)
        selected = copy.copy(self._cache)
        selected.layers = [copy.copy(layer) for layer in self._cache.layers]
        selected.batch_select_indices(prefixes)  # allocates new tensors
        with torch.inference_mode(), encoder.autocast():
            states = encoder.inner(
                inputs_embeds=encoder.embed(ids, None, float_tensor(self._inputs.items[items], encoder.device)),
                attention_mask=torch.cat([self._mask[prefixes], steps < lengths[:, None]], dim=1).long(),
                position_ids=self._lengths[prefixes][:, None] + steps,  # padding of a short prefix takes no positions
                past_key_values=selected,
                use_cache=True,
            ).last_hidden_state.float()
        return last_states(states, lengths)


class EncodingCache:
    """Encodes users and items for late interaction: users one group at a time, items once if the catalogue fits."""

    def __init__(
        self, encoder: HardNegativeEncoder, inputs: PairInputs, tokens: TokenisedPrompts, *, batch_size: int
    ) -> None:
        self._encoder, self._inputs, self._tokens, self._batch_size = encoder, inputs, tokens, batch_size
        longest = int(tokens.suffix_lengths.max(initial=1))
        self._fits = len(tokens.suffixes) * longest * encoder.width * 4 <= MAX_CACHE_BYTES
        self._all_items: EncodedSide | None = None

    def vectors(self, rows: Indices) -> EncodedRows:
        """Yield positions in `rows` with the vectors of these pairs."""
        users, items = self._inputs.pairs.users[rows], self._inputs.pairs.items[rows]
        suffixes, item_at = self._encode_items(items)
        distinct, user_at = np.unique(users, return_inverse=True)
        for start in range(0, len(distinct), self._batch_size * USER_BATCHES):
            group = distinct[start : start + self._batch_size * USER_BATCHES]
            prefixes = self._encode(self._tokens.prefixes, self._inputs.users, group, users=True)
            positions = np.flatnonzero((user_at >= start) & (user_at < start + len(group)))
            for part in np.array_split(positions, max(len(positions) // (self._batch_size * 4), 1)):
                indices = (user_at[part] - start, item_at[part])
                user_index, item_index = (torch.from_numpy(index).to(self._encoder.device) for index in indices)
                with torch.inference_mode(), self._encoder.autocast():
                    yield part, join_sides(self._encoder, prefixes.at(user_index), suffixes.at(item_index)).float()

    def _encode_items(self, items: Indices) -> tuple[EncodedSide, Indices]:
        """Return encodings that include the items, and the position of each item in them."""
        if self._fits:
            if self._all_items is None:
                every = np.arange(len(self._tokens.suffixes))
                self._all_items = self._encode(self._tokens.suffixes, self._inputs.items, every, users=False)
            return self._all_items, items
        distinct, positions = np.unique(items, return_inverse=True)
        return self._encode(self._tokens.suffixes, self._inputs.items, distinct, users=False), np.asarray(positions)

    def _encode(self, prompts: Sequence[Sequence[int]], table: Floats, index: Indices, *, users: bool) -> EncodedSide:
        """Encode users or items in batches of similar length; keys and values as float16."""
        lengths = np.array([len(prompts[i]) for i in index.tolist()])
        shape, device = (len(index), int(lengths.max()), self._encoder.width), self._encoder.device
        keys, values = (torch.zeros(shape, dtype=torch.float16, device=device) for _ in range(2))
        ends = torch.zeros((shape[0], shape[2]), device=device)
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            ids, batch_lengths = pad_ids([prompts[i] for i in index[batch].tolist()], device)
            embeddings = float_tensor(table[index[batch]], device)
            sides = (embeddings, None) if users else (None, embeddings)
            with torch.inference_mode(), self._encoder.autocast():
                side = encode_side(self._encoder, ids, batch_lengths, *sides)
            positions, longest = torch.from_numpy(batch).to(device), ids.shape[1]
            keys[positions, :longest], values[positions, :longest] = side.keys.half(), side.values.half()
            ends[positions] = side.ends.float()
        present = torch.arange(shape[1], device=device) < torch.from_numpy(lengths).to(device)[:, None]
        return EncodedSide(keys, values, present, ends)
