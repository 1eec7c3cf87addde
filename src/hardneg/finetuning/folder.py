"""A tuned model on disk: adapter, lifts, template and settings; of the base only who it is, not where it lay.

Where there is no language model, the folder holds the perceptron instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.torch import load_file, save_file
from torch import Tensor

from hardneg.config import parse_config
from hardneg.errors import ConfigError, DataError
from hardneg.finetuning.inputs import EmbeddingSpace, EmbeddingSpaces
from hardneg.finetuning.model import EncoderConfig, HardNegativeEncoder, open_encoder_model
from hardneg.finetuning.perceptron import AnyEncoder, NoTemplate, Perceptron, PerceptronConfig
from hardneg.finetuning.template import Template, TemplateConfig
from hardneg.finetuning.tuning import TunedEncoder, TuningConfig, split_held_out
from hardneg.llm.local.weights import ModelSource
from hardneg.types import Indices

ABOUT = "tuned.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_ABOUT = "adapter_config.json"
PROJECTION_HEADS = "lifts.safetensors"
BASE = "base.safetensors"
PERCEPTRON = "perceptron.safetensors"
NO_BASE = "none"
"""What the base is called where there is no language model."""
METRICS = "metrics.parquet"
HELD_OUT, TUNED_ON = "held_out.parquet", "tuned_on.parquet"


def save_tuned(folder: Path, tuned: TunedEncoder, template: Template, source: ModelSource | None) -> None:
    """Write a tuned model into a folder that grows (`artifacts.writing`).

    tuned.json: template, model settings, sizes, the base's name and content hash. adapter_model.safetensors and
    adapter_config.json: as peft reads them. lifts.safetensors. base.safetensors: all weights, where all were trained.
    metrics.parquet: step, loss, held_out_loss, information (nats). held_out.parquet: pair rows never tuned on,
    by which tuning was stopped. tuned_on.parquet: pair rows tuned on.
    source: None for a perceptron, which is perceptron.safetensors and nothing of a language model.
    """
    writer, progressed = tuned.writer, tuned.progressed
    about = {
        "template": template.config.model_dump(),
        "model": writer.config.model_dump(),
        "sizes": _sizes(writer),
        "base": {"name": NO_BASE if source is None else source.name, "identity": _identity(source)},
        "best_step": progressed.best_step,
    }
    _write_json(folder / ABOUT, about)
    if isinstance(writer, Perceptron):
        _write_tensors(folder / PERCEPTRON, writer.state_dict())
    else:
        assert source is not None
        _save_writer(folder, writer, source)
    schema = {"step": pl.Int64, "loss": pl.Float64, "held_out_loss": pl.Float64, "information": pl.Float64}
    pl.DataFrame(progressed.curves, schema=schema).fill_nan(None).write_parquet(folder / METRICS)
    pl.DataFrame({"pair_row": tuned.held_out}).write_parquet(folder / HELD_OUT)
    pl.DataFrame({"pair_row": tuned.tuned_on}).write_parquet(folder / TUNED_ON)


def tuned_on(folder: Path, config: TuningConfig, usable: Indices) -> Indices:
    """Pair rows that a tuned folder was tuned on, ascending; drawn again where it is of a time before TUNED_ON.

    usable: pair rows with a finite label whose prompt says something. Raises DataError where they, or `config`, are not
    those of the folder: other pairs would have been held out.
    """
    if (folder / TUNED_ON).is_file():
        return np.asarray(pl.read_parquet(folder / TUNED_ON)["pair_row"].to_numpy())
    rows, held = split_held_out(usable, config)
    if not np.array_equal(np.sort(held), pl.read_parquet(folder / HELD_OUT)["pair_row"].to_numpy()):
        raise DataError(
            f"{folder} held out other pairs than its settings draw, so what it was tuned on is unknown; tune again"
        )
    return np.sort(rows)


def _save_writer(folder: Path, writer: HardNegativeEncoder, source: ModelSource) -> None:
    _write_tensors(folder / PROJECTION_HEADS, writer.lifts.state_dict())
    if writer.config.adapt == "lora":
        _save_adapter(folder, writer, source)
    elif writer.config.adapt == "full":
        _write_tensors(folder / BASE, writer.network.state_dict())


def _sizes(writer: AnyEncoder) -> list[int]:
    """Of e_u, e_v and labels."""
    if isinstance(writer, Perceptron):
        return list(writer.sizes)
    return [lift.inner.in_features for lift in (writer.user_lift, writer.item_lift, writer.label_lift)]


def load_tuned(folder: Path, source: ModelSource | None) -> tuple[AnyEncoder, Template]:
    """Open a tuned model over its base, which `source` finds (None: there is none); no part of it is made up.

    Raises ConfigError where the base is another one than was tuned, DataError where files are missing or broken.
    """
    about = _about(folder)
    if (found := _identity(source)) != about["base"]["identity"]:
        raise ConfigError(
            f"{folder} was tuned on {about['base']['name']} ({about['base']['identity'][:12]}), but the base given is "
            f"{NO_BASE if source is None else source.name} ({found[:12]}); give the same one"
        )
    spaces = EmbeddingSpaces(*(EmbeddingSpace(int(size)) for size in about["sizes"]))
    if source is None:
        return _perceptron(folder, about["model"], spaces), NoTemplate()
    return _writer(folder, about, source, spaces)


def _perceptron(folder: Path, settings: Mapping[str, Any], spaces: EmbeddingSpaces) -> Perceptron:
    made = Perceptron(parse_config(PerceptronConfig, dict(settings), where=f"{folder / ABOUT}, model"), spaces=spaces)
    _restore(made, _tensors(folder / PERCEPTRON), folder / PERCEPTRON)
    return made.eval()


def _writer(
    folder: Path, about: Mapping[str, Any], source: ModelSource, spaces: EmbeddingSpaces
) -> tuple[HardNegativeEncoder, Template]:
    config = parse_config(EncoderConfig, about["model"], where=f"{folder / ABOUT}, model")
    template = Template(source.tokenizer(), parse_config(TemplateConfig, about["template"], where=f"{folder / ABOUT}"))
    template.require_room(source.context_length)
    writer = open_encoder_model(source, config, spaces=spaces)
    _restore(writer.lifts, _tensors(folder / PROJECTION_HEADS), folder / PROJECTION_HEADS)
    if config.adapt == "lora":
        _load_adapter(folder / ADAPTER, writer)
    elif config.adapt == "full":
        _restore(writer.network, _tensors(folder / BASE), folder / BASE)
    return writer.eval(), template


def base_of(folder: Path) -> str:
    """Name of the base that a folder was tuned on."""
    return str(_about(folder)["base"]["name"])


def _identity(source: ModelSource | None) -> str:
    """Who the base is, however its numbers are held: what was tuned on a GPU may write on a CPU."""
    return NO_BASE if source is None else source.identity().rpartition(":")[0]


def _save_adapter(folder: Path, writer: HardNegativeEncoder, source: ModelSource) -> None:
    _write_tensors(folder / ADAPTER, _adapter_of(writer))
    settings = writer.network.peft_config["default"].to_dict()
    settings |= {"base_model_name_or_path": source.name, "inference_mode": True, "revision": None}
    _write_json(folder / ADAPTER_ABOUT, settings)


def _load_adapter(path: Path, writer: HardNegativeEncoder) -> None:
    from peft import set_peft_model_state_dict

    tensors = _tensors(path)
    _require_same(tensors, _adapter_of(writer), path)
    set_peft_model_state_dict(writer.network, tensors)


def _adapter_of(writer: HardNegativeEncoder) -> dict[str, Tensor]:
    """The adapter's tensors by peft's names; no token was added, so nothing of the base goes with them."""
    from peft import get_peft_model_state_dict

    found: dict[str, Tensor] = get_peft_model_state_dict(writer.network, save_embedding_layers=False)
    return found


def _restore(module: Any, tensors: Mapping[str, Tensor], path: Path) -> None:
    _require_same(tensors, module.state_dict(), path)
    module.load_state_dict(dict(tensors))


def _require_same(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    """Every tensor is there, of the right shape; a part that is missing would silently be the untuned one."""
    wrong = [name for name in {**wanted, **found} if _shape(found, name) != _shape(wanted, name)]
    if wrong:
        raise DataError(
            f"{path} does not fit the base: {len(wrong)} tensors are missing or of other shapes (first: {wrong[0]}); "
            "tune again"
        )


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None


def _about(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        found["base"]["identity"], found["base"]["name"], found["model"], found["template"], found["sizes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / ABOUT} cannot be read ({error}); expected a tuned model, check the path") from None
    return found


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        found: dict[str, Tensor] = load_file(path)
    except Exception as error:  # noqa: BLE001 - safetensors raises a type of its own
        raise DataError(f"{path} cannot be read ({error}); tune again") from None
    return found


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}, path)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    def plain(value: object) -> object:
        return sorted(value) if isinstance(value, (set, frozenset)) else str(value)

    path.write_text(json.dumps(dict(values), indent=2, sort_keys=True, default=plain) + "\n", encoding="utf-8")
