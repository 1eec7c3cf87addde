"""Profiles of items and users: the `profiles` folder, and extractive profiles that need no language model."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.row_report import RowCounter, RowIssue, RowReport, report_notes
from hardneg.data.split import Split
from hardneg.stage import Draft
from hardneg.text.texts import item_texts, tfidf, titles
from hardneg.types import Floats, Indices, block_slices

KIND = "profiles"
ProfileSide = Literal["item", "user"]
SOURCE = "extractive"
FAILED = "failed.parquet"
FAILED_SCHEMA = {"side": pl.String, "id": pl.String, "reason": pl.String}
N_WORDS = 8
N_TITLES = 3
BLOCK = 1024


@dataclass(frozen=True)
class Missing:
    """An item or a user without a profile, with the reason. number: its index."""

    side: ProfileSide
    number: int
    reason: str


@dataclass(frozen=True)
class Profiles:
    """One text per item and per user, "" where there is none. source: the method or model that wrote them.

    item_reasoning, user_reasoning: the LLM's reasoning for each profile; empty lists without an LLM. missing: reasons
    for blank profiles, where known.
    """

    items: list[str]
    users: list[str]
    source: str
    item_reasoning: list[str] = field(default_factory=list)
    user_reasoning: list[str] = field(default_factory=list)
    missing: tuple[Missing, ...] = ()

    @property
    def row_report(self) -> RowReport:
        """Missing profiles, counted by side and reason."""
        counter, remedy = RowCounter(), f"they have no profile; see {FAILED}"
        for row in self.missing:
            reason, first = f"without a profile: {row.reason}", f"{row.side} {row.number}"
            counter.add(RowIssue(f"{row.side} profiles", reason, 1, first, remedy))
        return counter.row_report


def extract_profiles(split: Split) -> Profiles:
    """Extract profiles from item texts, train pairs and train reviews; deterministic.

    An item's profile is its text and the train review most similar to all its train reviews. A user's profile names
    the heaviest words (tf-idf) in the texts of the user's train items, the three train items most similar to those
    words, and the user's most similar train review.
    """
    texts = item_texts(split.texts)
    text_vectors, review_vectors, words = tfidf(texts, split.reviews[c.REVIEW].to_list())
    n_users, n_items = split.train.n_users, split.train.n_items
    if not words:
        return Profiles(texts, [""] * n_users, SOURCE)
    user_vectors = csr_array(split.train.matrix() @ text_vectors)
    likes = _top_words(user_vectors, words)
    examples = _example_titles(split, text_vectors, user_vectors)
    user_quotes = _quotes(split.reviews, c.USER, review_vectors, user_vectors, n_users)
    items_of_reviews, rows = split.reviews[c.ITEM].to_numpy(), np.arange(len(split.reviews))
    memberships = csr_array(
        (np.ones(len(rows), np.float32), (items_of_reviews, rows)), (n_items, review_vectors.shape[0])
    )
    review_sums = csr_array(memberships @ review_vectors)
    item_quotes = _quotes(split.reviews, c.ITEM, review_vectors, review_sums, n_items)
    users = [_user_profile(*parts) for parts in zip(likes, examples, user_quotes, strict=True)]
    items = [" ".join(filter(None, parts)) for parts in zip(texts, item_quotes, strict=True)]
    return Profiles(items, users, SOURCE)


def _user_profile(likes: list[str], examples: list[str], quote: str) -> str:
    if not likes:
        return ""
    says = f" Says: {quote}" if quote else ""
    return f"Likes: {', '.join(likes)}. Chose: {'; '.join(examples)}.{says}"


def _top_words(vectors: csr_array, words: list[str]) -> list[list[str]]:
    """Return the heaviest words of each row, ties in the order of `words`."""
    top: list[list[str]] = []
    for part in block_slices(vectors.shape[0], BLOCK):
        weights = vectors[part].toarray()
        best = (-weights).argsort(axis=1, kind="stable")[:, :N_WORDS]
        positive = np.take_along_axis(weights, best, axis=1) > 0
        top += [[words[word] for word in row[keep]] for row, keep in zip(best, positive, strict=True)]
    return top


def _example_titles(split: Split, text_vectors: csr_array, user_vectors: csr_array) -> list[list[str]]:
    """Return the titles of each user's train items that are most similar to the user's vector."""
    train = split.train
    similarity = _row_products(user_vectors, train.users, text_vectors, train.items)
    order = np.lexsort((train.items, -similarity, train.users))
    names = titles(split.texts)
    return [
        [names[train.items[row]] for row in order[first : min(first + N_TITLES, last)]]
        for first, last in zip(train.starts[:-1], train.starts[1:], strict=True)
    ]


def _quotes(
    reviews: pl.DataFrame, owner_column: str, review_vectors: csr_array, owner_vectors: csr_array, n: int
) -> list[str]:
    """Return each owner's (user's or item's) review most similar to the owner's vector, "" without reviews."""
    owners = reviews[owner_column].to_numpy()
    similarity = _row_products(owner_vectors, owners, review_vectors, np.arange(len(owners)))
    order = np.argsort(-similarity, kind="stable")[::-1]  # an owner's most similar review comes last and stays
    best = dict(zip(owners[order].tolist(), reviews[c.REVIEW][order].to_list(), strict=True))
    return [best.get(owner, "") for owner in range(n)]


def _row_products(a: csr_array, rows_a: Indices, b: csr_array, rows_b: Indices) -> Floats:
    """Return (n,) inner products of paired rows, computed in blocks."""
    products = [
        np.asarray(a[rows_a[part]].multiply(b[rows_b[part]]).sum(axis=1)).ravel()
        for part in block_slices(len(rows_a), BLOCK)
    ]
    return np.concatenate([*products, np.empty(0, np.float32)])


def write_profiles(draft: Draft, profiles: Profiles, split: Split) -> None:
    """Write items.parquet and users.parquet (id, profile, reasoning, source).

    failed.parquet (side, id, reason) is added where profiles are missing for a known reason.
    """
    draft.notes |= {
        "source": profiles.source,
        "blank items": profiles.items.count(""),
        "blank users": profiles.users.count(""),
        "rows left out": report_notes(profiles.row_report),
    }
    ids = {"item": split.vocabulary.item_ids, "user": split.vocabulary.user_ids}
    for side, column, texts, reasoning in (
        ("item", c.ITEM_ID, profiles.items, profiles.item_reasoning),
        ("user", c.USER_ID, profiles.users, profiles.user_reasoning),
    ):
        values = {column: ids[side], "profile": texts, "reasoning": reasoning or [""] * len(texts)}
        table = pl.DataFrame(values, schema=dict.fromkeys(values, pl.String))
        table.with_columns(source=pl.lit(profiles.source)).write_parquet(draft.folder / f"{side}s.parquet")
    if profiles.missing:
        rows = [(missing.side, ids[missing.side][missing.number], missing.reason) for missing in profiles.missing]
        pl.DataFrame(rows, schema=FAILED_SCHEMA, orient="row").write_parquet(draft.folder / FAILED)


def read_profiles(folder: Path) -> Profiles:
    """Read a profiles folder."""
    source = artifacts.read_manifest(folder, KIND)["notes"]["source"]
    items, users = read_parquet(folder / "items.parquet"), read_parquet(folder / "users.parquet")
    failed = read_parquet(folder / FAILED) if (folder / FAILED).is_file() else pl.DataFrame(schema=FAILED_SCHEMA)
    numbers = {
        side: {name: number for number, name in enumerate(ids)}
        for side, ids in (("item", items[c.ITEM_ID]), ("user", users[c.USER_ID]))
    }
    missing = tuple(Missing(side, numbers[side][name], reason) for side, name, reason in failed.rows())
    item_reasoning, user_reasoning = (
        [] if (table["reasoning"] == "").all() else table["reasoning"].to_list() for table in (items, users)
    )
    texts = items["profile"].to_list(), users["profile"].to_list()
    return Profiles(*texts, source, item_reasoning, user_reasoning, missing)
