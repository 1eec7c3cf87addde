"""One study file compares synthesized negatives with their ablations and controls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.conftest import SMALL as SMALL_STORE
from tests.finetuning.tiny import make_base
from tests.pipeline.test_generation import Letters
from typer.testing import CliRunner

from hardneg import pipeline, text
from hardneg.cli.main import app
from hardneg.data import SplitConfig
from hardneg.errors import ConfigError
from hardneg.finetuning import SynthesisConfig, base_model
from hardneg.studies import Search, Study, estimate

from .conftest import STUDY, Write, run_study
from .test_study import LengthEncoder

LABELS = {"model": "MF", "row": "MixGCF"}
QUICK = {"epochs": 1, "batch_size": 64, "pairs": 256}
SMALL: dict[str, Any] = {
    "method": "synthesised",
    "labels": LABELS,
    "tuning": QUICK,
    "model": {"rank": 4},
    "template": {"profile_tokens": 24},
}
NEGATIVES: dict[str, Any] = {
    "full": SMALL,
    "untuned": SMALL | {"untuned": True},
    "other titles": SMALL | {"profiles": {"shuffle_titles": 7}},
    "no LM": {"method": "synthesised", "base": "none", "labels": LABELS, "tuning": QUICK, "perceptron": {"size": 16}},
    "shuffled": {"method": "shuffled", "like": "full"},
    "random": {"method": "random", "like": "full"},
    "positive": {"method": "positive", "labels": LABELS},
    "labels": {"method": "labels", "labels": LABELS},
}
SEMANTIC = {"kind": "semantic", "hidden_size": 8}


def small(base: Path, names: list[str], **more: Any) -> dict[str, Any]:
    """Entries of a file whose rows are MixGCF and one for every name."""
    negatives = {name: dict(NEGATIVES[name]) for name in names}
    for spec in negatives.values():
        if spec["method"] == "synthesised":
            spec.setdefault("base", str(base))
    rows = {"MixGCF": STUDY["rows"]["MixGCF"], **{name: {"sampler": SEMANTIC, "negatives": name} for name in names}}
    return {"models": {"MF": STUDY["models"]["MF"]}, "negatives": negatives, "rows": rows, "baseline": "MixGCF"} | more


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("bases") / "base", "bert")


def test_an_estimate_knows_fine_tuning_and_synthesis(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.0)
    study = Study.load(write_study(**small(tmp_path, ["no LM"])), tmp_path / "out")
    hours = {cell.name: cell.hours for cell in study.estimate().cells if cell.name.endswith("'no LM'")}
    assert list(hours) == ["store / tuned 'no LM'", "store / negatives 'no LM'"]
    assert min(hours.values()) > 0


@pytest.mark.slow
def test_the_whole_comparison_from_one_file(
    write_study: Write, tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = write_study(**small(tiny, list(NEGATIVES), seeds=3)), tmp_path / "out"
    monkeypatch.setattr(estimate, "SECONDS", 0.02)
    dry = CliRunner().invoke(app, ["study", "estimate", str(file), "--out", str(out)])
    assert dry.exit_code == 0, dry.output
    assert "27 runs, 0 finished" in dry.output
    assert "MF / MixGCF, auxiliary run" in " ".join(dry.output.split())
    said: list[str] = []
    study = Study.load(file, out)
    study.run(0, progress=lambda what, *_: said.append(what))
    assert study.estimate().cells == []
    results = study.results()
    assert results.failed == {}
    assert {"labels", "synthesizing vectors"} <= set(said)
    assert results.tables[0].frame is not None
    assert results.tables[0].frame["row"].to_list() == ["MixGCF", *NEGATIVES]
    shared = out / "shared" / "store"
    made = {path.name for path in shared.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert {"run-mf-mixgcf-seed1000", "labels-mf-mixgcf-seed1000-draws1", "profiles", "profiles-shuffled-7"} <= made
    assert len(made) == 4 + len(NEGATIVES) + 4, "profiles, run and labels are shared; four are tuned"
    vectors = {n: np.load(shared / f"negatives-{n}" / "embeddings.npy").astype(float) for n in ("full", "shuffled")}
    assert not np.array_equal(vectors["full"], vectors["shuffled"])
    np.testing.assert_array_equal(np.sort(vectors["full"], axis=0), np.sort(vectors["shuffled"], axis=0))
    notes = json.loads((shared / "tuned-untuned" / "manifest.json").read_text())["notes"]
    assert notes["steps"] == 0
    assert all(run.finished for run in Study.load(file, out).runs())

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be made again")

    monkeypatch.setattr("hardneg.pipeline.training.fit_backbone", forbidden)
    monkeypatch.setattr("hardneg.pipeline.tuning.tune", forbidden)
    monkeypatch.setattr("hardneg.pipeline.tuning.synthesize", forbidden)
    assert run_study(file, out).failed == {}


def test_what_cannot_be_made_costs_only_the_rows_that_need_it(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["full", "shuffled", "no LM", "positive"]
    file = write_study(**small(tmp_path / "nowhere", names, seeds=3))
    results = run_study(file, tmp_path / "out")
    assert {name.split(" / ")[2].split(",")[0] for name in results.failed} == {"full", "shuffled"}
    assert "negatives 'full' could not be made" in results.failed["store / MF / full, seed 0"]
    done = results.runs.filter(pl.col("status") == "done")["row"].unique(maintain_order=True).to_list()
    assert done == ["MixGCF", "no LM", "positive"]


def test_labels_come_from_the_settings_that_the_row_has_on_the_split(write_study: Write, tmp_path: Path) -> None:
    rows = small(tmp_path, ["positive"])["rows"]
    rows["MixGCF"] = rows["MixGCF"] | {"fit": {"learning_rate": 0.02}}
    study = Study.load(write_study(**small(tmp_path, ["positive"], rows=rows, seeds=3)), tmp_path / "out")
    study.plan.build(study.cells)
    assert study.plan.failures == {}
    run = tmp_path / "out" / "shared" / "store" / "run-mf-mixgcf-seed1000"
    config = json.loads((run / "manifest.json").read_text())["config"]
    assert (config["fit"]["learning_rate"], config["sampler"]["candidates"], config["fit"]["seed"]) == (0.02, 4, 1000)


def test_a_search_makes_negatives_too(write_search: Write, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    entries = small(tmp_path, ["no LM"])
    del entries["baseline"]
    search = Search.load(write_search(**entries, trials=1), tmp_path / "out")
    assert [outcome.reason for outcome in search.run(0)] == [None, None]


def test_problems_of_synthesized_negatives_are_reported_at_once(write_study: Write, tmp_path: Path) -> None:
    negatives = {
        "one": SMALL | {"labels": {"model": "GCN", "row": "MixGCF"}},
        "two": SMALL | {"labels": {"model": "MF", "row": "uniform"}},
        "three": SMALL | {"base": "none"},
        "four": {"method": "shuffled", "like": "five"},
        "five": {"method": "random", "like": "two"},
        "six": {"method": "positive", "labels": {"model": "MF", "row": "part"}},
    }
    rows = {name: STUDY["rows"][name] for name in ("uniform", "MixGCF")}
    rows |= {"part": rows["MixGCF"] | {"models": ["LightGCN"]}, "six": {"sampler": SEMANTIC, "negatives": "six"}}
    with pytest.raises(ConfigError) as caught:
        Study.load(write_study(negatives=negatives, rows=rows))
    for text_ in (
        "negatives.one: labels: found models 'GCN', expected a name under `models` (LightGCN, MF",
        "negatives.two: labels: row 'uniform' has sampler 'uniform', expected 'mixgcf'",
        "negatives.three: template is set",
        "negatives.four: like 'five' is random itself",
        "rows.six: a run of row 'part' with 'MF' is needed, which is left out on split 'store'",
    ):
        assert text_ in str(caught.value)


def test_text_alone_is_a_separate_line(write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fusion = {"weights": [0, 2], "alone": True}
    rows = {"uniform": STUDY["rows"]["uniform"], "DNS": STUDY["rows"]["DNS"] | {"fusion": fusion}}
    changes = {"models": {"MF": STUDY["models"]["MF"]}, "seeds": 3, "options": {"sampler.candidates": [2, 4]}}
    file = write_study(rows=rows, **changes)
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: LengthEncoder())
    results = run_study(file, tmp_path / "out")
    assert results.failed == {}
    lines = results.runs["line"].unique(maintain_order=True).to_list()
    assert lines.count("text only") == 1
    assert lines[3] == "text only"
    alone = results.runs.filter(pl.col("line") == "text only", metric="recall", k=20)
    assert alone["value"].n_unique() == 1
    assert "text only" in (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert results.tables[0].frame is not None
    assert "text only" in results.tables[0].frame["row"].to_list()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be made again")

    monkeypatch.setattr("hardneg.stage.Stage.run", forbidden)
    assert all(run.finished for run in Study.load(file, tmp_path / "out").runs())
    assert run_study(file, tmp_path / "out").failed == {}
    with pytest.raises(ConfigError, match="two lines are called 'text only'"):
        Study.load(write_study(rows={name: row | {"fusion": fusion} for name, row in rows.items()}, **changes))


def test_a_model_tuned_on_one_split_is_used_on_another(
    write_study: Write, tiny: Path, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: Letters())
    other = tmp_path / "other"
    pipeline.simulate_stage(SMALL_STORE.model_copy(update={"seed": 5})).run(tmp_path / "dataset")
    pipeline.split_stage(tmp_path / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2)).run(other)
    labels = LABELS | {"onto": "minilm"}
    values = small(tiny, ["full"], splits={"a": str(folders / "split"), "b": str(other)}, seeds=1)
    values["negatives"]["full"] |= {"labels": labels, "tuned_on": "a"}
    file = write_study(**values)
    out = tmp_path / "out"
    assert not run_study(file, out).failed
    tuned = {path.parent.parent.name for path in (out / "shared").glob("*/tuned-full/manifest.json")}
    assert tuned == {"a"}
    for split, folder in (("a", folders / "split"), ("b", other)):
        shared = [
            out / "shared" / split / name for name in ("profiles", "labels-mf-mixgcf-seed1000-draws1-onto-minilm")
        ]
        inputs = (folder, *shared, out / "shared/a/tuned-full", base_model(str(tiny)))
        assert pipeline.synthesize_stage(*inputs, SynthesisConfig()).is_finished(
            out / "shared" / split / "negatives-full"
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuned_on": "store"}, "needs a language model as base, and labels in one space"),
        ({"tuned_on": "elsewhere", "labels": LABELS | {"onto": "minilm"}}, "found splits 'elsewhere'"),
    ],
)
def test_a_transfer_needs_labels_in_one_space(
    write_study: Write, tiny: Path, changes: dict[str, Any], message: str
) -> None:
    values = small(tiny, ["full"])
    values["negatives"]["full"] |= changes
    with pytest.raises(ConfigError, match=message):
        Study.load(write_study(**values))
