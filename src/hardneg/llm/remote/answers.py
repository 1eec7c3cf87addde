"""Parts of a chat completion: its text, in the forms that servers use, and its most likely tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hardneg.llm.protocol import CallFailed

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Fields of a message in which servers return thoughts, and some of them answers that follow a schema."""

TEXT_PARTS = ("text", "output_text")
"""Types of the parts of a content that belong to the answer; others are thoughts or pictures."""


def first_choice(answer: Mapping[str, Any], *, as_json: bool) -> tuple[str, str]:
    """Return text and finish reason of the first choice. Raises CallFailed if there is none.

    as_json: a JSON object was asked for. A complete answer without a text is then read from the reasoning field.
    """
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise CallFailed("the reply holds no choices")
    try:
        message = choices[0]["message"]
        content, finish = message.get("content"), str(choices[0].get("finish_reason") or "stop")
    except (KeyError, TypeError, AttributeError):
        raise CallFailed("the reply's first choice holds no message") from None
    text = _text(content)
    if as_json and finish == "stop" and not text.strip():
        text = reasoning_text(answer)
    return text, finish


def reasoning_text(answer: Mapping[str, Any]) -> str:
    """Return the thoughts of the first choice, "" without any."""
    message = answer["choices"][0]["message"]
    texts = (message.get(name) for name in REASONING_FIELDS)
    return next((text for text in texts if isinstance(text, str) and text.strip()), "")


def _text(content: object) -> str:
    """Return a content that is a text, a list of parts with texts, or missing. Raises CallFailed for others."""
    if isinstance(content, list):
        content = [part for part in content if not isinstance(part, dict) or part.get("type", "text") in TEXT_PARTS]
        texts = [part.get("text") if isinstance(part, dict) else part for part in content]
        strings = [text for text in texts if isinstance(text, str)]
        content = "".join(strings) if len(strings) == len(texts) else content
    if content is None or isinstance(content, str):
        return content or ""
    raise CallFailed(f"the reply's text is a {type(content).__name__}, expected a string or a list of parts")


def top_logprobs(answer: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return (token, log-probability) of the most likely first tokens; [] if the answer holds none."""
    try:
        first = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return [(str(entry["token"]), float(entry["logprob"])) for entry in first]
    except (KeyError, IndexError, TypeError, ValueError):
        return []
