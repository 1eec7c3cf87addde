"""A local language model once it is loaded."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

from hardneg.llm.local.grammar import Grammars
from hardneg.llm.local.prompting import PromptTokens
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.protocol import LlmError


class LoadedModel:
    """Network, tokenizer and what hangs on them, each loaded when first needed.

    lock: to be held by whoever uses the network; one thread at a time may.
    """

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self.lock = threading.Lock()

    @cached_property
    def prompts(self) -> PromptTokens:
        """The chat format and the tokenizer."""
        return PromptTokens(self._source.tokenizer())

    @cached_property
    def model(self) -> Any:
        """The network."""
        return self._source.model()

    @cached_property
    def grammars(self) -> Grammars:
        """Automata of schemas."""
        return Grammars(self.prompts.tokenizer, self.ends[0])

    @cached_property
    def ends(self) -> list[int]:
        """Tokens that end an answer: those of the model's settings and the tokenizer's own, which comes first."""
        named = self.model.generation_config.eos_token_id
        ends = [named] if isinstance(named, int) else list(named or [])
        own = self.prompts.tokenizer.eos_token_id
        found = list(dict.fromkeys([*([] if own is None else [own]), *ends]))
        if not found:
            raise LlmError(f"model {self._source.name!r} names no end token; set eos_token in its tokenizer")
        return found

    @property
    def pad(self) -> int:
        """What fills short prompts; masked, so it does not matter what it is."""
        own = self.prompts.tokenizer.pad_token_id
        return self.ends[0] if own is None else int(own)
