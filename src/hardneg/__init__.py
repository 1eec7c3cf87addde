"""hardneg: do hard negatives chosen or written by language models make recommenders better, and what do they cost?

>>> import hardneg as hn
>>> hn.sampling.MixGCF(candidates=16).candidates
16
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardneg import data, evaluation, models, sampling, text, training
    from hardneg.api import evaluate, fit, load, split

_FUNCTIONS = ("evaluate", "fit", "load", "split")
_ROOMS = ("data", "evaluation", "models", "sampling", "text", "training")
__all__ = ["data", "evaluate", "evaluation", "fit", "load", "models", "sampling", "split", "text", "training"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import hardneg` and `--help` stay quick."""
    if name in _FUNCTIONS:
        return getattr(import_module("hardneg.api"), name)
    if name in _ROOMS:
        return import_module(f"hardneg.{name}")
    raise AttributeError(f"module 'hardneg' has no attribute {name!r}")
