"""MovieLens in the shapes of its releases."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hardneg.data.readers import open_movielens
from hardneg.errors import DataError

from ..streamed import read_all

RATINGS = {
    "u.data": "196\t242\t3\t881250949\n186\t302\t3\t891717742\n",
    "ratings.dat": "196::242::3::881250949\n186::302::3::891717742\n",
    "ratings.csv": "userId,movieId,rating,timestamp\n196,242,3.0,881250949\n186,302,3.0,891717742\r\n",
}
FLAGS = "|".join("1" if place in (4, 16) else "0" for place in range(19))
FILMS = {
    "u.item": f"242|Kolya (1996)|24-Jan-1997||http://x|{FLAGS}\n302|Misérables, Les|x||y|{'0|' * 18}0\n7|Other|x||y|{FLAGS}\n",
    "movies.dat": "242::Kolya (1996)::Children's|Thriller\n302::Misérables, Les::\n7::Other::Drama\n",
    "movies.csv": (
        'movieId,title,genres\n242,Kolya (1996),Children\'s|Thriller\n302,"Misérables, Les",(no genres listed)\n7,Other,Drama\n'
    ),
}


def put(folder: Path, text: str, name: str, encoding: str = "utf-8") -> Path:
    path = folder / name
    data = text.encode(encoding)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", [*RATINGS, "u.data.gz"])
def test_every_format_of_ratings_reads_the_same(tmp_path: Path, name: str) -> None:
    data = read_all(open_movielens(put(tmp_path, RATINGS[name.removesuffix(".gz")], name)))
    assert data.interactions.columns == ["user_id", "item_id", "rating", "timestamp"]
    assert data.interactions.rows() == [("196", "242", 3.0, 881250949), ("186", "302", 3.0, 891717742)]
    assert data.row_report == ()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("name", FILMS)
def test_every_format_of_films_reads_the_same(tmp_path: Path, name: str, encoding: str) -> None:
    ratings = put(tmp_path, RATINGS["u.data"], "u.data")
    data = read_all(open_movielens(ratings, put(tmp_path, FILMS[name], name, encoding)))
    assert data.items.select("item_id", "title", "categories").rows() == [
        ("242", "Kolya (1996)", "Children's, Thriller"),
        ("302", "Misérables, Les", ""),
    ]
    assert [entry.reason for entry in data.row_report] == ["of items without interactions"]


def test_only_bad_lines_are_left_out_and_reported(tmp_path: Path) -> None:
    text = "1::2::3::4\n1::2::3\n1,2,3,4\n\n1::2::x::4\n::2::3::4\n1::2::3::4::5\n1::3::5::x\n1::4::5::\n"
    films = "2::A::B\n2::A\n4::B::C::D\n4::E::F\n"
    data = read_all(open_movielens(put(tmp_path, text, "ratings.dat"), put(tmp_path, films, "movies.dat")))
    assert data.interactions.rows() == [("1", "2", 3.0, 4), ("1", "4", 5.0, None)]
    assert data.items["title"].to_list() == ["A", "E"]
    assert [(entry.where, entry.count, entry.first) for entry in data.row_report] == [
        ("ratings.dat", 3, "line 2: '1::2::3'"),
        ("ratings.dat", 1, "line 6"),
        ("ratings.dat", 1, "line 5, rating 'x'"),
        ("ratings.dat", 1, "line 8, timestamp 'x'"),
        ("movies.dat", 2, "line 2: '2::A'"),
    ]


def test_a_film_with_malformed_quotes_is_left_out(tmp_path: Path) -> None:
    films = 'movieId,title,genres\n242,"a"b,c\n302,Good,Drama\n'
    data = read_all(open_movielens(put(tmp_path, RATINGS["u.data"], "u.data"), put(tmp_path, films, "movies.csv")))
    assert data.items["title"].to_list() == ["Good"]
    assert data.row_report[0].first == "line 2: '242,\"a\"b,c'"


def test_the_format_is_recognised_by_content(tmp_path: Path) -> None:
    for number, text in enumerate([*RATINGS.values(), RATINGS["ratings.csv"].partition("\n")[2]]):
        data = read_all(open_movielens(put(tmp_path, text, f"{number}.txt")))
        assert data.interactions["item_id"].to_list() == ["242", "302"]
    ratings = put(tmp_path, RATINGS["u.data"], "ratings")
    for text in FILMS.values():
        assert read_all(open_movielens(ratings, put(tmp_path, text, "films"))).items["title"][0] == "Kolya (1996)"


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found no usable row.*movies\.csv: 3 rows without exactly 4 fields"):
        read_all(open_movielens(put(tmp_path, FILMS["movies.csv"], "movies.csv")))
