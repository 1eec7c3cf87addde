"""Inference with a finished run: evaluation on test pairs, also under DTL-NS's released mask."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import Evaluation, PairBonus, Popularity, evaluate_scores, inner_product, is_lower
from hardneg.evaluation.ranking import EXACT, SHORTLIST, InnerProduct
from hardneg.evaluation.released import PROTOCOL, WARNING, released_mask
from hardneg.fitting import METRIC_NAMES
from hardneg.judging import suspects
from hardneg.models.baselines.item_item import ItemItem
from hardneg.pipeline.item_weights import WEIGHTS, read_weights
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.pipeline.training import RUN, SPLIT_NOTE
from hardneg.report.printers import metric_label
from hardneg.speeds import SLOWER
from hardneg.stage import Draft, Stage
from hardneg.storage import read_tensors
from hardneg.types import Embeddings

EVALUATION, MASK_VALID = "evaluation", "evaluation-mask-valid"
"""Folders of evaluations under the train mask, and with validation pairs masked too."""
RELEASED = f"evaluation-{PROTOCOL}"
RELEASED_KIND = "evaluation under the released mask"
PART = f"test, {PROTOCOL} mask"
"""Replaces "test" in the metrics, so that no table mistakes one for the other."""
MASKED, SPARED = "masked added positives", "held-out added positives, not masked"
"""Notes of the manifest: numbers of pairs."""
RANKED_BY = "ranked by"
"""Note of an evaluation: the exact ranking or the 16-bit shortlist."""
POPULARITY, BELOW = "popularity", "below popularity"
"""Notes of an evaluation: a metric of the most popular items; a warning where the run is clearly lower."""
BUNDLE = "bundle"
"""Kind of a folder with a run's scores and all known pairs, which recommends without a split."""
BONUS = "bonus.parquet"
"""File of a reranked run: user, item, bonus of every judged pair."""
SCORES = ("embeddings.safetensors", BONUS, WEIGHTS)
"""Files of a run from which its scores are computed; a run need not have the last two."""
TRAIN = "train.parquet"
"""File of a bundle of an item-item model: the train pairs, from which its scores are computed."""
METRICS = tuple(f"{metric}@{k}" for metric in METRIC_NAMES for k in (10, 20))


@dataclass(frozen=True)
class FinishedRun:
    """A finished run: pooled embeddings, ids, the pairs that are masked, and bonuses of judged pairs if reranked.

    by_items: scores of an item-item model, which has no embeddings of its own.
    """

    embeddings: Embeddings
    vocabulary: Vocabulary
    seen: Interactions
    bonus: PairBonus | None = None
    by_items: ItemItem | None = None

    def score(self, *, shortlist: bool | None = False) -> InnerProduct:
        """Return the scores of the run: inner products, by items, bonuses. shortlist: as in `evaluation_stage`."""
        return inner_product(self.embeddings, shortlist=shortlist, bonus=self.bonus, by_items=self.by_items)

    def require_embeddings(self, folder: Path) -> Embeddings:
        """Return the embeddings. Raises ConfigError for an item-item model."""
        if self.by_items is not None:
            raise ConfigError(f"{folder} is an item-item model without embeddings; give a run that has some")
        return self.embeddings


def read_run(folder: Path, kind: str = RUN) -> FinishedRun:
    """Read a run folder, or a bundle, whose `seen` are all known pairs; the split is not needed."""
    artifacts.read_manifest(folder, kind)
    tensors = read_tensors(folder / "embeddings.safetensors", "users", "items")
    users = datasets.read_parquet(folder / "users.parquet")[c.USER_ID].to_list()
    items = datasets.read_parquet(folder / "items.parquet")[c.ITEM_ID].to_list()
    tables = [datasets.read_parquet(path) for path in (folder / "seen.parquet", folder / TRAIN) if path.is_file()]
    pairs, *others = [Interactions(t[c.USER].to_numpy(), t[c.ITEM].to_numpy(), len(users), len(items)) for t in tables]
    train = others[0] if others else pairs
    embeddings, bonus = Embeddings((tensors["users"],), (tensors["items"],), "mean"), None
    if (folder / BONUS).is_file():
        table = datasets.read_parquet(folder / BONUS)
        judged = Interactions(table[c.USER].to_numpy(), table[c.ITEM].to_numpy(), len(users), len(items))
        bonus = PairBonus(judged, table["bonus"].to_numpy())
    by_items = None if (weights := read_weights(folder, len(items))) is None else ItemItem(train, weights)
    return FinishedRun(embeddings, Vocabulary(users, items), pairs, bonus, by_items)


def scores_hash(run_dir: Path) -> str:
    """Return the hash of what the scores of a run are computed from: embeddings, bonuses, weights of items."""
    table, *others = (run_dir / name for name in SCORES if (run_dir / name).is_file())
    return artifacts.folder_hash(run_dir, SCORES) if others else artifacts.file_hash(table)


def evaluation_stage(
    run_dir: Path,
    split_dir: Path,
    metrics: tuple[str, ...] = METRICS,
    *,
    mask_valid: bool = False,
    shortlist: bool | None = None,
) -> Stage:
    """Return the stage that scores a run on the test pairs of its split.

    metrics: added to those of an earlier evaluation of the same run, test pairs and mask. mask_valid: mask validation
    pairs too, as some papers do; recorded in the manifest. shortlist: rank by way of 16 bits; equal but for ties within
    rounding; None where it is faster. Popularity is scored under the same mask.
    """
    require_split_of(run_dir, split_dir)
    inputs = test_inputs(run_dir, split_dir)
    settings = {"mask": "train and valid" if mask_valid else "train"}
    names = _add_metrics(run_dir / (MASK_VALID if mask_valid else EVALUATION), EVALUATION, settings, inputs, metrics)

    def build(draft: Draft) -> None:
        run, split = read_run(run_dir), splits.read_split(split_dir)
        split.require_pairs("test")
        masked = union(run.seen, split.valid) if mask_valid else run.seen
        score = run.score(shortlist=shortlist)
        evaluation = evaluate_scores(score, split.test, masked, metrics=names)
        write_evaluation(draft.folder, evaluation, run.vocabulary)
        compared = next((name for name in ("ndcg@20", *names) if name in names and name.startswith("ndcg")), names[0])
        popular = evaluate_scores(Popularity(run.seen), split.test, masked, metrics=(compared,))
        draft.notes |= _describe_ranking(score) | _compare_with_popularity(evaluation, popular, compared)

    return Stage(EVALUATION, {"metrics": names, **settings}, inputs, build)


def evaluate_run(
    run_dir: Path,
    split_dir: Path,
    metrics: tuple[str, ...] = METRICS,
    *,
    mask_valid: bool = False,
    shortlist: bool | None = None,
) -> Path:
    """Score a run (see `evaluation_stage`) into a folder inside it, one for each mask, and return that folder.

    A finished evaluation that ranked in another way than `shortlist` says is made again.
    """
    stage = evaluation_stage(run_dir, split_dir, metrics, mask_valid=mask_valid, shortlist=shortlist)
    folder = run_dir / (MASK_VALID if mask_valid else EVALUATION)
    if shortlist is not None and stage.is_finished(folder):
        ranked_by = artifacts.read_manifest(folder, EVALUATION)["notes"].get(RANKED_BY)
        if ranked_by != (SHORTLIST if shortlist else EXACT):
            shutil.rmtree(folder)
    return stage.run(folder, replace=True)


def _add_metrics(
    folder: Path, kind: str, settings: Mapping[str, Any], inputs: Mapping[str, str], metrics: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the metrics of an evaluation in a folder, if it differs in metrics alone, and then those that it lacks."""
    if artifacts.kind_at(folder) != kind:
        return metrics
    names = artifacts.read_manifest(folder, kind)["config"]["metrics"]
    same = artifacts.key_at(folder) == artifacts.artifact_key(kind, {"metrics": names, **settings}, inputs)
    return tuple(dict.fromkeys([*names, *metrics])) if same else metrics


def _compare_with_popularity(evaluation: Evaluation, popular: Evaluation, metric: str) -> dict[str, Any]:
    """Return the notes: the value of popularity, and a warning where the run is clearly lower."""
    own, other = evaluation.means()[metric], popular.means()[metric]
    notes: dict[str, Any] = {POPULARITY: {metric: other}}
    if is_lower(evaluation.values[metric], popular.values[metric]):
        notes[BELOW] = f"{metric_label(metric)} {own:.4f} against {other:.4f} of the most popular items, same mask"
    return notes


def find_evaluation(run_dir: Path, name: str = EVALUATION) -> Path:
    """Return the verified folder of a run's evaluation. Raises DataError where it is missing or of another run.

    name: EVALUATION or RELEASED.
    """
    folder = run_dir / name
    run = artifacts.read_manifest(folder, RELEASED_KIND if name == RELEASED else name)["inputs"].get("run")
    artifacts.read_manifest(run_dir, RUN)
    if run != scores_hash(run_dir):
        raise DataError(f"{folder} is the evaluation of another run; remove it and evaluate {run_dir} again")
    return folder


def test_inputs(run_dir: Path, split_dir: Path) -> dict[str, str]:
    """Return the hashes of what an evaluation is made from."""
    return {
        "run": scores_hash(run_dir),
        "test": artifacts.file_hash(split_dir / "test.parquet"),
    }


def require_split_of(run_dir: Path, split_dir: Path) -> None:
    """Raise ConfigError where a run was made from another split, whose test pairs may be this run's train pairs."""
    inputs = artifacts.read_manifest(run_dir, RUN)["inputs"]
    valid = artifacts.file_hash(split_dir / "valid.parquet")
    if (inputs["training data"], inputs["valid"]) != (splits.training_data_hash(split_dir), valid):
        raise ConfigError(f"{run_dir} was not trained on {split_dir}; give the split that it was trained on")


def named_split(run_dir: Path) -> Path | None:
    """Return the path of the split that a run's manifest names, if it does."""
    named = artifacts.read_manifest(run_dir, RUN)["notes"].get(SPLIT_NOTE)
    return None if named is None else Path(named)


def find_run_split(
    run_dir: Path, split_dir: Path | None = None, *, remedy: str = "give its folder with --split"
) -> Path:
    """Return the split of a run: the given folder, or the one that its manifest names. Raises ConfigError without it."""
    folder = split_dir or named_split(run_dir)
    if folder is None or not artifacts.is_artifact(folder):
        raise ConfigError(f"the split of {run_dir} ({folder or 'not named'}) is not there; {remedy}")
    require_split_of(run_dir, folder)
    return folder


def write_evaluation(folder: Path, evaluation: Evaluation, vocabulary: Vocabulary, *, part: str = "test") -> None:
    """Write metrics.parquet (split, metric, k, value) and per_user.parquet. part: the value of column "split"."""
    names = [(name, *name.split("@")) for name in evaluation.values]
    pl.DataFrame(
        [
            {"split": part, "metric": m, "k": int(k), "value": float(evaluation.values[name].mean())}
            for name, m, k in names
        ]
    ).write_parquet(folder / "metrics.parquet")
    ids = [vocabulary.user_ids[user] for user in evaluation.users]
    pl.DataFrame({c.USER_ID: ids, "held_out": evaluation.n_relevant, **evaluation.values}).write_parquet(
        folder / "per_user.parquet"
    )


def released_stage(
    run_dir: Path,
    split_dir: Path,
    suspects_dir: Path,
    metrics: tuple[str, ...] = METRICS,
    *,
    threshold: float | None = None,
    shortlist: bool | None = None,
) -> Stage:
    """Return the stage that scores a run on the test pairs under the released mask.

    The mask's added positives are the suspects from the threshold on. metrics: as in `evaluation_stage`. threshold: in (0, 1]; None for that of the run, or
    0.5 where it has none. shortlist: as in `evaluation_stage`.
    """
    require_split_of(run_dir, split_dir)
    chosen = _run_threshold(run_dir) if threshold is None else threshold
    if not 0 < chosen <= 1:
        raise ConfigError(f"found threshold {chosen:g}, expected one above 0 and at most 1")
    settings = {"protocol": PROTOCOL, "honest": False, "threshold": chosen}
    settings["mask"] = "train and added positives, held-out pairs spared"
    inputs = test_inputs(run_dir, split_dir) | {"valid": artifacts.file_hash(split_dir / "valid.parquet")}
    inputs["suspects"] = hash_of_same_split(suspects_dir, suspects.KIND, split_dir)
    names = _add_metrics(run_dir / RELEASED, RELEASED_KIND, settings, inputs, metrics)

    def build(draft: Draft) -> None:
        run, split = read_run(run_dir), splits.read_split(split_dir)
        split.require_pairs("test")
        added = suspects.read_suspects(suspects_dir, split).above(chosen).pairs(split.train)
        mask = released_mask(run.seen, added, split.valid, split.test)
        score = run.score(shortlist=shortlist)
        evaluation = evaluate_scores(score, split.test, mask.pairs, metrics=names)
        write_evaluation(draft.folder, evaluation, run.vocabulary, part=PART)
        draft.notes |= {"warning": WARNING, MASKED: mask.added, SPARED: mask.spared} | _describe_ranking(score)

    return Stage(RELEASED_KIND, {"metrics": names, **settings}, inputs, build)


def _describe_ranking(score: InnerProduct) -> dict[str, str]:
    """Return notes on how items were ranked, with a warning if another way is faster on this machine."""
    slower = score.speed_warning()
    return {RANKED_BY: score.ranking} | ({SLOWER: slower} if slower else {})


def _run_threshold(run_dir: Path) -> float:
    """Return the threshold from which the run's own suspects counted."""
    used = artifacts.read_manifest(run_dir, RUN)["config"].get("suspects") or {}
    return float(used.get("threshold", suspects.THRESHOLD))
