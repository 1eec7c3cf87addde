"""The ready studies of the package: every table and figure of HNLMRec and DTL-NS, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from hardneg.config import parse_yaml, read_yaml
from hardneg.errors import ConfigError
from hardneg.studies.placeholders import FOR_LLMS, LEAST_SPLITS, fill_placeholders, takes_folders

READY = files("hardneg.studies") / "ready"
Source = str | Path | Mapping[str, Any]
"""A YAML file, the name of a ready study, or the content of a file."""


@dataclass(frozen=True)
class ReadyStudy:
    """A study file of the package. llms: "needed", "optional" or "none"."""

    name: str
    text: str
    paper: str
    question: str
    llms: str
    least_splits: int

    @property
    def needs(self) -> str:
        """The options that it needs."""
        splits = "--split" if self.least_splits == 1 else f"--split, {self.least_splits} times"
        return splits + {"needed": " and --llm", "optional": "; --llm adds rows", "none": ""}[self.llms]


@dataclass(frozen=True)
class FilledSource:
    """The content of a study or search file, with placeholders filled.

    title: what messages call it. problems: repeated keys. only: splits of the file to run.
    """

    title: str
    values: Any
    problems: list[str]
    only: tuple[str, ...] = ()


def ready_names() -> list[str]:
    """Return the names of all ready studies: those of HNLMRec before those of DTL-NS."""
    names = (Path(file.name).stem for file in READY.iterdir() if file.name.endswith(".yaml"))
    return sorted(names, key=lambda name: (name.startswith("dtlns"), name))


def find_ready(name: str) -> ReadyStudy:
    """Return a ready study. Raises ConfigError for an unknown name."""
    if name not in ready_names():
        raise ConfigError(f"found {name!r}, expected a ready study: {', '.join(ready_names())}")
    text = (READY / f"{name}.yaml").read_text(encoding="utf-8")
    values, _ = parse_yaml(text, name)
    needs = {True: "optional" if FOR_LLMS in values else "needed", False: "none"}["{llm" in text]
    return ReadyStudy(name, text, values["paper"], values["question"], needs, values.get(LEAST_SPLITS, 1))


def read_source(source: Source) -> tuple[str, Any, list[str]]:
    """Return the title of a file, its content as it is, and its repeated keys. Raises ConfigError where there is none."""
    if isinstance(source, Mapping):
        return "the mapping", dict(source), []
    name, path = str(source), Path(source)
    if path.is_file():
        return name, *read_yaml(path)
    if name in ready_names():
        return name, *parse_yaml(find_ready(name).text, name)
    raise ConfigError(
        f"{name} does not exist, expected a YAML file, or a ready study of `hardneg study list`; check the name"
    )


def fill_source(
    source: Source, splits: Sequence[str] = (), llms: Sequence[str] = (), seeds: int | None = None
) -> FilledSource:
    """Read a file and fill its placeholders.

    splits: folders, for a file without splits of its own; else the names of those to run. llms: language models. seeds:
    number of seeds in place of those of the file.
    """
    title, values, problems = read_source(source)
    if not isinstance(values, dict):
        return FilledSource(title, values, problems, tuple(splits))
    folders = list(splits) if takes_folders(values) else []
    filled = fill_placeholders(values, folders, llms)
    filled |= {} if seeds is None else {"seeds": seeds}
    return FilledSource(title, filled, problems, () if folders else tuple(splits))
