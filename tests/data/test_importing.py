"""Large files into a dataset folder: the same as in memory, whatever the sizes of blocks and parts."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardneg import artifacts
from hardneg.data import FilterConfig, filters, importing
from hardneg.data import dataset as datasets
from hardneg.data.readers import StreamedDataset, open_amazon
from hardneg.data.readers import line_blocks as blocks_module
from hardneg.data.row_report import RowIssue
from hardneg.errors import DataError
from hardneg.stage import Stage

from .streamed import read_all

DAY = 86_400
NONE: dict[str, Any] = {"config": {}, "inputs": {}}


def put(folder: Path, rows: list[Any], name: str = "r.json.gz") -> Path:
    path = folder / name
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    return path


def review(user: str, item: str, stars: int, day: int, text: str | None) -> dict[str, Any]:
    return {"reviewerID": user, "asin": item, "overall": stars, "unixReviewTime": day * DAY, "reviewText": text}


rows = st.one_of(
    st.builds(
        review,
        st.sampled_from("abcd "),
        st.sampled_from("1234"),
        st.integers(1, 5),
        st.integers(0, 9),
        st.one_of(st.none(), st.text(max_size=4)),
    ),
    st.sampled_from(["junk", '{"reviewerID": "a"}', '{"reviewerID": "a", "asin": "1", "overall": "x"}']),
)
chosen = st.builds(
    FilterConfig,
    min_rating=st.one_of(st.none(), st.just(3.0)),
    since=st.one_of(st.none(), st.just(date(1970, 1, 3))),
    until=st.one_of(st.none(), st.just(date(1970, 1, 9))),
    kcore=st.integers(0, 2),
)
META = [{"asin": name, "title": title} for name, title in (("1", "one"), ("9", "nine"), ("2", "two"), ("1", "again"))]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=25), st.one_of(st.none(), chosen), st.integers(20, 500), st.integers(1, 9))
def test_the_folder_equals_reading_into_memory(
    tmp_path_factory: pytest.TempPathFactory, some: list[Any], config: FilterConfig | None, size: int, part: int
) -> None:
    folder = tmp_path_factory.mktemp("import")
    source = open_amazon(2018, put(folder, some), put(folder, META, "meta.json.gz"))
    try:
        whole = read_all(source, config)
    except DataError as error:
        with pytest.raises(DataError) as caught:
            Stage(datasets.KIND, {}, {}, lambda draft: importing.write_streamed(draft, source, config)).run(
                folder / "out"
            )
        assert str(caught.value) == str(error)  # noqa: PT017 - whether it raises depends on the rows
        assert {path.name for path in folder.iterdir()} == {"r.json.gz", "meta.json.gz"}
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "BLOCK_BYTES", size)
        patch.setattr(importing, "ROWS_PER_CHUNK", part)
        Stage(datasets.KIND, {}, {}, lambda draft: importing.write_streamed(draft, source, config)).run(folder / "out")
    made = datasets.read_dataset(folder / "out")
    assert made.interactions.equals(whole.interactions)
    assert made.items.equals(whole.items)
    assert {path.name for path in (folder / "out").iterdir()} == {
        "interactions.parquet",
        "items.parquet",
        "manifest.json",
    }
    notes = artifacts.read_manifest(folder / "out", "dataset")["notes"]
    assert (notes["rows"], notes["items"]) == (len(whole.interactions), len(whole.items))
    assert {RowIssue(**entry) for entry in notes["rows left out"]} == set(whole.row_report)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=25), chosen)
def test_filters_while_reading_equal_filters_on_the_whole_table(
    tmp_path: Path, some: list[Any], config: FilterConfig
) -> None:
    """The rows are those that `data split` would keep of an unfiltered import."""
    source = open_amazon(2018, put(tmp_path, some))
    try:
        expected, _ = filters.filter_interactions(read_all(source).interactions, config)
    except DataError:
        with pytest.raises(DataError, match="found no usable row"):
            read_all(source, config)
        return
    found = read_all(source, config).interactions
    assert len(found) == len(expected)
    assert found.sort(pl.all()).equals(expected.sort(pl.all()))
    again, _ = filters.filter_interactions(found, config)
    assert len(again) == len(found)


def test_every_row_is_kept_or_reported(tmp_path: Path) -> None:
    some = [review(f"u{n % 7}", f"i{n % 11}", n % 5 + 1, n % 13, "x") for n in range(300)] + [
        "junk",
        review("", "1", 1, 1, ""),
    ]
    Stage(
        datasets.KIND,
        {},
        {},
        lambda draft: importing.write_streamed(
            draft, open_amazon(2018, put(tmp_path, some)), FilterConfig(min_rating=2, kcore=3)
        ),
    ).run(tmp_path / "out")
    notes = artifacts.read_manifest(tmp_path / "out", "dataset")["notes"]
    assert notes["rows"] + sum(entry["count"] for entry in notes["rows left out"]) == 302
    assert notes["rows"] > 0


def test_without_an_item_file_the_item_table_is_empty(tmp_path: Path) -> None:
    Stage(
        datasets.KIND,
        {},
        {},
        lambda draft: importing.write_streamed(draft, open_amazon(2018, put(tmp_path, [review("a", "1", 5, 1, "")]))),
    ).run(tmp_path / "out")
    assert datasets.read_dataset(tmp_path / "out").items.schema == {"item_id": pl.String}


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    """A folder's hash is part of the keys of what is made from it."""
    source = open_amazon(2018, put(tmp_path, [review(f"u{n % 70}", f"i{n % 31}", 5, n, "x" * n) for n in range(500)]))
    for name in ("one", "two"):
        Stage(datasets.KIND, {}, {}, lambda draft: importing.write_streamed(draft, source, FilterConfig(kcore=2))).run(
            tmp_path / name
        )
    assert artifacts.folder_hash(tmp_path / "one") == artifacts.folder_hash(tmp_path / "two")


def test_files_of_a_killed_import_are_not_mixed_in(tmp_path: Path) -> None:
    source = open_amazon(2018, put(tmp_path, [review("a", "1", 5, 1, "")]))
    growing = artifacts.partial_folder(tmp_path / "out", artifacts.artifact_key("dataset", {}, {}))
    stale = growing / "parts" / "interactions" / "00000.parquet"
    stale.parent.mkdir(parents=True)
    pl.DataFrame({"user_id": ["stale"]}).write_parquet(stale)
    Stage(datasets.KIND, {}, {}, lambda draft: importing.write_streamed(draft, source)).run(tmp_path / "out")
    assert datasets.read_dataset(tmp_path / "out").interactions["user_id"].to_list() == ["a"]
    assert not list(tmp_path.glob(".out*"))


def test_an_interrupted_import_leaves_nothing(tmp_path: Path) -> None:
    source = open_amazon(2018, put(tmp_path, [review("a", "1", 5, 1, "")]))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stage(datasets.KIND, {}, {}, lambda draft: importing.write_streamed(draft, source, progress=interrupt)).run(
            tmp_path / "out"
        )
    assert {path.name for path in tmp_path.iterdir()} == {"r.json.gz"}


def test_texts_are_kept_on_disk_and_not_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more rows than a block and a part at once, and the filters that need all rows see ids and times alone."""
    monkeypatch.setattr(blocks_module, "BLOCK_BYTES", 2_000)
    monkeypatch.setattr(importing, "ROWS_PER_CHUNK", 50)
    waiting: list[int] = []
    seen: list[list[str]] = []
    add, kept = importing.ChunkedTable.add, importing.mark_kept_rows

    def watched(parts: importing.ChunkedTable, frame: pl.DataFrame) -> None:
        add(parts, frame)
        waiting.append(sum(map(len, parts._pending)))

    def looked_at(index: pl.DataFrame, config: FilterConfig) -> Any:
        seen.append(index.columns)
        assert all(not dtype.is_(pl.String) for dtype in index.dtypes)
        return kept(index, config)

    monkeypatch.setattr(importing.ChunkedTable, "add", watched)
    monkeypatch.setattr(importing, "mark_kept_rows", looked_at)
    source: StreamedDataset = open_amazon(
        2018, put(tmp_path, [review(f"u{n % 9}", f"i{n % 7}", 5, n, "text") for n in range(1000)])
    )
    Stage(datasets.KIND, {}, {}, lambda draft: importing.write_streamed(draft, source, FilterConfig(kcore=2))).run(
        tmp_path / "out"
    )
    assert max(waiting) < 50
    assert seen == [["user_id", "item_id", "timestamp"]]
