"""What is asked after a bad reply: the same again, with its fault named at the end.

The same prompt at temperature 0 would bring the same reply, and a raised temperature another model's manners. So the
last message ends with a sentence on what was wrong: it costs a few tokens, leaves the prefix as it was, needs no turn
that a chat template may refuse, and is a function of the replies before it, so a second run finds it in the store.
"""

from __future__ import annotations

from dataclasses import replace

from hardneg.llm.protocol import Message, Request

LONGEST = 300
AGAIN = "(Answer number {attempt} could not be used: {reason}. Answer what is asked above again, exactly in the form asked for.)"


def again(request: Request, reason: str, attempt: int, chat_markers: tuple[str, ...]) -> Request:
    """The first request, asked for the second (attempt 1), third (2), ... time. reason: what was wrong the last time.

    The reason may quote the reply, so strings that may open a turn of their own (foreign) are taken out of it.
    """
    said = AGAIN.format(attempt=attempt, reason=_plain(reason, chat_markers))
    *before, last = request.messages
    if last.role == "user":
        messages = (*before, Message("user", f"{last.content}\n\n{said}"))
    else:
        messages = (*request.messages, Message("user", said))
    return replace(request, messages=messages)


def _plain(reason: str, chat_markers: tuple[str, ...]) -> str:
    """One line without control characters and foreign strings; taking one out may make another, so until none is left."""
    text = "".join(letter if letter.isprintable() else " " for letter in reason)
    while found := [string for string in chat_markers if string.strip() and string in text]:
        for string in found:
            text = text.replace(string, " ")
    return " ".join(text.split())[:LONGEST].rstrip(".")
