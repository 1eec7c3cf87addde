"""Two small tables of a simulated store, under names that a shop would use."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data import simulate

STORE = simulate.SimulationConfig(n_users=80, n_items=60, shown=45, like_rate=0.25)


def write_tables(folder: Path, **changes: pl.Expr) -> tuple[Path, Path]:
    """Write orders.csv and products.csv, the orders with further or other columns."""
    dataset, _ = simulate.simulate_store(STORE)
    orders, products = folder / "orders.csv", folder / "products.csv"
    named = dataset.interactions.select(
        pl.int_range(pl.len()).alias("order_id"),
        pl.col("user_id").alias("customer"),
        pl.col("item_id").alias("sku"),
        pl.from_epoch("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S").alias("ordered_at"),
        pl.lit(1).alias("qty"),
    )
    named.with_columns(**changes).write_csv(orders)
    texts = dataset.items.rename({"item_id": "sku", "title": "name"})
    texts.select("sku", "name", *(name for name in ("brand", "description") if name in texts.columns)).write_csv(
        products
    )
    return orders, products
