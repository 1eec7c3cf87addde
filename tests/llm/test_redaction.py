"""API keys of the environment are removed."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from hardneg.llm.redaction import REPLACEMENT, one_line, redact, redact_values, secrets


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


KEY = "s3cr3t/+ä&"


def test_the_named_variable_counts_whatever_its_name_and_short() -> None:
    environment = {"MY_LOGIN": " hunter2\n", "OTHER": "long enough", "TINY": "abc"}
    assert secrets(environment, named="MY_LOGIN") == ("hunter2",)
    assert secrets(environment) == secrets(environment, named="TINY") == secrets(environment, named="absent") == ()


def test_a_short_key_is_cut_out_as_a_word_alone() -> None:
    assert redact("hunter2, hunter22 and hunter2", ("hunter2",)) == f"{REPLACEMENT}, hunter22 and {REPLACEMENT}"


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"Bearer {KEY}.",
        quote(KEY, safe=""),
        json.dumps(KEY),
        KEY.encode().hex(),
        *(base64.b64encode(f"{user}:{KEY}".encode()).decode() for user in ("", "u", "us", "use")),
        base64.urlsafe_b64encode(KEY.encode()).decode(),
    ],
)
def test_encoded_forms_of_a_key_are_removed(text: str) -> None:
    assert REPLACEMENT in redact(f"before {text} after", (KEY,))
    assert text not in redact(f"before {text} after", (KEY,))


def test_every_string_of_json_values_is_redacted() -> None:
    values = {
        "a": ["xx-key-xx", {"xx-key-xx": "xx-key-xx"}],
        "b": 1,
        "c": None,
        "d": [0.5, 1.5],
        "e": [1.0, "xx-key-xx"],
    }
    redacted = redact_values(values, ("xx-key-xx",))
    assert "xx-key-xx" not in json.dumps(redacted)
    assert redacted["d"] == [0.5, 1.5]
