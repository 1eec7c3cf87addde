"""Texts to vectors by the hidden states of a causal language model, in the guise of a ChatModel (see `vectors`)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from hardneg.llm.local.prompting import PromptTokens
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.protocol import Refusal, Reply, Request, Usage
from hardneg.llm.vectors import embedded_text, pack_vector
from hardneg.types import Floats

HiddenStatePooling = Literal["last", "mean"]


class PooledModel:
    """The last layer of a causal language model, pooled over a text: its last token, or the mean over its tokens.

    Vectors have unit length and the model's hidden size (4,096 in HNLMRec's case). Texts are tokenised as bare text with
    the tokenizer's own start, no chat format, and cut after `longest` tokens. See `weights.Source` for the files.
    """

    concurrency = 1

    def __init__(
        self, source: ModelSource, *, pooling: HiddenStatePooling = "last", longest: int = 512, batch_size: int = 16
    ) -> None:
        self._source, self._pooling, self._longest, self.batch_size = source, pooling, longest, batch_size
        self.name = f"{source.name} ({pooling})"
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"PooledModel({self.name!r})"

    @cached_property
    def identity(self) -> str:
        """The model's, the pooling and the cut."""
        return f"{self._source.identity()}:{self._pooling} of {self._longest}"

    @property
    def context_length(self) -> int | None:
        """None: longer texts are cut."""
        return None

    @property
    def chat_markers(self) -> tuple[str, ...]:
        """Every added token of the tokenizer."""
        return self._prompts.chat_markers

    def count_tokens(self, request: Request) -> int:
        """Tokens of the text, exactly, at most as many as are read."""
        return len(self._ids(request))

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Encode a batch in another thread; a text without tokens is refused."""
        return await asyncio.to_thread(self._complete, requests)

    def _complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        with self._lock:
            started = time.perf_counter()
            ids = [self._ids(request) for request in requests]
            filled = [row for row in ids if row]
            vectors = iter(self._pooled(filled)) if filled else iter(())
            seconds = (time.perf_counter() - started) / max(len(requests), 1)
            return [
                Reply(pack_vector(next(vectors)), Usage(len(row), 0), seconds=seconds)
                if row
                else Refusal("a blank text")
                for row in ids
            ]

    def _pooled(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Unit vectors (rows, hidden size). Padding stands behind the texts, where a causal model does not see it."""
        import torch

        longest = max(map(len, rows))
        ids = torch.tensor([[*row, *[row[0]] * (longest - len(row))] for row in rows], device=self._model.device)
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        mask = torch.arange(longest, device=ids.device) < lengths[:, None]
        with torch.no_grad():
            states = self._model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
        if self._pooling == "last":
            found = states[torch.arange(len(rows), device=ids.device), lengths - 1]
        else:
            found = (states * mask[:, :, None]).sum(1) / lengths[:, None]
        vectors: Floats = torch.nn.functional.normalize(found, dim=1).cpu().numpy()
        return vectors

    def _ids(self, request: Request) -> list[int]:
        text = embedded_text(request).encode("utf-8", "ignore").decode()
        found = self._prompts.encode_text(text)
        return [*self._start, *found][: self._longest] if found else []

    @cached_property
    def _start(self) -> list[int]:
        """What the tokenizer sets before a text, such as its beginning-of-text token."""
        tokenizer = self._prompts.tokenizer
        alone = tokenizer("").input_ids
        return [token for token in alone if token != tokenizer.eos_token_id]

    @cached_property
    def _prompts(self) -> PromptTokens:
        return PromptTokens(self._source.tokenizer())

    @cached_property
    def _model(self) -> Any:
        return self._source.model("hidden states")
