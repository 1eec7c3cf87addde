"""Two small ChatModels for tests of the engine: on the official client, and on bare sockets (quick to start)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from hardneg.llm.protocol import BadReply, CallFailed, Refusal, Reply, Request, Usage

PASSING = {408, 409, 429, 500, 502, 503, 504}


def parse(reply: Reply) -> str:
    """Return the answer of the faulty server."""
    try:
        content = json.loads(reply.text)
    except ValueError:
        raise BadReply(f"found {reply.text[:40]!r}, expected JSON") from None
    if not isinstance(content, dict) or "answer" not in content:
        raise BadReply('found no key "answer"')
    return str(content["answer"])


def reply_of(body: dict[str, Any]) -> Reply:
    """Parse a chat completion. Raises CallFailed for missing parts."""
    try:
        used, choice = body["usage"], body["choices"][0]
        usage = Usage(used["prompt_tokens"], used["completion_tokens"])
        return Reply(choice["message"]["content"], usage, choice["finish_reason"])
    except (KeyError, IndexError, TypeError) as error:
        raise CallFailed(f"an answer without what it should hold ({type(error).__name__})") from None


@dataclass
class Plain:
    """A model with one connection per request."""

    url: str
    concurrency: int = 16
    key: str = "none"
    name: str = "faulty"
    identity: str = "faulty"
    batch_size: int = 1
    chat_markers: tuple[str, ...] = ()
    context_length: int | None = None

    def count_tokens(self, request: Request) -> int:
        return sum(len(message.content.split()) for message in request.messages)

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        return [await self._one(request) for request in requests]

    async def _one(self, request: Request) -> Reply | Refusal:
        at = urlsplit(self.url)
        try:
            reader, writer = await asyncio.open_connection(at.hostname, at.port)
        except OSError as error:
            raise CallFailed(f"no connection ({type(error).__name__})", reached=False) from None
        try:
            writer.write(self._asked(request, at.path))
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
            body = await reader.readexactly(int(fields["content-length"]))
        except (OSError, EOFError) as error:
            raise CallFailed(f"broken off ({type(error).__name__})") from None
        finally:
            writer.close()
        return self._read(int(head.split()[1]), fields, body)

    def _asked(self, request: Request, path: str) -> bytes:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        body = json.dumps({"model": "faulty", "messages": messages, "max_tokens": request.max_tokens}).encode()
        head = f"POST {path}/chat/completions HTTP/1.1\r\nauthorization: Bearer {self.key}\r\n"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    def _read(self, status: int, fields: dict[str, str], body: bytes) -> Reply | Refusal:
        if status in PASSING:
            after = fields.get("retry-after")
            raise CallFailed(f"status {status}: {body.decode()}", retry_after=float(after) if after else None)
        if status != 200:
            return Refusal(f"status {status}: {body.decode()}")
        try:
            return reply_of(json.loads(body))
        except ValueError:
            raise CallFailed("an answer that is no JSON") from None


@dataclass
class Official(Plain):
    """A model on `openai.AsyncOpenAI` with persistent connections, one client per event loop."""

    clients: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import openai  # imported before the first call is timed

        assert openai.AsyncOpenAI

    def client(self) -> Any:
        import openai

        loop = id(asyncio.get_running_loop())
        if loop not in self.clients:
            self.clients[loop] = openai.AsyncOpenAI(base_url=self.url, api_key=self.key, max_retries=0, timeout=600)
        return self.clients[loop]

    async def aclose(self) -> None:
        if client := self.clients.pop(id(asyncio.get_running_loop()), None):
            await client.close()

    async def _one(self, request: Request) -> Reply | Refusal:
        import openai

        try:
            content = await bare(self.client(), request)
        except openai.APIStatusError as error:
            if error.status_code not in PASSING:
                return Refusal(f"status {error.status_code}: {error.message}")
            after = error.response.headers.get("retry-after")
            reason = f"status {error.status_code}: {error.message}"
            raise CallFailed(reason, retry_after=float(after) if after else None) from None
        except openai.APIError as error:
            raise CallFailed(f"broken off ({type(error).__name__})") from None
        except ValueError:
            raise CallFailed("an answer that is no JSON") from None
        if not content.choices or content.usage is None:
            raise CallFailed("an answer without what it should hold")
        choice, used = content.choices[0], content.usage
        usage = Usage(used.prompt_tokens, used.completion_tokens)
        return Reply(choice.message.content or "", usage, choice.finish_reason)


async def bare(client: Any, request: Request) -> Any:
    """Send the request without any engine."""
    return await client.chat.completions.create(
        model="faulty",
        messages=[{"role": message.role, "content": message.content} for message in request.messages],
        max_tokens=request.max_tokens,
        temperature=request.temperature,
    )
