"""Cost estimate of an LLM judge: prompts are counted, answers are assumed."""

from __future__ import annotations

import numpy as np

from hardneg.judging.judge_prompts import TOKENS_PER_NUMBER
from hardneg.judging.llm_judge import LlmJudge
from hardneg.judging.suspects import UserCandidates
from hardneg.llm.protocol import ChatModel
from hardneg.text.estimates.cost_estimate import CostEstimate, StageEstimate

JUDGING = "judging"
LIMIT = 500
"""Maximum number of prompts that are counted, evenly spread over the calls."""
WRAPPING = 8
"""Tokens of an answer besides its numbers."""


def estimate_judging(
    judge: LlmJudge, candidates: UserCandidates, model_info: ChatModel, limit: int = LIMIT
) -> CostEstimate:
    """Estimate calls and tokens of judging the candidates.

    An answer is assumed to list every candidate. For a judge that reads probabilities, it is one token per candidate.
    """
    users, items = candidates.users, candidates.items
    calls = list(judge.calls(users, items))
    n_candidates = sum(len(call.places) for call in calls)
    sampled = np.unique(np.linspace(0, len(calls) - 1, min(limit, len(calls))).astype(np.int64))
    requests = (
        judge.prompts.request(int(users[call.row]), items[call.row, call.places])
        for call in (calls[number] for number in sampled)
    )
    tokens = np.array([model_info.count_tokens(request) for request in requests], float)
    uncounted_share = 1 - len(tokens) / max(len(calls), 1)
    error = len(calls) * tokens.std() * np.sqrt(uncounted_share / max(len(tokens), 1)) if len(tokens) else 0.0
    prompt = len(calls) * tokens.mean() if len(tokens) else 0.0
    answer = float(n_candidates if judge.graded else WRAPPING * len(calls) + TOKENS_PER_NUMBER * n_candidates)
    return CostEstimate(
        (StageEstimate(JUDGING, n_candidates, len(tokens), len(calls), float(prompt), float(error), answer, None),)
    )
