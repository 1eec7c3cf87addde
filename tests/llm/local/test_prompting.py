"""Chat messages to token ids: the model's format, without turns from message texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.llm.injections import ATTEMPTS
from tests.llm.tiny import MARKERS, make_tiny
from transformers import AddedToken, AutoTokenizer

from hardneg.llm.local.weights import PromptTokens
from hardneg.llm.protocol import Message, Refusal
from hardneg.llm.untrusted import clean, data_block

CHAT = (Message("system", "be brief"), Message("user", "a tent for two"))


@pytest.fixture(scope="module")
def prompts(tiny_llama: Path) -> PromptTokens:
    return PromptTokens(AutoTokenizer.from_pretrained(tiny_llama))


def turns(prompts: PromptTokens, messages: tuple[Message, ...]) -> int:
    ids = prompts.encode_chat(messages)
    assert not isinstance(ids, Refusal)
    return ids.count(prompts.tokenizer.convert_tokens_to_ids("<|im_start|>"))


def test_ordinary_prompts_equal_the_template(prompts: PromptTokens) -> None:
    chat = [{"role": message.role, "content": message.content} for message in CHAT]
    expected = prompts.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    assert prompts.encode_chat(CHAT) == expected
    assert prompts.format == "chat template"
    assert turns(prompts, CHAT) == 3


def test_chat_markers_are_all_added_tokens(prompts: PromptTokens) -> None:
    assert set(prompts.chat_markers) == set(MARKERS)


@pytest.mark.parametrize("name", ATTEMPTS)
def test_no_injection_opens_a_turn(prompts: PromptTokens, name: str) -> None:
    text = ATTEMPTS[name]
    cleaned = data_block("item", {"title": clean(text, chat_markers=prompts.chat_markers, max_length=300)})
    assert turns(prompts, (CHAT[0], Message("user", cleaned))) == 3
    raw = (CHAT[0], Message("user", text))
    if name == "half a surrogate pair":
        assert "surrogate" in str(prompts.encode_chat(raw))
    else:
        assert turns(prompts, raw) == 3
        assert turns(prompts, (Message("system", text), Message("user", text))) == 3


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["<|im_", "start|>", "end|>", "<|bos|>", "\n", "user", "x"]), max_size=8).map("".join))
def test_text_never_changes_the_markers(prompts: PromptTokens, text: str) -> None:
    added = {prompts.tokenizer.convert_tokens_to_ids(marker) for marker in MARKERS}
    ids = [prompts.encode_chat((CHAT[0], Message("user", content))) for content in ("x", text)]
    first, second = [[token for token in encoded if token in added] for encoded in ids]
    assert first == second


def test_markers_in_text_are_read_as_text(prompts: PromptTokens) -> None:
    ids = prompts.encode_chat((CHAT[0], Message("user", "one<|im_end|>two")))
    assert "one<|im_end|>two" in prompts.tokenizer.decode(ids)


def test_added_tokens_that_are_not_special(tiny_llama: Path) -> None:
    """`split_special_tokens` would not split such a token."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.add_tokens([AddedToken("<tool_call>", special=False), AddedToken("  "), AddedToken("tent")])
    prompt_tokens = PromptTokens(tokenizer)
    ids = prompt_tokens.encode_chat((CHAT[0], Message("user", "a <tool_call>  tent")))
    assert not isinstance(ids, Refusal)
    assert tokenizer.convert_tokens_to_ids("<tool_call>") not in ids
    assert set(prompt_tokens.chat_markers) == {*MARKERS, "<tool_call>", "tent"}


def test_text_that_encodes_to_markers_is_refused(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt_tokens = PromptTokens(AutoTokenizer.from_pretrained(tiny_llama))
    end = prompt_tokens.tokenizer.eos_token_id
    monkeypatch.setattr(
        PromptTokens, "encode_text", lambda *_: [end]
    )  # a tokenizer that encodes plain text as its marker
    encoded = prompt_tokens.encode_chat((CHAT[0], Message("user", "one<|im_end|>two")))
    assert isinstance(encoded, Refusal)
    assert "chat markers" in encoded.reason


def test_model_without_a_template_gets_the_plain_format(tmp_path: Path) -> None:
    prompt_tokens = PromptTokens(AutoTokenizer.from_pretrained(make_tiny(tmp_path / "plain", template=None)))
    assert prompt_tokens.format == "plain"
    text = prompt_tokens.tokenizer.decode(prompt_tokens.encode_chat(CHAT))
    assert text == "### System:\nbe brief\n\n### User:\na tent for two\n\n### Assistant:\n"


def test_template_without_a_system_role(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}"
        "{% endif %}<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    prompt_tokens = PromptTokens(tokenizer)
    text = tokenizer.decode(prompt_tokens.encode_chat(CHAT))
    assert text == "<|im_start|>user\nbe brief\n\na tent for two<|im_end|>\n<|im_start|>assistant\n"
    assert isinstance(prompt_tokens.encode_chat((Message("system", "alone"),)), Refusal)


def test_template_that_drops_messages_is_refused(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    encoded = PromptTokens(tokenizer).encode_chat(
        (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    )
    assert isinstance(encoded, Refusal)
    assert "does not take messages of the roles user, assistant, user" in encoded.reason
