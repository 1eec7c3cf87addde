"""End to end with a real server: profiles, negatives, grounding, training, evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.llm.tiny import make_tiny, teach
from tests.llm.transformers_server import installed, serving
from typer.testing import CliRunner

from hardneg.cli.main import app
from hardneg.data import simulate
from hardneg.pipeline import simulate_stage

CANARY = "sk-canary-7d1f0c"
SMALL = simulate.SimulationConfig(n_users=60, n_items=80, shown=30, like_rate=0.15)


def hardneg(*words: object) -> dict[str, object]:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    simulate_stage(SMALL).run(folder / "store")
    hardneg("data", "split", folder / "store", "--out", folder / "split")
    return folder / "split"


@pytest.fixture(scope="module")
def title(split: Path) -> str:
    """A title of an item."""
    return pl.read_parquet(split / "items.parquet")["title"][0]


@pytest.fixture(scope="module")
def endpoint_name(title: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An endpoint whose model answers every question with one JSON object."""
    if not installed():
        pytest.skip("transformers[serving] is not installed")
    folder = tmp_path_factory.mktemp("taught")
    answer = {"summarization": "tents and long walks", "reasoning": "it was said", "hard_negative_item": title}
    teach(make_tiny(folder / "model"), json.dumps(answer))
    with serving(folder / "model", folder / "home") as name:
        yield name


@pytest.mark.slow
def test_from_a_real_server_to_recommendations(
    split: Path, endpoint_name: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", CANARY)
    llm = ("--llm", endpoint_name, "--key-variable", "SHOP_KEY", "--store", tmp_path / "replies.sqlite")
    estimate = hardneg("llm", "estimate", "writing", split, *llm, "--sample", 3, "--out", tmp_path / "estimate.json")
    assert {stage["name"] for stage in estimate["stages"]} >= {"items", "users", "negatives", "total"}

    profiles = hardneg(
        "profiles", "write", split, *llm, "--estimate", tmp_path / "estimate.json", "--out", tmp_path / "profiles"
    )
    assert profiles["items without"] == profiles["users without"] == 0
    assert set(pl.read_parquet(tmp_path / "profiles/users.parquet")["profile"]) == {"tents and long walks"}
    costs = profiles["costs"]
    assert costs["llm_calls"] + costs["llm_rows_from_the_store"] == profiles["items"] + profiles["users"]
    assert abs(costs["estimate"]["total"]["tokens off"]) < 0.05

    mining = ("negatives", "generate", split, "--profiles", tmp_path / "profiles", *llm)
    raw = hardneg(*mining, "--naming", "raw", "--out", tmp_path / "raw")
    assert raw["pairs without a vector"] == 0
    assert raw["costs"]["llm_calls"] > 0
    grounded = hardneg(*mining, "--naming", "grounded", "--out", tmp_path / "grounded")
    assert grounded["costs"]["llm_calls"] == 0  # the same requests: all stored
    table = pl.read_parquet(tmp_path / "grounded/grounding.parquet")
    assert set(table["negative_text"]) == {title}
    assert set(table["how"]) == {"exact"}

    run = tmp_path / "run"
    options = ("--epochs", 2, "--sampler", "semantic", "--negatives", tmp_path / "grounded")
    hardneg("train", split, "--model", "mf", *options, "--out", run)
    run_costs = json.loads((run / "costs.json").read_text())
    assert run_costs["llm_calls"] == profiles["items"] + profiles["users"] + raw["pairs"]
    assert hardneg("evaluate", run, "--split", split)

    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not [path for path in written if CANARY.encode() in path.read_bytes()]


@pytest.mark.slow
def test_second_run_sends_nothing_to_a_real_server(split: Path, endpoint_name: str, tmp_path: Path) -> None:
    llm = ("--llm", endpoint_name, "--store", tmp_path / "replies.sqlite", "--set", "most_items=3")
    first = hardneg("profiles", "write", split, *llm, "--out", tmp_path / "one")
    second = hardneg("profiles", "write", split, *llm, "--out", tmp_path / "two")
    assert first["costs"]["llm_calls"] == first["items"] + first["users"]
    assert second["costs"]["llm_calls"] == 0
    for name in ("items.parquet", "users.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
