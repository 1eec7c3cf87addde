"""Honest folders pass: every check of every kind of artifact, over several kinds of splits and judges."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardneg import pipeline
from hardneg.audit import Origin, audit_folder, audit_run, audit_split
from hardneg.data import SplitConfig, simulate
from hardneg.data.noise import NoiseConfig
from hardneg.diagnostics import Check
from hardneg.finetuning import SynthesisConfig, TuningConfig
from hardneg.judging import RandomLabels
from hardneg.pipeline import FinetuneConfig, RunConfig, SuspectInputs, SuspectsConfig, SuspectsUse
from hardneg.training import FitConfig

from .planting import FIT, WordCounts, make_world, origin_of

SIZE = simulate.SimulationConfig(n_users=150, n_items=100, shown=60, like_rate=0.2)
FOLDERS = ("profiles", "negatives", "random", "vectors", "labels", "trees", "suspects")
SPLITS = {
    "ratio": SplitConfig(train=0.7, valid=0.1, test=0.2),
    "leave-one-out": SplitConfig(by="leave-one-out"),
    "time": SplitConfig(by="time", train=0.7, valid=0.1, test=0.2),
}


@pytest.fixture(scope="module", params=SPLITS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp(request.param), SIZE, SPLITS[request.param])


def failed(checks: list[Check]) -> list[Check]:
    return [check for check in checks if not check.passed]


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(world: Path, name: str) -> None:
    checks = audit_folder(world / name, world / "split", origin_of(world))
    assert failed(checks) == []
    assert any(check.question == f"{name}, made again from its settings and inputs, is the same" for check in checks)


def test_item_profiles_in_place_of_item_texts(world: Path, tmp_path: Path) -> None:
    """Vectors and neighbours by shuffled profiles are made again from their settings."""
    split, encoder, mixed = world / "split", WordCounts(), tmp_path / "mixed"
    pipeline.shuffle_profiles_stage(split, world / "profiles", seed=2).run(mixed)
    pipeline.encode_texts_stage(split, mixed, encoder, items="profiles").run(tmp_path / "vectors")
    pipeline.neighbours_stage(split, "text", k=3, encoder=encoder, profiles_dir=mixed).run(tmp_path / "near")
    origin = Origin(WordCounts, (mixed, world / "profiles"), world / "dataset")
    for name, n_made in (("mixed", 2), ("vectors", 3), ("near", 3)):
        checks = audit_folder(tmp_path / name, split, origin)
        assert failed(checks) == []
        assert sum("made again from" in check.question for check in checks) == n_made


def test_runs(world: Path) -> None:
    origin = origin_of(world)
    assert failed(audit_run(world / "run", world / "split", origin=origin)) == []
    assert failed(audit_run(world / "semantic", world / "split", world / "negatives", origin=origin)) == []
    assert failed(audit_run(world / "fused", world / "split", origin=origin)) == []


def test_reranked_runs(world: Path, tmp_path: Path) -> None:
    split, origin = world / "split", origin_of(world)
    for name in ("run", "fused"):
        pipeline.rerank_stage(world / name, split, world / "suspects").run(tmp_path / name)
        pipeline.evaluate_run(tmp_path / name, split)
        checks = audit_run(tmp_path / name, split, origin=origin)
        assert failed(checks) == []
        assert "6 files are equal" in [check.detail for check in checks]
        assert "bonuses are of judged candidates alone" in [check.question for check in checks]
    alone = audit_run(tmp_path / "run", split)
    assert "bonuses are of judged candidates alone: not compared" in [check.question for check in alone]


def test_folders_beside_an_artifact_are_found(world: Path) -> None:
    """Without naming them: what lies beside, and profiles that can be extracted again."""
    checks = audit_folder(world / "suspects", world / "split", Origin(WordCounts))
    assert failed(checks) == []
    assert "2 files are equal" in [check.detail for check in checks]


def test_a_judge_that_likes_most_and_runs_that_use_its_suspects(world: Path, tmp_path: Path) -> None:
    origin, split = origin_of(world), world / "split"
    for name, judge in (("most", RandomLabels(rate=0.9)), ("all", {"kind": "all"})):
        config = SuspectsConfig.model_validate({"judge": judge})
        pipeline.suspects_stage(split, SuspectInputs(world / "run", world / "trees"), config).run(tmp_path / name)
        assert failed(audit_folder(tmp_path / name, split, origin)) == []
    use = SuspectsUse(use="both", graph=True)
    pipeline.train_stage(split, RunConfig(fit=FIT, suspects=use), suspects=tmp_path / "most").run(tmp_path / "run")
    pipeline.evaluate_run(tmp_path / "run", split, mask_valid=True)
    assert failed(audit_run(tmp_path / "run", split, None, tmp_path / "most", origin=origin)) == []


def test_synthesized_vectors_without_a_language_model(world: Path, tmp_path: Path) -> None:
    config = FinetuneConfig(tuning=TuningConfig(pairs=512))
    pipeline.tune_stage(world / "split", None, world / "labels", None, config).run(tmp_path / "tuned")
    stage = pipeline.synthesize_stage(
        world / "split", None, world / "labels", tmp_path / "tuned", None, SynthesisConfig()
    )
    checks = audit_folder(stage.run(tmp_path / "synthesized"), world / "split", origin_of(world))
    assert failed(checks) == []
    again = [check.question for check in checks if "made again from" in check.question]
    assert [question.split(",")[0] for question in again] == ["synthesized", "labels", "tuned"]


def test_a_tiny_split_and_one_with_noise(tmp_path: Path) -> None:
    tiny = simulate.SimulationConfig(n_users=12, n_items=50, shown=12, like_rate=0.3)
    world = make_world(tmp_path / "world", tiny, SplitConfig(train=0.6, valid=0.2, test=0.2))
    assert failed(audit_split(world / "split", WordCounts(), dataset=world / "dataset")) == []
    for name in FOLDERS:
        assert failed(audit_folder(world / name, world / "split", origin_of(world))) == []
    pipeline.noise_stage(world / "split", NoiseConfig(false_positives=0.3)).run(tmp_path / "noisy")
    assert failed(audit_split(tmp_path / "noisy", WordCounts(), epochs=1, dataset=world / "dataset")) == []


def test_a_run_of_one_epoch(world: Path, tmp_path: Path) -> None:
    pipeline.train_stage(world / "split", RunConfig(fit=FitConfig(epochs=1))).run(tmp_path / "run")
    assert failed(audit_run(tmp_path / "run", world / "split")) == []
