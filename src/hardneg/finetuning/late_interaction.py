"""User and item read apart by all layers but the last: each is computed once, and a pair costs one token of one layer.

An encoder that reads whole prompts computes the same texts again for every pair. Here the instruction with the user, and
the item, go through the lower layers alone; in the last layer the prompt's end token looks at both. That is another
function than the paper's (whose decoder lets the item's tokens look at the user's from the first layer on), with the
same weights; tuning and writing share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hardneg.errors import ConfigError
from hardneg.finetuning.inputs import PromptBatch

TYPES = ("bert", "roberta", "xlm-roberta", "camembert")
"""Types of models whose layers have the names that are used here."""


@dataclass(frozen=True)
class EncodedSide:
    """One side of some prompts as the last layer sees it.

    keys, values: (parts, longest, width). present: (parts, longest), False behind the ends. ends: (parts, width), the
    last token's state.
    """

    keys: Tensor
    values: Tensor
    present: Tensor
    ends: Tensor

    def at(self, index: Tensor) -> EncodedSide:
        """Some of them, in any order and number."""
        return EncodedSide(self.keys[index], self.values[index], self.present[index], self.ends[index])


class SideEncoder(Protocol):
    """What is needed of whoever reads prompts so: the network, and its input embeddings with e_u and e_v in their places."""

    @property
    def inner(self) -> Any:
        """The network, with adapters in it where it has any."""

    def embedded(self, ids: Tensor, users: Tensor | None, items: Tensor | None) -> Tensor:
        """(parts, longest, token size)."""


def require_late_interaction(config: Any) -> None:
    """Raise ConfigError for a model that cannot be read so."""
    if config.model_type not in TYPES or getattr(config, "is_decoder", False):
        raise ConfigError(
            f"a {config.model_type} model cannot read user and item apart, expected an encoder ({', '.join(TYPES)}); "
            "take reading=joint (decoders compute a user's part once anyway)"
        )


def pair_vectors(reader: SideEncoder, batch: PromptBatch) -> Tensor:
    """(batch, width): the end token's state of each whole prompt."""
    prefixes = encode_side(
        reader, *_cut(batch.ids, torch.zeros_like(batch.prefixes), batch.prefixes), batch.users, None
    )
    rest = batch.lengths - batch.prefixes
    return join_sides(reader, prefixes, encode_side(reader, *_cut(batch.ids, batch.prefixes, rest), None, batch.items))


def encode_side(
    reader: SideEncoder, ids: Tensor, lengths: Tensor, users: Tensor | None, items: Tensor | None
) -> EncodedSide:
    """ids (parts, longest) through all layers but the last, and into its keys and values."""
    inner = reader.inner
    present = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    hidden = torch.where(present, 0.0, torch.finfo(torch.bfloat16).min)[:, None, None, :]
    states = inner.embeddings(inputs_embeds=reader.embedded(ids, users, items))
    for layer in inner.encoder.layer[:-1]:
        states = layer(states, hidden)
    attention = inner.encoder.layer[-1].attention.self
    ends = states[torch.arange(len(ids), device=ids.device), lengths - 1]
    return EncodedSide(attention.key(states), attention.value(states), present, ends)


def join_sides(reader: SideEncoder, prefixes: EncodedSide, suffixes: EncodedSide) -> Tensor:
    """(pairs, width): the last layer for the end token of each suffix, which looks at both parts."""
    layer: Any = reader.inner.encoder.layer[-1]
    attention = layer.attention.self
    queries = _heads(attention.query(suffixes.ends), attention)[:, None] * attention.scaling
    scores = torch.cat([_scores(queries, side, attention) for side in (prefixes, suffixes)], dim=1)
    shares = nn.functional.dropout(scores.softmax(dim=1), attention.dropout.p, attention.training)
    cut = prefixes.keys.shape[1]
    found = _mixed(shares[:, :cut], prefixes, attention) + _mixed(shares[:, cut:], suffixes, attention)
    looked = layer.attention.output(found.flatten(1), suffixes.ends)
    states: Tensor = layer.output(layer.intermediate(looked), looked)
    return states


def _scores(queries: Tensor, side: EncodedSide, attention: Any) -> Tensor:
    """(pairs, longest, heads); -inf behind the ends."""
    found = (_heads(side.keys, attention).to(queries.dtype) * queries).sum(dim=-1)
    return found.masked_fill(~side.present[:, :, None], -torch.inf)


def _mixed(shares: Tensor, side: EncodedSide, attention: Any) -> Tensor:
    """(pairs, heads, head size)."""
    return (_heads(side.values, attention).to(shares.dtype) * shares[..., None]).sum(dim=1)


def _heads(states: Tensor, attention: Any) -> Tensor:
    found: Tensor = states.view(*states.shape[:-1], attention.num_attention_heads, attention.attention_head_size)
    return found


def _cut(ids: Tensor, starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Columns starts..starts + lengths of each row, set to the left."""
    columns = starts[:, None] + torch.arange(int(lengths.max()), device=ids.device)
    return ids.gather(1, columns.clamp(max=ids.shape[1] - 1)), lengths
