"""Text embeddings from the hidden states of a causal language model, as a ChatModel (see `vectors`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from hardneg.llm.local.weights import LoadedModel, ModelSource
from hardneg.llm.protocol import Refusal, Reply, Request, Usage
from hardneg.llm.vectors import embedded_text, pack_vector
from hardneg.types import Floats

HiddenStatePooling = Literal["last", "mean"]


class PooledModel:
    """The last layer of a causal language model, pooled over a text: its last token, or the mean over its tokens.

    Vectors have unit length and the model's hidden size (4,096 in HNLMRec). Texts are tokenized without a chat format,
    with the tokenizer's own start tokens, and cut after `longest` tokens. Files: see `weights.ModelSource`.
    """

    concurrency = 1
    context_length: int | None = None
    """None: longer texts are cut."""

    def __init__(
        self, source: ModelSource, *, pooling: HiddenStatePooling = "last", longest: int = 512, batch_size: int = 16
    ) -> None:
        self._source, self._pooling, self._max_tokens, self.batch_size = source, pooling, longest, batch_size
        self.name = f"{source.name} ({pooling})"
        self._loaded = LoadedModel(source, "hidden states")

    @cached_property
    def identity(self) -> str:
        """Identity of the source, the pooling and the maximum number of tokens."""
        return f"{self._source.identity()}:{self._pooling} of {self._max_tokens}"

    @property
    def chat_markers(self) -> tuple[str, ...]:
        """Every added token of the tokenizer."""
        return self._loaded.prompts.chat_markers

    def count_tokens(self, request: Request) -> int:
        """Return the exact number of tokens that are encoded."""
        return len(self._ids(request))

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Encode a batch in another thread; a text without tokens is refused."""
        return await asyncio.to_thread(self._complete, requests)

    def _complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        with self._loaded.lock:
            started = time.perf_counter()
            ids = [self._ids(request) for request in requests]
            filled = [row for row in ids if row]
            vectors = iter(self._encode(filled) if filled else ())
            seconds = (time.perf_counter() - started) / max(len(requests), 1)
            return [
                Reply(pack_vector(next(vectors)), Usage(len(row), 0), seconds=seconds)
                if row
                else Refusal("a blank text")
                for row in ids
            ]

    def _encode(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return unit vectors (rows, hidden size). Padding follows the texts, where a causal model does not see it."""
        import torch

        model, longest = self._loaded.model, max(map(len, rows))
        ids = torch.tensor([[*row, *[row[0]] * (longest - len(row))] for row in rows], device=model.device)
        lengths = torch.tensor([len(row) for row in rows], device=ids.device)
        mask = torch.arange(longest, device=ids.device) < lengths[:, None]
        with torch.no_grad():
            states = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state.float()
        if self._pooling == "last":
            pooled = states[torch.arange(len(rows), device=ids.device), lengths - 1]
        else:
            pooled = (states * mask[:, :, None]).sum(1) / lengths[:, None]
        vectors: Floats = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors

    def _ids(self, request: Request) -> list[int]:
        text = embedded_text(request).encode("utf-8", "ignore").decode()
        ids = self._loaded.prompts.encode_text(text)
        return [*self._start_tokens, *ids][: self._max_tokens] if ids else []

    @cached_property
    def _start_tokens(self) -> list[int]:
        """Tokens that the tokenizer sets before a text, such as its beginning-of-text token."""
        tokenizer = self._loaded.prompts.tokenizer
        return [token for token in tokenizer("").input_ids if token != tokenizer.eos_token_id]
