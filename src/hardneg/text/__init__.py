"""Item texts, profiles, text encoders, generation with a language model, grounding, and cost estimates."""

from hardneg.text.encoders import CachedEncoder, SentenceEncoder, TextEncoder, open_encoder, sentence_encoder
from hardneg.text.estimates.cost_estimate import CostEstimate, Rate, compare_with_estimate
from hardneg.text.estimates.estimator import EstimateConfig, estimate_generation
from hardneg.text.generation.executor import LlmExecutor, MeteredExecutor
from hardneg.text.generation.message_formats import prompt_digests
from hardneg.text.generation.negative_generation import NegativesConfig, generate_negatives
from hardneg.text.generation.profile_generation import ProfilesConfig, generate_profiles
from hardneg.text.grounding import GroundingConfig
from hardneg.text.item_vectors import ItemVectors
from hardneg.text.profiles import Profiles, extract_profiles
from hardneg.text.text_vectors import TextVectors
from hardneg.text.texts import item_texts, require_item_texts, text_preference_correlation, titles

__all__ = [
    "CachedEncoder",
    "CostEstimate",
    "EstimateConfig",
    "GroundingConfig",
    "ItemVectors",
    "LlmExecutor",
    "MeteredExecutor",
    "NegativesConfig",
    "Profiles",
    "ProfilesConfig",
    "Rate",
    "SentenceEncoder",
    "TextEncoder",
    "TextVectors",
    "compare_with_estimate",
    "estimate_generation",
    "extract_profiles",
    "generate_negatives",
    "generate_profiles",
    "item_texts",
    "open_encoder",
    "prompt_digests",
    "require_item_texts",
    "sentence_encoder",
    "text_preference_correlation",
    "titles",
]
