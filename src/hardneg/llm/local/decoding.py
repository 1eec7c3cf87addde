"""Answers of a causal language model, many at a time."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from hardneg.llm.local.cached_rows import CachedRows, UnsupportedAttention
from hardneg.llm.local.forward import forward, padded_left
from hardneg.llm.local.prefixes import PrefixCache
from hardneg.llm.local.shared_prompts import SharedPrompts
from hardneg.llm.local.token_choice import DecodedText, DecodingJob, OpenAnswer

MAX_ROWS = {"cpu": 64, "cuda": 256}
"""Maximum number of answers that are decoded at a time, by the type of device."""
MEMORY_SHARE = 0.25
"""Share of the free memory for the keys and values of answers."""
MEMORY = Path("/proc/meminfo")
"""File in which Linux states the memory that is free."""


def decode(
    model: Any, jobs: Sequence[DecodingJob], *, ends: Sequence[int], pad: int, prefixes: PrefixCache | None = None
) -> list[DecodedText]:
    """Decode answers, as many at a time as memory allows; one that ends makes room for the next.

    ends: tokens that end an answer; constraints use ends[0]. prefixes: keeps a prefix of all prompts for later calls. An
    answer does not depend on the others, up to rounding: in 16 bits the last digits of scores do.
    """
    answers = [OpenAnswer(job, ends, model.device) for job in jobs]
    if supports_cached_rows(model):
        _RowDecoder(model, jobs, answers, prefixes or PrefixCache(model)).run()
    else:
        _decode_padded(model, jobs, answers, pad)
    return [DecodedText(answer.ids, answer.ended) for answer in answers]


class _RowDecoder:
    """Decodes answers in the rows of a `CachedRows`; jobs with equal beginnings compute them once."""

    def __init__(
        self, model: Any, jobs: Sequence[DecodingJob], answers: Sequence[OpenAnswer], prefixes: PrefixCache
    ) -> None:
        self._jobs, self._answers = jobs, answers
        self._prompts = SharedPrompts(model, [job.ids for job in jobs], prefixes)
        self._waiting = deque(self._prompts.order)
        self._rows = CachedRows(model, self._prompts.prefix)
        self._active: list[int] = []
        self._next: list[list[int]] = []
        self._n_rows = _rows_in_memory(model, max(len(job.ids) + job.limit for job in jobs) - self._prompts.depth)

    def run(self) -> None:
        """Decode all answers."""
        while self._waiting or self._active:
            if self._waiting and 2 * len(self._active) <= self._n_rows:
                self._start()
            drafts = [self._answers[job].draft() for job in self._active]
            tokens = [[*new, *draft] for new, draft in zip(self._next, drafts, strict=True)]
            if self._active:
                self._step(tokens, drafts)

    def _start(self) -> None:
        """Take waiting jobs into free rows and choose their first tokens."""
        before, free = len(self._active), self._n_rows - len(self._active)
        waiting = [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]
        columns = max(len(self._jobs[job].ids) + self._jobs[job].limit for job in waiting) - self._prompts.depth
        new, tokens = self._prompts.add_to(self._rows, waiting, columns)
        self._active += new
        self._next += [[]] * len(new)
        self._step(tokens, [()] * len(new), before)

    def _step(self, tokens: Sequence[Sequence[int]], drafts: Sequence[Sequence[int]], first: int = 0) -> None:
        """Append tokens to the rows from `first` on, the last of them drafts, and take the next tokens."""
        scores = self._rows.append(tokens, [1 + len(draft) for draft in drafts], first)
        best = scores.argmax(1).tolist()
        position = 0
        for row, draft in enumerate(drafts, first):
            part = slice(position, position := position + 1 + len(draft))
            taken, self._next[row] = self._answers[self._active[row]].follow(scores[part], best[part], draft)
            self._rows.lengths[row] -= len(draft) - taken
        for row in range(len(self._active) - 1, first - 1, -1):
            if self._answers[self._active[row]].done:
                self._rows.remove(row)
                self._active[row], self._next[row] = self._active[-1], self._next[-1]
                self._active.pop()
                self._next.pop()


def _rows_in_memory(model: Any, columns: int) -> int:
    """Return how many answers of that many tokens are decoded at a time."""
    import torch

    config, device = model.config.get_text_config(), model.device.type
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token = config.num_hidden_layers * heads * size * (4 + model.dtype.itemsize)
    free = torch.cuda.mem_get_info(model.device)[0] if device == "cuda" else _free_memory()
    return max(1, min(MAX_ROWS.get(device, 64), int(MEMORY_SHARE * free / (per_token * columns))))


def _free_memory() -> int:
    """Return the bytes of memory that are free or can be freed; 4 GiB where the system does not tell."""
    try:
        text = MEMORY.read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 4 * 2**30


_supported: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def supports_cached_rows(model: Any) -> bool:
    """Return whether `CachedRows` can be used: full attention through transformers' attention interface.

    Found out once for each model, by comparing the scores of two short texts with those of the model itself.
    """
    if model not in _supported:
        config, parameters = model.config.get_text_config(), inspect.signature(model.forward).parameters
        kinds = getattr(config, "layer_types", None) or ["full_attention"]
        _supported[model] = (
            bool(getattr(model, "_supports_attention_backend", False))
            and set(kinds) == {"full_attention"}
            and {"position_ids", "logits_to_keep"} <= set(parameters)
            and _same_scores(model)
        )
    return _supported[model]


def _same_scores(model: Any) -> bool:
    """Compare the scores after two texts with a common prefix, computed once, with those of the model by itself."""
    import torch

    texts, expected = [[5, 3, 8, 6, 7], [5, 3, 9, 2]], []
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([text], device=model.device)
            expected.append(forward(model, ids, torch.ones_like(ids), n_logits=1).logits[0, -1].float())
    try:
        rows = CachedRows(model, PrefixCache(model).prefix(texts[0][:2]))
        rows.add(2, 3)
        scores = rows.append([text[2:] for text in texts], [1, 1])
    except UnsupportedAttention:
        return False
    whole = torch.stack(expected)
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.3  # such texts bring out the rounding of 16 bits
    return bool((scores - whole).norm() <= tolerance * whole.norm())


def _decode_padded(model: Any, jobs: Sequence[DecodingJob], answers: Sequence[OpenAnswer], pad: int) -> None:
    """Decode one token of all answers at a time, with transformers' cache; prompts are padded on the left."""
    import torch

    ids, mask = padded_left([job.ids for job in jobs], pad, model.device)
    queues: list[list[int]] = [[] for _ in jobs]
    cache = None
    while not all(answer.done and not queue for answer, queue in zip(answers, queues, strict=True)):
        with torch.no_grad():
            output = forward(model, ids, mask, n_logits=1, use_cache=True, past_key_values=cache)
        cache, scores = output.past_key_values, output.logits[:, -1].float()
        best = scores.argmax(1).tolist()
        for row, (answer, queue) in enumerate(zip(answers, queues, strict=True)):
            if not queue and not answer.done:
                queue.extend(answer.follow(scores[row, None], [best[row]], ())[1])
        ids = torch.tensor([[queue.pop(0) if queue else pad] for queue in queues], device=model.device)
        mask = torch.cat([mask, torch.ones_like(ids)], 1)
