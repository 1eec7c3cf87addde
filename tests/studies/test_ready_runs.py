"""Every ready study, run at reduced size with tiny models, in one folder whose artifacts and runs they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from tests.finetuning.tiny import make_base
from tests.judging.test_judges import obedient
from tests.llm.function_model import FunctionModel
from tests.pipeline.test_generation import Letters
from tests.pipeline.test_item_generation import namer

from hardneg import text
from hardneg.data import split as splits
from hardneg.data.noise import read_noise
from hardneg.judging.suspects import read_suspects
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.protocol import Reply, Request
from hardneg.report.figure_data import FigureData
from hardneg.studies import Study
from hardneg.studies.ready_studies import fill_source, find_ready, ready_names
from hardneg.studies.recipes import generated, language_model, negatives

QUICK = {"epochs": 1, "batch_size": 64, "micro_batch": 64, "pairs": 128, "look_every": 10, "held_out_most": 32}
OWN_FOLDER = {"false-negatives": "measured", "dtlns-efficiency": "other candidates"}
"""Studies whose runs differ from those of the same name in others."""
SIZES = {
    "sgl": {"embedding_size": 8, "hops": 1},
    "ngcf": {"embedding_size": 8, "hops": 1},
    "lightgcn": {"embedding_size": 8, "hops": 1},
    "mf": {"embedding_size": 8},
}


def reduce_study(values: dict[str, Any], seeds: int = 1) -> dict[str, Any]:
    """The study with models, trainings and grids as small as can be; its rows stay the same."""
    values = dict(values)
    values["models"] = {name: model | SIZES[model["kind"]] for name, model in values["models"].items()}
    values["options"] = {field: [*choices[:1], choices[-1]] for field, choices in values.get("options", {}).items()}
    for entry in values.get("trees", {}).values():
        if "run" in entry:
            entry["options"] = {"embedding_size": 4, "tree": {"leaf_items": 8}}
    for entry in values.get("suspects", {}).values():
        entry["candidates"] = 4
        if entry.get("judge", {}).get("kind") == "likelihood":
            entry["judge"] |= {"calibration_users": 20, "against": 2}
    for entry in values.get("negatives", {}).values():
        if entry["method"] == "synthesised":
            entry["tuning"] = QUICK
            if entry.get("base") != "none":
                entry["template"] = {"profile_tokens": 8}
    values["fit"] = {"epochs": 2, "check_every": 1, "learning_rate": 0.01}
    return values | {"seeds": seeds}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ready") / "out"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("bases") / "base", "bert")


@pytest.fixture(autouse=True)
def models(folders: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick encoder, a tiny base and a language model of rules, in the place of those that a file names."""
    names = namer(splits.read_split(folders / "split").texts["title"].to_list())

    def answer(request: Request) -> Reply | str:
        is_naming = bool(request.schema) and "positive" not in request.schema
        return names._answer(request) if is_naming else obedient(request)

    monkeypatch.setattr(language_model, "_open_model", lambda *_: FunctionModel(answer, name="rules"))
    monkeypatch.setattr(generated, "open_encoder", lambda *_, **__: Letters())
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: Letters())
    monkeypatch.setattr(negatives, "base_model", lambda *_, **__: ModelSource(str(base)))


@pytest.mark.parametrize("name", ready_names())
def test_a_ready_study_runs(name: str, folders: Path, out: Path) -> None:
    ready = find_ready(name)
    llms = [] if ready.llms == "none" else ["a/first-1B", "b/second-2B"]
    filled = fill_source(name, [f"s{n}={folders / 'split'}" for n in range(ready.least_splits)], llms)
    study = Study.load(reduce_study(filled.values), out / OWN_FOLDER.get(name, "shared"))
    study.run(0)
    results = study.results()
    assert not results.failed
    assert all(len(table.frame) > 1 for table in results.tables)
    assert study.spec.figures
    if name == "dtlns-identification":
        _check_identification(study, results.figures[0])
    for number, _ in enumerate(study.spec.figures, start=1):
        drawn = [figure for figure in results.figures if figure.key.startswith(f"figure-{number}-")]
        assert drawn
        for figure in drawn:
            assert ET.parse(study.out / "tables" / f"{figure.key}.svg")
            assert "95 % intervals" in figure.caption or figure.kind == "map"
            if "fewer than three seeds they say nothing" not in figure.caption:
                assert " better" not in figure.caption, "one seed is not tested"


def _check_identification(study: Study, figure: FigureData) -> None:
    """The AUC of each judge is the mean over users of the share of its pairs in order, counted in loops."""
    (split,) = study.spec.splits
    folder = study.plan.split_dir(split)
    data, hidden = splits.read_split(folder), read_noise(folder).hidden
    for name, value in figure.points.select("x_name", "value").iter_rows():
        judged = read_suspects(study.plan.artifact(split, study.spec.entry("suspects", name)).folder, data)
        scores = judged.probability if judged.score is None else judged.score
        by_user: dict[int, tuple[list[float], list[float]]] = {}
        for user, item, score, probability in zip(judged.users, judged.items, scores, judged.probability, strict=True):
            if not np.isnan(probability):
                is_hidden = bool(hidden.contains(np.array([user]), np.array([item]))[0])
                by_user.setdefault(int(user), ([], []))[is_hidden].append(float(score))
        shares = [
            np.mean([(one > other) + 0.5 * (one == other) for one in own for other in others])
            for others, own in by_user.values()
            if own and others
        ]
        assert value == pytest.approx(np.mean(shares))
        assert f"{name}: AUC {value:.3f}" in figure.conclusion
