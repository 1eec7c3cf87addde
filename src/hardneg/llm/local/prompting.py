"""Token ids of chat messages, encoded so that no message can open or close a turn."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hardneg.llm.protocol import Message, Refusal

PLAIN = "plain"
"""Name of the format for models without a chat template."""
PLAIN_HEADS = {"system": "### System:\n", "user": "### User:\n", "assistant": "### Assistant:\n"}
_SLOT = re.compile("\ue000\\d+\ue001")


class PromptTokens:
    """A tokenizer with its chat format.

    A model without a chat template gets the format "plain": "### User:" and the like above each message. If a template
    takes no system role, the system message is put at the head of the first user message.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._frames: dict[tuple[str, ...], tuple[list[str], list[int]]] = {}

    @property
    def format(self) -> str:
        """Source of the chat format: "chat template" (the model's own) or "plain"."""
        return "chat template" if self.tokenizer.chat_template else PLAIN

    @cached_property
    def chat_markers(self) -> tuple[str, ...]:
        """Every added token of the tokenizer except white space, special or not."""
        return tuple(sorted(token for token in self.tokenizer.get_added_vocab() if token.strip()))

    @cached_property
    def _marker_ids(self) -> frozenset[int]:
        """Ids of added tokens that could act as markers: special ones, and others that are no word or white space."""
        added = self.tokenizer.added_tokens_decoder.items()
        return frozenset(
            token_id
            for token_id, token in added
            if token.special or not (token.content.isalnum() or token.content.isspace())
        )

    def encode_chat(self, messages: Sequence[Message]) -> list[int] | Refusal:
        """Return the token ids of a prompt that ends where the answer begins.

        Its markers are exactly those that the format writes. If a message would add one, the messages are tokenized
        separately as plain text; if that does not help, the prompt is refused.
        """
        merged = self._merge_system(messages)
        roles, contents = [message.role for message in merged], [message.content for message in merged]
        pieces, expected = self._frame(tuple(roles))
        if len(pieces) != len(contents) + 1:
            return Refusal(f"the model's chat template does not take messages of the roles {', '.join(roles)}")
        text = "".join(part for pair in zip(pieces, [*contents, ""], strict=True) for part in pair)
        if re.search("[\ud800-\udfff]", text):
            return Refusal("the prompt holds half a surrogate pair, which no tokenizer takes; clean it first")
        ids = self._encode(text)
        if self._markers(ids) != expected:
            ids = self._encode_separately(pieces, contents)
        if self._markers(ids) != expected:
            return Refusal("a message holds chat markers of the model, which could open a turn; clean it first")
        return ids

    def count(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt; 0 if it is refused."""
        ids = self.encode_chat(messages)
        return 0 if isinstance(ids, Refusal) else len(ids)

    def encode_text(self, text: str) -> list[int]:
        """Return the token ids of a plain text, in which added tokens are not recognised."""
        backend = self.tokenizer.backend_tokenizer
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        splitter = backend.pre_tokenizer
        parts = [text] if splitter is None else [part for part, _ in splitter.pre_tokenize_str(text)]
        return [token.id for part in parts if part for token in backend.model.tokenize(part)]

    def _markers(self, ids: Sequence[int]) -> list[int]:
        return [token for token in ids if token in self._marker_ids]

    def _encode_separately(self, pieces: Sequence[str], contents: Sequence[str]) -> list[int]:
        ids = self._encode(pieces[0])
        for content, piece in zip(contents, pieces[1:], strict=True):
            ids += self.encode_text(content) + (self.tokenizer.encode(piece, add_special_tokens=False) if piece else [])
        return ids

    def _encode(self, text: str) -> list[int]:
        """Encode a text with its added tokens; in the plain format the tokenizer adds its start tokens."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=self.format == PLAIN)
        return ids[:-1] if self.format == PLAIN and ids[-1:] == [self.tokenizer.eos_token_id] else ids

    def _frame(self, roles: tuple[str, ...]) -> tuple[list[str], list[int]]:
        """Return the text around messages of these roles, and the markers in it."""
        if roles not in self._frames:
            pieces = self._pieces(roles)
            self._frames[roles] = (pieces, self._markers(self._encode("x".join(pieces))))
        return self._frames[roles]

    def _pieces(self, roles: tuple[str, ...]) -> list[str]:
        """Return the text before, between and after the messages; [] if the template raises, as some do at a role."""
        from jinja2 import TemplateError

        slots = [f"\ue000{number}\ue001" for number in range(len(roles))]
        if self.format == PLAIN:
            turns = [f"{PLAIN_HEADS[role]}{slot}\n\n" for role, slot in zip(roles, slots, strict=True)]
            return _SLOT.split("".join(turns) + PLAIN_HEADS["assistant"])
        chat = [{"role": role, "content": slot} for role, slot in zip(roles, slots, strict=True)]
        try:
            rendered: str = self.tokenizer.apply_chat_template(
                chat,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,  # ignored by templates without this option
            )
        except TemplateError:
            return []
        return _SLOT.split(rendered)

    def _merge_system(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self._takes_system or len(messages) < 2 or messages[0].role != "system":
            return messages
        system, first, *rest = messages
        return [Message(first.role, f"{system.content}\n\n{first.content}"), *rest]

    @cached_property
    def _takes_system(self) -> bool:
        return len(self._pieces(("system", "user"))) == 3
