"""Tiny language models of every supported family, and pairs to tune them on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.llm.tiny import make_tokenizer

from hardneg.data.interactions import Interactions
from hardneg.finetuning import (
    EmbeddingSpace,
    EmbeddingSpaces,
    EncoderConfig,
    HardNegativeEncoder,
    PairInputs,
    Template,
    TemplateConfig,
    open_encoder_model,
)
from hardneg.llm.local.weights import ModelSource
from hardneg.types import Floats

DECODERS = ("llama", "qwen2", "mistral", "gemma", "gemma2")
FAMILIES = (*DECODERS, "bert")
SIZE = 8


def make_base(folder: Path, family: str) -> Path:
    """Save a tiny random base of a family with a tokenizer: 2 layers of width 32."""
    import transformers as hf

    if family == "bert":
        return _make_bert(folder)
    tokenizer = make_tokenizer(None)
    tokenizer.save_pretrained(folder)
    config = {
        "llama": hf.LlamaConfig,
        "qwen2": hf.Qwen2Config,
        "mistral": hf.MistralConfig,
        "gemma": hf.GemmaConfig,
        "gemma2": hf.Gemma2Config,
    }[family]
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "vocab_size": len(tokenizer)}
    ids = {"bos_token_id": 1, "eos_token_id": 3, "pad_token_id": 0}
    _save(folder, config(**sizes, **ids), hf.AutoModelForCausalLM)
    return folder


def _make_bert(folder: Path) -> Path:
    import transformers as hf

    words = [
        "a",
        "the",
        "tent",
        "guitar",
        "novel",
        "user",
        "item",
        "warm",
        "jacket",
        "likes",
        "who",
        "people",
        "camping",
        "music",
        ".",
        ",",
        ":",
        "x",
        "y",
        "z",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *words,
        *"bcdefghijklmnopqrstuvw",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    hf.BertTokenizer(vocab={piece: place for place, piece in enumerate(pieces)}).save_pretrained(folder)
    config = hf.BertConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=512, vocab_size=len(pieces),
    )  # fmt: skip
    _save(folder, config, hf.AutoModel)
    return folder


def _save(folder: Path, config: object, kind: object) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind.from_config(config).save_pretrained(folder)


def make_inputs(*, users: int = 6, items: int = 9, seed: int = 0) -> tuple[PairInputs, Floats]:
    """Pairs of users and items, profiles of unequal length (one of each blank), embeddings and labels."""
    rng = np.random.default_rng(seed)
    u, i = np.nonzero(rng.random((users, items)) < 0.6)
    pairs = Interactions.of(u, i, n_users=users, n_items=items)
    texts = ("likes a tent", "camping and music, who people", "a warm jacket for the user", "novel")
    inputs = PairInputs(
        pairs,
        [" ".join(texts[: user % 4]) for user in range(users)],
        [texts[item % 4] * (item % 3) for item in range(items)],
        rng.normal(size=(users, SIZE)).astype(np.float32) * 0.1,
        rng.normal(size=(items, SIZE)).astype(np.float32) * 0.1,
    )
    mixing = rng.random((len(pairs), 1)).astype(np.float32)
    labels = mixing * inputs.items[pairs.items] + (1 - mixing) * inputs.items[rng.integers(items, size=len(pairs))]
    return inputs, labels


def spaces_of(inputs: PairInputs, labels: Floats) -> EmbeddingSpaces:
    return EmbeddingSpaces(EmbeddingSpace.of(inputs.users), EmbeddingSpace.of(inputs.items), EmbeddingSpace.of(labels))


def opened(
    folder: Path, config: EncoderConfig | None = None, template: TemplateConfig | None = None
) -> tuple[ModelSource, Template, HardNegativeEncoder, PairInputs, Floats]:
    """Return a base, its template, its encoder, and inputs."""
    inputs, labels = make_inputs()
    source = ModelSource(str(folder))
    made = Template(source.tokenizer(), template)
    return (
        source,
        made,
        open_encoder_model(source, config or EncoderConfig(rank=4, alpha=8), spaces=spaces_of(inputs, labels)),
        inputs,
        labels,
    )
