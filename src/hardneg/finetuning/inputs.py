"""Inputs of the language model for every training pair: plain arrays and lists, and batches of them as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hardneg.data.interactions import Interactions
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import DataError
from hardneg.finetuning.template import Template, TokenisedPrompts
from hardneg.types import Flags, Floats, Indices


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
