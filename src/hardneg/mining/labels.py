"""Labels of fine-tuning: the hard negative vectors of a trained MixGCF for every training pair (HNLMRec).

They are the target vectors of the hard negative encoder, stored in a `labels/` folder. Controls of semantic or
synthesized negatives lack one ingredient, or use the labels themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from hardneg import artifacts
from hardneg.config import Config, PerRow, Seed
from hardneg.data.interactions import Interactions
from hardneg.data.split import Vocabulary
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling.mined import MinedNegatives, id_columns
from hardneg.sampling.mixgcf import MixGCF
from hardneg.sampling.sampler import UniformCandidates
from hardneg.stage import Draft
from hardneg.storage import read_array
from hardneg.types import Batch, Embeddings, Floats, Indices, Progress, Vectors, block_slices, unit_rows

KIND = "labels"
BLOCK = 8192
"""Pairs per block; affects memory and speed only."""
VECTORS, DRAWS, USERS, ITEMS = "labels.npy", "draws.npy", "users.npy", "items.npy"
SOURCES = "sources.parquet"

Precision = Literal["float16", "float32"]


class LabelOptions(Config):
    """Settings of labels."""

    draws: PerRow = 1
    """Number of MixGCF negatives that are averaged; 1 in the paper.

    The share of the positive is uniform on (0, 1). With more draws, labels approach half the positive plus half the mean
    chosen candidate: they have less noise, and differ less between pairs of the same positive."""
    seed: Seed = 0
    """Seed of candidates and mixing, independent of that of the run."""
    precision: Precision = "float16"
    """Type of the stored vectors."""


@dataclass(frozen=True)
class LabelDraws:
    """Labels of some pairs, and their components.

    vectors: (rows, final size), mean over draws. each: (rows, draws, final size). sources: (rows, draws, hops + 1) int32,
    the item chosen in each hop. shares: (rows, draws, hops + 1) float32, the share of the positive in each hop.
    """

    vectors: Floats
    each: Floats
    sources: np.ndarray[Any, np.dtype[np.int32]]
    shares: Floats


@dataclass(frozen=True)
class LabelVectors:
    """Contents of a labels folder.

    vectors: (pairs, final size), memory-mapped. users: (n_users, final size) and items: (n_items, final size), the
    pooled embeddings e_u and e_v of MixGCF, float32.
    """

    vectors: Floats
    users: Floats
    items: Floats


def draw_label_vectors(
    embeddings: Embeddings,
    train: Interactions,
    mixgcf: MixGCF,
    options: LabelOptions,
    *,
    rows: Indices | None = None,
    block: int = BLOCK,
    progress: Progress | None = None,
) -> LabelDraws:
    """Draw the synthesized negative of MixGCF (Huang et al., 2021, eq. 5 to 7) for training pairs.

    As in training, `mixgcf.candidates` uniform candidates are drawn; the one with the largest inner product in each hop
    is mixed with the positive, and the result is pooled over hops. rows: pair indices, by default all. A label is a
    function of the tables, the options and the pair index, independent of the other pairs.
    Raises DataError where a table is not finite.
    """
    if not all(bool(table.isfinite().all()) for table in (*embeddings.users, *embeddings.items)):
        raise DataError("found embeddings that are not finite, expected trained tables; train the run again")
    rows = np.arange(len(train)) if rows is None else rows
    n_hops, size = len(embeddings.items), embeddings.final_items.shape[1]
    labels = LabelDraws(
        np.empty((len(rows), size), options.precision),
        np.empty((len(rows), options.draws, size), options.precision),
        np.empty((len(rows), options.draws, n_hops), np.int32),
        np.empty((len(rows), options.draws, n_hops), np.float32),
    )
    for start in range(0, len(rows), block):
        here = slice(start, start + block)
        total = np.zeros((len(rows[here]), size), np.float32)
        for draw in range(options.draws):
            negatives, shares = _draw(embeddings, train, mixgcf, rows[here], options.seed, draw)
            vectors = negatives.vectors[:, 0].numpy()
            total += vectors
            labels.each[here, draw] = vectors
            labels.sources[here, draw] = negatives.sources[:, 0].numpy()
            labels.shares[here, draw] = shares
        labels.vectors[here] = total / options.draws
        if progress is not None:
            progress("labels", min(start + block, len(rows)), len(rows))
    return labels


def _draw(
    embeddings: Embeddings, train: Interactions, mixgcf: MixGCF, rows: Indices, seed: int, draw: int
) -> tuple[Vectors, Floats]:
    """Return one negative for each of some pairs, and the shares of the positive. The epoch of the stream is the draw."""
    users = train.users[rows]
    stream = Stream(seed, "labels", draw)
    candidates = UniformCandidates(train).draw(
        rows, users, n=mixgcf.n_candidates, stream=Stream(seed, "candidates of labels", draw)
    )
    indices, user_indices, positives = (torch.from_numpy(array) for array in (rows, users, train.items[rows]))
    batch = Batch(indices, user_indices, positives, epoch=draw, step=0)
    with torch.no_grad():
        negatives = mixgcf.sample(batch, embeddings, torch.from_numpy(candidates), stream)
    return negatives, stream.uniform(rows, len(embeddings.items))


def compare_with_positives(
    vectors: Floats, items: Floats, train: Interactions, *, block: int = BLOCK
) -> dict[str, float]:
    """Return means over pairs: cosine of label and positive, norm of labels, norm of positives.

    vectors: (pairs, size), labels. items: (n_items, size).
    """
    totals = np.zeros(3)
    for start in range(0, len(train), block):
        label = np.asarray(vectors[start : start + block], np.float64)
        positive = np.asarray(items[train.items[start : start + block]], np.float64)
        norms = np.linalg.norm(label, axis=1), np.linalg.norm(positive, axis=1)
        products = np.einsum("bd,bd->b", label, positive)
        cosines = products / np.maximum(norms[0] * norms[1], 1e-12)
        totals += [float(part.sum()) for part in (cosines, *norms)]
    names = ("cosine with the positive", "norm of labels", "norm of positives")
    return dict(zip(names, (totals / max(len(train), 1)).tolist(), strict=True))


def mean_cosine(one: Floats, other: Floats) -> float:
    """Return the mean cosine of corresponding rows, (n, size) each; NaN without rows.

    A row of zeros has cosine 0; a row with NaN on either side is ignored.
    """
    total, count = 0.0, 0
    for block in block_slices(len(one), BLOCK):
        a, b = np.asarray(one[block], np.float64), np.asarray(other[block], np.float64)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines = np.einsum("bd,bd->b", a, b) / np.maximum(norms, 1e-300)
        total, count = total + float(np.nansum(cosines)), count + int(np.isfinite(cosines).sum())
    return total / count if count else float("nan")


def tabulate_sources(drawn: LabelDraws, train: Interactions, vocabulary: Vocabulary) -> pl.DataFrame:
    """Return the components of the labels of all pairs, one row per pair, draw and hop, with original ids."""
    pairs, draws, hops = drawn.sources.shape
    rows = np.repeat(np.arange(pairs), draws * hops)
    return pl.DataFrame(
        {
            "row": rows,
            **id_columns(train, vocabulary, rows),
            "draw": np.tile(np.repeat(np.arange(draws), hops), pairs),
            "hop": np.tile(np.arange(hops), pairs * draws),
            "item_id": pl.Series(vocabulary.item_ids, dtype=pl.String).gather(drawn.sources.ravel()),
            "share_of_positive": drawn.shares.ravel(),
        }
    )


def write_labels(draft: Draft, drawn: LabelDraws, embeddings: Embeddings, sources: pl.DataFrame) -> None:
    """Write labels.npy, users.npy, items.npy and sources.parquet, and draws.npy where there are several draws."""
    out = draft.folder
    np.save(out / VECTORS, drawn.vectors)
    if drawn.each.shape[1] > 1:
        np.save(out / DRAWS, drawn.each)
    for name, table in ((USERS, embeddings.final_users), (ITEMS, embeddings.final_items)):
        np.save(out / name, table.detach().cpu().numpy())
    sources.write_parquet(out / SOURCES, compression="zstd")


def read_labels(folder: Path, train: Interactions) -> LabelVectors:
    """Read a labels folder with memory-mapped labels. Raises DataError where the sizes do not match `train`."""
    artifacts.read_manifest(folder, KIND)
    vectors, users, items = (read_array(folder / name) for name in (VECTORS, USERS, ITEMS))
    found, expected = tuple(map(len, (vectors, users, items))), (len(train), train.n_users, train.n_items)
    if found != expected:
        raise DataError(
            f"found {found} pairs, users and items in {folder}, expected {expected} as in the split; build it from this split"
        )
    return LabelVectors(vectors, np.asarray(users), np.asarray(items))


def random_control(mined: MinedNegatives, rng: np.random.Generator) -> MinedNegatives:
    """Replace every distinct vector by a Gaussian vector of the same norm. Missing vectors stay missing.

    Pairs with equal vectors get equal replacements, so that the control lacks only the text.
    """
    raw = np.ascontiguousarray(mined.vectors)
    # Rows are compared as bytes, which is much faster than sorting 384 columns.
    as_bytes = raw.view(np.dtype((np.void, raw.dtype.itemsize * raw.shape[1]))).ravel()
    _, firsts, which = np.unique(as_bytes, return_index=True, return_inverse=True)
    distinct = raw[firsts].astype(np.float32)
    noise = rng.standard_normal(distinct.shape, np.float32)
    noise *= np.linalg.norm(distinct, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    vectors = noise.astype(np.float16)[which]
    return MinedNegatives(np.full_like(mined.items, -1), vectors, f"random vectors, norms of {mined.source}")


def shuffled_control(mined: MinedNegatives, order: Indices) -> MinedNegatives:
    """Assign the vector and the items of pair order[r] to pair r, also where they are missing.

    order: (pairs,), a permutation. The control lacks the relation of vectors and pairs. A user may get an item of their
    own history.
    """
    return MinedNegatives(mined.items[order], mined.vectors[order], f"{mined.source}, shuffled among pairs")


def shuffle_table(table: pl.DataFrame, order: Indices, train: Interactions, vocabulary: Vocabulary) -> pl.DataFrame:
    """Return the table of a negatives folder after `shuffled_control`, without the similarities."""
    rows = np.argsort(order)[table["row"].to_numpy()]
    shuffled = table.with_columns(
        pl.Series("row", rows, dtype=pl.Int64),
        **id_columns(train, vocabulary, rows),
        similarity=pl.lit(None, dtype=pl.Float64),
        reasoning=pl.lit("generated for another pair"),
    )
    return shuffled.sort("row", maintain_order=True)


def positives_control(labels: LabelVectors, train: Interactions) -> MinedNegatives:
    """Use the embedding of the positive item as e_hard, from the MixGCF run of the labels."""
    embeddings = unit_rows(labels.items.astype(np.float32))
    return _without_items(embeddings[train.items].astype(np.float16), "the positive's embedding")


def labels_control(labels: LabelVectors) -> MinedNegatives:
    """Use the label itself as e_hard, the upper bound of a model that is trained on labels."""
    vectors = np.empty(labels.vectors.shape, np.float16)
    for start in range(0, len(vectors), BLOCK):
        vectors[start : start + BLOCK] = unit_rows(np.asarray(labels.vectors[start : start + BLOCK], np.float32))
    return _without_items(vectors, "MixGCF's hard negatives, the labels")


def _without_items(vectors: NDArray[np.float16], source: str) -> MinedNegatives:
    return MinedNegatives(np.full((len(vectors), 1), -1, np.int64), vectors, source)
