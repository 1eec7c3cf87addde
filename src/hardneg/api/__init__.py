"""The Python API: functions that run the stages in a workspace and return the artifacts as objects."""

from hardneg.api.folders import (
    DatasetFolder,
    NegativesFolder,
    NeighboursFolder,
    ProfilesFolder,
    RunFolder,
    SplitFolder,
    SuspectsFolder,
    TreesFolder,
    Workspace,
    load_dataset,
    load_negatives,
    load_run,
    load_split,
)
from hardneg.api.running import fit, split, study

__all__ = [
    "DatasetFolder",
    "NegativesFolder",
    "NeighboursFolder",
    "ProfilesFolder",
    "RunFolder",
    "SplitFolder",
    "SuspectsFolder",
    "TreesFolder",
    "Workspace",
    "fit",
    "load_dataset",
    "load_negatives",
    "load_run",
    "load_split",
    "split",
    "study",
]
