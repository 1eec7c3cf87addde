"""Schemas and parsers of structured replies."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from tests.llm.bounded_text import ShortText

from hardneg.errors import ConfigError
from hardneg.llm.protocol import BadReply, Reply, Usage
from hardneg.llm.structured import Structured, reply_parser, safe_pattern, strict_schema


class Part(Structured):
    item: Literal[1, 2, 3]
    name: ShortText


class Whole(Structured):
    why: ShortText
    parts: list[Part]
    sure: Literal["yes", "no"] = "no"


GOOD = {"why": "since", "parts": [{"item": 2, "name": "a tent"}], "sure": "yes"}


def reply(text: str, finish: str = "stop") -> Reply:
    return Reply(text, Usage(10, 20), finish)


def test_schema_requires_all_keys_and_no_others() -> None:
    schema = json.loads(strict_schema(Whole))
    assert schema["required"] == ["why", "parts", "sure"]
    assert schema["additionalProperties"] is False
    part = schema["$defs"]["Part"]
    assert part["required"] == ["item", "name"]
    assert part["additionalProperties"] is False
    assert part["properties"]["name"] == {"type": "string", "pattern": safe_pattern(200)}
    assert strict_schema(Whole) == strict_schema(Whole)


def test_fields_named_like_schema_keywords() -> None:
    class Odd(Structured):
        title: ShortText
        default: ShortText

    assert json.loads(strict_schema(Odd))["required"] == ["title", "default"]
    assert set(json.loads(strict_schema(Odd))["properties"]) == {"title", "default"}


def test_unenforced_keywords_are_refused() -> None:
    class Bounded(BaseModel):
        score: int = Field(ge=1, le=5)

    class Long(BaseModel):
        text: str = Field(max_length=10)

    with pytest.raises(
        ConfigError, match=r"Bounded.score has m\w+, which back ends accept and ignore; list the numbers"
    ):
        strict_schema(Bounded)
    with pytest.raises(ConfigError, match=r"Long\.text"):
        strict_schema(Long)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"  {json.dumps(GOOD, indent=2)}\n",
        f"```json\n{json.dumps(GOOD)}\n```",
        f"Sure! Here it is: {json.dumps(GOOD)} I hope {{this}} helps.",
        f'<think>maybe {{"why": "no"}}?</think>{json.dumps(GOOD)}',
        f"{json.dumps(GOOD | {'why': 'first thought'})} or rather {json.dumps(GOOD)}",
        json.dumps(GOOD | {"more": "than the schema has"}),
        json.dumps(GOOD).replace("since", "\x01since\n"),
        json.dumps(GOOD).replace("since", "\\u0007since\\u0000"),
    ],
)
def test_object_is_extracted(text: str) -> None:
    assert reply_parser(Whole)(reply(text)) == Whole.model_validate(GOOD)


def test_control_characters_become_spaces() -> None:
    assert reply_parser(Whole)(reply(json.dumps(GOOD | {"why": "one\x00two\tthree "}))).why == "one two three"


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("", "stop", "the reply is blank"),
        ("I would\nrather not", "stop", "found 'I would rather not', expected a JSON object"),
        ("[1, 2]", "stop", r"found '\[1, 2\]', expected a JSON object"),
        (json.dumps(GOOD)[:30], "length", "the reply was cut at its limit of 20 tokens; allow longer answers"),
        ('{"parts": [{"item": 1, "name": "x"}, {', "length", "the reply was cut at its limit of 20 tokens"),
        (json.dumps({"why": "x"}), "stop", "field parts: field required"),
        (json.dumps(GOOD | {"sure": "maybe"}), "stop", "field sure: input should be 'yes' or 'no'"),
        (json.dumps(GOOD | {"parts": [{"item": 9, "name": ""}]}), "stop", r"field parts.0.item: .* \(and 1 more\)"),
        (json.dumps(GOOD | {"why": "x" * 201}), "stop", "field why: string should have at most 200 characters"),
        ("{" * 5000, "stop", "expected a JSON object"),
        ('{"a":' * 5000, "stop", "expected a JSON object"),
    ],
)
def test_unusable_reply_has_a_one_line_reason(text: str, finish: str, reason: str) -> None:
    with pytest.raises(BadReply, match=reason) as bad:
        reply_parser(Whole)(reply(text, finish))
    assert "\n" not in bad.value.reason
    assert len(bad.value.reason) < 200


def test_complete_object_in_a_cut_reply() -> None:
    assert reply_parser(Whole)(reply(f"{json.dumps(GOOD)} and so on and on", "length")).why == "since"


@given(st.text(max_size=60) | st.recursive(st.none() | st.text(max_size=5), st.lists).map(json.dumps))
def test_any_reply_is_a_value_or_unusable(text: str) -> None:
    with pytest.raises(BadReply):
        reply_parser(Whole)(reply(text))


@pytest.mark.parametrize(
    "text",
    [
        f"<think>maybe {json.dumps(GOOD | {'why': 'draft'})} or</think>\n{json.dumps(GOOD)}",
        f"hm</think>{json.dumps(GOOD)}",
    ],
)
def test_drafts_within_thoughts_are_no_answers(text: str) -> None:
    assert reply_parser(Whole)(reply(text)).why == "since"


def test_thoughts_that_are_cut_hold_no_answer() -> None:
    with pytest.raises(BadReply, match="limit of 20 tokens"):
        reply_parser(Whole)(reply(f"<think>maybe {json.dumps(GOOD)} or", "length"))


def test_the_limit_is_the_requested_one_where_it_is_known() -> None:
    with pytest.raises(BadReply, match="limit of 320 tokens"):
        reply_parser(Whole)(replace(reply("{", "length"), limit=320))
