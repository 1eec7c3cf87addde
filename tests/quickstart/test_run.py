"""From two tables to an answer, killed and continued, and on data that allow less."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from tests.pipeline.test_item_generation import namer
from tests.quickstart.tables import write_tables
from tests.report.page_checks import check_page
from typer.testing import CliRunner, Result

import hardneg as hn
from hardneg import pipeline, text
from hardneg.artifacts import read_manifest
from hardneg.cli.main import app
from hardneg.cli.quickstart import BudgetOptions, choose_reading
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.quickstart import Question
from hardneg.quickstart import budget as budgets
from hardneg.quickstart import run as quickstart_run
from hardneg.storage import read_tensors
from hardneg.studies import estimate, runs, trials
from hardneg.studies.recipes import language_model
from hardneg.studies.runs import CLOCKS

QUICK = ("--trials", "2", "--epochs", "2")


def call(*words: object) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, words)])


def succeed(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def fail(*words: object) -> str:
    result = call(*words)
    assert result.exit_code == 2, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("hardneg: ")]
    assert len(lines) == 1
    return lines[0]


class CountEncoder:
    """Texts as counts of letters, without a model."""

    name = identity = "counts"

    def encode(self, texts: list[str], progress: object = None) -> np.ndarray:
        counts = np.array([[text.count(letter) for letter in "aeiorstn "] for text in texts], np.float32)
        lengths = np.linalg.norm(counts, axis=1, keepdims=True)
        return np.where(lengths > 0, counts / np.maximum(lengths, 1), np.nan)


@pytest.fixture(scope="module", autouse=True)
def _in_one_process_without_an_encoder() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "sentence_encoder", lambda *_, **__: CountEncoder())
        patch.setattr(BudgetOptions, "processes", 0)
        yield


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def shop(tables: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished call with the output."""
    out = tmp_path_factory.mktemp("run") / "shop"
    return out, succeed(*tables, "--out", out, *QUICK)


def test_every_method_is_compared_and_concluded(shop: tuple[Path, str]) -> None:
    out, output = shop
    table = pl.read_parquet(next((out / "study" / "tables").glob("shop-lightgcn.parquet")))
    control = "semantic (retrieved), random vectors"
    rows = ["uniform", "DNS", "DNS + text", "MixGCF", "MixGCF + text", "semantic (retrieved)", control, "popularity"]
    assert table["row"].to_list() == rows
    assert table.filter(~pl.col("row").is_in(["uniform", control]))["p_holm"].is_not_null().all()
    for beginning in (
        "Use ",
        "A model of each customer",
        "Hard negatives by score, DNS",
        "Item texts beside MixGCF",
        "Hard negatives retrieved by text against random vectors: nDCG@20 ",
    ):
        assert re.search(rf"^{beginning}", output, flags=re.MULTILINE), beginning
    assert "Next: hardneg recommend" in output
    rising = next(line for line in output.splitlines() if line.startswith("With more --minutes these may gain"))
    assert re.search(r"rising: uniform, .*; differences to uniform may shrink.$", rising)
    assert "user_id = customer" in output


def test_the_page_begins_with_the_conclusions_of_the_command(shop: tuple[Path, str]) -> None:
    out, output = shop
    page = check_page((out / "page.html").read_text(encoding="utf-8"), scripts=2)
    texts, lines = " ".join(page.texts), output.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("Use "))
    conclusions = lines[first : next(number for number, line in enumerate(lines) if line.startswith("Written: "))]
    places = [texts.index(line) for line in conclusions]
    assert len(places) > 5
    assert places == sorted(places)
    assert places[-1] < texts.index("Filter rows")


def test_a_verdict_is_that_of_the_corrected_test(shop: tuple[Path, str]) -> None:
    out, _ = shop
    result = json.loads(call(*_again(out), "--json").stdout)
    by_row = {row["row"]: row for row in result["rows"]}
    sentence = next(line for line in result["conclusions"] if line.startswith("Hard negatives by score, DNS"))
    expected = {"better": "better", "worse": "worse"}.get(by_row["DNS"]["verdict"], "not significant")
    assert sentence.endswith(f": {expected}.")
    runs_of_study = pl.read_parquet(out / "study" / "runs.parquet")
    validation = dict(runs_of_study.group_by("line").agg(pl.col("valid_value").mean()).iter_rows())
    del validation["semantic (retrieved), random vectors"]  # a control, which nobody would choose
    assert validation[result["chosen"]] == max(validation.values())


def test_the_final_model_knows_every_pair_and_recommends(shop: tuple[Path, str]) -> None:
    out, output = shop
    split = splits.read_split(out / "everything")
    assert (len(split.valid), len(split.test)) == (0, 0)
    run = pipeline.read_run(out / "model")
    assert (
        len(run.seen)
        == len(split.train)
        == sum(len(getattr(splits.read_split(out / "split"), part)) for part in ("train",)) + _held_out(out)
    )
    words = next(line for line in output.splitlines() if line.startswith("Next: hardneg recommend")).split()[2:]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    page = (out / "page.html").read_text(encoding="utf-8")
    assert "<table" in page
    assert f"<h1>{out.name}</h1>" in page
    readme = (out / "README.txt").read_text(encoding="utf-8")
    assert all(title in readme for title in ("Conclusions", "How it was done", "Files", "Go on with"))


def test_the_same_call_makes_nothing_again(shop: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    out, output = shop

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be trained")

    monkeypatch.setattr("hardneg.pipeline.training.fit_backbone", forbidden)
    assert succeed(*_again(out)).splitlines()[-8:] == output.splitlines()[-8:]


def test_other_settings_are_refused_in_the_same_folder(shop: tuple[Path, str], tables: tuple[Path, Path]) -> None:
    out, _ = shop
    assert "given_epochs 2 (now 3)" in fail(*tables, "--out", out, "--trials", "2", "--epochs", "3")
    assert "already holds something else" in fail(tables[0], "--out", out, *QUICK)


def test_killed_anywhere_the_result_is_the_same(
    shop: tuple[Path, str], tables: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "shop"
    places: list[tuple[Any, str]] = [
        (pipeline, "split_stage"),
        (trials.CellSearch, "_run_trial"),
        (runs.RunTask, "stage"),
        (pipeline, "fuse_stage"),
    ]
    for owner, name in places:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, _stopping(getattr(owner, name), after=3 if owner is not pipeline else 0))
            assert call(*tables, "--out", out, *QUICK).exit_code == 130, name
    succeed(*tables, "--out", out, *QUICK)
    a, b = (pl.read_parquet(folder / "study" / "runs.parquet").drop(CLOCKS) for folder in (shop[0], out))
    assert_frame_equal(a, b)
    one, other = (
        read_tensors(folder / "model" / "embeddings.safetensors", "users", "items") for folder in (shop[0], out)
    )
    assert all(one[name].equal(other[name]) for name in one)
    texts = [
        (folder / "README.txt").read_text(encoding="utf-8").replace(str(folder), "OUT") for folder in (shop[0], out)
    ]
    assert texts[0] == texts[1]


def test_without_texts_and_times_fewer_methods_are_compared(tmp_path: Path) -> None:
    orders, _ = write_tables(tmp_path, ordered_at=pl.lit("?"))
    output = succeed(orders, "--out", tmp_path / "out", "--trials", "1", "--epochs", "1")
    readme = (tmp_path / "out" / "README.txt").read_text(encoding="utf-8")
    assert "column ordered_at is not used" in readme
    succeed(orders, "--out", tmp_path / "out", "--trials", "1", "--epochs", "1")
    assert (tmp_path / "out" / "README.txt").read_text(encoding="utf-8") == readme
    assert "No method reads texts: 0 of" in output
    assert "Split at random" in output
    assert "No search" in output
    assert "Item texts" not in output
    assert "--llm" in fail(orders, "--out", tmp_path / "llm", "--llm", "smollm2-135m", *QUICK)


def test_five_users_are_enough_for_an_answer(tmp_path: Path) -> None:
    orders, products = write_tables(tmp_path)
    frame = pl.read_csv(orders)
    frame.filter(pl.col("customer").is_in(frame["customer"].unique().sort()[:5].implode())).write_csv(orders)
    output = succeed(orders, products, "--out", tmp_path / "out", "--trials", "1", "--epochs", "1")
    assert "All " in output
    assert "Use " in output


def test_a_question_that_nobody_can_answer_names_the_options(tmp_path: Path) -> None:
    orders, products = write_tables(tmp_path, account=pl.col("customer").str.slice(0, 2))
    line = fail(orders, products, "--out", tmp_path / "out", *QUICK)
    assert "--column user_id=customer or --column user_id=account, or --yes" in line


def test_bad_files_are_one_line(tmp_path: Path, tables: tuple[Path, Path]) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing else")
    assert "not a readable Parquet file" in fail(broken, tables[1], "--out", tmp_path / "out")
    lines = tmp_path / "lines.json"
    lines.write_text('{"user": "a", "item": "b"}\n{"user": "a", "item": "c"}\n')
    assert "holds JSON" in fail(lines, "--out", tmp_path / "out")
    assert "does not exist" in fail(tmp_path / "absent.csv", "--out", tmp_path / "out")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert "empty" in fail(empty, "--out", tmp_path / "out")


def test_the_budget_follows_from_the_time_of_an_epoch_and_is_kept(
    tables: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.02)
    monkeypatch.setattr(budgets, "LEVELS", ((4, 25), (2, 2), (1, 1)))
    monkeypatch.setattr(budgets, "SEARCHED", (2, 2))
    monkeypatch.setattr(quickstart_run, "sentence_encoder", CountEncoder)
    monkeypatch.setattr(budgets, "choose_level", lambda *_: (2, 2))
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(trials.CellSearch, "_run_trial", _stopping(trials.CellSearch._run_trial, after=1))
        assert call(*tables, "--out", out).exit_code == 130
    decided = json.loads((out / "budget.json").read_text(encoding="utf-8"))
    assert (decided["backbone"], decided["trials"], decided["epochs"], decided["texts"]) == ("LightGCN", 2, 2, True)
    rows = {"uniform", "DNS", "MixGCF", "semantic (retrieved)", "semantic (retrieved), random vectors"}
    assert set(decided["seconds"]) == rows
    monkeypatch.setattr(budgets, "choose_level", lambda *_: (1, 1))
    output = succeed(*tables, "--out", out)
    assert "2 trials of each, 3 seeds, at most 2 epochs" in output
    assert pl.read_parquet(out / "study" / "trials.parquet")["trial"].to_list() == [0, 1] * 4
    assert "minutes 10.0 (now 20.0)" in fail(*tables, "--out", out, "--minutes", "20")


def test_texts_that_take_too_long_are_left_out(
    tables: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart_run.Quickstart, "_time_encoding", lambda _: 1e6)
    monkeypatch.setattr(estimate, "SECONDS", 0.02)
    output = succeed(*tables, "--out", tmp_path / "out", "--trials", "1", "--minutes", "0.1")
    assert "encoding them would take too much of the minutes" in output
    assert "the smallest plan" in output or "at most" in output
    assert "--minutes" in fail(
        *tables, "--out", tmp_path / "llm", "--trials", "1", "--minutes", "0.1", "--llm", "rules"
    )


def test_a_language_model_names_negatives(
    tables: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = namer(pl.read_csv(tables[1])["name"].to_list())
    monkeypatch.setattr(language_model, "_open_model", lambda *_: model)
    out = tmp_path / "out"
    output = succeed(*tables, "--out", out, "--trials", "1", "--epochs", "1", "--llm", "rules")
    assert re.search(r"^Hard negatives named by rules: nDCG@20 ", output, flags=re.MULTILINE)
    assert re.search(r"^Hard negatives named by rules against random vectors: nDCG@20 ", output, flags=re.MULTILINE)
    assert (out / "replies.sqlite").is_file()
    words = ("--trials", "1", "--epochs", "1", "--llm", "rules", "--precision", "bfloat16")
    assert "precision None (now bfloat16)" in fail(*tables, "--out", out, *words)


def test_python_gives_what_the_command_gives(shop: tuple[Path, str], tables: tuple[Path, Path], tmp_path: Path) -> None:
    lines: list[str] = []
    answer = hn.run(*tables, tmp_path / "shop", trials=2, epochs=2, workers=0, report=lines.append)
    assert answer.conclusions == json.loads(call(*_again(shop[0]), "--json").stdout)["conclusions"]
    assert any(line.startswith("[6/6]") for line in lines)
    assert hn.load_run(tmp_path / "shop" / "model").recommend(["u0"]).height == 10
    with pytest.raises(ConfigError, match="epoch_count"):
        hn.run(*tables, tmp_path / "other", epoch_count=2)
    orders, products = write_tables(tmp_path, account=pl.col("customer").str.slice(0, 2))
    with pytest.raises(ConfigError, match="customer, account, expected one; say which in columns"):
        hn.run(orders, products, tmp_path / "other")


def test_a_question_is_answered_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Question("Which", ("a", "b"), ("--column user_id=a", "--column user_id=b"))
    answers = iter([3, 2])
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: True, write=len, flush=lambda: None))
    monkeypatch.setattr("typer.prompt", lambda *_, **__: next(answers))
    assert choose_reading(question, yes=False) == "b"
    assert choose_reading(question, yes=True) == "a"


def _again(out: Path) -> list[object]:
    files = read_manifest(out / "dataset", "dataset")["notes"]["files read"]
    folder = next(path for path in out.parents[1].glob("tables*"))
    return [*(folder / name for name in files), "--out", out, *QUICK]


def _held_out(out: Path) -> int:
    split = splits.read_split(out / "split")
    return len(split.valid) + len(split.test)


def _stopping(function: Callable[..., Any], *, after: int) -> Callable[..., Any]:
    """Return a function that is interrupted instead of its call number `after`."""
    calls = iter(range(1000))

    def stop(*args: Any, **options: Any) -> Any:
        if next(calls) >= after:
            raise KeyboardInterrupt
        return function(*args, **options)

    return stop
