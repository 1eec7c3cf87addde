"""Prompt files and their placeholders; parsers of replies: answers, None, and unusable replies."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import ConfigError
from hardneg.llm.protocol import BadReply, Reply, Usage
from hardneg.llm.structured import strict_schema
from hardneg.text.generation import message_formats as prompts
from hardneg.text.generation.message_formats import (
    MAX_CHARACTERS,
    MAX_PAIRS,
    NONE_FOUND,
    NegativeReply,
    NegativesReply,
    NumberedNegative,
    ParsedReply,
    ProfileReply,
    negatives_parser,
    text_parser,
    title_parser,
)

FILE = "---\nname: ask\nversion: 2\nanswer_words: 5\nanswer_tokens: 9\n---\n## system\n\nSay {{it}}.\n\n## user\n\n{{one}}\n{{two}}\n"


def test_a_prompt_file_is_read_and_rendered() -> None:
    read = prompts.read_prompt(FILE)
    assert read.header.model_dump() == {
        "name": "ask",
        "version": 2,
        "answer_words": 5,
        "answer_tokens": 9,
        "examples": (),
    }
    system, user = read.render(one="1", two="2")
    assert (system.role, system.content) == ("system", "Say {{it}}."), "the system message has no placeholders"
    assert (user.role, user.content) == ("user", "1\n2")


def test_placeholders_in_data_are_not_replaced() -> None:
    read = prompts.read_prompt(FILE)
    assert read.render(one="{{two}}", two="{{one}} \\1")[1].content == "{{two}}\n{{one}} \\1"


@pytest.mark.parametrize("blocks", [{}, {"one": ""}, {"one": "", "two": "", "three": ""}])
def test_placeholders_and_blocks_must_match(blocks: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"ask .*\['one', 'two'\]"):
        prompts.read_prompt(FILE).render(**blocks)


@pytest.mark.parametrize("text", ["", "no head", FILE.replace("## user", "## nobody")])
def test_a_file_without_its_parts_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"## system .*## user"):
        prompts.read_prompt(text)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="mood"):
        prompts.read_prompt(FILE.replace("version: 2", "version: 2\nmood: good"))


def test_the_digest_changes_with_the_wording() -> None:
    other = prompts.read_prompt(FILE.replace("Say", "say"))
    assert other.header == prompts.read_prompt(FILE).header
    assert other.digest != prompts.read_prompt(FILE).digest
    assert prompts.read_prompt(FILE.replace("\n", "\r\n")).digest == prompts.read_prompt(FILE).digest


@pytest.mark.parametrize("name", prompts.PROMPT_NAMES)
def test_packaged_prompts_are_complete(name: str) -> None:
    ours = prompts.load_prompt(name)
    assert ours.header.name == name
    assert "never an instruction" in ours.system
    assert "{{" not in ours.system
    places = prompts.PLACEHOLDER.findall(ours.user)
    assert places == sorted(places, key=["user", "item", "items"].index), "the user before the item"
    assert all(f"<{place}>" in ours.system for place in places)
    if name not in ("negative_title", "item_negative_titles"):
        assert str(ours.header.answer_words) in ours.system


def test_unknown_prompts_and_digests_by_version() -> None:
    with pytest.raises(ConfigError, match=r"'poem'.*item_profile"):
        prompts.load_prompt("poem")
    assert prompts.prompt_digests("negative") == {"negative 1": prompts.load_prompt("negative").digest}


MARK = ("<|im_start|>",)


def reply(value: object) -> Reply:
    return Reply(value if isinstance(value, str) else json.dumps(value), Usage(1, 1))


def profile(text: object, why: object = "because") -> Reply:
    return reply({"summarization": text, "reasoning": why})


def test_an_answer_is_cleaned() -> None:
    read = text_parser(ProfileReply, 60, MARK)
    assert read(profile(" people who\tcook\u202e <|im_start|>", "so\nit is")) == ParsedReply(
        "people who cook", "so it is"
    )


@pytest.mark.parametrize("text", ["None", "none", " NONE. ", '"None"', None])
def test_none_is_an_answer_without_a_text(text: object) -> None:
    found = text_parser(ProfileReply, 60, ())(profile(text))
    assert (found.text, found.reasoning, found.reason) == ("", "because", NONE_FOUND)


@pytest.mark.parametrize("text", ["", "  ", "\u200b", "<|im_start|>", 3, ["a"], "w " * 121, "w" * (MAX_CHARACTERS + 1)])
def test_unusable_answers_are_refused(text: object) -> None:
    with pytest.raises(BadReply):
        text_parser(ProfileReply, 60, MARK)(profile(text))


def test_up_to_twice_the_words_are_accepted() -> None:
    assert (
        len(text_parser(NegativeReply, 20, ())(reply({"hard_negative_item": "w " * 40, "reasoning": "x"})).text.split())
        == 40
    )
    with pytest.raises(BadReply, match=r"41 .*20"):
        text_parser(NegativeReply, 20, ())(reply({"hard_negative_item": "w " * 41, "reasoning": "x"}))


def entry(number: object, name: object = "thing") -> dict[str, object]:
    return {"item": number, "hard_negative_item": f"{name} {number}", "reasoning": "close"}


def test_entries_are_assigned_by_number_not_by_position() -> None:
    found = negatives_parser(3, 20, ())(reply({"negatives": [entry(3), entry(1), entry(2)]}))
    assert found == [ParsedReply(f"thing {n}", "close") for n in (1, 2, 3)]


def test_a_bad_entry_loses_its_pair_alone() -> None:
    entries = [
        entry(1),
        {"item": 2},
        entry(4),
        entry(4),
        entry(9),
        entry("1"),
        "junk",
        None,
        entry(True),
        entry(5, "w " * 50),
    ]
    found = negatives_parser(5, 20, ())(reply({"negatives": entries}))
    assert found[0] == ParsedReply("thing 1", "close")
    assert found[1].reason == "its entry in the reply is not as asked for"
    assert found[2].reason == "the reply leaves it out"
    assert found[3].reason == "the reply answers it twice"
    assert found[4].reason == "found 51 words in the answer, expected at most 20"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["item", "hard_negative_item", "reasoning", "negatives"]), inner)
        ),
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    for wrapped in (value, {"negatives": value}, {"negatives": [value]}):
        try:
            found = negatives_parser(4, 20, MARK)(reply(json.dumps(wrapped)))
        except BadReply:
            continue
        assert len(found) == 4
        assert all(isinstance(part, ParsedReply) for part in found)


def test_titles_of_the_closed_list_alone_are_answers() -> None:
    read = title_parser({"red pan", "red kettle"}.__contains__, ("red kettle",), ())
    assert read(reply(" red pan\n")) == ParsedReply("red pan", "")
    with pytest.raises(BadReply, match="red pot"):
        read(reply("red pot"))
    with pytest.raises(BadReply, match="red kettle"):
        read(reply("red kettle"))


def test_schemas_bound_every_string_and_number() -> None:
    several = json.loads(strict_schema(NegativesReply))["$defs"][NumberedNegative.__name__]["properties"]
    assert several["item"]["enum"] == list(range(1, MAX_PAIRS + 1))
    assert list(several) == ["item", "hard_negative_item", "reasoning"]
    for properties in (several, json.loads(strict_schema(ProfileReply))["properties"]):
        assert all("pattern" in kind for kind in properties.values() if kind["type"] == "string")
