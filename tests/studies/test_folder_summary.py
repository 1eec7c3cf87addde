"""Summaries of folders: origin by hash, contents, and files that changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.pipeline.test_fusion import Letters

from hardneg import artifacts, pipeline
from hardneg.errors import DamagedError, DataError
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.studies import Search, Study
from hardneg.studies.folder_summary import summarize_folder
from hardneg.training import FitConfig

from .conftest import Write

MODEL = {"MF": {"kind": "mf", "embedding_size": 8}}


@pytest.fixture(scope="module")
def work(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split, profiles, vectors, a trained run with its evaluation, and a fused run."""
    root = tmp_path_factory.mktemp("work")
    shutil.copytree(folders / "dataset", root / "data" / "store")
    shutil.copytree(folders / "split", split := root / "data" / "split")
    pipeline.extract_profiles_stage(split).run(root / "out" / "profiles")
    pipeline.encode_texts_stage(split, root / "out" / "profiles", Letters()).run(root / "out" / "vectors")
    fit = FitConfig(epochs=2, check_every=1, learning_rate=0.03)
    pipeline.train_stage(split, RunConfig(model=MF(embedding_size=8), fit=fit)).run(root / "runs" / "mf")
    pipeline.evaluate_run(root / "runs" / "mf", split)
    pipeline.fuse_stage(root / "runs" / "mf", split, root / "out" / "vectors").run(root / "runs" / "fused")
    return root


def test_a_folder_is_described_with_what_it_was_made_from(work: Path) -> None:
    fused = summarize_folder(work / "runs" / "fused")
    assert (fused.kind, fused.config["method"], fused.split) == ("run", "late fusion", work / "data" / "split")
    assert fused.made_from == {
        "training data": str(work / "data" / "split"),
        "vectors": str(work / "out" / "vectors"),
        "valid": str(work / "data" / "split" / "valid.parquet"),
        "run": str(work / "runs" / "mf" / "embeddings.safetensors"),
    }
    vectors = summarize_folder(work / "out" / "vectors")
    assert vectors.made_from["profiles"] == str(work / "out" / "profiles")
    assert vectors.made_from["encoder"] == "letters", "not a folder"
    assert vectors.contents["items.npy"].endswith(" x 26")
    assert summarize_folder(work / "data" / "split").made_from == {"dataset": str(work / "data" / "store")}


def test_a_run_has_its_metrics_costs_and_versions(work: Path) -> None:
    run = summarize_folder(work / "runs" / "mf")
    means = pipeline.find_evaluation(work / "runs" / "mf")
    assert f"ndcg@20 {value_of(means):.4f}" in run.results["evaluation"]
    assert run.costs["seconds"] >= 0
    assert run.versions["hardneg"]
    assert run.contents["users.parquet"].endswith(" rows")
    evaluation = summarize_folder(means)
    assert evaluation.made_from["test"] == str(work / "data" / "split" / "test.parquet")
    assert evaluation.split == work / "data" / "split"


def value_of(evaluation: Path) -> float:
    import polars as pl

    return float(pl.read_parquet(evaluation / "metrics.parquet").filter(metric="ndcg", k=20)["value"].item())


def test_changed_missing_and_additional_files_are_named(work: Path, tmp_path: Path) -> None:
    run = tmp_path / "mf"
    shutil.copytree(work / "runs" / "mf", run)
    whole = summarize_folder(run).differences
    assert whole is not None
    assert (whole.changed, whole.missing, whole.additional) == ([], [], [])
    (run / "users.parquet").write_bytes(b"other")
    (run / "seen.parquet").unlink()
    (run / "notes.txt").write_text("mine")
    found = summarize_folder(run)
    assert found.differences == artifacts.Differences(["users.parquet"], ["seen.parquet"], ["notes.txt"])
    assert not {"users.parquet", "seen.parquet"} & set(found.contents)
    shutil.copytree(work / "out" / "profiles", tmp_path / "profiles")
    with artifacts.trusting():
        assert summarize_folder(tmp_path / "profiles").differences is None
    manifest = tmp_path / "profiles" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"extractive"', '"other"', 1))
    with pytest.raises(DamagedError, match="was changed or damaged"):
        summarize_folder(tmp_path / "profiles")


def test_a_study_is_summarized(write_study: Write, folders: Path, tmp_path: Path) -> None:
    study = Study.load(write_study(models=MODEL, seeds=1), tmp_path / "out")
    study.run(0)
    study.results()
    found = summarize_folder(tmp_path / "out")
    assert (found.kind, found.config["rows"]) == ("study", ["uniform", "DNS", "MixGCF"])
    assert found.notes == {"finished runs": 3, "shared artifacts": 0, "runs in the tables": {"done": 3}}
    assert found.made_from == {"split store": str(folders / "split")}
    (tmp_path / "out" / "runs" / "store" / "mf" / "dns-seed0" / "users.parquet").unlink()
    again = summarize_folder(tmp_path / "out").differences
    assert again is not None
    assert again.missing == ["runs/store/mf/dns-seed0/users.parquet"]


def test_a_search_is_summarized(write_search: Write, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    search = Search.load(write_search(trials=1), tmp_path / "out")
    search.run(0)
    search.results()
    found = summarize_folder(tmp_path / "out")
    assert found.kind == "search"
    assert set(found.results) == {"store / MF / uniform", "store / MF / DNS", "store / MF / MixGCF"}
    assert all(text.startswith("validation recall@20 ") for text in found.results.values())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("absent", "does not exist, expected"),
        ("file", "is a file, expected"),
        ("empty", "holds none of manifest.json, study.yaml, search.yaml"),
    ],
)
def test_other_folders_are_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=text):
        summarize_folder(tmp_path / name)


def test_a_folder_of_several_results_lists_them(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work, root := tmp_path / "all")
    (root / "README.txt").write_text("text")
    (root / "other").mkdir()
    found = summarize_folder(root)
    assert found.kind == "results"
    assert found.contents == {
        "data/": "2 results",
        "out/": "2 results",
        "runs/": "2 results",
        "README.txt": "0.0 KiB",
    }
    assert summarize_folder(root / "runs").contents == {"fused/": "run", "mf/": "run"}
    (root / "runs" / "mf" / "users.parquet").unlink()
    again = summarize_folder(root).differences
    assert again is not None
    assert again.missing == ["runs/mf/users.parquet"]
