"""Interactions, item texts, filters, splits and simulated data with a known ground truth."""

from hardneg.data.dataset import Dataset
from hardneg.data.filters import FilterConfig
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split, Vocabulary
from hardneg.data.splitters import SplitConfig, make_split

__all__ = ["Dataset", "FilterConfig", "Interactions", "Split", "SplitConfig", "Vocabulary", "make_split"]
