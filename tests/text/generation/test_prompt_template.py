"""Prompt files and their placeholders."""

from __future__ import annotations

import pytest

from hardneg.errors import ConfigError
from hardneg.text.generation import message_formats as prompts

FILE = "---\nname: ask\nversion: 2\nanswer_words: 5\nanswer_tokens: 9\n---\n## system\n\nSay {{it}}.\n\n## user\n\n{{one}}\n{{two}}\n"


def test_a_prompt_file_is_read_and_rendered() -> None:
    read = prompts.read_prompt(FILE)
    assert read.header.model_dump() == {"name": "ask", "version": 2, "answer_words": 5, "answer_tokens": 9}
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
    if name != "negative_title":
        assert str(ours.header.answer_words) in ours.system


def test_unknown_prompts_and_digests_by_version() -> None:
    with pytest.raises(ConfigError, match=r"'poem'.*item_profile"):
        prompts.load_prompt("poem")
    assert prompts.prompt_digests("negative") == {"negative 1": prompts.load_prompt("negative").digest}
