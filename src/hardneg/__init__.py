"""hardneg: do hard negatives chosen or written by language models make recommenders better, and what do they cost?

>>> import hardneg as hn
>>> hn.negatives.MixGCF(candidates=16).candidates
16
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardneg import models
    from hardneg.api import (
        Workspace,
        compare,
        datasets,
        fit,
        fit_baseline,
        load_bundle,
        load_dataset,
        load_negatives,
        load_run,
        load_split,
        negatives,
        run,
        split,
        study,
    )

_MODULES = {"datasets": "hardneg.api.datasets", "negatives": "hardneg.api.negatives", "models": "hardneg.models"}
_NAMES = (
    "Workspace",
    "compare",
    "fit",
    "fit_baseline",
    "load_bundle",
    "load_dataset",
    "load_negatives",
    "load_run",
    "load_split",
    "run",
    "split",
    "study",
)
__all__ = [
    "Workspace",
    "compare",
    "datasets",
    "fit",
    "fit_baseline",
    "load_bundle",
    "load_dataset",
    "load_negatives",
    "load_run",
    "load_split",
    "models",
    "negatives",
    "run",
    "split",
    "study",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import hardneg` and `--help` stay quick."""
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _NAMES:
        return getattr(import_module("hardneg.api"), name)
    raise AttributeError(f"module 'hardneg' has no attribute {name!r}")
