"""Token counts estimated without the model's tokenizer."""

from __future__ import annotations

from hardneg.llm.protocol import Request

BYTES_PER_TOKEN = 4
"""Accurate within about 15 % for English prose, roughly right for other scripts."""
TOKENS_PER_MESSAGE = 4
"""Tokens that chat formats add around a message."""


def estimate_prompt_tokens(request: Request) -> int:
    """Return the estimated tokens of a request's prompt."""
    return sum(estimate_tokens(message.content) + TOKENS_PER_MESSAGE for message in request.messages)


def estimate_tokens(text: str) -> int:
    """Return the estimated tokens of a text: a quarter of its bytes, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)
