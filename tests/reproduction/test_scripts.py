"""The scripts of reproduction/ on a tiny store: what they print is what the folders hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.finetuning.tiny import make_base
from tests.llm.tiny import make_tiny

from hardneg import pipeline
from hardneg.data import split as splits
from hardneg.judging import AllPositive
from hardneg.models import MF
from hardneg.pipeline import RunConfig, SuspectsConfig
from hardneg.random import generator
from hardneg.sampling import MinedNegatives, mined
from hardneg.stage import Stage
from hardneg.training import FitConfig

SCRIPTS = Path(__file__).parents[2] / "reproduction"


def called(script: str, *given: object) -> str:
    """Run a script, and return what it prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPTS / script), *map(str, given)]
    return subprocess.run(command, check=True, env=environment, capture_output=True, timeout=300, text=True).stdout


def cells(lines: list[str]) -> list[list[str]]:
    """Return the cells of the rows of a Markdown table."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


@pytest.fixture(scope="module")
def vectors(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A negatives folder of made-up vectors."""
    data, out = splits.read_split(folders / "split"), tmp_path_factory.mktemp("negatives") / "made-up"
    drawn = generator(0, "made up").standard_normal((len(data.train), 6)).astype(np.float16)
    made = MinedNegatives(np.full((len(data.train), 1), -1), drawn, "made up")
    inputs = {"training data": splits.training_data_hash(folders / "split")}
    Stage(
        mined.KIND,
        {"method": "test"},
        inputs,
        lambda draft: mined.write_negatives(draft, made),
    ).run(out)
    return out


@pytest.mark.slow
def test_noise_is_judged_and_trained_on(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables.md"
    given = ["--rates", "0", "0.2", "--models", "MF", "--epochs", "1", "--work", tmp_path / "work", "--out", out]
    called("noise.py", folders / "split", folders / "dataset", *given)
    lines, second = (cells(part.splitlines()[2:]) for part in out.read_text().split("\n\n"))
    assert len(lines) == 3 * 3 + 3, "three judges in three conditions, and against hidden pairs in one"
    hidden = [line for line in lines if line[4] == "hidden pairs"]
    assert [line[3] for line in hidden] == ["rule", "random", "all"]
    assert {line[1] for line in hidden} == {"20%"}
    [of_all] = [line for line in hidden if line[3] == "all"]
    assert of_all[7] == of_all[5], "calling all liked has the precision of the base rate"
    assert of_all[9] == "100.0%"
    assert len(second) == 3 * 4


@pytest.mark.slow
def test_a_language_model_judges_under_noise_as_well(folders: Path, tmp_path: Path) -> None:
    tiny_qwen = make_tiny(tmp_path / "tiny-qwen2", "qwen2")
    given = ["--rates", "0", "--models", "MF", "--epochs", "1", "--work", tmp_path / "work"]
    printed = called(
        "noise.py", folders / "split", folders / "dataset", *given, "--llm", f"hf:{tiny_qwen}", "--ask", "llm-logprob"
    )
    lines = cells([line for line in printed.splitlines() if line.startswith("| 0%")])
    assert [line[3] for line in lines[:4]] == ["rule", "random", "all", "llm-logprob"]
    assert 0 < float(lines[3][-1].rstrip("%")) < 100
    assert [line[3] for line in lines[4:]] == ["none", "rule", "random", "all", "llm-logprob"]


@pytest.mark.slow
def test_variants_are_trained_with_three_kinds_of_vectors(folders: Path, vectors: Path) -> None:
    printed = called(
        "semantic_variants.py", folders / "split", vectors, "--epochs", 1, "--seeds", 1, "--alphas", 0, 0.3
    )
    assert [line.split(":")[0] for line in printed.splitlines()[:5:2]] == ["uniform", "mixgcf", "dns"]
    table = cells([line for line in printed.splitlines() if line.startswith("| 0")])
    assert len(table) == 2 * 7
    nothing = {cell for line in table if line[:2] == ["0", "frozen projector"] for cell in line[2:]}
    assert nothing == {printed.splitlines()[0].split(": ")[1]}, "without a share and without alignment it is uniform"


@pytest.mark.slow
def test_gradients_of_the_semantic_loss_are_tabulated(folders: Path, vectors: Path) -> None:
    given = ["--forms", "literal", "both", "--alphas", "0", "--set", "fit.epochs=2", "model.embedding_size=8"]
    printed = called("semantic_loss.py", folders / "split", f"made up={vectors}", *given)
    parts = {part.splitlines()[0]: part for part in printed.split("## ")[1:]}
    assert list(parts) == [
        "e_hard beside items",
        "Gradient norms",
        "Nearest catalogue items of e_hard",
        "Alpha, form both",
    ]
    lines = cells([line for line in parts["e_hard beside items"].splitlines() if line.startswith("| made up")])
    assert [line[:3] for line in lines] == [["made up", form, epoch] for form in ("literal", "both") for epoch in "12"]


@pytest.mark.slow
def test_transfer_scores_methods_on_the_target(folders: Path, tmp_path: Path) -> None:
    make_base(tmp_path / "base", "bert")
    sizes = ["--tuning-pairs", 64, "--fitted", 64, "--scored", 64, "--batch-size", 32, "--train-epochs", 2]
    given = ["--sources", folders / "split", "--base", tmp_path / "base", "--work", tmp_path / "work", *sizes]
    command = [
        "transfer.py",
        folders / "split",
        *given,
        "--embedding-size",
        8,
        "--methods",
        "raw",
        "texts-raw",
        "untuned",
    ]
    printed = called(*command)
    names, _, *lines = cells(printed.splitlines())
    table = {line[0]: dict(zip(names, line, strict=True)) for line in lines}
    assert list(table) == ["raw", "texts-raw", "untuned", "[e_u, e_v]"]
    for way in ("raw", "texts-raw", "untuned"):
        one = table[way]
        assert float(one["information"]) == pytest.approx(np.log(32) - float(one["loss"]), abs=2e-3)
    assert table["texts-raw"]["turned"] == "–", "a prompt without e_u and e_v has nothing to turn"
    assert table["untuned"]["information"] != table["untuned"]["turned"]
    assert called(*command) == printed, "the folders in --work are reused"


@pytest.mark.slow
def test_suspects_in_top_items_are_counted(folders: Path, tmp_path: Path) -> None:
    split, runs = folders / "split", [tmp_path / f"mf-seed{seed}" for seed in (0, 1)]
    for seed, run in enumerate(runs):
        pipeline.train_stage(split, RunConfig(model=MF(), fit=FitConfig(epochs=1, check_every=1, seed=seed))).run(run)
    every = SuspectsConfig(judge=AllPositive(), candidates=5)
    pipeline.suspects_stage(split, pipeline.SuspectInputs(run=runs[0]), every).run(tmp_path / "suspects")
    [own] = cells(called("suspects_in_top_items.py", split, tmp_path / "suspects", runs[0], "-k", 5).splitlines()[2:3])
    assert own == [f"{tmp_path.name}/mf", "1", "100.0%"]
    [two] = cells(called("suspects_in_top_items.py", split, tmp_path / "suspects", *runs, "-k", 10).splitlines()[2:3])
    assert two[1] == "2"
    assert 25 < float(two[2].split("%")[0]) < 50, "half of one run's, fewer of the other's"


@pytest.mark.slow
def test_suspect_weights_are_compared(folders: Path, tmp_path: Path) -> None:
    split, run = folders / "split", tmp_path / "mf-seed0"
    pipeline.train_stage(split, RunConfig(model=MF(), fit=FitConfig(epochs=2, check_every=1))).run(run)
    pipeline.suspects_stage(
        split, pipeline.SuspectInputs(run=run), SuspectsConfig(judge=AllPositive(), candidates=5)
    ).run(tmp_path / "every")
    given = ["suspect_weights.py", split, run, tmp_path / "every", "--weights", 0, 0.5, "--batches", 16, "--seeds", 2]
    printed = called(*given, "--out", tmp_path / "light.md")
    lines = cells((tmp_path / "light.md").read_text(encoding="utf-8").splitlines()[2:])
    assert [line[0] for line in lines] == [
        "no suspects",
        "batch 16, no suspects",
        "every, weight 0",
        "every, weight 0.5",
    ]
    assert lines[0][1:] == lines[2][1:], "suspects that weigh nothing are none"
    assert len({line[1] for line in lines}) == 3, "batches and weights change the result"
    assert "every, weight 0.5" in printed


@pytest.mark.slow
def test_the_compact_table_has_rounded_numbers_of_the_study(tmp_path: Path) -> None:
    def sizes(relative: float | None, p: float | None) -> dict[str, float | None]:
        ends = (None, None) if relative is None else (relative - 0.05, relative + 0.05)
        return dict(zip(("relative", "relative_low", "relative_high", "p_holm"), (relative, *ends, p), strict=True))

    told = {"MixGCF": (None, None), "DTL-NS, all": (-0.1234, 0.0004), "exclusion, judge random": (0.05, None)}
    rows = []
    for row, (relative, p) in told.items():
        scores = {"ndcg@20": 0.06004, "ndcg@20 sd": 0.00126, "recall@20": 0.1, "recall@20 sd": 0.0}
        second = sizes(None if relative is None else -relative, None if p is None else 1.0)
        rows.append({"row": row, **scores, **sizes(relative, p), **{f"recall@20 {k}": v for k, v in second.items()}})
    pl.DataFrame(rows).write_parquet(tmp_path / "shop-mf.parquet")
    masked = [
        {"row": row, "metric": metric, "seeds": seeds, "released_mask": value}
        for metric, value in (("ndcg@20", 0.0912), ("recall@20", 0.2))
        for row, seeds in (("MixGCF", 5), ("DTL-NS, all", 5), ("exclusion, judge random", 3))
    ]
    pl.DataFrame(masked).write_parquet(tmp_path / "shop-mf-released-mask.parquet")
    whole = called("compact_table.py", tmp_path / "shop-mf").splitlines()
    assert whole[0].startswith("| row | seeds | nDCG@20 | Recall@20 | nDCG@20 vs MixGCF [95 %] |")
    assert "RELEASED MASK (not valid)" in whole[0]
    assert cells(whole[2:]) == [
        ["MixGCF", "5", ".0600 ± .0013", ".1000 ± .0000", "–", "–", "–", ".0912"],
        [
            "DTL-NS, all",
            "5",
            ".0600 ± .0013",
            ".1000 ± .0000",
            "-12.3 % [-17.3, -7.3]",
            "< .001",
            "+12.3 %, 1",
            ".0912",
        ],
        [
            "exclusion, judge random",
            "3",
            ".0600 ± .0013",
            ".1000 ± .0000",
            "+5.0 % [+0.0, +10.0]",
            "–",
            "-5.0 %",
            ".0912",
        ],
    ]
    part = called("compact_table.py", tmp_path / "shop-mf", "--rows", "exclusion, judge random", "MixGCF").splitlines()
    assert part[2:] == [whole[4], whole[2]]
    with pytest.raises(subprocess.CalledProcessError):
        called("compact_table.py", tmp_path / "shop-mf", "--rows", "nothing")


@pytest.mark.slow
def test_judges_are_evaluated_beside_baselines(folders: Path, tmp_path: Path) -> None:
    tiny_qwen = make_tiny(tmp_path / "tiny-qwen2", "qwen2")
    given = ["judges.py", "shop", folders / "split", "--truth", folders / "dataset", "--users", 12, "--epochs", 1]
    given += ["--judges", "titles", "llm-logprob", "--models", tiny_qwen, "--hidden", 0.1, "--work", tmp_path / "work"]
    [planned, other] = called(*given, "--dry-run").splitlines()
    assert "shop, titles, tiny-qwen2: 132 candidates, 12 calls" in planned
    assert "132 candidates, 132 calls" in other
    names, _, *lines = cells(called(*given, "--results", tmp_path / "results").strip().splitlines())
    table = {line[0]: dict(zip(names, line, strict=True)) for line in lines}
    baselines = ["popularity", "nearest title (MiniLM)", "mean of titles (MiniLM)"]
    assert list(table) == ["rule", "random", "all", *baselines, "titles", "llm-logprob"]
    assert table["all"]["AUC, random"].startswith("0.500")
    assert table["popularity"]["kappa"] == "–", "a score is no probability"
    assert table["llm-logprob"]["labelled"] == "100.0%"
    assert table["titles"]["liked, of all"] == table["rule"]["liked, of all"]
    assert len(pl.read_parquet(tmp_path / "results" / "shop-bins.parquet")["judge"].unique()) == 2
