"""Ids in one spelling in both tables of a source."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data.dataset import Dataset
from hardneg.data.file_summary import FileSummary
from hardneg.data.id_normalisation import normalise_ids
from hardneg.data.readers import StreamedDataset, open_recbole
from hardneg.data.row_report import RowCounter

REMARK = "ids in one spelling (integer): 2 users became 1, 3 items became 2"


def test_both_tables_get_one_spelling_and_merged_ids_are_noted(tmp_path: Path) -> None:
    interactions = pl.DataFrame({"user_id": ["u", " u", "u"], "item_id": ["007", "7", "8.0"]})
    items = pl.DataFrame({"item_id": ["7.0", "7", "08"], "title": ["a", "b", "c"]})
    files = {"shop.csv": FileSummary(delimiter=",")}
    data = normalise_ids(Dataset(interactions, items, files=files), "integer")
    assert isinstance(data, Dataset)
    assert data.interactions.rows() == [("u", "7"), ("u", "7"), ("u", "8")]
    assert data.items.rows() == [("7", "a"), ("8", "c")]
    assert [entry.count for entry in data.row_report] == [1]
    assert data.files["shop.csv"].remarks == [REMARK]


def test_a_streamed_source_is_normalised_block_by_block(tmp_path: Path) -> None:
    (tmp_path / "a.inter").write_text("user_id:token\titem_id:token\nu\t007\n u\t7\nu\t8.0\n")
    (tmp_path / "a.item").write_text("item_id:token\ttitle:token_seq\n7.0\ta\n08\tc\n")
    source = normalise_ids(open_recbole({"train": tmp_path / "a.inter"}, tmp_path / "a.item"), "integer")
    assert isinstance(source, StreamedDataset)
    assert source.items is not None
    counter = RowCounter()
    assert pl.concat(source.interactions(counter, None)).rows() == [("u", "7"), ("u", "7"), ("u", "8")]
    assert counter.file("a.inter").remarks == [REMARK]
    assert pl.concat(source.items(counter, None))["item_id"].to_list() == ["7", "8"]


def test_other_ids_stay_as_they_are() -> None:
    interactions = pl.DataFrame({"user_id": ["a", "A"], "item_id": ["x7", "7.5"]})
    data = normalise_ids(Dataset(interactions, pl.DataFrame(schema={"item_id": pl.String})), "integer")
    assert isinstance(data, Dataset)
    assert data.interactions.equals(interactions)
    assert data.files == {}
