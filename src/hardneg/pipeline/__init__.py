"""The method, stage by stage: each reads finished folders, makes one folder, and does nothing if that stands."""

from hardneg.pipeline.data import noise, simulate, split, truth_of
from hardneg.pipeline.fusing import FusionConfig, fuse, fused_key, text_alone, text_key
from hardneg.pipeline.judging import Sources, SuspectMining, foretell_suspects, mine_suspects, rate_of
from hardneg.pipeline.labels import label, rebuild
from hardneg.pipeline.negatives import mine_from_labels, mine_random, mine_retrieved, mine_shuffled
from hardneg.pipeline.neighbours import find_neighbours
from hardneg.pipeline.released import RELEASED, evaluate_released, evaluated_released
from hardneg.pipeline.serving import EVALUATION, METRICS, Run, evaluate_run, evaluated, read_run, recommend
from hardneg.pipeline.suspects import SuspectsUse
from hardneg.pipeline.text import encode, profile, vectors_beside
from hardneg.pipeline.training import RUN, RunConfig, run_inputs, run_key, shown_users, train
from hardneg.pipeline.transfer import DataSet, finetune_pooled, levelled_of, turn_labels
from hardneg.pipeline.trees import control_trees, grow_trees
from hardneg.pipeline.tuning import FinetuneConfig, finetune, mine_synthesised
from hardneg.pipeline.writing import SemanticMining, estimate, mine_written, profile_written

__all__ = [
    "EVALUATION",
    "METRICS",
    "RELEASED",
    "RUN",
    "DataSet",
    "FinetuneConfig",
    "FusionConfig",
    "Run",
    "RunConfig",
    "SemanticMining",
    "Sources",
    "SuspectMining",
    "SuspectsUse",
    "control_trees",
    "encode",
    "estimate",
    "evaluate_released",
    "evaluate_run",
    "evaluated",
    "evaluated_released",
    "find_neighbours",
    "finetune",
    "finetune_pooled",
    "foretell_suspects",
    "fuse",
    "fused_key",
    "grow_trees",
    "label",
    "levelled_of",
    "mine_from_labels",
    "mine_random",
    "mine_retrieved",
    "mine_shuffled",
    "mine_suspects",
    "mine_synthesised",
    "mine_written",
    "noise",
    "profile",
    "profile_written",
    "rate_of",
    "read_run",
    "rebuild",
    "recommend",
    "run_inputs",
    "run_key",
    "shown_users",
    "simulate",
    "split",
    "text_alone",
    "text_key",
    "train",
    "truth_of",
    "turn_labels",
    "vectors_beside",
]
