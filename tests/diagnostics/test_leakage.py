"""The audit: redrawn pairs are what they should be, our stages pass, leaky stages are found."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.audit.planting import WordCounts

from hardneg import artifacts, fitting, pipeline
from hardneg.audit import TRAINED, audit_run, audit_split
from hardneg.data import Dataset, Interactions, Split, SplitConfig, simulate
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.data.interactions import union
from hardneg.data.truth import Truth
from hardneg.diagnostics import check_mask, check_split, redraw
from hardneg.errors import ConfigError
from hardneg.mining import RetrievalConfig, labels
from hardneg.pipeline import RunConfig
from hardneg.sampling import MixGCF, Semantic
from hardneg.stage import Stage
from hardneg.text import Profiles, extract_profiles
from hardneg.training import FitConfig


@pytest.mark.parametrize("part", ["valid", "test"])
def test_redrawn_pairs_are_new_and_as_many(store: tuple[Split, Truth], part: str) -> None:
    split, _ = store
    old, new = getattr(split, part), getattr(redraw(split, part, seed=1), part)
    assert len(new) == len(old)
    assert (new.counts == old.counts).all()
    assert not split.train.contains(new.users, new.items).any()
    assert not old.contains(new.users, new.items).any()
    assert not np.array_equal(new.items, getattr(redraw(split, part, seed=2), part).items)


def test_our_stages_pass(folders: Path) -> None:
    checks = audit_split(folders / "split", WordCounts())
    assert len(checks) == 11
    assert all(check.passed for check in checks), checks
    assert "labels, tuning and synthesis without a language model" in checks[-1].detail


def test_labels_that_read_test_pairs_are_detected(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, original, current = splits.read_split, labels.draw_label_vectors, list[Split]()

    def reading(folder: Path) -> Split:
        current[:] = [read(folder)]
        return current[0]

    def leaky(*given: Any, **more: Any) -> labels.LabelDraws:
        drawn = original(*given, **more)
        drawn.vectors[:50] += current[0].test.items[:50, None] % 7
        return drawn

    monkeypatch.setattr(splits, "read_split", reading)
    monkeypatch.setattr(labels, "draw_label_vectors", leaky)
    checks = {check.question: check for check in audit_split(folders / "split", WordCounts())}
    found = checks["test pairs, drawn anew, change nothing that was made"]
    assert not found.passed
    assert "labels/labels.npy" in found.detail
    assert "synthesized/embeddings.npy" in found.detail
    assert "profiles" not in found.detail


@pytest.mark.parametrize(
    ("stage", "file"), [("trees", "trees/codes.parquet"), ("suspects", "suspects/suspects.parquet")]
)
def test_trees_and_judges_that_read_test_pairs_are_detected(
    folders: Path, monkeypatch: pytest.MonkeyPatch, stage: str, file: str
) -> None:
    """The stage reads a split whose train pairs hold the test pairs as well."""
    read = splits.read_split

    def widened(folder: Path) -> Split:
        split = read(folder)
        return replace(split, train=union(split.train, split.test))

    leaky = type(
        "Leaky", (), {"__getattr__": lambda _, name: widened if name == "read_split" else getattr(splits, name)}
    )()
    monkeypatch.setattr(f"hardneg.pipeline.{stage}.splits", leaky)
    checks = {check.question: check for check in audit_split(folders / "split", WordCounts())}
    found = checks["test pairs, drawn anew, change nothing that was made"]
    assert not found.passed
    assert file in found.detail


def test_a_stage_that_reads_test_pairs_is_detected(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = extract_profiles

    def leaky(split: Split) -> Profiles:
        profiles = original(split)
        names = split.texts["title"].to_list()
        users = [
            f"{text} {names[split.test.items_of(u)[0]]}" if split.test.counts[u] else text
            for u, text in enumerate(profiles.users)
        ]
        return replace(profiles, users=users)

    monkeypatch.setattr("hardneg.pipeline.text.extract_profiles", leaky)
    checks = {check.question: check for check in audit_split(folders / "split", WordCounts())}
    found = checks["test pairs, drawn anew, change nothing that was made"]
    assert not found.passed
    assert "profiles/users.parquet" in found.detail
    assert "semantic/embeddings.safetensors" in found.detail
    assert checks["valid pairs, drawn anew, change nothing that was made"].passed


def test_training_that_reads_validation_pairs_is_detected(
    folders: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = RunConfig(fit=FitConfig(epochs=2))
    pipeline.train_stage(folders / "split", config).run(tmp_path / "run")
    assert all(check.passed for check in audit_run(tmp_path / "run", folders / "split", None))
    original = fitting.build_source
    read = splits.read_split

    def leaky(*arguments: Any) -> object:
        *others, excluded = arguments
        return original(*others, excluded if current[0] is None else union(excluded, current[0].valid))

    current: list[Split | None] = [None]

    def reading(folder: Path) -> Split:
        current[0] = read(folder)
        return current[0]

    monkeypatch.setattr(splits, "read_split", reading)
    monkeypatch.setattr("hardneg.fitting.build_source", leaky)
    failed = [check.question for check in audit_run(tmp_path / "run", folders / "split", None) if not check.passed]
    assert failed == [
        "the first epochs, repeated from the stated settings and train pairs, have the recorded losses",
        "valid pairs, drawn anew, change nothing that was made",
    ]


def test_a_run_does_not_depend_on_test_pairs(folders: Path, tmp_path: Path) -> None:
    """With early stopping, mined negatives and all: nothing changes but the test metrics."""
    other = tmp_path / "other-split"
    split = splits.read_split(folders / "split")
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, redraw(split, "test", seed=5))).run(other)
    hashes, metrics = [], []
    for name, folder in (("one", folders / "split"), ("two", other)):
        out = tmp_path / name
        pipeline.extract_profiles_stage(folder).run(out / "profiles")
        pipeline.retrieve_stage(folder, out / "profiles", RetrievalConfig(), WordCounts()).run(out / "negatives")
        config = RunConfig(sampler=Semantic(), fit=FitConfig(epochs=20, check_every=2, patience=2))
        pipeline.train_stage(folder, config, negatives=out / "negatives").run(out / "run")
        hashes.append({name: artifacts.content_hashes(out / name) for name in ("profiles", "negatives", "run")})
        found = pipeline.evaluate_run(out / "run", folder)
        metrics.append(artifacts.content_hashes(found)["metrics.parquet"])
    assert hashes[0] == hashes[1]
    assert set(TRAINED) <= set(hashes[0]["run"])
    assert metrics[0] != metrics[1]


def test_other_validation_pairs_change_only_which_epoch_is_kept(folders: Path, tmp_path: Path) -> None:
    """Loss by epoch stays the same as long as both train; so does what is kept at the same epoch."""
    split = splits.read_split(folders / "split")
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, redraw(split, "valid", seed=5))).run(
        tmp_path / "split"
    )
    config = RunConfig(
        sampler=MixGCF(candidates=4), fit=FitConfig(epochs=30, check_every=2, patience=2, learning_rate=0.02)
    )
    curves = []
    for name, folder in (("one", folders / "split"), ("two", tmp_path / "split")):
        pipeline.train_stage(folder, config).run(tmp_path / name)
        curves.append(pl.read_parquet(tmp_path / name / "metrics.parquet"))
    losses = [frame.filter(metric="loss")["value"].to_list() for frame in curves]
    epochs = min(map(len, losses))
    assert epochs >= 6
    assert losses[0][:epochs] == losses[1][:epochs]
    fixed = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 6, "check_every": 6})})
    kept = []
    for name, folder in (("one-fixed", folders / "split"), ("two-fixed", tmp_path / "split")):
        pipeline.train_stage(folder, fixed).run(tmp_path / name)
        kept.append({file: artifacts.content_hashes(tmp_path / name)[file] for file in TRAINED})
    assert kept[0] == kept[1]
    valid = [frame.filter(split="valid", metric="recall@20")["value"].to_list() for frame in curves]
    assert valid[0][:3] != valid[1][:3]


def given_parts(rng: np.random.Generator, *, redrawn: bool) -> Dataset:
    """Interactions with parts, ratings, times and reviews; redrawn: other test rows, the train rows as they were."""
    dataset, _ = simulate.simulate_store(simulate.SimulationConfig(n_users=150, n_items=100, shown=60, like_rate=0.2))
    frame = dataset.interactions.with_columns(
        rating=pl.lit(4.0), split=pl.Series(fixed_parts(len(dataset.interactions)))
    )
    if not redrawn:
        return replace(dataset, interactions=frame)
    train, test = frame.filter(split="train"), frame.filter(split="test")
    known = train["item_id"].unique().sort()
    items = pl.Series("item_id", rng.choice(known.to_numpy(), size=len(test)))
    new = test.with_columns(items, rating=pl.lit(1.0), timestamp=pl.col("timestamp") - 10**8, review=pl.lit("Awful."))
    taken = train.select("user_id", "item_id")
    new = new.unique(["user_id", "item_id"], maintain_order=True).join(taken, on=["user_id", "item_id"], how="anti")
    return replace(dataset, interactions=pl.concat([new, train]))  # another order, too


def fixed_parts(n: int) -> list[str]:
    return np.random.default_rng(1).choice(["train", "train", "train", "test"], size=n).tolist()


def test_test_rows_redrawn_with_ratings_times_and_reviews_change_nothing_from_the_files_on(tmp_path: Path) -> None:
    """From the interactions, not from a finished split: filters, vocabulary, reviews, a carved validation part and all."""
    hashes, keys, scores = [], [], []
    for name, redrawn in (("one", False), ("two", True)):
        out = tmp_path / name
        Stage(
            datasets.KIND,
            {},
            {"redrawn": str(redrawn)},
            partial(datasets.write_dataset, dataset=given_parts(np.random.default_rng(4), redrawn=redrawn)),
        ).run(out / "dataset")
        pipeline.split_stage(out / "dataset", SplitConfig(by="given", valid=0.2)).run(out / "split")
        assert len(splits.read_split(out / "split").reviews) > 100
        pipeline.extract_profiles_stage(out / "split").run(out / "profiles")
        pipeline.retrieve_stage(out / "split", out / "profiles", RetrievalConfig(), WordCounts()).run(out / "negatives")
        config = RunConfig(sampler=Semantic(), fit=FitConfig(epochs=6, check_every=2))
        pipeline.train_stage(out / "split", config, negatives=out / "negatives").run(out / "run")
        made = {folder: artifacts.content_hashes(out / folder) for folder in ("split", "profiles", "negatives", "run")}
        test_hash = made["split"].pop("test.parquet")
        hashes.append(made)
        keys.append([artifacts.key_at(out / folder) for folder in ("profiles", "negatives", "run")])
        scores.append(
            (test_hash, artifacts.content_hashes(pipeline.evaluate_run(out / "run", out / "split"))["metrics.parquet"])
        )
    assert hashes[0] == hashes[1]
    assert keys[0] == keys[1]
    assert scores[0][0] != scores[1][0]
    assert scores[0][1] != scores[1][1]


def test_artifacts_of_another_split_are_refused(folders: Path, tmp_path: Path) -> None:
    """Two seeds give as many train pairs; the other's negatives belong to other pairs and have learnt from test pairs."""
    other = tmp_path / "split"
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=1)).run(other)
    assert len(splits.read_split(other).train) == len(splits.read_split(folders / "split").train)
    pipeline.extract_profiles_stage(other).run(tmp_path / "profiles")
    pipeline.retrieve_stage(other, tmp_path / "profiles", RetrievalConfig(), WordCounts()).run(tmp_path / "negatives")
    message = r"was made from another split than .*; make these (profiles|negatives) from this split"
    with pytest.raises(ConfigError, match=message):
        pipeline.retrieve_stage(folders / "split", tmp_path / "profiles", RetrievalConfig(), WordCounts()).run(
            tmp_path / "n"
        )
    with pytest.raises(ConfigError, match=message):
        pipeline.random_negatives_stage(folders / "split", tmp_path / "negatives", seed=0).run(tmp_path / "r")
    config = RunConfig(sampler=Semantic(), fit=FitConfig(epochs=1))
    with pytest.raises(ConfigError, match=message):
        pipeline.train_stage(folders / "split", config, negatives=tmp_path / "negatives").run(tmp_path / "run")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_run_is_not_scored_on_the_pairs_that_chose_its_epoch(folders: Path, tmp_path: Path) -> None:
    split = splits.read_split(folders / "split")
    swapped = replace(split, valid=split.test, test=split.valid)
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, swapped)).run(tmp_path / "split")
    pipeline.train_stage(folders / "split", RunConfig(fit=FitConfig(epochs=1))).run(tmp_path / "run")
    with pytest.raises(ConfigError, match="was not trained on"):
        pipeline.evaluate_run(tmp_path / "run", tmp_path / "split")


def test_overlapping_parts_are_detected(store: tuple[Split, Truth]) -> None:
    split, _ = store
    broken = split.with_part("test", split.train.users[:4], split.train.items[:4])
    failed = [check.question for check in check_split(broken) if not check.passed]
    assert "train and test share no pair" in failed


def test_a_mask_with_added_pairs_is_detected(seen: Interactions) -> None:
    wider = union(seen, Interactions.of(np.array([4]), np.array([2]), n_users=6, n_items=12))
    assert check_mask(seen, seen).passed
    found = check_mask(wider, seen)
    assert not found.passed
    assert found.detail == "1 added, 0 missing"
