"""Checks of evaluations: the stated mask, recomputed metrics of every user, and means that are those of the users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_array

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.diagnostics import Check
from hardneg.evaluation import Evaluation, evaluate_scores
from hardneg.evaluation.metrics import METRICS
from hardneg.evaluation.ranking import ScoreFunction
from hardneg.pipeline import EVALUATION, FinishedRun
from hardneg.types import Indices

ROUNDING = 1e-5
"""Difference of scores, as a share of a user's largest score, that may be rounding: ties are broken either way."""
EXACT = 1e-9


def find_evaluations(run_dir: Path) -> list[Path]:
    """Return the folders with evaluations of a run."""
    return sorted(path for path in run_dir.iterdir() if path.is_dir() and artifacts.kind_at(path) == EVALUATION)


def check_evaluation(folder: Path, run: FinishedRun, split: Split) -> list[Check]:
    """Check an evaluation: recompute every user's metrics under the stated mask, and the means from them."""
    stated = str(artifacts.read_manifest(folder, EVALUATION)["config"].get("mask"))
    recorded = read_parquet(folder / "per_user.parquet")
    question = f"{folder.name} states metrics that its run has under the stated mask ({stated})"
    masks = {"train": split.train, "train and valid": union(split.train, split.valid)}
    if stated not in masks:
        return [Check(question, False, f"the mask is none of {', '.join(masks)}")]
    problem = _find_difference(recorded, run, split, masks[stated])
    if problem:
        others = [
            name for name, mask in masks.items() if name != stated and not _find_difference(recorded, run, split, mask)
        ]
        problem += "".join(f"; they are those under the mask {name}" for name in others)
    return [
        Check(question, not problem, problem or f"{len(recorded):,} users recomputed"),
        _check_means(folder, recorded),
    ]


def _find_difference(recorded: pl.DataFrame, run: FinishedRun, split: Split, mask: Interactions) -> str:
    """Return how the metrics of users differ from recomputed ones, "" where they are equal up to ties in rounding."""
    users = np.flatnonzero(split.test.counts)
    ids = pl.DataFrame({c.USER_ID: [run.vocabulary.user_ids[user] for user in users]})
    names = metric_columns(recorded)
    if recorded.height != len(users) or not names:
        return f"it has {recorded.height:,} users and {len(names)} metrics, expected the {len(users):,} users with test pairs"
    table = ids.join(recorded, on=c.USER_ID, how="left", maintain_order="left")
    if table["held_out"].to_list() != split.test.counts[users].tolist():
        return "the numbers of held-out items are not those of the test pairs"
    worst, best = (_evaluate(run, split.test, mask, names, shift) for shift in (-ROUNDING, ROUNDING))
    values = table.select(names).to_numpy().T
    low, high = (np.stack([each.values[name] for name in names]) for each in (worst, best))
    outside = ~((values >= low - EXACT) & (values <= high + EXACT))
    if not outside.any():
        return ""
    metric, row = np.argwhere(outside)[0]
    return (
        f"{outside.any(axis=0).sum():,} of {len(users):,} users differ (first: user {table[c.USER_ID][int(row)]!r}, "
        f"{names[metric]} {values[metric, row]:.4g}, recomputed {low[metric, row]:.4g})"
    )


def metric_columns(recorded: pl.DataFrame) -> tuple[str, ...]:
    """Return the columns that are metrics at a depth, such as recall@20."""
    return tuple(
        name for name in recorded.columns if name.partition("@")[0] in METRICS and name.partition("@")[2].isdigit()
    )


def _evaluate(
    run: FinishedRun, test: Interactions, mask: Interactions, metrics: tuple[str, ...], shift: float
) -> Evaluation:
    """Evaluate with the scores of held-out items shifted by a share of the user's largest score."""
    return evaluate_scores(_shifted(run, test.matrix(), shift), test, mask, metrics=metrics)


def _shifted(run: FinishedRun, held_out: csr_array, shift: float) -> ScoreFunction:
    plain = run.score()

    def score(users: Indices) -> torch.Tensor:
        scores = plain(users)
        largest = scores.abs().amax(dim=1, keepdim=True)
        return scores + shift * largest * torch.from_numpy(held_out[users].toarray())

    return score


def _check_means(folder: Path, recorded: pl.DataFrame) -> Check:
    """Check that metrics.parquet holds the means over users of per_user.parquet."""
    stated = {f"{metric}@{k}": value for _, metric, k, value in read_parquet(folder / "metrics.parquet").rows()}
    means: dict[str, float] = {name: float(np.mean(recorded[name].to_numpy())) for name in metric_columns(recorded)}
    wrong = sorted(name for name in {*stated, *means} if not _equal(stated.get(name), means.get(name)))
    detail = (
        f"differs: {', '.join(wrong)}"
        if wrong
        else f"{len(means)} metrics are the means over {recorded.height:,} users"
    )
    return Check(f"{folder.name} states the means over its users", not wrong, detail)


def _equal(one: object, other: object) -> bool:
    return isinstance(one, float) and isinstance(other, float) and abs(one - other) <= EXACT
