"""Requests that repair an unusable reply: the original request with a sentence on the problem at its end.

At temperature 0 the same prompt would bring the same reply, and a higher temperature would change the model's
behaviour. The added sentence costs few tokens, leaves the prompt's prefix as it was and needs no turn that a chat
template may refuse. It is a function of the earlier replies, so a second run finds the repaired reply in the store.
"""

from __future__ import annotations

from dataclasses import replace

from hardneg.llm.protocol import Message, Request

MAX_REASON = 300
"""Characters of a reason that are quoted."""
INSTRUCTION = "(Answer number {attempt} could not be used: {reason}. Answer what is asked above again, exactly in the form asked for.)"


def repair_request(request: Request, reason: str, attempt: int, chat_markers: tuple[str, ...]) -> Request:
    """Return the request that follows unusable reply number `attempt` (1, 2, ...) to the original request.

    reason: the problem of that reply. It may quote the reply, so chat markers are removed from it.
    """
    instruction = INSTRUCTION.format(attempt=attempt, reason=_clean_reason(reason, chat_markers))
    *before, last = request.messages
    if last.role == "user":
        messages = (*before, Message("user", f"{last.content}\n\n{instruction}"))
    else:
        messages = (*request.messages, Message("user", instruction))
    return replace(request, messages=messages)


def _clean_reason(reason: str, chat_markers: tuple[str, ...]) -> str:
    """Remove control characters and chat markers, repeatedly: removing one marker may join the parts of another."""
    text = "".join(letter if letter.isprintable() else " " for letter in reason)
    while found := [marker for marker in chat_markers if marker.strip() and marker in text]:
        for marker in found:
            text = text.replace(marker, " ")
    return " ".join(text.split())[:MAX_REASON].rstrip(".")
