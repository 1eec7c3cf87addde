"""RLMRec-Con, RLMRec-Gen and LLMRec by name, from a vectors folder, and LLMRec's triplets from a judge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tests.pipeline.test_fusion import Letters
from tests.studies.conftest import STUDY, results_of
from tests.suspect_folders import make_suspects, write_folder
from typer.testing import CliRunner

import hardneg as hn
from hardneg import artifacts, pipeline, text
from hardneg.api.folders import SplitFolder, SuspectsFolder
from hardneg.cli.main import app
from hardneg.data import split as splits
from hardneg.models import MF, LLMRec
from hardneg.stage import Draft, Stage
from hardneg.studies import Search, Study
from hardneg.text import TextVectors, text_vectors
from hardneg.types import unit_rows

MODELS = ("rlmrec-con", "rlmrec-gen", "llmrec")


@pytest.fixture(scope="module")
def vectors(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random unit vectors; two items have none."""
    train, rng = splits.read_split(folders / "split").train, np.random.default_rng(0)
    users, items = (unit_rows(rng.standard_normal((n, 12))).astype(np.float32) for n in (train.n_users, train.n_items))
    items[:2] = np.nan

    def build(draft: Draft) -> None:
        text_vectors.write_text_vectors(draft, TextVectors(items, users, "made up"))

    inputs = {"training data": splits.training_data_hash(folders / "split")}
    return Stage(text_vectors.KIND, {"encoder": "random"}, inputs, build).run(tmp_path_factory.mktemp("texts") / "v")


def train(folders: Path, out: Path, *words: object) -> dict[str, np.ndarray]:
    fixed = [
        "train",
        folders / "split",
        "--epochs",
        2,
        "--set",
        "model.base={kind: lightgcn, embedding_size: 8}",
        "--out",
        out,
    ]
    ran = CliRunner().invoke(app, [*map(str, [*fixed, *words])])
    assert ran.exit_code == 0, ran.output
    return load_file(out / "embeddings.safetensors")


@pytest.mark.parametrize("model", MODELS)
def test_a_run_is_trained_by_name_and_says_what_texts_it_read(
    folders: Path, vectors: Path, tmp_path: Path, model: str
) -> None:
    tables = train(
        folders, tmp_path / "run", "--model", model, "--vectors", vectors, "--set", "model.base.kind=lightgcn"
    )
    assert all(np.isfinite(table).all() for table in tables.values())
    notes = artifacts.read_manifest(tmp_path / "run", pipeline.RUN)["notes"]
    assert notes["texts"]["source"] == "made up"
    assert notes["texts"]["items without a text"] == 2
    again = train(folders, tmp_path / "again", "--model", model, "--vectors", vectors, "--sampler", "mixgcf")
    assert not np.array_equal(tables["items"], again["items"])


def test_llmrec_takes_triplets_of_a_judge(folders: Path, vectors: Path, tmp_path: Path) -> None:
    judged = write_folder(tmp_path / "judged", folders / "split", make_suspects(splits.read_split(folders / "split")))
    words = ("--model", "llmrec", "--vectors", vectors)
    plain = train(folders, tmp_path / "plain", *words)
    triplets = train(folders, tmp_path / "run", *words, "--suspects", judged, "--use-suspects", "triplets")
    assert not np.array_equal(plain["items"], triplets["items"])
    notes = artifacts.read_manifest(tmp_path / "run", pipeline.RUN)["notes"]
    assert notes["triplets judged by"] == "made up"


@pytest.mark.parametrize("model", MODELS)
def test_options_list_their_settings(model: str) -> None:
    ran = CliRunner().invoke(app, ["options", "backbone", model, "--json"])
    assert ran.exit_code == 0, ran.output
    fields = {field["name"] for field in json.loads(ran.output)["fields"]}
    assert {"base", "profile"} < fields


UNIFORM = {"kind": "uniform"}
ROWS = {
    "uniform": {"sampler": UNIFORM},
    "RLMRec-Con": {"sampler": UNIFORM, "model": {"kind": "rlmrec-con", "contrast": "batch"}},
    "RLMRec-Gen": {"sampler": UNIFORM, "model": {"kind": "rlmrec-gen"}, "models": ["LightGCN"]},
    "LLMRec": {"sampler": UNIFORM, "model": {"kind": "llmrec"}, "suspects": {"name": "judged", "use": "triplets"}},
}


def test_a_study_and_a_search_have_them_as_rows(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: Letters())
    judged = write_folder(tmp_path / "judged", folders / "split", make_suspects(splits.read_split(folders / "split")))
    common = {
        "splits": {"store": str(folders / "split")},
        "suspects": {"judged": {"folders": {"store": str(judged)}}},
        "rows": ROWS,
    }
    study = Study.load(STUDY | common | {"seeds": 1}, tmp_path / "out")
    results = results_of(study)
    assert results.failed == {}
    lines = {table.model: table.frame["row"].to_list() for table in results.tables}
    assert lines == {"MF": ["uniform", "RLMRec-Con", "LLMRec"], "LightGCN": list(ROWS)}
    space = {"model.weight": {"low": 1e-3, "high": 1, "log": True}, "suspects.share": {"choices": [0.1, 1]}}
    rows = {"rows": {name: ROWS[name] for name in ("RLMRec-Con", "LLMRec")}, "models": {"MF": STUDY["models"]["MF"]}}
    grid = {"fit": STUDY["fit"]} | common | rows | {"name": "found", "trials": 2, "space": space}
    search = Search.load(grid, tmp_path / "search")
    search.run(0)
    settings = dict(search.results().trials.select("row", "settings").iter_rows())
    assert "suspects.share" in settings["LLMRec"]
    assert "model.weight" in settings["RLMRec-Con"]


def test_python_trains_them(folders: Path, tmp_path: Path) -> None:
    split = SplitFolder(folders / "split", hn.Workspace(tmp_path))
    made = hn.negatives.make_vectors(split, encoder=Letters())
    folder = write_folder(tmp_path / "judged", folders / "split", make_suspects(splits.read_split(split.folder)))
    suspects = SuspectsFolder(folder, split.workspace).used("triplets", share=0.5)
    run = hn.fit(split, model=LLMRec(base=MF(embedding_size=8)), vectors=made, suspects=suspects, epochs=1)
    assert run.notes["users with a triplet"] == splits.read_split(split.folder).train.n_users
