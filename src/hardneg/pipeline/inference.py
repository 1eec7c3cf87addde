"""A finished run at work: evaluation on the test pairs, recommendations."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors.torch import load_file

from hardneg import api, artifacts
from hardneg.data import columns as c
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import Evaluation, evaluate_scores, inner_product, top_items
from hardneg.pipeline.training import RUN
from hardneg.types import Embeddings

EVALUATION = "evaluation"
METRICS = tuple(f"{metric}@{k}" for metric in api.METRICS for k in (10, 20))


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as it serves: pooled embeddings, ids, and the pairs that are masked."""

    embeddings: Embeddings
    vocabulary: Vocabulary
    seen: Interactions


def read_run(folder: Path) -> FinishedRun:
    """Read a run folder; nothing of the split is needed."""
    artifacts.read_manifest(folder, RUN)
    tensors = load_file(folder / "embeddings.safetensors")
    users = datasets.read_parquet(folder / "users.parquet")[c.USER_ID].to_list()
    items = datasets.read_parquet(folder / "items.parquet")[c.ITEM_ID].to_list()
    seen = datasets.read_parquet(folder / "seen.parquet")
    pairs = Interactions(seen[c.USER].to_numpy(), seen[c.ITEM].to_numpy(), len(users), len(items))
    return FinishedRun(Embeddings((tensors["users"],), (tensors["items"],), "mean"), Vocabulary(users, items), pairs)


def evaluate_run(
    run_folder: Path,
    split_folder: Path,
    metrics: tuple[str, ...] = METRICS,
    *,
    mask_valid: bool = False,
    shortlist: bool = False,
) -> Path:
    """Score a run on the test pairs of its split, once, into its `evaluation/` folder.

    mask_valid: mask validation pairs too, as some papers do; off by default, and kept in the manifest. shortlist: rank
    by way of 16 bits; but for ties within rounding the same.
    """
    require_split_of(run_folder, split_folder)
    out = run_folder / EVALUATION
    settings, inputs = _evaluation_of(run_folder, split_folder, metrics, mask_valid)
    if artifacts.key_at(out) == artifacts.artifact_key(EVALUATION, settings, inputs):
        return out
    shutil.rmtree(out, ignore_errors=True)  # other depths or another mask: cheap, and made from the run alone
    run, data = read_run(run_folder), splits.read_split(split_folder)
    masked = union(run.seen, data.valid) if mask_valid else run.seen
    score = inner_product(run.embeddings, shortlist=shortlist)
    found = evaluate_scores(score, data.test, masked, metrics=metrics)
    with artifacts.writing(out, EVALUATION, settings, inputs) as folder:
        write_evaluation(folder, found, run.vocabulary)
    return out


def require_split_of(run_folder: Path, split_folder: Path) -> None:
    """ConfigError where a run was made from another split: its validation or test pairs may be this run's train pairs."""
    made_from = artifacts.read_manifest(run_folder, RUN)["inputs"]
    valid = artifacts.file_hash(split_folder / "valid.parquet")
    if (made_from["training data"], made_from["valid"]) != (splits.training_data_hash(split_folder), valid):
        raise ConfigError(f"{run_folder} was not trained on {split_folder}; give the split that it was trained on")


def evaluated(run_folder: Path, split_folder: Path, metrics: tuple[str, ...] = METRICS) -> bool:
    """True where `evaluate_run` would find its work done."""
    settings, inputs = _evaluation_of(run_folder, split_folder, metrics, mask_valid=False)
    return artifacts.key_at(run_folder / EVALUATION) == artifacts.artifact_key(EVALUATION, settings, inputs)


def _evaluation_of(
    run_folder: Path, split_folder: Path, metrics: tuple[str, ...], mask_valid: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    settings = {"metrics": metrics, "mask": "train and valid" if mask_valid else "train"}
    inputs = {
        "run": artifacts.file_hash(run_folder / "embeddings.safetensors"),
        "test": artifacts.file_hash(split_folder / "test.parquet"),
    }
    return settings, inputs


def write_evaluation(folder: Path, found: Evaluation, vocabulary: Vocabulary, *, part: str = "test") -> None:
    """Write metrics.parquet (split, metric, k, value) and per_user.parquet; part: what stands in the column "split"."""
    names = [(name, *name.split("@")) for name in found.values]
    pl.DataFrame(
        [{"split": part, "metric": m, "k": int(k), "value": float(found.values[name].mean())} for name, m, k in names]
    ).write_parquet(folder / "metrics.parquet")
    ids = [vocabulary.user_ids[user] for user in found.users]
    pl.DataFrame({c.USER_ID: ids, "held_out": found.n_relevant, **found.values}).write_parquet(
        folder / "per_user.parquet"
    )


def recommend(run_folder: Path, user_id: str, k: int) -> pl.DataFrame:
    """The k best items that the user does not have: rank, item_id, score."""
    run = read_run(run_folder)
    if user_id not in run.vocabulary.users:
        raise DataError(
            f"{run_folder} knows no user {user_id!r}, expected one of the {len(run.vocabulary.user_ids):,} train users"
        )
    user = torch.tensor([run.vocabulary.users[user_id]]).numpy()
    score = inner_product(run.embeddings)
    best = top_items(score, user, run.seen, k)[0]
    best = best[best >= 0]
    scores = score(user)[0].numpy()[best]
    return pl.DataFrame(
        {"rank": range(1, len(best) + 1), c.ITEM_ID: [run.vocabulary.item_ids[i] for i in best], "score": scores}
    )
