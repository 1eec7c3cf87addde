"""A run with suspects: what reaches the candidates, the loss and the graph, and that nothing reaches the mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from tests.edited_folders import accept_changes
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.cli.main import app
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import inner_product, top_items
from hardneg.judging.suspects import Suspects
from hardneg.models import MF
from hardneg.pipeline import RunConfig, SuspectsUse
from hardneg.pipeline.suspect_use import pick_triplets, suspects_warning
from hardneg.sampling import DNS
from hardneg.sampling.judged import WEIGHT
from hardneg.stage import Stage
from hardneg.training import FitConfig

from ..suspect_folders import make_suspects, write_folder

CONFIG = RunConfig(
    sampler=DNS(candidates=30), fit=FitConfig(epochs=4, check_every=4, learning_rate=0.05, batch_size=256)
)
TABLES = "embeddings.safetensors"


@pytest.fixture(scope="module")
def split(folders: Path) -> Split:
    return splits.read_split(folders / "split")


@pytest.fixture(scope="module")
def folder(folders: Path, split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("judged") / "suspects", folders / "split", make_suspects(split))


def using(**values: Any) -> RunConfig:
    return CONFIG.model_copy(update={"suspects": SuspectsUse(**values)})


def tables(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / TABLES)


def differ(one: Path, other: Path) -> bool:
    return artifacts.file_hash(one / TABLES) != artifacts.file_hash(other / TABLES)


def test_each_use_changes_training_and_none_the_mask(folders: Path, folder: Path, split: Split, tmp_path: Path) -> None:
    pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "plain")
    assert artifacts.read_manifest(tmp_path / "plain", pipeline.RUN)["config"]["suspects"] is None
    runs = [tmp_path / "plain"]
    for name in ("exclude", "positives", "both"):
        pipeline.train_stage(folders / "split", using(use=name), suspects=folder).run(tmp_path / name)
        runs.append(tmp_path / name)
        notes = artifacts.read_manifest(tmp_path / name, pipeline.RUN)["notes"]
        assert notes["suspects judged by"] == "made up"
        assert notes["suspects used"] == 3 * split.train.n_users
        masked = pipeline.read_run(tmp_path / name).seen
        assert np.array_equal(masked.keys, split.train.keys)
    assert len({artifacts.file_hash(run / TABLES) for run in runs}) == 4


@pytest.mark.parametrize("use", ["penalize", "weigh"])
def test_probabilities_of_0_train_to_the_bit_as_without_and_others_do_not(
    folders: Path, split: Split, tmp_path: Path, use: str
) -> None:
    judged, runs = make_suspects(split), {}
    pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "plain")
    for name, scale, settings in (("zero", 0.0, {}), ("one", 1.0, {}), ("strong", 1.0, {"strength": 4})):
        rows = replace(judged, probability=judged.probability * scale)
        folder = write_folder(tmp_path / f"suspects {name}", folders / "split", rows)
        runs[name] = tmp_path / name
        pipeline.train_stage(folders / "split", using(use=use, **settings), suspects=folder).run(runs[name])
    assert not differ(tmp_path / "plain", runs["zero"])
    assert differ(tmp_path / "plain", runs["one"])
    assert differ(runs["one"], runs["strong"])
    manifests = {name: artifacts.read_manifest(run, pipeline.RUN) for name, run in runs.items()}
    assert manifests["zero"]["notes"]["suspects warning"] == "all probabilities are 0: no effect"
    assert "suspects warning" not in manifests["one"]["notes"]
    assert manifests["strong"]["config"]["suspects"]["strength"] == 4
    assert manifests["one"]["notes"]["candidates judged likely"] == len(judged)
    curve = pl.read_parquet(runs["one"] / "metrics.parquet").filter(metric=WEIGHT)
    assert len(curve) == (4 if use == "weigh" else 0)
    assert curve["value"].is_between(0.2, 1).all()
    masked = pipeline.read_run(runs["one"]).seen
    assert np.array_equal(masked.keys, split.train.keys)


def test_a_penalty_of_certain_candidates_excludes_them_to_the_bit(folders: Path, split: Split, tmp_path: Path) -> None:
    judged = make_suspects(split)
    certain = replace(judged, probability=(judged.probability > 0.5).astype(float))
    folder = write_folder(tmp_path / "suspects", folders / "split", certain)
    for use in ("exclude", "penalize"):
        pipeline.train_stage(folders / "split", using(use=use), suspects=folder).run(tmp_path / use)
    assert not differ(tmp_path / "exclude", tmp_path / "penalize")


def test_the_strength_leaves_the_settings_of_other_uses_as_they_were() -> None:
    assert SuspectsUse(use="both").model_dump() == {"use": "both", "threshold": 0.5, "weight": 1.0, "graph": False}
    assert SuspectsUse(use="weigh", strength=2).model_dump()["strength"] == 2
    with pytest.raises(ValueError, match="strength applies to penalize and weigh"):
        SuspectsUse(use="both", strength=2)
    with pytest.raises(ValueError, match="leave threshold out"):
        SuspectsUse(use="penalize", threshold=0.7)
    with pytest.raises(ValueError, match="graph and weight"):
        SuspectsUse(use="weigh", graph=True)


def test_an_added_positive_stays_rankable(folders: Path, folder: Path, split: Split, tmp_path: Path) -> None:
    """It is trained on, ranked, recommended, and counts where it is held out."""
    pipeline.train_stage(folders / "split", using(use="both", weight=20, graph=True), suspects=folder).run(
        tmp_path / "run"
    )
    run = pipeline.read_run(tmp_path / "run")
    added = make_suspects(split).above(0.5).pairs(split.train)
    users = np.arange(split.train.n_users)
    best = top_items(inner_product(run.embeddings), users, run.seen, 3)
    assert added.contains(users[:, None], best).mean() > 0.3  # chance is 3 of about 60 items
    name = split.vocabulary.user_ids[0]
    recommended = [split.vocabulary.items[i] for i in pipeline.recommend(tmp_path / "run", name, 100)["item_id"]]
    assert set(added.items_of(0).tolist()) <= set(recommended)


def test_no_suspect_is_served_where_they_are_excluded(
    folders: Path, folder: Path, split: Split, tmp_path: Path
) -> None:
    served = {}
    for name in ("exclude", "positives"):
        pipeline.train_stage(folders / "split", using(use=name), suspects=folder).run(tmp_path / name)
        shown = pl.read_parquet(tmp_path / name / "examples.parquet")
        users, items = shown["user"].to_numpy(), shown["item"].to_numpy()
        served[name] = int(make_suspects(split).above(0.5).pairs(split.train).contains(users, items).sum())
    assert served["exclude"] == 0
    assert served["positives"] > 0


def test_weight_0_trains_to_the_bit_as_without(folders: Path, folder: Path, tmp_path: Path) -> None:
    pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "plain")
    pipeline.train_stage(folders / "split", using(use="positives", weight=0), suspects=folder).run(tmp_path / "zero")
    assert not differ(tmp_path / "plain", tmp_path / "zero")


def test_the_graph_takes_them_only_where_it_is_said(folders: Path, folder: Path, tmp_path: Path) -> None:
    for graph in (False, True):
        for model in ("lightgcn", "mf"):
            config = using(use="positives", graph=graph)
            config = config.model_copy(update={"model": MF()}) if model == "mf" else config
            pipeline.train_stage(folders / "split", config, suspects=folder).run(tmp_path / f"{model}-{graph}")
    assert differ(tmp_path / "lightgcn-False", tmp_path / "lightgcn-True")
    assert not differ(tmp_path / "mf-False", tmp_path / "mf-True")


@pytest.mark.parametrize("idle", [{"graph": True}, {"weight": 0.5}])
def test_what_is_of_positives_is_refused_where_they_are_none(idle: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="graph and weight"):
        SuspectsUse.model_validate({"use": "exclude", **idle})


def test_that_nothing_reaches_the_threshold_is_said(folders: Path, split: Split, tmp_path: Path) -> None:
    low = make_suspects(split)
    low.probability[:] = 0.6
    folder = write_folder(tmp_path / "low", folders / "split", low)
    config = using(use="exclude", threshold=0.7)
    pipeline.train_stage(folders / "split", config, suspects=folder).run(tmp_path / "run")
    notes = artifacts.read_manifest(tmp_path / "run", pipeline.RUN)["notes"]
    assert notes["suspects used"] == 0
    assert "reaches 0.7 (the highest is 0.6)" in notes["suspects warning"]
    assert "reaches" not in suspects_warning(folder, SuspectsUse(use="exclude"))
    table = pl.read_parquet(folder / "suspects.parquet")
    some = pl.concat([table.head(1).with_columns(probability=pl.lit(float("nan"))), table.slice(1)])
    some.write_parquet(folder / "suspects.parquet")
    accept_changes(folder)
    assert "reaches" not in suspects_warning(folder, SuspectsUse(use="exclude"))
    table.drop("probability").write_parquet(folder / "suspects.parquet")
    accept_changes(folder)
    with pytest.raises(DataError, match="has no column probability"):
        suspects_warning(folder, SuspectsUse(use="exclude"))


def test_a_judge_that_calls_most_candidates_liked_is_named(folders: Path, split: Split, tmp_path: Path) -> None:
    judged = make_suspects(split)
    liked = np.arange(len(judged)) % 10 < 6
    judged.probability[:] = np.where(liked, 0.9, 0.1)
    folder = write_folder(tmp_path / "most", folders / "split", judged)
    assert artifacts.read_manifest(folder, "suspects")["notes"]["mostly liked"].startswith("the judge calls 60.0% of")
    pipeline.train_stage(folders / "split", using(use="exclude"), suspects=folder).run(tmp_path / "run")
    notes = artifacts.read_manifest(tmp_path / "run", pipeline.RUN)["notes"]
    assert "the judge calls 60.0% of" in notes["suspects warning"]
    assert suspects_warning(folder, SuspectsUse(use="exclude", threshold=0.95)).startswith("none of")
    judged.probability[:] = np.where(liked, 0.1, 0.9)
    assert suspects_warning(write_folder(tmp_path / "few", folders / "split", judged), SuspectsUse(use="both")) == ""


def test_a_run_is_keyed_by_what_the_judge_said(folders: Path, folder: Path, split: Split, tmp_path: Path) -> None:
    config = using(use="exclude")
    pipeline.train_stage(folders / "split", config, suspects=folder).run(tmp_path / "run")
    pipeline.train_stage(folders / "split", config, suspects=folder).run(tmp_path / "run")  # stands
    other = make_suspects(split)
    other.probability[0] = 0.1
    others = write_folder(tmp_path / "other", folders / "split", other)
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.train_stage(folders / "split", config, suspects=others).run(tmp_path / "run")
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.train_stage(folders / "split", using(use="both"), suspects=folder).run(tmp_path / "run")


def test_a_run_says_what_its_suspects_warn_of(folders: Path, split: Split, tmp_path: Path) -> None:
    data, found = folders / "split", make_suspects(split)
    notes = {"warning": "built with held-out data", "filled": {"candidates": 1234, "with": 1.0}}
    folder = write_folder(tmp_path / "suspects", data, found, notes)
    for use in ("exclude", "both"):
        pipeline.train_stage(data, using(use=use), suspects=folder).run(tmp_path / use)
        said = artifacts.read_manifest(tmp_path / use, pipeline.RUN)["notes"]["suspects warning"]
        assert said == "built with held-out data; 1,234 candidates without a label count as 1"
    words = ["train", data, "--model", "mf", "--epochs", 1, "--suspects", folder, "--use-suspects", "both"]
    ran = CliRunner().invoke(app, [*map(str, words), "--out", str(tmp_path / "command")])
    assert "WARNING" in ran.stderr
    assert "built with held-out data" in ran.stderr
    clean = write_folder(tmp_path / "clean", data, found)
    pipeline.train_stage(data, using(use="both"), suspects=clean).run(tmp_path / "run")
    assert "suspects warning" not in artifacts.read_manifest(tmp_path / "run", pipeline.RUN)["notes"]


def test_a_user_who_would_have_no_candidate_is_counted(folders: Path, split: Split, tmp_path: Path) -> None:
    items = np.arange(split.train.n_items)
    free = items[~split.train.contains(np.zeros(len(items), np.int64), items)]
    everything = Suspects(np.zeros(len(free), np.int64), free, np.ones(len(free)), "made up")
    folder = write_folder(tmp_path / "suspects", folders / "split", everything)
    pipeline.train_stage(folders / "split", using(use="exclude"), suspects=folder).run(tmp_path / "run")
    notes = artifacts.read_manifest(tmp_path / "run", pipeline.RUN)["notes"]
    assert notes["users whose suspects stay candidates, because no other would be left"] == 1


def test_a_use_without_a_folder_and_a_folder_without_a_use_are_refused(
    folders: Path, folder: Path, split: Split, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="choose exclude, positives, both, penalize, weigh or triplets"):
        pipeline.train_stage(folders / "split", CONFIG, suspects=folder).run(tmp_path / "run")
    with pytest.raises(ConfigError, match="no suspects folder is given"):
        pipeline.train_stage(folders / "split", using(use="both")).run(tmp_path / "run")
    other = tmp_path / "split"
    Stage(
        splits.KIND, {"other": 1}, {}, lambda draft: splits.write_split(draft, replace(split, train=split.valid))
    ).run(other)
    with pytest.raises(ConfigError, match="made from another split"):
        pipeline.train_stage(other, using(use="both"), suspects=folder).run(tmp_path / "run")


def slow_triplets(judged: Suspects, n_users: int) -> list[tuple[int, int]]:
    """One user at a time, in the order of the rows."""
    picked = []
    for user in range(n_users):
        rows = [n for n in range(len(judged)) if judged.users[n] == user and not np.isnan(judged.probability[n])]
        by_probability = sorted(rows, key=lambda n: -judged.probability[n])
        differ = rows and judged.probability[by_probability[0]] > judged.probability[by_probability[-1]]
        pair = (int(judged.items[by_probability[0]]), int(judged.items[by_probability[-1]])) if differ else (-1, -1)
        picked.append(pair)
    return picked


def test_triplets_are_the_likeliest_and_the_unlikeliest_candidate(split: Split, rng: np.random.Generator) -> None:
    judged = make_suspects(split)
    values = rng.choice([0.1, 0.4, 0.4, 0.9, np.nan], len(judged))
    values[judged.users == 3], values[judged.users == 4] = 0.4, np.nan
    one_label = np.flatnonzero(judged.users == 5)
    values[one_label] = np.nan
    values[one_label[0]] = 0.9
    judged = replace(judged, probability=values)
    n = split.train.n_users
    liked, disliked = pick_triplets(judged.users, judged.items, judged.probability, n)
    assert list(zip(liked.tolist(), disliked.tolist(), strict=True)) == slow_triplets(judged, n)
    assert (liked[3:6] == -1).all()
    nobody = pick_triplets(judged.users[:0], judged.items[:0], values[:0], n)
    assert (np.stack(nobody) == -1).all()


def test_a_run_with_triplets_says_who_judged_them_and_who_has_none(
    folders: Path, folder: Path, split: Split, tmp_path: Path
) -> None:
    pipeline.train_stage(folders / "split", CONFIG).run(tmp_path / "plain")
    runs = {}
    for name, settings in (("zero", {"weight": 0}), ("all", {"share": 1, "prune": 0}), ("some", {})):
        runs[name] = tmp_path / name
        pipeline.train_stage(folders / "split", using(use="triplets", **settings), suspects=folder).run(runs[name])
    assert not differ(tmp_path / "plain", runs["zero"])
    assert differ(tmp_path / "plain", runs["some"])
    assert differ(runs["some"], runs["all"])
    manifest = artifacts.read_manifest(runs["some"], pipeline.RUN)
    assert manifest["notes"]["triplets judged by"] == "made up"
    assert manifest["notes"]["users with a triplet"] == split.train.n_users
    assert manifest["notes"]["users without a triplet"] == 0
    assert "suspects warning" not in manifest["notes"]
    assert manifest["config"]["suspects"]["prune"] == 0.71
    masked = pipeline.read_run(runs["all"]).seen
    assert np.array_equal(masked.keys, split.train.keys)


def test_users_without_a_triplet_are_counted_and_named(folders: Path, split: Split, tmp_path: Path) -> None:
    judged = make_suspects(split)
    judged.probability[judged.users < 7] = 0.3
    folder = write_folder(tmp_path / "suspects", folders / "split", judged)
    words = ["train", folders / "split", "--model", "mf", "--epochs", 1, "--suspects", folder]
    ran = CliRunner().invoke(app, [*map(str, words), "--use-suspects", "triplets", "--out", str(tmp_path / "run")])
    assert "7 users have no triplet" in ran.output
    assert artifacts.read_manifest(tmp_path / "run", pipeline.RUN)["notes"]["users without a triplet"] == 7


def test_settings_of_triplets_are_theirs_alone() -> None:
    use = SuspectsUse(use="triplets", share=0.5, weight=2)
    assert [name for name in SuspectsUse.model_fields if use.has_setting(name)] == ["use", "weight", "share", "prune"]
    assert not SuspectsUse(use="weigh").has_setting("share")
    with pytest.raises(ValueError, match="prune applies to triplets"):
        SuspectsUse(use="both", prune=0.5)
    with pytest.raises(ValueError, match="leave threshold out"):
        SuspectsUse(use="triplets", threshold=0.7)
    with pytest.raises(ValueError, match="strength applies"):
        SuspectsUse(use="triplets", strength=2)
    with pytest.raises(ValueError, match="graph and weight"):
        SuspectsUse(use="triplets", graph=True)
