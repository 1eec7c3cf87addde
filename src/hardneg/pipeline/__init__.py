"""The method, stage by stage: each reads finished folders, makes one folder, and does nothing if that stands."""

from hardneg.pipeline.data import simulate, split, truth_of
from hardneg.pipeline.negatives import mine_random, mine_retrieved
from hardneg.pipeline.serving import EVALUATION, METRICS, Run, evaluate_run, evaluated, read_run, recommend
from hardneg.pipeline.text import profile
from hardneg.pipeline.training import RUN, RunConfig, run_inputs, run_key, shown_users, train

__all__ = [
    "EVALUATION",
    "METRICS",
    "RUN",
    "Run",
    "RunConfig",
    "evaluate_run",
    "evaluated",
    "mine_random",
    "mine_retrieved",
    "profile",
    "read_run",
    "recommend",
    "run_inputs",
    "run_key",
    "shown_users",
    "simulate",
    "split",
    "train",
    "truth_of",
]
