"""Item tables that start from texts and stay near them, so that separately trained models share one space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from hardneg.config import Config, Seed
from hardneg.data.interactions import Interactions
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import DataError
from hardneg.types import Flags, Floats


class AnchorConfig(Config):
    """Strength and scale of the anchors of an item table."""

    weight: NonNegativeFloat = 0.1
    """Weight of half the mean squared distance of hop-0 rows to their anchors; 0 only initializes them there. A large
    weight costs quality with MF, whose item table is all it has; with LightGCN other hops compensate."""
    length: PositiveFloat = 1.0
    """Root mean square of the anchors, as a multiple of that of the default initialization."""
    map_seed: Seed = 0
    """Seed of the linear map of the texts. Models that share a space must share this number and the text encoder."""


@dataclass(frozen=True)
class Anchor:
    """Target positions of the rows of an item table.

    targets: (n_items, size) float32, a linear map of the items' texts; rows of NaN for items without text, which are
    initialized as usual and not anchored. weight: of `anchor_loss` in the training loss.
    """

    targets: Floats
    weight: float

    @cached_property
    def known(self) -> Flags:
        """True where an item has an anchor, (n_items,)."""
        return np.asarray(np.isfinite(self.targets).all(axis=1))

    @property
    def row_report(self) -> RowReport:
        """Number of items without text."""
        rows = np.flatnonzero(~self.known)
        if not len(rows):
            return ()
        reason = "have no text vector: they are initialized as usual and not anchored"
        return (RowIssue("items", reason, len(rows), f"item {rows[0]}", "import an item table with their texts"),)


def build_anchor(texts: Floats, config: AnchorConfig) -> Anchor:
    """Scale mapped texts (n_items, size) to `length` times the root mean square of the default initialization.

    The scale is one number, so anchors are still a linear map of the texts. Raises DataError if no item has a text.
    """
    known = np.isfinite(texts).all(axis=1)
    if not known.any():
        raise DataError("found no item with a text vector, so nothing to anchor to; import an item table with texts")
    initial_rms = np.sqrt(2 / sum(texts.shape))  # uniform within +-sqrt(6 / (rows + size))
    text_rms = np.sqrt(np.mean(texts[known].astype(np.float64) ** 2))
    return Anchor((texts * (config.length * initial_rms / text_rms)).astype(np.float32), config.weight)


def initialize_at_anchor(model: nn.Module, anchor: Anchor, train: Interactions) -> None:
    """Initialize hop-0 tables: items at their anchors, users at the mean anchor of their training items.

    Users have no text here, and a random start would add noise outside the shared space. The users' rows are scaled to
    the root mean square of the initialization that they replace. Items without an anchor, and users without such items,
    keep their initialization. model: has parameters `users` and `items`, such as MF or LightGCN.
    """
    items, users = model.get_parameter("items"), model.get_parameter("users")
    if tuple(items.shape) != anchor.targets.shape:
        raise DataError(
            f"found anchors of shape {anchor.targets.shape}, expected {tuple(items.shape)}; make them from this split"
        )
    known = anchor.known
    matrix = train.matrix()
    counts = np.asarray(matrix @ known.astype(np.float64))
    means = (matrix @ np.where(known[:, None], anchor.targets, 0)) / np.maximum(counts, 1)[:, None]
    _set_rows(items, known, anchor.targets[known])
    means = means[counts > 0]
    rms = float(np.sqrt(np.mean(means.astype(np.float64) ** 2))) if means.size else 0.0
    scaled = means * (float(users.detach().square().mean().sqrt()) / rms) if rms else means
    _set_rows(users, counts > 0, scaled)


def anchor_loss(items: Tensor, anchor: Anchor) -> Tensor:
    """Return half the squared distance to the anchors, mean over anchored items. items: (n_items, size), hop 0.

    All items count equally, however many training pairs they have. Its gradient for a row is 1 / n_items of the distance
    to the anchor, as BPR's gradient is on average 1 / n_items of a row. So a weight means the same for any catalogue.
    """
    known = torch.from_numpy(anchor.known).to(items.device)
    targets = torch.from_numpy(anchor.targets).to(items.device)
    distances = torch.where(known[:, None], items - targets, 0.0)
    return distances.square().sum() / (2 * known.sum())


@torch.no_grad()
def _set_rows(table: nn.Parameter, rows: Flags, values: Floats) -> None:
    index = torch.from_numpy(np.flatnonzero(rows)).to(table.device)
    table[index] = torch.from_numpy(np.asarray(values, np.float32)).to(table.device)
