"""Placeholders of a study file: what is repeated, what is filled in, and what is missing."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from hardneg.errors import ConfigError
from hardneg.studies.placeholders import fill_placeholders, name_models, takes_folders

VALUES: dict[str, Any] = {
    "name": "x",
    "splits": {"{split}, half": {"folder": "{split_folder}", "fit": {"l2": 0.1}}},
    "negatives": {"plain": {"method": "retrieved"}, "by {llm}": {"llm": "{llm_name}", "k": 2}},
    "rows": {
        "by {llm} of {split}": {"negatives": "by {llm}", "rerank": ["{llm}", "rule"], "{split}": "{split_folder}"}
    },
    "comparisons": [["by {llm}", "plain"], ["plain", "other"]],
    "fusion": [{"label": "titles"}, {"label": "{llm}"}],
    "figures": [{"x": "llm", "series": {"named": ["by {llm}"]}}],
}
FOLDERS, LLMS = ["a=data/a", "data/b"], ["hf:org/Small-1B", "gguf:/models/big.Q4.gguf"]
SPLITS, NAMES = {"a": "data/a", "b": "data/b"}, {"Small-1B": LLMS[0], "big.Q4": LLMS[1]}


def reference() -> dict[str, Any]:
    """The parts written out by loops."""
    splits: dict[str, Any] = {}
    for split, folder in SPLITS.items():
        splits[f"{split}, half"] = {"folder": folder, "fit": {"l2": 0.1}}
    negatives: dict[str, Any] = {"plain": {"method": "retrieved"}}
    for name, llm in NAMES.items():
        negatives[f"by {name}"] = {"llm": llm, "k": 2}
    rows = {}
    for name, split in product(NAMES, SPLITS):
        rows[f"by {name} of {split}"] = {"negatives": f"by {name}", "rerank": [name, "rule"], split: SPLITS[split]}
    pairs = [[f"by {name}", "plain"] for name in NAMES]
    return {
        "name": "x",
        "splits": splits,
        "negatives": negatives,
        "rows": rows,
        "comparisons": [*pairs, ["plain", "other"]],
        "fusion": [{"label": label} for label in ("titles", *NAMES)],
        "figures": [{"x": "llm", "series": {"named": [f"by {name}" for name in NAMES]}}],
    }


def test_parts_are_repeated_as_loops_would() -> None:
    assert takes_folders(VALUES)
    assert fill_placeholders(VALUES, FOLDERS, LLMS) == reference()


def test_the_file_may_name_them_and_the_caller_precedes_it() -> None:
    values = VALUES | {"for_splits": SPLITS, "for_llms": LLMS}
    assert not takes_folders(values)
    assert fill_placeholders(values) == reference()
    assert fill_placeholders(values | {"for_llms": NAMES}) == reference()
    assert list(fill_placeholders(values, ["c=d"])["splits"]) == ["c, half"]


def test_without_language_models_their_parts_are_left_out_where_the_file_says_so() -> None:
    filled = fill_placeholders(VALUES | {"for_llms": []}, FOLDERS)
    assert (list(filled["negatives"]), filled["rows"]) == (["plain"], {})
    assert filled["comparisons"] == [["plain", "other"]]


def test_a_file_without_placeholders_stays_the_same() -> None:
    values = {"name": "x", "splits": {"a": "b"}, "rows": {"u": {"sampler": {"kind": "uniform"}}}, "seeds": 3}
    assert fill_placeholders(values) == values


@pytest.mark.parametrize(
    ("changes", "folders", "llms", "message"),
    [
        ({}, [], LLMS, "study x needs a split, found none; give --split FOLDER"),
        ({}, FOLDERS, [], "study x compares language models, found none; give --llm NAME"),
        ({"least_splits": 3}, FOLDERS, LLMS, "needs 3 different splits, found data/a, data/b"),
        ({}, ["x/a", "y/a"], LLMS, "found --split x/a and another 'a'"),
        ({}, FOLDERS, ["p/m", "q/m"], "found --llm p/m and another 'm'"),
        ({"baseline": "by {llm}"}, FOLDERS, LLMS, r"found \{llm\} outside of repeated parts"),
        ({"for_splits": ["a"]}, [], LLMS, "for_splits: found"),
    ],
)
def test_what_is_missing_is_said_in_a_line(
    changes: dict[str, Any], folders: list[str], llms: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        fill_placeholders(VALUES | changes, folders, llms)
    assert "\n" not in str(error.value)


def test_language_models_without_a_use_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes no language models"):
        fill_placeholders({"name": "x", "splits": {"{split}": "{split_folder}"}}, FOLDERS, LLMS)


def test_short_names_of_models() -> None:
    named = name_models(["openai:gpt-4o-mini", "http://host/v1#org/m-7B", "models/tiny/", "smollm2-135m"])
    assert list(named) == ["gpt-4o-mini", "m-7B", "tiny", "smollm2-135m"]
