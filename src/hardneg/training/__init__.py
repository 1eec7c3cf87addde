"""Training loop for any backbone with any sampler."""

from hardneg.training.loop import FitConfig, Fitted, Watch, fit_model
from hardneg.training.objective import ExtraPositives, Positives, bpr, l2, objective

__all__ = ["ExtraPositives", "FitConfig", "Fitted", "Positives", "Watch", "bpr", "fit_model", "l2", "objective"]
