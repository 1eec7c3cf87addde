"""Tiny random models of other kinds: absolute positions, a sliding window, soft caps of attention."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    PretrainedConfig,
)

SIZES = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}


def make_gpt2() -> Any:
    """Return a GPT-2, whose positions are absolute."""
    sizes = {"vocab_size": 400, "n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 2}
    return _make(GPT2LMHeadModel, GPT2Config(**sizes, initializer_range=0.5))


def make_mistral(window: int | None, vocabulary: int = 400) -> Any:
    """Return a Mistral whose tokens see the `window` tokens before them; None for all."""
    sizes = {**SIZES, "vocab_size": vocabulary, "sliding_window": window}
    return _make(MistralForCausalLM, MistralConfig(**sizes, initializer_range=0.2))


def make_gemma2() -> Any:
    """Return a Gemma 2, which caps attention scores and has a sliding window in every second layer."""
    return _make(Gemma2ForCausalLM, Gemma2Config(**SIZES, sliding_window=8, initializer_range=0.2))


def _make(kind: Any, config: PretrainedConfig) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(config).eval()
