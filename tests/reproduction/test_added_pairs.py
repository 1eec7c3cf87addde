"""What the release of DTL-NS added to the train pairs."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from diagnostics.added_pairs import added_pairs

from hardneg.data import SplitConfig, make_split
from hardneg.data.readers import read_pairs
from hardneg.data.readers.dtlns import ENHANCED
from hardneg.evaluation.released import released_mask


def test_train_pairs_and_unknown_ids_are_left_out_and_the_latter_counted(tmp_path: Path) -> None:
    for name, text in (("train", "0 3\n0 4\n1 3\n2 5"), ("test", "1 4")):
        (tmp_path / f"{name}.txt").write_text(text)
    files = {part: tmp_path / f"{part}.txt" for part in ("train", "test")}
    split = make_split(read_pairs(files, item_offset=3), SplitConfig(by="given", valid=0))
    enhanced = tmp_path / f"{ENHANCED}.gz"
    enhanced.write_bytes(gzip.compress(b"0\t3\n2\t3\n0\t4\n9\t3\n1\t3\n2\t5\n2\t4\n2\t3\n0\t77\n"))
    added, row_report = added_pairs(enhanced, split, item_offset=3)
    names = split.vocabulary
    found = [(names.user_ids[u], names.item_ids[i]) for u, i in zip(added.users, added.items, strict=True)]
    assert sorted(found) == [("2", "0"), ("2", "1")]
    assert [(entry.count, entry.first) for entry in row_report] == [(2, "user 9, item 0")]


@pytest.mark.real
def test_none_of_the_pairs_that_were_added_to_sports_is_held_out(real: Path) -> None:
    folder = real / "dtlns/Sports"
    files = {part: folder / f"{part}.txt.gz" for part in ("train", "valid", "test")}
    split = make_split(read_pairs(files, item_offset=15138), SplitConfig(by="given"))
    added, row_report = added_pairs(folder / f"{ENHANCED}.gz", split, item_offset=15138)
    assert not row_report
    assert len(added) == 193_550
    assert np.array_equal(added.counts > 0, split.test.counts > 0)  # candidates for test users, and for no others
    mask = released_mask(split.train, added, split.valid, split.test)
    assert (mask.added, mask.spared) == (193_550, 0)
