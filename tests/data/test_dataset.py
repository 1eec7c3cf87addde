"""Dataset folders."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from hardneg import artifacts
from hardneg.data import dataset as datasets
from hardneg.data.dataset import Dataset
from hardneg.data.file_summary import FileSummary
from hardneg.data.row_report import RowIssue
from hardneg.errors import DataError
from hardneg.stage import Stage

ENTRY = RowIssue("a.csv", "without an id", 1200, "row 3", "they were left out")


@pytest.fixture
def small() -> Dataset:
    interactions = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["1", "2"], "review": ["Gräfin", None]})
    texts = pl.DataFrame({"item_id": ["2"], "title": ["Zwei"]})
    return Dataset(interactions, texts, (ENTRY,), {"a.csv": FileSummary(delimiter="comma")})


def test_a_written_dataset_reads_back_and_the_manifest_keeps_the_row_report(small: Dataset, tmp_path: Path) -> None:
    Stage(datasets.KIND, {"source": "table"}, {"a": "b"}, lambda draft: datasets.write_dataset(draft, small)).run(
        tmp_path / "d"
    )
    again = datasets.read_dataset(tmp_path / "d")
    assert again.interactions.equals(small.interactions)
    assert again.items.equals(small.items)
    notes = artifacts.read_manifest(tmp_path / "d", "dataset")["notes"]
    assert notes["rows"] == 2
    assert notes["items"] == 1
    assert [RowIssue(**entry) for entry in notes["rows left out"]] == [ENTRY]
    assert notes["files read"] == {"a.csv": {"delimiter": "comma"}}


def test_of_a_repeated_item_the_first_row_is_kept() -> None:
    items = pl.DataFrame({"item_id": ["2", "1", "2", "2"], "title": ["first", "one", "second", "third"]})
    kept, (entry,) = datasets.drop_repeated_items(items, "items.csv")
    assert kept.rows() == [("2", "first"), ("1", "one")]
    assert (entry.where, entry.count, entry.first) == (("items.csv", 2, "row 3, item '2'"))
    same, nothing = datasets.drop_repeated_items(kept, "items.csv")
    assert same.equals(kept)
    assert nothing == ()


def test_a_folder_that_is_not_a_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no manifest\.json, expected a finished dataset folder"):
        datasets.read_dataset(tmp_path)


def test_an_unreadable_parquet_file_is_named(small: Dataset, tmp_path: Path) -> None:
    Stage(datasets.KIND, {}, {}, lambda draft: datasets.write_dataset(draft, small)).run(tmp_path / "d")
    (tmp_path / "d" / "items.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"items\.parquet ") as caught:
        datasets.read_dataset(tmp_path / "d")
    assert "\n" not in str(caught.value)
    (tmp_path / "d" / "interactions.parquet").unlink()
    with pytest.raises(DataError, match=r"interactions\.parquet is missing"):
        datasets.read_dataset(tmp_path / "d")
