"""How well vectors that a model wrote tell the labels of pairs that it was not tuned on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hardneg.errors import DataError
from hardneg.finetuning.contrastive import info_nce, information
from hardneg.finetuning.inference import encode_pairs, shares_prefixes
from hardneg.finetuning.inputs import PairInputs, tensor
from hardneg.finetuning.model import HardNegativeEncoder
from hardneg.finetuning.template import Template
from hardneg.types import Floats, Indices


@dataclass(frozen=True)
class HeldOutScore:
    """InfoNCE of held-out pairs.

    loss: mean of Eq. 12 in nats. information: log(batch_size) - loss, the lower bound; below 0 it says nothing.
    """

    loss: float
    information: float
    pairs: int
    batch_size: int


def encode_for_scoring(
    writer: HardNegativeEncoder, template: Template, inputs: PairInputs, rows: Indices, *, batch_size: int = 64
) -> Floats:
    """(len(rows), width) float32 vectors of unit length, as a tuned model writes them for pair rows."""
    tokens = template.tokenised(inputs.user_profiles, inputs.item_profiles)
    shared = shares_prefixes(writer, template)
    return encode_pairs(writer.eval(), inputs, tokens, rows, batch_size=batch_size, shared=shared)


def score_held_out(
    writer: HardNegativeEncoder,
    vectors: Floats,
    labels: Floats,
    positives: Floats,
    *,
    batch_size: int,
    temperature: float,
) -> HeldOutScore:
    """Eq. 12 over whole batches of pairs, in the order given: draw it by chance, as in tuning.

    vectors: (pairs, width), what was written. labels, positives: (pairs, size), of the same pairs, in the space that the
    model was tuned in; its own lift takes them to the vectors. Pairs beyond the last whole batch are left out, so that
    every pair has as many negatives. Raises DataError where there is no whole batch.
    """
    n = len(vectors) // batch_size * batch_size
    if not n:
        raise DataError(f"{len(vectors)} pairs are no batch of {batch_size}; judge more pairs or lower the batch size")
    losses = []
    for start in range(0, n, batch_size):
        here = slice(start, start + batch_size)
        queries, own, items = (tensor(table[here], writer.device) for table in (vectors, labels, positives))
        with torch.inference_mode():
            lifted = writer.label_lift(own), writer.label_lift(items)
            losses.append(float(info_nce(queries, *lifted, temperature=temperature)))
    loss = float(np.mean(losses))
    return HeldOutScore(loss, information(loss, batch_size), n, batch_size)
