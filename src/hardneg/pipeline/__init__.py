"""The method, stage by stage: each reads finished folders, makes one folder, and does nothing if that stands."""

from hardneg.pipeline.data import add_noise, simulate, split, truth_of
from hardneg.pipeline.fusion import FusionConfig, fuse, fused_key, text_alone, text_key
from hardneg.pipeline.generation import SemanticMining, estimate, generate_negatives_folder, generate_profiles_folder
from hardneg.pipeline.inference import EVALUATION, METRICS, FinishedRun, evaluate_run, evaluated, read_run, recommend
from hardneg.pipeline.labels import draw_label_folder, rebuild
from hardneg.pipeline.negatives import mine_from_labels, mine_random, mine_retrieved, mine_shuffled
from hardneg.pipeline.neighbours import find_neighbours
from hardneg.pipeline.released import RELEASED, evaluate_released, evaluated_released
from hardneg.pipeline.suspect_use import SuspectsUse
from hardneg.pipeline.suspects import SuspectInputs, SuspectMining, estimate_suspects, identify_suspects, rate_of
from hardneg.pipeline.text import encode_split_texts, profile, vectors_beside
from hardneg.pipeline.training import RUN, RunConfig, run_inputs, run_key, shown_users, train
from hardneg.pipeline.transfer import TuningSet, finetune_pooled, rescaled_inputs, turn_labels
from hardneg.pipeline.trees import build_trees, control_trees
from hardneg.pipeline.tuning import FinetuneConfig, finetune, synthesize_negatives

__all__ = [
    "EVALUATION",
    "METRICS",
    "RELEASED",
    "RUN",
    "FinetuneConfig",
    "FinishedRun",
    "FusionConfig",
    "RunConfig",
    "SemanticMining",
    "SuspectInputs",
    "SuspectMining",
    "SuspectsUse",
    "TuningSet",
    "add_noise",
    "build_trees",
    "control_trees",
    "draw_label_folder",
    "encode_split_texts",
    "estimate",
    "estimate_suspects",
    "evaluate_released",
    "evaluate_run",
    "evaluated",
    "evaluated_released",
    "find_neighbours",
    "finetune",
    "finetune_pooled",
    "fuse",
    "fused_key",
    "generate_negatives_folder",
    "generate_profiles_folder",
    "identify_suspects",
    "mine_from_labels",
    "mine_random",
    "mine_retrieved",
    "mine_shuffled",
    "profile",
    "rate_of",
    "read_run",
    "rebuild",
    "recommend",
    "rescaled_inputs",
    "run_inputs",
    "run_key",
    "shown_users",
    "simulate",
    "split",
    "synthesize_negatives",
    "text_alone",
    "text_key",
    "train",
    "truth_of",
    "turn_labels",
    "vectors_beside",
]
