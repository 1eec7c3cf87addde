"""Own vectors of items: formats, order, and one line for each thing that is wrong with a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg.artifacts import file_hash
from hardneg.errors import DamagedError, DataError
from hardneg.text import ItemVectors

IDS = ["i1", "i2", "i3", "i4"]
VECTORS = np.array([[3.0, 4.0], [0.0, -2.0], [1.0, 0.0], [0.0, 0.0]])
UNIT = np.array([[0.6, 0.8], [0.0, -1.0], [1.0, 0.0], [np.nan, np.nan]], np.float32)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64])
def test_an_array_has_the_order_of_the_items(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "a.npy", VECTORS.astype(dtype))
    found = ItemVectors(tmp_path / "a.npy").read(IDS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, UNIT, rtol=1e-6)


def columns_of(form: str) -> dict[str, object]:
    if form == "columns":
        return {"x": VECTORS[:, 0], "y": VECTORS[:, 1].astype(int)}
    lists = pl.Series(VECTORS.tolist(), dtype=pl.List(pl.Float32))
    return {"embedding": lists.cast(pl.Array(pl.Float32, 2)) if form == "arrays" else lists}


@pytest.mark.parametrize("form", ["lists", "arrays", "columns"])
def test_a_table_has_any_order_and_may_lack_items(tmp_path: Path, form: str) -> None:
    table = pl.DataFrame({"item_id": IDS, **columns_of(form)})
    table[::-1].write_parquet(tmp_path / "a.parquet")
    np.testing.assert_allclose(ItemVectors(tmp_path / "a.parquet").read(IDS), UNIT, rtol=1e-6)
    found = ItemVectors(tmp_path / "a.parquet").read(["other", "i2", "i1"])
    np.testing.assert_allclose(found, [[np.nan, np.nan], UNIT[1], UNIT[0]], rtol=1e-6)


def test_whole_numbers_are_ids(tmp_path: Path) -> None:
    for ids in ([7, 8], [7.0, 8.0]):
        pl.DataFrame({"item_id": ids, "x": [1.0, -1.0]}).write_parquet(tmp_path / "a.parquet")
        assert ItemVectors(tmp_path / "a.parquet").read(["8", "7"]).tolist() == [[-1], [1]]


def test_the_hash_of_the_file_is_its_identity(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS)
    assert ItemVectors(tmp_path / "a.npy").identity == file_hash(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"none\.npy does not exist"):
        _ = ItemVectors(tmp_path / "none.npy").identity


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (VECTORS[:3], r"shape 3 x 2, expected 4 x size"),
        (VECTORS[:, 0], r"shape 4, expected 4 x size"),
        (VECTORS[:, :0], r"shape 4 x 0"),
        (np.array([["a"]] * 4), r"<U1 numbers"),
        (np.where(VECTORS == -2, np.nan, VECTORS), r"not finite in 1 rows \(first: row 1\)"),
        (np.where(VECTORS == 0, np.inf, VECTORS), r"not finite in 3 rows \(first: row 1\)"),
    ],
)
def test_an_array_that_does_not_fit_is_one_line(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message) as caught:
        ItemVectors(tmp_path / "a.npy").read(IDS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": IDS, "x": [1.0] * 4}, "expected item_id"),
        ({"item_id": IDS}, "expected item_id and vectors"),
        ({"item_id": ["i1", "i1"], "x": [1.0, 2.0]}, "item 'i1' twice"),
        ({"item_id": ["i1", "i2"], "x": ["a", "b"]}, r"x \(String\), expected one column of lists of numbers"),
        ({"item_id": ["i1", "i2"], "v": [["a"], ["b"]]}, r"v \(List\(String\)\)"),
        ({"item_id": ["i1", "i2"], "v": [[1.0], [1.0]], "w": [1.0, 2.0]}, "expected one column of lists of numbers"),
        ({"item_id": ["i1", "i2"], "v": [[1.0], [1.0, 2.0]]}, "vectors of 1 to 2 numbers"),
        ({"item_id": ["i1", "i2"], "v": [[1.0], None]}, "vectors of 0 to 1 numbers"),
        ({"item_id": ["i1", "i2"], "v": [[1.0, None], [1.0, 2.0]]}, "not finite in 1 rows .first: item 'i1'"),
        ({"item_id": ["i1", "i2"], "x": [1.0, None]}, "not finite in 1 rows .first: item 'i2'"),
        ({"item_id": ["a", "b"], "x": [1.0, 2.0]}, "no item of the split, whose first is 'i1', found 'a'"),
        ({"item_id": pl.Series([], dtype=pl.String), "x": pl.Series([], dtype=pl.Float64)}, "has 0 rows"),
    ],
)
def test_a_table_that_does_not_fit_is_one_line(tmp_path: Path, table: dict[str, object], message: str) -> None:
    pl.DataFrame(table).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message) as caught:
        ItemVectors(tmp_path / "a.parquet").read(IDS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error"), [("a.npy", DamagedError), ("a.parquet", DamagedError), ("a.csv", DataError)]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, error: type[Exception]) -> None:
    (tmp_path / name).write_text("item_id,x\n")
    with pytest.raises(error, match=name):
        ItemVectors(tmp_path / name).read(IDS)
