"""Recorded replies: a file with every reply of a language model to a fixed set of requests, and a model that has no others.

The file is JSON lines, compressed with gzip: a header, then one reply a line. Requests are not in it, only their keys
in the store, which are hashes of the whole request and of the model's identity.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hardneg.config import Config
from hardneg.llm.engine.store import ReplyStore, StoredReply, request_key
from hardneg.llm.protocol import LlmError, Refusal, Reply, Request, Usage, estimate_prompt_tokens
from hardneg.storage import replace_file


class RecordingHeader(Config):
    """Origin of the replies: the first line of the file."""

    model: str
    """Name of the language model."""
    identity: str
    """Identity of the model, which is part of every key."""
    chat_markers: tuple[str, ...] = ()
    context_length: int | None = None
    prompts: dict[str, str]
    """Digest of each prompt template by name and version."""
    date: str
    """Day of the recording, YYYY-MM-DD."""
    versions: dict[str, str]
    """Versions of the programs that made the replies."""
    licence: str
    """Licence of the model, and what holds for its replies."""
    command: str
    """Command that records the replies again."""


@dataclass(frozen=True)
class Recording:
    """Replies by key, with their origin."""

    header: RecordingHeader
    replies: Mapping[str, Reply]

    def describe(self) -> str:
        """Return one phrase for people."""
        return f"{self.header.model}, {len(self.replies):,} recorded replies of {self.header.date}"

    def fill(self, store: ReplyStore) -> None:
        """Put the replies into a store."""
        rows = (StoredReply(key, None, reply) for key, reply in self.replies.items())
        store.save(rows, self.header.model)


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording; equal recordings give equal files."""
    rows = (
        (key, reply.text, reply.finish, reply.usage.prompt_tokens, reply.usage.answer_tokens)
        for key, reply in sorted(recording.replies.items(), key=lambda row: (row[1].text, row[0]))
    )
    lines = [recording.header.model_dump_json(), *map(json.dumps, rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, gzip.compress("\n".join(lines).encode(), mtime=0))


def read_recording(path: Path) -> Recording:
    """Read a recording. Raises LlmError for a file that is missing or none."""
    try:
        header, *rows = gzip.decompress(path.read_bytes()).decode().split("\n")
        replies = {
            key: Reply(text, Usage(int(prompt_tokens), int(answer_tokens)), finish)
            for key, text, finish, prompt_tokens, answer_tokens in map(json.loads, rows)
        }
        return Recording(RecordingHeader.model_validate_json(header), replies)
    except OSError as error:
        reason = error.strerror or str(error)
    except (ValueError, TypeError, EOFError, ValidationError) as error:
        reason = str(error).partition("\n")[0]
    raise LlmError(f"{path}: {reason}, expected recorded replies; install the package again, or give --llm NAME")


@dataclass(frozen=True)
class RecordedModel:
    """A language model of which only recorded replies are present; any other request ends the run.

    The replies must be in the session's store (`Recording.fill`): the engine reads them there, as it does all replies.
    """

    recording: Recording
    batch_size: int = 1
    concurrency: int = 1

    @property
    def name(self) -> str:
        """Name of the recorded model."""
        return self.recording.header.model

    @property
    def identity(self) -> str:
        """Identity of the recorded model."""
        return self.recording.header.identity

    @property
    def context_length(self) -> int | None:
        """Context length of the recorded model."""
        return self.recording.header.context_length

    @property
    def chat_markers(self) -> tuple[str, ...]:
        """Chat markers of the recorded model."""
        return self.recording.header.chat_markers

    def count_tokens(self, request: Request) -> int:
        """Return the tokens of the prompt as they were counted when it was recorded; estimated for other requests."""
        reply = self.recording.replies.get(request_key(request, self.identity))
        return estimate_prompt_tokens(request) if reply is None else reply.usage.prompt_tokens

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Raise LlmError: a request without a recorded reply was made."""
        header, request = self.recording.header, requests[0]
        raise LlmError(
            f"found a request without a recorded reply (key {request_key(request, self.identity)[:12]}...), expected one "
            f"of the {len(self.recording.replies):,} that {header.model} answered on {header.date}: data or prompt "
            f"changed since; record again ({header.command}), or give --llm NAME to ask a model"
        )


def record_replies(store: ReplyStore, keys: Iterable[str], header: RecordingHeader) -> Recording:
    """Return the store's replies to these keys. Raises LlmError where a key has none."""
    wanted = sorted(set(keys))
    replies = {key: reply for key, reply in store.known(wanted).items() if isinstance(reply, Reply)}
    if len(replies) < len(wanted):
        raise LlmError(
            f"{store.path}: found replies of {header.model} to {len(replies):,} of {len(wanted):,} requests, expected "
            "all; ask again with retry_failed"
        )
    return Recording(header, replies)
