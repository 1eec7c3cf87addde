"""Item tables that start from texts and stay near them, so that separately trained models share one space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from hardneg.config import Config
from hardneg.data.interactions import Interactions
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import DataError
from hardneg.types import Flags, Floats


class AnchorConfig(Config):
    """How an item table is tied to the places of the items' texts."""

    weight: NonNegativeFloat = 0.1
    """Of half the mean squared distance of hop-0 rows to their places; 0: they start there and go where they like. Too
    much costs quality with MF, whose item table is all that it has; with LightGCN other hops make up for it."""
    length: PositiveFloat = 1.0
    """Of the places, as multiples of a usual start's (root mean square over the table)."""
    map_seed: int = 0
    """Decides the linear map of the texts. Models that are to share a space share this number and the encoder."""


@dataclass(frozen=True)
class Anchor:
    """Where the rows of an item table belong.

    places: (n_items, size) float32, a linear map of the items' texts, a row of NaN for an item without text. Such an
    item starts as usual and is pulled nowhere.
    """

    places: Floats
    weight: float

    @cached_property
    def known(self) -> Flags:
        """(n_items,) True where there is a place."""
        return np.asarray(np.isfinite(self.places).all(axis=1))

    @property
    def row_report(self) -> RowReport:
        """Items without text, counted."""
        rows = np.flatnonzero(~self.known)
        if not len(rows):
            return ()
        reason = "have no text vector: they start as usual and are not anchored"
        return (RowIssue("items", reason, len(rows), f"item {rows[0]}", "import an item table with their texts"),)


def anchor_at(texts: Floats, config: AnchorConfig) -> Anchor:
    """Scale mapped texts (n_items, size) to places: as a whole as long as a usual start, whatever the set's size.

    The scale is one number for the table, so the places are still one linear map of the texts. Raises DataError where
    no item has a text.
    """
    known = np.isfinite(texts).all(axis=1)
    if not known.any():
        raise DataError("no item has a text vector, so there is nothing to anchor to; import an item table with texts")
    usual = np.sqrt(2 / sum(texts.shape))  # of numbers uniform within +-sqrt(6 / (rows + size))
    found = np.sqrt(np.mean(texts[known].astype(np.float64) ** 2))
    return Anchor((texts * (config.length * usual / found)).astype(np.float32), config.weight)


def start_at(model: nn.Module, anchor: Anchor, train: Interactions) -> None:
    """Set a fresh model's hop-0 tables: items at their places, users at the mean of their train items' places.

    Users have no text of their own here, and a random start would stay in them as noise of no common space. The user
    table as a whole is made as long as the usual start that it replaces. Who has no item with a place starts as usual,
    and so does an item without one. model: MF or LightGCN, with the parameters `users` and `items`.
    """
    items, users = model.get_parameter("items"), model.get_parameter("users")
    if tuple(items.shape) != anchor.places.shape:
        raise DataError(
            f"found places of shape {anchor.places.shape}, expected {tuple(items.shape)}; take them from this split"
        )
    known = anchor.known
    matrix = train.matrix()
    counts = np.asarray(matrix @ known.astype(np.float64))
    means = (matrix @ np.where(known[:, None], anchor.places, 0)) / np.maximum(counts, 1)[:, None]
    _set(items, known, anchor.places[known])
    _set(users, counts > 0, _as_long(means[counts > 0], users))


def pull(items: Tensor, anchor: Anchor) -> Tensor:
    """Half the squared distance to its place, mean over items with one. items: (n_items, size), the hop-0 table.

    All items count alike, however many train pairs they have. Its gradient for a row is weight / n_items of the way to
    the place, as the gradient of BPR is on average 1 / n_items of a row, so one weight means the same in any catalogue.
    """
    known = torch.from_numpy(anchor.known).to(items.device)
    places = torch.from_numpy(anchor.places).to(items.device)
    apart = torch.where(known[:, None], items - places, 0.0)
    return apart.square().sum() / (2 * known.sum())


def _set(table: nn.Parameter, rows: Flags, values: Floats) -> None:
    with torch.no_grad():
        table[torch.from_numpy(np.flatnonzero(rows)).to(table.device)] = torch.from_numpy(
            np.asarray(values, np.float32)
        ).to(table.device)


def _as_long(rows: Floats, table: Tensor) -> Floats:
    """Rows with the root mean square of a table's numbers."""
    found = float(np.sqrt(np.mean(rows.astype(np.float64) ** 2))) if rows.size else 0.0
    return rows * (float(table.detach().square().mean().sqrt()) / found) if found else rows
