"""Readers of public formats, one module each. They return a Dataset, or a StreamedDataset for large files."""

from pathlib import Path
from typing import Protocol

from hardneg.data.dataset import Dataset
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers.amazon import open_amazon
from hardneg.data.readers.lightgcn import read_lightgcn
from hardneg.data.readers.movielens import open_movielens
from hardneg.data.readers.pairs import read_pairs
from hardneg.data.readers.recbole import open_recbole
from hardneg.data.readers.selfrec import open_selfrec
from hardneg.data.readers.table import open_table, read_table
from hardneg.data.readers.yelp import open_yelp
from hardneg.plugins import Registry

__all__ = [
    "READERS",
    "DatasetReader",
    "StreamedDataset",
    "open_amazon",
    "open_movielens",
    "open_recbole",
    "open_selfrec",
    "open_table",
    "open_yelp",
    "read_lightgcn",
    "read_pairs",
    "read_table",
]


class DatasetReader(Protocol):
    """Reader of a file of interactions and, optionally, a file of item texts."""

    def __call__(self, interactions: Path, items: Path | None = None, /) -> Dataset | StreamedDataset:
        """Return the dataset, or a StreamedDataset for files that may exceed memory."""
        ...


READERS = Registry(
    "dataset reader",
    "hardneg.readers",
    {
        "table": "hardneg.data.readers.table:open_table",
        "movielens": "hardneg.data.readers.movielens:open_movielens",
        "yelp": "hardneg.data.readers.yelp:open_yelp",
    },
)
"""Readers that need at most two files. `find` returns one by name: built in, an entry point of the group
hardneg.readers, or `module:function`."""
