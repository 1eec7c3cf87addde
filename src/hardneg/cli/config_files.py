"""YAML files of the command line: settings of a language model, and of one run, with single options in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.config import Config, overrides, parse_config, read_yaml
from hardneg.errors import ConfigError
from hardneg.llm.engine.config import EngineConfig
from hardneg.pipeline import RUN, RunConfig
from hardneg.types import WeightPrecision


class LlmConfig(Config):
    """Contents of an --llm-config file."""

    model: str | None = None
    """openai:MODEL, http(s)://HOST/v1#MODEL, the name of a packaged model, gguf:FILE, hf:NAME, or a folder."""
    store: Path = Path("out/replies.sqlite")
    """File that keeps every reply."""
    engine: EngineConfig = EngineConfig()
    prices: Path | None = None
    """YAML list of prices, which precedes the packaged one."""
    key_variable: str = ""
    """Name of the environment variable that holds the endpoint's key."""
    precision: WeightPrecision | None = None
    """Precision of a model in this process; None is float32 on the CPU and bfloat16 elsewhere."""

    @property
    def required_model(self) -> str:
        """The model's name. Raises ConfigError if there is none."""
        if self.model is None:
            raise ConfigError("found no language model, expected one; give --llm NAME, or --llm-config with `model`")
        return self.model


def read_llm_config(path: Path | None, options: Mapping[str, object], limits: Sequence[str]) -> LlmConfig:
    """Return the settings of a file, with options in place of its values.

    options: None for what is not given. limits: NAME=VALUE pairs of the engine. Raises ConfigError.
    """
    values = {} if path is None else _read(path, "a YAML file; check --llm-config")
    config: LlmConfig = parse_config(LlmConfig, values or {}, where=str(path or "--llm"))
    engine = {**config.engine.model_dump(exclude_unset=True), **overrides(list(limits))}
    given = {name: value for name, value in options.items() if value is not None}
    if config.model is None and "model" not in given and (path or given or limits):
        raise ConfigError("found options of a language model, but no model; give --llm NAME, or leave them out")
    return config.model_copy(update={**given, "engine": parse_config(EngineConfig, engine, where="--engine")})


class RunFolders(Config):
    """Folders that a run reads besides its split."""

    negatives: Path | None = None
    """Negatives or neighbours folder."""
    suspects: Path | None = None
    trees: Path | None = None
    vectors: Path | None = None
    """Vectors folder, for a model that reads text or for an anchor."""
    truth: Path | None = None
    """Simulated dataset folder."""


def read_run_file(
    path: Path | None,
    *,
    kinds: Mapping[str, str | None],
    use_suspects: str | None,
    settings: Sequence[Mapping[str, Any]],
    folders: Mapping[str, Path | None],
) -> tuple[RunConfig, RunFolders]:
    """Return the settings and folders of a file for `hardneg train --config`, with options in place of its values.

    path: a YAML file, or a run folder, whose config.yaml is read. kinds: "model" and "sampler"; another kind than the
    file's drops the file's settings of it. settings: nested values, the last ones replacing the first. folders: given
    ones replace those of the file. Raises ConfigError.
    """
    values = {} if path is None else _read_run(path)
    folder_values = values.pop("folders", None) or {}
    if not isinstance(folder_values, dict):
        raise ConfigError(f"{path}: found folders {folder_values!r}, expected a mapping of names to paths")
    for name, kind in kinds.items():
        values[name] = _with_kind(values.get(name), kind, RunConfig.model_fields[name].default.kind)
    if use_suspects is not None:
        values["suspects"] = {**(values.get("suspects") or {}), "use": use_suspects}
    for nested in settings:
        values = _merge(values, nested)
    where = "hardneg train" if path is None else str(path)
    given = {name: folder for name, folder in folders.items() if folder is not None}
    parsed: RunConfig = parse_config(RunConfig, values, where=where)
    return parsed, parse_config(RunFolders, {**folder_values, **given}, where=f"{where} folders")


def _read(file: Path, expected: str) -> Any:
    if not file.is_file():
        raise ConfigError(f"{file} does not exist, expected {expected}")
    values, repeated = read_yaml(file)
    if repeated:
        raise ConfigError(f"{file}: {'; '.join(repeated)}")
    return values


def _read_run(path: Path) -> dict[str, Any]:
    file = path / "config.yaml" if path.is_dir() else path
    if artifacts.is_artifact(path):
        artifacts.read_manifest(path, RUN)  # verified
    values = _read(file, "a YAML file or a run folder; check --config")
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
