"""A run under DTL-NS's released mask, in a folder of another name and kind than its honest evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.evaluation.released import PROTOCOL, WARNING, ReleasedMask, released_mask
from hardneg.judging import suspects
from hardneg.pipeline.inference import METRICS, read_run, require_split_of, write_evaluation
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.pipeline.training import RUN

RELEASED = f"evaluation-{PROTOCOL}"
KIND = "evaluation under the released mask"
PART = f"test, {PROTOCOL} mask"
"""What stands in the place of "test" in the metrics, so that no table takes one for the other."""

MASKED, SPARED = "added positives that are masked", "added positives that are spared because they are held out"
"""Notes of its manifest: how many."""


def evaluate_released(
    run_folder: Path,
    split_folder: Path,
    suspects_folder: Path,
    metrics: tuple[str, ...] = METRICS,
    *,
    threshold: float | None = None,
    shortlist: bool = False,
) -> Path:
    """Score a run on the test pairs under the released mask, its added positives being the suspects from the threshold on.

    threshold: None for that of the run, .5 where it has none. shortlist: as in `evaluate_run`, of which no key knows.
    Writes into the run's `evaluation-released-dtl/`; the honest `evaluation/` stays as it is, and no stage reads this
    folder in its place.
    """
    require_split_of(run_folder, split_folder)
    out, threshold = run_folder / RELEASED, _threshold(run_folder, threshold)
    settings, inputs = _described(run_folder, split_folder, suspects_folder, metrics, threshold)
    if artifacts.key_at(out) == artifacts.artifact_key(KIND, settings, inputs):
        return out
    shutil.rmtree(out, ignore_errors=True)  # other depths or suspects: cheap, and made from the run alone
    run, data = read_run(run_folder), splits.read_split(split_folder)
    added = suspects.read_suspects(suspects_folder, data).above(threshold).pairs(data.train)
    mask = released_mask(run.seen, added, data.valid, data.test)
    found = evaluate_scores(inner_product(run.embeddings, shortlist=shortlist), data.test, mask.pairs, metrics=metrics)
    with artifacts.writing(out, KIND, settings, inputs, _notes(mask)) as folder:
        write_evaluation(folder, found, run.vocabulary, part=PART)
    return out


def evaluated_released(
    run_folder: Path,
    split_folder: Path,
    suspects_folder: Path,
    metrics: tuple[str, ...] = METRICS,
    *,
    threshold: float | None = None,
) -> bool:
    """True where `evaluate_released` would find its work done."""
    chosen = _threshold(run_folder, threshold)
    settings, inputs = _described(run_folder, split_folder, suspects_folder, metrics, chosen)
    return artifacts.key_at(run_folder / RELEASED) == artifacts.artifact_key(KIND, settings, inputs)


def _threshold(run_folder: Path, given: float | None) -> float:
    """The one given; else from which probability on the run's own suspects counted."""
    if given is not None:
        return given
    used = artifacts.read_manifest(run_folder, RUN)["config"].get("suspects") or {}
    return float(used.get("threshold", suspects.THRESHOLD))


def _described(
    run_folder: Path, split_folder: Path, suspects_folder: Path, metrics: tuple[str, ...], threshold: float
) -> tuple[dict[str, Any], dict[str, str]]:
    if not 0 < threshold <= 1:
        raise ConfigError(f"found threshold {threshold:g}, expected one above 0 and at most 1")
    settings = {"metrics": metrics, "protocol": PROTOCOL, "honest": False, "threshold": threshold}
    inputs = {
        "run": artifacts.file_hash(run_folder / "embeddings.safetensors"),
        "test": artifacts.file_hash(split_folder / "test.parquet"),
        "valid": artifacts.file_hash(split_folder / "valid.parquet"),
        "suspects": hash_of_same_split(suspects_folder, suspects.KIND, split_folder),
    }
    return settings | {"mask": "train and added positives, held-out pairs spared"}, inputs


def _notes(mask: ReleasedMask) -> dict[str, Any]:
    return {
        "warning": WARNING,
        MASKED: mask.added,
        SPARED: mask.spared,
    }
