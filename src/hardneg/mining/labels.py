"""What a language model is tuned towards: the hard negative that a trained MixGCF would make for every train pair.

On disk a `labels/` folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from pydantic import PositiveInt

from hardneg import artifacts
from hardneg.config import Config
from hardneg.data.interactions import Interactions
from hardneg.data.split import Vocabulary
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling.candidates import UniformCandidates
from hardneg.sampling.mixgcf import MixGCF
from hardneg.stage import Draft
from hardneg.types import Batch, Embeddings, Floats, Indices, Progress, Vectors

KIND = "labels"
BLOCK = 8192
"""Pairs handled at once; changes nothing but memory and speed."""
VECTORS, DRAWS, USERS, ITEMS = "labels.npy", "draws.npy", "users.npy", "items.npy"
SOURCES = "sources.parquet"

Precision = Literal["float16", "float32"]


class LabelOptions(Config):
    """How often MixGCF is asked for a pair's negative, and how labels are stored."""

    draws: PositiveInt = 1
    """1 is the paper's. Several are averaged. The mixing share of the positive is uniform on (0, 1), so the more
    draws, the nearer the label comes to half the positive plus half the mean of the chosen candidates: less noise,
    and less of what tells one pair of the same positive from another."""
    seed: int = 0
    """Decides candidates and mixing; not the seed of the run."""
    precision: Precision = "float16"


@dataclass(frozen=True)
class LabelDraws:
    """Labels of some pair rows, and how each came about.

    vectors: (rows, final size), the mean over draws. each: (rows, draws, final size). sources: (rows, draws, hops + 1)
    int32, the item chosen in each hop. shares: (rows, draws, hops + 1) float32, the share of the positive in each hop.
    """

    vectors: Floats
    each: Floats
    sources: np.ndarray[Any, np.dtype[np.int32]]
    shares: Floats


@dataclass(frozen=True)
class LabelVectors:
    """A labels folder as tuning reads it.

    vectors: (pairs, final size), by pair row, memory-mapped. users: (n_users, final size), items: (n_items, final
    size): MixGCF's pooled embeddings e_u and e_v, float32. run: hash of the run that they come from.
    """

    vectors: Floats
    users: Floats
    items: Floats
    run: str


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
    """MixGCF's synthesised negative (Huang et al., 2021, eq. 5 to 7) of every train pair, from trained tables.

    As in training: `mixgcf.candidates` uniform items outside the user's train pairs, per hop the one with the largest
    inner product, mixed with the positive, pooled over hops. rows: the pair rows wanted, all if None. A pair's label
    follows from the tables, the options and its pair row alone, whatever the block or the other rows.
    Raises DataError where a table holds numbers that are not finite.
    """
    if not all(bool(table.isfinite().all()) for table in (*embeddings.users, *embeddings.items)):
        raise DataError("the trained tables hold numbers that are not finite; train the run again")
    rows = np.arange(len(train)) if rows is None else rows
    n_hops, size = len(embeddings.items), embeddings.final_items.shape[1]
    drawn = LabelDraws(
        np.empty((len(rows), size), options.precision),
        np.empty((len(rows), options.draws, size), options.precision),
        np.empty((len(rows), options.draws, n_hops), np.int32),
        np.empty((len(rows), options.draws, n_hops), np.float32),
    )
    for start in range(0, len(rows), block):
        here = slice(start, start + block)
        total = np.zeros((len(rows[here]), size), np.float32)
        for draw in range(options.draws):
            made, shares = _draw(embeddings, train, mixgcf, rows[here], options.seed, draw)
            vectors = made.vectors[:, 0].numpy()
            total += vectors
            drawn.each[here, draw] = vectors
            drawn.sources[here, draw] = made.sources[:, 0].numpy()
            drawn.shares[here, draw] = shares
        drawn.vectors[here] = total / options.draws
        if progress is not None:
            progress("labels", min(start + block, len(rows)), len(rows))
    return drawn


def _draw(
    embeddings: Embeddings, train: Interactions, mixgcf: MixGCF, rows: Indices, seed: int, draw: int
) -> tuple[Vectors, Floats]:
    """One draw for some pairs, and the shares of the positives in it; the stream's epoch is the number of the draw."""
    users = train.users[rows]
    stream = Stream(seed, "labels", draw)
    found = UniformCandidates(train).draw(
        rows, users, n=mixgcf.n_candidates, stream=Stream(seed, "candidates of labels", draw)
    )
    here, of_users, positives = (torch.from_numpy(array) for array in (rows, users, train.items[rows]))
    with torch.no_grad():
        batch = Batch(here, of_users, positives, epoch=draw, step=0)
        made = mixgcf.sample(batch, embeddings, torch.from_numpy(found), stream)
    return made, stream.uniform(rows, len(embeddings.items))


def compare_with_positives(
    vectors: Floats, items: Floats, train: Interactions, *, block: int = BLOCK
) -> dict[str, float]:
    """How labels lie to their positives, means over pairs: cosine, norm of the labels, norm of the positives.

    vectors: (pairs, size) by pair row. items: (n_items, size).
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


def tabulate_sources(drawn: LabelDraws, train: Interactions, vocabulary: Vocabulary) -> pl.DataFrame:
    """What each label was made of, for people: row, user_id, positive_item_id, draw, hop, item_id, share_of_positive.

    drawn: of all pair rows.
    """
    pairs, draws, hops = drawn.sources.shape
    rows = np.repeat(np.arange(pairs), draws * hops)
    user_ids, item_ids = (pl.Series(ids, dtype=pl.String) for ids in (vocabulary.user_ids, vocabulary.item_ids))
    return pl.DataFrame(
        {
            "row": rows,
            "user_id": user_ids.gather(train.users[rows]),
            "positive_item_id": item_ids.gather(train.items[rows]),
            "draw": np.tile(np.repeat(np.arange(draws), hops), pairs),
            "hop": np.tile(np.arange(hops), pairs * draws),
            "item_id": item_ids.gather(drawn.sources.ravel()),
            "share_of_positive": drawn.shares.ravel(),
        }
    )


def write_labels(draft: Draft, drawn: LabelDraws, embeddings: Embeddings, sources: pl.DataFrame) -> None:
    """Write labels.npy, users.npy, items.npy and sources.parquet; draws.npy too where there are several draws."""
    out = draft.folder
    np.save(out / VECTORS, drawn.vectors)
    if drawn.each.shape[1] > 1:
        np.save(out / DRAWS, drawn.each)
    for name, table in ((USERS, embeddings.final_users), (ITEMS, embeddings.final_items)):
        np.save(out / name, table.detach().cpu().numpy())
    sources.write_parquet(out / SOURCES, compression="zstd")


def read_labels(folder: Path, train: Interactions) -> LabelVectors:
    """Read a labels folder; the labels stay on disk, memory-mapped. Raises DataError where sizes do not fit `train`."""
    manifest = artifacts.read_manifest(folder, KIND)
    try:
        vectors, users, items = (np.load(folder / name, mmap_mode="r") for name in (VECTORS, USERS, ITEMS))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} cannot be read ({error}); make the labels again") from None
    found, expected = tuple(map(len, (vectors, users, items))), (len(train), train.n_users, train.n_items)
    if found != expected:
        raise DataError(
            f"{folder} is of {found} pairs, users and items, the split of {expected}; make labels from this split"
        )
    return LabelVectors(vectors, np.asarray(users), np.asarray(items), manifest["inputs"]["run"])
