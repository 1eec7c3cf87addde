"""Runs of models that read text: from the command, from Python and in a study, and without the text afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from tests.cli.test_commands import refuse, succeed
from tests.edited_folders import accept_changes
from tests.pipeline.test_fusion import Letters
from tests.studies.conftest import STUDY, results_of

import hardneg as hn
from hardneg import artifacts, pipeline, text
from hardneg.api.folders import SplitFolder
from hardneg.audit.runs import audit_run
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.models import KAR, MF
from hardneg.pipeline import RunConfig
from hardneg.pipeline.text import read_model_texts
from hardneg.studies import Search, Study
from hardneg.text import text_vectors
from hardneg.training import FitConfig

CONFIG = RunConfig(model=KAR(base=MF(embedding_size=8)), fit=FitConfig(epochs=2, check_every=1))


@pytest.fixture(scope="module")
def vectors(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vectors folder in which two users have no profile and one item no text."""
    root = tmp_path_factory.mktemp("texts")
    pipeline.extract_profiles_stage(folders / "split").run(root / "profiles")
    made = pipeline.encode_texts_stage(folders / "split", root / "profiles", Letters()).run(root / "vectors")
    for name, rows in (("users", [0, 3]), ("items", [5])):
        table = np.load(made / f"{name}.npy")
        table[rows] = np.nan
        np.save(made / f"{name}.npy", table)
    accept_changes(made)
    return made


def test_a_run_names_its_texts_and_needs_none_afterwards(folders: Path, vectors: Path, tmp_path: Path) -> None:
    split, run = folders / "split", tmp_path / "run"
    words = ["train", split, "--model", "kar", "--set", "model.base.kind=mf", "--set", "model.base.embedding_size=8"]
    words += ["--epochs", 2]
    made = succeed(*words, "--vectors", vectors, "--out", run)
    assert "text vectors of extractive profiles, letters" in made
    assert "2 users without a profile" in made
    assert "adapted from click-through-rate prediction" in made
    manifest = artifacts.read_manifest(run, pipeline.RUN)
    assert manifest["inputs"]["vectors"] == artifacts.folder_hash(vectors)
    origin = artifacts.read_manifest(vectors, text_vectors.KIND)["inputs"]
    noted = manifest["notes"]["texts"]
    assert (noted["encoder"], noted["profiles"]) == (origin["encoder"], origin["profiles"])
    assert (noted["items without a text"], noted["users without a profile"], noted["users without any text"]) == (
        1,
        2,
        0,
    )
    assert not any("texts" in name for name in load_file(run / "model.safetensors"))
    copy = shutil.copytree(run, tmp_path / "copy")
    assert "recall" in succeed("evaluate", copy, "--split", split)
    assert "user" in succeed("recommend", copy, "--user", splits.read_split(split).vocabulary.user_ids[0])
    succeed("export", copy, "--to", "bundle", "--out", tmp_path / "bundle")
    assert "reads text, found no vectors folder" in refuse(*words, "--out", tmp_path / "other")
    assert "reads no text, found" in refuse(
        "train", split, "--model", "mf", "--vectors", vectors, "--out", tmp_path / "x"
    )


def test_a_run_with_text_can_be_audited(folders: Path, vectors: Path, tmp_path: Path) -> None:
    pipeline.train_stage(folders / "split", CONFIG, vectors=vectors).run(tmp_path / "run")
    checks = {check.question: check.passed for check in audit_run(tmp_path / "run", folders / "split", vectors=vectors)}
    assert checks["the run was trained with this vectors folder"]
    assert checks["the embeddings are those that the model computes from the train pairs"]
    with pytest.raises(ConfigError, match="was trained with vectors, found none"):
        audit_run(tmp_path / "run", folders / "split")


def test_users_without_a_profile_have_the_mean_of_their_items(folders: Path, vectors: Path) -> None:
    split, read = splits.read_split(folders / "split"), text_vectors.read_text_vectors(vectors)
    made, means = (read_model_texts(KAR(profile=p), vectors, split).vectors for p in ("profiles", "items"))
    assert made is not None
    assert means is not None
    for user in (0, 3):
        rows = read.items[split.train.items_of(user)]
        mean = np.nansum(rows.astype(float), axis=0)
        np.testing.assert_allclose(made.users[user], mean / np.linalg.norm(mean), atol=1e-6)
        np.testing.assert_array_equal(made.users[user], means.users[user])
    np.testing.assert_array_equal(made.users[1], read.users[1])
    centred = read_model_texts(KAR(centred=True), vectors, split).vectors
    assert centred is not None
    fused = pipeline.text.text_tables(read, split.train, profile="profiles", centred=True)
    np.testing.assert_array_equal(centred.items, fused.items)


def test_an_anchor_is_refused(folders: Path, vectors: Path) -> None:
    anchored = RunConfig.model_validate({"model": CONFIG.model, "anchor": {"weight": 1}})
    with pytest.raises(ConfigError, match="an anchor for model 'kar'"):
        pipeline.train_stage(folders / "split", anchored, vectors=vectors)


def test_python_encodes_and_trains(folders: Path, tmp_path: Path) -> None:
    split = SplitFolder(folders / "split", hn.Workspace(tmp_path))
    made = hn.negatives.make_vectors(split, encoder=Letters())
    run = hn.fit(split, model=CONFIG.model, vectors=made, epochs=1)
    assert run.notes["texts"]["source"] == made.read().source
    assert len(run.recommend(splits.read_split(split.folder).vocabulary.user_ids[:2], k=3)) == 6


TEXT_ROWS = {
    "uniform": {"sampler": {"kind": "uniform"}},
    "KAR": {"sampler": {"kind": "uniform"}, "model": {"kind": "kar", "hidden_size": 8}},
    "KAR, items": {
        "sampler": {"kind": "dns", "candidates": 4},
        "model": {"kind": "kar", "profile": "items"},
        "texts": {"items": "profiles"},
        "fusion": {"weights": [0, 2]},
    },
    "AlphaRec": {
        "sampler": {"kind": "uniform", "negatives": 4},
        "model": {"kind": "alpharec", "hidden_size": 8, "embedding_size": 4},
        "fit": {"loss": {"kind": "softmax", "temperature": 0.15}},
        "models": ["LightGCN"],
    },
}


def test_a_study_has_them_as_rows_and_as_models(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: Letters())
    models = STUDY["models"] | {"KAR-MF": {"kind": "kar", "base": {"kind": "mf", "embedding_size": 4}}}
    rows = TEXT_ROWS | {"KAR": TEXT_ROWS["KAR"] | {"models": ["MF", "LightGCN"]}}
    rows["KAR, items"] = rows["KAR, items"] | {"models": ["LightGCN"]}
    values = STUDY | {"splits": {"store": str(folders / "split")}, "models": models, "rows": rows, "seeds": 1}
    study = Study.load(values, tmp_path / "out")
    bases = {cell.name: getattr(cell.config.model, "base", None) for cell in study.cells if cell.trains}
    assert bases["store / LightGCN / KAR"].hops == 2
    assert bases["store / KAR-MF / uniform"].embedding_size == 4
    assert study.estimate().total == 8
    results = results_of(study)
    assert results.failed == {}
    lines = {table.model: table.frame["row"].to_list() for table in results.tables}
    assert lines["LightGCN"] == ["uniform", "KAR", "KAR, items", "KAR, items + text", "AlphaRec"]
    shared = {path.name for path in (tmp_path / "out" / "shared" / "store").glob("vectors*")}
    assert shared == {"vectors-minilm", "vectors-minilm-item-profiles"}


def test_a_search_tunes_them(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: Letters())
    values = {
        "name": "text-search",
        "splits": {"store": str(folders / "split")},
        "models": {"LightGCN": {"kind": "lightgcn", "embedding_size": 8}},
        "rows": {"KAR": TEXT_ROWS["KAR"]},
        "fit": {"epochs": 1, "check_every": 1},
        "trials": 2,
        "space": {"model.base.hops": {"choices": [1, 2]}, "model.specific_experts": {"low": 1, "high": 3}},
    }
    search = Search.load(values, tmp_path / "search")
    search.run(0)
    trials = search.results().trials
    assert trials["value"].is_not_null().all()
    assert '"model.base.hops": 3' in trials["settings"][0]
