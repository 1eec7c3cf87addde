"""What a language model is shown of the pairs: plain arrays and lists, and batches of them as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hardneg.data.interactions import Interactions
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import DataError
from hardneg.finetuning.template import Template, Tokenised
from hardneg.types import Flags, Floats, Indices


@dataclass(frozen=True)
class PairInputs:
    """Train pairs, profiles and embeddings.

    user_profiles, item_profiles: a text for each, blank where there is none. users (n_users, size), items (n_items,
    size): e_u and e_v, the final embeddings of a backbone that saw train pairs alone. Raises DataError where lengths
    differ or a number is not finite.
    """

    pairs: Interactions
    user_profiles: Sequence[str]
    item_profiles: Sequence[str]
    users: Floats
    items: Floats

    def __post_init__(self) -> None:
        pairs = self.pairs
        for what, values, n in (
            ("user profiles", self.user_profiles, pairs.n_users),
            ("item profiles", self.item_profiles, pairs.n_items),
            ("user embeddings", self.users, pairs.n_users),
            ("item embeddings", self.items, pairs.n_items),
        ):
            if len(values) != n:
                raise DataError(f"found {len(values)} {what}, expected {n}, as in the pairs; use one split for all")
        for what, table in (("user", self.users), ("item", self.items)):
            if table.ndim != 2 or not np.isfinite(table).all():
                raise DataError(f"{what} embeddings of shape {table.shape} are no table of finite numbers; train again")

    def silent(self, template: Template) -> Flags:
        """(pairs,) True where a prompt says nothing of its pair: no embeddings, and both profiles blank or left out."""
        if template.config.embeddings:
            return np.zeros(len(self.pairs), bool)
        if not template.config.texts:
            return np.ones(len(self.pairs), bool)
        users, items = (_blank(texts) for texts in (self.user_profiles, self.item_profiles))
        return np.asarray(users[self.pairs.users] & items[self.pairs.items])

    def row_report(self, template: Template) -> RowReport:
        """How many pairs do without a profile, and how many get no vector."""
        users, items = (_blank(texts) for texts in (self.user_profiles, self.item_profiles))
        silent = self.silent(template)
        lacking = (users[self.pairs.users] | items[self.pairs.items]) & ~silent & template.config.texts
        found = (
            _entry(self.pairs, silent, "have no profile at all and no embeddings, so no vector"),
            _entry(self.pairs, lacking, "lack the user's or the item's profile; what is left was used"),
        )
        return tuple(entry for entry in found if entry.count)


@dataclass(frozen=True)
class EmbeddingSpace:
    """Where a table's vectors live: their size, and the root mean square of their numbers."""

    size: int
    rms: float = 1.0

    @classmethod
    def of(cls, table: Floats) -> EmbeddingSpace:
        """Of a table (rows, size); rows that are not finite do not count."""
        finite = table[np.isfinite(table).all(axis=1)].astype(np.float64)
        return cls(table.shape[1], float(np.sqrt(np.mean(finite**2))) if finite.any() else 1.0)


@dataclass(frozen=True)
class EmbeddingSpaces:
    """Of e_u, of e_v, and of labels, which are compared with e_v and so have their size."""

    users: EmbeddingSpace
    items: EmbeddingSpace
    labels: EmbeddingSpace


@dataclass(frozen=True)
class PromptBatch:
    """Prompts of some pairs. ids (batch, longest), anything behind the ends; lengths (batch,); prefixes (batch,), the
    tokens of instruction and user; users and items: e_u (batch, size) and e_v (batch, size)."""

    ids: Tensor
    lengths: Tensor
    prefixes: Tensor
    users: Tensor
    items: Tensor


def batch_of(inputs: PairInputs, tokens: Tokenised, rows: Indices, device: torch.device) -> PromptBatch:
    """The prompts of pair rows."""
    users, items = inputs.pairs.users[rows], inputs.pairs.items[rows]
    ids, lengths = padded([tokens.ids(u, i) for u, i in zip(users.tolist(), items.tolist(), strict=True)], device)
    prefixes = torch.from_numpy(tokens.prefix_lengths[users]).to(device)
    return PromptBatch(ids, lengths, prefixes, tensor(inputs.users[users], device), tensor(inputs.items[items], device))


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """(rows, longest) ids filled up with 0 behind, and (rows,) lengths."""
    lengths = np.array([len(row) for row in rows])
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = np.concatenate([np.asarray(row, np.int64) for row in rows])
    return torch.from_numpy(ids).to(device), torch.from_numpy(lengths).to(device)


def tensor(values: Floats, device: torch.device) -> Tensor:
    """Numbers as float32 on a device."""
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)


def lengths_of(inputs: PairInputs, tokens: Tokenised, rows: Indices) -> Indices:
    """(rows,) tokens of the prompts of pair rows."""
    users, items = inputs.pairs.users[rows], inputs.pairs.items[rows]
    return np.asarray(tokens.prefix_lengths[users] + tokens.suffix_lengths[items])


def _blank(texts: Sequence[str]) -> Flags:
    return np.array([not text.strip() for text in texts], bool)


def _entry(pairs: Interactions, concerned: Flags, reason: str) -> RowIssue:
    rows = np.flatnonzero(concerned)
    first = f"pair row {rows[0]}, user {pairs.users[rows[0]]}, item {pairs.items[rows[0]]}" if len(rows) else ""
    return RowIssue("profiles of train pairs", reason, len(rows), first, "write the missing profiles if you can")
