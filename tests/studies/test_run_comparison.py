"""The comparison of finished runs: methods and seeds, tests against scipy and the study's tables, groups by loops."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from tests.pipeline.test_fusion import Letters

import hardneg as hn
from hardneg import pipeline
from hardneg.data import SplitConfig
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import compare_methods, group_by_history, group_by_popularity, holm
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.sampling import DNS, SamplerConfig, Uniform
from hardneg.studies.run_comparison import ALL, BY_HISTORY, BY_POPULARITY, compare_finished_runs, group_by_method
from hardneg.training import FitConfig

METRICS = ("ndcg@20", "recall@10")
KINDS: dict[str, SamplerConfig] = {"uniform": Uniform(), "dns": DNS(candidates=4), "dns8": DNS(candidates=8)}


@pytest.fixture(scope="module")
def runs(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Three seeds of uniform and DNS with 4 candidates, one of DNS with 8, all evaluated."""
    root = tmp_path_factory.mktemp("runs")
    seeds = {"uniform": (0, 1, 2), "dns": (2, 0, 1), "dns8": (0,)}
    return {
        kind: [make_run(folders / "split", root / f"{kind}-seed{seed}", KINDS[kind], seed) for seed in own]
        for kind, own in seeds.items()
    }


def make_run(split: Path, folder: Path, sampler: SamplerConfig, seed: int) -> Path:
    fit = FitConfig(epochs=3, check_every=3, learning_rate=0.03, batch_size=256, seed=seed)
    pipeline.train_stage(split, RunConfig(model=MF(embedding_size=8), sampler=sampler, fit=fit)).run(folder)
    pipeline.evaluate_run(folder, split)
    return folder


def per_user(folders: Sequence[Path], metric: str) -> np.ndarray:
    return np.stack([pl.read_parquet(folder / "evaluation" / "per_user.parquet")[metric] for folder in folders])


def test_runs_that_differ_in_their_seed_are_one_method(runs: dict[str, list[Path]]) -> None:
    mixed = [runs["dns"][0], runs["uniform"][0], *runs["dns"][1:], *runs["dns8"], *runs["uniform"][1:]]
    methods, remarks = group_by_method(mixed)
    assert {method.name: list(method.folders) for method in methods} == {kind: runs[kind] for kind in runs}
    assert [method.seeds for method in methods] == [(2, 0, 1), (0, 1, 2), (0,)]
    assert [method.text for method in methods][::2] == ["dns: 3 runs, seeds 2, 0, 1", "dns8: 1 run, seed 0"]
    assert remarks == []


def test_methods_with_three_seeds_are_tested_as_in_a_study(folders: Path, runs: dict[str, list[Path]]) -> None:
    found = compare_finished_runs([*runs["uniform"], *runs["dns"]], folders / "split", metrics=METRICS, groups=False)
    assert found.baseline == "uniform"
    assert found.frame["grouping"].unique().to_list() == [ALL]
    for metric in METRICS:
        base, own = found.frame.filter(metric=metric).iter_rows(named=True)
        values = {kind: per_user(runs[kind], metric) for kind in ("uniform", "dns")}
        expected = compare_methods(values["dns"], values["uniform"])
        assert (own["low"], own["p"], own["relative"]) == (expected.low, expected.p, expected.relative)
        assert own["p_holm"] == own["p"], "a family of one"
        assert (own["mean"], own["baseline_mean"]) == pytest.approx((values["dns"].mean(), values["uniform"].mean()))
        assert own["sd"] == pytest.approx(np.std(values["dns"].mean(axis=1), ddof=1))
        assert (own["tested_over"], base["tested_over"], base["verdict"]) == ("users and seeds", None, None)
        gains = values["dns"].mean(axis=0) - values["uniform"].mean(axis=0)
        assert (own["wins"], own["losses"]) == ((gains > 1e-12).sum(), (gains < -1e-12).sum())


def test_fewer_seeds_are_compared_over_users_alone(folders: Path, runs: dict[str, list[Path]]) -> None:
    every = [*runs["uniform"], *runs["dns8"], *runs["dns"]]
    found = compare_finished_runs(every, folders / "split", metrics=METRICS[:1], groups=False)
    _, few, many = found.frame.iter_rows(named=True)
    test = stats.ttest_rel(per_user(runs["dns8"], "ndcg@20")[0], per_user(runs["uniform"], "ndcg@20").mean(axis=0))
    interval = test.confidence_interval(0.95)
    assert (few["p"], few["low"], few["high"]) == pytest.approx((test.pvalue, interval.low, interval.high))
    assert [few["p_holm"], many["p_holm"]] == pytest.approx(holm([few["p"], many["p"]]))
    assert (few["tested_over"], many["tested_over"]) == ("users", "users and seeds")
    (remark,) = [line for line in found.remarks if "users alone" in line]
    assert "dns8" in remark
    assert "dns," not in remark


def test_the_baseline_may_be_another_run(folders: Path, runs: dict[str, list[Path]]) -> None:
    every = [*runs["uniform"], *runs["dns8"]]
    found = compare_finished_runs(every, folders / "split", baseline=runs["dns8"][0], groups=False)
    assert found.baseline == "dns8"
    assert found.frame.filter(method="uniform", metric="ndcg@20")["difference"].item() == pytest.approx(
        per_user(runs["uniform"], "ndcg@20").mean() - per_user(runs["dns8"], "ndcg@20").mean()
    )
    with pytest.raises(ConfigError, match="expected one of the runs"):
        compare_finished_runs(every, folders / "split", baseline=runs["dns"][0])


def ranks_of(run: Path, user: int) -> list[int]:
    """Items of a user from the best to the worst, train items left out."""
    finished = pipeline.read_run(run)
    scores = finished.score()(np.array([user]))[0].tolist()
    seen = set(finished.seen.items_of(user).tolist())
    return sorted((item for item in range(len(scores)) if item not in seen), key=lambda item: (-scores[item], item))


def test_groups_equal_loops_over_users(folders: Path, runs: dict[str, list[Path]]) -> None:
    chosen, split = [*runs["uniform"][:1], *runs["dns8"]], splits.read_split(folders / "split")
    found = compare_finished_runs(chosen, folders / "split", metrics=("recall@10",)).frame
    users = np.flatnonzero(split.test.counts)
    for grouping, groups in {
        BY_POPULARITY: group_by_popularity(split.train, split.test),
        BY_HISTORY: group_by_history(split.train, split.test),
    }.items():
        lines = found.filter(grouping=grouping)
        assert lines["group"].unique(maintain_order=True).to_list() == [group.name for group in groups]
        for group in groups:
            for run, name in zip(chosen, ("uniform", "dns8"), strict=True):
                recalls = [
                    len(set(ranks_of(run, user)[:10]) & set(own)) / len(own)
                    for user in users
                    if len(own := group.pairs.items_of(user).tolist())
                ]
                line = lines.filter(group=group.name, method=name)
                assert line["users"].item() == len(recalls)
                assert line["mean"].item() == pytest.approx(np.mean(recalls))
        tested = lines.filter(method="dns8")
        assert tested["p_holm"].to_list() == pytest.approx(holm(tested["p"].to_list())), "groups are one family"


def test_conclusions_follow_the_corrected_verdicts(folders: Path, runs: dict[str, list[Path]]) -> None:
    found = compare_finished_runs([*runs["uniform"], *runs["dns"], *runs["dns8"]], folders / "split")
    names = {"better": "better", "worse": "worse", "not distinguishable": "not significant"}
    for line, metric in zip(found.conclusions, ("ndcg@20", "recall@20"), strict=True):
        for row in found.frame.filter(pl.col("verdict").is_not_null(), metric=metric, grouping=ALL).iter_rows(
            named=True
        ):
            part = line.split(f"{names[row['verdict']]}: ")[1].split(";")[0]
            assert f"{row['method']} ({row['relative']:+.1%})" in part
            assert (row["verdict"] == "not distinguishable") == (row["p_holm"] >= 0.05)
    assert [table.title for table in found.tables] == [
        "nDCG@20, all users",
        "Recall@20, all users",
        "nDCG@20 by popularity of the held-out item: uniform, and differences to it",
        "nDCG@20 by history of the user: uniform, and differences to it",
    ]
    assert all(len(table.headers) == len(line) for table in found.tables for line in table.cells)


def test_runs_by_fusion_have_the_seed_of_the_run_behind_them(folders: Path, tmp_path: Path) -> None:
    split = folders / "split"
    pipeline.extract_profiles_stage(split).run(tmp_path / "profiles")
    pipeline.encode_texts_stage(split, tmp_path / "profiles", Letters()).run(tmp_path / "vectors")
    fused = []
    for seed in (0, 1):
        run = make_run(split, tmp_path / "runs" / f"dns-seed{seed}", KINDS["dns"], seed)
        fused.append(tmp_path / "runs" / f"dns-text-seed{seed}")
        pipeline.fuse_stage(run, split, tmp_path / "vectors").run(fused[-1])
    (method,), _ = group_by_method(fused)
    assert (method.name, method.seeds) == ("dns-text", (0, 1))
    shutil.move(tmp_path / "runs" / "dns-seed1", tmp_path / "elsewhere")
    assert [method.seeds for method in group_by_method(fused)[0]] == [(0,), (None,)]


def test_equal_runs_count_once_and_equal_names_get_their_parents(
    folders: Path, runs: dict[str, list[Path]], tmp_path: Path
) -> None:
    copy = tmp_path / "other" / "dns-seed2"
    shutil.copytree(runs["dns"][0], copy)
    methods, (remark,) = group_by_method([*runs["dns"], copy])
    assert [len(method.folders) for method in methods] == [3]
    assert remark == f"Counted once, the same run as {runs['dns'][0]}: {copy}."
    same_name = tmp_path / "more" / "dns8"
    shutil.copytree(runs["uniform"][0], same_name)
    shutil.copytree(runs["dns8"][0], tmp_path / "dns8")
    methods, _ = group_by_method([tmp_path / "dns8", same_name])
    assert [method.name for method in methods] == [f"{tmp_path.name}/dns8", "more/dns8"]
    with pytest.raises(ConfigError, match="found one method"):
        compare_finished_runs(runs["dns"], folders / "split")
    again = [*runs["uniform"], *runs["dns"], copy]
    assert compare_finished_runs(again, folders / "split", baseline=copy, groups=False).baseline == "dns"


def test_runs_that_cannot_be_compared_are_refused(folders: Path, runs: dict[str, list[Path]], tmp_path: Path) -> None:
    split, good = folders / "split", runs["uniform"][0]
    bare = tmp_path / "bare"
    shutil.copytree(runs["dns"][0], bare)
    shutil.rmtree(bare / "evaluation")
    with pytest.raises(ConfigError, match=f"in {bare}; first run: hardneg evaluate {bare} --split {split} -k 20"):
        compare_finished_runs([good, bare], split)
    with pytest.raises(ConfigError, match="-k 7"):
        compare_finished_runs([good, runs["dns"][0]], split, metrics=("recall@7",))
    with pytest.raises(ConfigError, match="found metric 'auc'"):
        compare_finished_runs([good, runs["dns"][0]], split, metrics=("auc",))
    with pytest.raises(DataError, match="is a split folder, expected a run folder"):
        compare_finished_runs([good, split], split)
    other = tmp_path / "split"
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(other)
    with pytest.raises(ConfigError, match=f"{good} was not trained on {other}"):
        compare_finished_runs([good, runs["dns"][0]], other)
    shutil.copytree(runs["dns8"][0] / "evaluation", bare / "evaluation")
    with pytest.raises(DataError, match="is the evaluation of another run"):
        compare_finished_runs([good, bare], split)


def test_the_api_compares_objects_and_folders(folders: Path, runs: dict[str, list[Path]]) -> None:
    found = hn.compare(
        [hn.load_run(runs["dns8"][0]), str(runs["uniform"][0])], hn.load_split(folders / "split"), groups=False
    )
    assert found.baseline == "dns8"
    assert found.frame["method"].unique(maintain_order=True).to_list() == ["dns8", "uniform"]
