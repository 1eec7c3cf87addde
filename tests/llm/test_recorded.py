"""Recorded replies: written, read and answered through a store; any other request is refused in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tests.llm.function_model import FunctionModel

from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore, request_key
from hardneg.llm.protocol import LlmError, Message, Request, Task
from hardneg.llm.recorded import (
    RecordedModel,
    Recording,
    RecordingHeader,
    read_recording,
    record_replies,
    write_recording,
)
from hardneg.llm.session import Session

HEADER = RecordingHeader(
    model="small",
    identity="sha256:abc",
    chat_markers=("<|end|>",),
    context_length=512,
    prompts={"negative 1": "d0"},
    date="2026-11-28",
    versions={"hardneg": "0"},
    licence="Apache-2.0",
    command="record NAME",
)
TEXTS = ["a tent", "line\u2028break\n", "half \ud800"]


def request(text: str) -> Request:
    return Request((Message("user", text),), max_tokens=8)


def ask(model: FunctionModel | RecordedModel, store: ReplyStore, texts: list[str]) -> dict[int, str | None]:
    tasks = (Task(row, request(text), lambda reply: reply.text) for row, text in enumerate(texts))
    session = Session(model, store, EngineConfig(retries=0))
    answers = {answer.row: answer.value for answer in session(tasks, len(texts))}
    assert isinstance(model, FunctionModel) or session.usage.calls == 0
    return answers


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    model = FunctionModel(lambda asked: f"reply to {asked.messages[0].content}", name="small")
    model.identity = HEADER.identity
    keys = [request_key(request(text), model.identity) for text in TEXTS]
    with ReplyStore(tmp_path / "asked.sqlite") as store:
        ask(model, store, [*TEXTS, "another, which is not recorded"])
        return record_replies(store, keys, HEADER)


def test_a_recording_is_read_as_it_was_written_and_equal_ones_are_equal_files(
    recording: Recording, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        write_recording(tmp_path / name, recording)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    read = read_recording(tmp_path / "a")
    assert read.header == HEADER
    assert {key: (reply.text, reply.usage, reply.finish) for key, reply in read.replies.items()} == {
        key: (reply.text, reply.usage, reply.finish) for key, reply in recording.replies.items()
    }
    assert read.describe() == "small, 3 recorded replies of 2026-11-28"


def test_the_recorded_model_answers_from_the_store_without_a_call(recording: Recording, tmp_path: Path) -> None:
    model = RecordedModel(recording)
    with ReplyStore(tmp_path / "recorded.sqlite") as store:
        recording.fill(store)
        recording.fill(store)
        assert len(store) == 3
        answers = ask(model, store, TEXTS)
    assert answers == {row: f"reply to {text}" for row, text in enumerate(TEXTS)}
    assert (model.name, model.identity, model.chat_markers, model.context_length) == (
        "small",
        "sha256:abc",
        ("<|end|>",),
        512,
    )
    assert model.count_tokens(request("a tent")) == 2  # as counted by the model, in words


def test_a_request_without_a_recorded_reply_ends_the_run_in_one_line(recording: Recording, tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "recorded.sqlite") as store:
        recording.fill(store)
        with pytest.raises(LlmError) as caught:
            ask(RecordedModel(recording), store, ["a tent", "a stove"])
    message = str(caught.value)
    assert "\n" not in message
    for part in ("without a recorded reply", "small", "2026-11-28", "record NAME", "--llm"):
        assert part in message


def test_a_request_without_a_stored_reply_cannot_be_recorded(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "empty.sqlite") as store, pytest.raises(LlmError, match="0 of 1"):
        record_replies(store, ["key/0"], HEADER)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", gzip.compress(b""), gzip.compress(b'{"model": "x"}'), gzip.compress(b"[]\n[1]"), None],
    ids=["empty", "not compressed", "no lines", "no reply", "lists", "missing"],
)
def test_a_damaged_recording_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl.gz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(LlmError, match=r"replies\.jsonl\.gz: .*expected recorded replies"):
        read_recording(file)


def test_a_cut_recording_is_named(recording: Recording, tmp_path: Path) -> None:
    write_recording(tmp_path / "a", recording)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-12])
    with pytest.raises(LlmError, match="expected recorded replies"):
        read_recording(tmp_path / "a")
