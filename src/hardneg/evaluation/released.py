"""The mask of DTL-NS's released code, kept apart from the honest one, to show what it alone is worth.

The release masks the observed train pairs and the positives that its judge added, after it took every validation and
test pair out of the latter (sample_obtain.py:8-22, 137; evaluate.py:27-28, 140, 148). What the judge called liked and is
not held out then cannot be ranked above what is: the held-out pairs choose what is masked.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardneg.data.interactions import Interactions, union

PROTOCOL = "released-dtl"
WARNING = (
    "NOT AN HONEST EVALUATION: the mask of DTL-NS's released code. Added positives are masked besides the train pairs, "
    "and held-out pairs were taken out of them first, so that the test set chooses what is masked; comparable with "
    "nothing but itself"
)


@dataclass(frozen=True)
class ReleasedMask:
    """pairs: what is masked. added: of them, pairs that were not observed. spared: added pairs left out of the mask
    because they are held out."""

    pairs: Interactions
    added: int
    spared: int


def released_mask(train: Interactions, added: Interactions, valid: Interactions, test: Interactions) -> ReleasedMask:
    """Train pairs and added positives, of which validation and test pairs were left out before."""
    held_out = valid.contains(added.users, added.items) | test.contains(added.users, added.items)
    kept = Interactions(added.users[~held_out], added.items[~held_out], train.n_users, train.n_items)
    pairs = union(train, kept)
    return ReleasedMask(pairs, len(pairs) - len(train), int(held_out.sum()))
