"""Commands from files to recommendations, and their one-line errors."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

from hardneg import artifacts
from hardneg.cli.main import app
from hardneg.data import simulate
from hardneg.data.truth import FOLDER
from hardneg.speeds import MeasuredLoop, Seconds

SMALL = simulate.SimulationConfig(n_users=150, n_items=100, shown=60, like_rate=0.2)
SHARES = ("--train", 0.7, "--valid", 0.1, "--test", 0.2)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words: object) -> str:
    """Return the output of a command; text ends with the line that names the next command."""
    result = run(*words)
    assert result.exit_code == 0, result.output
    if "--json" not in words and "--help" not in words:
        assert result.stdout.splitlines()[-1].startswith("Next: hardneg ")
    return result.output


def values_of(*words: object) -> dict[str, object]:
    """Return the JSON that a command prints."""
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    values: dict[str, object] = json.loads(result.stdout)
    return values


def refuse(*words: object) -> str:
    """Return the one line of a command that ends with exit code 2."""
    result = run(*words)
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert result.output.startswith("hardneg: ")
    assert result.output.count("\n") == 1
    assert "Traceback" not in result.output
    return result.output


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CSV tables with other column names, a rating, and malformed rows."""
    folder = tmp_path_factory.mktemp("shop")
    dataset, _ = simulate.simulate_store(SMALL)
    stars = pl.int_range(pl.len()) % 5 + 1
    sales = dataset.interactions.with_columns(stars.cast(pl.String).alias("stars")).rename(
        {"user_id": "customer", "item_id": "sku"}
    )
    malformed = pl.DataFrame({"customer": ["u1", "", "u2"], "sku": ["i1", "i2", "i3"], "stars": ["five", "3", "2"]})
    pl.concat([sales.with_columns(pl.col("timestamp").cast(pl.String)), malformed], how="diagonal").write_csv(
        folder / "sales.csv"
    )
    items = dataset.items.rename({"item_id": "sku", "title": "name"})
    pl.concat([items, items[:2]]).write_csv(folder / "products.csv")
    return folder


@pytest.fixture(scope="module")
def split(shop: Path) -> Path:
    columns = ["--column", "user_id=customer", "--column", "item_id=sku", "--column", "rating=stars"]
    names = ["--item-column", "item_id=sku", "--item-column", "title=name"]
    words = [shop / "sales.csv", "--items", shop / "products.csv", *columns, *names, "--out", shop / "data"]
    output = succeed("data", "import", "table", *words)
    assert "sales.csv: 1 row without an id" in output
    assert "sales.csv: 1 row without a number as rating" in output
    assert "'five'" in output
    assert "products.csv: 2 rows" in output
    succeed("data", "split", shop / "data", *SHARES, "--out", shop / "split")
    return shop / "split"


def test_from_two_tables_to_recommendations(shop: Path, split: Path) -> None:
    described = json.loads(succeed("data", "describe", split, "--json"))
    assert described[0]["pairs"] > 500
    assert described[0]["text_correlation"] > 0.1
    succeed("profiles", "write", split, "--out", shop / "profiles")
    retrieval = ("--profiles", shop / "profiles", "--set", "pool=20")
    succeed("negatives", "retrieve", split, *retrieval, "--out", shop / "negatives")
    for kind in ("random", "shuffled"):
        succeed("negatives", "control", kind, split, "--like", shop / "negatives", "--out", shop / kind)
    fit = ["--epochs", 6, "--set", "fit.check_every=2", "--set", "model.hops=2", "--set", "model.embedding_size=16"]
    samplers = {"mixgcf": ["--set", "sampler.candidates=4"], "semantic": ["--negatives", shop / "negatives"]}
    for sampler, more in samplers.items():
        run_folder = shop / sampler
        succeed("train", split, "--sampler", sampler, *more, *fit, "--out", run_folder)
        scores = json.loads(succeed("evaluate", run_folder, "--split", split, "-k", 5, "--json"))
        assert {row["metric"] for row in scores["metrics"]} == {"recall", "ndcg", "precision", "hit_rate"}
        files = {"config.yaml", "metrics.parquet", "model.safetensors", "embeddings.safetensors", "costs.json"}
        assert files <= {path.name for path in run_folder.iterdir()}
        costs = json.loads((run_folder / "costs.json").read_text())
        assert costs["seconds"] > 0
        assert costs["llm_calls"] == 0
    user = pl.read_parquet(split / "users.parquet")["user_id"][0]
    succeed("recommend", shop / "mixgcf", "--user", user)
    best = json.loads(succeed("recommend", shop / "mixgcf", "--user", user, "-k", 5, "--json"))
    assert [row["rank"] for row in best] == [1, 2, 3, 4, 5]
    train = pl.read_parquet(split / "train.parquet").filter(user=0)["item"]
    owned = pl.read_parquet(split / "items.parquet")["item_id"][train].to_list()
    assert not {row["item_id"] for row in best} & set(owned)
    output = succeed("audit", "run", shop / "semantic", "--split", split, "--negatives", shop / "negatives")
    assert "FAIL" not in output
    assert "negatives, made again from its settings and inputs, is the same (3 files are equal)" in output
    negatives = pl.read_parquet(shop / "negatives" / "negatives.parquet")
    assert negatives["source"].unique().to_list() == ["retrieved, MiniLM"]
    assert pl.read_parquet(shop / "negatives" / "rejected.parquet")["reason"].n_unique() >= 1


def test_a_finished_folder_is_reused_and_another_is_not_overwritten(shop: Path, split: Path) -> None:
    written = (split / "manifest.json").stat().st_mtime_ns
    succeed("data", "split", shop / "data", *SHARES, "--out", split)
    assert (split / "manifest.json").stat().st_mtime_ns == written
    assert str(split) in refuse("data", "split", shop / "data", "--out", split)


def test_the_simulated_store_is_compared_with_two_real_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(simulate.PRESETS, "weak", SMALL.model_copy(update={"text": "weak"}))
    output = succeed("data", "simulate", "--text", "weak", "--csv", tmp_path / "csv", "--out", tmp_path / "weak")
    assert {file.name for file in (tmp_path / "csv").iterdir()} == {"orders.csv", "products.csv"}
    for word in ("density", "Gini", "Amazon Scientific", "Yelp"):
        assert word in output
    assert (tmp_path / "weak" / FOLDER).is_dir()


def test_noise_changes_the_train_pairs_alone(split: Path, tmp_path: Path) -> None:
    noise = ("--false-positives", 0.2, "--hidden", 0.1)
    counts = values_of("data", "add-noise", split, *noise, "--out", tmp_path / "noisy")
    before = {name: len(pl.read_parquet(split / f"{name}.parquet")) for name in ("train", "valid", "test")}
    added, removed = counts["false positives added"], counts["true positives removed"]
    assert isinstance(added, int)
    assert isinstance(removed, int)
    assert added == pytest.approx(0.2 * before["train"], abs=1)
    assert counts["train"] == before["train"] + added - removed
    assert (counts["valid"], counts["test"]) == (before["valid"], before["test"])
    assert "noise.parquet" in refuse("data", "add-noise", tmp_path / "noisy", "--out", tmp_path / "more")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["data", "import", "table", "nowhere.csv"], ["nowhere.csv"]),
        (["data", "split", "nowhere"], ["nowhere"]),
        (["data", "split", "nowhere", "--train", "0.5"], ["0.7"]),
        (["data", "split", "nowhere", "--since", "yesterday"], ["since"]),
        (["train", "nowhere", "--sampler", "magic"], ["'magic'", "uniform, popularity, in-batch, dns"]),
        (["train", "nowhere", "--model", "magic"], ["'magic'", "mf, lightgcn"]),
        (["train", "nowhere", "--sampler", "dns", "--set", "sampler.candidates=0"], ["sampler.", "candidates"]),
        (["train", "nowhere", "--set", "sampler.candidates=3"], ["candidates"]),
        (["train", "nowhere", "--set", "candidates=3"], ["candidates", "sampler"]),
        (["train", "nowhere", "--set", "fit.learning_rate=-1"], ["fit.learning_rate"]),
        (["train", "nowhere", "--device", "cuda:7"], ["'cuda:7'", "cpu"]),
        (["train", "nowhere", "--config", "no-run"], ["no-run"]),
        (["train", "nowhere"], ["nowhere"]),
        (["negatives", "retrieve", "nowhere", "--profiles", "none"], ["nowhere"]),
        (["negatives", "retrieve", "nowhere", "--set", "pools=3"], ["pools", "pool"]),
        (["evaluate", "nowhere", "--split", "nowhere"], ["nowhere", "manifest.json", "run"]),
        (["evaluate", "nowhere", "--split", "nowhere", "-k", "0"], ["-k from 0", "1 to 99,999"]),
        (["evaluate", "x", "--split", "x", "--mask-threshold", "0.5"], ["--mask-threshold", "--released-mask"]),
        (["evaluate", "x", "--split", "x", "--released-mask", "y", "--mask-valid"], ["--mask-valid"]),
        (["recommend", "nowhere", "--user", "u1"], ["nowhere", "manifest.json"]),
        (["audit", "split", "nowhere"], ["nowhere"]),
        (["audit", "run", "nowhere", "--split", "x"], ["nowhere"]),
        (["audit", "suspects", "nowhere", "--split", "x"], ["nowhere"]),
        (["trees", "build", "nowhere", "--set", "tree.children=1"], ["tree.children"]),
        (["fuse", "--split", "x"], ["--text-only"]),
        (["fuse", "run", "--split", "x", "--text-only"], ["--text-only"]),
        (["fuse", "--split", "x", "--text-only", "--weight", "2"], ["--weight"]),
        (["neighbours", "find", "text", "nowhere"], ["nowhere"]),
        (["profiles", "write", "x", "--set", "most_items=3"], ["--set", "--llm"]),
        (["profiles", "write", "x", "--llm", "hf:x", "--shuffle-titles", "1"], ["--shuffle-titles", "--llm"]),
        (["profiles", "write", "x", "--llm", "no-model"], ["'no-model'"]),
        (["profiles", "encode", "nowhere"], ["nowhere"]),
        (["finetune", "label", "nowhere", "no-run"], ["no-run"]),
        (["finetune", "train", "nowhere", "--labels", "x"], ["profiles"]),
        (["finetune", "train-pooled", "--data", "a,b"], ["'a,b'", "SPLIT,PROFILES,LABELS"]),
        (["finetune", "train-pooled", "--data", "a,b,c", "--base", "none"], ["--base none"]),
        (["finetune", "synthesize", "nowhere", "--labels", "x", "--base", "none"], ["out/tuned"]),
        (["study", "run", "nowhere.yaml"], ["nowhere.yaml"]),
        (["study", "search", "nowhere.yaml"], ["nowhere.yaml"]),
        (["study", "estimate", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(words: list[str], parts: list[str]) -> None:
    message = refuse(*words)
    assert all(part in message for part in parts), message


def test_a_sampler_without_its_folder_names_the_command(split: Path, tmp_path: Path) -> None:
    assert "--negatives" in refuse("train", split, "--sampler", "semantic", "--out", tmp_path / "run")
    assert "--negatives" in refuse("train", split, "--sampler", "semantic-mixing", "--out", tmp_path / "run")
    assert "--trees" in refuse("train", split, "--sampler", "multi-view", "--out", tmp_path / "run")


def test_negatives_of_a_store_almost_without_texts(shop: Path, tmp_path: Path) -> None:
    products = pl.read_csv(shop / "products.csv", infer_schema=False)
    few = products.with_columns(name=pl.when(pl.int_range(pl.len()) < 12).then("name"), category=pl.lit(""))
    few.select("sku", "name").write_csv(tmp_path / "products.csv")
    columns = ["--column", "user_id=customer", "--column", "item_id=sku"]
    names = ["--item-column", "item_id=sku", "--item-column", "title=name"]
    items = ["--items", tmp_path / "products.csv", *columns, *names]
    succeed("data", "import", "table", shop / "sales.csv", *items, "--out", tmp_path / "data")
    succeed("data", "split", tmp_path / "data", *SHARES, "--out", tmp_path / "split")
    succeed("profiles", "write", tmp_path / "split", "--out", tmp_path / "profiles")
    words = ["negatives", "retrieve", tmp_path / "split", "--profiles", tmp_path / "profiles"]
    made = run(*words, "--out", tmp_path / "negatives")
    assert made.exit_code == 0
    assert re.search(r"WARNING: \d\d\.\d% of [\d,]+ pairs have no vector.*--allow-empty", made.stderr)
    train = ["train", tmp_path / "split", "--sampler", "semantic", "--negatives", tmp_path / "negatives", "--epochs", 1]
    assert re.search(r"\d\d\.\d% of [\d,]+ pairs .*--allow-empty", refuse(*train, "--out", tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    accepted = succeed(*train, "--allow-empty", "--out", tmp_path / "run")
    assert re.search(r"\d\d\.\d% of the sampled pairs had no text vector", accepted)


def test_a_run_is_not_scored_on_another_split(shop: Path, split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--epochs", 1, "--out", tmp_path / "run")
    succeed("data", "split", shop / "data", "--seed", 9, "--out", tmp_path / "other")
    assert str(tmp_path / "other") in refuse("evaluate", tmp_path / "run", "--split", tmp_path / "other")
    assert "is a run folder, expected a split folder" in refuse("train", tmp_path / "run")


def test_recommendations_for_several_users_name_the_mask_and_unknown_users(split: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    succeed("train", split, "--epochs", 1, "--out", folder)
    assert "'nobody'" in refuse("recommend", folder, "--user", "nobody")
    assert "--users" in refuse("recommend", folder)
    (tmp_path / "users.txt").write_text("\n u1 \nnobody\n", encoding="utf-8-sig")
    words = ("recommend", folder, "--user", "u0", "--users", tmp_path / "users.txt", "-k", 1)
    output = succeed(*words)
    assert "'nobody'" in output
    assert "held-out ones included" in output
    assert "train pairs alone" in succeed(*words, "--mask", "train")
    rows = json.loads(run(*words, "--json").stdout)
    assert [(row["user_id"], row["rank"], row["mask"]) for row in rows] == [("u0", 1, "known"), ("u1", 1, "known")]
    assert all(row["title"] for row in rows)
    assert "are left for" not in output
    assert "Fewer than 1000 items are left for 2 of 2 users" in succeed(*words[:-1], 1000)
    (tmp_path / "users.txt").write_bytes("Käthe".encode("latin-1"))
    assert "UTF-8" in refuse("recommend", folder, "--users", tmp_path / "users.txt")


def test_help_is_quick_to_import() -> None:
    """Heavy libraries are imported where they are used."""
    heavy = ("torch", "polars", "pydantic", "sklearn", "matplotlib")
    code = f"import sys, hardneg, hardneg.cli.main; print([m for m in {heavy} if m in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.split()[0] == "hardneg"
    assert result.output.split()[1][0].isdigit()


def test_doctor_describes_the_machine() -> None:
    facts = values_of("doctor")
    assert str(facts["torch"]).startswith("2.13.0")
    assert str(facts["packaged MiniLM"]).startswith("present")
    assert int(str(facts["cores"])) >= 1
    assert re.search(r"float32 [\d,]+ GFLOP/s, bfloat16 [\d,]+ GFLOP/s", str(facts["matrix products"]))


def test_doctor_times_loops_again_with_so_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNEG_CACHE", str(tmp_path))
    measured: list[tuple[str, bool]] = []

    def seconds(self: MeasuredLoop, *, again: bool = False) -> Seconds:
        measured.append((self.name, again))
        return dict.fromkeys(self.implementations, 0.002)

    monkeypatch.setattr(MeasuredLoop, "seconds", seconds)
    facts = values_of("doctor", "--measure", "--threads", 2)
    assert facts["product of the graph with a table"] == "numba (numba 2 ms, mkl 2 ms, numba, 16 bits 2 ms)"
    assert facts["ranking of all items"] == "exact (exact 2 ms, 16-bit shortlist 2 ms)"
    assert [name for name, afresh in measured if afresh] == [
        "product of the graph with a table",
        "ranking of all items",
    ]


def test_an_item_table_whose_ids_match_nothing_is_said_to_be_the_reason(tmp_path: Path) -> None:
    rows = [f"u{user},00{item}" for user in range(6) for item in range(100, 108) if (user + item) % 3]
    (tmp_path / "sales.csv").write_text("user_id,item_id\n" + "\n".join(rows))
    (tmp_path / "items.csv").write_text("item_id,title\n100,Kettle\n101,Scarf\n")
    tables = (tmp_path / "sales.csv", "--items", tmp_path / "items.csv")
    succeed("data", "import", "table", *tables, "--out", tmp_path / "shop")
    assert "0 items with a text" in succeed("data", "split", tmp_path / "shop", "--out", tmp_path / "split")
    message = refuse("profiles", "write", tmp_path / "split", "--out", tmp_path / "profiles")
    assert "an item table was given, but 0 of 8 items have a text" in message
    message = refuse("neighbours", "find", "text", tmp_path / "split", "--out", tmp_path / "neighbours")
    assert "an item table was given, but 0 of 8 items have a text" in message


def test_paths_and_ids_with_special_characters(tmp_path: Path) -> None:
    """Names with brackets and stars are no patterns, ids in brackets are no colours."""
    rows = [(f"[/b]{u}", f"[red]{i}") for u in range(6) for i in range(u, u + 5)]
    folder = tmp_path / "odd [x] *"
    folder.mkdir()
    pl.DataFrame(rows, schema=["user_id", "item_id"], orient="row").write_csv(folder / "a[1]*.csv")
    succeed("data", "import", "table", folder / "a[1]*.csv", "--out", folder / "data [1]")
    shares = ("--train", 0.6, "--valid", 0.2, "--test", 0.2)
    assert "split*" in succeed("data", "split", folder / "data [1]", *shares, "--out", folder / "split*")
    succeed("train", folder / "split*", "--epochs", 1, "--out", folder / "run [a]")
    assert "[red]" in succeed("recommend", folder / "run [a]", "--user", "[/b]0", "-k", 2)


def test_a_path_that_cannot_be_written_is_one_line(shop: Path, split: Path) -> None:
    assert "check the path" in refuse("data", "split", shop / "data", "--out", shop / "sales.csv" / "inside")


def test_a_split_without_validation_pairs_is_refused_before_training(shop: Path, split: Path, tmp_path: Path) -> None:
    succeed("data", "split", shop / "data", "--train", 0.8, "--valid", 0, "--test", 0.2, "--out", tmp_path / "split")
    assert "no validation pairs" in refuse("train", tmp_path / "split", "--out", tmp_path / "run")
    assert not list(tmp_path.glob(".run*"))


def test_a_run_can_be_scored_again_at_other_depths(split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--epochs", 1, "--out", tmp_path / "run")
    assert "@5" in succeed("evaluate", tmp_path / "run", "--split", split, "-k", 5)
    first = json.loads(succeed("evaluate", tmp_path / "run", "--split", split, "-k", 5, "--json"))
    assert {row["k"] for row in first["metrics"]} == {5}
    again = json.loads(succeed("evaluate", tmp_path / "run", "--split", split, "-k", 7, "--mask-valid", "--json"))
    assert {row["k"] for row in again["metrics"]} == {7}


def test_a_higher_limit_goes_on_from_the_finished_run(split: Path, tmp_path: Path) -> None:
    words = ["train", split, "--set", "fit.check_every=1", "--out", tmp_path / "run"]
    assert "still rising: the best epoch is the last one allowed; raise --epochs" in succeed(*words, "--epochs", 1)
    raised = succeed(*words, "--epochs", 3)
    assert "went on after epoch 1" in raised
    kept = succeed("train", split, "--config", tmp_path / "run", "--epochs", 4, "--out", tmp_path / "other")
    assert "went on after epoch 3" in kept
    assert artifacts.read_manifest(tmp_path / "run", "run")["notes"]["epochs"] == 3


def test_ctrl_c_ends_with_130(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hardneg.pipeline.train_stage", interrupt)
    result = run("train", split, "--out", tmp_path / "run")
    assert result.exit_code == 130
    assert result.output.count("\n") == 1


def test_a_killed_training_continues_to_the_same_bits(split: Path, tmp_path: Path) -> None:
    options = ["--sampler", "mixgcf", "--epochs", "25"]
    for setting in ("fit.batch_size=64", "fit.check_every=1", "fit.patience=60"):
        options += ["--set", setting]

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
        scores.append([artifacts.content_hashes(tmp_path / name / folder) for folder in (".", "evaluation")])
    assert scores[0] == scores[1]
    assert "embeddings.safetensors" in scores[0][0]
    assert set(scores[0][1]) == {"metrics.parquet", "per_user.parquet"}


def test_a_trained_model_is_fused_with_text(split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--model", "mf", "--epochs", 5, "--out", tmp_path / "run")
    succeed("profiles", "write", split, "--out", tmp_path / "profiles")
    profiles = ("--profiles", tmp_path / "profiles")
    vectors = values_of("profiles", "encode", split, *profiles, "--out", tmp_path / "vectors")
    assert vectors["size"] == 384
    given = ("--split", split, "--vectors", tmp_path / "vectors")
    output = succeed("fuse", tmp_path / "run", *given, "--weight", 0, "--weight", 2, "--out", tmp_path / "fused")
    assert output.count(" at ") == 2
    assert values_of("fuse", *given, "--text-only", "--out", tmp_path / "text")["weight"] is None
    for folder in ("fused", "text"):
        assert json.loads(succeed("evaluate", tmp_path / folder, "--split", split, "--json"))["users"] > 0
        user = pl.read_parquet(tmp_path / folder / "users.parquet")["user_id"][0]
        assert len(json.loads(succeed("recommend", tmp_path / folder, "--user", user, "-k", 3, "--json"))) == 3
    assert "fused, made again from its settings and inputs, is the same" in succeed(
        "audit", "run", tmp_path / "fused", "--split", split
    )


def test_trees_of_a_run_and_a_multi_view_run_from_them(split: Path, tmp_path: Path) -> None:
    succeed("train", split, "--epochs", 1, "--out", tmp_path / "run")
    words = ("trees", "build", split, "--run", tmp_path / "run", "--set", "tree.leaf_items=5")
    assert "items in the fullest leaf" in succeed(*words, "--out", tmp_path / "trees")
    shapes = json.loads(succeed(*words, "--out", tmp_path / "trees", "--json"))
    assert shapes["semantic"]["items in the fullest leaf"] <= 5
    assert shapes["semantic"]["leaves"] > 1
    assert "vectors" in refuse("trees", "build", split, "--out", tmp_path / "none")
    viewed = ("--sampler", "multi-view", "--set", "sampler.alpha_s=0.2", "--epochs", 1, "--trees", tmp_path / "trees")
    notes = values_of("train", split, *viewed, "--out", tmp_path / "viewed")
    assert notes["semantic tree of"] == "item embeddings of a trained run"


def test_a_semantic_mixing_run_from_neighbours(split: Path, tmp_path: Path) -> None:
    find = ("neighbours", "find")
    assert ": 5 neighbours of" in succeed(*find, "co-occurrence", split, "-k", 5, "--out", tmp_path / "near")
    succeed(*find, "text", split, "-k", 5, "--out", tmp_path / "text")
    succeed(*find, "random", split, "-k", 5, "--seed", 3, "--out", tmp_path / "random")
    mixing = ("--model", "mf", "--sampler", "semantic-mixing", "--set", "sampler.sampler.kind=dns", "--epochs", 2)
    mixing += ("--set", "sampler.neighbours=5", "--negatives", tmp_path / "near", "--out", tmp_path / "run")
    assert values_of("train", split, *mixing)["neighbours by"] == "co-occurrence"


def test_train_reads_a_file_a_run_folder_and_options_in_this_order(split: Path, tmp_path: Path) -> None:
    succeed("neighbours", "find", "random", split, "-k", 4, "--out", tmp_path / "near")
    settings = {
        "model": {"kind": "mf", "embedding_size": 8},
        "sampler": {"kind": "semantic-mixing", "neighbours": 4, "alpha": 0.3},
        "fit": {"epochs": 1, "check_every": 1, "seed": 5},
        "folders": {"negatives": str(tmp_path / "near")},
    }
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    succeed("train", split, "--config", file, "--set", "sampler.alpha=0.2", "--seed", 6, "--out", tmp_path / "first")
    written = yaml.safe_load((tmp_path / "first" / "config.yaml").read_text())
    assert written["model"]["embedding_size"] == 8
    assert (written["sampler"]["alpha"], written["sampler"]["neighbours"]) == (0.2, 4)
    assert (written["fit"]["epochs"], written["fit"]["seed"]) == (1, 6)

    again = ("--config", tmp_path / "first", "--negatives", tmp_path / "near", "--out", tmp_path / "second")
    succeed("train", split, *again)
    hashes = [artifacts.content_hashes(tmp_path / name) for name in ("first", "second")]
    assert hashes[0] == hashes[1]

    succeed("train", split, "--config", tmp_path / "first", "--sampler", "dns", "--out", tmp_path / "third")
    other = yaml.safe_load((tmp_path / "third" / "config.yaml").read_text())
    assert other["sampler"]["kind"] == "dns"
    assert other["model"] == written["model"]
    kept = tmp_path / "first" / "config.yaml"
    kept.write_text(kept.read_text().replace("alpha: 0.2", "alpha: 0.3"))
    assert str(kept) in refuse("train", split, "--config", tmp_path / "first", "--out", tmp_path / "fourth")
    file.write_text("folders: {negative: x}\n", encoding="utf-8")
    assert "negative" in refuse("train", split, "--config", file)
    file.write_text("fit: {epochs: 1}\nfit: {epochs: 2}\n", encoding="utf-8")
    assert "'fit'" in refuse("train", split, "--config", file)
