"""Readers: a source's files in, a Dataset out, or a Source where the files may be too large for memory. One file a source."""

from hardneg.data.sources.amazon import amazon
from hardneg.data.sources.lightgcn import read_lightgcn
from hardneg.data.sources.movielens import movielens
from hardneg.data.sources.pairs import read_pairs
from hardneg.data.sources.recbole import recbole
from hardneg.data.sources.selfrec import selfrec
from hardneg.data.sources.source import Source
from hardneg.data.sources.table import read_table
from hardneg.data.sources.yelp import yelp

__all__ = [
    "Source",
    "amazon",
    "movielens",
    "read_lightgcn",
    "read_pairs",
    "read_table",
    "recbole",
    "selfrec",
    "yelp",
]
