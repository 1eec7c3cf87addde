"""Labels from a file: whatever its rows, nothing crashes and nothing is lost silently."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg.data import Split
from hardneg.errors import DataError
from hardneg.negatives.judges import Evidence, Fault, Labels, Recorded, RecordedJudge, read_labels
from hardneg.negatives.judges.recorded import (
    CONTRADICTED,
    INCOMPLETE,
    NO_LABEL,
    NO_NUMBER,
    NOT_IN_FILE,
    OBSERVED,
    UNKNOWN,
)


def test_labels_are_looked_up_and_what_is_missing_is_named(split: Split, tmp_path: Path) -> None:
    own = int(split.train.items_of(1)[0])
    free = np.setdiff1d(np.arange(40), split.train.items_of(1))[:3].tolist()
    (tmp_path / "labels.csv").write_text(
        f"user_id,item_id,label\nu1,i{free[0]},1\nu1,i{free[1]},\nu1,i{own},1\nnobody,i3,0\n", encoding="utf-8"
    )
    evidence = Evidence(split)
    judge = Recorded(labels=tmp_path / "labels.csv").build(evidence)
    found = judge.probabilities(np.array([1]), np.array([[free[1], free[0], free[2], -1]]))
    np.testing.assert_array_equal(found, [[np.nan, 1.0, np.nan, np.nan]])
    assert evidence.faults == [
        Fault(-1, None, UNKNOWN, ids=("nobody", "i3")),
        Fault(1, None, OBSERVED, ids=("u1", f"i{own}")),
        Fault(1, free[2], NOT_IN_FILE),
        Fault(1, free[1], NO_LABEL),
    ]


def test_what_is_filled_is_counted_and_what_the_file_does_not_have_stays_without(split: Split, tmp_path: Path) -> None:
    free = np.setdiff1d(np.arange(40), split.train.items_of(1))[:3].tolist()
    text = f"user_id,item_id,label\nu1,i{free[0]},0.2\nu1,i{free[1]},\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    evidence = Evidence(split)
    judge = Recorded(labels=tmp_path / "labels.csv", unlabelled=1).build(evidence)
    candidates = np.array([1]), np.array([[*free, -1]])
    np.testing.assert_array_equal(judge.probabilities(*candidates), [[0.2, 1.0, np.nan, np.nan]])
    assert isinstance(judge, RecordedJudge)
    assert judge.n_filled(*candidates) == 1
    assert [fault.reason for fault in evidence.faults] == [NOT_IN_FILE]


def test_a_setting_that_came_later_is_not_said_where_it_holds(tmp_path: Path) -> None:
    """So that folders made before keep their keys."""
    assert "unlabelled" not in Recorded(labels=tmp_path).model_dump(mode="json")
    assert Recorded(labels=tmp_path, unlabelled=0).model_dump(mode="json")["unlabelled"] == 0


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_what_has_no_label_gets_the_one_asked_for(split: Split, tmp_path: Path, probability: float) -> None:
    free = np.setdiff1d(np.arange(40), split.train.items_of(1))[:3].tolist()
    (tmp_path / "labels.csv").write_text(f"user_id,item_id,label\nu1,i{free[0]},0.25\nu1,i{free[1]},\n")
    evidence = Evidence(split)
    judge = Recorded(labels=tmp_path / "labels.csv", unlabelled=probability).build(evidence)
    found = judge.probabilities(np.array([1]), np.array([[free[0], free[1], free[2]]]))
    np.testing.assert_array_equal(found, [[0.25, probability, np.nan]])  # what the file does not have stays without
    assert evidence.faults == [Fault(1, free[2], NOT_IN_FILE)]
    assert judge.name == f"recorded, no label as {probability:g}"


def test_the_file_brings_its_candidates_in_its_order(split: Split) -> None:
    free = np.setdiff1d(np.arange(40), split.train.items_of(2))[:2].tolist()
    table = pl.DataFrame({"user_id": ["u2", "u2"], "item_id": [f"i{n}" for n in reversed(free)], "label": [1.0, 0.0]})
    candidates = Labels.of(table, split, []).candidates()
    assert candidates.items.tolist() == [free[::-1]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_id,item_id\nu1,i1\n", "no column label"),
        ("", "no readable CSV"),
        ("user_id,item_id,label\n", "has no row"),
    ],
)
def test_a_file_of_something_else_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_labels(tmp_path / "labels.csv")


def test_a_bad_row_costs_itself(split: Split) -> None:
    a, b, d, e, f, g = (f"i{item}" for item in np.setdiff1d(np.arange(40), split.train.items_of(1))[:6])
    items = [a, b, d, e, f, f, g, g, None]
    given = ["1", "yes", "2", "nan", "0.5", "0.5", "1", "", "1"]
    table = pl.DataFrame({"user_id": ["u1"] * 9, "item_id": items, "label": given})
    faults: list[Fault] = []
    found = Labels.of(table, split, faults)
    assert [f"i{item}" for item in found.items] == [a, f]  # f is said twice, the same each time
    assert found.label.tolist() == [1.0, 0.5]
    assert [(fault.ids, fault.reason) for fault in faults] == [
        (("u1", None), INCOMPLETE),
        *[(("u1", item), NO_NUMBER) for item in (b, d, e)],
        *[(("u1", g), CONTRADICTED)] * 2,
    ]


@pytest.mark.parametrize(("label", "reason"), [("yes", NO_NUMBER), ("1", UNKNOWN)])
def test_a_file_of_which_nothing_serves_says_why(split: Split, label: str, reason: str) -> None:
    user, item = (split.vocabulary.user_ids[1], split.vocabulary.item_ids[0]) if reason == NO_NUMBER else ("x", "y")
    table = pl.DataFrame({"user_id": [user], "item_id": [item], "label": [label]})
    with pytest.raises(DataError, match=f"no label of an unobserved pair .* 1 rows, 1, are {reason}"):
        Labels.of(table, split, [])
