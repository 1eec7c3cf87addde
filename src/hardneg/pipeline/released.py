"""Evaluation under DTL-NS's released mask, kept in a folder of another name and kind than the honest evaluation."""

from __future__ import annotations

from pathlib import Path

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.evaluation.released import PROTOCOL, WARNING, released_mask
from hardneg.judging import suspects
from hardneg.pipeline.inference import METRICS, read_run, require_split_of, test_inputs, write_evaluation
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.pipeline.training import RUN
from hardneg.stage import Draft, Stage

RELEASED = f"evaluation-{PROTOCOL}"
KIND = "evaluation under the released mask"
PART = f"test, {PROTOCOL} mask"
"""Replaces "test" in the metrics, so that no table mistakes one for the other."""
MASKED, SPARED = "masked added positives", "held-out added positives, not masked"
"""Notes of the manifest: numbers of pairs."""


def released_stage(
    run_dir: Path,
    split_dir: Path,
    suspects_dir: Path,
    metrics: tuple[str, ...] = METRICS,
    *,
    threshold: float | None = None,
    shortlist: bool = False,
) -> Stage:
    """Return the stage that scores a run on the test pairs under the released mask.

    The mask's added positives are the suspects from the threshold on. threshold: in (0, 1]; None for that of the run, or
    0.5 where it has none. shortlist: as in `evaluation_stage`.
    """
    require_split_of(run_dir, split_dir)
    chosen = _run_threshold(run_dir) if threshold is None else threshold
    if not 0 < chosen <= 1:
        raise ConfigError(f"found threshold {chosen:g}, expected one above 0 and at most 1")
    settings = {"metrics": metrics, "protocol": PROTOCOL, "honest": False, "threshold": chosen}
    settings["mask"] = "train and added positives, held-out pairs spared"
    inputs = test_inputs(run_dir, split_dir) | {"valid": artifacts.file_hash(split_dir / "valid.parquet")}
    inputs["suspects"] = hash_of_same_split(suspects_dir, suspects.KIND, split_dir)

    def build(draft: Draft) -> None:
        run, split = read_run(run_dir), splits.read_split(split_dir)
        added = suspects.read_suspects(suspects_dir, split).above(chosen).pairs(split.train)
        mask = released_mask(run.seen, added, split.valid, split.test)
        score = inner_product(run.embeddings, shortlist=shortlist)
        evaluation = evaluate_scores(score, split.test, mask.pairs, metrics=metrics)
        write_evaluation(draft.folder, evaluation, run.vocabulary, part=PART)
        draft.notes |= {"warning": WARNING, MASKED: mask.added, SPARED: mask.spared}

    return Stage(KIND, settings, inputs, build)


def _run_threshold(run_dir: Path) -> float:
    """Return the threshold from which the run's own suspects counted."""
    used = artifacts.read_manifest(run_dir, RUN)["config"].get("suspects") or {}
    return float(used.get("threshold", suspects.THRESHOLD))
