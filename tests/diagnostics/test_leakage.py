"""The audit: redrawn pairs are what they should be, our stages pass, leaky stages are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hardneg import artifacts, pipeline
from hardneg.audit import TRAINED, audit_run, audit_split
from hardneg.data import Interactions, Split
from hardneg.data import split as splits
from hardneg.data.truth import Truth
from hardneg.diagnostics import check_mask, check_split, redraw
from hardneg.negatives import MixGCF, Semantic
from hardneg.pipeline import RunConfig
from hardneg.text import Profiles
from hardneg.training import FitConfig
from hardneg.types import Floats, Progress


class WordCounts:
    """A text encoder quick enough for many audits: hashed words, unit length."""

    name = "word counts"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        vectors = np.zeros((len(texts), 32), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, sum(map(ord, word)) % 32] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.where(norms > 0, vectors / np.maximum(norms, 1e-9), np.nan)


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
    assert len(checks) == 6
    assert all(check.passed for check in checks), checks


def test_a_stage_that_reads_test_pairs_is_found(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = pipeline.extract_profiles

    def leaky(split: Split) -> Profiles:
        profiles = honest(split)
        names = split.texts["title"].to_list()
        users = [
            f"{text} {names[split.test.items_of(u)[0]]}" if split.test.counts[u] else text
            for u, text in enumerate(profiles.users)
        ]
        return replace(profiles, users=users)

    monkeypatch.setattr(pipeline, "extract_profiles", leaky)
    checks = {check.question: check for check in audit_split(folders / "split", WordCounts())}
    found = checks["test pairs, drawn anew, change nothing that was made"]
    assert not found.passed
    assert "profiles/users.parquet" in found.detail
    assert "semantic/embeddings.safetensors" in found.detail
    assert checks["valid pairs, drawn anew, change nothing that was made"].passed


def test_training_that_reads_validation_pairs_is_found(
    folders: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = RunConfig(fit=FitConfig(epochs=2))
    pipeline.train(folders / "split", tmp_path / "run", config)
    assert all(check.passed for check in audit_run(tmp_path / "run", folders / "split", None))
    honest = pipeline.api.UniformCandidates
    read = splits.read

    def leaky(excluded: Interactions) -> object:
        return honest(excluded if current[0] is None else pipeline.union(excluded, current[0].valid))

    current: list[Split | None] = [None]

    def reading(folder: Path) -> Split:
        current[0] = read(folder)
        return current[0]

    monkeypatch.setattr(splits, "read", reading)
    monkeypatch.setattr(pipeline.api, "UniformCandidates", leaky)
    failed = [check.question for check in audit_run(tmp_path / "run", folders / "split", None) if not check.passed]
    assert failed == ["valid pairs, drawn anew, change nothing that was made"]


def test_a_whole_run_is_the_same_whatever_the_test_pairs_are(folders: Path, tmp_path: Path) -> None:
    """With early stopping, mined negatives and all: nothing changes but the test metrics."""
    other = tmp_path / "other-split"
    split = splits.read(folders / "split")
    splits.write(other, redraw(split, "test", seed=5), config={}, inputs={})
    hashes, metrics = [], []
    for name, folder in (("one", folders / "split"), ("two", other)):
        out = tmp_path / name
        pipeline.profile(folder, out / "profiles")
        pipeline.mine_retrieved(folder, out / "profiles", out / "negatives", pipeline.Retrieved(), WordCounts())
        config = RunConfig(sampler=Semantic(), fit=FitConfig(epochs=20, check_every=2, patience=2))
        pipeline.train(folder, out / "run", config, negatives=out / "negatives")
        hashes.append({name: artifacts.content_hashes(out / name) for name in ("profiles", "negatives", "run")})
        found = pipeline.evaluate_run(out / "run", folder)
        metrics.append(artifacts.content_hashes(found)["metrics.parquet"])
    assert hashes[0] == hashes[1]
    assert set(TRAINED) <= set(hashes[0]["run"])
    assert metrics[0] != metrics[1]


def test_other_validation_pairs_change_only_which_epoch_is_kept(folders: Path, tmp_path: Path) -> None:
    """Loss by epoch stays the same as long as both train; so does what is kept at the same epoch."""
    split = splits.read(folders / "split")
    splits.write(tmp_path / "split", redraw(split, "valid", seed=5), config={}, inputs={})
    config = RunConfig(
        sampler=MixGCF(candidates=4), fit=FitConfig(epochs=30, check_every=2, patience=2, learning_rate=0.02)
    )
    curves = []
    for name, folder in (("one", folders / "split"), ("two", tmp_path / "split")):
        pipeline.train(folder, tmp_path / name, config)
        curves.append(pipeline.pl.read_parquet(tmp_path / name / "metrics.parquet"))
    losses = [frame.filter(metric="loss")["value"].to_list() for frame in curves]
    epochs = min(map(len, losses))
    assert epochs >= 6
    assert losses[0][:epochs] == losses[1][:epochs]
    valid = [frame.filter(split="valid", metric="recall@20")["value"].to_list() for frame in curves]
    assert valid[0][:3] != valid[1][:3]


def test_overlapping_parts_are_found(store: tuple[Split, Truth]) -> None:
    split, _ = store
    broken = split.with_part("test", split.train.users[:4], split.train.items[:4])
    failed = [check.question for check in check_split(broken) if not check.passed]
    assert "train and test share no pair" in failed


def test_a_mask_that_a_method_widened_is_found(seen: Interactions) -> None:
    wider = pipeline.union(seen, Interactions.of(np.array([4]), np.array([2]), n_users=6, n_items=12))
    assert check_mask(seen, seen).passed
    found = check_mask(wider, seen)
    assert not found.passed
    assert found.detail == "1 added, 0 missing"
