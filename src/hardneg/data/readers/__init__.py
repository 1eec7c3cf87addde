"""Readers: a source's files in, a Dataset out, or a Source where the files may be too large for memory. One file a source."""

from hardneg.data.readers.amazon import open_amazon
from hardneg.data.readers.lightgcn import read_lightgcn
from hardneg.data.readers.movielens import open_movielens
from hardneg.data.readers.pairs import read_pairs
from hardneg.data.readers.recbole import open_recbole
from hardneg.data.readers.selfrec import open_selfrec
from hardneg.data.readers.streaming import StreamedDataset
from hardneg.data.readers.table import read_table
from hardneg.data.readers.yelp import open_yelp

__all__ = [
    "StreamedDataset",
    "open_amazon",
    "open_movielens",
    "open_recbole",
    "open_selfrec",
    "open_yelp",
    "read_lightgcn",
    "read_pairs",
    "read_table",
]
