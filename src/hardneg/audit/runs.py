"""The audit of a run: its mask, its model, its inputs, its first epochs and its evaluations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.audit.evaluations import check_evaluation, find_evaluations
from hardneg.audit.folders import audit_folder, check_equal, is_divided_by_chance, rebuild
from hardneg.audit.recompute import NO_ORIGIN, NotRebuiltError, Origin, Sources
from hardneg.audit.redraw import compare_redrawn, lend, train
from hardneg.config import parse_config
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.split import Split
from hardneg.diagnostics import Check, check_bonus, check_mask, check_scores
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import evaluate_scores, score_pairs
from hardneg.judging import suspects
from hardneg.pipeline import RELEASED, RUN, FinishedRun, RunConfig, read_run, rebuild_backbone
from hardneg.pipeline.inference import MASKED, RELEASED_KIND, SPARED
from hardneg.pipeline.labels import rebuild_embeddings
from hardneg.pipeline.provenance import require_same_split
from hardneg.pipeline.reranking import read_judged
from hardneg.pipeline.suspect_use import use_suspects
from hardneg.pipeline.text import read_model_texts
from hardneg.pipeline.training import VALIDATED
from hardneg.sampling import mined
from hardneg.text import text_vectors
from hardneg.trees import trees_folder

SAME_LOSS = 1e-5
"""Relative difference of a recorded and a repeated loss that may be rounding."""
SAME_VALUE = 2e-3
"""Difference of a recorded and a recomputed validation metric that may be rounding."""

Inputs = dict[str, Path | None]
"""Parameter of `train_stage` -> folder."""
RECORDED_AS = {"negatives": (mined.KIND, mined.NEIGHBOURS), "vectors": ("vectors", "anchor")}
"""Parameter -> its names among the inputs of a run, where that is not its own."""


def audit_run(
    run_dir: Path,
    split_dir: Path,
    negatives: Path | None = None,
    suspects_dir: Path | None = None,
    *,
    trees: Path | None = None,
    vectors: Path | None = None,
    origin: Origin = NO_ORIGIN,
    epochs: int = 2,
) -> list[Check]:
    """Check a run: its mask, model, inputs and evaluations, and that held-out pairs do not reach its training.

    negatives, suspects_dir, trees, vectors: those that the run was trained with; they stay as they are while pairs are
    redrawn. origin: what those folders were made from, to make them again. Raises ConfigError where an input is missing, or one is given that the run was trained without.
    """
    manifest = artifacts.read_manifest(run_dir, RUN)
    split, run = splits.read_split(split_dir), read_run(run_dir)
    checks = [*_check_origin(manifest, split_dir), _check_vocabulary(run, split)]
    if not checks[-1].passed:
        return checks
    checks += [
        check_mask(run.seen, split.train),
        check_scores(replace(run, bonus=None).score(), split, by_chance=is_divided_by_chance(split_dir)),
        _check_released(run_dir),
    ]
    for folder in find_evaluations(run_dir):
        checks += check_evaluation(folder, run, split)
    inputs: Inputs = {"negatives": negatives, "suspects": suspects_dir, "trees": trees, "vectors": vectors}
    if "method" in manifest["config"]:
        checks += _check_reranking(run_dir, manifest, run, split, split_dir, origin)
        return [*checks, *_audit_untrained(run_dir, inputs, split_dir, origin)]
    config = _read_config(run_dir, manifest)
    _require_inputs(run_dir, manifest["inputs"], inputs)
    validated = manifest["config"].get(VALIDATED, True)
    checks += [_check_model(run_dir, config, split, suspects_dir, vectors)]
    checks += [_check_epoch(run_dir, config, manifest, run, split)] if validated else []
    checks += _check_inputs(manifest, inputs)
    threshold = suspects.THRESHOLD if config.suspects is None else config.suspects.threshold
    for folder in filter(None, inputs.values()):
        checks += audit_folder(folder, split_dir, origin, threshold=threshold)
    if not all(_is_of_split(folder, split_dir) for folder in inputs.values() if folder is not None):
        return checks  # training refuses folders of another split
    return [*checks, *_repeat(run_dir, split_dir, config, inputs, epochs)] if validated else checks


def _read_config(run_dir: Path, manifest: dict[str, Any]) -> RunConfig:
    settings = {name: value for name, value in manifest["config"].items() if name in RunConfig.model_fields}
    config: RunConfig = parse_config(RunConfig, settings, where=f"{run_dir}/manifest.json")
    return config


def _require_inputs(run_dir: Path, recorded: dict[str, str], inputs: Inputs) -> None:
    """Raise ConfigError where the folders given are not those kinds that the run names."""
    for name, folder in inputs.items():
        names = RECORDED_AS.get(name, (name,))
        trained = any(kind in recorded for kind in names)
        if folder is not None and not trained:
            raise ConfigError(f"{run_dir} was trained without {name}, found {folder}; leave it out")
        if folder is None and trained:
            raise ConfigError(f"{run_dir} was trained with {name}, found none; give the folder with --{name}")


def _check_origin(manifest: dict[str, Any], split_dir: Path) -> list[Check]:
    """Check that the run names the training data and the validation pairs of the split."""
    inputs, valid = manifest["inputs"], artifacts.file_hash(split_dir / "valid.parquet")
    trained_on = inputs.get("training data") == splits.training_data_hash(split_dir)
    return [
        check_equal("the run was trained on this split", trained_on),
        check_equal("validation pairs of this split chose its epoch", inputs.get("valid") == valid),
    ]


def _check_vocabulary(run: FinishedRun, split: Split) -> Check:
    same = run.vocabulary == split.vocabulary
    counts = f"{len(run.vocabulary.user_ids):,} users and {len(run.vocabulary.item_ids):,} items"
    return Check("the run has the users and items of the split, in order", same, counts)


def _check_model(
    run_dir: Path, config: RunConfig, split: Split, suspects_dir: Path | None, vectors: Path | None
) -> Check:
    """Recompute the embeddings from the model, over the pairs and from the texts that the run was trained with."""
    question = "the embeddings are those that the model computes from the train pairs"
    graph = use_suspects(split, config.suspects, suspects_dir).graph
    texts = read_model_texts(config.model, vectors, split)
    try:
        rebuild_embeddings(rebuild_backbone(run_dir, config, graph, texts.vectors), run_dir)
    except DataError as error:
        return Check(question, False, str(error))
    return Check(question, True, "recomputed")


def _check_epoch(run_dir: Path, config: RunConfig, manifest: dict[str, Any], run: FinishedRun, split: Split) -> Check:
    """Check that the kept epoch is the best on validation, with the value that the embeddings have there."""
    question, select = "the kept epoch is the best on validation, and has the recorded value", config.fit.select
    curve = read_parquet(run_dir / "metrics.parquet").filter(split="valid", metric=select).sort("epoch")
    if curve.is_empty():
        return Check(question, False, f"metrics.parquet has no validation {select}")
    best = curve.row(int(curve["value"].arg_max() or 0), named=True)
    now = evaluate_scores(run.score(), split.valid, split.train, metrics=(select,)).means()[select]
    kept = manifest["notes"].get("best epoch")
    same = kept == best["epoch"] and abs(now - best["value"]) <= SAME_VALUE
    detail = f"epoch {kept}, the best is {best['epoch']} with {select} {best['value']:.4f}; recomputed {now:.4f}"
    return Check(question, same, detail)


def _is_of_split(folder: Path, split_dir: Path) -> bool:
    """Return True where a folder was made from the training data and chosen by the validation pairs of a split."""
    try:
        require_same_split(folder, str(artifacts.kind_at(folder)), split_dir)
    except ConfigError:
        return False
    return True


def _check_inputs(manifest: dict[str, Any], inputs: Inputs) -> list[Check]:
    """Check that the folders given are those that the run was trained with, by their hashes."""
    kinds = {"suspects": suspects.KIND, "trees": trees_folder.KIND, "vectors": text_vectors.KIND}
    checks = []
    for name, folder in inputs.items():
        if folder is not None:
            kind = kinds.get(name) or mined.folder_kind(folder)
            names = (kind,) if name == "negatives" else RECORDED_AS.get(name, (name,))
            recorded = next((manifest["inputs"][kind] for kind in names if kind in manifest["inputs"]), None)
            artifacts.read_manifest(folder, kind)
            same = recorded == artifacts.folder_hash(folder)
            checks.append(check_equal(f"the run was trained with this {name} folder", same))
    return checks


def _audit_untrained(run_dir: Path, inputs: Inputs, split_dir: Path, origin: Origin) -> list[Check]:
    """Make a run by late fusion or by text only again."""
    if folder := next((folder for folder in inputs.values() if folder is not None), None):
        raise ConfigError(f"{run_dir} trains nothing, found {folder}; leave it out, or give it with --made-from")
    checks, used = rebuild(run_dir, split_dir, origin)
    return [*checks, *(check for folder in used for check in audit_folder(folder, split_dir, origin))]


def _check_reranking(
    run_dir: Path, manifest: dict[str, Any], run: FinishedRun, split: Split, split_dir: Path, origin: Origin
) -> list[Check]:
    """Check the bonuses of a reranked run, and, where its suspects are found, that they are of the judged candidates."""
    if run.bonus is None:
        return []
    pairs, chance = run.bonus.pairs, is_divided_by_chance(split_dir)
    checks = check_bonus(pairs, score_pairs(run.embeddings, pairs), run.bonus.values, split, by_chance=chance)
    try:
        folder = Sources(split_dir, split_dir, origin).need(run_dir, "suspects", suspects.KIND, manifest["inputs"])
    except NotRebuiltError as error:
        return [*checks, Check("bonuses are of judged candidates alone: not compared", True, str(error))]
    same = np.array_equal(pairs.keys, read_judged(folder, split)[0].keys)
    return [*checks, Check("bonuses are of judged candidates alone", same, f"{len(pairs):,} pairs compared")]


def _check_released(run_dir: Path) -> Check:
    """Check that no evaluation under the released mask is taken for an honest one."""
    folder = run_dir / RELEASED
    question = "no evaluation masks positives that a method added"
    if not artifacts.is_artifact(folder):
        return Check(question, True, "none under DTL-NS's released mask")
    notes = artifacts.read_manifest(folder, RELEASED_KIND)["notes"]
    detail = (
        f"{folder.name}/ masks {notes[MASKED]:,} added pairs and spares {notes[SPARED]:,} because they are held out; "
        "it is separate from the honest evaluation"
    )
    return Check(question, False, detail)


def _repeat(run_dir: Path, split_dir: Path, config: RunConfig, inputs: Inputs, epochs: int) -> list[Check]:
    """Repeat the first epochs: their losses are those recorded, and no held-out pair changes their result."""
    epochs = min(epochs, config.fit.epochs)
    short = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": epochs, "check_every": epochs})})
    repeated: list[pl.DataFrame] = []

    def build(folder: Path, work: Path) -> dict[str, str]:
        lent = {name: lend(path, folder, work) for name, path in inputs.items()}
        hashes = train(folder, work / "run", short, **lent)
        repeated.append(read_parquet(work / "run" / "metrics.parquet"))
        return hashes

    redrawn = compare_redrawn(split_dir, build)
    return [_compare_losses(read_parquet(run_dir / "metrics.parquet"), repeated[0], epochs), *redrawn]


def _compare_losses(recorded: pl.DataFrame, repeated: pl.DataFrame, epochs: int) -> Check:
    """Check that the recorded losses of the first epochs are those of the stated settings, seed, inputs and train pairs."""
    own, again = (
        dict(frame.filter(split="train", metric="loss").select("epoch", "value").rows())
        for frame in (recorded, repeated)
    )
    shown = [f"{own.get(epoch, float('nan')):.6f} and {again[epoch]:.6f}" for epoch in range(1, epochs + 1)]
    same = all(abs(own.get(epoch, float("nan")) - value) <= SAME_LOSS * abs(value) for epoch, value in again.items())
    question = "the first epochs, repeated from the stated settings and train pairs, have the recorded losses"
    return Check(question, same, f"recorded and repeated: {'; '.join(shown)}")
