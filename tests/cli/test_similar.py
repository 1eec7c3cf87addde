"""`hardneg similar`: titles with markup and escape sequences are text."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from tests.cli.test_commands import refuse, succeed, values_of

TITLES = ["[red]a", "\x1b[2Jb", "<b>c</b>", "d"]


def test_nearest_items_are_printed(tmp_path: Path) -> None:
    rows = [(f"u{user}", f"i{item}") for user in range(12) for item in range(8) if (user + item) % 3]
    pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_csv(tmp_path / "a.csv")
    items = [(f"i{item}", TITLES[item % 4]) for item in range(8)]
    pl.DataFrame(items, schema=["item_id", "title"], orient="row").write_csv(tmp_path / "items.csv")
    succeed(
        "data", "import", "table", tmp_path / "a.csv", "--items", tmp_path / "items.csv", "--out", tmp_path / "data"
    )
    succeed("data", "split", tmp_path / "data", "--out", tmp_path / "split")
    succeed("train", tmp_path / "split", "--model", "mf", "--epochs", 1, "--out", tmp_path / "run")
    output = succeed("similar", tmp_path / "run", "i1", "-k", 7)
    assert r"Nearest to i1 \x1b[2Jb, by item embeddings" in output
    assert "[red]a" in output
    assert "\x1b" not in output
    values = values_of("similar", tmp_path / "run", "i1", "-k", 2)
    assert [row["rank"] for row in values["table"]] == [1, 2]  # type: ignore[attr-defined]
    assert "'i3'" in refuse("similar", tmp_path / "run", "D")
