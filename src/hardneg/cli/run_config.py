"""Settings of one run from a YAML file, a run folder and single options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardneg.config import Config, parse_config, read_yaml
from hardneg.errors import ConfigError
from hardneg.pipeline import RunConfig


class RunFolders(Config):
    """Folders that a run reads besides its split."""

    negatives: Path | None = None
    """Negatives or neighbours folder."""
    suspects: Path | None = None
    trees: Path | None = None
    anchor: Path | None = None
    """Vectors folder."""
    truth: Path | None = None
    """Simulated dataset folder."""


class RunFile(Config):
    """Contents of a file for `hardneg train --config`: the settings of a run, and its folders."""

    config: RunConfig
    folders: RunFolders


def read_run_file(
    path: Path | None,
    *,
    kinds: Mapping[str, str | None],
    use_suspects: str | None,
    settings: Sequence[Mapping[str, Any]],
    folders: Mapping[str, Path | None],
) -> RunFile:
    """Return the settings of a file, with options in place of its values.

    path: a YAML file, or a run folder, whose config.yaml is read. kinds: "model" and "sampler"; another kind than the
    file's drops the file's settings of it. settings: nested values, the last ones replacing the first. folders: given
    ones replace those of the file. Raises ConfigError.
    """
    values = {} if path is None else _read(path)
    folder_values = values.pop("folders", None) or {}
    if not isinstance(folder_values, dict):
        raise ConfigError(f"{path}: found folders {folder_values!r}, expected a mapping of names to paths")
    for name, kind in kinds.items():
        values[name] = _with_kind(values.get(name), kind, RunConfig.model_fields[name].default.kind)
    if use_suspects is not None:
        values["suspects"] = {**(values.get("suspects") or {}), "use": use_suspects}
    if folders.get("anchor") is not None:
        values.setdefault("anchor", {})
    for nested in settings:
        values = _merge(values, nested)
    where = "hardneg train" if path is None else str(path)
    given = {name: folder for name, folder in folders.items() if folder is not None}
    return RunFile(
        config=parse_config(RunConfig, values, where=where),
        folders=parse_config(RunFolders, {**folder_values, **given}, where=f"{where} folders"),
    )


def _read(path: Path) -> dict[str, Any]:
    file = path / "config.yaml" if path.is_dir() else path
    if not file.is_file():
        raise ConfigError(f"{file} does not exist, expected a YAML file or a run folder; check --config")
    values, repeated = read_yaml(file)
    if repeated:
        raise ConfigError(f"{file}: {'; '.join(repeated)}")
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: found {type(values).__name__}, expected a mapping with model, sampler, fit, ...")
    return {name: value for name, value in values.items() if value is not None}


def _with_kind(values: Any, kind: str | None, default: str) -> Any:
    if kind is None:
        return {"kind": default} if values is None else values
    same = isinstance(values, dict) and values.get("kind") == kind
    return {**(values if same else {}), "kind": kind}


def _merge(values: Mapping[str, Any], nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with those of `nested` in place, mapping by mapping."""
    merged = dict(values)
    for name, value in nested.items():
        inner = merged.get(name)
        merged[name] = _merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
