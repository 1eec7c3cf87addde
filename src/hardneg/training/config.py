"""Training settings."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from hardneg.config import Config


class FitConfig(Config):
    """Settings of the training loop, the same for every backbone and sampler."""

    epochs: PositiveInt = 300
    """Maximum number of passes over the training pairs."""
    batch_size: PositiveInt = 2048
    """Training pairs per step."""
    learning_rate: PositiveFloat = 3e-3
    """Adam learning rate."""
    l2: NonNegativeFloat = 1e-4
    """Weight of half the squared norm of the hop-0 rows of a pair."""
    check_every: PositiveInt = 5
    """Epochs between validation checks."""
    patience: PositiveInt = 5
    """Validation checks without improvement after which training stops."""
    select: Annotated[str, Field(pattern=r"^(recall|ndcg|precision|hit_rate)@[1-9]\d*$")] = "recall@20"
    """Validation metric that selects the best epoch."""
    seed: int = 0
    """Seed of the initialization, the order of the pairs, the candidates and the sampler."""
