"""Random batches of answers against a slow loop: one at a time, the whole text again for every token, no cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.llm.bounded_text import ShortText
from tests.llm.other_models import make_gemma2, make_mistral
from transformers import AutoModelForCausalLM, AutoTokenizer

from hardneg.llm.local import cached_rows, decoding, prefixes, shared_prompts
from hardneg.llm.local.cached_rows import CachedRows
from hardneg.llm.local.closed_list import ClosedList
from hardneg.llm.local.decoding import decode, supports_cached_rows
from hardneg.llm.local.grammar import Grammars
from hardneg.llm.local.prefixes import PrefixCache
from hardneg.llm.local.token_choice import TRIES, Constraint, DecodingJob
from hardneg.llm.structured import Structured, strict_schema

END = 3
TITLES = ("a tent", "a tent for two", "guitar", "iron saucepan", "iron", "a  tent", "a warm winter jacket for walks")


class Item(Structured):
    hard_negative_item: ShortText
    others: list[ShortText]


SCHEMA = strict_schema(Item)
Network = tuple[Any, Grammars, ClosedList]


def answer_slowly(model: Any, job: DecodingJob) -> tuple[list[int], bool]:
    """Return the tokens of an answer and whether it ended."""
    ids: list[int] = []
    generator = torch.Generator().manual_seed(job.seed)
    while len(ids) < job.limit:
        with torch.no_grad():
            scores = model(torch.tensor([[*job.ids, *ids]])).logits[0, -1].float()
        if job.temperature:
            scores = scores / job.temperature - torch.empty(len(scores)).exponential_(generator=generator).log()
        left, allowed = job.limit - len(ids), np.ones(len(scores), np.bool_)
        if job.constraint is not None:
            job.constraint.allow(allowed := np.zeros(len(scores), np.bool_), left)
        ranked = scores.masked_fill(~torch.from_numpy(allowed), -torch.inf).argsort(descending=True, stable=True)
        candidates = ranked[: min(TRIES, int(allowed.sum()))].tolist()
        fitting = (token for token in candidates if job.constraint is None or job.constraint.fits(token, left))
        token = next(fitting, None)
        token = job.constraint.closing() if token is None and job.constraint is not None else token
        if token == END:
            return ids, True
        assert token is not None
        ids.append(token)
        if job.constraint is not None:
            job.constraint.take(token)
    return ids, False


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen", "sliding window"])
def network(request: pytest.FixtureRequest) -> Network:
    windowed = request.param == "sliding window"
    folder: Path = request.getfixturevalue("tiny_llama" if windowed else request.param)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = make_mistral(6, len(tokenizer)) if windowed else AutoModelForCausalLM.from_pretrained(folder).eval()
    titles = ClosedList.of(TITLES, lambda text: tokenizer.encode(text, add_special_tokens=False))
    return model, Grammars(tokenizer, END), titles


def drawn_jobs(draw: Callable[[Any], Any], grammars: Grammars, titles: ClosedList) -> list[tuple[Any, ...]]:
    """Return random jobs, each as the arguments of DecodingJob and a function that makes its constraint."""
    pieces = st.lists(st.integers(5, 300), max_size=8)
    instruction, users = draw(pieces), draw(st.lists(pieces, min_size=1, max_size=3))
    jobs = []
    for _ in range(draw(st.integers(1, 7))):
        ids = [1, *instruction, *draw(st.sampled_from(users)), *draw(pieces)]
        kind, limit = draw(st.sampled_from(["free", "schema", "titles"])), draw(st.integers(1, 14))
        excluded = draw(st.lists(st.sampled_from(TITLES[1:]), unique=True))
        limit = {"free": limit, "schema": 44 + limit, "titles": 40 + limit}[kind]
        makers: dict[str, Callable[[], Constraint | None]] = {
            "free": lambda: None,
            "schema": lambda limit=limit: grammars.constraint(SCHEMA, limit),  # type: ignore[misc]
            "titles": lambda limit=limit, excluded=excluded: titles.constraint(excluded, limit, END),  # type: ignore[misc]
        }
        jobs.append((ids, limit, draw(st.sampled_from([0.0, 0.0, 0.8, 2.0])), draw(st.integers(0, 99)), makers[kind]))
    return jobs


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_batches_change_no_answer(network: Network, data: st.DataObject) -> None:
    model, grammars, titles = network
    jobs = drawn_jobs(data.draw, grammars, titles)
    expected = [answer_slowly(model, DecodingJob(*rest, make())) for *rest, make in jobs]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(decoding.MAX_ROWS, "cpu", data.draw(st.integers(1, 5)))
        patch.setattr(shared_prompts, "MIN_SHARED", shared := data.draw(st.sampled_from([1, 3, 32])))
        patch.setattr(prefixes, "MIN_SHARED", shared)
        patch.setattr(cached_rows, "PASS_TOKENS", data.draw(st.sampled_from([5, 1024])))
        kept = PrefixCache(model)
        for _ in range(2):  # the second time with the prefix kept
            decoded = decode(
                model, [DecodingJob(*rest, make()) for *rest, make in jobs], ends=[END], pad=0, prefixes=kept
            )
            assert [(answer.ids, answer.ended) for answer in decoded] == expected


def test_memory_limits_the_answers_at_a_time(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, *_ = network
    config = model.config
    width = config.hidden_size // config.num_attention_heads * config.num_key_value_heads
    size = 2 * 4 * config.num_hidden_layers * width
    monkeypatch.setattr(decoding, "MEMORY", tmp_path / "meminfo")
    for free, expected in ((4 * 10 * 7 * size, 7), (4 * 10 * size // 2, 1), (2**40, 64)):
        decoding.MEMORY.write_text(f"MemFree: 1 kB\nMemAvailable: {free / 1024:.0f} kB\n", encoding="ascii")
        assert decoding._rows_in_memory(model, 10) == expected
    decoding.MEMORY.unlink()
    assert decoding._rows_in_memory(model, 10) == 64


def test_models_without_rows_of_their_own_are_found(network: Network) -> None:
    model, *_ = network
    assert supports_cached_rows(model) == (model.config.model_type != "mistral")
    assert supports_cached_rows(make_mistral(None))
    assert not supports_cached_rows(make_gemma2())


def counted_passes(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Record the number of tokens of each row in every pass."""
    passes: list[list[int]] = []
    append = CachedRows.append

    def counting(self: CachedRows, tokens: Any, *more: Any) -> torch.Tensor:
        passes.append([len(part) for part in tokens])
        return append(self, tokens, *more)

    monkeypatch.setattr(CachedRows, "append", counting)
    return passes


def test_tokens_without_a_choice_need_no_pass(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    model, grammars, titles = network
    if not supports_cached_rows(model):
        pytest.skip("this model decodes padded batches")
    passes = counted_passes(monkeypatch)
    job = DecodingJob([1, 50, 60], 60, constraint=titles.constraint(TITLES[:-1], 60, END))
    [decoded] = decode(model, [job], ends=[END], pad=0)
    assert decoded.ended
    assert passes == [[3]], "a single title is allowed"
    passes.clear()
    decoded = decode(
        model, [DecodingJob([1, 50, 60], 90, constraint=grammars.constraint(SCHEMA, 90))], ends=[END], pad=0
    )[0]
    assert decoded.ended
    assert max(map(max, passes)) > 3, "the key of the schema is one draft"
    assert len(passes) < len(decoded.ids)


def test_rows_and_prefixes_are_shared(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    model, *_ = network
    if not supports_cached_rows(model):
        pytest.skip("this model decodes padded batches")
    passes = counted_passes(monkeypatch)
    instruction, users = list(range(40, 90)), [list(range(100, 140)), list(range(150, 190))]
    jobs = [DecodingJob([1, *instruction, *user, item], 2) for user in users for item in (7, 8, 9)]
    kept = PrefixCache(model)
    decode(model, jobs, ends=[END], pad=0, prefixes=kept)
    assert passes == [[51], [40, 40], [1] * 6, [1] * 6]
    passes.clear()
    decode(model, jobs[:3], ends=[END], pad=0, prefixes=kept)
    assert passes == [[40], [1] * 3, [1] * 3], "the instruction is kept, and all prompts now share the user"
