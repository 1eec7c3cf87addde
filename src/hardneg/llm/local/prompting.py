"""Messages to token ids, so that no message can open or close a turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hardneg.llm.protocol import Message, Refusal

PLAIN = "plain"
"""Name of the format for models without a chat template."""
PLAIN_HEADS = {"system": "### System:\n", "user": "### User:\n", "assistant": "### Assistant:\n"}
_PLACE = re.compile("\ue000\\d+\ue001")


class PromptTokens:
    """A tokenizer's chat format, and its check.

    A model without a chat template gets the format "plain": "### User:" and its like above each message. A template that
    knows no system role gets the system message at the head of the first user message.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._frames: dict[tuple[str, ...], tuple[list[str], list[int]]] = {}

    @property
    def format(self) -> str:
        """Where the chat format comes from: "chat template" (the model's own) or "plain" (ours)."""
        return "chat template" if self.tokenizer.chat_template else PLAIN

    @cached_property
    def chat_markers(self) -> tuple[str, ...]:
        """Every added token of the tokenizer that is more than white space, special or not."""
        return tuple(sorted(token for token in self.tokenizer.get_added_vocab() if token.strip()))

    @cached_property
    def _acting(self) -> frozenset[int]:
        """Added tokens by which a text could act: all but white space and, unless they are special, bare words."""
        found = self.tokenizer.added_tokens_decoder.items()
        return frozenset(
            place for place, token in found if token.special or not (token.content.isalnum() or token.content.isspace())
        )

    def encode_chat(self, messages: Sequence[Message]) -> list[int] | Refusal:
        """Token ids of a prompt that ends where the answer begins.

        The added tokens in it are exactly those that the format itself writes. Where a message would bring one, its
        messages are tokenised apart and as bare text; where that does not help, the prompt is refused.
        """
        merged = self._merged(messages)
        roles, contents = [message.role for message in merged], [message.content for message in merged]
        pieces, expected = self._frame(tuple(roles))
        if len(pieces) != len(contents) + 1:
            return Refusal(f"the model's chat template does not take messages of the roles {', '.join(roles)}")
        text = "".join(_woven(pieces, contents))
        if re.search("[\ud800-\udfff]", text):
            return Refusal("the prompt holds half a surrogate pair, which no tokenizer takes; clean it first")
        ids = self._encode(text)
        if self._actors(ids) != expected:
            ids = self._apart(pieces, contents)
        if self._actors(ids) != expected:
            return Refusal("a message brings chat markers of the model, which could open a turn; clean it first")
        return ids

    def encode_text(self, text: str) -> list[int]:
        """Token ids of bare text, in which no added token is recognised, whatever it says."""
        backend = self.tokenizer.backend_tokenizer
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        parts = (
            [text] if backend.pre_tokenizer is None else [s for s, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
        )
        return [token.id for part in parts if part for token in backend.model.tokenize(part)]

    def _actors(self, ids: Sequence[int]) -> list[int]:
        return [token for token in ids if token in self._acting]

    def _apart(self, pieces: Sequence[str], contents: Sequence[str]) -> list[int]:
        ids = self._encode(pieces[0])
        for content, piece in zip(contents, pieces[1:], strict=True):
            ids += self.encode_text(content) + (self.tokenizer.encode(piece, add_special_tokens=False) if piece else [])
        return ids

    def _encode(self, text: str) -> list[int]:
        """Ids of a text with its added tokens; our own format leaves the start of the text to the tokenizer."""
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=self.format == PLAIN)
        return found[:-1] if self.format == PLAIN and found[-1:] == [self.tokenizer.eos_token_id] else found

    def _frame(self, roles: tuple[str, ...]) -> tuple[list[str], list[int]]:
        """What stands around the messages of such roles, and the added tokens in it."""
        if roles not in self._frames:
            pieces = self._pieces(roles)
            self._frames[roles] = (pieces, self._actors(self._encode("x".join(pieces))))
        return self._frames[roles]

    def _pieces(self, roles: tuple[str, ...]) -> list[str]:
        """What stands before, between and after the messages; [] where the template raises, as some do at a role."""
        from jinja2 import TemplateError

        try:
            return _PLACE.split(self._render(roles))
        except TemplateError:
            return []

    def _render(self, roles: Sequence[str]) -> str:
        places = [f"\ue000{number}\ue001" for number in range(len(roles))]
        if self.format == PLAIN:
            turns = [f"{PLAIN_HEADS[role]}{place}\n\n" for role, place in zip(roles, places, strict=True)]
            return "".join(turns) + PLAIN_HEADS["assistant"]
        chat = [{"role": role, "content": place} for role, place in zip(roles, places, strict=True)]
        rendered: str = self.tokenizer.apply_chat_template(
            chat,
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,  # templates that know no thinking do not look at it
        )
        return rendered

    def _merged(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self._knows_system or len(messages) < 2 or messages[0].role != "system":
            return messages
        system, first, *rest = messages
        return [Message(first.role, f"{system.content}\n\n{first.content}"), *rest]

    @cached_property
    def _knows_system(self) -> bool:
        return len(self._pieces(("system", "user"))) == 3


def _woven(pieces: Sequence[str], contents: Sequence[str]) -> list[str]:
    return [part for pair in zip(pieces, [*contents, ""], strict=True) for part in pair]
