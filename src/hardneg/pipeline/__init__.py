"""The method, stage by stage: each reads finished folders, makes one folder, and does nothing if that stands."""

from hardneg.pipeline.data import simulate, split, truth_of
from hardneg.pipeline.fusing import FusionConfig, fuse, fused_key, text_alone
from hardneg.pipeline.labels import label, rebuild
from hardneg.pipeline.negatives import mine_random, mine_retrieved
from hardneg.pipeline.neighbours import find_neighbours
from hardneg.pipeline.serving import EVALUATION, METRICS, Run, evaluate_run, evaluated, read_run, recommend
from hardneg.pipeline.text import encode, profile, vectors_beside
from hardneg.pipeline.training import RUN, RunConfig, run_inputs, run_key, shown_users, train
from hardneg.pipeline.trees import grow_trees
from hardneg.pipeline.tuning import FinetuneConfig, finetune, mine_synthesised
from hardneg.pipeline.writing import SemanticMining, estimate, mine_written, profile_written

__all__ = [
    "EVALUATION",
    "METRICS",
    "RUN",
    "FinetuneConfig",
    "FusionConfig",
    "Run",
    "RunConfig",
    "SemanticMining",
    "encode",
    "estimate",
    "evaluate_run",
    "evaluated",
    "find_neighbours",
    "finetune",
    "fuse",
    "fused_key",
    "grow_trees",
    "label",
    "mine_random",
    "mine_retrieved",
    "mine_synthesised",
    "mine_written",
    "profile",
    "profile_written",
    "read_run",
    "rebuild",
    "recommend",
    "run_inputs",
    "run_key",
    "shown_users",
    "simulate",
    "split",
    "text_alone",
    "train",
    "truth_of",
    "vectors_beside",
]
