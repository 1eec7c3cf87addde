"""Guesses of columns by name and value, and the questions that remain."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.quickstart.tables import write_tables

from hardneg.errors import ConfigError
from hardneg.quickstart import ColumnMapping, Question, guess_columns
from hardneg.quickstart.column_guesses import _plain


def never(question: Question) -> str:
    raise AssertionError(question.text)


def first(question: Question) -> str:
    return question.readings[0]


def write(folder: Path, name: str, frame: dict[str, list[object]]) -> Path:
    path = folder / name
    pl.DataFrame(frame).write_csv(path)
    return path


def test_a_shop_is_understood_without_a_question(tmp_path: Path) -> None:
    orders, products = write_tables(tmp_path)
    found = guess_columns(orders, products, never)
    assert found.source == "table"
    assert found.columns == {"user_id": "customer", "item_id": "sku", "timestamp": "ordered_at"}
    assert found.item_columns["item_id"] == "sku"
    assert found.item_columns["title"] == "name"
    assert "user_id = customer" in " ".join(found.lines("orders.csv", "products.csv"))


def test_the_key_of_items_is_found_by_its_values(tmp_path: Path) -> None:
    orders = write(tmp_path, "o.csv", {"who": ["a", "b"] * 20, "what": [f"p{n % 8}" for n in range(40)]})
    products = write(tmp_path, "p.csv", {"code": [f"p{n}" for n in range(8)], "name": ["x"] * 8})
    found = guess_columns(orders, products, never, columns={"user_id": "who"})
    assert (found.columns["item_id"], found.item_columns["item_id"]) == ("what", "code")


def test_small_numbers_of_users_are_not_taken_for_items(tmp_path: Path) -> None:
    numbers = list(range(40))
    orders = write(
        tmp_path, "o.csv", {"user": [n % 9 for n in numbers], "item": [n % 8 for n in numbers], "stars": [5] * 40}
    )
    products = write(tmp_path, "p.csv", {"item": list(range(12)), "title": ["x"] * 12})
    found = guess_columns(orders, products, never)
    assert found.columns == {"user_id": "user", "item_id": "item", "rating": "stars"}


def test_two_readings_are_a_question_whose_flags_choose(tmp_path: Path) -> None:
    orders, products = write_tables(tmp_path, account=pl.col("customer").str.slice(0, 2))
    asked: list[Question] = []

    def ask(question: Question) -> str:
        asked.append(question)
        return question.readings[1]

    found = guess_columns(orders, products, ask)
    assert found.columns["user_id"] == "account"
    assert found.remarks[0].endswith("? account; else --column user_id=customer")
    assert asked[0].readings == ("customer", "account")
    assert asked[0].flags == ("--column user_id=customer", "--column user_id=account")
    assert guess_columns(orders, products, never, columns={"user_id": "account"}).columns["user_id"] == "account"


def test_two_orders_of_dates_are_a_question(tmp_path: Path) -> None:
    orders, products = write_tables(tmp_path, ordered_at=pl.lit("03/04/2024"))
    asked: list[Question] = []
    found = guess_columns(orders, products, lambda question: asked.append(question) or question.readings[1])
    assert asked[0].readings == ("day-first", "month-first")
    assert asked[0].flags[0] == "--time-format day-first"
    assert found.time_format == "month-first"


def test_a_column_that_holds_no_times_is_left_out_and_named(tmp_path: Path) -> None:
    orders, products = write_tables(tmp_path, ordered_at=pl.lit("Posted on a Monday"))
    found = guess_columns(orders, products, never)
    assert "timestamp" not in found.columns
    assert any("ordered_at is not used" in remark for remark in found.remarks)


def test_unknown_columns_are_named_in_one_line(tmp_path: Path) -> None:
    orders = write(tmp_path, "o.csv", {"a": ["x"] * 4, "b": ["y"] * 4})
    with pytest.raises(ConfigError, match=r"found a, b; name it with --column item_id=COLUMN"):
        guess_columns(orders, None, first)
    with pytest.raises(ConfigError, match="expected a column of"):
        guess_columns(orders, None, first, columns={"user_id": "c"})


def test_atomic_files_are_recognised(tmp_path: Path) -> None:
    inter, item = tmp_path / "x.inter", tmp_path / "x.item"
    inter.write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t4\t880000000\n1\t3\t2\t880000001\n"
    )
    item.write_text("item_id:token\tmovie_title:token_seq\n2\tA\n3\tB\n")
    found = guess_columns(inter, item, never)
    assert found == ColumnMapping(
        source="recbole",
        columns={"item_id": "item_id", "user_id": "user_id", "timestamp": "timestamp", "rating": "rating"},
        item_columns={"item_id": "item_id", "title": "movie_title"},
    )


@pytest.mark.parametrize(
    ("name", "plain"), [("Customer ID", "customer_id"), ("customerId", "customer_id"), (" SKU ", "sku")]
)
def test_names_are_compared_without_case_and_separators(name: str, plain: str) -> None:
    assert _plain(name) == plain
