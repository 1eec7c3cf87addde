"""The hybrid prompt of HNLMRec (Eq. 11) as token ids: one object for tuning and for synthesis."""

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
"""What stands in the ids where the embedding of a user or an item goes. No text becomes a negative id."""
CHARACTERS_PER_TOKEN = 12
"""Texts are cut to so many characters a token before they are tokenised; nearly all tokens are shorter."""
INSTRUCTION = (
    "A user chose an item. Describe another item that is very close to it and to the user's taste, "
    "and that the user would still not choose."
)


class TemplateConfig(Config):
    """What a prompt says."""

    instruction: str = INSTRUCTION
    """What the model is asked for; stands first, so that it is shared by all pairs."""
    texts: bool = True
    """Tell the profiles; without, e_u and e_v are all that differs between prompts."""
    embeddings: bool = True
    """Leave a place for e_u and for e_v; without, the model reads texts alone."""
    profile_tokens: PositiveInt = 128
    """Longer profiles are cut after so many tokens."""


@dataclass(frozen=True)
class Tokenised:
    """Prompts of a catalogue in parts: prefixes[user] (instruction and user) + suffixes[item] is a pair's prompt."""

    prefixes: Sequence[Sequence[int]]
    suffixes: Sequence[Sequence[int]]

    @cached_property
    def prefix_lengths(self) -> Indices:
        """(n_users,) tokens."""
        return np.array([len(ids) for ids in self.prefixes], np.int64)

    @cached_property
    def suffix_lengths(self) -> Indices:
        """(n_items,) tokens."""
        return np.array([len(ids) for ids in self.suffixes], np.int64)

    def ids(self, user: int, item: int) -> list[int]:
        """A pair's prompt."""
        return [*self.prefixes[user], *self.suffixes[item]]


class Template:
    """Instruction, user, item: Q = Prompt(I, e_u, P_u, e_v, P_v) (Eq. 11 of HNLMRec, arXiv 2504.04726v1).

        [start] instruction "User:" [e_u] profile "Item:" [e_v] profile [end]

    start and end are what the tokenizer sets around a text (CLS and SEP, or the beginning token) and its end token,
    which decoders are pooled at. There is no chat format. Profiles are strangers' words: they are cleaned, and
    tokenised as bare text, in which no added token is recognised; the places of e_u and e_v are ids that no text has.
    A blank profile leaves its place empty: the embedding alone suffices.
    """

    def __init__(self, tokenizer: Any, config: TemplateConfig | None = None) -> None:
        self.config = config or TemplateConfig()
        self._prompts = PromptTokens(tokenizer)
        self._start, self._end = _frame(tokenizer)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt that there can be."""
        return len(self.prefix("")) + len(self.suffix("")) + 2 * self.config.profile_tokens * self.config.texts

    def require_room(self, positions: int | None) -> None:
        """Raise ConfigError where a prompt could be longer than what the model looks at."""
        if positions is not None and self.longest > positions:
            raise ConfigError(
                f"prompts may have {self.longest} tokens, but the model looks at {positions}; lower profile_tokens"
            )

    def prefix(self, profile: str) -> list[int]:
        """Ids of the instruction and a user; a function of the user alone."""
        opening = self._prompts.encode_text(self.config.instruction + "\nUser:")
        return [*self._start, *opening, *self._place(USER), *self._profile(profile)]

    def suffix(self, profile: str) -> list[int]:
        """Ids of an item and the end; a function of the item alone."""
        return [*self._prompts.encode_text("\nItem:"), *self._place(ITEM), *self._profile(profile), *self._end]

    def tokenised(self, user_profiles: Sequence[str], item_profiles: Sequence[str]) -> Tokenised:
        """Every profile once."""
        return Tokenised([self.prefix(text) for text in user_profiles], [self.suffix(text) for text in item_profiles])

    def _place(self, mark: int) -> list[int]:
        return [mark] if self.config.embeddings else []

    def _profile(self, text: str) -> list[int]:
        """Ids of a cleaned profile, at most `profile_tokens`."""
        if not self.config.texts:
            return []
        longest = self.config.profile_tokens
        cleaned = clean(text, chat_markers=self._prompts.chat_markers, max_length=longest * CHARACTERS_PER_TOKEN)
        return self._prompts.encode_text(f" {cleaned}")[:longest] if cleaned else []


def _frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer sets before a text, and the token that ends it: the end token, or an encoder's separator."""
    end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    alone = [token for token in tokenizer("").input_ids if token not in (end, tokenizer.sep_token_id)]
    return alone, [] if end is None else [int(end)]
