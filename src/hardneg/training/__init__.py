"""One loop for any backbone with any sampler."""

from hardneg.training.config import FitConfig
from hardneg.training.extra import ExtraPositives
from hardneg.training.loop import Fitted, Resume, Watch, fit
from hardneg.training.objective import objective

__all__ = ["ExtraPositives", "FitConfig", "Fitted", "Resume", "Watch", "fit", "objective"]
