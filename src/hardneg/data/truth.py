"""The generating factors of a simulated store: what each user would like, seen or not.

Only diagnostics may read them (import-linter checks it); a split folder does not hold them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hardneg.data.split import Vocabulary
from hardneg.errors import DataError
from hardneg.types import Floats, Indices

FOLDER = "truth"
ARRAYS = ("user_tastes", "item_traits", "item_quality", "user_offsets")


@dataclass(frozen=True)
class Truth:
    """Like-probability of any pair: sigmoid(user_tastes[u] . item_traits[i] + item_quality[i] - user_offsets[u]).

    user_tastes: (users, traits). item_traits: (items, traits). item_quality: (items,). user_offsets: (users,).
    """

    user_tastes: Floats
    item_traits: Floats
    item_quality: Floats
    user_offsets: Floats

    def like_probability(self, users: Indices, items: Indices) -> Floats:
        """Probability in [0, 1] (as far as float32 tells) that the user likes the item; users and items broadcast against each other."""
        affinity = np.einsum("...t,...t->...", self.user_tastes[users], self.item_traits[items])
        return sigmoid(affinity + self.item_quality[items] - self.user_offsets[users])

    def like_probabilities(self, users: Indices) -> Floats:
        """(len(users), items): like-probabilities of every item."""
        affinity = self.user_tastes[users] @ self.item_traits.T
        return sigmoid(affinity + self.item_quality - self.user_offsets[users][:, None])

    def numbered_as(self, vocabulary: Vocabulary) -> Truth:
        """The same factors in the order of a split's users and items (simulated ids are `u12`, `i34`)."""
        users = _numbers(vocabulary.user_ids, "u", len(self.user_tastes))
        items = _numbers(vocabulary.item_ids, "i", len(self.item_traits))
        return Truth(
            self.user_tastes[users], self.item_traits[items], self.item_quality[items], self.user_offsets[users]
        )


def _numbers(ids: list[str], letter: str, n: int) -> Indices:
    """What follows the letter in simulated ids."""
    known = {f"{letter}{number}": number for number in range(n)}
    strange = [name for name in ids if name not in known]
    if strange:
        raise DataError(
            f"the split has {len(strange):,} ids that the simulated store lacks (first: {strange[0]!r}), expected "
            f"{letter}0 to {letter}{n - 1}; give the dataset that the split was made from"
        )
    return np.array([known[name] for name in ids], np.int64)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def write_truth(dataset: Path, truth: Truth) -> None:
    """Write the factors into a dataset folder that is being made."""
    (dataset / FOLDER).mkdir(exist_ok=True)  # an interrupted attempt may have made it
    save_file(
        {name: np.ascontiguousarray(getattr(truth, name)) for name in ARRAYS}, dataset / FOLDER / "factors.safetensors"
    )


def read_truth(dataset: Path) -> Truth:
    """Read the factors of a simulated dataset folder."""
    path = dataset / FOLDER / "factors.safetensors"
    if not path.is_file():
        raise DataError(f"{dataset} holds no {FOLDER}/, expected a dataset made by `hardneg data simulate`")
    try:
        return Truth(**load_file(path))
    except (SafetensorError, TypeError):
        raise DataError(f"{path} does not hold {', '.join(ARRAYS)}; simulate the dataset again") from None
