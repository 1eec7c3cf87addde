"""Planted leaks with manifests that agree with them are found, each by the check that is meant for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.audit import audit_folder, audit_run
from hardneg.audit.division import audit_division, check_stored
from hardneg.cli.main import app
from hardneg.data import SplitConfig, simulate
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions, union
from hardneg.diagnostics import Check, check_split
from hardneg.evaluation import rerank, score_pairs
from hardneg.judging.suspects import Suspects, read_suspects
from hardneg.mining import LabelOptions, RetrievalConfig
from hardneg.models import MF
from hardneg.pipeline import FusionConfig, RunConfig
from hardneg.sampling import MixGCF
from hardneg.trees import TreesConfig
from hardneg.types import Indices

from ..suspect_folders import write_folder
from .planting import FIT, WordCounts, claim, make_world, origin_of, plant, reseal, widen, write_split

SIZE = simulate.SimulationConfig(n_users=150, n_items=100, shown=60, like_rate=0.2)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), SIZE, SplitConfig(train=0.7, valid=0.1, test=0.2))


@pytest.fixture(scope="module")
def widened(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split whose train pairs hold the test pairs."""
    return widen(world, tmp_path_factory.mktemp("widened") / "split")


def audit(world: Path, folder: Path) -> list[Check]:
    return audit_folder(folder, world / "split", origin_of(world))


def edit_table(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_parquet(path)).write_parquet(path)


def draw_test_items(world: Path, rng: np.random.Generator) -> tuple[Interactions, Indices, Indices]:
    """Return the train pairs, which of them have a user with test pairs, and a test item of each such user."""
    split = splits.read_split(world / "split")
    rows = np.flatnonzero(split.test.counts[split.train.users])
    users = split.train.users[rows]
    items = split.test.items[split.test.starts[users] + rng.integers(split.test.counts[users])]
    return split.train, rows, items


# Splits


def test_pairs_stored_twice(world: Path, tmp_path: Path) -> None:
    folder = plant(
        world / "split",
        tmp_path / "split",
        lambda out: edit_table(out / "train.parquet", lambda t: pl.concat([t[:3], t])),
    )
    found = check_stored(folder)
    assert not found.passed
    assert "train: 3 repeated" in found.detail
    assert check_stored(world / "split").passed


def test_test_pairs_in_train(world: Path, widened: Path) -> None:
    failed = [check.question for check in check_split(splits.read_split(widened)) if not check.passed]
    assert failed == ["train and test share no pair"]
    assert all(check.passed for check in check_split(splits.read_split(world / "split")))


def test_items_of_test_alone(world: Path, tmp_path: Path) -> None:
    """The vocabulary holds an item without train pairs."""
    split = splits.read_split(world / "split")
    kept = split.train.items != split.train.n_items - 1
    train = Interactions(split.train.users[kept], split.train.items[kept], split.train.n_users, split.train.n_items)
    reviews = split.reviews.filter(pl.col("item") != split.train.n_items - 1)
    folder = write_split(tmp_path / "split", replace(split, train=train, reviews=reviews), world / "split")
    failed = [check.question for check in check_split(splits.read_split(folder)) if not check.passed]
    assert failed == ["every user and item of the split has a train pair"]


def test_validation_pairs_moved_to_train(world: Path, tmp_path: Path) -> None:
    split = splits.read_split(world / "split")
    moved = Interactions(split.valid.users[:40], split.valid.items[:40], split.train.n_users, split.train.n_items)
    train = union(split.train, moved)
    moved_split = replace(split, train=train).with_part("valid", split.valid.users[40:], split.valid.items[40:])
    folder = write_split(tmp_path / "split", moved_split, world / "split")
    failed = [c for c in audit_division(folder, world / "dataset", splits.read_split(folder)) if not c.passed]
    assert [check.question for check in failed] == ["split, made again from its settings and inputs, is the same"]
    assert failed[0].detail == "differs: train.parquet, valid.parquet"
    clean = audit_division(world / "split", world / "dataset", split)
    assert len(clean) == 3
    assert all(check.passed for check in clean), clean


def test_held_out_reviews_in_item_texts(world: Path, tmp_path: Path) -> None:
    split = splits.read_split(world / "split")
    reviews = pl.read_parquet(world / "dataset" / "interactions.parquet").join(
        pl.DataFrame(
            {
                "user_id": pl.Series(split.vocabulary.user_ids).gather(split.test.users),
                "item_id": pl.Series(split.vocabulary.item_ids).gather(split.test.items),
            }
        ),
        on=["user_id", "item_id"],
    )
    told = reviews.group_by("item_id").agg(pl.col("review").str.join(" ").alias("told"))

    def tell(out: Path) -> None:
        edit_table(
            out / "items.parquet",
            lambda t: (
                t.join(told, on="item_id", how="left", maintain_order="left")
                .with_columns(description=pl.concat_str("description", pl.lit(" "), pl.col("told").fill_null("")))
                .drop("told")
            ),
        )

    folder = plant(world / "split", tmp_path / "split", tell)
    failed = [c.question for c in audit_division(folder, world / "dataset", splits.read_split(folder)) if not c.passed]
    assert "the item texts hold no pieces of held-out reviews" in failed


# Profiles


def test_held_out_reviews_in_profiles(world: Path, widened: Path, tmp_path: Path) -> None:
    """Written by something that nobody can run again, so only the texts show it."""
    pipeline.extract_profiles_stage(widened).run(tmp_path / "profiles")
    folder = claim(tmp_path / "profiles", world / "split", {"method": "written"})
    failed = {check.question: check.detail for check in audit(world, folder) if not check.passed}
    assert "the user profiles hold no pieces of held-out reviews" in failed
    assert "user profiles do not name held-out items" in failed


def test_extracted_profiles_that_read_test_pairs(world: Path, widened: Path, tmp_path: Path) -> None:
    pipeline.extract_profiles_stage(widened).run(tmp_path / "profiles")
    failed = [
        check.question for check in audit(world, claim(tmp_path / "profiles", world / "split")) if not check.passed
    ]
    assert "profiles, made again from its settings and inputs, is the same" in failed


# Negatives


def replace_items(world: Path, out: Path, rows: Indices, items: Indices) -> None:
    """Name other items in some rows of a negatives folder, with the vectors of their texts."""
    split = splits.read_split(world / "split")
    ids = pl.Series(split.vocabulary.item_ids).gather(items)
    chosen = pl.DataFrame({"row": rows, "other": ids})
    edit_table(
        out / "negatives.parquet",
        lambda t: (
            t.join(chosen, on="row", how="left", maintain_order="left")
            .with_columns(item_id=pl.coalesce("other", "item_id"))
            .drop("other")
            .unique(["row", "item_id"], maintain_order=True)
        ),
    )


def test_negatives_that_are_test_items(world: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    _, rows, items = draw_test_items(world, rng)
    folder = plant(
        world / "negatives",
        tmp_path / "negatives",
        lambda out: replace_items(world, out, rows, items),
        config={"method": "semantic"},
    )
    failed = [check.question for check in audit(world, folder) if not check.passed]
    assert failed == ["the negatives hold held-out pairs as often as chance explains"]


def test_negatives_that_avoid_held_out_items(world: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    split = splits.read_split(world / "split")

    def avoid(out: Path) -> None:
        known = union(union(split.train, split.valid), split.test).matrix()[split.train.users].toarray()
        free = np.where(known > 0, -1.0, rng.random(known.shape))
        replace_items(world, out, np.arange(len(free)), free.argmax(axis=1))

    folder = plant(world / "negatives", tmp_path / "negatives", avoid, config={"method": "semantic"})
    failed = [check.question for check in audit(world, folder) if not check.passed]
    assert failed == ["the negatives hold held-out pairs as often as chance explains"]


def test_vectors_of_test_items(world: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    """The table stays as it was."""
    _, rows, items = draw_test_items(world, rng)
    texts = np.load(world / "vectors" / "items.npy")

    def swap(out: Path) -> None:
        vectors = np.load(out / "embeddings.npy")
        vectors[rows] = texts[items]
        np.save(out / "embeddings.npy", vectors)

    folder = plant(world / "negatives", tmp_path / "negatives", swap)
    failed = {check.question for check in audit(world, folder) if not check.passed}
    assert failed == {
        "the vectors are those of the items in the table",
        "the items nearest to the vectors hold held-out pairs no more often than chance explains",
        "negatives, made again from its settings and inputs, is the same",
    }


def test_negatives_retrieved_by_profiles_that_read_test_pairs(world: Path, widened: Path, tmp_path: Path) -> None:
    pipeline.extract_profiles_stage(widened).run(tmp_path / "profiles")
    claim(tmp_path / "profiles", world / "split")
    stage = pipeline.retrieve_stage(world / "split", tmp_path / "profiles", RetrievalConfig(n=2), WordCounts())
    failed = [check.question for check in audit(world, stage.run(tmp_path / "negatives")) if not check.passed]
    assert "profiles, made again from its settings and inputs, is the same" in failed


def test_other_negatives_than_those_of_the_run(world: Path) -> None:
    origin = origin_of(world)
    checks = audit_run(world / "semantic", world / "split", world / "negatives", origin=origin)
    assert all(check.passed for check in checks), checks
    failed = [
        c.question
        for c in audit_run(world / "semantic", world / "split", world / "random", origin=origin)
        if not c.passed
    ]
    assert "the run was trained with this negatives folder" in failed


# Labels, vectors of a tuned model, trees


def test_labels_of_a_run_that_was_trained_on_test_pairs(world: Path, widened: Path, tmp_path: Path) -> None:
    pipeline.train_stage(widened, RunConfig(sampler=MixGCF(candidates=4), fit=FIT)).run(tmp_path / "run")
    claim(tmp_path / "run", world / "split")
    with pytest.raises(Exception, match="are not those that its model computes"):
        pipeline.labels_stage(world / "split", tmp_path / "run", LabelOptions()).run(tmp_path / "labels")


def test_edited_labels(world: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    _, rows, items = draw_test_items(world, rng)

    def swap(out: Path) -> None:
        vectors = np.load(out / "labels.npy")
        vectors[rows] = np.load(out / "items.npy")[items]
        np.save(out / "labels.npy", vectors)

    failed = [c.question for c in audit(world, plant(world / "labels", tmp_path / "labels", swap)) if not c.passed]
    assert failed == ["labels, made again from its settings and inputs, is the same"]


def test_synthesized_vectors_of_test_items(world: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    """Of a language model, which is not run again: vectors in the space of the labels."""
    _, rows, items = draw_test_items(world, rng)
    vectors = np.load(world / "labels" / "labels.npy").astype(np.float16)
    table = np.load(world / "labels" / "items.npy")
    for name, changed in (("clean", rows[:0]), ("leaky", rows)):
        folder = tmp_path / name
        pipeline.labels_control_stage(world / "split", world / "labels", "labels").run(folder)
        mixed = np.array(vectors)
        mixed[changed] = table[items[: len(changed)]]
        np.save(folder / "embeddings.npy", mixed)
        reseal(folder, {"method": "synthesized"}, profiles="of a language model")
        failed = [check.question for check in audit(world, folder) if not check.passed]
        expected = ["the items nearest to the vectors hold held-out pairs no more often than chance explains"]
        assert failed == (expected if len(changed) else [])


def test_trees_over_test_pairs(world: Path, widened: Path, tmp_path: Path) -> None:
    stage = pipeline.trees_stage(widened, TreesConfig(), vectors=claimed_vectors(world, widened, tmp_path))
    folder = claim(stage.run(tmp_path / "trees"), world / "split", vectors=artifacts.folder_hash(world / "vectors"))
    failed = [check.question for check in audit(world, folder) if not check.passed]
    assert failed == ["trees, made again from its settings and inputs, is the same"]


def claimed_vectors(world: Path, widened: Path, tmp_path: Path) -> Path:
    return claim(plant(world / "vectors", tmp_path / "vectors", lambda _: None), widened)


# Suspects


def suspects_with(world: Path, out: Path, *, liked: float, added: bool) -> Path:
    """Suspects of a judge that likes most candidates; added: the test pairs are among them, as suspects."""
    split, rng = splits.read_split(world / "split"), np.random.default_rng(4)
    judged = read_suspects(world / "suspects", split)
    pairs = judged.pairs(split.train)
    pairs = union(pairs, split.test) if added else pairs
    probability = np.where(rng.random(len(pairs)) < liked, 1.0, 0.0)
    if added:
        probability[split.test.contains(pairs.users, pairs.items)] = 1.0
    return write_folder(out, world / "split", Suspects(pairs.users, pairs.items, probability, "made up"))


@pytest.mark.parametrize("liked", [0.6, 0.9, 1.0])
def test_test_pairs_added_to_suspects_of_a_judge_that_likes_most(world: Path, tmp_path: Path, liked: float) -> None:
    leaky = suspects_with(world, tmp_path / "leaky", liked=liked, added=True)
    failed = {check.question for check in audit(world, leaky) if not check.passed}
    assert "the candidates hold held-out pairs no more often than chance explains" in failed
    assert ("the suspects do not depend on held-out pairs" in failed) == (liked < 1)
    clean = suspects_with(world, tmp_path / "clean", liked=liked, added=False)
    assert all(check.passed for check in audit(world, clean)), audit(world, clean)


def test_other_candidates_than_those_of_the_run(world: Path, tmp_path: Path) -> None:
    """Judged by something that nobody can run again: one test pair in place of a candidate."""
    split = splits.read_split(world / "split")

    def swap(out: Path) -> None:
        known, test = read_suspects(out, split), split.test
        new = int(np.flatnonzero(~known.pairs(split.train).contains(test.users, test.items))[0])
        ids = split.vocabulary.user_ids[test.users[new]], split.vocabulary.item_ids[test.items[new]]
        row = int(np.flatnonzero(known.users == test.users[new])[0])
        item = pl.when(pl.int_range(pl.len()) == row).then(pl.lit(ids[1])).otherwise("item_id").alias("item_id")
        edit_table(out / "suspects.parquet", lambda t: t.with_columns(item))

    folder = plant(world / "suspects", tmp_path / "suspects", swap, config={"judge": {"kind": "titles"}})
    failed = [check.question for check in audit(world, folder) if not check.passed]
    assert failed == ["the candidates are those that the run ranks highest"]


# Runs


def audit_plain(world: Path, run: Path) -> list[str]:
    return [check.question for check in audit_run(run, world / "split", origin=origin_of(world)) if not check.passed]


EMBEDDINGS = "the embeddings are those that the model computes from the train pairs"
EPOCH = "the kept epoch is the best on validation, and has the recorded value"
LOSSES = "the first epochs, repeated from the stated settings and train pairs, have the recorded losses"
RANKS = "held-out pairs are ranked as by a model that did not see them"


def draw_near(run: Path, split: Path, part: str) -> None:
    """Add to the embedding of every user those of the user's held-out items."""
    pairs, tensors = getattr(splits.read_split(split), part), load_file(run / "embeddings.safetensors")
    items = tensors["items"] / np.linalg.norm(tensors["items"], axis=1, keepdims=True)
    tensors["users"] = tensors["users"] + 5 * (pairs.matrix() @ items).astype(np.float32)
    save_file(tensors, run / "embeddings.safetensors")


def test_edited_embeddings(world: Path, tmp_path: Path) -> None:
    run = plant(world / "run", tmp_path / "run", lambda out: draw_near(out, world / "split", "test"))
    pipeline.evaluate_run(run, world / "split")
    failed = audit_plain(world, run)
    assert EMBEDDINGS in failed
    assert RANKS in failed
    assert audit_plain(world, world / "run") == []


def test_edited_embeddings_and_model(world: Path, tmp_path: Path) -> None:
    """Of matrix factorisation, whose model is its embeddings."""
    pipeline.train_stage(world / "split", RunConfig(model=MF(), fit=FIT)).run(tmp_path / "honest")

    def edit(out: Path) -> None:
        draw_near(out, world / "split", "test")
        save_file(load_file(out / "embeddings.safetensors"), out / "model.safetensors")

    failed = audit_plain(world, plant(tmp_path / "honest", tmp_path / "run", edit))
    assert EMBEDDINGS not in failed
    assert RANKS in failed
    assert audit_plain(world, tmp_path / "honest") == []


@pytest.mark.parametrize("part", ["test", "valid"])
def test_a_run_trained_on_held_out_pairs(world: Path, tmp_path: Path, part: str) -> None:
    split = splits.read_split(world / "split")
    leaky = replace(split, train=union(split.train, getattr(split, part)))
    write_split(tmp_path / "split", leaky, world / "split")
    pipeline.train_stage(tmp_path / "split", RunConfig(fit=FIT)).run(tmp_path / "run")
    edit_table(tmp_path / "run" / "seen.parquet", lambda _: pl.read_parquet(world / "split" / "train.parquet"))
    failed = audit_plain(world, claim(tmp_path / "run", world / "split"))
    assert LOSSES in failed
    assert EMBEDDINGS in failed


def test_a_wider_mask(world: Path, tmp_path: Path) -> None:
    split = splits.read_split(world / "split")
    wider = union(split.train, split.valid)
    table = pl.DataFrame({"user": wider.users, "item": wider.items})
    run = plant(world / "run", tmp_path / "run", lambda out: table.write_parquet(out / "seen.parquet"))
    shutil.rmtree(run / "evaluation")
    pipeline.evaluate_run(run, world / "split")
    failed = audit_plain(world, run)
    assert "the mask is the observed train pairs" in failed
    assert "evaluation states metrics that its run has under the stated mask (train)" in failed


def test_another_seed_than_stated(world: Path, tmp_path: Path) -> None:
    config = RunConfig(fit=FIT.model_copy(update={"seed": 7})).model_dump(mode="json")
    run = plant(world / "run", tmp_path / "run", lambda _: None, config=config)
    assert audit_plain(world, run) == [LOSSES]


def test_an_epoch_that_validation_did_not_choose(world: Path, tmp_path: Path) -> None:
    """The model of the second epoch, with the curve of a longer run."""
    short = RunConfig(fit=FIT.model_copy(update={"epochs": 2}))
    pipeline.train_stage(world / "split", short).run(tmp_path / "run")
    edit_table(tmp_path / "run" / "metrics.parquet", lambda _: pl.read_parquet(world / "run" / "metrics.parquet"))
    reseal(tmp_path / "run", RunConfig(fit=FIT).model_dump(mode="json"))
    assert audit_plain(world, tmp_path / "run") == [EPOCH]


@pytest.fixture(scope="module")
def other(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another split of the same data, whose train pairs hold test pairs of the first, with negatives and a run."""
    root = tmp_path_factory.mktemp("other")
    pipeline.split_stage(world / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=1)).run(root / "split")
    pipeline.extract_profiles_stage(root / "split").run(root / "profiles")
    stage = pipeline.retrieve_stage(root / "split", root / "profiles", RetrievalConfig(), WordCounts())
    stage.run(root / "negatives")
    pipeline.train_stage(root / "split", RunConfig(fit=FIT)).run(root / "run")
    return root


def test_a_run_and_negatives_of_another_split(world: Path, other: Path) -> None:
    failed = audit_plain(world, other / "run")
    assert "the run was trained on this split" in failed
    assert "validation pairs of this split chose its epoch" in failed
    checks = audit_run(world / "semantic", world / "split", other / "negatives", origin=origin_of(world))
    assert {check.question for check in checks if not check.passed} == {
        "the run was trained with this negatives folder",
        "the negatives were made from the training data of this split",
    }


def test_suspects_of_a_run_that_other_validation_pairs_chose(world: Path, tmp_path: Path) -> None:
    split = splits.read_split(world / "split")
    swapped = replace(split, valid=split.test, test=split.valid)
    write_split(tmp_path / "split", swapped, world / "split")
    failed = [c.question for c in audit_folder(world / "suspects", tmp_path / "split") if not c.passed]
    assert failed == ["validation pairs of this split chose the run behind the suspects"]


# Evaluations


def test_validation_pairs_masked_in_silence(world: Path, tmp_path: Path) -> None:
    run = plant(world / "run", tmp_path / "run", lambda _: None)
    masked = pipeline.evaluate_run(run, world / "split", mask_valid=True)
    assert audit_plain(world, run) == []
    shutil.rmtree(run / "evaluation")
    masked.rename(run / "evaluation")
    reseal(run / "evaluation", {"mask": "train"})
    checks = audit_run(run, world / "split")
    failed = [check for check in checks if not check.passed]
    assert [c.question for c in failed] == ["evaluation states metrics that its run has under the stated mask (train)"]
    assert "they are those under the mask train and valid" in failed[0].detail


def test_edited_metrics_of_users(world: Path, tmp_path: Path) -> None:
    run = plant(world / "run", tmp_path / "run", lambda _: None)
    better = pl.when(pl.int_range(pl.len()) < 5).then(1.0).otherwise(pl.col("recall@20")).alias("recall@20")
    edit_table(run / "evaluation" / "per_user.parquet", lambda t: t.with_columns(better))
    reseal(run / "evaluation")
    assert audit_plain(world, run) == [
        "evaluation states metrics that its run has under the stated mask (train)",
        "evaluation states the means over its users",
    ]


def test_edited_means_and_users_left_out(world: Path, tmp_path: Path) -> None:
    run = plant(world / "run", tmp_path / "run", lambda _: None)
    edit_table(run / "evaluation" / "metrics.parquet", lambda t: t.with_columns(pl.col("value") * 1.1))
    reseal(run / "evaluation")
    assert audit_plain(world, run) == ["evaluation states the means over its users"]
    edit_table(run / "evaluation" / "per_user.parquet", lambda t: t.filter(pl.col("recall@20") > 0))
    reseal(run / "evaluation")
    assert "evaluation states metrics that its run has under the stated mask (train)" in audit_plain(world, run)


def test_a_fused_run_whose_weight_validation_did_not_choose(world: Path, tmp_path: Path) -> None:
    other = FusionConfig(weights=(0.7,))
    pipeline.fuse_stage(world / "run", world / "split", world / "vectors", other).run(tmp_path / "fused")
    reseal(tmp_path / "fused", FusionConfig().model_dump(mode="json"))
    failed = audit_plain(world, tmp_path / "fused")
    assert failed == ["fused, made again from its settings and inputs, is the same"]
    assert audit_plain(world, world / "fused") == []


EXCHANGE = "judged items exchange scores with one another"
PLACES = "held-out candidates are ordered as by a judge that did not see them"
AGAIN = "reranked, made again from its settings and inputs, is the same"


@pytest.mark.parametrize("part", ["test", "valid"])
def test_bonuses_that_follow_held_out_pairs(world: Path, tmp_path: Path, part: str) -> None:
    """They still exchange scores, and are of judged candidates."""
    pipeline.rerank_stage(world / "run", world / "split", world / "suspects").run(tmp_path / "honest")
    split, run = splits.read_split(world / "split"), pipeline.read_run(tmp_path / "honest")
    pairs = run.bonus.pairs
    held_out = getattr(split, part).contains(pairs.users, pairs.items).astype(float)
    leaky = rerank(pairs, score_pairs(run.embeddings, pairs), held_out, 1e6).values
    folder = plant(
        tmp_path / "honest",
        tmp_path / "reranked",
        lambda out: edit_table(out / "bonus.parquet", lambda t: t.with_columns(bonus=leaky)),
    )
    assert audit_plain(world, folder) == [PLACES, AGAIN]
    assert audit_plain(world, tmp_path / "honest") == []


def test_bonuses_of_other_pairs_and_bonuses_that_raise(world: Path, tmp_path: Path) -> None:
    pipeline.rerank_stage(world / "run", world / "split", world / "suspects").run(tmp_path / "honest")
    train = splits.read_split(world / "split").train

    def add_train_pair(table: pl.DataFrame) -> pl.DataFrame:
        row = {"user": train.users[:1], "item": train.items[:1], "bonus": np.zeros(1, np.float32)}
        return pl.concat([table, pl.DataFrame(row)]).sort("user", "item")

    changes = {"other": add_train_pair, "raised": lambda table: table.with_columns(bonus=pl.col("bonus") + 1)}
    failed = {}
    for name, change in changes.items():
        folder = plant(
            tmp_path / "honest",
            tmp_path / name / "reranked",
            lambda out, change=change: edit_table(out / "bonus.parquet", change),
        )
        failed[name] = audit_plain(world, folder)
    assert failed["other"] == ["no train pair has a bonus", "bonuses are of judged candidates alone", AGAIN]
    assert failed["raised"] == [EXCHANGE, AGAIN]


# The command


def test_the_command_ends_with_1_where_a_check_fails(world: Path, widened: Path, tmp_path: Path) -> None:
    pipeline.extract_profiles_stage(widened).run(tmp_path / "profiles")
    leaky = claim(tmp_path / "profiles", world / "split")
    for folder, code in ((world / "profiles", 0), (leaky, 1)):
        words = ["audit", "folder", folder, "--split", world / "split", "--dataset", world / "dataset", "--json"]
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == code, result.output
        assert all(check["passed"] for check in json.loads(result.stdout)) == (code == 0)
