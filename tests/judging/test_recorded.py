"""Labels from a file, with every kind of unusable row."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg.data import Split
from hardneg.errors import DataError
from hardneg.judging import (
    JudgeInputs,
    JudgementIssue,
    RecordedJudge,
    RecordedJudgements,
    RecordedLabels,
    read_judgements,
)
from hardneg.judging.recorded import CONTRADICTED, INCOMPLETE, INVALID_LABEL, NO_LABEL, NOT_IN_FILE, OBSERVED, UNKNOWN


def test_labels_are_looked_up_and_missing_ones_are_listed(split: Split, tmp_path: Path) -> None:
    own = int(split.train.items_of(1)[0])
    free = np.setdiff1d(np.arange(40), split.train.items_of(1))[:3].tolist()
    (tmp_path / "labels.csv").write_text(
        f"user_id,item_id,label\nu1,i{free[0]},1\nu1,i{free[1]},\nu1,i{own},1\nnobody,i3,0\n", encoding="utf-8"
    )
    inputs = JudgeInputs(split)
    judge = RecordedLabels(labels=tmp_path / "labels.csv").build(inputs)
    result = judge.probabilities(np.array([1]), np.array([[free[1], free[0], free[2], -1]]))
    np.testing.assert_array_equal(result, [[np.nan, 1.0, np.nan, np.nan]])
    assert inputs.issues == [
        JudgementIssue(-1, None, UNKNOWN, ids=("nobody", "i3")),
        JudgementIssue(1, None, OBSERVED, ids=("u1", f"i{own}")),
        JudgementIssue(1, free[2], NOT_IN_FILE),
        JudgementIssue(1, free[1], NO_LABEL),
    ]


def test_replaced_labels_are_counted(split: Split, tmp_path: Path) -> None:
    free = np.setdiff1d(np.arange(40), split.train.items_of(1))[:3].tolist()
    text = f"user_id,item_id,label\nu1,i{free[0]},0.2\nu1,i{free[1]},\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    inputs = JudgeInputs(split)
    judge = RecordedLabels(labels=tmp_path / "labels.csv", unlabelled=1).build(inputs)
    candidates = np.array([1]), np.array([[*free, -1]])
    np.testing.assert_array_equal(judge.probabilities(*candidates), [[0.2, 1.0, np.nan, np.nan]])
    assert isinstance(judge, RecordedJudge)
    assert judge.n_filled(*candidates) == 1
    assert [issue.reason for issue in inputs.issues] == [NOT_IN_FILE]


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_missing_labels_get_the_configured_probability(split: Split, tmp_path: Path, probability: float) -> None:
    free = np.setdiff1d(np.arange(40), split.train.items_of(1))[:3].tolist()
    (tmp_path / "labels.csv").write_text(f"user_id,item_id,label\nu1,i{free[0]},0.25\nu1,i{free[1]},\n")
    inputs = JudgeInputs(split)
    judge = RecordedLabels(labels=tmp_path / "labels.csv", unlabelled=probability).build(inputs)
    result = judge.probabilities(np.array([1]), np.array([[free[0], free[1], free[2]]]))
    np.testing.assert_array_equal(result, [[0.25, probability, np.nan]])  # candidates outside the file have no label
    assert inputs.issues == [JudgementIssue(1, free[2], NOT_IN_FILE)]
    assert judge.name == f"recorded, no label as {probability:g}"


def test_the_file_defines_its_candidates(split: Split) -> None:
    free = np.setdiff1d(np.arange(40), split.train.items_of(2))[:2].tolist()
    table = pl.DataFrame({"user_id": ["u2", "u2"], "item_id": [f"i{n}" for n in reversed(free)], "label": [1.0, 0.0]})
    candidates = RecordedJudgements.from_table(table, split, []).candidates()
    assert candidates.items.tolist() == [free[::-1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user_id,item_id\nu1,i1\n", "no column label"),
        ("", "no readable CSV"),
        ("user_id,item_id,label\n", "has no row"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_judgements(tmp_path / "labels.csv")


def test_an_invalid_row_is_left_out(split: Split, tmp_path: Path) -> None:
    numbers = np.setdiff1d(np.arange(40), split.train.items_of(1))[:7]
    a, b, d, e, f, g, h = (f"i{item}" for item in numbers)
    rows = [
        (a, "1"),
        (b, "yes"),
        (d, "2"),
        (e, "nan"),
        (f, "0.5"),
        (f, ".50"),  # repeats the row above
        (g, "1"),
        (g, ""),
        ("", "1"),
        (h, "no"),
        (h, "0"),  # does not contradict an invalid label
    ]
    text = "user_id,item_id,label\n" + "".join(f"u1,{item},{label}\n" for item, label in rows)
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    inputs = JudgeInputs(split)
    judge = RecordedLabels(labels=tmp_path / "labels.csv").build(inputs)
    assert [(issue.ids, issue.reason) for issue in inputs.issues] == [
        (("u1", None), INCOMPLETE),
        *[(("u1", item), INVALID_LABEL) for item in (b, d, e, h)],
        *[(("u1", g), CONTRADICTED)] * 2,
    ]
    named = len(inputs.issues)
    result = judge.probabilities(np.array([1]), numbers[None])
    np.testing.assert_array_equal(result, [[1.0, np.nan, np.nan, np.nan, 0.5, np.nan, 0.0]])
    assert len(inputs.issues) == named, "what was refused is not said to be missing as well"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pl.Series([True, False]), [1.0, 0.0]),
        (pl.Series([1, 0]), [1.0, 0.0]),
        (pl.Series([0.25, None]), [0.25, np.nan]),
        (pl.Series(["1", "0.5"], dtype=pl.Categorical), [1.0, 0.5]),
        (pl.Series(["1", "0"], dtype=pl.Enum(["0", "1"])), [1.0, 0.0]),
    ],
)
def test_labels_may_have_any_numeric_type(
    split: Split, tmp_path: Path, labels: pl.Series, expected: list[float]
) -> None:
    free = np.setdiff1d(np.arange(40), split.train.items_of(1))[:2]
    table = pl.DataFrame({"user_id": "u1", "item_id": [f"i{item}" for item in free], "label": labels})
    table.write_parquet(tmp_path / "labels.parquet")
    result = RecordedJudgements.from_table(read_judgements(tmp_path / "labels.parquet"), split, [])
    np.testing.assert_array_equal(result.label, expected)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("label", pl.Series([[1.0]]), "labels of type List"),
        ("label", pl.Series([{"a": 1}]), "labels of type Struct"),
        ("label", pl.Series([b"1"]), "labels of type Binary"),
        ("label", pl.Series([datetime.date(1970, 1, 2)]), "labels of type Date"),
        ("user_id", pl.Series([["u1"]]), "has ids"),
        ("item_id", pl.Series([b"\xff"]), "has ids"),
    ],
)
def test_columns_of_another_type_are_refused(
    split: Split, tmp_path: Path, column: str, values: pl.Series, message: str
) -> None:
    table = pl.DataFrame({"user_id": ["u1"], "item_id": ["i1"], "label": [1.0]}).with_columns(values.alias(column))
    table.write_parquet(tmp_path / "labels.parquet")
    with pytest.raises(DataError, match=f"labels.parquet.* {message}"):
        RecordedLabels(labels=tmp_path / "labels.parquet").build(JudgeInputs(split))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({("u1", "i0"): "yes", ("x", "y"): "1"}, f"1 {INVALID_LABEL}; 1 {UNKNOWN}"),
        ({("x", "y"): "1"}, f"1 {UNKNOWN}"),
        ({}, "none"),
    ],
)
def test_a_file_without_a_usable_row_is_refused(split: Split, rows: dict[tuple[str, str], str], message: str) -> None:
    columns = {
        "user_id": [user for user, _ in rows],
        "item_id": [item for _, item in rows],
        "label": list(rows.values()),
    }
    table = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    others = [JudgementIssue(0, None, "of something else")]
    with pytest.raises(DataError, match=f"found no label .*{message}"):
        RecordedJudgements.from_table(table, split, others)
