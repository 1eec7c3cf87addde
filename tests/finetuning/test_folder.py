"""A saved model can be loaded over its own base only, and contains no path."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.finetuning.conftest import Bases
from tests.finetuning.test_model import written
from tests.finetuning.tiny import FAMILIES, opened

from hardneg.checkpoint import TrainingState
from hardneg.errors import ConfigError, DataError
from hardneg.finetuning import EncoderConfig, TunedEncoder, load_tuned, save_tuned
from hardneg.llm.local.weights import ModelSource

CURVE = {"step": 0, "loss": float("nan"), "held_out_loss": 2.0, "information": 0.5}


def saved(folder: Path, out: Path, adapt: str = "lora") -> torch.Tensor:
    """Save an encoder with changed weights; return its vectors."""
    source, template, encoder, inputs, _ = opened(folder, EncoderConfig(adapt=adapt, rank=4, alpha=12))
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.trained_parameters().values():
            parameter.add_(torch.randn(parameter.shape, generator=rng) * 0.05)
        out.mkdir()
        save_tuned(
            out,
            TunedEncoder(encoder, TrainingState(curves=[CURVE]), np.array([2, 5]), np.array([1, 3]), ()),
            template,
            source,
        )
        return written(encoder, template, inputs)


@pytest.mark.parametrize(
    ("family", "adapt"), [*((family, "lora") for family in FAMILIES), ("bert", "frozen"), ("llama", "full")]
)
def test_a_loaded_model_gives_the_same_vectors(bases: Bases, tmp_path: Path, family: str, adapt: str) -> None:
    expected = saved(bases(family), tmp_path / "tuned", adapt)
    encoder, template = load_tuned(tmp_path / "tuned", ModelSource(str(bases(family))))
    inputs = opened(bases(family))[3]
    with torch.no_grad():
        assert torch.equal(written(encoder, template, inputs), expected)
    curves = pl.read_parquet(tmp_path / "tuned" / "metrics.parquet")
    assert curves.rows() == [(0, None, 2.0, 0.5)]
    assert pl.read_parquet(tmp_path / "tuned" / "held_out.parquet")["pair_row"].to_list() == [2, 5]
    assert pl.read_parquet(tmp_path / "tuned" / "tuned_on.parquet")["pair_row"].to_list() == [1, 3]


def test_it_names_its_base_and_no_path_and_holds_no_pickle(bases: Bases, tmp_path: Path) -> None:
    saved(bases("llama"), tmp_path / "tuned")
    assert json.loads((tmp_path / "tuned" / "tuned.json").read_text())["base"]["name"] == "tiny-llama"
    adapter = json.loads((tmp_path / "tuned" / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] == "tiny-llama"
    assert (adapter["r"], adapter["lora_alpha"]) == (4, 12)
    for path in (tmp_path / "tuned").iterdir():
        assert path.suffix in (".json", ".safetensors", ".parquet")
        assert str(bases("llama").parent).encode() not in path.read_bytes()


def test_a_merged_adapter_gives_the_same_vectors(bases: Bases, tmp_path: Path) -> None:
    expected = saved(bases("llama"), tmp_path / "tuned")
    encoder, template = load_tuned(tmp_path / "tuned", ModelSource(str(bases("llama"))))
    before = encoder.inner.layers[0].self_attn.q_proj.base_layer.weight.clone()
    assert encoder.merge_adapter()
    assert not torch.equal(encoder.inner.layers[0].self_attn.q_proj.base_layer.weight, before)
    with torch.no_grad():
        torch.testing.assert_close(
            written(encoder, template, opened(bases("llama"))[3]), expected, rtol=1e-4, atol=1e-5
        )
    assert not opened(bases("llama"), EncoderConfig(adapt="frozen"))[2].merge_adapter()


def test_peft_reads_the_adapter_too(bases: Bases, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModel

    saved(bases("llama"), tmp_path / "tuned")
    network = PeftModel.from_pretrained(AutoModel.from_pretrained(bases("llama")), tmp_path / "tuned")
    ours = load_tuned(tmp_path / "tuned", ModelSource(str(bases("llama"))))[0].network
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(network.eval()(ids).last_hidden_state, ours(ids).last_hidden_state)


def test_another_base_is_refused_and_the_same_elsewhere_is_not(bases: Bases, tmp_path: Path) -> None:
    saved(bases("llama"), tmp_path / "tuned")
    moved = shutil.copytree(bases("llama"), tmp_path / "elsewhere")
    load_tuned(tmp_path / "tuned", ModelSource(str(moved)))
    with pytest.raises(ConfigError, match="tiny-mistral"):
        load_tuned(tmp_path / "tuned", ModelSource(str(bases("mistral"))))


@pytest.mark.parametrize("name", ["tuned.json", "adapter_model.safetensors", "projection_heads.safetensors"])
def test_a_missing_or_broken_part_is_an_error_not_the_untuned_one(bases: Bases, tmp_path: Path, name: str) -> None:
    saved(bases("llama"), tmp_path / "tuned")
    path = tmp_path / "tuned" / name
    source = ModelSource(str(bases("llama")))
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        tensors.pop(next(iter(tensors)))
        save_file(tensors, path)
        with pytest.raises(DataError, match="1 tensors"):
            load_tuned(tmp_path / "tuned", source)
    path.write_bytes(b"{")
    with pytest.raises(DataError, match=name):
        load_tuned(tmp_path / "tuned", source)
    path.unlink()
    with pytest.raises(DataError, match=name):
        load_tuned(tmp_path / "tuned", source)
