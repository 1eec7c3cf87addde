"""Inputs of the language model for every training pair: hybrid prompts (Eq. 11 of HNLMRec) and their batches as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardneg.config import Config, PerRow
from hardneg.data.interactions import Interactions
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import ConfigError, DataError
from hardneg.llm.local.weights import PromptTokens
from hardneg.llm.untrusted import clean
from hardneg.random import generator
from hardneg.types import Flags, Floats, Indices

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
    profile_tokens: PerRow = 128
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


@dataclass(frozen=True)
class PairInputs:
    """Training pairs with profiles and embeddings.

    user_profiles, item_profiles: one text each, blank if missing. users (n_users, size), items (n_items, size): e_u and
    e_v, the final embeddings of a backbone trained on the training pairs alone. Raises DataError if lengths differ or a
    number is not finite.
    """

    pairs: Interactions
    user_profiles: Sequence[str]
    item_profiles: Sequence[str]
    users: Floats
    items: Floats

    def __post_init__(self) -> None:
        pairs = self.pairs
        for name, values, n in (
            ("user profiles", self.user_profiles, pairs.n_users),
            ("item profiles", self.item_profiles, pairs.n_items),
            ("user embeddings", self.users, pairs.n_users),
            ("item embeddings", self.items, pairs.n_items),
        ):
            if len(values) != n:
                raise DataError(f"found {len(values)} {name}, expected {n}, as in the pairs; use one split for all")
        for name, table in (("user", self.users), ("item", self.items)):
            if table.ndim != 2 or not np.isfinite(table).all():
                raise DataError(
                    f"found {name} embeddings of shape {table.shape}, expected a table of finite numbers; train again"
                )

    def has_empty_prompt(self, template: Template) -> Flags:
        """Return (pairs,) True where a prompt has no content of its pair: no embeddings, no profiles or blank ones."""
        if template.config.embeddings:
            return np.zeros(len(self.pairs), bool)
        if not template.config.texts:
            return np.ones(len(self.pairs), bool)
        users, items = _is_blank(self.user_profiles), _is_blank(self.item_profiles)
        return np.asarray(users[self.pairs.users] & items[self.pairs.items])

    def row_report(self, template: Template) -> RowReport:
        """Count pairs without a profile and pairs that get no vector."""
        users, items = _is_blank(self.user_profiles), _is_blank(self.item_profiles)
        empty = self.has_empty_prompt(template)
        partial = (users[self.pairs.users] | items[self.pairs.items]) & ~empty & template.config.texts
        issues = (
            _issue(self.pairs, empty, "have no profile and no embeddings, so no vector"),
            _issue(self.pairs, partial, "lack the user's or the item's profile; the rest of the prompt is used"),
        )
        return tuple(issue for issue in issues if issue.count)


@dataclass(frozen=True)
class EmbeddingSpace:
    """Size of a table's vectors, and the root mean square of their numbers."""

    size: int
    rms: float = 1.0

    @classmethod
    def of(cls, table: Floats) -> EmbeddingSpace:
        """Measure a table (rows, size); rows that are not finite are ignored."""
        finite = table[np.isfinite(table).all(axis=1)].astype(np.float64)
        return cls(table.shape[1], float(np.sqrt(np.mean(finite**2))) if finite.any() else 1.0)


@dataclass(frozen=True)
class EmbeddingSpaces:
    """Spaces of e_u, e_v and the labels. Labels have the size of e_v, with which they are compared."""

    users: EmbeddingSpace
    items: EmbeddingSpace
    labels: EmbeddingSpace


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of some pairs.

    ids: (batch, longest), padded behind. lengths: (batch,) tokens. prefixes: (batch,) tokens of instruction and user.
    users, items: e_u (batch, size) and e_v (batch, size).
    """

    ids: Tensor
    lengths: Tensor
    prefixes: Tensor
    users: Tensor
    items: Tensor


def prompt_batch(inputs: PairInputs, tokens: TokenisedPrompts, rows: Indices, device: torch.device) -> PromptBatch:
    """Return the prompts of pair indices."""
    users, items = inputs.pairs.users[rows], inputs.pairs.items[rows]
    ids, lengths = pad_ids([tokens.ids(u, i) for u, i in zip(users.tolist(), items.tolist(), strict=True)], device)
    prefixes = torch.from_numpy(tokens.prefix_lengths[users]).to(device)
    embeddings = float_tensor(inputs.users[users], device), float_tensor(inputs.items[items], device)
    return PromptBatch(ids, lengths, prefixes, *embeddings)


def pad_ids(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids (rows, longest), padded with 0 behind, and lengths (rows,)."""
    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate([np.asarray(row, np.int64) for row in rows])
    return torch.from_numpy(ids).to(device), torch.from_numpy(lengths).to(device)


def float_tensor(values: Floats, device: torch.device) -> Tensor:
    """Return numbers as float32 on a device."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)


def prompt_lengths(inputs: PairInputs, tokens: TokenisedPrompts, rows: Indices) -> Indices:
    """Return (rows,) the number of tokens of the prompts of pair indices."""
    users, items = inputs.pairs.users[rows], inputs.pairs.items[rows]
    return np.asarray(tokens.prefix_lengths[users] + tokens.suffix_lengths[items])


def _is_blank(texts: Sequence[str]) -> Flags:
    return np.array([not text.strip() for text in texts], bool)


def _issue(pairs: Interactions, affected: Flags, reason: str) -> RowIssue:
    rows = np.flatnonzero(affected)
    first = f"pair index {rows[0]}, user {pairs.users[rows[0]]}, item {pairs.items[rows[0]]}" if len(rows) else ""
    return RowIssue("profiles of train pairs", reason, len(rows), first, "write the missing profiles if you can")


LabelledPairs = tuple[PairInputs, Floats]
"""Inputs of a data set's pairs, and their labels (pairs, size)."""


def rescale_inputs(inputs: PairInputs, labels: Floats) -> LabelledPairs:
    """Divide e_u by the root mean square of the users' table, e_v and labels by that of the items'.

    The scale of embeddings depends on a data set's size and training, so it means nothing across data sets. Labels are
    mixtures of items and keep their norm relative to items. Float32.
    """
    users, items = (1 / (EmbeddingSpace.of(table).rms or 1.0) for table in (inputs.users, inputs.items))
    unit_inputs = replace(
        inputs,
        users=(inputs.users * users).astype(np.float32),
        items=(inputs.items * items).astype(np.float32),
    )
    return unit_inputs, np.asarray(labels, np.float32) * np.float32(items)


def pool_sets(sets: Sequence[LabelledPairs]) -> LabelledPairs:
    """Concatenate the users, items and pairs of data sets.

    Users and items are renumbered by offsets; a pool of one set is that set. In-batch negatives come from all sets,
    unless `tune` gets the `set_numbers`. Raises DataError if embeddings or labels have different sizes.
    """
    sizes = {(inputs.users.shape[1], inputs.items.shape[1], labels.shape[1]) for inputs, labels in sets}
    if len(sizes) != 1:
        raise DataError(f"found embeddings and labels of sizes {sorted(sizes)}, expected one; train all with one size")
    all_inputs = [inputs for inputs, _ in sets]
    users = [0, *accumulate(inputs.pairs.n_users for inputs in all_inputs)]
    items = [0, *accumulate(inputs.pairs.n_items for inputs in all_inputs)]
    pairs = Interactions(
        np.concatenate([inputs.pairs.users + first for inputs, first in zip(all_inputs, users, strict=False)]),
        np.concatenate([inputs.pairs.items + first for inputs, first in zip(all_inputs, items, strict=False)]),
        users[-1],
        items[-1],
    )
    pooled = PairInputs(
        pairs,
        [text for inputs in all_inputs for text in inputs.user_profiles],
        [text for inputs in all_inputs for text in inputs.item_profiles],
        np.concatenate([inputs.users for inputs in all_inputs]),
        np.concatenate([inputs.items for inputs in all_inputs]),
    )
    return pooled, np.concatenate([labels for _, labels in sets])


def draw_pairs(n_pairs: int, *, seed: int = 0) -> Indices:
    """Return (n_pairs,) pair indices in random order. Tuning uses its front, evaluation its back."""
    return generator(seed, "pairs of a set").permutation(n_pairs)


def select_pairs(labelled: LabelledPairs, rows: Indices) -> LabelledPairs:
    """Select pairs by pair index, in any order; users and items keep their numbers."""
    (inputs, labels), rows = labelled, np.sort(rows)
    pairs = inputs.pairs
    selected = Interactions(pairs.users[rows], pairs.items[rows], pairs.n_users, pairs.n_items)
    return replace(inputs, pairs=selected), labels[rows]


def set_numbers(sets: Sequence[LabelledPairs]) -> Indices:
    """Return (pairs,) the number of the data set of every pair in the pool."""
    return np.repeat(np.arange(len(sets)), [len(inputs.pairs) for inputs, _ in sets])
