"""Item texts, profiles, encoders."""

from hardneg.text.encoders import SentenceEncoder, TextEncoder, encoder
from hardneg.text.encoders_engine import EngineEncoder, open_encoder
from hardneg.text.profiles import Profiles, extract_profiles
from hardneg.text.taste import text_taste_correlation
from hardneg.text.texts import item_texts, titles

__all__ = [
    "EngineEncoder",
    "Profiles",
    "SentenceEncoder",
    "TextEncoder",
    "encoder",
    "extract_profiles",
    "item_texts",
    "open_encoder",
    "text_taste_correlation",
    "titles",
]
