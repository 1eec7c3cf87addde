"""One loop for any backbone with any sampler."""

from hardneg.training.config import FitConfig
from hardneg.training.loop import Fitted, Resume, Watch, fit, objective

__all__ = ["FitConfig", "Fitted", "Resume", "Watch", "fit", "objective"]
