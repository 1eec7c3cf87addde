"""GGUF files of the tiny Llama, written by the gguf package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""Names of modules in transformers -> names in GGUF files."""


def gguf_name(name: str) -> str:
    """Return the GGUF name of a tensor of transformers' Llama."""
    parts = name.removesuffix(".weight").removeprefix("model.layers.")
    if parts[0].isdigit():
        layer, _, module = parts.partition(".")
        return f"blk.{layer}.{NAMES[module]}.weight"
    return f"{NAMES[parts]}.weight"


def write_gguf(folder: Path, path: Path, *, quantization: str = "F32", architecture: str = "llama") -> Path:
    """Write the tiny Llama of a folder as a GGUF file. quantization: of its matrices, by the names of the gguf package."""
    import gguf

    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config["vocab_size"])
    _add_tokenizer(writer, folder)
    kind = gguf.GGMLQuantizationType[quantization]
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = tensor.float().numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config["num_attention_heads" if "q_proj" in name else "num_key_value_heads"]
            values = _interleave(values, heads)
        if quantization == "F32" or values.ndim == 1:
            writer.add_tensor(gguf_name(name), values)
        else:
            writer.add_tensor(gguf_name(name), gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _interleave(values: np.ndarray, heads: int) -> np.ndarray:
    """Order the rows of each head as llama.cpp rotates them: pairs beside each other."""
    size = values.shape[0] // heads // 2
    return values.reshape(heads, 2, size, -1).swapaxes(1, 2).reshape(values.shape)


def _add_tokenizer(writer, folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    special = {token["content"] for token in tokenizer["added_tokens"]}
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(3)
    writer.add_pad_token_id(0)
    template = folder / "chat_template.jinja"
    if template.is_file():
        writer.add_chat_template(template.read_text())
