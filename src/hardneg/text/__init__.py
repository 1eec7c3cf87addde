"""Item texts, profiles, encoders; what a language model is asked to write, what its words mean, what it will take."""

from hardneg.text.cached_encoders import CachedEncoder, open_encoder
from hardneg.text.encoders import SentenceEncoder, TextEncoder, encoder
from hardneg.text.estimates.estimate import CostEstimate, Rate, compare_with_estimate
from hardneg.text.estimates.estimating import EstimateConfig, estimate_writing
from hardneg.text.grounding import GroundingConfig
from hardneg.text.profiles import Profiles, extract_profiles
from hardneg.text.text_preference_correlation import text_preference_correlation
from hardneg.text.text_vectors import TextVectors
from hardneg.text.texts import item_texts, titles
from hardneg.text.writing.executor import LlmExecutor, MeteredExecutor, ModelInfo
from hardneg.text.writing.negative_prompts import NegativesConfig
from hardneg.text.writing.negative_texts import generate_negatives
from hardneg.text.writing.profile_prompts import ProfilesConfig
from hardneg.text.writing.prompt import prompt_digests
from hardneg.text.writing.written_profiles import generate_profiles

__all__ = [
    "CachedEncoder",
    "CostEstimate",
    "EstimateConfig",
    "GroundingConfig",
    "LlmExecutor",
    "MeteredExecutor",
    "ModelInfo",
    "NegativesConfig",
    "Profiles",
    "ProfilesConfig",
    "Rate",
    "SentenceEncoder",
    "TextEncoder",
    "TextVectors",
    "compare_with_estimate",
    "encoder",
    "estimate_writing",
    "extract_profiles",
    "generate_negatives",
    "generate_profiles",
    "item_texts",
    "open_encoder",
    "prompt_digests",
    "text_preference_correlation",
    "titles",
]
