"""The engine against a faulty server, through the official client and through plain sockets."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.llm.engine.child_process import request, tasks
from tests.llm.engine.clients import Official, Plain, parse
from tests.llm.engine.faulty_server import FAULTS, Behaviour, FaultyServer, Serve, answer_of, digest_of, servers
from tests.llm.engine.stored import stored_failures

from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.protocol import CallFailed, LlmError, Message, Refusal, Reply, Request, TaskAnswer
from hardneg.llm.session import answer_tasks
from hardneg.llm.usage import UsageStats

QUICK = EngineConfig(timeout=1.5, first_wait=0.02, retries=8)
KINDS = [Plain, Official]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with servers(tmp_path) as start:
        yield start


def texts(row: int) -> list[str]:
    return [message.content for message in request(row).messages]


def run(
    model: Any, path: Path, rows: int = 200, config: EngineConfig = QUICK, **options: Any
) -> dict[int, TaskAnswer[Any]]:
    with ReplyStore(path) as store:
        answers = list(answer_tasks(tasks(rows), model, store, config, **options))
    assert Counter(answer.row for answer in answers) == Counter(range(rows)), "every row once"
    return {answer.row: answer for answer in answers}


def call_once(model: Any, row: int = 1, timeout: float = 20) -> Reply | Refusal:
    async def call() -> Reply | Refusal:
        async with asyncio.timeout(timeout):
            return (await model.complete([request(row)]))[0]

    return asyncio.run(call())


@pytest.mark.parametrize("kind", KINDS)
class TestServer:
    """Behaviour of the server that the tests below rely on."""

    def test_answer_is_a_function_of_the_prompt(self, serve: Serve, kind: Any) -> None:
        server = serve()
        replies = [call_once(kind(server.url), row) for row in (1, 2, 1)]
        assert [reply.text for reply in replies] == [answer_of(texts(row)) for row in (1, 2, 1)]
        assert replies[0].usage.prompt_tokens == 11
        assert server.arrived() == [digest_of(texts(row)) for row in (1, 2, 1)]

    @pytest.mark.parametrize("fault", FAULTS)
    def test_each_fault_fails_the_call(self, serve: Serve, kind: Any, fault: str) -> None:
        server = serve(faults=1, kinds=[fault], faulty_arrivals=1, retry_after="7")
        with pytest.raises((CallFailed, TimeoutError)) as failure:
            call_once(kind(server.url), timeout=1 if fault in {"hang", "drip"} else 20)
        assert (failure.type is TimeoutError) == (fault in {"hang", "drip"})
        if fault == "limit_after":
            assert failure.value.retry_after == 7
        assert call_once(kind(server.url)).text == answer_of(texts(1)), "the next arrival succeeds"
        assert [words[2] for words in server.lines() if words[0] == "arrived"] == [fault, "-"]

    def test_refused_and_unusable_prompts(self, serve: Serve, kind: Any) -> None:
        model = kind(serve(refused=0.3, bad=0.4).url)
        replies = [call_once(model, row) for row in range(30)]
        assert [call_once(model, row) == replies[row] for row in range(3)] == [True] * 3
        assert any(isinstance(reply, Refusal) and "status 400" in reply.reason for reply in replies)
        texts = [reply.text for reply in replies if isinstance(reply, Reply)]
        assert {text[:2] for text in texts} == {"I ", '{"'}

    def test_refused_connection_is_a_failed_call(self, kind: Any) -> None:
        with pytest.raises(CallFailed):
            call_once(kind("http://127.0.0.1:9/v1"))


def test_embeddings_are_a_function_of_the_text(serve: Serve) -> None:
    import openai

    with openai.OpenAI(base_url=serve().url, api_key="none", max_retries=0) as client:
        replies = client.embeddings.create(model="m", input=["a", "b", "a"])
        plain = client.embeddings.create(model="m", input="a", encoding_format="float")
    vectors = [one.embedding for one in replies.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert plain.data[0].embedding == pytest.approx(vectors[0], abs=1e-6)
    assert replies.usage.prompt_tokens == 3


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_answered_with_a_third_of_faults_and_nothing_is_sent_again(
    serve: Serve, kind: Any, tmp_path: Path
) -> None:
    server = serve(faults=0.3, bad=0.05, refused=0.03, drip_seconds=30)
    snapshots: list[UsageStats] = []
    first = run(kind(server.url), tmp_path / "s", total=200, watch=snapshots.append)
    for row, answer in first.items():
        if answer.value is not None:
            assert answer_of(texts(row)) == json.dumps({"answer": answer.value}) or answer.reply is not None
        else:
            assert answer.reason
    refused = [row for row, answer in first.items() if "status 400" in answer.reason]
    assert 0 < len(refused) < 20
    assert snapshots[-1].rows == snapshots[-1].total == 200
    assert snapshots[-1].retries > 20
    assert snapshots[-1].repairs > 2
    arrived = server.arrived()
    assert 260 < len(arrived) <= snapshots[-1].calls
    second = run(kind(server.url), tmp_path / "s")
    assert server.arrived() == arrived
    assert {row: (answer.value, answer.reason) for row, answer in second.items()} == {
        row: (answer.value, answer.reason) for row, answer in first.items()
    }


def test_unreachable_server_is_an_llm_error(tmp_path: Path) -> None:
    with pytest.raises(LlmError, match=r"^faulty: cannot be reached \(no connection.*\b50 rows"):
        run(Plain("http://127.0.0.1:9/v1"), tmp_path / "s", rows=50)
    with ReplyStore(tmp_path / "s") as store:
        assert stored_failures(store) == {}


def test_broken_server_is_an_llm_error(serve: Serve, tmp_path: Path) -> None:
    config = EngineConfig(first_wait=0.01, breaker_seconds=0.5)
    server = serve(dead=True)
    with pytest.raises(LlmError, match=r"^faulty: .*\b20 calls.*status 503"):
        run(Plain(server.url), tmp_path / "s", rows=500, config=config)
    assert len(server.arrived()) < 100
    with ReplyStore(tmp_path / "s") as store:
        assert stored_failures(store) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_api_key_is_never_stored_or_shown(
    serve: Serve,
    kind: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Also if a server quotes it in answers and errors."""
    canary = "sk-canary-7f3a9c"
    monkeypatch.setenv("HARDNEG_TEST_API_KEY", canary)
    server = serve(faults=0.5, kinds=["limit", "error"], refused=0.1, echo=True)
    snapshots: list[UsageStats] = []
    with caplog.at_level(logging.DEBUG):
        answers = run(kind(server.url, key=canary), tmp_path / "s", rows=60, total=60, watch=snapshots.append)
        (tmp_path / "dead").mkdir()
        with FaultyServer(tmp_path / "dead" / "log", Behaviour(dead=True, echo=True)) as dead:
            with pytest.raises(LlmError) as stopped:
                run(kind(dead.url, key=canary), tmp_path / "dead" / "s", config=QUICK.model_copy(update=SHORT))
            with pytest.raises(LlmError) as crashed:
                run(_Talkative(dead.url, key=canary), tmp_path / "dead" / "s")
    assert "a key was here" in repr(answers), "the server did quote it"
    assert "a key was here" in str(crashed.value)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("hardneg")]
    texts_shown = [repr(answers), repr(snapshots), *map(str, snapshots), *ours, *capfd.readouterr()]
    texts_shown += [str(error.getrepr(style="short", funcargs=False)) for error in (stopped, crashed)]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(canary in text for text in texts_shown)
    assert not any(canary.encode() in data for data in files)


SHORT = {"breaker_seconds": 0.2, "first_wait": 0.01}


class _Talkative(Plain):
    """A faulty adapter that quotes its header."""

    async def _one(self, request: Request) -> Reply | Refusal:
        raise RuntimeError(self._asked(request, "").decode())


def test_parse_names_the_problem() -> None:
    assert isinstance(request(3).messages[0], Message)
    with pytest.raises(Exception, match="expected JSON"):
        parse(Reply("I would rather not say", usage=None))  # type: ignore[arg-type]
