"""Sizes of language models by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hardneg.llm.sizes import find_parameters


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("smollm2-135m", 135e6),
        ("hf:Qwen/Qwen2.5-7B-Instruct", 7e9),
        ("gguf:/models/Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf", 0.5e9),
        ("http://localhost:8000/v1#meta-llama/Llama-3.1-8B-Instruct", 8e9),
        ("openai:gpt-4o-mini", None),
        ("3b-models/unknown", None),
    ],
)
def test_the_name_may_hold_it(name: str, size: float | None) -> None:
    assert find_parameters(name) == size


def test_the_weights_of_a_folder_are_counted(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, tmp_path / "1.safetensors", metadata={"format": "pt"})
    save_file({"c": torch.zeros(2, 2, 2)}, tmp_path / "2.safetensors")
    assert find_parameters(str(tmp_path)) == 3 * 4 + 5 + 8
