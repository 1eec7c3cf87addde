"""Every marked block of the documentation runs, page by page, on a tiny store and with a scripted language model.

The commands are those that the pages show, except that searches and trainings are short, and all in one process.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.docs.pages import ROOT, Block, blocks, pages
from tests.finetuning.tiny import make_base
from tests.llm.function_model import FunctionModel
from typer.testing import CliRunner

from hardneg.cli.main import app
from hardneg.cli.quickstart import BudgetOptions
from hardneg.data import simulate
from hardneg.llm import names
from hardneg.llm.packages import models
from hardneg.llm.protocol import Reply, Request, Usage
from hardneg.llm.remote.capabilities import Capabilities

STORE = simulate.SimulationConfig(n_users=60, n_items=72, shown=40, like_rate=0.2)
PAGES = [page for page in pages() if blocks(page)]
PREPARED = ("data/shop", "data/shop-split")
"""Folders that a page may read without making them, unless it makes them itself. README.md and tutorials make all."""
SHORT = {"run": {"--workers": "1", "--trials": "1", "--epochs": "1"}, "train": {"--epochs": "2"}}
"""Options of commands, where a page shows no other value."""
RECBOLE = ("user_id", "item_id", "rating", "timestamp")
FILE_FORMATS = (ROOT / "docs" / "file-formats.md").read_text(encoding="utf-8")


class ScriptedModel(FunctionModel):
    """A language model whose every answer satisfies the request's schema."""

    def __init__(self, name: str) -> None:
        super().__init__(_answer, name=name, concurrency=2)

    async def probe(self, *_: str) -> Capabilities:
        return Capabilities(schema=True)

    async def aclose(self) -> None:
        pass


def _answer(request: Request) -> Reply:
    text = json.dumps(_instance(json.loads(request.schema))) if request.schema else "a tent"
    return Reply(text, Usage(100, 10))


def _instance(schema: dict[str, Any]) -> Any:
    """Return a value that a JSON schema accepts."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _instance(part) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [_instance(schema["items"])] * max(1, schema.get("minItems", 0))
    return schema.get("minimum", 1) if schema.get("type") in ("integer", "number") else "a tent"


def write_sources(folder: Path) -> None:
    """Write the files that the pages import: sales.csv, products.csv, and MovieLens in two forms."""
    dataset, _ = simulate.simulate_store(STORE)
    sales = dataset.interactions.select("user_id", "item_id", "timestamp").rename(
        {"user_id": "customer", "item_id": "sku", "timestamp": "time"}
    )
    sales.write_csv(folder / "sales.csv")
    dataset.items.select(pl.col("item_id").alias("sku"), pl.col("title").alias("name")).write_csv(
        folder / "products.csv"
    )
    (folder / "ml").mkdir()
    numbers = dataset.interactions.select(
        pl.col("user_id").str.slice(1), pl.col("item_id").str.slice(1), pl.lit(5), "timestamp"
    )
    numbers.write_csv(folder / "ml" / "u.data", separator="\t", include_header=False)
    films = "".join(f"{item}|Film {item} (1995)|01-Jan-1995||url|{'|'.join('0' * 19)}\n" for item in range(72))
    (folder / "ml" / "u.item").write_text(films, encoding="latin-1")
    (folder / "ml-100k").symlink_to("ml")
    types = {name: f"{name}:{'float' if name in ('rating', 'timestamp') else 'token'}" for name in RECBOLE}
    atomic = numbers.select(**dict(zip(RECBOLE, numbers.columns, strict=True))).rename(types)
    atomic.write_csv(folder / "ml" / "ml-100k.inter", separator="\t")
    titles = "".join(f"{item}\tFilm {item}\n" for item in range(72))
    (folder / "ml" / "ml-100k.item").write_text(f"item_id:token\tmovie_title:token_seq\n{titles}", encoding="utf-8")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny random encoder in place of MiniLM, and a tiny decoder in place of SmolLM2, for fine-tuning."""
    families = {"minilm": "bert", "smollm2-135m": "llama"}
    return {name: str(make_base(tmp_path_factory.mktemp(family), family)) for name, family in families.items()}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the source files, in which pages may import their own modules."""
    write_sources(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(names, "open_model", lambda name, **_: ScriptedModel(name))
    monkeypatch.setattr(models, "get_model", lambda model, *_: Path(model.name))
    monkeypatch.setattr(BudgetOptions, "processes", 0)
    monkeypatch.setitem(simulate.PRESETS, "informative", STORE)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (file := getattr(sys.modules[name], "__file__", None)) and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


def run_command(words: list[str]) -> None:
    assert words[0] == "hardneg", f"only hardneg commands are executed, found {words[0]}"
    result = CliRunner().invoke(app, words[1:])
    error = "" if result.exception is None or isinstance(result.exception, SystemExit) else repr(result.exception)
    assert result.exit_code == 0, f"{' '.join(words)}\n{result.output}{error}"


def run_block(block: Block, scope: dict[str, Any], bases: dict[str, str]) -> None:
    """Execute one block."""
    if block.action == "file":
        Path(block.name).parent.mkdir(parents=True, exist_ok=True)
        short = re.sub(r"\b(epochs|trials): \d+", r"\1: 2", re.sub(r"\bseeds: \d+", "seeds: 3", block.text))
        Path(block.name).write_text(short, encoding="utf-8")
    elif block.language == "python":
        exec(compile(block.text, f"block {block.name}", "exec"), scope)
    else:
        for words in block.commands:
            if words != ["export", "PYTHONPATH=$PWD"]:  # `workplace` has done that
                run_command(_shortened(words, bases))


def _shortened(words: list[str], bases: dict[str, str]) -> list[str]:
    """Return the words of a command that takes less time; a name after `--base` becomes its tiny base."""
    pairs = zip(["", *words[:-1]], words, strict=True)
    replaced = [
        bases.get(word, word) if option == "--base" else "1" if option == "--workers" else word
        for option, word in pairs
    ]
    more = SHORT.get(words[1], {})
    return replaced + [word for option, value in more.items() if option not in words for word in (option, value)]


def prepare(page: Path) -> None:
    """Make the folders that a page reads without making them."""
    text = page.read_text(encoding="utf-8")
    if PREPARED[0] not in text:
        return
    if "--out data/shop\n" not in text:
        columns = {"--column": ("user_id=customer", "item_id=sku", "timestamp=time")}
        columns |= {"--item-column": ("item_id=sku", "title=name")}
        options = [word for option, pairs in columns.items() for pair in pairs for word in (option, pair)]
        run_command(
            [
                "hardneg",
                "data",
                "import",
                "table",
                "sales.csv",
                "--items",
                "products.csv",
                *options,
                "--out",
                PREPARED[0],
            ]
        )
    if "--out data/shop-split\n" not in text:
        run_command(["hardneg", "data", "split", *PREPARED[:1], "--out", PREPARED[1]])


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES])
def test_a_page_runs(page: Path, bases: dict[str, str], workplace: Path) -> None:
    if page.name == "README.md" or page.parent.name == "tutorials":
        Path("products.csv").unlink()  # these make the files that they read
    else:
        prepare(page)
    scope: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page):
        try:
            run_block(block, scope, bases)
        except Exception as error:
            raise AssertionError(f"{page.name}, line {block.line}, block {block.name}: {error}") from error
    require_described_files(workplace)


def require_described_files(folder: Path) -> None:
    """Every file of every artifact that a page made is on the page about file formats."""
    for manifest in folder.rglob("manifest.json"):
        for file in manifest.parent.iterdir():
            known = file.is_dir() or file.name in FILE_FORMATS
            assert known, f"{file.relative_to(folder)} is not described in file-formats.md"
