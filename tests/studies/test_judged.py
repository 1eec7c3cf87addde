"""Rows of a study whose suspects a language model judges."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.judging.test_judges import obedient
from tests.llm.function_model import FunctionModel
from tests.llm.tiny import make_tiny

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.judging import suspects
from hardneg.llm.protocol import Reply, Request, Usage
from hardneg.studies import Study
from hardneg.studies.recipes import language_model
from hardneg.studies.recipes.language_model import FIRST_BATCH, REPLIES

from .conftest import STUDY, Write, results_of

MF = {"MF": STUDY["models"]["MF"]}
DNS = STUDY["rows"]["DNS"]["sampler"]
RUN = {"model": "MF", "row": "uniform"}
TREES = {"own": {"run": RUN, "options": {"embedding_size": 4, "tree": {"leaf_items": 8}}}}
LIKELIHOOD = {"kind": "likelihood", "calibration_users": 20, "against": 2}
JUDGED = {"method": "dual-tree", "run": RUN, "candidates": 4, "llm": "rules"}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FunctionModel:
    """A model of rules in the place of every model of a file."""

    def answer(request: Request) -> Reply:
        reply = obedient(request)
        reply = Reply(reply, Usage(100, 10)) if isinstance(reply, str) else reply
        return replace(reply, seconds=0.5)

    made = FunctionModel(answer)
    monkeypatch.setattr(language_model, "_open_model", lambda *_: made)
    return made


def rows(judge: dict[str, Any], **entry: Any) -> dict[str, Any]:
    judged = {"sampler": DNS, "suspects": {"name": "judged", "use": "exclude"}}
    return {
        "models": MF,
        "trees": TREES,
        "suspects": {"judged": JUDGED | {"judge": judge} | entry},
        "rows": {"uniform": STUDY["rows"]["uniform"], "judged": judged},
        "seeds": 1,
    }


def test_rows_train_and_rerank_with_judged_candidates(write_study: Write, tmp_path: Path, folders: Path) -> None:
    llm = str(make_tiny(tmp_path / "tiny"))
    values = rows(LIKELIHOOD, llm=llm, precision="float32")
    values["suspects"]["random"] = {**JUDGED, "judge": {"kind": "random"}, "like": "judged"}
    del values["suspects"]["random"]["llm"]
    rerank = {"suspects": ["judged", "random"]}
    values["rows"] |= {
        "uniform": STUDY["rows"]["uniform"] | {"rerank": rerank},
        "penalized": {"sampler": DNS, "suspects": {"name": "judged", "use": "penalize"}},
    }
    study = Study.load(write_study(**values), tmp_path / "out")
    results = results_of(study)
    assert not results.failed
    assert {"uniform + judged", "uniform + random", "judged", "penalized"} <= set(results.runs["line"])
    shared, data = tmp_path / "out/shared/store", splits.read_split(folders / "split")
    judged, random = (suspects.read_suspects(shared / f"suspects-{name}", data) for name in ("judged", "random"))
    assert judged.labelled.all()
    assert judged.judge.startswith("likelihood")
    assert judged.score is not None
    assert random.judge == f"random {len(judged.above()) / len(judged):.4g}"
    assert (tmp_path / "out" / REPLIES).is_file()
    costs = json.loads((shared / "suspects-judged/costs.json").read_text())
    assert 0 < costs["llm_calls"] <= costs["needed"]["calls"]
    assert all(run.finished for run in Study.load(tmp_path / "study.yaml", tmp_path / "out").runs())


@pytest.mark.parametrize(
    ("judge", "trees", "calls"),
    [({"kind": "llm"}, "own", 1), ({"kind": "llm-logprob"}, "own", 4), ({"kind": "titles"}, None, 1)],
)
def test_an_estimate_counts_calls_before_and_after_the_run_is_made(
    write_study: Write,
    model: FunctionModel,
    tmp_path: Path,
    folders: Path,
    judge: dict[str, Any],
    trees: str | None,
    calls: int,
) -> None:
    study = Study.load(write_study(**rows(judge, trees=trees)), tmp_path / "out")
    n_users = int((splits.read_split(folders / "split").train.counts > 0).sum())
    cells = [cell for cell in study.cells if cell.row == "judged"]
    [before] = study.plan.estimate_replies(cells).values()
    assert before.calls == n_users * calls
    assert before.tokens_per_second is not None
    assert before.hours is not None
    assert len(model.requests) == FIRST_BATCH
    assert not list((tmp_path / "out").rglob(artifacts.MANIFEST))
    study.plan.build(cells)
    assert not study.plan.failures
    costs = json.loads((tmp_path / "out/shared/store/suspects-judged/costs.json").read_text())
    assert costs["needed"]["calls"] == before.calls
    assert not study.plan.estimate_replies(cells)


def test_an_estimate_with_a_given_rate_sends_nothing(write_study: Write, model: FunctionModel, tmp_path: Path) -> None:
    values = rows(LIKELIHOOD, tokens_per_second=100)
    values["suspects"]["again"] = values["suspects"]["judged"]
    values["rows"]["again"] = {"sampler": DNS, "suspects": {"name": "again", "use": "weigh"}}
    study = Study.load(write_study(**values), tmp_path / "out")
    [expected] = study.plan.estimate_replies(study.cells).values()
    assert expected.hours == pytest.approx(expected.prompt_tokens / 100 / 3600)
    assert expected.calls > 20, "the calibration and the single titles are counted"
    assert not model.requests
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("judge", "entry", "message"),
    [
        ({"kind": "likelihood"}, {"llm": None}, "judge 'likelihood' needs a language model; name one with `llm: NAME`"),
        (
            {"kind": "rule"},
            {"trees": "own", "precision": "bfloat16"},
            "queries no language model, found llm, precision",
        ),
        ({"kind": "llm"}, {}, "judge 'llm' needs trees"),
        ({"kind": "titles"}, {"trees": "own"}, "judge 'titles' uses no trees"),
        ({"kind": "recorded", "labels": "x"}, {}, "expected one without a file of labels"),
        ({"kind": "titles"}, {"llm": "smollm2-135m"}, "hardneg llm get smollm2-135m"),
    ],
)
def test_problems_are_reported_before_anything_runs(
    write_study: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    judge: dict[str, Any],
    entry: dict[str, Any],
    message: str,
) -> None:
    language_model._open_model.cache_clear()
    monkeypatch.setenv("HARDNEG_CACHE", str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=message):
        Study.load(write_study(**rows(judge, **entry)))
