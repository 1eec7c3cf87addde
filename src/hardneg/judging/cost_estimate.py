"""What asking a judge will take: its real prompts are counted, its answers assumed."""

from __future__ import annotations

import numpy as np

from hardneg.judging.judge_prompts import PER_NUMBER
from hardneg.judging.llm_judge import LlmJudge
from hardneg.judging.user_candidates import UserCandidates
from hardneg.llm.protocol import ChatModel
from hardneg.text.estimates.cost_estimate import CostEstimate, StageEstimate

JUDGING = "judging"
LIMIT = 500
"""Prompts up to which all are counted; beyond, so many, evenly spread over the calls."""
WRAPPING = 8
"""Tokens of an answer besides its numbers."""


def estimate_judging(
    judge: LlmJudge, candidates: UserCandidates, model_info: ChatModel, limit: int = LIMIT
) -> CostEstimate:
    """Calls and tokens of judging these candidates; an answer is taken to name every candidate, a label is one token."""
    users, items = candidates.users, candidates.items
    calls = list(judge.calls(users, items))
    rows = sum(len(call.places) for call in calls)
    chosen = np.unique(np.linspace(0, len(calls) - 1, min(limit, len(calls))).astype(np.int64))
    requests = (
        judge.prompts.request(int(users[call.row]), items[call.row, call.places]) for call in (calls[n] for n in chosen)
    )
    tokens = np.array([model_info.count_tokens(request) for request in requests], float)
    share = 1 - len(tokens) / max(len(calls), 1)  # of what is not counted
    error = len(calls) * tokens.std() * np.sqrt(share / max(len(tokens), 1)) if len(tokens) else 0.0
    prompt = len(calls) * tokens.mean() if len(tokens) else 0.0
    answer = float(rows) if judge.graded else float(WRAPPING * len(calls) + PER_NUMBER * rows)
    return CostEstimate(
        (StageEstimate(JUDGING, rows, len(tokens), len(calls), float(prompt), float(error), answer, None),)
    )
