"""Evaluation mask of DTL-NS's released code, to measure its effect; never used for other results.

The release masks the observed train pairs and the positives added by its judge, after removing all validation and test
pairs from the latter (sample_obtain.py:8-22, 137; evaluate.py:27-28, 140, 148). Suspects that are not held out then
cannot be ranked above the held-out pairs, so the mask depends on the test set.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardneg.data.interactions import Interactions, union

PROTOCOL = "released-dtl"
WARNING = (
    "NOT A VALID EVALUATION: the mask of DTL-NS's released code. It masks added positives besides the train pairs, after "
    "removing held-out pairs from them, so it depends on the test set; compare these numbers only with each other"
)


@dataclass(frozen=True)
class ReleasedMask:
    """pairs: masked pairs. added: number of them that are not observed. spared: number of added positives that are held
    out and therefore not masked."""

    pairs: Interactions
    added: int
    spared: int


def released_mask(train: Interactions, added: Interactions, valid: Interactions, test: Interactions) -> ReleasedMask:
    """Return a mask of the train pairs and the added positives that are not held out."""
    held_out = valid.contains(added.users, added.items) | test.contains(added.users, added.items)
    masked = Interactions(added.users[~held_out], added.items[~held_out], train.n_users, train.n_items)
    pairs = union(train, masked)
    return ReleasedMask(pairs, len(pairs) - len(train), int(held_out.sum()))
