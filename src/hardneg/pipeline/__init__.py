"""The methods as stages: each function returns a `Stage` that makes one artifact from finished artifacts."""

from hardneg.pipeline.baselines import BASELINE, BaselineRunConfig, baseline_stage, stage_of_run
from hardneg.pipeline.data import ImportRequest, import_stage, noise_stage, simulate_stage, split_stage, truth_of
from hardneg.pipeline.exports import ExportFormat, export_stage
from hardneg.pipeline.fusion import FusionConfig, fuse_stage, text_only_stage
from hardneg.pipeline.generation import (
    GenerationConfig,
    estimate_llm_cost,
    generate_profiles_stage,
)
from hardneg.pipeline.inference import (
    BUNDLE,
    EVALUATION,
    METRICS,
    RELEASED,
    FinishedRun,
    evaluate_run,
    evaluation_stage,
    find_evaluation,
    read_run,
    released_stage,
)
from hardneg.pipeline.item_generation import generate_stage
from hardneg.pipeline.judge_evaluation import JudgeEvaluation, estimate_evaluation, evaluate_judge, measure_judge
from hardneg.pipeline.labels import labels_stage, rebuild_backbone
from hardneg.pipeline.negatives import (
    labels_control_stage,
    neighbours_stage,
    random_negatives_stage,
    retrieve_stage,
    shuffled_negatives_stage,
)
from hardneg.pipeline.popularity import POPULARITY, PopularityConfig, popularity_stage
from hardneg.pipeline.recommendation import Mask, Recommender, make_recommendations, open_recommender, recommend
from hardneg.pipeline.recommendation_file import RecommendationCounts, write_recommendations
from hardneg.pipeline.reranking import RerankConfig, rerank_stage
from hardneg.pipeline.similar_items import SimilarItems, find_similar_items
from hardneg.pipeline.suspect_use import SuspectsUse
from hardneg.pipeline.suspects import (
    SuspectInputs,
    SuspectsConfig,
    estimate_suspects,
    suspect_rate,
    suspects_stage,
)
from hardneg.pipeline.text import encode_texts_stage, extract_profiles_stage, shuffle_profiles_stage
from hardneg.pipeline.training import HELD_OUT, MEASURED, RUN, RunConfig, run_inputs, shown_users, train_stage
from hardneg.pipeline.trees import control_trees_stage, trees_stage
from hardneg.pipeline.tuning import (
    FinetuneConfig,
    TuningSet,
    estimate_finetuning,
    read_rescaled_pairs,
    synthesize_stage,
    tune_pooled_stage,
    tune_stage,
)

__all__ = [
    "BASELINE",
    "BUNDLE",
    "EVALUATION",
    "HELD_OUT",
    "MEASURED",
    "METRICS",
    "POPULARITY",
    "RELEASED",
    "RUN",
    "BaselineRunConfig",
    "ExportFormat",
    "FinetuneConfig",
    "FinishedRun",
    "FusionConfig",
    "GenerationConfig",
    "ImportRequest",
    "JudgeEvaluation",
    "Mask",
    "PopularityConfig",
    "RecommendationCounts",
    "Recommender",
    "RerankConfig",
    "RunConfig",
    "SimilarItems",
    "SuspectInputs",
    "SuspectsConfig",
    "SuspectsUse",
    "TuningSet",
    "baseline_stage",
    "control_trees_stage",
    "encode_texts_stage",
    "estimate_evaluation",
    "estimate_finetuning",
    "estimate_llm_cost",
    "estimate_suspects",
    "evaluate_judge",
    "evaluate_run",
    "evaluation_stage",
    "export_stage",
    "extract_profiles_stage",
    "find_evaluation",
    "find_similar_items",
    "fuse_stage",
    "generate_profiles_stage",
    "generate_stage",
    "import_stage",
    "labels_control_stage",
    "labels_stage",
    "make_recommendations",
    "measure_judge",
    "neighbours_stage",
    "noise_stage",
    "open_recommender",
    "popularity_stage",
    "random_negatives_stage",
    "read_rescaled_pairs",
    "read_run",
    "rebuild_backbone",
    "recommend",
    "released_stage",
    "rerank_stage",
    "retrieve_stage",
    "run_inputs",
    "shown_users",
    "shuffle_profiles_stage",
    "shuffled_negatives_stage",
    "simulate_stage",
    "split_stage",
    "stage_of_run",
    "suspect_rate",
    "suspects_stage",
    "synthesize_stage",
    "text_only_stage",
    "train_stage",
    "trees_stage",
    "truth_of",
    "tune_pooled_stage",
    "tune_stage",
    "write_recommendations",
]
