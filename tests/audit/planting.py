"""Finished artifacts of a small store, and copies of them with a planted leak and a manifest that agrees with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardneg import artifacts, pipeline
from hardneg.audit import Origin
from hardneg.data import Split, SplitConfig, simulate
from hardneg.data import split as splits
from hardneg.data.interactions import union
from hardneg.mining import LabelOptions, RetrievalConfig
from hardneg.pipeline import FusionConfig, RunConfig, SuspectInputs
from hardneg.sampling import MixGCF, Semantic
from hardneg.stage import Stage
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig
from hardneg.types import Floats, Progress

FIT = FitConfig(epochs=8, check_every=2, learning_rate=0.02)


class WordCounts:
    """A quick text encoder: hashed words, unit length."""

    name = identity = "word counts"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        vectors = np.zeros((len(texts), 32), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, sum(map(ord, word)) % 32] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.where(norms > 0, vectors / np.maximum(norms, 1e-9), np.nan)


def make_world(root: Path, size: simulate.SimulationConfig, config: SplitConfig) -> Path:
    """Make dataset, split, profiles, negatives, vectors, runs, labels, synthesized vectors, trees and suspects below a folder."""
    split = root / "split"
    pipeline.simulate_stage(size).run(root / "dataset")
    pipeline.split_stage(root / "dataset", config).run(split)
    make_artifacts(root, split)
    return root


def make_artifacts(root: Path, split: Path) -> None:
    """Make every kind of artifact of a split below a folder."""
    pipeline.extract_profiles_stage(split).run(root / "profiles")
    pipeline.retrieve_stage(split, root / "profiles", RetrievalConfig(n=2), WordCounts()).run(root / "negatives")
    pipeline.random_negatives_stage(split, root / "negatives", seed=3).run(root / "random")
    pipeline.encode_texts_stage(split, root / "profiles", WordCounts()).run(root / "vectors")
    pipeline.train_stage(split, RunConfig(fit=FIT)).run(root / "run")
    pipeline.evaluate_run(root / "run", split)
    semantic = RunConfig(sampler=Semantic(), fit=FIT)
    pipeline.train_stage(split, semantic, negatives=root / "negatives").run(root / "semantic")
    pipeline.train_stage(split, RunConfig(sampler=MixGCF(candidates=4), fit=FIT)).run(root / "mixgcf")
    pipeline.labels_stage(split, root / "mixgcf", LabelOptions()).run(root / "labels")
    pipeline.trees_stage(split, TreesConfig(), run=root / "run").run(root / "trees")
    pipeline.suspects_stage(split, SuspectInputs(root / "run", root / "trees")).run(root / "suspects")
    pipeline.fuse_stage(root / "run", split, root / "vectors", FusionConfig()).run(root / "fused")
    pipeline.evaluate_run(root / "fused", split)


def origin_of(world: Path) -> Origin:
    """Return where the artifacts of a world come from."""
    folders = sorted(path for path in world.iterdir() if path.is_dir() and path.name not in ("dataset", "split"))
    return Origin(WordCounts, tuple(folders), world / "dataset")


def plant(
    folder: Path, out: Path, edit: Callable[[Path], None], *, config: dict[str, Any] | None = None, **inputs: str
) -> Path:
    """Copy a finished artifact, edit its files, and make its manifest agree: hashes, key, settings and inputs."""
    shutil.copytree(folder, out)
    edit(out)
    reseal(out, config, **inputs)
    return out


def reseal(folder: Path, config: dict[str, Any] | None = None, /, **inputs: str) -> None:
    """Make the manifest of a folder agree with its files, and with other settings and inputs."""
    path = folder / artifacts.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["config"] |= config or {}
    manifest["inputs"] |= {name.replace("_", " "): digest for name, digest in inputs.items()}
    manifest["files"] = {name: digest for name, digest in artifacts.content_hashes(folder).items() if "/" not in name}
    manifest["key"] = artifacts.artifact_key(manifest["kind"], manifest["config"], manifest["inputs"])
    artifacts.write_manifest(folder, manifest)


def write_split(out: Path, split: Split, like: Path) -> Path:
    """Write a split folder with the manifest of another."""
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, split)).run(out)
    manifest = json.loads((like / artifacts.MANIFEST).read_text())
    artifacts.write_manifest(out, manifest)
    reseal(out)
    return out


def widen(world: Path, out: Path) -> Path:
    """Write a split whose train pairs hold the test pairs, with their reviews: what leaky artifacts are made from."""
    split, dataset = splits.read_split(world / "split"), pl.read_parquet(world / "dataset" / "interactions.parquet")
    reviews = dataset.select(
        user=pl.col("user_id").replace_strict(split.vocabulary.users, default=None, return_dtype=pl.Int64),
        item=pl.col("item_id").replace_strict(split.vocabulary.items, default=None, return_dtype=pl.Int64),
        review="review",
    ).drop_nulls()
    train = union(split.train, split.test)
    kept = train.contains(reviews["user"].to_numpy(), reviews["item"].to_numpy())
    return write_split(out, replace(split, train=train, reviews=reviews.filter(pl.Series(kept))), world / "split")


def claim(folder: Path, split: Path, config: dict[str, Any] | None = None, /, **inputs: str) -> Path:
    """Make the manifest of an artifact claim that it was made from the training data of a split."""
    reseal(folder, config, **{"training data": splits.training_data_hash(split)}, **inputs)
    return folder
