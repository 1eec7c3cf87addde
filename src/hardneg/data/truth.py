"""Ground truth of simulated data: the factors that generate the like-probability of every pair.

Only diagnostics may read them (import-linter checks it); a split folder does not contain them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from hardneg import artifacts
from hardneg.data.split import Vocabulary
from hardneg.errors import DataError
from hardneg.storage import read_tensors
from hardneg.types import Floats, Indices

FOLDER = "truth"
ARRAYS = ("user_tastes", "item_traits", "item_quality", "user_offsets")
"""Names of the arrays on disk, in the order of the fields of `Truth`."""


@dataclass(frozen=True)
class Truth:
    """Factors of the like-probability sigmoid(preferences[u] . traits[i] + quality[i] - offsets[u]).

    user_preferences: (users, traits). item_traits: (items, traits). item_quality: (items,). user_offsets: (users,).
    """

    user_preferences: Floats
    item_traits: Floats
    item_quality: Floats
    user_offsets: Floats

    def like_probability(self, users: Indices, items: Indices) -> Floats:
        """Return the probability in [0, 1], in float32, that a user likes an item; users and items are broadcast."""
        affinity = np.einsum("...t,...t->...", self.user_preferences[users], self.item_traits[items])
        return sigmoid(affinity + self.item_quality[items] - self.user_offsets[users])

    def like_probabilities(self, users: Indices) -> Floats:
        """Return the like-probabilities of all items: (len(users), items)."""
        affinity = self.user_preferences[users] @ self.item_traits.T
        return sigmoid(affinity + self.item_quality - self.user_offsets[users][:, None])

    def reindex(self, vocabulary: Vocabulary) -> Truth:
        """Return the factors in the order of a split's users and items; simulated ids are like `u12` and `i34`."""
        users = _parse_ids(vocabulary.user_ids, "u", len(self.user_preferences))
        items = _parse_ids(vocabulary.item_ids, "i", len(self.item_traits))
        return Truth(
            self.user_preferences[users], self.item_traits[items], self.item_quality[items], self.user_offsets[users]
        )


def _parse_ids(ids: list[str], letter: str, n: int) -> Indices:
    """Return the numbers in simulated ids."""
    known = {f"{letter}{number}": number for number in range(n)}
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise DataError(
            f"found {len(unknown):,} ids in the split that the simulated dataset lacks (first: {unknown[0]!r}), expected "
            f"{letter}0 to {letter}{n - 1}; give the dataset that the split was made from"
        )
    return np.array([known[name] for name in ids], np.int64)


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def write_truth(dataset: Path, truth: Truth) -> None:
    """Write the factors into the draft of a dataset folder."""
    (dataset / FOLDER).mkdir(exist_ok=True)  # left by an interrupted attempt
    arrays = zip(ARRAYS, vars(truth).values(), strict=True)
    save_file({name: np.ascontiguousarray(array) for name, array in arrays}, dataset / FOLDER / "factors.safetensors")


def read_truth(dataset: Path) -> Truth:
    """Read the factors of a simulated dataset folder."""
    path = dataset / FOLDER / "factors.safetensors"
    if not path.parent.is_dir():
        raise DataError(f"{dataset} holds no {FOLDER}/, expected a dataset of `hardneg data simulate`")
    artifacts.read_manifest(dataset, "dataset")
    arrays = read_tensors(path, *ARRAYS)
    return Truth(*(arrays[name].numpy() for name in ARRAYS))
