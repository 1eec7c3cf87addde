"""Control characters of ids, titles and replies are shown as escapes by every command that prints them."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

import hardneg.cli
from hardneg.cli.main import app
from hardneg.cli.output import SafeConsole, render_table
from hardneg.data import simulate

SENT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
HOSTILE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202etxet\u2066\r"


@pytest.mark.parametrize("terminal", [False, True])
def test_console_sends_only_its_own_escapes(terminal: bool) -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=terminal, width=200, emoji=False, color_system=None)
    console.print(HOSTILE, markup=False)
    console.print(f"[bold]{HOSTILE}[/bold] :smile:")
    console.print(render_table([HOSTILE, "b"], [[HOSTILE, "[red]two\nlines[/red]"]]))
    printed = file.getvalue()
    assert not SENT.search(printed.replace("\x1b[1m", "").replace("\x1b[0m", ""))
    assert printed.count(r"\x1b[31mred\x1b]0;title\x07\x9b2J\u202etxet\u2066\r") == 4
    assert r"[red]two\nlines[/red]" in printed
    assert ":smile:" in printed


def test_output_of_commands_goes_through_one_module() -> None:
    for path in Path(hardneg.cli.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        names = {ast.unparse(call.func) for call in calls}
        assert path.name == "output.py" or not names & {"print", "Console", "click.echo"}, path
        assert path.name in ("output.py", "main.py") or "typer.echo" not in names, path
    assert issubclass(SafeConsole, Console)


@pytest.fixture(scope="module")
def hostile_split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split whose ids and titles hold escape sequences, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("hostile")
    dataset, _ = simulate.simulate_store(simulate.SimulationConfig(n_users=60, n_items=50, shown=30, like_rate=0.3))
    ids = [(pl.lit(HOSTILE.strip()) + pl.col(name)).alias(name) for name in ("user_id", "item_id")]
    bad = pl.DataFrame({"user_id": [f"\x1b[5m{HOSTILE}"], "item_id": [""], "timestamp": [f"{HOSTILE}soon"]})
    pairs = dataset.interactions.with_columns(*ids, pl.col("timestamp").cast(pl.String))
    pl.concat([pairs, bad], how="diagonal_relaxed").write_csv(folder / "pairs.csv")
    titles = pl.format("{}{}", pl.lit(HOSTILE), pl.col("title")).alias("title")
    dataset.items.with_columns(ids[1], titles).write_csv(folder / "items.csv")
    show("data", "import", "table", folder / "pairs.csv", "--items", folder / "items.csv", "--out", folder / "data")
    show("data", "split", folder / "data", "--out", folder / "split")
    return folder / "split"


def show(*words: object, code: int = 0) -> str:
    """Return what a command prints, and check that no control character is sent."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    assert not SENT.search(result.stdout + result.stderr), (words, SENT.search(result.stdout + result.stderr))
    return result.output


def test_commands_show_hostile_ids_and_titles_as_escapes(hostile_split: Path) -> None:
    split, folder = hostile_split, hostile_split.parent
    show("data", "describe", folder / "data")
    show("data", "describe", split)
    show("audit", "split", split)
    show("profiles", "write", split, "--out", folder / "profiles")
    show("train", split, "--epochs", 1, "--set", "model.embedding_size=8", "--out", folder / "run")
    user = pl.read_parquet(split / "users.parquet")["user_id"][0]
    assert r"\x1b[31mred" in show("recommend", folder / "run", "--user", user)
    show("recommend", folder / "run", "--user", user, "--json")
    assert r"\x1b[31mnobody" in show("recommend", folder / "run", "--user", "\x1b[31mnobody", code=2)
