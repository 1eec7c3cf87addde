"""Leak checks of suspects: the released protocol is detected, and judges without leaks pass."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hardneg import pipeline
from hardneg.audit import audit_folder, audit_run
from hardneg.cli.main import app
from hardneg.data import Interactions, Split
from hardneg.data import split as splits
from hardneg.data.interactions import union
from hardneg.data.truth import Truth
from hardneg.diagnostics.leakage import Check, check_candidate_users, check_candidates, check_held_out_suspects
from hardneg.evaluation import inner_product, top_items
from hardneg.judging.suspects import Suspects
from hardneg.pipeline import RunConfig, SuspectInputs, SuspectsConfig, SuspectsUse
from hardneg.stage import Stage
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig
from hardneg.types import Floats

from ..suspect_folders import write_folder

SHORT = FitConfig(epochs=6, check_every=6, learning_rate=0.02)
USERS, LIKED = (
    "the users with candidates do not depend on test pairs",
    "the suspects do not depend on held-out pairs",
)


@pytest.fixture(scope="module")
def world(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split in which two users of five have test pairs, a trained run, and its trees."""
    root, data = tmp_path_factory.mktemp("world"), splits.read_split(folders / "split")
    kept = np.random.default_rng(0).random(data.test.n_users)[data.test.users] < 0.4
    data = data.with_part("test", data.test.users[kept], data.test.items[kept])
    Stage(splits.KIND, {"thinned": True}, {}, lambda draft: splits.write_split(draft, data)).run(root / "split")
    pipeline.train_stage(root / "split", RunConfig(fit=SHORT)).run(root / "run")
    pipeline.trees_stage(root / "split", TreesConfig(), run=root / "run").run(root / "trees")
    return root


def released(root: Path, *, users_only: bool = False, clean_only: bool = False) -> Suspects:
    """As DTL-NS's release: the best candidates of test users, those called liked cleaned of held-out pairs."""
    data, run = splits.read_split(root / "split"), pipeline.read_run(root / "run")
    users = np.arange(data.train.n_users) if clean_only else np.flatnonzero(data.test.counts)
    best = top_items(inner_product(run.embeddings), users, data.train, 20)
    rows, items = np.repeat(users, 20), best.ravel()
    rng = np.random.default_rng(1)
    probability = np.where(rng.random(len(rows)) < 0.9, 1.0, 0.0)
    held_out = union(data.valid, data.test).contains(rows, items)
    return Suspects(rows, items, probability if users_only else np.where(held_out, np.nan, probability), "released")


def by_question(checks: list[Check]) -> dict[str, bool]:
    return {check.question: check.passed for check in checks}


def test_the_released_protocol_is_flagged(world: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "suspects", world / "split", released(world))
    found = by_question(audit_folder(folder, world / "split"))
    assert (found[USERS], found[LIKED]) == (False, False)
    assert found["the suspects were made from the training data of this split"]


@pytest.mark.parametrize("judge", ["rule", "all", "random"])
def test_our_suspects_pass_with_every_judge(world: Path, tmp_path: Path, judge: str) -> None:
    options = SuspectsConfig.model_validate({"judge": {"kind": judge}, "candidates": 20})
    pipeline.suspects_stage(world / "split", SuspectInputs(world / "run", world / "trees"), options).run(
        tmp_path / "suspects"
    )
    checks = audit_folder(tmp_path / "suspects", world / "split")
    assert all(check.passed for check in checks), checks


def test_each_leak_is_detected_separately(world: Path) -> None:
    data = splits.read_split(world / "split")
    found = by_question(check_candidates(released(world, users_only=True), data))
    assert (found[USERS], found[LIKED]) == (False, True)
    found = by_question(check_candidates(released(world, clean_only=True), data))
    assert (found[USERS], found[LIKED]) == (True, False)


def candidates_of_all(split: Split, seed: int = 1) -> tuple[Suspects, Floats]:
    """Every unobserved pair, called liked at random, two in five; and the dice."""
    users, items = np.nonzero(split.train.matrix().toarray() == 0)
    dice = np.random.default_rng(seed).random(len(users))
    return Suspects(users, items, np.where(dice < 0.4, 1.0, 0.0), "made up"), dice


@pytest.mark.parametrize("part", ["test", "valid"])
@pytest.mark.parametrize("share", [0.7, 1.0])
def test_removing_held_out_pairs_is_detected(store: tuple[Split, Truth], part: str, share: float) -> None:
    split = store[0]
    judged, _ = candidates_of_all(split)
    assert all(by_question(check_candidates(judged, split)).values())
    chosen = getattr(split, part).contains(judged.users, judged.items)
    chosen &= np.random.default_rng(2).random(len(chosen)) < share
    disliked = replace(judged, probability=np.where(chosen, 0.0, judged.probability))
    failed = [check for check in check_candidates(disliked, split) if not check.passed]
    assert [check.question for check in failed] == [LIKED]
    if share == 1:
        assert not check_held_out_suspects(judged.where(~chosen), split).passed


def test_held_out_pairs_as_suspects_are_detected(store: tuple[Split, Truth]) -> None:
    split = store[0]
    judged, _ = candidates_of_all(split)
    held_out = split.test.contains(judged.users, judged.items)
    for probability in (np.where(held_out, 1.0, judged.probability), held_out.astype(float)):
        found = by_question(check_candidates(replace(judged, probability=probability), split))
        assert (found[USERS], found[LIKED]) == (True, False)


def test_an_accurate_judge_passes(store: tuple[Split, Truth]) -> None:
    """It calls a third liked, and four fifths of what is held out."""
    split = store[0]
    judged, dice = candidates_of_all(split)
    held_out = union(split.valid, split.test).contains(judged.users, judged.items)
    able = replace(judged, probability=np.where(dice < np.where(held_out, 0.8, 0.3), 1.0, 0.0))
    assert all(check.passed for check in check_candidates(able, split))


@pytest.mark.parametrize("of", ["users", "items"])
def test_a_judge_that_prefers_users_or_items_passes(store: tuple[Split, Truth], of: str) -> None:
    """Held-out pairs belong to the users, or the items, of which it likes least, or most; within them they are as others."""
    split = store[0]
    judged, dice = candidates_of_all(split)
    held_out = union(split.valid, split.test)
    own = judged.users if of == "users" else judged.items
    counts = held_out.counts if of == "users" else held_out.item_counts
    many = counts[own] > np.median(counts)
    kept = many & held_out.contains(judged.users, judged.items)
    split = split.with_part("valid", split.valid.users[:0], split.valid.items[:0])
    split = split.with_part("test", judged.users[kept], judged.items[kept])
    for rate_of_many, rate_of_others in ((0.02, 0.6), (1.0, 0.02)):
        probability = np.where(dice < np.where(many, rate_of_many, rate_of_others), 1.0, 0.0)
        assert check_held_out_suspects(replace(judged, probability=probability), split).passed


def test_few_candidates_pass(store: tuple[Split, Truth]) -> None:
    """Two of seven users with candidates have test pairs, of 20 in 2,000; and the one user with candidates has the one pair."""
    n = 2000
    train = Interactions.of(np.repeat(np.arange(n), 2), np.tile([0, 1], n), n_users=n, n_items=50)
    nothing = Interactions.of(np.empty(0, np.int64), np.empty(0, np.int64), n_users=n, n_items=50)
    for testers, chosen in ((np.arange(20), [0, 1, *range(100, 105)]), (np.array([7]), [7])):
        test = Interactions.of(testers, np.full(len(testers), 5), n_users=n, n_items=50)
        split = replace(store[0], train=train, valid=nothing, test=test)
        judged = Suspects(np.array(chosen), np.full(len(chosen), 9), np.full(len(chosen), np.nan), "a handful")
        assert check_candidate_users(judged, split, "test").passed


def test_exactly_the_test_users_are_detected_even_if_histories_predict_them(store: tuple[Split, Truth]) -> None:
    """Where whoever has many train pairs has test pairs, no users of equally many differ; no candidates are no fault."""
    split = store[0]
    busy = split.train.counts > np.median(split.train.counts)
    kept = busy[split.test.users]
    split = split.with_part("test", split.test.users[kept], split.test.items[kept])
    judged, _ = candidates_of_all(split)
    exactly = judged.where((split.test.counts > 0)[judged.users])
    found = check_candidate_users(exactly, split, "test")
    assert not found.passed
    assert "p = 1 " in found.detail
    nobody = split.with_part("test", split.test.users[:0], split.test.items[:0])
    assert check_candidate_users(judged.where(np.zeros(len(judged), bool)), nobody, "test").passed


def test_candidates_without_held_out_pairs_are_detected(world: Path) -> None:
    """Then the candidates say nothing, but chance would have given some."""
    data, judged = splits.read_split(world / "split"), released(world, users_only=True)
    held_out = union(data.valid, data.test)
    cleaned = judged.where(~held_out.contains(judged.users, judged.items))
    assert not check_held_out_suspects(cleaned, data).passed


def test_candidates_of_most_test_users_and_few_others_are_detected(world: Path) -> None:
    data, everybody = splits.read_split(world / "split"), released(world, clean_only=True)
    rng = np.random.default_rng(3)
    holds = data.test.counts > 0
    chosen = np.where(holds, rng.random(len(holds)) < 0.95, rng.random(len(holds)) < 0.2)
    assert not check_candidate_users(everybody.where(chosen[everybody.users]), data, "test").passed
    by_chance = rng.random(len(holds)) < 0.5
    assert check_candidate_users(everybody.where(by_chance[everybody.users]), data, "test").passed


def test_candidates_of_active_users_pass(store: tuple[Split, Truth]) -> None:
    """Users with many train pairs have test pairs more often; among equal histories there is no dependence."""
    data = store[0]
    busy = data.train.counts >= np.median(data.train.counts)
    rng = np.random.default_rng(0)
    holds = rng.random(len(busy)) < np.where(busy, 0.9, 0.1)
    kept = holds[data.test.users]
    data = data.with_part("test", data.test.users[kept], data.test.items[kept])
    users = np.repeat(np.flatnonzero(busy), 5)
    items = np.tile(np.arange(5), busy.sum())
    fresh = ~data.train.contains(users, items)
    judged = Suspects(users[fresh], items[fresh], np.ones(fresh.sum()), "the busy")
    table = np.histogram2d(busy, data.test.counts > 0, bins=2)[0]
    assert table[1, 1] / table[1].sum() > 3 * table[0, 1] / table[0].sum()
    assert check_candidate_users(judged, data, "test").passed


def test_few_suspects_pass(store: tuple[Split, Truth]) -> None:
    """None of ten is held out, which chance explains."""
    data = store[0]
    held_out = union(data.valid, data.test)
    users, items = np.nonzero(~(data.train.matrix().toarray() + held_out.matrix().toarray() > 0))
    judged = Suspects(users[:10], items[:10], np.ones(10), "made up")
    assert check_held_out_suspects(judged, data).passed
    many = Suspects(users, items, np.ones(len(users)), "made up")
    assert not check_held_out_suspects(many, data).passed


def test_the_expectation_equals_random_draws(store: tuple[Split, Truth]) -> None:
    """Suspects drawn at random from unobserved items: as many held-out ones as foretold."""
    data, rng = store[0], np.random.default_rng(5)
    held_out = union(data.valid, data.test)
    users, items = np.nonzero(data.train.matrix().toarray() == 0)
    found = []
    for _ in range(40):
        rows = rng.choice(len(users), 3000, replace=False)
        found.append(held_out.contains(users[rows], items[rows]).sum())
    judged = Suspects(users, items, np.ones(len(users)), "everything")
    detail = check_held_out_suspects(judged.where(rng.choice(len(users), 3000, replace=False)), data).detail
    expected = float(re.search(r"unobserved items ([\d.,]+)", detail)[1].replace(",", ""))  # type: ignore[index]
    assert np.mean(found) == pytest.approx(expected, rel=0.1)


def test_a_run_is_audited_with_its_suspects_and_its_released_evaluation_is_flagged(world: Path, tmp_path: Path) -> None:
    split, folder = world / "split", tmp_path / "suspects"
    pipeline.suspects_stage(split, SuspectInputs(world / "run", world / "trees")).run(folder)
    config = RunConfig(fit=SHORT, suspects=SuspectsUse(use="both", graph=True))
    pipeline.train_stage(split, config, suspects=folder).run(tmp_path / "run")
    pipeline.evaluate_run(tmp_path / "run", split)
    checks = audit_run(tmp_path / "run", split, None, folder)
    assert len(checks) == 19
    assert all(check.passed for check in checks), checks
    pipeline.released_stage(tmp_path / "run", split, folder).run(tmp_path / "run" / pipeline.RELEASED, replace=True)
    failed = [check for check in audit_run(tmp_path / "run", split, None, folder) if not check.passed]
    assert [check.question for check in failed] == ["no evaluation masks positives that a method added"]
    assert "evaluation-released-dtl/" in failed[0].detail


def test_the_command_exits_with_1_and_the_failed_checks(world: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "suspects", world / "split", released(world))
    words = ["audit", "suspects", str(folder), "--split", str(world / "split")]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 1
    failed = [check["question"] for check in json.loads(result.stdout) if not check["passed"]]
    assert failed == [USERS, LIKED]
    assert CliRunner().invoke(app, words[:3]).exit_code == 2


def test_suspects_of_another_split_are_refused(world: Path, tmp_path: Path, folders: Path) -> None:
    data = splits.read_split(world / "split")
    fewer = Interactions(data.train.users[:-1], data.train.items[:-1], data.train.n_users, data.train.n_items)
    Stage(splits.KIND, {"fewer": 1}, {}, lambda draft: splits.write_split(draft, replace(data, train=fewer))).run(
        tmp_path / "split"
    )
    folder = write_folder(tmp_path / "suspects", world / "split", released(world))
    checks = audit_folder(folder, tmp_path / "split")
    assert [check.passed for check in checks] == [False]


@pytest.mark.real
@pytest.mark.slow
def test_the_recorded_labels_of_sports_are_flagged(real: Path, tmp_path: Path) -> None:
    from hardneg.data import SplitConfig, make_split
    from hardneg.data.readers import read_pairs
    from hardneg.judging import RecordedLabels

    folder = real / "dtlns/Sports"
    files = {part: folder / f"{part}.txt.gz" for part in ("train", "valid", "test")}
    data = make_split(read_pairs(files, item_offset=15138), SplitConfig(by="given"))
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, data)).run(tmp_path / "split")
    pipeline.suspects_stage(
        tmp_path / "split", SuspectInputs(), SuspectsConfig(judge=RecordedLabels(labels=folder))
    ).run(tmp_path / "suspects")
    checks = {check.question: check for check in audit_folder(tmp_path / "suspects", tmp_path / "split")}
    assert not checks[USERS].passed
    assert not checks[LIKED].passed
    assert "0 of 193,550 suspects are held out" in checks[LIKED].detail
