"""Profiles: who an item is for and what a user likes. Here extracts of train; `written` has a language model write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.row_report import RowIssue, RowReport, report_notes
from hardneg.data.split import Split
from hardneg.text.texts import item_texts, tfidf, titles
from hardneg.types import Floats, Indices

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
    """An item or a user without a profile, and why."""

    side: ProfileSide
    number: int
    reason: str


@dataclass(frozen=True)
class Profiles:
    """One text an item and one a user, "" where there is none; source: what wrote them.

    item_reasoning, user_reasoning: why, as the writer says; empty lists where it does not. missing: reasons for blank
    profiles, where the writer gives any.
    """

    items: list[str]
    users: list[str]
    source: str
    item_reasoning: list[str] = field(default_factory=list)
    user_reasoning: list[str] = field(default_factory=list)
    missing: tuple[Missing, ...] = ()

    @property
    def row_report(self) -> RowReport:
        """The missing ones, counted by side and reason."""
        grouped: dict[tuple[str, str], list[Missing]] = {}
        for missing in self.missing:
            grouped.setdefault((missing.side, missing.reason), []).append(missing)
        remedy = f"they have no profile; see {FAILED}"
        return tuple(
            RowIssue(f"{side} profiles", f"without a profile: {reason}", len(rows), f"{side} {rows[0].number}", remedy)
            for (side, reason), rows in grouped.items()
        )


def extract_profiles(split: Split) -> Profiles:
    """Profiles from item texts, train pairs and train reviews; the same split always gives the same profiles.

    An item's profile is its text and the train review that has most in common with all its train reviews. A user's
    names the words that weigh most (tf-idf) in the texts of the user's train items, the three train items that have
    most in common with those words, and the user's own train review that has.
    """
    texts = item_texts(split.texts)
    vectors, said, words = tfidf(texts, split.reviews[c.REVIEW].to_list())
    if not words:
        return Profiles(texts, [""] * split.train.n_users, SOURCE)
    tastes = csr_array(split.train.matrix() @ vectors)
    likes = _top_words(tastes, words)
    examples = _examples(split, vectors, tastes)
    quotes = _quotes(split.reviews, c.USER, said, tastes, split.train.n_users)
    by_item = _sums(split.reviews[c.ITEM].to_numpy(), said, split.train.n_items)
    heard = _quotes(split.reviews, c.ITEM, said, by_item, split.train.n_items)
    users = [_user_profile(*parts) for parts in zip(likes, examples, quotes, strict=True)]
    items = [" ".join(filter(None, [text, heard[item]])) for item, text in enumerate(texts)]
    return Profiles(items, users, SOURCE)


def _user_profile(likes: list[str], examples: list[str], quote: str) -> str:
    if not likes:
        return ""
    said = f" Says: {quote}" if quote else ""
    return f"Likes: {', '.join(likes)}. Chose: {'; '.join(examples)}.{said}"


def _top_words(tastes: csr_array, words: list[str]) -> list[list[str]]:
    """The heaviest words of each row, ties by spelling."""
    found: list[list[str]] = []
    for start in range(0, tastes.shape[0], BLOCK):
        weights = tastes[start : start + BLOCK].toarray()
        best = (-weights).argsort(axis=1, kind="stable")[:, :N_WORDS]
        kept = np.take_along_axis(weights, best, axis=1) > 0
        found += [[words[w] for w, keep in zip(*row, strict=True) if keep] for row in zip(best, kept, strict=True)]
    return found


def _examples(split: Split, vectors: csr_array, tastes: csr_array) -> list[list[str]]:
    """Titles of each user's train items that have most in common with the user's words."""
    train = split.train
    agreement = _row_products(tastes, train.users, vectors, train.items)
    order = np.lexsort((train.items, -agreement, train.users))
    names = titles(split.texts)
    return [
        [names[train.items[row]] for row in order[first : min(first + N_TITLES, last)]]
        for first, last in zip(train.starts[:-1], train.starts[1:], strict=True)
    ]


def _quotes(reviews: pl.DataFrame, whose: str, said: csr_array, tastes: csr_array, n: int) -> list[str]:
    """The review of each owner (user or item) with the largest product with the owner's words, "" if none."""
    quotes = [""] * n
    if reviews.is_empty():
        return quotes
    owners = reviews[whose].to_numpy()
    agreement = _row_products(tastes, owners, said, np.arange(len(owners)))
    order = np.lexsort((np.arange(len(owners)), -agreement, owners))
    firsts = order[np.unique(owners[order], return_index=True)[1]]
    said_texts = reviews[c.REVIEW].to_list()
    for row in firsts:
        quotes[owners[row]] = said_texts[row]
    return quotes


def _row_products(a: csr_array, rows_a: Indices, b: csr_array, rows_b: Indices) -> Floats:
    """(n,) inner products of paired rows, in blocks."""
    found = [
        np.asarray(a[rows_a[s : s + BLOCK]].multiply(b[rows_b[s : s + BLOCK]]).sum(axis=1)).ravel()
        for s in range(0, len(rows_a), BLOCK)
    ]
    return np.concatenate(found)


def _sums(owners: Indices, rows: csr_array, n: int) -> csr_array:
    """(n, words): the sum of each owner's rows."""
    if not len(owners):
        return csr_array(np.zeros((n, 0), np.float32)) @ csr_array(np.zeros((0, rows.shape[1]), np.float32))
    ones = np.ones(len(owners), np.float32)
    return csr_array(csr_array((ones, (owners, np.arange(len(owners)))), shape=(n, len(owners))) @ rows)


def write_profiles(
    folder: Path,
    profiles: Profiles,
    split: Split,
    *,
    config: dict[str, Any],
    inputs: dict[str, str],
    costs: Mapping[str, Any] | None = None,
) -> None:
    """Write items.parquet and users.parquet (id, profile, reasoning, source); failed.parquet (side, id, reason) where
    profiles are missing and the writer said why; costs.json where they cost something.
    """
    notes = {
        "source": profiles.source,
        "blank items": profiles.items.count(""),
        "blank users": profiles.users.count(""),
        "rows left out": report_notes(profiles.row_report),
    }
    ids = {"item": split.vocabulary.item_ids, "user": split.vocabulary.user_ids}
    with artifacts.writing(folder, KIND, config, inputs, notes) as out:
        items = _table(c.ITEM_ID, ids["item"], profiles.items, profiles.item_reasoning, profiles.source)
        users = _table(c.USER_ID, ids["user"], profiles.users, profiles.user_reasoning, profiles.source)
        items.write_parquet(out / "items.parquet")
        users.write_parquet(out / "users.parquet")
        if profiles.missing:
            rows = [(missing.side, ids[missing.side][missing.number], missing.reason) for missing in profiles.missing]
            pl.DataFrame(rows, schema=FAILED_SCHEMA, orient="row").write_parquet(out / FAILED)
        artifacts.write_costs(out, costs)


def _table(column: str, ids: list[str], texts: list[str], reasoning: list[str], source: str) -> pl.DataFrame:
    values = {column: ids, "profile": texts, "reasoning": reasoning or [""] * len(ids)}
    return pl.DataFrame(values, schema=dict.fromkeys(values, pl.String)).with_columns(source=pl.lit(source))


def read_profiles(folder: Path) -> Profiles:
    """Read a profiles folder that `write_profiles` made."""
    source = artifacts.read_manifest(folder, KIND)["notes"]["source"]
    items, users = read_parquet(folder / "items.parquet"), read_parquet(folder / "users.parquet")
    failed = read_parquet(folder / FAILED) if (folder / FAILED).is_file() else pl.DataFrame(schema=FAILED_SCHEMA)
    numbers = {"item": _numbers(items[c.ITEM_ID]), "user": _numbers(users[c.USER_ID])}
    return Profiles(
        items["profile"].to_list(),
        users["profile"].to_list(),
        source,
        _reasoning(items),
        _reasoning(users),
        tuple(Missing(side, numbers[side][name], reason) for side, name, reason in failed.rows()),
    )


def _reasoning(table: pl.DataFrame) -> list[str]:
    return [] if (table["reasoning"] == "").all() else table["reasoning"].to_list()


def _numbers(ids: pl.Series) -> dict[str, int]:
    return {name: number for number, name in enumerate(ids.to_list())}
