"""Placeholders of a study file: parts that are repeated for every split and every language model that a user names.

A mapping entry whose name holds `{split}` or `{llm}`, and a list item that holds one, is repeated for each of them. In it,
`{split}` and `{llm}` are the name, `{split_folder}` the folder, and `{llm_name}` the model as for --llm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hardneg.errors import ConfigError

KINDS = {"split": "split_folder", "llm": "llm_name"}
"""Placeholder of a name -> placeholder of what it names."""
PLACEHOLDER = re.compile(r"\{(split|split_folder|llm|llm_name)\}")
FOR_SPLITS, FOR_LLMS, LEAST_SPLITS = "for_splits", "for_llms", "least_splits"
"""Keys of a study file: its splits (name -> folder), its language models (name -> model, or a list of models), and the
smallest number of splits that it compares."""
Given = Mapping[str, Mapping[str, str]]
"""Kind of placeholder -> name -> what it names."""


def takes_folders(values: object) -> bool:
    """Return True where a study has no splits of its own, so that a user gives their folders."""
    return isinstance(values, dict) and FOR_SPLITS not in values and "split" in _kinds_in(values)


def fill_placeholders(values: Mapping[str, Any], folders: Sequence[str] = (), llms: Sequence[str] = ()) -> Any:
    """Return the content of a study file with its repeated parts written out.

    folders: split folders, each as FOLDER or NAME=FOLDER. llms: language models, as for --llm. Both precede `for_splits`
    and `for_llms` of the file. An empty `for_llms` leaves the parts with language models out. Raises ConfigError where
    something is missing.
    """
    kinds, title = _kinds_in(values), f"study {values.get('name', 'without a name')}"
    if llms and "llm" not in kinds:
        raise ConfigError(f"found --llm {llms[0]}, but {title} takes no language models; leave it out")
    given = {
        "split": name_folders(folders) if folders else _given_names(values, FOR_SPLITS),
        "llm": name_models(llms) if llms or FOR_LLMS not in values else _given_names(values, FOR_LLMS),
    }
    _require_given(kinds, given, title, optional_llms=FOR_LLMS in values, least_splits=values.get(LEAST_SPLITS, 1))
    own = {name: part for name, part in values.items() if name not in (FOR_SPLITS, FOR_LLMS, LEAST_SPLITS)}
    filled = _fill(own, given, {})
    if left := PLACEHOLDER.search(json.dumps(filled, default=str)):
        raise ConfigError(
            f"found {left.group()} outside of repeated parts, expected it in or below the name of an entry or a list item"
        )
    return filled


def name_folders(folders: Sequence[str]) -> dict[str, str]:
    """Return name -> folder of split folders, each given as FOLDER or NAME=FOLDER."""
    parts = [folder.partition("=") for folder in folders]
    named = [(name, folder) if equals else (Path(name).resolve().name, name) for name, equals, folder in parts]
    return _require_distinct_names(named, "--split", "give NAME=FOLDER")


def name_models(llms: Sequence[str]) -> dict[str, str]:
    """Return a short name -> language model: the end of its name, without the folders of a file or a hub."""
    named = []
    for llm in llms:
        end = re.split(r"[#/\\]", llm.rstrip("/"))[-1]
        end = re.sub(r"^(hf|gguf|openai|recorded):", "", end)
        named.append((re.sub(r"\.(gguf|jsonl\.gz)$", "", end), llm))
    return _require_distinct_names(named, "--llm", f"name them under `{FOR_LLMS}` of a copy (`hardneg init study`)")


def _require_distinct_names(named: Sequence[tuple[str, str]], option: str, remedy: str) -> dict[str, str]:
    for name, value in named:
        same = [other for one, other in named if one == name]
        if len(same) > 1:
            raise ConfigError(f"found {option} {value} and another {name!r}, expected different names; {remedy}")
    return dict(named)


def _given_names(values: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return name -> value of a key of the file, which is a mapping, or a list of language models."""
    part = values.get(key, {})
    if isinstance(part, list) and key == FOR_LLMS:
        return name_models(list(map(str, part)))
    if not isinstance(part, dict):
        raise ConfigError(f"{key}: found {part!r}, expected names and values, such as {key}: {{shop: data/shop-split}}")
    return {str(name): str(value) for name, value in part.items()}


def _require_given(kinds: set[str], given: Given, title: str, *, optional_llms: bool, least_splits: int) -> None:
    if "split" in kinds and len(given["split"]) < least_splits:
        several = f"{least_splits} different splits" if least_splits > 1 else "a split"
        found = ", ".join(given["split"].values()) or "none"
        raise ConfigError(f"{title} needs {several}, found {found}; give --split FOLDER, which may be repeated")
    if "llm" in kinds and not given["llm"] and not optional_llms:
        raise ConfigError(
            f"{title} compares language models, found none; give --llm NAME, which may be repeated: a model of "
            "`hardneg llm models`, gguf:FILE, a model's folder, an endpoint such as http://localhost:8000/v1#MODEL, or recorded:FILE"
        )


def _kinds_in(values: object) -> set[str]:
    owners = {placeholder: kind for kind, of in KINDS.items() for placeholder in (kind, of)}
    return {owners[found] for found in PLACEHOLDER.findall(json.dumps(values, default=str))}


def _fill(value: Any, given: Given, bound: Mapping[str, str]) -> Any:
    """Return a value with its placeholders filled. bound: placeholder -> its text in the part around the value."""
    if isinstance(value, dict):
        return {
            _replace(name, names): _fill(part, given, names)
            for name, part in value.items()
            for names in _bindings(name, given, bound)
        }
    if isinstance(value, list):
        return [_fill(item, given, names) for item in value for names in _bindings(_own_text(item), given, bound)]
    return _replace(value, bound)


def _own_text(item: Any) -> Any:
    """Return what decides whether a list item is repeated: all of it, without the lists in a mapping, whose items are."""
    if not isinstance(item, dict):
        return item
    return {name: _own_text(part) for name, part in item.items() if not isinstance(part, list)}


def _bindings(text: object, given: Given, bound: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield the texts of placeholders for every repetition of a part that holds `text`."""
    kinds = sorted(kind for kind in _kinds_in(text) if kind not in bound)
    for names in product(*(given[kind].items() for kind in kinds)):
        own = {
            key: text
            for kind, pair in zip(kinds, names, strict=True)
            for key, text in zip((kind, KINDS[kind]), pair, strict=True)
        }
        yield {**bound, **own}


def _replace(value: Any, bound: Mapping[str, str]) -> Any:
    if not isinstance(value, str):
        return value
    return PLACEHOLDER.sub(lambda found: bound.get(found.group(1), found.group()), value)
