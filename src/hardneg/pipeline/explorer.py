"""Data of a page's explorer: for some users, history, held-out items and their ranks, best items and sampled negatives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split, read_split
from hardneg.evaluation import top_items
from hardneg.evaluation.ranking import InnerProduct
from hardneg.pipeline.inference import read_run
from hardneg.pipeline.training import EXAMPLES, RUN
from hardneg.sampling import mined
from hardneg.text import profiles, titles
from hardneg.types import Indices

MOST_USERS, MOST_RUNS, MOST_HISTORY, MOST_DRAWS, DEPTH = 150, 24, 40, 60, 10
"""Limits: users of a split, runs, train items of a user, sampled negatives of a user and run, best items."""
NEGATIVES_TABLE = "negatives.parquet"
_Reasons = dict[tuple[int, int, int], tuple[str, ...]]
"""(user, positive, item) -> text, similarity and reasoning of a sampled negative, as far as they are known."""


@dataclass
class _Items:
    """Items that the page shows, in the order in which they appear; ids and titles are stored once."""

    ids: Sequence[str]
    titles: Sequence[str]
    places: dict[int, int] = field(default_factory=dict)

    def add(self, items: Iterable[int]) -> list[int]:
        """Return the place of each item in the list, -1 (no item) left out."""
        return [self.places.setdefault(int(item), len(self.places)) for item in items if item >= 0]

    def listed(self) -> list[list[str]]:
        """Return id and title of every item."""
        return [[self.ids[item], self.titles[item]] for item in self.places]


def explore_split(name: str, split_dir: Path, runs: Mapping[str, Path], shared: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the explorer's data of one split.

    runs: label -> finished run of this split; the first MOST_RUNS are taken. shared: folders that the runs may have been
    made from; negatives among them tell texts and similarities, and the first profiles are shown.
    """
    split = read_split(split_dir)
    items = _Items(split.vocabulary.item_ids, titles(split.texts))
    taken = dict(list(runs.items())[:MOST_RUNS])
    examples = [_read_examples(folder) for folder in taken.values()]
    users = _choose_users(split, np.unique(np.concatenate([frame["user"].to_numpy() for frame in examples])))
    written, profiles_name = _find_profiles(shared, [split.vocabulary.user_ids[user] for user in users])
    reasons = [_find_reasons(folder, shared, split, users) for folder in taken.values()]
    ranked = [_rank(folder, split, users) for folder in taken.values()]
    shown = []
    for place, user in enumerate(users.tolist()):
        history, held = split.train.items_of(user), split.test.items_of(user)
        draws = {
            str(run): drawn
            for run, (frame, why) in enumerate(zip(examples, reasons, strict=True))
            if (drawn := _draws_of(user, frame, why, items))
        }
        shown.append(
            {
                "id": split.vocabulary.user_ids[user],
                "profile": written.get(split.vocabulary.user_ids[user], ""),
                "history": items.add(history[:MOST_HISTORY]),
                "n_history": len(history),
                "held": items.add(held),
                "ranks": [ranks[place] for ranks, _ in ranked],
                "top": [items.add(best[place]) for _, best in ranked],
                "draws": draws,
            }
        )
    note = _describe(split, shown, runs, profiles_name)
    return {"name": name, "note": note, "runs": list(taken), "items": items.listed(), "users": shown}


def _describe(split: Split, users: Sequence[Mapping[str, Any]], runs: Mapping[str, Path], source: str) -> str:
    """Return what is shown and what is left out."""
    text = f"{len(users):,} of {split.train.n_users:,} users"
    text += f"; {MOST_RUNS} of {len(runs)} runs" if len(runs) > MOST_RUNS else ""
    with_draws = sum(bool(user["draws"]) for user in users)
    text += f". Runs keep the sampled negatives of {with_draws} users, those of the last epoch."
    return text + (f" Profiles: {source}." if source else "")


def _choose_users(split: Split, first: Indices) -> Indices:
    """Return some users: those with sampled negatives first, then others with test pairs, evenly by number."""
    others = np.setdiff1d(np.flatnonzero(split.test.counts), first)
    n = min(len(others), MOST_USERS - len(first))
    places = np.linspace(0, len(others) - 1, n).astype(int) if n else np.empty(0, int)
    return np.concatenate([first, others[places]]).astype(np.int64)


def _rank(run_dir: Path, split: Split, users: Indices) -> tuple[list[list[int]], Indices]:
    """Return the ranks of every user's test items, and the best items (users, DEPTH); train items are masked."""
    run = read_run(run_dir)
    score = run.score()
    return [_ranks_of(int(user), score, run.seen, split.test) for user in users], top_items(
        score, users, run.seen, DEPTH
    )


def _ranks_of(user: int, score: InnerProduct, seen: Interactions, test: Interactions) -> list[int]:
    """Return the rank of each test item of a user among all items outside `seen`; ties go to the lower item."""
    held = test.items_of(user)
    scores = np.array(score(np.array([user], np.int64))[0].cpu().numpy())
    scores[seen.items_of(user)] = -np.inf
    own = scores[held][:, None]
    before = (scores > own) | ((scores == own) & (np.arange(len(scores)) < held[:, None]))
    ranks: list[int] = (1 + before.sum(axis=1)).tolist()
    return ranks


def _read_examples(run_dir: Path) -> pl.DataFrame:
    path = run_dir / EXAMPLES
    schema = {"user": pl.Int64, "positive": pl.Int64, "part": pl.String, "item": pl.Int64}
    return read_parquet(path).unique(maintain_order=True) if path.is_file() else pl.DataFrame(schema=schema)


def _draws_of(user: int, examples: pl.DataFrame, reasons: _Reasons, items: _Items) -> list[list[Any]]:
    """Return positive, description and item of the negatives that a run drew for a user."""
    drawn = examples.filter((pl.col("user") == user) & (pl.col("item") >= 0)).head(MOST_DRAWS)
    return [
        [*items.add([positive]), "; ".join([part, *reasons.get((user, positive, item), ())]), *items.add([item])]
        for positive, part, item in drawn.select("positive", "part", "item").rows()
    ]


def _find_reasons(run_dir: Path, shared: Sequence[Path], split: Split, users: Indices) -> _Reasons:
    """Return why a run's negatives were found for some users, from the negatives folder that it was made from."""
    wanted = artifacts.read_manifest(run_dir, RUN)["inputs"].get(mined.KIND)
    folders = (folder for folder in shared if artifacts.kind_at(folder) == mined.KIND)
    folder = next((folder for folder in folders if artifacts.folder_hash(folder) == wanted), None) if wanted else None
    if folder is None or not (folder / NEGATIVES_TABLE).is_file():
        return {}
    table = read_parquet(folder / NEGATIVES_TABLE)
    own = table.filter(pl.col(c.USER_ID).is_in([split.vocabulary.user_ids[user] for user in users]))
    known_users, known_items = split.vocabulary.users, split.vocabulary.items
    reasons: _Reasons = {}
    for row in own.rows(named=True):
        if row["item_id"] in known_items:
            similarity = row["similarity"]
            texts = [f"“{row['negative_text']}”"] if row["negative_text"] else []
            texts += [f"similarity {similarity:.2f}"] if similarity is not None and math.isfinite(similarity) else []
            texts += [row["reasoning"]] if row["reasoning"] else []
            key = known_users[row[c.USER_ID]], known_items[row["positive_item_id"]], known_items[row["item_id"]]
            reasons[key] = tuple(texts)
    return reasons


def _find_profiles(shared: Sequence[Path], user_ids: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return the profiles of some users from the first folder with profiles, and its name; empty without one."""
    folder = next((folder for folder in shared if artifacts.kind_at(folder) == profiles.KIND), None)
    if folder is None:
        return {}, ""
    artifacts.read_manifest(folder, profiles.KIND)
    table = read_parquet(folder / "users.parquet").filter(pl.col(c.USER_ID).is_in(user_ids))
    return dict(table.select(c.USER_ID, "profile").iter_rows()), folder.name
