"""Settings of a language model: from an --llm-config file and single options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardneg.config import Config, overrides, parse_config, read_yaml
from hardneg.errors import ConfigError
from hardneg.llm.engine.config import EngineConfig


class LlmConfig(Config):
    """Contents of an --llm-config file."""

    model: str | None = None
    """openai:MODEL, http(s)://HOST/v1#MODEL, hf:NAME, or a folder."""
    store: Path = Path("out/replies.sqlite")
    """File that keeps every reply."""
    engine: EngineConfig = EngineConfig()
    prices: Path | None = None
    """YAML list of prices, which precedes the packaged one."""
    key_variable: str = ""
    """Name of the environment variable that holds the endpoint's key."""

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
    values: Any = {}
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"{path} does not exist, expected a YAML file; check --llm-config")
        values, repeated = read_yaml(path)
        if repeated:
            raise ConfigError(f"{path}: {'; '.join(repeated)}")
    config: LlmConfig = parse_config(LlmConfig, values or {}, where=str(path or "--llm"))
    engine = {**config.engine.model_dump(exclude_unset=True), **overrides(list(limits))}
    given = {name: value for name, value in options.items() if value is not None}
    if config.model is None and "model" not in given and (path or given or limits):
        raise ConfigError("found options of a language model, but no model; give --llm NAME, or leave them out")
    return config.model_copy(update={**given, "engine": parse_config(EngineConfig, engine, where="--engine")})
