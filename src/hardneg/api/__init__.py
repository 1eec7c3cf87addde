"""The Python API: functions that run the stages in a workspace and return the artifacts as objects."""

from hardneg.api.folders import (
    Bundle,
    DatasetFolder,
    NegativesFolder,
    NeighboursFolder,
    ProfilesFolder,
    RunFolder,
    SplitFolder,
    SuspectsFolder,
    TreesFolder,
    Workspace,
    load_bundle,
    load_dataset,
    load_negatives,
    load_run,
    load_split,
)
from hardneg.api.running import compare, fit, fit_baseline, run, split, study

__all__ = [
    "Bundle",
    "DatasetFolder",
    "NegativesFolder",
    "NeighboursFolder",
    "ProfilesFolder",
    "RunFolder",
    "SplitFolder",
    "SuspectsFolder",
    "TreesFolder",
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
]
