"""A language model defined by a function, for tests, dry runs and prompt design."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hardneg.llm.protocol import Refusal, Reply, Request, Usage


class FunctionModel:
    """Returns the result of `answer`: a text, a Reply or a Refusal.

    Tokens are words, so counts can be checked by hand. `requests` holds every request in order.
    """

    chat_markers: tuple[str, ...] = ()
    context_length: int | None = None

    def __init__(
        self,
        answer: Callable[[Request], str | Reply | Refusal],
        *,
        name: str = "function",
        batch_size: int = 1,
        concurrency: int = 4,
    ) -> None:
        self.name = self.identity = name
        self.batch_size, self.concurrency = batch_size, concurrency
        self.requests: list[Request] = []
        self._answer = answer

    def count_tokens(self, request: Request) -> int:
        """Return the number of words of the prompt."""
        return sum(len(message.content.split()) for message in request.messages)

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Call the function for each request."""
        self.requests += requests
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Reply | Refusal:
        answer = self._answer(request)
        if not isinstance(answer, str):
            return answer
        return Reply(answer, Usage(self.count_tokens(request), len(answer.split())))
