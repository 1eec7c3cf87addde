"""The contract of judges."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardneg.config import parse_config
from hardneg.data import Split
from hardneg.errors import ConfigError
from hardneg.judging import JUDGES, Judge, JudgeConfig, JudgeInputs
from hardneg.llm.protocol import Reply, Request, Usage, pack_vector
from hardneg.trees import Trees


def obedient(request: Request) -> Reply | str:
    """Label every second candidate as positive; return 0.7 for choices."""
    if request.continuations:
        values = [-1.0 - len(text) / 7 - len(request.messages[-1].content) % 5 for text in request.continuations]
        return Reply(pack_vector(np.array(values)), Usage(1, 0))
    if request.choices:
        return Reply(request.choices[0], Usage(1, 1), probabilities=(0.7, 0.3))
    numbers = re.findall(r'^(\d+)\. |"number": (\d+)', request.messages[-1].content, re.MULTILINE)
    return '{"positive": [' + ", ".join(a or b for a, b in numbers[::2]) + "]}"


@pytest.fixture(params=JUDGES.names)
def judge(
    request: pytest.FixtureRequest,
    split: Split,
    codes: Trees,
    candidates: Any,
    users: Any,
    answering: Any,
    tmp_path: Path,
) -> Judge:
    """Every built-in judge, by name."""
    values: dict[str, Any] = {"kind": request.param}
    if request.param == "recorded":
        rows, places = np.nonzero(candidates >= 0)
        labels = [0.0, 1.0, None]
        table = pl.DataFrame(
            {
                "user_id": [f"u{users[row]}" for row in rows],
                "item_id": [f"i{item}" for item in candidates[rows, places]],
                "label": [labels[n % 3] for n in range(len(rows))],
            }
        )
        table.write_parquet(tmp_path / "labels.parquet")
        values["labels"] = str(tmp_path / "labels.parquet")
    session = answering(obedient)
    return parse_config(JudgeConfig, values, where="test").build(JudgeInputs(split, codes, session, session.model))


def test_one_probability_per_candidate_and_nan_for_padding(judge: Judge, users: Any, candidates: Any) -> None:
    result = judge.probabilities(users, candidates)
    assert result.shape == candidates.shape
    assert np.isnan(result[candidates < 0]).all()
    given = result[~np.isnan(result)]
    assert len(given) > 20
    assert ((given >= 0) & (given <= 1)).all()
    assert judge.name


def test_probabilities_do_not_depend_on_the_other_users(judge: Judge, users: Any, candidates: Any) -> None:
    whole = judge.probabilities(users, candidates)
    np.testing.assert_array_equal(judge.probabilities(users, candidates), whole)
    np.testing.assert_array_equal(judge.probabilities(users[2:5], candidates[2:5]), whole[2:5])


def test_no_candidates_no_probabilities(judge: Judge) -> None:
    assert judge.probabilities(np.arange(0), np.empty((0, 5), np.int64)).shape == (0, 5)
    assert judge.probabilities(np.arange(2), np.empty((2, 0), np.int64)).shape == (2, 0)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("rule", "--trees"), ("llm", "--trees"), ("llm-logprob", "--trees"), ("titles", "--llm"), ("likelihood", "--llm")],
)
def test_missing_inputs_are_named(kind: str, message: str, split: Split) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(JudgeConfig, {"kind": kind}, where="test").build(JudgeInputs(split))


def test_options_of_another_judge_are_refused() -> None:
    with pytest.raises(ConfigError, match="rate"):
        parse_config(JudgeConfig, {"kind": "rule", "rate": 0.5}, where="test")
