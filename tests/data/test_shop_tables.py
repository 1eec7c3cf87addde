"""A simulated store as two CSV tables: `hardneg run` understands them, and no other file is overwritten."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from hardneg.data import simulate
from hardneg.data.shop_tables import write_shop_tables
from hardneg.errors import ConfigError
from hardneg.quickstart import Question, guess_columns


def never(question: Question) -> str:
    raise AssertionError(question.text)


STORE = simulate.SimulationConfig(n_users=60, n_items=50, shown=30, like_rate=0.3)


def test_the_tables_have_every_pair_and_text_and_are_understood(tmp_path: Path) -> None:
    dataset, _ = simulate.simulate_store(STORE)
    orders, products = (pl.read_csv(path) for path in write_shop_tables(dataset, tmp_path))
    pairs = dataset.interactions
    assert set(orders.select("customer", "sku").rows()) == set(pairs.select("user_id", "item_id").rows())
    seconds = orders["ordered_at"].str.to_datetime("%Y-%m-%dT%H:%M:%SZ").dt.epoch("s")
    assert seconds.sort().to_list() == pairs["timestamp"].cast(pl.Int64).sort().to_list()
    assert products["name"].to_list() == dataset.items["title"].to_list()
    mapping = guess_columns(tmp_path / "orders.csv", tmp_path / "products.csv", never)
    assert mapping.columns == {"user_id": "customer", "item_id": "sku", "timestamp": "ordered_at"}
    assert mapping.item_columns["title"] == "name"


def test_a_file_with_another_content_is_kept(tmp_path: Path) -> None:
    dataset, _ = simulate.simulate_store(STORE)
    write_shop_tables(dataset, tmp_path)
    write_shop_tables(dataset, tmp_path)
    (tmp_path / "orders.csv").write_text("my orders\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"found another .*orders\.csv.*--csv"):
        write_shop_tables(dataset, tmp_path)
    assert (tmp_path / "orders.csv").read_text(encoding="utf-8") == "my orders\n"
