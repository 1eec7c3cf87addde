"""Scores of tokens appended to cached rows, and prefixes kept, against whole texts without a cache."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.llm.other_models import make_gpt2
from transformers import AutoModelForCausalLM

from hardneg.llm.local import cached_rows
from hardneg.llm.local.cached_rows import CachedRows, Prefix
from hardneg.llm.local.prefixes import PrefixCache, cut, n_common

TOKENS = st.lists(st.integers(5, 300), min_size=1, max_size=9)


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen", "gpt2"])
def model(request: pytest.FixtureRequest) -> Any:
    if request.param == "gpt2":
        return make_gpt2()
    folder: Path = request.getfixturevalue(request.param)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def scores_after(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1]


@settings(max_examples=25, deadline=None)
@given(st.lists(TOKENS, max_size=1), st.lists(TOKENS, min_size=1, max_size=4), st.integers(2, 12), st.data())
def test_scores_equal_those_of_whole_texts(
    model: Any, prefix: list[list[int]], texts: list[list[int]], pass_tokens: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cached_rows, "PASS_TOKENS", pass_tokens)
        shared = PrefixCache(model).prefix(prefix[0]) if prefix else Prefix()
        rows, whole = CachedRows(model, shared), [[*shared.ids] for _ in texts]
        rows.add(len(texts), 1)
        for _ in range(3):
            n_scored = [data.draw(st.integers(0, len(text))) for text in texts]
            scores = rows.append(texts, n_scored)
            expected = []
            for ids, text, n in zip(whole, texts, n_scored, strict=True):
                ids.extend(text)
                expected += [scores_after(model, ids[: len(ids) - k]) for k in reversed(range(n))]
            assert len(scores) == len(expected)
            if expected:
                torch.testing.assert_close(scores, torch.stack(expected), atol=1e-4, rtol=1e-4)
            cuts = [data.draw(st.integers(0, length)) for length in rows.lengths]
            rows.lengths = cuts
            whole = [ids[: len(shared.ids) + length] for ids, length in zip(whole, cuts, strict=True)]
            texts = [data.draw(TOKENS) for _ in texts]


def test_rows_are_copied_and_removed(model: Any) -> None:
    prefix = PrefixCache(model).prefix([1, 20, 30])
    users = CachedRows(model, prefix)
    users.add(2, 4)
    users.append([[40, 41, 42, 43], [50]], [0, 0])
    rows = CachedRows(model, prefix)
    rows.add(1, 2)
    rows.append([[60, 61]], [0])
    rows.add(3, 6, users, [1, 0, 1])
    assert rows.lengths == [2, 1, 4, 1]
    rows.append([[7], [8, 9], [10]], [0, 0, 0], first=1)
    rows.remove(1)
    assert rows.lengths == [2, 2, 6]
    scores = rows.append([[11], [12], [13]], [1, 1, 1])
    texts = [[60, 61, 11], [50, 10, 12], [40, 41, 42, 43, 8, 9, 13]]
    expected = torch.stack([scores_after(model, [1, 20, 30, *text]) for text in texts])
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)


def test_16_bits(model: Any) -> None:
    halved = copy.deepcopy(model).bfloat16()
    prefix = PrefixCache(halved).prefix([1, 20, 30])
    users, rows = CachedRows(halved, prefix), CachedRows(halved, prefix)
    users.add(1, 2)
    users.append([[40, 41]], [0])
    rows.add(2, 4, users, [0, 0])
    scores = rows.append([[7], [8, 9]], [1, 1])
    expected = torch.stack([scores_after(model, [1, 20, 30, 40, 41, *text]) for text in ([7], [8, 9])])
    assert (scores - expected).norm() < 0.05 * expected.norm()
    assert scores.dtype == torch.float32


def test_kept_prefixes_are_reused_within_their_memory(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    n_tokens = []
    append = CachedRows.append

    def counting(self: CachedRows, tokens: list[list[int]], *more: Any) -> torch.Tensor:
        n_tokens.append(sum(map(len, tokens)))
        return append(self, tokens, *more)

    monkeypatch.setattr(CachedRows, "append", counting)
    prefixes, first = PrefixCache(model), list(range(20, 60))
    whole = prefixes.prefix(first)
    prefixes.prefix([*first[:30], 7, 8])
    assert prefixes.prefix(first[:10]).ids == tuple(first[:10])
    prefixes.prefix(first)
    assert n_tokens == [40, 2]
    small = PrefixCache(model, whole.n_bytes)
    for ids in (first, first[::-1], first):
        assert small.prefix(ids).ids == tuple(ids)
        assert sum(kept.n_bytes for kept in small._kept) <= whole.n_bytes
    assert n_tokens == [40, 2, 40, 40, 40]
    assert PrefixCache(model, 0).prefix(first).ids == tuple(first)


def test_cut_prefixes() -> None:
    assert n_common([1, 2, 3], [1, 2, 4]) == 2
    assert n_common([1], []) == 0
    prefix = Prefix((1, 2), {0: (torch.ones(1, 2, 3), torch.ones(1, 2, 3))})
    assert cut(prefix, 1).layers[0][0].shape == (1, 1, 3)
    assert cut(prefix, 0) == Prefix()
    assert prefix.n_bytes == 48
