"""Tokens estimated where the tokenizer is not here."""

from __future__ import annotations

from hardneg.llm.protocol import Request

BYTES_A_TOKEN = 4
"""Holds for English prose within some 15 %, and not badly for other scripts."""
TOKENS_A_MESSAGE = 4
"""What chat formats write around a message."""


def estimate_prompt_tokens(request: Request) -> int:
    """Tokens of a request's prompt."""
    return sum(estimate_tokens(message.content) + TOKENS_A_MESSAGE for message in request.messages)


def estimate_tokens(text: str) -> int:
    """Tokens of a text: a quarter of its bytes, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN)
