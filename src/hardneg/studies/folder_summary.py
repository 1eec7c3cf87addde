"""Summaries of folders that commands wrote: kind, settings, what they were made from, contents, and changed files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.artifacts import COSTS, MANIFEST, Differences
from hardneg.config import read_yaml
from hardneg.data.dataset import read_parquet
from hardneg.data.split import TRAINING_DATA
from hardneg.errors import DamagedError, DataError
from hardneg.pipeline.inference import EVALUATION, MASK_VALID, RELEASED, SCORES
from hardneg.pipeline.labels import TRAINED
from hardneg.pipeline.training import RUN, SPLIT_NOTE
from hardneg.storage import read_json
from hardneg.studies.results import FAILED, RUNS
from hardneg.studies.tuned_settings import NAME as BEST
from hardneg.studies.tuned_settings import read_tuned_settings, settings_text

STUDY, SEARCH, RESULTS = "study", "search", "results"
FILES = {STUDY: "study.yaml", SEARCH: "search.yaml"}
"""Kind of a folder without a manifest -> the file by which it is known."""
NEARBY = (("*",), ("*", "*/*"), ("shared/*/*",), ("shared/*/*",))
"""Folders that a folder may be made from: below its parent, the parent of that, ..., such as a study with shared ones."""
SPLIT_DATA = ("interactions.parquet", "items.parquet")
"""Files of a dataset by whose hash a split names it."""


@dataclass(frozen=True)
class FolderSummary:
    """Summary of a folder.

    made_from: input -> the folder or file with its hash, if it is nearby, else the hash. contents: file -> its size. results:
    metrics of a run, trials of a search. written: time of the manifest or of the file. differences: files that differ from
    their manifests; None where they were not compared. split: the split that it was made from, if it is nearby.
    """

    folder: Path
    kind: str
    written: datetime
    config: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)
    made_from: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    costs: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    differences: Differences | None = None
    split: Path | None = None


def summarize_folder(folder: Path) -> FolderSummary:
    """Return the summary of a folder. Its files are compared with their hashes, unless within `artifacts.trusting`.

    Raises DataError where no command wrote the folder as a whole.
    """
    if artifacts.is_artifact(folder):
        return _summarize_artifact(folder)
    kind = _kind_of(folder)
    if kind == STUDY:
        return _summarize_study(folder)
    return _summarize_search(folder) if kind == SEARCH else _summarize_results(folder)


def _kind_of(folder: Path) -> str | None:
    """Return the kind of an artifact, a study or a search; None for anything else."""
    return artifacts.kind_at(folder) or next((kind for kind, file in FILES.items() if (folder / file).is_file()), None)


def _summarize_results(folder: Path) -> FolderSummary:
    """Return the summary of a folder that holds results of several kinds, such as that of `hardneg run`."""
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {found}, expected a folder that a command wrote; check the path")
    inside, contents = _artifacts_inside(folder), dict[str, str]()
    for path in sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."):
        number = sum(path in place.parents for place in inside)
        kind = _kind_of(path) or (f"{number} result{'s' * (number > 1)}" if number else None)
        contents |= {f"{path.name}/": kind} if kind else {}
    if not contents:
        expected = ", ".join([MANIFEST, *FILES.values()])
        raise DataError(f"{folder} holds none of {expected}, expected a folder that a command wrote; check the path")
    differences = _differences_inside(inside, folder)
    return FolderSummary(
        folder, RESULTS, _time_of(folder), {}, contents=contents | _files_of(folder), differences=differences
    )


def _summarize_artifact(folder: Path) -> FolderSummary:
    kind = str(artifacts.kind_at(folder))
    with artifacts.trusting():
        manifest = artifacts.read_manifest(folder, kind)
    differences = None if artifacts.is_trusting() else artifacts.compare_with_manifest(folder)
    nearby = dict(reversed([entry for path in _nearby(folder, manifest["notes"]) for entry in _recorded_hashes(path)]))
    made_from = {name: str(nearby.get(digest, digest)) for name, digest in manifest["inputs"].items()}
    split = nearby.get(manifest["inputs"].get("training data", ""))
    if split is None and (test := nearby.get(manifest["inputs"].get("test", ""))) is not None:
        split = test.parent
    damaged = [] if differences is None else [*differences.changed, *differences.missing]
    return FolderSummary(
        folder,
        kind,
        _time_of(folder / MANIFEST),
        manifest["config"],
        manifest["notes"],
        made_from,
        {name: _size(folder / name) for name in artifacts.listed_hashes(manifest) if name not in damaged},
        _metrics(folder) if kind == RUN else {},
        read_json(folder / COSTS) if COSTS in manifest["costs"] and COSTS not in damaged else {},
        manifest["versions"],
        differences,
        split,
    )


def _nearby(folder: Path, notes: Mapping[str, Any]) -> Iterator[Path]:
    """Yield artifacts that a folder may be made from: its split, and those beside it and beside its parents."""
    whole = folder.resolve()
    seen, named = set[Path](), [Path(str(notes[SPLIT_NOTE]))] if SPLIT_NOTE in notes else []
    if artifacts.is_artifact(whole.parent):  # the evaluation of a run
        whole, named = whole.parent, [whole.parent]
    for parent, patterns in [*zip(whole.parents, NEARBY, strict=False), (Path.cwd(), ("*", "*/*"))]:
        named += [path.parent for pattern in patterns for path in sorted(parent.glob(f"{pattern}/{MANIFEST}"))]
    for path in named:
        if (place := path.resolve()) not in seen and artifacts.is_artifact(place):
            seen.add(place)
            yield place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place


def _recorded_hashes(folder: Path) -> list[tuple[str, Path]]:
    """Return hashes by which manifests may name a folder or a file of it, by its manifest alone; none if it is damaged."""
    try:
        files = dict(read_json(folder / MANIFEST).get("files", {}))
    except (DamagedError, ValueError, TypeError):
        return []
    parts = [tuple(files), SPLIT_DATA, TRAINING_DATA, TRAINED, SCORES]
    subsets = [{name: files[name] for name in sorted(part) if name in files} for part in parts]
    whole = [(hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest(), folder) for own in subsets if own]
    return [*whole, *((str(digest), folder / name) for name, digest in files.items())]


def _metrics(run: Path) -> dict[str, str]:
    """Return name -> test metrics of every evaluation of a run."""
    results = {}
    for name in (EVALUATION, MASK_VALID, RELEASED):
        if artifacts.is_artifact(run / name):
            rows = read_parquet(run / name / "metrics.parquet").select("metric", "k", "value").iter_rows()
            results[name] = ", ".join(f"{metric}@{k} {value:.4f}" for metric, k, value in rows)
    return results


def _summarize_study(folder: Path) -> FolderSummary:
    settings, made_from = _read_settings(
        folder / FILES[STUDY], ("name", "baseline", "seeds", "metrics", "tuned", "fit")
    )
    inside = _artifacts_inside(folder)
    evaluated = sum((path / EVALUATION).is_dir() for path, kind in inside.items() if kind == RUN)
    notes: dict[str, Any] = {
        "finished runs": evaluated,
        "shared artifacts": sum(kind != RUN for kind in inside.values()),
    }
    if (folder / RUNS).is_file():
        status = read_parquet(folder / RUNS).unique(["split", "model", "line", "seed"])["status"].value_counts()
        notes["runs in the tables"] = dict(sorted(status.iter_rows()))
    if (folder / FAILED).is_file():
        notes["failed"] = list(read_json(folder / FAILED))
    return FolderSummary(
        folder,
        STUDY,
        _time_of(folder / FILES[STUDY]),
        settings,
        notes,
        made_from,
        _files_of(folder),
        differences=_differences_inside(inside, folder),
    )


def _summarize_search(folder: Path) -> FolderSummary:
    settings, made_from = _read_settings(folder / FILES[SEARCH], ("name", "trials", "seed", "space", "fit"))
    results = {}
    if (folder / BEST).is_file():
        for path, trial in read_tuned_settings(folder).by_row.items():
            results[" / ".join(path)] = f"validation {trial.metric} {trial.value:.4f}: {settings_text(trial.settings)}"
    inside = _artifacts_inside(folder)
    return FolderSummary(
        folder,
        SEARCH,
        _time_of(folder / FILES[SEARCH]),
        settings,
        {"kept runs of trials": sum(kind == RUN for kind in inside.values())},
        made_from,
        _files_of(folder),
        results,
        differences=_differences_inside(inside, folder),
    )


def _read_settings(file: Path, names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings of a study or search file, with entries of sections by name, and the folders of its splits.

    names: settings besides those sections.
    """
    spec, _ = read_yaml(file)
    values = spec if isinstance(spec, dict) else {}
    named = {name: list(values[name]) for name in ("splits", "models", "rows") if isinstance(values.get(name), dict)}
    own = {name: values[name] for name in names if name in values}
    made_from = {f"split {name}": _split_folder(entry) for name, entry in (values.get("splits") or {}).items()}
    return {**named, **own}, made_from


def _artifacts_inside(folder: Path) -> dict[Path, str]:
    """Return folder -> kind of the artifacts inside a folder, evaluations excluded."""
    found = (path.parent for path in sorted(folder.rglob(MANIFEST)))
    kinds = {path: str(artifacts.kind_at(path)) for path in found if not path.name.startswith(EVALUATION)}
    return {path: kind for path, kind in kinds.items() if not path.name.startswith(".")}


def _differences_inside(inside: Mapping[Path, str], folder: Path) -> Differences | None:
    """Return the files that differ from their manifests in all artifacts, by their path in the folder."""
    if artifacts.is_trusting():
        return None
    changed, missing, additional = list[str](), list[str](), list[str]()
    for path in inside:
        own, name = artifacts.compare_with_manifest(path), path.relative_to(folder)
        changed += [str(name / file) for file in own.changed]
        missing += [str(name / file) for file in own.missing]
        additional += [str(name / file) for file in own.additional]
    return Differences(changed, missing, additional)


def _split_folder(entry: Any) -> str:
    return str(entry.get("folder", "")) if isinstance(entry, dict) else str(entry)


def _files_of(folder: Path) -> dict[str, str]:
    return {path.name: _size(path) for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."}


def _time_of(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime).astimezone()


def _size(file: Path) -> str:
    """Return the rows of a table, the shape of an array, else the bytes of a file."""
    if file.suffix == ".parquet":
        return f"{pl.scan_parquet(file).select(pl.len()).collect().item():,} rows"
    if file.suffix == ".npy":
        return " x ".join(f"{size:,}" for size in np.load(file, mmap_mode="r").shape)
    size = file.stat().st_size
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
