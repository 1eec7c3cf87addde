"""Training settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from hardneg.config import Config


class FitConfig(Config):
    """One loop for every backbone and sampler."""

    epochs: PositiveInt = 300
    """At most so many passes over the train pairs."""
    batch_size: PositiveInt = 2048
    learning_rate: PositiveFloat = 3e-3
    """Of Adam."""
    l2: NonNegativeFloat = 1e-4
    """Weight of half the squared norm of the hop-0 rows of a pair."""
    check_every: PositiveInt = 5
    """Epochs between looks at the validation pairs."""
    patience: PositiveInt = 5
    """Looks without improvement after which training ends."""
    select: Annotated[str, Field(pattern=r"^(recall|ndcg|precision|hit_rate)@[1-9]\d*$")] = "recall@20"
    """The validation metric that decides which epoch is kept."""
    seed: int = 0
    """Decides the start, the order of the pairs, candidates and mixing."""
