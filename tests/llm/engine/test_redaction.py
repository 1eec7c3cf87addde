"""API keys of the environment are removed."""

from __future__ import annotations

from hardneg.llm.engine.worker import REPLACEMENT, one_line, redact, secrets


def test_only_long_values_of_variables_named_like_keys() -> None:
    environment = {
        "OPENAI_API_KEY": "sk-1234567890",
        "hf_token": "hf_abcdefgh",
        "DB_PASSWORD": "short",
        "TOKENIZERS_PARALLELISM": "false-and-long",
        "EMPTY_KEY": "",
    }
    assert secrets(environment) == ("sk-1234567890", "hf_abcdefgh")


def test_longer_key_is_replaced_first() -> None:
    keys = secrets({"A_KEY": "12345678", "B_KEY": "1234567890"})
    assert redact("x 1234567890 y 12345678", keys) == f"x {REPLACEMENT} y {REPLACEMENT}"


def test_one_line() -> None:
    assert one_line("a\n b\tsk-1234567890", ("sk-1234567890",)) == f"a b {REPLACEMENT}"
    assert one_line("x" * 400, ()) == "x" * 300 + "..."
    assert "secret" not in one_line("y" * 297 + "secret", ("secret",))
