"""Sources of weights, and files that are never loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoTokenizer

from hardneg.errors import ConfigError
from hardneg.llm.local.weights import ModelSource


@pytest.fixture
def copy(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "copy"))


def test_weights_have_32_bits_on_the_cpu(tiny_llama: Path) -> None:
    source = ModelSource(str(tiny_llama))
    model = source.model()
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert source.precision == "float32"
    assert ModelSource(str(tiny_llama), "cuda").precision == "bfloat16"
    assert ModelSource(str(tiny_llama), "cuda", "float32").precision == "float32"
    states = source.model("hidden states")(input_ids=torch.tensor([[1, 2, 3]])).last_hidden_state
    assert states.shape == (1, 3, 64)


def test_a_precision_is_part_of_the_identity_and_applies_to_the_weights(tiny_llama: Path) -> None:
    full, half = ModelSource(str(tiny_llama)), ModelSource(str(tiny_llama), precision="bfloat16")
    assert half.identity() == full.identity().removesuffix("float32") + "bfloat16"
    assert {parameter.dtype for parameter in half.model().parameters()} == {torch.bfloat16}


def test_sampling_settings_are_dropped_and_end_tokens_kept(copy: Path) -> None:
    settings = {"eos_token_id": [3, 2], "do_sample": True, "repetition_penalty": 2.0, "top_k": 1}
    (copy / "generation_config.json").write_text(json.dumps(settings))
    config = ModelSource(str(copy)).model().generation_config
    assert config.eos_token_id == [3, 2]
    assert (config.do_sample, config.repetition_penalty, config.top_k) == (None, None, None)


def test_pickled_weights_are_not_loaded(copy: Path) -> None:
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"model 'copy' cannot be loaded \(.*safetensors.*\); give a folder"):
        ModelSource(str(copy)).model()


def test_missing_weights_are_an_error(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=r"model 'copy' lacks 1 of its weights \(first: .*up_proj.weight\)"):
        ModelSource(str(copy)).model()


def test_shared_weights_are_not_missing(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    weights = load_file(copy / "model.safetensors")
    weights.pop("lm_head.weight")
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    model = ModelSource(str(copy)).model()
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_remote_code_is_not_run(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"auto_map": {"AutoModelForCausalLM": "evil.Evil", "AutoConfig": "evil.Config"}, "model_type": "evil"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')\nclass Evil: pass\nclass Config: pass\n")
    with pytest.raises(ConfigError, match="model 'copy' cannot be loaded"):
        ModelSource(str(copy)).model()
    assert not (copy / "ran").exists()


def test_message_has_one_line_and_no_path(copy: Path) -> None:
    (copy / "config.json").write_text("junk")
    with pytest.raises(ConfigError) as error:
        ModelSource(str(copy)).model()
    assert str(copy.parent) not in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_broken_files_are_a_one_line_error(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:50])
    with pytest.raises(ConfigError, match="model 'copy' cannot be loaded") as error:
        _ = ModelSource(str(copy)).model(), ModelSource(str(copy)).tokenizer()
    assert "\n" not in str(error.value)


def test_hub_files_come_from_one_commit(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All files come from the commit of the configuration."""
    loaded: list[tuple[str, Any]] = []
    real = AutoConfig.from_pretrained(tiny_llama)

    def configured(location: str, **options: Any) -> Any:
        loaded.append((location, options.get("revision")))
        real._commit_hash = "0123abcd"
        return real

    def tokenised(location: str, **options: Any) -> Any:
        loaded.append((location, options.get("revision")))
        assert options["trust_remote_code"] is False
        return tokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    monkeypatch.setattr(AutoConfig, "from_pretrained", configured)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", tokenised)
    source = ModelSource("org/model")
    assert source.identity() == "org/model@0123abcd:float32"
    assert source.tokenizer() is tokenizer
    assert loaded == [("org/model", None), ("org/model", "0123abcd")]


def test_model_without_a_fast_tokenizer_is_an_error(copy: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(ConfigError, match="copy'"):
        ModelSource(str(copy)).tokenizer()


def test_four_bits_name_the_extra(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardneg.llm.local.weights.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"run pip install 'hardneg\[four-bit\]'"):
        ModelSource(str(tiny_llama), precision="nf4").model()
    assert ModelSource(str(tiny_llama), precision="nf4").identity().endswith(":nf4")
