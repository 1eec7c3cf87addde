"""Conversion of GGUF files: the same weights and tokens, and errors of one line."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.llm.gguf_files import gguf_name, write_gguf
from transformers import AutoTokenizer

from hardneg.artifacts import folder_hash, read_manifest
from hardneg.errors import ConfigError, DamagedError
from hardneg.llm.local.gguf import KIND, conversion_stage, source_hash
from hardneg.llm.local.weights import ModelSource


def convert(path: Path, folder: Path) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return conversion_stage(path, digest, "tiny", {"licence": "none"}, lambda *_: None).run(folder)


@pytest.fixture(scope="module")
def converted(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_gguf(tiny_llama, tmp_path_factory.mktemp("gguf") / "file of mine.bin")
    return convert(path, path.with_name("converted"))


def test_weights_tokens_and_chat_template_are_those_of_the_file(tiny_llama: Path, converted: Path) -> None:
    expected, result = load_file(tiny_llama / "model.safetensors"), load_file(converted / "model.safetensors")
    assert set(result) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(result[name], tensor.to(torch.bfloat16), rtol=0, atol=0)
    before, after = AutoTokenizer.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(converted)
    for text in ("a tent for two <|im_end|> and  3 novels", "Käthe's \t saucepan", ""):
        assert after.encode(text, add_special_tokens=False) == before.encode(text, add_special_tokens=False)
    chat = [{"role": "user", "content": "yes or no"}]
    rendered = [kind.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for kind in (before, after)]
    assert rendered[0] == rendered[1]
    ids = torch.tensor([[1, 40, 50, 60]])
    with torch.no_grad():
        logits = [ModelSource(str(folder)).model()(input_ids=ids).logits for folder in (tiny_llama, converted)]
    torch.testing.assert_close(logits[0], logits[1], rtol=0.05, atol=0.02)


def test_quantized_weights_equal_the_dequantized_ones(tiny_llama: Path, tmp_path: Path) -> None:
    import gguf

    path = write_gguf(tiny_llama, tmp_path / "tiny.gguf", quantization="Q4_0")
    result = load_file(convert(path, tmp_path / "converted") / "model.safetensors")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for name in ("model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "lm_head.weight"):
        tensor = tensors[gguf_name(name)]
        values = np.array(gguf.dequantize(tensor.data, tensor.tensor_type))
        torch.testing.assert_close(result[name], torch.from_numpy(values).to(torch.bfloat16), rtol=0, atol=0)


def test_identity_is_that_of_the_file_whatever_converted_it(converted: Path, tiny_llama: Path) -> None:
    digest = hashlib.sha256(converted.with_name("file of mine.bin").read_bytes()).hexdigest()
    assert source_hash(converted) == digest
    assert ModelSource(str(converted), precision="bfloat16").identity() == f"{digest}:bfloat16"
    notes = read_manifest(converted, KIND)["notes"]
    assert (notes["name"], notes["licence"]) == ("tiny", "none")
    assert set(notes["converted by"]) == {"gguf", "accelerate", "transformers", "torch"}
    assert source_hash(tiny_llama) is None
    assert ModelSource(str(tiny_llama)).identity() == f"{folder_hash(tiny_llama)}:float32"


def test_a_foreign_manifest_is_no_manifest_of_ours(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"files": []}))
    assert source_hash(tmp_path) is None
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        source_hash(tmp_path)


def truncated(path: Path) -> bytes:
    return path.read_bytes()[:-20_000]


def without_a_tensor(path: Path) -> bytes:
    return path.read_bytes().replace(b"blk.1.ffn_down.weight", b"blk.1.ffn_dawn.weight")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"junk", "is no GGUF file"),
        (lambda _: b"", "is no GGUF file"),
        (lambda path: path.read_bytes()[:300], "cannot be converted"),
        (truncated, "cannot be converted"),
        (without_a_tensor, r"lacks 1 weights \(first: model.layers.1.mlp.down_proj.weight\)"),
        (lambda _: b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "cannot be converted"),
    ],
)
def test_a_damaged_file_is_a_one_line_error(damage, reason: str, tiny_llama: Path, tmp_path: Path) -> None:
    path = write_gguf(tiny_llama, tmp_path / "tiny.gguf")
    path.write_bytes(damage(path))
    with pytest.raises(ConfigError, match=reason) as error:
        convert(path, tmp_path / "converted")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "converted").exists()


def test_a_disk_that_fills_up_while_writing_leaves_nothing(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: object, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("transformers.LlamaForCausalLM.save_pretrained", fill)
    path = write_gguf(tiny_llama, tmp_path / "tiny.gguf")
    with pytest.raises(OSError, match="No space left on device"):
        convert(path, tmp_path / "converted")
    assert [found.name for found in tmp_path.iterdir()] == ["tiny.gguf"]


def test_an_unknown_architecture_is_a_one_line_error(tiny_llama: Path, tmp_path: Path) -> None:
    path = write_gguf(tiny_llama, tmp_path / "tiny.gguf", architecture="wavenet")
    with pytest.raises(ConfigError, match=r"cannot be converted \(.*wavenet.*\)"):
        convert(path, tmp_path / "converted")
