"""A small server on loopback that sends the answers of a script, faults included."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ScriptedAnswer:
    """One answer. body: raw bytes, anything else as JSON. announced: number of bytes in the header."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None
    reset: bool = False
    hang: float = 0.0


@dataclass
class ReceivedRequest:
    """One received request."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Server:
    """Address and received requests."""

    base: str
    received: list[ReceivedRequest] = field(repr=False)


def completion(text: str | None = "fine", **more: Any) -> dict[str, Any]:
    """A chat completion with usage."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"} | more], "usage": usage}


@contextmanager
def scripted_server(script: Callable[[ReceivedRequest], ScriptedAnswer]) -> Iterator[Server]:
    """Serve on a free port; `script` turns requests into answers."""
    received: list[ReceivedRequest] = []
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            received.append(
                ReceivedRequest(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            )
            answer = script(received[-1])
            released.wait(answer.hang)
            if answer.reset:
                self._reset()
            else:
                self._send(answer)

        def _send(self, answer: ScriptedAnswer) -> None:
            content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"content-type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(answer.announced or len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = answer.announced is not None

        def _reset(self) -> None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}/v1", received)
    finally:
        released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
