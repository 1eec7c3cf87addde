"""A tiny causal language model for tests: random weights, a real tokenizer, a ChatML template.

Its replies have no meaning.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

MARKERS = ("<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = (
    "a warm winter jacket for long walks in the rain and the snow; people who like camping, cooking and music. "
    "An iron saucepan, a guitar with steel strings, a tent for two, a good novel, a board game for the family. "
    'This item would be enjoyed by readers of crime stories. {"summarization": "likes tools", "reasoning": "bought '
    '{"hard_negative_item": "garden hose", "reasoning": "close to it"} yes no 1 2 3 4 5 6 7 8 9 0 The user has chosen'
)


def make_tiny(
    folder: Path, kind: Literal["llama", "qwen2"] = "llama", *, seed: int = 0, template: str | None = TEMPLATE
) -> Path:
    """Save a tiny random Llama or Qwen2 with its tokenizer into `folder`: about 120,000 parameters, 2,048 positions."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    tokenizer = make_tokenizer(template)
    tokenizer.save_pretrained(folder)
    ids = {"bos_token_id": 1, "eos_token_id": 3, "pad_token_id": 0}
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "max_position_embeddings": 2048, "vocab_size": len(tokenizer)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "llama":
            LlamaForCausalLM(LlamaConfig(**sizes, **ids)).save_pretrained(folder)
        else:
            Qwen2ForCausalLM(Qwen2Config(**sizes, **ids)).save_pretrained(folder)
    return folder


def make_tokenizer(template: str | None = TEMPLATE):
    """Return a byte-level tokenizer with the markers of ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=list(MARKERS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator([WORDS] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|pad|>", bos_token="<|bos|>", eos_token="<|im_end|>"
    )
    tokenizer.chat_template = template
    return tokenizer


def teach(folder: Path, answer: str, *, steps: int = 40, seed: int = 0) -> Path:
    """Train the model of a folder until it answers every prompt with `answer`, which becomes a token.

    Random weights write no JSON, and a server that ignores schemas would get no further than bad replies.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    tokenizer.add_tokens([answer])
    with torch.random.fork_rng():  # the new token is initialised from torch's generator
        torch.manual_seed(seed)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    target = tokenizer(f"<|im_start|>assistant\n{answer}<|im_end|>", return_tensors="pt")["input_ids"][0]
    rng = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        before = torch.randint(len(MARKERS), len(tokenizer) - 1, (8, 40), generator=rng)
        ids = torch.cat([before, target.expand(8, -1)], dim=1)
        labels = ids.clone()
        labels[:, :-2] = -100  # no loss before the answer
        optimiser.zero_grad()
        model(input_ids=ids, labels=labels).loss.backward()
        optimiser.step()
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    import sys

    print(make_tiny(Path(sys.argv[1])))  # noqa: T201 - a script
