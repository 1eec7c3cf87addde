"""Training loop for any backbone with any sampler."""

from hardneg.training.config import FitConfig
from hardneg.training.extra import ExtraPositives, Positives
from hardneg.training.loop import Fitted, Watch, fit_model
from hardneg.training.objective import objective

__all__ = ["ExtraPositives", "FitConfig", "Fitted", "Positives", "Watch", "fit_model", "objective"]
