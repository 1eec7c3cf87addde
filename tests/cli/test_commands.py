"""Commands as a person types them: the whole line from files to recommendations, and what goes wrong on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from hardneg import artifacts
from hardneg.cli.main import app
from hardneg.data import simulate
from hardneg.data.truth import FOLDER

SMALL = simulate.SimulationConfig(n_users=150, n_items=100, shown=60, like_rate=0.2)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.output


def refuse(*words: object) -> str:
    """The command ends with 2 and one line that names the program."""
    result = run(*words)
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.output.startswith("hardneg: ")
    assert result.output.count("\n") == 1
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CSV tables such as an engineer has: other column names, a rating, a review, some dirt."""
    folder = tmp_path_factory.mktemp("shop")
    dataset, _ = simulate.simulate_store(SMALL)
    stars = pl.int_range(pl.len()) % 5 + 1
    sales = dataset.interactions.with_columns(stars.cast(pl.String).alias("stars")).rename(
        {"user_id": "customer", "item_id": "sku"}
    )
    dirt = pl.DataFrame({"customer": ["u1", "", "u2"], "sku": ["i1", "i2", "i3"], "stars": ["five", "3", "2"]})
    pl.concat([sales.with_columns(pl.col("timestamp").cast(pl.String)), dirt], how="diagonal").write_csv(
        folder / "sales.csv"
    )
    items = dataset.items.rename({"item_id": "sku", "title": "name"})
    pl.concat([items, items[:2]]).write_csv(folder / "products.csv")
    return folder


@pytest.fixture(scope="module")
def split(shop: Path) -> Path:
    columns = ["--column", "user_id=customer", "--column", "item_id=sku", "--column", "rating=stars"]
    names = ["--item-column", "item_id=sku", "--item-column", "title=name"]
    said = succeed(
        "data",
        "import",
        "table",
        shop / "sales.csv",
        "--items",
        shop / "products.csv",
        *columns,
        *names,
        "--out",
        shop / "data",
    )
    assert "sales.csv: 1 row without an id" in said
    assert "sales.csv: 1 row without a number as rating" in said
    assert "'five'" in said
    assert "products.csv: 2 rows repeating an item" in said
    succeed("data", "split", shop / "data", "--train", 0.7, "--valid", 0.1, "--test", 0.2, "--out", shop / "split")
    return shop / "split"


def test_from_two_tables_to_recommendations(shop: Path, split: Path) -> None:
    described = json.loads(succeed("data", "describe", split, "--json"))
    assert described[0]["pairs"] > 500
    assert described[0]["text_correlation"] > 0.1
    succeed("profile", split, "--out", shop / "profiles")
    succeed("mine", split, "--profiles", shop / "profiles", "--set", "pool=20", "--out", shop / "negatives")
    succeed("mine", split, "--method", "random", "--like", shop / "negatives", "--out", shop / "random")
    fit = ["--epochs", 6, "--fit-set", "check_every=2", "--model-set", "hops=2", "--model-set", "embedding_size=16"]
    for sampler, more in (("mixgcf", ["--set", "candidates=4"]), ("semantic", ["--negatives", shop / "negatives"])):
        run_folder = shop / sampler
        said = succeed("train", split, "--sampler", sampler, *more, *fit, "--out", run_folder)
        assert "kept epoch" in said
        scores = json.loads(succeed("evaluate", run_folder, "--split", split, "-k", 5, "--json"))
        assert {row["metric"] for row in scores["metrics"]} == {"recall", "ndcg", "precision", "hit_rate"}
        files = {"config.yaml", "metrics.parquet", "model.safetensors", "embeddings.safetensors", "costs.json"}
        assert files <= {path.name for path in run_folder.iterdir()}
        costs = json.loads((run_folder / "costs.json").read_text())
        assert costs["seconds"] > 0
        assert costs["llm_calls"] == 0
    user = pl.read_parquet(split / "users.parquet")["user_id"][0]
    best = json.loads(succeed("recommend", shop / "mixgcf", "--user", user, "-k", 5, "--json"))
    assert [row["rank"] for row in best] == [1, 2, 3, 4, 5]
    train = pl.read_parquet(split / "train.parquet").filter(user=0)["item"]
    has = pl.read_parquet(split / "items.parquet")["item_id"][train].to_list()
    assert not {row["item_id"] for row in best} & set(has)
    said = succeed("audit", shop / "semantic", "--split", split, "--negatives", shop / "negatives")
    assert "5 of 5 checks passed" in said
    negatives = pl.read_parquet(shop / "negatives" / "negatives.parquet")
    assert negatives["source"].unique().to_list() == ["retrieved, MiniLM"]
    assert pl.read_parquet(shop / "negatives" / "rejected.parquet")["reason"].n_unique() >= 1


def test_a_finished_folder_is_not_made_again_and_another_is_not_overwritten(shop: Path, split: Path) -> None:
    made = (shop / "data" / "manifest.json").stat().st_mtime_ns
    again = ["data", "split", shop / "data", "--train", 0.7, "--valid", 0.1, "--test", 0.2, "--out", split]
    assert "train" in succeed(*again)
    assert (shop / "data" / "manifest.json").stat().st_mtime_ns == made
    assert "already holds something else" in refuse("data", "split", shop / "data", "--out", split)


def test_the_simulated_store_stands_beside_two_real_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.PRESETS, "weak", SMALL.model_copy(update={"text": "weak"}))
    said = succeed("data", "simulate", "--text", "weak", "--out", tmp_path / "weak")
    for word in ("density", "popularity Gini", "text-taste r", "Amazon Scientific", "Yelp"):
        assert word in said
    assert (tmp_path / "weak" / FOLDER).is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "import", "table", "nowhere.csv"], "nowhere.csv does not exist"),
        (["data", "import", "table"], "found 0 files, expected one"),
        (["data", "import", "lightgcn", "x", "--items", "y"], "--items is no option of source 'lightgcn'"),
        (["data", "import", "table", "x", "--item-offset", "3"], "--item-offset is no option of source 'table'"),
        (["data", "split", "nowhere"], "nowhere"),
        (["data", "split", "nowhere", "--train", "0.5"], "train + valid + test is 0.7, expected 1"),
        (["data", "split", "nowhere", "--since", "yesterday"], "since"),
        (
            ["train", "nowhere", "--sampler", "magic"],
            "found --sampler 'magic', expected one of uniform, dns, ahns, mixgcf",
        ),
        (
            ["train", "nowhere", "--sampler", "dns", "--set", "candidates=0"],
            "candidates: Input should be greater than 0",
        ),
        (["train", "nowhere", "--set", "candidates=3"], "--sampler uniform: "),
        (["train", "nowhere", "--learning-rate", "-1"], "learning_rate: "),
        (["train", "nowhere", "--device", "cuda:7"], "device 'cuda:7' cannot be used, found cpu"),
        (["train", "nowhere"], "nowhere"),
        (["mine", "nowhere", "--method", "random"], "--method random expects --like"),
        (
            ["evaluate", "nowhere", "--split", "nowhere"],
            "nowhere holds no manifest.json, expected a finished run folder",
        ),
        (["evaluate", "nowhere", "--split", "nowhere", "-k", "0"], "found -k 0, expected 1 or more"),
        (["recommend", "nowhere", "--user", "u1"], "nowhere holds no manifest.json"),
        (["audit", "nowhere"], "nowhere"),
        (["study", "nowhere.yaml"], "nowhere.yaml does not exist, expected a YAML file"),
        (["search", "nowhere.yaml"], "nowhere.yaml does not exist, expected a YAML file"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(words: list[str], said: str) -> None:
    assert said in refuse(*words)


def test_the_semantic_sampler_without_negatives_says_what_to_do(split: Path, tmp_path: Path) -> None:
    assert "--negatives" in refuse("train", split, "--sampler", "semantic", "--out", tmp_path / "run")


def test_a_run_is_not_scored_on_another_split(shop: Path, split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--epochs", 1, "--out", tmp_path / "run")
    succeed("data", "split", shop / "data", "--seed", 9, "--out", tmp_path / "other")
    assert "was not trained on" in refuse("evaluate", tmp_path / "run", "--split", tmp_path / "other")
    assert "is a run folder, expected a split folder" in refuse("train", tmp_path / "run")


def test_an_unknown_user_is_an_error(split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--epochs", 1, "--out", tmp_path / "run")
    assert "knows no user 'nobody'" in refuse("recommend", tmp_path / "run", "--user", "nobody")


@pytest.mark.parametrize(
    "name",
    [
        "demo",
        "profile",
        "estimate",
        "label",
        "finetune",
        "mine",
        "neighbours",
        "trees",
        "train",
        "fuse",
        "evaluate",
        "recommend",
        "search",
        "study",
        "audit",
        "doctor",
    ],
)
def test_every_help_has_an_example(name: str) -> None:
    said = succeed(name, "--help")
    assert "Example" in said
    assert f"hardneg {name}" in said


@pytest.mark.parametrize("name", ["import", "simulate", "describe", "split"])
def test_every_help_on_data_has_an_example(name: str) -> None:
    assert f"hardneg data {name}" in succeed("data", name, "--help")


def test_help_is_quick_to_import() -> None:
    """Heavy libraries are imported where they are used."""
    code = "import sys, hardneg, hardneg.cli.main; print([m for m in ('torch', 'polars', 'sklearn', 'matplotlib') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_doctor_says_what_there_is() -> None:
    said = json.loads(succeed("doctor", "--json"))
    assert said["torch"].startswith("2.13.0")
    assert said["packaged MiniLM"] == "present, files as checked"
    assert int(said["cores"]) >= 1


def test_paths_and_ids_are_taken_as_they_are(split: Path, tmp_path: Path) -> None:
    """Names with brackets and stars are no patterns, ids in brackets are no colours."""
    rows = [(f"[/b]{u}", f"[red]{i}") for u in range(6) for i in range(u, u + 5)]
    folder = tmp_path / "odd [x] *"
    folder.mkdir()
    pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_csv(folder / "a[1]*.csv")
    succeed("data", "import", "table", folder / "a[1]*.csv", "--out", folder / "data [1]")
    said = succeed(
        "data", "split", folder / "data [1]", "--train", 0.6, "--valid", 0.2, "--test", 0.2, "--out", folder / "split*"
    )
    assert "split*" in said
    succeed("train", folder / "split*", "--epochs", 1, "--out", folder / "run [a]")
    assert "[red]" in succeed("recommend", folder / "run [a]", "--user", "[/b]0", "-k", 2)


def test_a_path_that_cannot_be_written_is_one_line(shop: Path, split: Path) -> None:
    assert "check the path" in refuse("data", "split", shop / "data", "--out", shop / "sales.csv" / "inside")


def test_a_split_without_validation_pairs_is_refused_before_training(shop: Path, tmp_path: Path) -> None:
    succeed("data", "split", shop / "data", "--train", 0.8, "--valid", 0, "--test", 0.2, "--out", tmp_path / "split")
    said = refuse("train", tmp_path / "split", "--out", tmp_path / "run")
    assert "no validation pairs" in said
    assert not list(tmp_path.glob(".run*"))


def test_other_depths_can_be_asked_for_later(split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--epochs", 1, "--out", tmp_path / "run")
    first = json.loads(succeed("evaluate", tmp_path / "run", "--split", split, "-k", 5, "--json"))
    assert {row["k"] for row in first["metrics"]} == {5}
    again = json.loads(succeed("evaluate", tmp_path / "run", "--split", split, "-k", 7, "--mask-valid", "--json"))
    assert {row["k"] for row in again["metrics"]} == {7}


def test_ctrl_c_ends_with_130_and_keeps_what_was_done(
    split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hardneg.pipeline.train", interrupt)
    result = run("train", split, "--out", tmp_path / "run")
    assert result.exit_code == 130
    assert "the same command goes on" in result.output


def test_killed_in_mid_training_and_called_again_is_the_unbroken_run_bit_for_bit(split: Path, tmp_path: Path) -> None:
    options = [
        "--sampler",
        "mixgcf",
        "--epochs",
        "60",
        "--batch-size",
        "64",
        "--fit-set",
        "check_every=1",
        "--fit-set",
        "patience=60",
    ]

    def command(out: Path) -> list[str]:
        return [sys.executable, "-m", "hardneg.cli.main", "train", str(split), *options, "--out", str(out)]

    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command(tmp_path / "whole"), check=True, env=environment, capture_output=True)
    process = subprocess.Popen(
        command(tmp_path / "killed"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".killed.*.partial/checkpoint.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed").exists()
    assert list(tmp_path.glob(".killed.*.partial/checkpoint.safetensors"))
    subprocess.run(command(tmp_path / "killed"), check=True, env=environment, capture_output=True)
    assert not list(tmp_path.glob(".killed.*"))
    scores = []
    for name in ("whole", "killed"):
        succeed("evaluate", tmp_path / name, "--split", split)
        scores.append(artifacts.content_hashes(tmp_path / name))
    assert scores[0] == scores[1]
    assert {"evaluation/metrics.parquet", "evaluation/per_user.parquet", "embeddings.safetensors"} <= set(scores[0])


def test_options_of_another_method_are_refused(split: Path, tmp_path: Path) -> None:
    assert "--method semantic expects --llm" in refuse("mine", split, "--method", "semantic")
    assert "--method semantic expects --profiles" in refuse("mine", split, "--method", "semantic", "--llm", "hf:x")
    assert "--way is no option of --method retrieved" in refuse("mine", split, "--way", "raw")
    assert "--method random expects --like" in refuse("mine", split, "--method", "random")
    assert "belong to --llm" in refuse("profile", split, "--set", "most_items=3")
    assert "expected the name of a language model" in refuse("profile", split, "--llm", tmp_path / "nothing")
    assert "OPENAI_API_KEY" in refuse("estimate", split, "--llm", "openai:gpt-4o-mini", "--store", tmp_path / "s")


def test_a_trained_model_is_fused_with_text_and_serves(split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--model", "mf", "--epochs", 5, "--out", tmp_path / "run")
    succeed("profile", split, "--out", tmp_path / "profiles")
    given = ("--split", split, "--profiles", tmp_path / "profiles")
    said = succeed("fuse", tmp_path / "run", *given, "--weight", 0, "--weight", 2, "--out", tmp_path / "fused")
    assert "fused: weight " in said
    assert said.count(" at ") == 2
    assert (tmp_path / "profiles-minilm" / "manifest.json").is_file()
    alone = json.loads(succeed("fuse", *given, "--text-only", "--out", tmp_path / "text", "--json"))
    assert alone["weight"] is None
    for folder in ("fused", "text"):
        assert json.loads(succeed("evaluate", tmp_path / folder, "--split", split, "--json"))["users"] > 0
        user = pl.read_parquet(tmp_path / folder / "users.parquet")["user_id"][0]
        assert len(json.loads(succeed("recommend", tmp_path / folder, "--user", user, "-k", 3, "--json"))) == 3
    assert "both RUN and --text-only" in refuse("fuse", tmp_path / "run", *given, "--text-only")
    assert "neither RUN nor --text-only" in refuse("fuse", *given)
    assert "trains nothing" in refuse("audit", tmp_path / "fused", "--split", split)


def test_trees_of_a_run(split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--epochs", 1, "--out", tmp_path / "run")
    said = succeed("trees", split, "--run", tmp_path / "run", "--set", "tree.leaf_items=5", "--out", tmp_path / "trees")
    assert "items in the fullest leaf" in said
    shapes = json.loads(
        succeed(
            "trees",
            split,
            "--run",
            tmp_path / "run",
            "--set",
            "tree.leaf_items=5",
            "--out",
            tmp_path / "trees",
            "--json",
        )
    )
    assert shapes["semantic"]["items in the fullest leaf"] <= 5
    assert shapes["semantic"]["leaves"] > 1
    assert "expected one for the semantic tree" in refuse("trees", split, "--out", tmp_path / "none")
    assert "hardneg trees: tree.children" in refuse("trees", split, "--set", "tree.children=1")


def test_a_multi_view_run_from_trees(split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--epochs", 1, "--out", tmp_path / "run")
    succeed("trees", split, "--run", tmp_path / "run", "--out", tmp_path / "trees")
    given = ("--sampler", "multi-view", "--set", "alpha_s=0.2", "--epochs", 1, "--out", tmp_path / "viewed")
    assert "hardneg trees" in refuse("train", split, *given)
    notes = json.loads(succeed("train", split, *given, "--trees", tmp_path / "trees", "--json"))
    assert notes["semantic tree of"] == "item embeddings of a trained run"


def test_a_semantic_mixing_run_from_neighbours(split: Path, tmp_path: Path) -> None:
    said = succeed("neighbours", split, "--by", "co-occurrence", "--k", 5, "--out", tmp_path / "near")
    assert "5 neighbours of" in said
    given = ("--model", "mf", "--sampler", "semantic-mixing", "--set", "sampler.kind=dns", "--set", "neighbours=5")
    given += ("--epochs", 2, "--out", tmp_path / "run")
    assert "hardneg neighbours" in refuse("train", split, *given)
    notes = json.loads(succeed("train", split, *given, "--negatives", tmp_path / "near", "--json"))
    assert notes["neighbours by"] == "co-occurrence"
