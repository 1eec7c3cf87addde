"""An OpenAI-compatible server on loopback that fails like real servers, reproducibly.

    python tests/llm/engine/faulty_server.py --faults .3 --log requests.log     # prints its address, ends with SIGTERM

The answer is a function of the prompt: {"answer": ...}. Faults are a function of the seed, the prompt and the number of
its arrivals (FAULTS), or of seed and prompt alone (refused, poisoned and unusable answers). Every arrival and every
complete answer is a line of the log, with the prompt's digest. Standard library only, no threads.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FAULTS = ("limit", "limit_after", "error", "hang", "half", "garbage", "shape", "empty", "reset", "drip")
"""429 without and with Retry-After, 500, no answer, half a body, no JSON, JSON of another shape, no choices, a reset
connection, an answer that drips in. Each concerns one arrival of a prompt; the next may succeed."""
PIECES = 20


@dataclass(frozen=True)
class Behaviour:
    """faults: share of arrivals that meet one of `kinds`, each as likely. faulty_arrivals: only the first so many of a
    prompt may, 0 for all. bad: share of prompts whose answer is no JSON, or JSON without the key. refused: share of
    prompts that are always 400; poisoned: always 500. delay, drip_seconds: of an answer. echo: answers and errors quote
    the Authorization header, as no server should. dead: everything is a 503."""

    seed: int = 0
    faults: float = 0.0
    kinds: Sequence[str] = FAULTS
    faulty_arrivals: int = 0
    bad: float = 0.0
    refused: float = 0.0
    poisoned: float = 0.0
    delay: float = 0.0
    drip_seconds: float = 30.0
    retry_after: str = "0.05"
    echo: bool = False
    dead: bool = False


def digest_of(texts: Iterable[str]) -> str:
    """Return the name of a prompt in the log."""
    return hashlib.sha256("\x00".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def answer_of(texts: Iterable[str]) -> str:
    """Return the server's answer to a prompt without faults."""
    return json.dumps({"answer": f"number {int(digest_of(texts)[:8], 16) % 9973}"})


def units(*what: object) -> tuple[float, float]:
    """Return two pseudo-random numbers in [0, 1) that depend on the values."""
    first, second = struct.unpack("<2Q", hashlib.blake2b(repr(what).encode(), digest_size=16).digest())
    return first / 2**64, second / 2**64


@dataclass
class State:
    """State of the server."""

    behaviour: Behaviour
    log: int
    arrivals: Counter[str] = field(default_factory=Counter)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def outcome(self, digest: str) -> str:
        """Return the outcome of this arrival: a fault, "refused", "babble", "schema", or "" for none."""
        now = self.behaviour
        number = self.arrivals[digest]
        self.arrivals[digest] += 1
        which, what = units(now.seed, digest)
        if now.dead:
            return "dead"
        if which < now.refused:
            return "refused"
        if which < now.refused + now.poisoned:
            return "error"
        share, kind = units(now.seed, digest, number)
        if share < now.faults and (not now.faulty_arrivals or number < now.faulty_arrivals):
            return now.kinds[int(kind * len(now.kinds))]
        if which >= 1 - now.bad:
            return "babble" if what < 0.5 else "schema"
        return ""

    def write_log(self, *words: str) -> None:
        os.write(self.log, (" ".join(words) + "\n").encode())


class Connection(asyncio.Protocol):
    """One connection; requests one after another."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.buffer = bytearray()
        self.header, self.authorization = b"", ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            if not self.header:
                head, end, _ = self.buffer.partition(b"\r\n\r\n")
                if not end:
                    return
                self.header = bytes(head)
                self.length = int(self.field("content-length") or 0)
                del self.buffer[: len(head) + 4]
            if len(self.buffer) < self.length:
                return
            body = bytes(self.buffer[: self.length])
            del self.buffer[: self.length]
            path, self.authorization = self.header.split(b" ", 2)[1].decode(), self.field("authorization")
            self.header = b""
            self.serve(path, body)

    def field(self, name: str) -> str:
        for line in self.header.split(b"\r\n"):
            key, _, value = line.partition(b":")
            if key.lower() == name.encode():
                return value.decode().strip()
        return ""

    def serve(self, path: str, body: bytes) -> None:
        if path.endswith("/chat/completions"):
            self.chat(json.loads(body))
        elif path.endswith("/embeddings"):
            self.embed(json.loads(body))
        elif path.endswith("/models"):
            self.send({"object": "list", "data": [{"id": "faulty", "object": "model"}]})
        else:
            self.send({"status": "ok"})

    def chat(self, body_json: dict[str, Any]) -> None:
        texts = [message["content"] for message in body_json["messages"]]
        words = answer_of(texts)
        digest = digest_of(texts)
        outcome = self.state.outcome(digest)
        self.state.write_log("arrived", digest, outcome or "-")
        if outcome == "babble":
            words = "I would rather not say"
        if outcome == "schema":
            words = json.dumps({"reply": words})
        if self.state.behaviour.echo:
            words = json.dumps({"answer": self.authorization})
        used = sum(len(text.split()) for text in texts), len(words.split())
        message = {"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}
        reply = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": body_json["model"],
            "choices": [message],
            "usage": dict(zip(("prompt_tokens", "completion_tokens", "total_tokens"), (*used, sum(used)), strict=True)),
        }
        self.respond(outcome, digest, reply)

    def embed(self, body_json: dict[str, Any]) -> None:
        texts = [body_json["input"]] if isinstance(body_json["input"], str) else body_json["input"]
        digest = digest_of(texts)
        outcome = self.state.outcome(digest)
        self.state.write_log("arrived", digest, outcome or "-")
        data = [
            {"object": "embedding", "index": i, "embedding": _vector(body_json, text)} for i, text in enumerate(texts)
        ]
        words = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": words, "total_tokens": words}
        self.respond(outcome, digest, {"object": "list", "model": body_json["model"], "data": data, "usage": usage})

    def respond(self, outcome: str, digest: str, reply: dict[str, Any]) -> None:
        """Respond with the outcome, after the delay."""
        now = self.state.behaviour
        task = asyncio.get_running_loop().create_task(self.respond_later(outcome, digest, reply)) if now.delay else None
        if task is None and not self.fail(outcome, reply):
            self.answer(digest, reply)
        elif task is not None:
            self.hold_task(task)

    async def respond_later(self, outcome: str, digest: str, reply: dict[str, Any]) -> None:
        await asyncio.sleep(self.state.behaviour.delay)
        if not self.transport.is_closing() and not self.fail(outcome, reply):
            self.answer(digest, reply)

    def answer(self, digest: str, reply: dict[str, Any]) -> None:
        self.state.write_log("answered", digest)
        self.send(reply)

    def fail(self, outcome: str, reply: dict[str, Any]) -> bool:
        """Apply a fault; returns whether there was one."""
        quoted = f" (you sent {self.authorization})" if self.state.behaviour.echo else ""
        statuses = {"limit": 429, "limit_after": 429, "error": 500, "refused": 400, "dead": 503}
        if outcome in statuses:
            header = f"retry-after: {self.state.behaviour.retry_after}\r\n" if outcome == "limit_after" else ""
            self.send({"error": {"message": f"fault {outcome}{quoted}", "type": outcome}}, statuses[outcome], header)
        elif outcome == "half":
            whole = framed(json.dumps(reply).encode())
            self.transport.write(whole[: -len(whole) // 4])
            self.transport.close()
        elif outcome == "garbage":
            self.transport.write(framed(b'{"choices": [{"message'))
        elif outcome in {"shape", "empty"}:
            self.send({"object": "chat.completion"} if outcome == "shape" else reply | {"choices": [], "data": []})
        elif outcome == "reset":
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()
        elif outcome == "drip":
            self.hold_task(asyncio.get_running_loop().create_task(self.drip(framed(json.dumps(reply).encode()))))
        return outcome in FAULTS or outcome in statuses

    async def drip(self, data: bytes) -> None:
        piece = len(data) // PIECES + 1
        for start in range(0, len(data), piece):
            if self.transport.is_closing():
                return
            self.transport.write(data[start : start + piece])
            await asyncio.sleep(self.state.behaviour.drip_seconds / PIECES)

    def hold_task(self, task: asyncio.Task[None]) -> None:
        self.state.tasks.add(task)
        task.add_done_callback(self.state.tasks.discard)

    def send(self, values: dict[str, Any], status: int = 200, header: str = "") -> None:
        self.transport.write(framed(json.dumps(values).encode(), status, header))


def framed(body: bytes, status: int = 200, header: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{header}\r\n"
    return head.encode() + body


def _vector(body_json: dict[str, Any], text: str) -> list[float] | str:
    numbers = [byte / 255 - 0.5 for byte in hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]]
    if body_json.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack("<8f", *numbers)).decode()
    return numbers


class FaultyServer:
    """The server in a process of its own while the context lasts."""

    def __init__(self, log: Path, behaviour: Behaviour | None = None) -> None:
        self.log = log
        self.behaviour = behaviour or Behaviour()

    def __enter__(self) -> FaultyServer:
        values = json.dumps(asdict(self.behaviour))
        command = [sys.executable, __file__, "--log", str(self.log), "--behaviour", values]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url, "the server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def cpu_seconds(self) -> float:
        """Return the CPU time of the server."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lines(self) -> list[list[str]]:
        """Return the log, split into words."""
        return [line.split() for line in self.log.read_text().splitlines()]

    def arrived(self) -> list[str]:
        """Return the digests of all arrivals, in order."""
        return [words[1] for words in self.lines() if words[0] == "arrived"]


Serve = Callable[..., FaultyServer]


@contextmanager
def servers(folder: Path) -> Iterator[Serve]:
    """Yield a function that starts a server (`serve(faults=.3)`) with its log in the folder; all end with the context."""
    with ExitStack() as stack:
        yield lambda **behaviour: stack.enter_context(FaultyServer(folder / "server.log", Behaviour(**behaviour)))


async def serve(behaviour: Behaviour, log: int, port: int) -> None:
    state = State(behaviour, log)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", port, backlog=1024)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is for the parent process
    await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=float, default=0.0, help="share of arrivals that meet a fault")
    parser.add_argument("--behaviour", type=json.loads, default={}, help="JSON: every other setting of Behaviour")
    parser.add_argument("--log", type=Path, default=Path(os.devnull))
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    log = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Behaviour(**({"faults": options.faults} | options.behaviour)), log, options.port))


if __name__ == "__main__":
    main()
