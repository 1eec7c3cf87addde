"""A tuned model on disk: adapter, projection heads, template and settings; the base by name and content hash, not by path.

Without a language model, the folder holds the perceptron instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from safetensors.torch import save_file
from torch import Tensor

from hardneg.config import parse_config
from hardneg.errors import ConfigError, DataError
from hardneg.finetuning.inputs import EmbeddingSpace, EmbeddingSpaces, Template, TemplateConfig
from hardneg.finetuning.model import (
    AnyEncoder,
    EncoderConfig,
    HardNegativeEncoder,
    NoTemplate,
    Perceptron,
    PerceptronConfig,
    open_encoder_model,
)
from hardneg.finetuning.tuning import TunedEncoder
from hardneg.llm.local.weights import ModelSource
from hardneg.storage import read_json, read_tensors

SETTINGS = "tuned.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_SETTINGS = "adapter_config.json"
PROJECTION_HEADS = "projection_heads.safetensors"
BASE = "base.safetensors"
PERCEPTRON = "perceptron.safetensors"
NO_BASE = "none"
"""Name of the base if there is no language model."""
METRICS = "metrics.parquet"
HELD_OUT, TUNED_ON = "held_out.parquet", "tuned_on.parquet"


def save_tuned(folder: Path, tuned: TunedEncoder, template: Template, source: ModelSource | None) -> None:
    """Write the files of a tuned model.

    tuned.json: template, model settings, sizes, the base's name and content hash. adapter_model.safetensors and
    adapter_config.json: peft's format. projection_heads.safetensors. base.safetensors: all weights, if all were trained.
    metrics.parquet: step, loss, held_out_loss, information (nats). held_out.parquet: pair indices used for early stopping
    only. tuned_on.parquet: pair indices trained on. source: None for a perceptron, stored as perceptron.safetensors.
    """
    encoder, state, spaces = tuned.encoder, tuned.state, tuned.encoder.spaces
    settings = {
        "template": template.config.model_dump(),
        "model": encoder.config.model_dump(),
        "sizes": [space.size for space in (spaces.users, spaces.items, spaces.labels)],
        "base": {"name": NO_BASE if source is None else source.name, "identity": _identity(source)},
        "best_step": state.best_iteration,
    }
    _write_json(folder / SETTINGS, settings)
    if isinstance(encoder, Perceptron):
        _write_tensors(folder / PERCEPTRON, encoder.state_dict())
    else:
        assert source is not None
        _save_encoder(folder, encoder, source)
    schema = {"step": pl.Int64, "loss": pl.Float64, "held_out_loss": pl.Float64, "information": pl.Float64}
    pl.DataFrame(state.curves, schema=schema).fill_nan(None).write_parquet(folder / METRICS)
    pl.DataFrame({"pair_row": tuned.held_out}).write_parquet(folder / HELD_OUT)
    pl.DataFrame({"pair_row": tuned.tuned_on}).write_parquet(folder / TUNED_ON)


def load_tuned(folder: Path, source: ModelSource | None) -> tuple[AnyEncoder, Template]:
    """Open a tuned model over its base, which `source` locates (None: no language model).

    Raises ConfigError if the base differs from the one that was tuned, DataError if files are missing or broken.
    """
    settings = _read_settings(folder)
    if (identity := _identity(source)) != settings["base"]["identity"]:
        raise ConfigError(
            f"{folder} was tuned on {settings['base']['name']} ({settings['base']['identity'][:12]}), but the base given "
            f"is {NO_BASE if source is None else source.name} ({identity[:12]}); give the same one"
        )
    spaces = EmbeddingSpaces(*(EmbeddingSpace(int(size)) for size in settings["sizes"]))
    if source is None:
        perceptron_config = parse_config(PerceptronConfig, settings["model"], where=f"{folder / SETTINGS}, model")
        perceptron = Perceptron(perceptron_config, spaces=spaces)
        _restore(perceptron, folder / PERCEPTRON)
        return perceptron.eval(), NoTemplate()
    return _load_encoder(folder, settings, source, spaces)


def _identity(source: ModelSource | None) -> str:
    """Return the content hash of the base without its precision, so that a model tuned on a GPU can run on a CPU."""
    return NO_BASE if source is None else source.identity().rpartition(":")[0]


def _load_encoder(
    folder: Path, settings: Mapping[str, Any], source: ModelSource, spaces: EmbeddingSpaces
) -> tuple[HardNegativeEncoder, Template]:
    config = parse_config(EncoderConfig, settings["model"], where=f"{folder / SETTINGS}, model")
    template_config = parse_config(TemplateConfig, settings["template"], where=f"{folder / SETTINGS}, template")
    template = Template(source.tokenizer(), template_config)
    template.require_context_length(source.context_length)
    encoder = open_encoder_model(source, config, spaces=spaces)
    _restore(encoder.heads, folder / PROJECTION_HEADS)
    if config.adapt == "lora":
        from peft import set_peft_model_state_dict

        tensors = _read_tensors(folder / ADAPTER, like=_adapter_tensors(encoder))
        set_peft_model_state_dict(encoder.network, tensors)
    elif config.adapt == "full":
        _restore(encoder.network, folder / BASE)
    return encoder.eval(), template


def _save_encoder(folder: Path, encoder: HardNegativeEncoder, source: ModelSource) -> None:
    _write_tensors(folder / PROJECTION_HEADS, encoder.heads.state_dict())
    if encoder.config.adapt == "lora":
        _write_tensors(folder / ADAPTER, _adapter_tensors(encoder))
        settings = encoder.network.peft_config["default"].to_dict()
        settings |= {"base_model_name_or_path": source.name, "inference_mode": True, "revision": None}
        _write_json(folder / ADAPTER_SETTINGS, settings)
    elif encoder.config.adapt == "full":
        _write_tensors(folder / BASE, encoder.network.state_dict())


def _adapter_tensors(encoder: HardNegativeEncoder) -> dict[str, Tensor]:
    """Return the adapter's tensors by peft's names; no tokens were added, so embeddings are left out."""
    from peft import get_peft_model_state_dict

    tensors: dict[str, Tensor] = get_peft_model_state_dict(encoder.network, save_embedding_layers=False)
    return tensors


def _restore(module: Any, path: Path) -> None:
    module.load_state_dict(_read_tensors(path, like=module.state_dict()))


def _read_tensors(path: Path, *, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read a file; raise DataError unless names and shapes are those of `like` (a missing part would stay untuned)."""
    tensors = read_tensors(path)
    shapes, expected = ({name: value.shape for name, value in part.items()} for part in (tensors, like))
    if differing := [name for name in {**expected, **shapes} if shapes.get(name) != expected.get(name)]:
        raise DataError(
            f"{path} does not fit the base: {len(differing)} tensors are missing or have other shapes (first: "
            f"{differing[0]}); tune again"
        )
    return tensors


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / SETTINGS
    settings = read_json(path)
    try:
        settings["base"]["identity"], settings["base"]["name"]
        settings["model"], settings["template"], settings["sizes"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error}), expected a tuned model; check the path") from None
    return settings


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}, path)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    def plain(value: object) -> object:
        return sorted(value) if isinstance(value, (set, frozenset)) else str(value)

    path.write_text(json.dumps(dict(values), indent=2, sort_keys=True, default=plain) + "\n", encoding="utf-8")
