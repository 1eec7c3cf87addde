"""Item texts, profiles, encoders; what a language model is asked to write, what its words mean, what it will take."""

from hardneg.text.asking import Asker, Metered, ModelView
from hardneg.text.encoded import Encoded
from hardneg.text.encoders import SentenceEncoder, TextEncoder, encoder
from hardneg.text.encoders_engine import EngineEncoder, open_encoder
from hardneg.text.estimate import Estimate, Rate, compare
from hardneg.text.estimating import EstimateConfig, estimate_writing
from hardneg.text.grounding import GroundingConfig
from hardneg.text.negative_prompts import NegativesConfig
from hardneg.text.negative_texts import write_negatives
from hardneg.text.profile_prompts import ProfilesConfig
from hardneg.text.profiles import Profiles, extract_profiles
from hardneg.text.prompt import digests
from hardneg.text.taste import text_taste_correlation
from hardneg.text.texts import item_texts, titles
from hardneg.text.written import write_profiles

__all__ = [
    "Asker",
    "Encoded",
    "EngineEncoder",
    "Estimate",
    "EstimateConfig",
    "GroundingConfig",
    "Metered",
    "ModelView",
    "NegativesConfig",
    "Profiles",
    "ProfilesConfig",
    "Rate",
    "SentenceEncoder",
    "TextEncoder",
    "compare",
    "digests",
    "encoder",
    "estimate_writing",
    "extract_profiles",
    "item_texts",
    "open_encoder",
    "text_taste_correlation",
    "titles",
    "write_negatives",
    "write_profiles",
]
