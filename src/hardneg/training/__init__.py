"""Training loop for any backbone with any sampler."""

from hardneg.training.loop import FitConfig, Fitted, Watch, fit_model
from hardneg.training.losses import (
    BPR,
    LOSSES,
    BinaryCrossEntropy,
    DirectAU,
    Hinge,
    InfoNCE,
    LossConfig,
    SampledSoftmax,
    bpr,
)
from hardneg.training.objective import ExtraPositives, Positives, l2, objective
from hardneg.training.triplets import JudgedTriplets

__all__ = [
    "BPR",
    "LOSSES",
    "BinaryCrossEntropy",
    "DirectAU",
    "ExtraPositives",
    "FitConfig",
    "Fitted",
    "Hinge",
    "InfoNCE",
    "JudgedTriplets",
    "LossConfig",
    "Positives",
    "SampledSoftmax",
    "Watch",
    "bpr",
    "fit_model",
    "l2",
    "objective",
]
