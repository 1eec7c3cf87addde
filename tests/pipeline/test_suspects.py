"""The stage of suspects: candidates of every train user, made once, from train alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from tests.edited_folders import accept_changes
from tests.judging.test_judges import obedient
from tests.llm.function_model import FunctionModel

from hardneg import artifacts, pipeline
from hardneg.config import parse_config
from hardneg.data import SplitConfig, make_split
from hardneg.data import split as splits
from hardneg.data.readers import read_pairs
from hardneg.errors import ConfigError, DataError
from hardneg.judging import JudgementIssue, suspects
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.session import Session
from hardneg.models import MF
from hardneg.pipeline import RunConfig, SuspectInputs, SuspectsConfig
from hardneg.pipeline.suspects import NO_LABEL_THERE, report_label_errors
from hardneg.stage import Stage
from hardneg.training import FitConfig
from hardneg.trees import PathCodes, Trees, TreesConfig, trees_folder

from ..suspect_folders import write_folder


@pytest.fixture(scope="module")
def run(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "mf"
    config = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=2, check_every=2))
    pipeline.train_stage(folders / "split", config).run(out)
    return out


@pytest.fixture(scope="module")
def trees(folders: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trees") / "trees"
    config = parse_config(TreesConfig, {"embedding_size": 4, "tree": {"leaf_items": 8}}, where="test")
    pipeline.trees_stage(folders / "split", config, run=run).run(out)
    return out


def mining(**values: Any) -> SuspectsConfig:
    found: SuspectsConfig = parse_config(SuspectsConfig, {"candidates": 6, **values}, where="test")
    return found


def test_the_best_unobserved_items_of_every_train_user_are_judged(
    folders: Path, run: Path, trees: Path, tmp_path: Path
) -> None:
    pipeline.suspects_stage(folders / "split", SuspectInputs(run, trees), mining()).run(tmp_path / "out")
    data = splits.read_split(folders / "split")
    found = suspects.read_suspects(tmp_path / "out", data)
    tables = load_file(run / "embeddings.safetensors")
    scores = tables["users"] @ tables["items"].T
    for user in np.flatnonzero(data.train.counts).tolist():
        free = np.setdiff1d(np.arange(data.train.n_items), data.owned.items_of(user))
        best = free[np.argsort(-scores[user, free], kind="stable")[:6]]
        assert found.items[found.users == user].tolist() == best.tolist()
    assert found.labelled.all()
    assert found.judge.startswith("rule ")
    manifest = artifacts.read_manifest(tmp_path / "out", suspects.KIND)
    assert set(manifest["inputs"]) == {"training data", "run", "trees"}
    assert manifest["notes"]["train users"] == manifest["notes"]["users"]
    assert not (tmp_path / "out" / "costs.json").exists()


def test_what_stands_is_not_made_again_and_settings_count(
    folders: Path, run: Path, trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, out = (folders / "split", SuspectInputs(run, trees)), tmp_path / "out"
    pipeline.suspects_stage(*here, mining()).run(out)
    with monkeypatch.context() as patch:
        patch.setattr(suspects, "write_suspects", None)
        pipeline.suspects_stage(*here, mining()).run(out)
    for other in ({"codes": "shuffled"}, {"codes": "random"}, {"judge": {"kind": "rule", "by": "share"}}):
        with pytest.raises(ConfigError, match="already holds something else"):
            pipeline.suspects_stage(*here, mining(**other)).run(out)


def test_shuffled_and_random_codes_are_other_codes(folders: Path, run: Path, trees: Path, tmp_path: Path) -> None:
    data, found = splits.read_split(folders / "split"), []
    for codes in ("given", "shuffled", "random"):
        out = tmp_path / codes
        settings = mining(codes=codes, judge={"kind": "rule", "threshold": 1})
        pipeline.suspects_stage(folders / "split", SuspectInputs(run, trees), settings).run(out)
        found.append(suspects.read_suspects(out, data))
    assert found[0].items.tolist() == found[1].items.tolist() == found[2].items.tolist()
    assert len({tuple(one.probability.tolist()) for one in found}) == 3


def test_held_out_pairs_reach_no_suspect(folders: Path, run: Path, trees: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "split", tmp_path / "split")
    (tmp_path / "split" / "test.parquet").write_bytes((folders / "split" / "valid.parquet").read_bytes())
    accept_changes(tmp_path / "split")
    for split, name in ((folders / "split", "one"), (tmp_path / "split", "other")):
        pipeline.suspects_stage(split, SuspectInputs(run, trees), mining()).run(tmp_path / name)
    assert artifacts.content_hashes(tmp_path / "one") == artifacts.content_hashes(tmp_path / "other")


def test_a_model_s_calls_are_foretold_counted_and_not_repeated(
    folders: Path, run: Path, trees: Path, tmp_path: Path
) -> None:
    model, foretold = FunctionModel(obedient), []
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        for name in ("one", "two"):
            sources = SuspectInputs(run, trees, Session(model, store), foretold.append)
            pipeline.suspects_stage(folders / "split", sources, mining(judge={"kind": "llm"})).run(tmp_path / name)
    assert artifacts.content_hashes(tmp_path / "one") == artifacts.content_hashes(tmp_path / "two")
    data = splits.read_split(folders / "split")
    found = suspects.read_suspects(tmp_path / "one", data)
    assert found.labelled.all()
    assert len(found.above()) == len(found) // 2
    costs, again = (json.loads((tmp_path / name / "costs.json").read_text()) for name in ("one", "two"))
    n_users = int((data.train.counts > 0).sum())
    assert costs["llm_rows"] == costs["needed"]["calls"] == foretold[0].total.calls == n_users
    assert (again["llm_calls"], again["needed"]) == (0, costs["needed"])
    assert abs(costs["estimate"]["total"]["prompt tokens off"]) < 0.01
    prompts = artifacts.read_manifest(tmp_path / "one", suspects.KIND)["config"]["prompts"]
    assert set(prompts) == {"judge codes 1", "judge code 1", "judge titles 1"}


def test_what_judging_will_take_is_told_without_asking(folders: Path, run: Path, trees: Path, tmp_path: Path) -> None:
    model, said = FunctionModel(obedient), []
    options = mining(judge={"kind": "llm"})
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        session = Session(model, store)
        found = pipeline.estimate_suspects(folders / "split", SuspectInputs(run, trees, session), options)
        assert session.usage.calls == 0
        with pytest.raises(ConfigError, match="judge rule"):
            pipeline.estimate_suspects(folders / "split", SuspectInputs(run, trees, session), mining())
        pipeline.suspects_stage(folders / "split", SuspectInputs(run, trees, session, said.append), options).run(
            tmp_path / "out"
        )
        assert session.usage.calls == found.total.calls
    assert said == [found]


def test_likelihoods_are_kept_with_their_calibration(folders: Path, run: Path, tmp_path: Path) -> None:
    expected: list[Any] = []
    options = mining(judge={"kind": "likelihood", "calibration_users": 20, "against": 2})
    data = splits.read_split(folders / "split")
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        session = Session(FunctionModel(obedient), store)
        estimated = pipeline.estimate_suspects(folders / "split", SuspectInputs(run, session=session), options)
        assert session.usage.calls == 0
        sources = SuspectInputs(run, session=session, show_estimate=expected.append)
        pipeline.suspects_stage(folders / "split", sources, options).run(tmp_path / "out")
        assert expected == [estimated]
        assert session.usage.calls == estimated.total.calls
    manifest = artifacts.read_manifest(tmp_path / "out", suspects.KIND)
    assert list(manifest["config"]["prompts"]) == ["judge likelihood 1"]
    calibration = manifest["notes"]["calibration"]
    assert (calibration["hidden items"], calibration["random items"]) == (20, 40)
    assert 0 <= calibration["auc"] <= 1
    table = pl.read_parquet(tmp_path / "out" / "suspects.parquet")
    assert table.columns == ["user_id", "item_id", "probability", "judge", "score"]
    found = suspects.read_suspects(tmp_path / "out", data)
    assert found.score is not None
    scores, probability = np.array(calibration["curve"]).T
    np.testing.assert_allclose(np.interp(found.score, scores, probability), found.probability)
    above = found.above().score
    assert above is not None
    assert len(above) == manifest["notes"]["at least 0.5"]
    bad = table.with_columns(score=pl.lit("high"))
    bad.write_parquet(tmp_path / "out" / "suspects.parquet")
    accept_changes(tmp_path / "out")
    with pytest.raises(DataError, match="String in column score"):
        suspects.read_suspects(tmp_path / "out", data)


def test_recorded_labels_bring_their_candidates(folders: Path, tmp_path: Path) -> None:
    data = splits.read_split(folders / "split")
    users = np.repeat(np.arange(5), 2)
    items = np.concatenate([np.setdiff1d(np.arange(90), data.train.items_of(user))[:2] for user in range(5)])
    table = pl.DataFrame(
        {
            "user_id": [data.vocabulary.user_ids[user] for user in users],
            "item_id": [data.vocabulary.item_ids[item] for item in items],
            "label": [1.0, None] * 5,
        }
    )
    table.write_parquet(tmp_path / "labels.parquet")
    settings = mining(judge={"kind": "recorded", "labels": str(tmp_path / "labels.parquet")})
    pipeline.suspects_stage(folders / "split", SuspectInputs(), settings).run(tmp_path / "out")
    found = suspects.read_suspects(tmp_path / "out", data)
    assert (found.users.tolist(), found.items.tolist()) == (users.tolist(), items.tolist())
    assert len(found.above()) == 5
    assert len(pl.read_parquet(tmp_path / "out" / "rejected.parquet")) == 5
    manifest = artifacts.read_manifest(tmp_path / "out", suspects.KIND)
    assert manifest["notes"]["unlabelled"] == manifest["notes"]["rows left out"][0]["count"] == 5
    assert str(tmp_path) not in json.dumps(manifest["config"])
    assert pipeline.suspect_rate(tmp_path / "out", folders / "split") == 1.0
    filled = mining(judge=settings.judge.model_dump() | {"unlabelled": 1.0})
    pipeline.suspects_stage(folders / "split", SuspectInputs(), filled).run(tmp_path / "filled")
    notes = artifacts.read_manifest(tmp_path / "filled", suspects.KIND)["notes"]
    assert notes["filled"] == {"candidates": 5, "with": 1.0}


def test_labels_that_were_released_are_marked_as_built_with_held_out_data(tmp_path: Path) -> None:
    files = {"train": "0 2\n1 3\n", "valid": "1 5\n", "test": "1 4\n"}
    files |= {"candidate_items": "1\t6\t2\t4\t5\n", "train_enhance_dtl_fni": "1\t3\n0\t2\n1\t2\n"}
    release = tmp_path / "release"
    release.mkdir()
    for name, text in files.items():
        (release / f"{name}.txt").write_text(text, encoding="utf-8")
    pairs = read_pairs({part: release / f"{part}.txt" for part in ("train", "valid", "test")}, item_offset=2)
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, make_split(pairs, SplitConfig(by="given")))).run(
        tmp_path / "split"
    )
    pipeline.suspects_stage(
        tmp_path / "split", SuspectInputs(), mining(judge={"kind": "recorded", "labels": str(release)})
    ).run(tmp_path / "out")
    notes = artifacts.read_manifest(tmp_path / "out", suspects.KIND)["notes"]
    assert "built with held-out data" in notes[suspects.WARNING]


def test_what_has_no_label_has_none_in_the_control_at_random(folders: Path, run: Path, tmp_path: Path) -> None:
    data, split = splits.read_split(folders / "split"), folders / "split"
    pipeline.suspects_stage(split, SuspectInputs(run), mining(judge={"kind": "all"})).run(tmp_path / "all")
    whole = suspects.read_suspects(tmp_path / "all", data)
    probability = np.random.default_rng(0).choice([0.2, 0.6, 0.9, np.nan], size=len(whole))
    like = write_folder(tmp_path / "like", split, replace(whole, probability=probability))
    here = probability[~np.isnan(probability)]
    for threshold in (0.5, 0.7):
        assert pipeline.suspect_rate(like, split, threshold) == pytest.approx((here >= threshold).mean())
    judge = {"kind": "random", "rate": pipeline.suspect_rate(like, split)}
    pipeline.suspects_stage(split, SuspectInputs(run, like=like), mining(judge=judge)).run(tmp_path / "out")
    found = suspects.read_suspects(tmp_path / "out", data)
    np.testing.assert_array_equal(found.labelled, ~np.isnan(probability))
    rejected = pl.read_parquet(tmp_path / "out" / "rejected.parquet")
    assert len(rejected.filter(reason=NO_LABEL_THERE)) == np.isnan(probability).sum()
    keys = []
    for sources in (SuspectInputs(run), SuspectInputs(run, like=tmp_path / "all")):  # which has all labels
        out = tmp_path / f"whole-{len(keys)}"
        pipeline.suspects_stage(split, sources, mining(judge=judge)).run(out)
        keys.append(artifacts.key_at(out))
    assert keys[0] == keys[1]
    with pytest.raises(ConfigError, match="the judge is all"):
        pipeline.suspects_stage(split, SuspectInputs(run, like=like), mining(judge={"kind": "all"})).run(
            tmp_path / "none"
        )


def test_a_rule_that_learnt_nothing_says_so(folders: Path, run: Path, trees: Path, tmp_path: Path) -> None:
    data = splits.read_split(folders / "split")
    pipeline.suspects_stage(folders / "split", SuspectInputs(run, trees), mining()).run(tmp_path / "rule")
    assert "rule" not in artifacts.read_manifest(tmp_path / "rule", suspects.KIND)["notes"]
    flat = PathCodes.of_texts(["0"] * data.train.n_items)
    Stage(
        trees_folder.KIND,
        {},
        {"training data": splits.training_data_hash(folders / "split")},
        lambda draft: trees_folder.write_trees(draft, Trees(flat, flat, "made up"), data.vocabulary.item_ids),
    ).run(tmp_path / "flat")
    pipeline.suspects_stage(folders / "split", SuspectInputs(run, tmp_path / "flat"), mining()).run(tmp_path / "out")
    notes = artifacts.read_manifest(tmp_path / "out", suspects.KIND)["notes"]
    assert notes["at least 0.5"] == 0
    assert "hidden train items" in notes["rule"]


def test_a_run_or_trees_of_another_split_are_refused(folders: Path, run: Path, trees: Path, tmp_path: Path) -> None:
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(
        tmp_path / "split"
    )
    for sources in (SuspectInputs(run=run), SuspectInputs(trees=trees)):
        with pytest.raises(ConfigError, match="split"):
            pipeline.suspects_stage(tmp_path / "split", sources, mining()).run(tmp_path / "out")
    with pytest.raises(ConfigError, match="found no run; give --run"):
        pipeline.suspects_stage(folders / "split", SuspectInputs(trees=trees), mining()).run(tmp_path / "out")
    with pytest.raises(ConfigError, match="--trees"):
        pipeline.suspects_stage(folders / "split", SuspectInputs(run), mining()).run(tmp_path / "out")


def test_faults_are_listed_and_counted_by_reason(folders: Path) -> None:
    vocabulary = splits.read_split(folders / "split").vocabulary
    faults = [
        JudgementIssue(0, 1, "cut"),
        JudgementIssue(2, None, "no candidate", "99"),
        JudgementIssue(3, 4, "cut"),
        JudgementIssue(-1, None, "unknown", ids=("x", "y")),
    ]
    table, row_report = report_label_errors(faults, vocabulary)
    users, items = vocabulary.user_ids, vocabulary.item_ids
    assert table.rows() == [
        ("x", "y", "unknown"),
        (users[0], items[1], "cut"),
        (users[2], "99", "no candidate"),
        (users[3], items[4], "cut"),
    ]
    assert [(entry.reason, entry.count) for entry in row_report] == [("cut", 2), ("unknown", 1), ("no candidate", 1)]
    assert row_report[0].first == f"user {users[0]} item {items[1]}"
