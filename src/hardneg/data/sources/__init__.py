"""Readers: a source's files in, a Dataset out, or a Source where the files may be too large for memory. One file a source."""

from hardneg.data.sources.amazon import open_amazon
from hardneg.data.sources.lightgcn import read_lightgcn
from hardneg.data.sources.movielens import open_movielens
from hardneg.data.sources.pairs import read_pairs
from hardneg.data.sources.recbole import open_recbole
from hardneg.data.sources.selfrec import open_selfrec
from hardneg.data.sources.source import Source
from hardneg.data.sources.table import read_table
from hardneg.data.sources.yelp import open_yelp

__all__ = [
    "Source",
    "open_amazon",
    "open_movielens",
    "open_recbole",
    "open_selfrec",
    "open_yelp",
    "read_lightgcn",
    "read_pairs",
    "read_table",
]
