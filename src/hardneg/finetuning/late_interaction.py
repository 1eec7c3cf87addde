"""Late interaction: user and item are encoded separately by all layers but the last, so each is computed once.

An encoder that reads whole prompts computes the same texts again for every pair. Here the lower layers see either the
instruction with the user, or the item. In the last layer the prompt's end token attends to both, so a pair costs one
token of one layer. This is another function than the paper's, whose decoder lets the item's tokens attend to the user's
from the first layer on. It has the same weights; tuning and synthesis both use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hardneg.errors import ConfigError
from hardneg.finetuning.inputs import PromptBatch

if TYPE_CHECKING:
    from hardneg.finetuning.model import HardNegativeEncoder

TYPES = ("bert", "roberta", "xlm-roberta", "camembert")
"""Model types whose layers have the names used here."""


@dataclass(frozen=True)
class EncodedSide:
    """Users or items as the last layer sees them.

    keys, values: (rows, longest, width). present: (rows, longest), False for padding. ends: (rows, width), the state of
    the last token.
    """

    keys: Tensor
    values: Tensor
    present: Tensor
    ends: Tensor

    def at(self, index: Tensor) -> EncodedSide:
        """Select rows, in any order, with repeats."""
        return EncodedSide(self.keys[index], self.values[index], self.present[index], self.ends[index])


def require_late_interaction(config: Any) -> None:
    """Raise ConfigError for a model type that is not supported."""
    if config.model_type not in TYPES or getattr(config, "is_decoder", False):
        raise ConfigError(
            f"found a {config.model_type} model with reading=apart, expected an encoder ({', '.join(TYPES)}); use "
            "reading=joint (decoders compute the user's part once anyway)"
        )


def pair_vectors(encoder: HardNegativeEncoder, batch: PromptBatch) -> Tensor:
    """Return (batch, width): the state of the end token of each prompt."""
    prefix_ids = _cut(batch.ids, torch.zeros_like(batch.prefixes), batch.prefixes)
    suffix_ids = _cut(batch.ids, batch.prefixes, batch.lengths - batch.prefixes)
    prefixes = encode_side(encoder, *prefix_ids, batch.users, None)
    return join_sides(encoder, prefixes, encode_side(encoder, *suffix_ids, None, batch.items))


def encode_side(
    encoder: HardNegativeEncoder, ids: Tensor, lengths: Tensor, users: Tensor | None, items: Tensor | None
) -> EncodedSide:
    """Pass ids (rows, longest) through all layers but the last, and into the keys and values of the last."""
    inner = encoder.inner
    present = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
    mask = torch.where(present, 0.0, torch.finfo(torch.bfloat16).min)[:, None, None, :]
    states = inner.embeddings(inputs_embeds=encoder.embed(ids, users, items))
    for layer in inner.encoder.layer[:-1]:
        states = layer(states, mask)
    attention = inner.encoder.layer[-1].attention.self
    ends = states[torch.arange(len(ids), device=ids.device), lengths - 1]
    return EncodedSide(attention.key(states), attention.value(states), present, ends)


def join_sides(encoder: HardNegativeEncoder, prefixes: EncodedSide, suffixes: EncodedSide) -> Tensor:
    """Return (pairs, width): the last layer for the end token of each suffix, which attends to both sides."""
    layer: Any = encoder.inner.encoder.layer[-1]
    attention = layer.attention.self
    queries = _split_heads(attention.query(suffixes.ends), attention)[:, None] * attention.scaling
    scores = torch.cat([_scores(queries, side, attention) for side in (prefixes, suffixes)], dim=1)
    weights = nn.functional.dropout(scores.softmax(dim=1), attention.dropout.p, attention.training)
    cut = prefixes.keys.shape[1]
    context = _mix(weights[:, :cut], prefixes, attention) + _mix(weights[:, cut:], suffixes, attention)
    dtype = encoder.inner.dtype  # kept states may have more bits than a base in bfloat16, which layer norms refuse
    attended = layer.attention.output(context.flatten(1).to(dtype), suffixes.ends.to(dtype))
    states: Tensor = layer.output(layer.intermediate(attended), attended)
    return states


def _scores(queries: Tensor, side: EncodedSide, attention: Any) -> Tensor:
    """Return attention scores (pairs, longest, heads); -inf for padding."""
    scores = (_split_heads(side.keys, attention).to(queries.dtype) * queries).sum(dim=-1)
    return scores.masked_fill(~side.present[:, :, None], -torch.inf)


def _mix(weights: Tensor, side: EncodedSide, attention: Any) -> Tensor:
    """Return weighted values (pairs, heads, head size)."""
    return (_split_heads(side.values, attention).to(weights.dtype) * weights[..., None]).sum(dim=1)


def _split_heads(states: Tensor, attention: Any) -> Tensor:
    heads: Tensor = states.view(*states.shape[:-1], attention.num_attention_heads, attention.attention_head_size)
    return heads


def _cut(ids: Tensor, starts: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return columns starts..starts + lengths of each row, aligned left, and the lengths."""
    columns = starts[:, None] + torch.arange(int(lengths.max()), device=ids.device)
    return ids.gather(1, columns.clamp(max=ids.shape[1] - 1)), lengths
