"""Evaluation of a tuned encoder: contrastive loss of pairs that it was not tuned on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hardneg.errors import DataError
from hardneg.finetuning.inputs import PairInputs, Template, float_tensor
from hardneg.finetuning.model import HardNegativeEncoder
from hardneg.finetuning.synthesis import encode_pairs, shares_prefixes
from hardneg.finetuning.tuning import info_nce, information
from hardneg.types import Floats, Indices


@dataclass(frozen=True)
class HeldOutScore:
    """InfoNCE of held-out pairs.

    loss: mean of Eq. 12 in nats. information: log(batch_size) - loss, a lower bound in nats; vacuous below 0.
    """

    loss: float
    information: float
    pairs: int
    batch_size: int


def encode_for_scoring(
    encoder: HardNegativeEncoder, template: Template, inputs: PairInputs, rows: Indices, *, batch_size: int = 64
) -> Floats:
    """Return the (len(rows), width) float32 unit vectors of a tuned encoder for pair indices."""
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    share = shares_prefixes(encoder, template)
    return encode_pairs(encoder.eval(), inputs, tokens, rows, batch_size=batch_size, share_prefixes=share)


def score_held_out(
    encoder: HardNegativeEncoder,
    vectors: Floats,
    labels: Floats,
    positives: Floats,
    *,
    batch_size: int,
    temperature: float,
) -> HeldOutScore:
    """Compute Eq. 12 over whole batches of pairs, in the order given; shuffle them first, as in tuning.

    vectors: (pairs, width), outputs of the encoder. labels, positives: (pairs, size), of the same pairs, in the space
    that the encoder was tuned in; its label head projects them. Pairs beyond the last whole batch are left out, so that
    every pair has equally many negatives. Raises DataError if there is no whole batch.
    """
    n = len(vectors) // batch_size * batch_size
    if not n:
        raise DataError(f"found {len(vectors)} pairs, expected a batch of {batch_size}; add pairs or lower batch_size")
    losses = []
    for start in range(0, n, batch_size):
        batch = slice(start, start + batch_size)
        queries, own, items = (float_tensor(table[batch], encoder.device) for table in (vectors, labels, positives))
        with torch.inference_mode():
            projected = encoder.label_head(own), encoder.label_head(items)
            losses.append(float(info_nce(queries, *projected, temperature=temperature)))
    loss = float(np.mean(losses))
    return HeldOutScore(loss, information(loss, batch_size), n, batch_size)
