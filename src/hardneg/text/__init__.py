"""Item texts, profiles, encoders; what a language model is asked to write, what its words mean, what it will take."""

from hardneg.text.asked_encoders import EngineEncoder, open_encoder
from hardneg.text.encoded import Encoded
from hardneg.text.encoders import SentenceEncoder, TextEncoder, encoder
from hardneg.text.estimates.estimate import Estimate, Rate, compare
from hardneg.text.estimates.estimating import EstimateConfig, estimate_writing
from hardneg.text.grounding import GroundingConfig
from hardneg.text.profiles import Profiles, extract_profiles
from hardneg.text.taste import text_taste_correlation
from hardneg.text.texts import item_texts, titles
from hardneg.text.writing.asking import Asker, Metered, ModelView
from hardneg.text.writing.negative_prompts import NegativesConfig
from hardneg.text.writing.negative_texts import write_negatives
from hardneg.text.writing.profile_prompts import ProfilesConfig
from hardneg.text.writing.prompt import digests
from hardneg.text.writing.written_profiles import write_profiles

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
