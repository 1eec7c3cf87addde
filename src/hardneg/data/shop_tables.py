"""A dataset as the two CSV tables that a shop would export: orders.csv and products.csv, for `hardneg run`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data.dataset import Dataset
from hardneg.errors import ConfigError

ORDERS, PRODUCTS = "orders.csv", "products.csv"


def write_shop_tables(dataset: Dataset, folder: Path) -> tuple[Path, Path]:
    """Write customer, sku and time of every pair, and sku and texts of every item; times in UTC, to the second.

    Raises ConfigError where a file of this name has another content.
    """
    time = pl.from_epoch(pl.col("timestamp").cast(pl.Int64)).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    orders = dataset.interactions.select(customer="user_id", sku="item_id", ordered_at=time).sort(
        "ordered_at", "customer"
    )
    products = dataset.items.select(
        "brand", "description", sku="item_id", name="title", category=pl.col("categories").str.replace_all(", ", " > ")
    ).select("sku", "name", "category", "brand", "description")
    return _write(orders, folder / ORDERS), _write(products, folder / PRODUCTS)


def _write(table: pl.DataFrame, path: Path) -> Path:
    text = table.write_csv().encode()
    if path.exists() and path.read_bytes() != text:
        raise ConfigError(f"found another {path}, which would be overwritten; choose another folder for --csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return path
