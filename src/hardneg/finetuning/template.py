"""The hybrid prompt of HNLMRec (Eq. 11) as token ids, for tuning and synthesis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import PositiveInt

from hardneg.config import Config
from hardneg.errors import ConfigError
from hardneg.llm.local.prompting import PromptTokens
from hardneg.llm.untrusted import clean
from hardneg.types import Indices

USER, ITEM = -1, -2
"""Ids that mark the positions of e_u and e_v. Tokens of texts have no negative ids."""
CHARACTERS_PER_TOKEN = 12
"""Texts are cut to this many characters per allowed token before tokenization; nearly all tokens are shorter."""
INSTRUCTION = (
    "A user chose an item. Describe another item that is very close to it and to the user's taste, "
    "and that the user would still not choose."
)


class TemplateConfig(Config):
    """Content of the prompts."""

    instruction: str = INSTRUCTION
    """Instruction; it comes first, so that all pairs share it."""
    texts: bool = True
    """Include the profiles; without them prompts differ in e_u and e_v only."""
    embeddings: bool = True
    """Include e_u and e_v; without them the model reads texts only."""
    profile_tokens: PositiveInt = 128
    """Maximum number of tokens of a profile."""


@dataclass(frozen=True)
class TokenisedPrompts:
    """Prompts in two parts: a pair's prompt is prefixes[user] (instruction and user) + suffixes[item]."""

    prefixes: Sequence[Sequence[int]]
    suffixes: Sequence[Sequence[int]]

    @cached_property
    def prefix_lengths(self) -> Indices:
        """Number of tokens, (n_users,)."""
        return np.array([len(ids) for ids in self.prefixes], np.int64)

    @cached_property
    def suffix_lengths(self) -> Indices:
        """Number of tokens, (n_items,)."""
        return np.array([len(ids) for ids in self.suffixes], np.int64)

    def ids(self, user: int, item: int) -> list[int]:
        """Return the prompt of a pair."""
        return [*self.prefixes[user], *self.suffixes[item]]


class Template:
    """Instruction, user, item: Q = Prompt(I, e_u, P_u, e_v, P_v) (Eq. 11 of HNLMRec, arXiv 2504.04726v1).

        [start] instruction "User:" [e_u] profile "Item:" [e_v] profile [end]

    start and end are the tokens that the tokenizer adds to a text (CLS and SEP, or the beginning token) and its end
    token, at which decoders are pooled. There is no chat format. Profiles are untrusted text: they are cleaned, and
    tokenized as bare text, in which special tokens are not recognized. The marks of e_u and e_v are ids that no text has.
    A blank profile is left out: the embedding alone suffices.
    """

    def __init__(self, tokenizer: Any, config: TemplateConfig | None = None) -> None:
        self.config = config or TemplateConfig()
        self._prompts = PromptTokens(tokenizer)
        self._start, self._end = _start_and_end(tokenizer)

    @property
    def longest(self) -> int:
        """Maximum number of tokens of a prompt."""
        return len(self.prefix("")) + len(self.suffix("")) + 2 * self.config.profile_tokens * self.config.texts

    def require_context_length(self, context_length: int | None) -> None:
        """Raise ConfigError if a prompt could be longer than the context."""
        if context_length is not None and self.longest > context_length:
            raise ConfigError(
                f"prompts may have {self.longest} tokens, but the model reads {context_length}; lower profile_tokens"
            )

    def prefix(self, profile: str) -> list[int]:
        """Return the ids of the instruction and a user; they do not depend on the item."""
        opening = self._prompts.encode_text(self.config.instruction + "\nUser:")
        return [*self._start, *opening, *self._mark(USER), *self._profile(profile)]

    def suffix(self, profile: str) -> list[int]:
        """Return the ids of an item and the end; they do not depend on the user."""
        return [*self._prompts.encode_text("\nItem:"), *self._mark(ITEM), *self._profile(profile), *self._end]

    def tokenise(self, user_profiles: Sequence[str], item_profiles: Sequence[str]) -> TokenisedPrompts:
        """Tokenize every profile once."""
        return TokenisedPrompts(
            [self.prefix(text) for text in user_profiles], [self.suffix(text) for text in item_profiles]
        )

    def _mark(self, mark: int) -> list[int]:
        return [mark] if self.config.embeddings else []

    def _profile(self, text: str) -> list[int]:
        """Return the ids of a cleaned profile, at most `profile_tokens`."""
        if not self.config.texts:
            return []
        longest = self.config.profile_tokens
        cleaned = clean(text, chat_markers=self._prompts.chat_markers, max_length=longest * CHARACTERS_PER_TOKEN)
        return self._prompts.encode_text(f" {cleaned}")[:longest] if cleaned else []


def _start_and_end(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the tokens before a text, and the token that ends it: the end token, or an encoder's separator."""
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    start = [token for token in tokenizer("").input_ids if token not in (end, tokenizer.sep_token_id)]
    return start, [] if end is None else [int(end)]
