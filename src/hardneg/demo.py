"""The whole story on the embedded default: a simulated store, every sampler, three seeds, a table and a page."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import polars as pl

from hardneg import pipeline, studies
from hardneg.data import Split, SplitConfig, simulate
from hardneg.data.truth import Truth
from hardneg.diagnostics import uniform_false_negative_rate
from hardneg.evaluation import Difference, compare
from hardneg.models import LightGCNConfig
from hardneg.negatives import DNS, MixGCF, Retrieved, Semantic, Uniform
from hardneg.pipeline import RunConfig
from hardneg.report import tables
from hardneg.report.page import Page, ShownPair, ShownUser, render
from hardneg.report.tables import Measured, row_named
from hardneg.studies import Row
from hardneg.text import encoder, titles
from hardneg.training import FitConfig
from hardneg.types import Progress

METRICS = ("ndcg@20", "recall@20")
BASELINE = "uniform"
FIT = FitConfig(epochs=120, batch_size=1024, learning_rate=5e-3, l2=1e-3, check_every=5, patience=4, select="ndcg@20")
SPLIT = SplitConfig(by="ratio", train=0.7, valid=0.1, test=0.2)
"""A fifth of the pairs for the test: a small store needs them to tell methods apart."""
SHOWN_PAIRS = 3
