"""Commands against servers as they are: wrong token counts, refused options, cut answers, failures and leaks of keys."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.llm.scripted_server import ReceivedRequest, ScriptedAnswer, completion, scripted_server
from typer.testing import CliRunner, Result

from hardneg.cli.main import app
from hardneg.llm.remote.capabilities import WORD

PROFILE = json.dumps({"summarization": "People who like sturdy things.", "reasoning": "The title says so."})
Script = Callable[[ReceivedRequest], ScriptedAnswer]


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("servers")
    pairs = [f"u{user},i{(user + step) % 12}" for user in range(15) for step in range(user % 5 + 5)]
    (folder / "pairs.csv").write_text("\n".join(["user_id,item_id", *pairs]), encoding="utf-8")
    titles = [f"i{item},a {'very ' * item}sturdy tent" for item in range(12)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *titles]), encoding="utf-8")
    tables = ("table", folder / "pairs.csv", "--items", folder / "items.csv", "--out", folder / "data")
    assert run("data", "import", *tables).exit_code == 0
    assert run("data", "split", folder / "data", "--out", folder / "split").exit_code == 0
    return folder / "split"


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def profile(_: ReceivedRequest) -> dict[str, Any]:
    """A usable reply to every request, the probe's included."""
    return completion(f'{{"word": "{WORD}", {PROFILE[1:]}')


def write(split: Path, folder: Path, script: Script, *more: object) -> tuple[Result, list[ReceivedRequest]]:
    """Return the result of `profiles write` against a scripted server, and the requests that it received."""
    with scripted_server(script) as server:
        words = ["--llm", f"{server.base}#m", "--store", folder / "store.sqlite", "--out", folder / "profiles"]
        result = run("profiles", "write", split, *words, "--engine", "concurrency=2", *more)
        return result, server.received


def prompts(received: list[ReceivedRequest]) -> list[ReceivedRequest]:
    return [call for call in received if "greeting" not in call.body["messages"][-1]["content"]]


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": -1}])
def test_a_budget_binds_without_usable_token_counts(split: Path, tmp_path: Path, usage: Any) -> None:
    script: Script = lambda call: ScriptedAnswer(profile(call) | {"usage": usage})  # noqa: E731
    result, received = write(split, tmp_path, script, "--engine", "budget_tokens=2000")
    assert result.exit_code == 2
    assert "budget (1," in result.stderr
    assert 4 < len(prompts(received)) < 10
    result, _ = write(split, tmp_path, script)
    assert result.exit_code == 0
    assert "estimated: the server reports" in result.stdout
    assert "tokens are estimated" in result.stderr
    (error,) = re.findall(r"estimate was ([+-][\d.]+)% off", result.stdout)
    assert abs(float(error)) < 150
    costs = json.loads((tmp_path / "profiles" / "costs.json").read_text())
    assert costs["llm_replies_with_estimated_tokens"] == costs["llm_calls"] > 0
    assert "the server reports" in costs["llm_tokens_estimated_because"]


def test_a_budget_in_money_binds_without_usable_token_counts(split: Path, tmp_path: Path) -> None:
    money = ("--prices", tmp_path / "prices.yaml", "--engine", "budget_money=2")
    with scripted_server(lambda call: ScriptedAnswer(profile(call) | {"usage": {"prompt_tokens": 0}})) as server:
        words = ["--llm", f"{server.base}#m", "--store", tmp_path / "s", "--out", tmp_path / "p", *money]
        (tmp_path / "prices.yaml").write_text(
            f"models: {{'{server.base}#m': {{prompt: 1000, answer: 1000}}}}\n", encoding="utf-8"
        )
        result = run("profiles", "write", split, *words)
    assert result.exit_code == 2
    assert "of 2.0 dollars spent" in result.stderr


def test_prompts_that_are_cut_at_one_length_are_reported(split: Path, tmp_path: Path) -> None:
    cut = {"prompt_tokens": 128, "completion_tokens": 20}
    result, _ = write(split, tmp_path, lambda call: ScriptedAnswer(profile(call) | {"usage": cut}))
    assert result.stderr.count("context too short") == 1
    assert "128" in result.stderr
    assert "context too short" in (tmp_path / "profiles" / "costs.json").read_text()


def test_an_option_that_is_refused_at_run_time_is_left_out(split: Path, tmp_path: Path) -> None:
    def picky(call: ReceivedRequest) -> ScriptedAnswer:
        if "response_format" in call.body and prompts([call]):
            return ScriptedAnswer({"error": {"message": "Invalid json_schema: pattern"}}, 400)
        return ScriptedAnswer(profile(call))

    result, received = write(split, tmp_path, picky)
    assert result.exit_code == 0
    assert "blank: 0 and 0" in result.stdout
    assert result.stderr.count("refuses") == 1
    refused = [call for call in prompts(received) if "response_format" in call.body]
    assert len(refused) <= 4


def test_cut_answers_name_the_limit_and_the_setting(split: Path, tmp_path: Path) -> None:
    def verbose(call: ReceivedRequest) -> ScriptedAnswer:
        reply = profile(call)
        if call.body["max_tokens"] == 320:
            reply["choices"][0] |= {"finish_reason": "length", "message": {"content": '{"summarization": "People'}}
        return ScriptedAnswer(reply)

    result, _ = write(split, tmp_path, verbose)
    failed = pl.read_parquet(tmp_path / "profiles" / "failed.parquet").filter(pl.col("reason").str.contains("limit"))
    assert len(failed) == len(pl.read_parquet(split / "items.parquet"))
    assert "limit of 320 tokens" in failed["reason"][0]
    assert "--set answer_factor" in failed["reason"][0]
    assert "first failure: bad reply: the reply was cut at its limit of 320 tokens" in result.stderr
    result, received = write(split, tmp_path / "longer", verbose, "--set", "answer_factor=2")
    assert "blank: 0 and 0" in result.stdout
    assert {call.body["max_tokens"] for call in prompts(received)} == {640, 800}


def test_the_first_failure_is_shown_before_the_retries_end(split: Path, tmp_path: Path) -> None:
    result, _ = write(
        split,
        tmp_path,
        lambda call: (
            ScriptedAnswer({"error": {"message": "out of memory"}}, 500)
            if prompts([call])
            else ScriptedAnswer(profile(call))
        ),
        *("--engine", "first_wait=0.01", "--engine", "breaker_seconds=0.1", "--engine", "breaker_failures=3"),
    )
    assert result.exit_code == 2
    first, *others = [line for line in result.stderr.splitlines() if "failure" in line]
    assert re.search(r"first failure: 500 out of memory \(row \d+\); sent again, at most 6 times", first)
    assert len(others) == 1
    assert re.search(r"failures: \d+ times 500 out of memory", others[0])


def test_an_estimate_without_a_sample_needs_no_key(split: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    estimate = ("llm", "estimate", "writing", split, "--llm", "openai:gpt-4o-mini")
    result = run(*estimate, "--store", ":memory:")
    assert result.exit_code == 0, result.output
    assert "Nothing was sent" in result.stdout
    result = run(*estimate, "--sample", 1)
    assert result.exit_code == 2
    assert "OPENAI_API_KEY" in result.stderr


def test_the_named_key_appears_nowhere(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "open-sesame/2026"
    monkeypatch.setenv("SHOP_LOGIN", key)
    coded = base64.b64encode(f"me:{key}".encode()).decode()

    def leaky(call: ReceivedRequest) -> ScriptedAnswer:
        echoed = call.headers["authorization"]
        if len(call.body["messages"][-1]["content"]) % 3 == 1:
            return ScriptedAnswer({"error": {"message": f"bad {echoed}", "type": key}}, 400)
        text = json.dumps({"summarization": f"People with {echoed} or {coded}", "reasoning": key})
        return ScriptedAnswer(completion(text, finish_reason=f"stop {key}") | {"model": key, "id": coded})

    result, received = write(split, tmp_path, leaky, "--key-variable", "SHOP_LOGIN")
    checked = []
    with scripted_server(leaky) as server:
        checked.append(run("llm", "check", "--llm", f"{server.base}#m", "--key-variable", "SHOP_LOGIN"))
    assert received[0].headers["authorization"] == f"Bearer {key}"
    assert "a key was here" in pl.read_parquet(tmp_path / "profiles" / "items.parquet")["profile"][0]
    outputs = [text.encode() for one in (result, *checked) for text in (one.stdout, one.stderr)]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    frames = [str(pl.read_parquet(path).rows()).encode() for path in tmp_path.rglob("*.parquet")]
    assert not any(secret.encode() in data for data in outputs + files + frames for secret in (key, coded))


def test_escape_sequences_of_a_server_are_shown(split: Path, tmp_path: Path) -> None:
    script: Script = lambda _: ScriptedAnswer({"error": {"message": "\x1b[31mno\x9b2J \u202e"}}, 400)  # noqa: E731
    result, _ = write(split, tmp_path, script)
    assert result.exit_code == 2
    assert not re.search("[\x1b\x9b\u202e]", result.output)
    with scripted_server(script) as server:
        assert not re.search("[\x1b\x9b\u202e]", run("llm", "check", "--llm", f"{server.base}#m").output)
