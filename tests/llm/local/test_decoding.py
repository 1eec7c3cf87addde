"""Batched decoding against transformers' own, one prompt at a time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from hardneg.llm.local.decoding import decode
from hardneg.llm.local.token_choice import Constraint, DecodingJob
from hardneg.types import Flags

ENDS = [3]
PROMPTS = [[1, 20, 30, 40], [1, 7], [1, *range(50, 90)], [1, 9, 9, 300]]


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen"])
def model(request: pytest.FixtureRequest) -> Any:
    folder: Path = request.getfixturevalue(request.param)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def batch(model: Any, jobs: list[DecodingJob]) -> list[list[int]]:
    return [decoded.ids for decoded in decode(model, jobs, ends=ENDS, pad=0)]


def test_greedy_answers_equal_transformers(model: Any) -> None:
    expected = []
    for prompt in PROMPTS:
        output = model.generate(
            torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=12, do_sample=False
        )
        expected.append(output[0, len(prompt) :].tolist())
    assert batch(model, [DecodingJob(prompt, 12) for prompt in PROMPTS]) == expected
    assert len({tuple(ids) for ids in expected}) > 1


def test_every_answer_has_its_own_limit(model: Any) -> None:
    decoded = decode(
        model,
        [DecodingJob(prompt, limit) for prompt, limit in zip(PROMPTS, (3, 12, 1, 7), strict=True)],
        ends=ENDS,
        pad=0,
    )
    whole = batch(model, [DecodingJob(prompt, 12) for prompt in PROMPTS])
    assert [answer.ids for answer in decoded] == [ids[:limit] for ids, limit in zip(whole, (3, 12, 1, 7), strict=True)]
    assert not any(answer.ended for answer in decoded)


def test_end_token_ends_and_is_left_out(model: Any) -> None:
    [whole] = batch(model, [DecodingJob(PROMPTS[0], 12)])
    [decoded] = decode(model, [DecodingJob(PROMPTS[0], 12)], ends=[3, whole[4]], pad=0)
    index = whole.index(whole[4])
    assert (decoded.ids, decoded.ended) == (whole[:index], True)


def test_samples_depend_on_their_seed_and_not_on_their_batch(model: Any) -> None:
    jobs = [DecodingJob(prompt, 10, temperature=1.0, seed=seed) for seed, prompt in enumerate(PROMPTS)]
    together = batch(model, jobs)
    assert [batch(model, [job])[0] for job in jobs] == together
    assert batch(model, [DecodingJob(PROMPTS[0], 10, temperature=1.0, seed=99)])[0] != together[0]


def test_samples_follow_the_distribution_at_a_temperature(model: Any) -> None:
    temperature, n = 2.0, 600
    prompt = PROMPTS[0]
    jobs = [DecodingJob(prompt, 1, temperature=temperature, seed=seed) for seed in range(n)]
    counts = Counter(ids[0] if ids else 3 for ids in batch(model, jobs))
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1] / temperature
    expected = logits.softmax(0).numpy()
    top = np.argsort(-expected)[:40]
    share, mass = sum(counts[token] for token in top.tolist()) / n, expected[top].sum()
    assert abs(share - mass) < 4 * np.sqrt(mass * (1 - mass) / n)
    assert len(counts) > 100


class AllowedTokens(Constraint):
    """Allows listed tokens, in turn, then the end token; records the tokens taken."""

    def __init__(self, *allowed: list[int], unfit: int = -1) -> None:
        self.allowed, self.unfit, self.taken = allowed, unfit, list[int]()

    def allow(self, tokens: Flags, _: int, /) -> None:
        tokens[self.allowed[len(self.taken)] if len(self.taken) < len(self.allowed) else ENDS] = True

    def fits(self, token: int, _: int, /) -> bool:
        return token != self.unfit

    def closing(self) -> int:
        return 5

    def take(self, token: int, /) -> None:
        self.taken.append(token)


def test_constrained_and_free_answers_in_one_batch(model: Any) -> None:
    constraints = [AllowedTokens([11], [12, 13], [14]), AllowedTokens([21])]
    jobs = [
        DecodingJob(PROMPTS[0], 9, constraint=constraints[0]),
        DecodingJob(PROMPTS[1], 9),
        DecodingJob(PROMPTS[2], 9, 1.0, 7, constraints[1]),
    ]
    decoded = decode(model, jobs, ends=ENDS, pad=0)
    assert decoded[0].ids == constraints[0].taken
    assert decoded[0].ids[0] == 11
    assert decoded[0].ids[1] in (12, 13)
    assert decoded[0].ended
    assert decoded[1].ids == batch(model, [DecodingJob(PROMPTS[1], 9)])[0]
    assert (decoded[2].ids, decoded[2].ended) == ([21], True)


def test_tokens_that_do_not_fit_are_skipped(model: Any) -> None:
    [free] = batch(model, [DecodingJob(PROMPTS[0], 1, constraint=AllowedTokens([40, 41, 42]))])
    other = AllowedTokens([40, 41, 42], unfit=free[0])
    [ids] = batch(model, [DecodingJob(PROMPTS[0], 1, constraint=other)])
    assert ids[0] in {40, 41, 42} - set(free)
    closed = AllowedTokens([41], unfit=41)
    closed.fits = lambda *_: False  # type: ignore[method-assign]
    assert batch(model, [DecodingJob(PROMPTS[0], 1, constraint=closed)]) == [[5]]
