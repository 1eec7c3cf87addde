"""The client: keys stay private, failures are classified."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.llm.scripted_server import ReceivedRequest, ScriptedAnswer, completion, scripted_server

from hardneg.errors import ConfigError
from hardneg.llm.protocol import CallFailed, LlmError, Refusal
from hardneg.llm.redaction import REPLACEMENT
from hardneg.llm.remote.client import OPENAI, OPENAI_KEY, Address, Client, retry_after

CANARY = "sk-canary-0123456789"


def send(answer: ScriptedAnswer, *, variable: str = "", seconds: float = 5.0) -> Any:
    """Return the client's result for one answer."""
    with scripted_server(lambda _: answer) as server:
        return send_with(Client(Address(server.base, "m", variable), seconds=seconds))


BODY = {"messages": [{"role": "user", "content": "hello"}]}


def create(official: Any) -> Any:
    return official.chat.completions.with_raw_response.create


def send_with(client: Client) -> Any:
    async def go() -> Any:
        try:
            return await client.send(create, BODY)
        finally:
            await client.aclose()

    return asyncio.run(go())


def test_answer_is_parsed_json() -> None:
    assert send(ScriptedAnswer(completion("fine"))) == completion("fine")


@pytest.mark.parametrize(
    ("answer", "reason", "wait"),
    [
        (ScriptedAnswer({"error": {"message": "slow down"}}, 429, {"retry-after": "7"}), "429 .*slow down", 7.0),
        (ScriptedAnswer({"error": {"message": "busy"}}, 429), "429 .*busy", None),
        (ScriptedAnswer({}, 408), "408", None),
        (ScriptedAnswer({}, 409), "409", None),
        (ScriptedAnswer(b"<html>oops</html>", 500), "500 <html>oops", None),
        (ScriptedAnswer(b"", 503, {"retry-after": "0.5"}), "503", 0.5),
        (ScriptedAnswer(b'{"choices": [{"mess'), "JSON .19 bytes", None),
        (ScriptedAnswer(b"[1]"), "JSON list", None),
        (ScriptedAnswer({"error": {"message": "model crashed"}}), "model crashed", None),
        (ScriptedAnswer(b'{"choices": [', announced=400), "the connection failed .RemoteProtocolError", None),
        (ScriptedAnswer(reset=True), "the connection failed .ReadError|RemoteProtocolError", None),
    ],
)
def test_transient_failures(answer: ScriptedAnswer, reason: str, wait: float | None) -> None:
    with pytest.raises(CallFailed, match=reason) as failed:
        send(answer)
    assert failed.value.retry_after == wait
    assert failed.value.reached
    assert "\n" not in failed.value.reason


def test_silent_server_times_out() -> None:
    with pytest.raises(CallFailed, match=r"the connection failed .ReadTimeout") as failed:
        send(ScriptedAnswer(hang=5.0), seconds=0.2)
    assert failed.value.reached


def test_refused_connection_is_not_reached() -> None:
    with scripted_server(lambda _: ScriptedAnswer()) as server:
        gone = Address(server.base, "m")
    with pytest.raises(CallFailed, match="ConnectError") as failed:
        send_with(Client(gone))
    assert not failed.value.reached


@pytest.mark.parametrize("status", [400, 413, 422])
def test_client_errors_are_refusals(status: int) -> None:
    assert send(ScriptedAnswer({"error": {"message": "too long"}}, status)) == Refusal(f"{status} too long")


def test_body_of_another_form_is_quoted() -> None:
    assert send(ScriptedAnswer({"detail": "no such\nmodel"}, 400)) == Refusal('400 {"detail": "no such\\nmodel"}')


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        (ScriptedAnswer({"error": {"message": "who?"}}, 401), "401 who.; check the key"),
        (ScriptedAnswer({"error": {"message": "no"}}, 403), "403 no; check the key's rights"),
        (ScriptedAnswer({"error": {"message": "unknown model"}}, 404), "404 unknown model; check address and model"),
        (
            ScriptedAnswer({"error": {"message": "empty", "code": "insufficient_quota"}}, 429),
            "429 empty; check the account",
        ),
    ],
)
def test_errors_of_every_request_are_llm_errors(answer: ScriptedAnswer, remedy: str) -> None:
    with pytest.raises(LlmError, match=f"m answers {remedy}"):
        send(answer)


def test_half_a_surrogate_pair_is_refused() -> None:
    body = {"messages": [{"role": "user", "content": "a\ud800b"}]}
    with scripted_server(lambda _: ScriptedAnswer(completion())) as server:
        assert "surrogate" in asyncio.run(Client(Address(server.base, "m")).send(create, body)).reason


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12.0),
        ("0", 0.0),
        ("-3", 0.0),
        ("1.5", 1.5),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        ("Fri, 02 Jan 2026 00:00:30 GMT", 30.0),
        ("Fri, 02 Jan 2026 00:00:30 -0000", 30.0),
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert retry_after({"retry-after": value} if value else {}, now) == seconds


# ------------------------------------------------------------------------------------------------------------- keys


@pytest.fixture
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {CANARY}\n")


def received(
    script: Callable[[ReceivedRequest], ScriptedAnswer] = lambda _: ScriptedAnswer(completion()), variable: str = ""
) -> ReceivedRequest:
    with scripted_server(script) as server:
        send_with(Client(Address(server.base, "m", variable)))
        return server.received[0]


@pytest.mark.usefixtures("_key")
def test_key_is_sent_and_never_stored_or_shown() -> None:
    def echo(request: ReceivedRequest) -> ScriptedAnswer:
        return ScriptedAnswer({"error": {"message": f"bad key {request.headers['authorization']}"}}, 401)

    with scripted_server(echo) as server:
        client = Client(Address(server.base, "m", "MY_KEY"))
        with pytest.raises(LlmError) as error:
            send_with(client)
        assert server.received[0].headers["authorization"] == f"Bearer {CANARY}"
    trace = "".join(traceback.TracebackException.from_exception(error.value, capture_locals=True).format())
    assert REPLACEMENT in trace
    assert CANARY not in trace + repr(client) + repr(client.address) + client.address.identity


@pytest.mark.usefixtures("_key")
def test_key_echoed_under_status_200_is_removed() -> None:
    with pytest.raises(CallFailed) as failed:
        send(ScriptedAnswer({"error": f"key {CANARY}"}), variable="MY_KEY")
    assert failed.value.reason == f"an error in the reply: key {REPLACEMENT}"


def test_openai_keys_and_headers_are_sent_to_openai_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Mine: {CANARY}\nauthorization: Bearer {CANARY}")
    headers = received().headers
    assert CANARY not in str(headers)
    assert headers["authorization"] == "Bearer none"


def test_missing_key_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OPENAI_KEY, raising=False)
    with pytest.raises(ConfigError, match=r"gpt .*OPENAI_API_KEY"):
        Client(Address(OPENAI, "gpt", OPENAI_KEY))


def test_invalid_key_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-käse")
    with pytest.raises(ConfigError, match="MY_KEY") as error:
        Client(Address("http://localhost/v1", "m", "MY_KEY"))
    assert "sk-" not in str(error.value)


@pytest.mark.parametrize("base", ["http://me:secret@host/v1", "http://host/v1?api-key=secret"])
def test_credentials_in_an_address_are_refused_and_not_quoted(base: str) -> None:
    with pytest.raises(ConfigError, match="the address of host") as error:
        Address(base, "m")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(("base", "model"), [("ftp://host/v1", "m"), ("http:///v1", "m"), ("http://host/v1", "")])
def test_an_address_needs_a_host_and_a_model(base: str, model: str) -> None:
    with pytest.raises(ConfigError, match=r"found .*, expected one"):
        Address(base, model)


def test_sdk_does_not_retry() -> None:
    with scripted_server(lambda _: ScriptedAnswer({}, 500)) as server:
        with pytest.raises(CallFailed):
            send_with(Client(Address(server.base, "m")))
        assert len(server.received) == 1


def test_client_works_in_several_event_loops() -> None:
    with scripted_server(lambda _: ScriptedAnswer(completion("again"))) as server:
        client = Client(Address(server.base, "m"))
        assert send_with(client) == send_with(client)


def test_missing_sdk_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'hardneg\[llm\]'"):
        Client(Address("http://localhost/v1", "m"))


@pytest.mark.parametrize("value", [CANARY, "hunter2"])
def test_the_named_key_is_removed_from_every_field_of_a_reply(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_LOGIN", value)
    answer = completion(f"your key is {value}", finish_reason=f"stop {value}") | {"model": value, value: [value]}
    reply = send(ScriptedAnswer(answer), variable="MY_LOGIN")
    assert value not in repr(reply)
    assert reply["choices"][0]["finish_reason"] == f"stop {REPLACEMENT}"
    assert value not in repr(send(ScriptedAnswer({"error": {"message": f"no {value}"}}, 400), variable="MY_LOGIN"))


def test_a_key_in_place_of_its_variable_is_not_quoted() -> None:
    with pytest.raises(ConfigError) as error:
        Address("http://localhost/v1", "m", CANARY)
    assert CANARY not in str(error.value)
