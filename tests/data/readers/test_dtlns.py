"""The labels that DTL-NS published: what was added is liked, what is held out is not known."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hardneg.data.readers.dtlns import released_labels
from hardneg.errors import DataError


def _release(folder: Path) -> Path:
    """Two users, items from 2 on; user 1 has candidates 2 (added), 4 (test), 5 (valid), 6 (not added)."""
    files = {
        "train.txt": "0 2\n1 3\n",
        "valid.txt": "1 5\n",
        "test.txt": "1 4\n",
        "candidate_items.txt": "1\t6\t2\t4\t5\n",
        "train_enhance_dtl_fni.txt": "1\t3\n0\t2\n1\t2\n",
    }
    for name, text in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_every_candidate_has_its_label_in_order(tmp_path: Path) -> None:
    found = released_labels(_release(tmp_path))
    assert found.rows() == [("1", "4", 0.0), ("1", "0", 1.0), ("1", "2", None), ("1", "3", None)]


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no train.txt"):
        released_labels(tmp_path)


@pytest.mark.real
def test_the_counts_are_those_of_the_release(real: Path) -> None:
    label = released_labels(real / "dtlns" / "Sports")["label"]
    assert (len(label), label.null_count(), int(label.sum())) == (210_140, 3_754, 193_550)
