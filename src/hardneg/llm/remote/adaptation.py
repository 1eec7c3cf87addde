"""Requests with the options that an endpoint accepts: a refused option is left out from then on."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from hardneg.llm.protocol import CallFailed, Refusal, Request
from hardneg.llm.remote.capabilities import (
    Body,
    Capabilities,
    Send,
    concerns_one_prompt,
    names_schema,
    response_format,
    without_refused,
    without_schema,
)

OPTIONS = {
    "patterns": "patterns in JSON schemas",
    "schema": "JSON schemas",
    "temperature": "a temperature",
    "limit": "this name of the answer limit",
    "system": "system messages",
}
"""Capabilities that a refusal corrects, and how they are named."""
MAX_TRIALS = 3
"""Requests that are sent again without an option in vain; later refusals count as the requests' own."""
_FAULT = re.compile(r"50[01]\b|an error in the reply")
"""Begin of the reasons of failed calls that a schema may have caused."""


class AdaptiveSender:
    """Sends requests to an endpoint with the options that it accepts.

    known: what the endpoint does. notices: lines for the user, one for each option that was refused.
    """

    def __init__(self, send: Send, known: Capabilities) -> None:
        self.known, self.notices = known, list[str]()
        self._send, self._trials = send, 0
        self._accepted_schemas: set[str] = set()

    async def send(self, request: Request) -> Body | Refusal:
        """Return the answer. Where an option is refused, send again without, and remember that if it is answered.

        Calls that are under way at that time do the same. Raises CallFailed.
        """
        states = [self.known]
        answers = [await self._attempt(request, states[0])]
        while isinstance(refusal := answers[-1], Refusal):
            corrected = self._correct(request, states[-1], refusal.reason)
            if corrected is None or corrected in states or self._trials >= MAX_TRIALS:
                self._trials += len(states) > 1
                return _first(answers[0])
            states.append(corrected)
            answers.append(await self._attempt(request, corrected))
        if isinstance(refusal := answers[0], Refusal):
            self._remember(states[0], states[-1], refusal.reason)
        if self.known.schema:
            self._accepted_schemas.add(request.schema)
        return answers[-1]

    async def _attempt(self, request: Request, known: Capabilities) -> Body | Refusal:
        """Return the answer; a failure that the schema caused counts as a refusal."""
        body = build_body(request, known)
        try:
            return await self._send(body)
        except CallFailed as failure:
            if "response_format" in body and _FAULT.match(failure.reason) and names_schema(failure.reason):
                return Refusal(failure.reason)
            raise

    def _correct(self, request: Request, known: Capabilities, reason: str) -> Capabilities | None:
        """Return the capabilities without the option that was refused; None where the request itself was."""
        body = build_body(request, known)
        corrected = without_refused(known, reason, body)
        unclear = corrected is None and "response_format" in body and not concerns_one_prompt(reason)
        if unclear and request.schema not in self._accepted_schemas:
            return without_schema(known, body)
        return corrected

    def _remember(self, before: Capabilities, after: Capabilities, reason: str) -> None:
        changes = {name: getattr(after, name) for name in OPTIONS if getattr(after, name) != getattr(before, name)}
        refused = " and ".join(OPTIONS[name] for name in changes if getattr(self.known, name) != changes[name])
        if refused:
            self.notices.append(f"the server refuses {refused} ({reason}); requests go out without from now on")
        self.known = replace(self.known, **changes)


def _first(answer: Body | Refusal) -> Body | Refusal:
    """Return the first answer to a request that no correction helped. Raises CallFailed if it was a failure."""
    if isinstance(answer, Refusal) and _FAULT.match(answer.reason):
        raise CallFailed(answer.reason)
    return answer


def build_body(request: Request, known: Capabilities) -> Body:
    """Return the body of a request with the options that the endpoint accepts."""
    messages = [{"role": message.role, "content": message.content} for message in request.messages]
    if not known.system and messages[0]["role"] == "system" and len(messages) > 1:
        instructions, first, *others = messages
        messages = [{**first, "content": f"{instructions['content']}\n\n{first['content']}"}, *others]
    body: dict[str, Any] = {"messages": messages, known.limit: 1 if request.choices else request.max_tokens}
    if known.temperature:
        body["temperature"] = request.temperature
    if request.choices:
        body |= {"logprobs": True, "top_logprobs": known.top_logprobs}
    elif request.schema and known.schema:
        body["response_format"] = response_format(request.schema, patterns=known.patterns)
    return body
