"""One call to a model: a time limit around it, and no key in anything that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from hardneg.llm.engine.redaction import one_line, redacted
from hardneg.llm.protocol import CallFailed, ChatModel, LlmError, Refusal, Reply, Request

Keys = tuple[str, ...]


class TimedOut(CallFailed):
    """Given up by us. The model may have done the work all the same, and billed it."""


async def send(model: ChatModel, requests: Sequence[Request], timeout: float, keys: Keys) -> list[Reply | Refusal]:
    """Ask the model; one answer a request, in order.

    timeout: seconds. keys: what is cut out wherever a server or an adapter quotes it. Raises CallFailed, TimedOut, or
    what an adapter raises where it is at fault.
    """
    try:
        async with asyncio.timeout(timeout):
            replies = await model.complete(requests)
    except TimeoutError:
        raise TimedOut(f"no answer within {timeout:g} s") from None
    except CallFailed as failed:
        reason = one_line(failed.reason, keys)
        raise CallFailed(reason, retry_after=failed.retry_after, reached=failed.reached) from None
    except Exception as error:
        if redacted(str(error), keys) == str(error):
            raise
        raise LlmError(f"{model.name}: {type(error).__name__}: {one_line(str(error), keys)}") from None
    if len(replies) != len(requests):
        found = f"{len(replies)} replies to {len(requests)} requests"
        raise LlmError(f"{model.name} brought {found}, expected as many; its adapter is at fault")
    return [_clean(reply, keys) for reply in replies]


def _clean(reply: Reply | Refusal, keys: Keys) -> Reply | Refusal:
    if isinstance(reply, Refusal):
        return Refusal(one_line(reply.reason, keys))
    text = redacted(reply.text, keys)
    return reply if text == reply.text else replace(reply, text=text)
