"""Triplets: the texts of a slow loop, and a loss of sentence-transformers that reads them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
from tests.finetuning.tiny import make_base

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import DataError
from hardneg.pipeline.exports import export_stage, triplets
from hardneg.text import item_texts


def slow_triplets(table: pl.DataFrame, split: splits.Split, profiles: list[str] | None) -> list[tuple[str, ...]]:
    """Return ids and texts, one row after another."""
    texts = dict(zip(split.vocabulary.item_ids, item_texts(split.texts), strict=True))
    rows = []
    for row, user_id, positive_id, negative_text, item_id in table.select(
        "row", "user_id", "positive_item_id", "negative_text", "item_id"
    ).iter_rows():
        user = int(split.train.users[row])
        titles = [
            split.texts["title"][item] for item in split.train.items_of(user).tolist() if item != split.train.items[row]
        ]
        anchor = (
            "; ".join(title for title in titles[: triplets.HISTORY] if title) if profiles is None else profiles[user]
        )
        negative = texts.get(item_id, "") or negative_text or ""
        if anchor and texts[positive_id] and negative and negative != texts[positive_id]:
            rows.append((user_id, positive_id, item_id, anchor, texts[positive_id], negative))
    return rows


@pytest.mark.parametrize("with_profiles", [False, True])
def test_triplets_are_those_of_a_slow_loop(
    store_root: Path, folders: Path, tmp_path: Path, with_profiles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triplets, "ROWS_AT_ONCE", 300)
    split, profiles = splits.read_split(folders / "split"), store_root / "profiles" if with_profiles else None
    stage = export_stage(store_root / "negatives", "sentence-transformers", folders / "split", profiles)
    out = stage.run(tmp_path / "out")
    table = pl.read_parquet(store_root / "negatives" / "negatives.parquet")
    users = pl.read_parquet(profiles / "users.parquet")["profile"].to_list() if profiles else None
    expected = slow_triplets(table, split, users)
    written, ids = pl.read_parquet(out / "triplets.parquet"), pl.read_parquet(out / "ids.parquet")
    assert written.columns == ["anchor", "positive", "negative"]
    assert [(*name, *texts) for name, texts in zip(ids.rows(), written.rows(), strict=True)] == expected
    notes = artifacts.read_manifest(out, "export")["notes"]
    assert notes["triplets"] == len(expected) > 600
    assert notes["triplets"] + notes[triplets.BLANK] + notes[triplets.EQUAL] == len(table)
    assert sorted(path.name for path in out.iterdir()) == ["ids.parquet", "manifest.json", "triplets.parquet"]


def test_generated_texts_blank_texts_and_equal_texts(
    store_root: Path, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = splits.read_split(folders / "split")
    texts = item_texts(split.texts)
    made = pl.read_parquet(store_root / "negatives" / "negatives.parquet")[:4]
    positive = texts[split.train.items[made["row"][2]]]
    made = made.with_columns(
        item_id=pl.Series([None, None, None, made["item_id"][3]], dtype=pl.String),
        negative_text=pl.Series(["a generated tent", None, positive, "not used"], dtype=pl.String),
    )
    monkeypatch.setattr(triplets, "read_parquet", lambda _: made)
    stage = export_stage(store_root / "negatives", "sentence-transformers", folders / "split")
    out = stage.run(tmp_path / "out")
    assert pl.read_parquet(out / "triplets.parquet")["negative"].to_list() == [
        "a generated tent",
        texts[split.vocabulary.items[made["item_id"][3]]],
    ]
    notes = artifacts.read_manifest(out, "export")["notes"]
    assert (notes[triplets.BLANK], notes[triplets.EQUAL]) == (1, 1)


def test_vectors_without_texts_give_no_triplet(store_root: Path, folders: Path, tmp_path: Path) -> None:
    stage = export_stage(store_root / "random", "sentence-transformers", folders / "split")
    with pytest.raises(DataError, match="gives no triplet"):
        stage.run(tmp_path / "out")


@pytest.fixture
def exported(store_root: Path, folders: Path, tmp_path: Path) -> Path:
    stage = export_stage(store_root / "negatives", "sentence-transformers", folders / "split", store_root / "profiles")
    return stage.run(tmp_path / "out") / "triplets.parquet"


def test_a_loss_of_sentence_transformers_reads_them(exported: Path, tmp_path: Path) -> None:
    """The trainer itself needs datasets; it passes the columns in this order to the loss."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = SentenceTransformer(str(make_base(tmp_path / "bert", "bert")), device="cpu")
    rows = pl.read_parquet(exported)[:8]
    features = [model.tokenize(rows[column].to_list()) for column in rows.columns]
    loss = MultipleNegativesRankingLoss(model)(features, torch.zeros(8))
    loss.backward()
    assert torch.isfinite(loss)
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_the_trainer_of_sentence_transformers_accepts_them(exported: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="SentenceTransformerTrainer needs the package datasets")
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    rows = datasets.load_dataset("parquet", data_files=str(exported), split="train", cache_dir=str(tmp_path / "cache"))
    model = SentenceTransformer(str(make_base(tmp_path / "bert", "bert")), device="cpu")
    arguments = SentenceTransformerTrainingArguments(
        str(tmp_path / "trained"), max_steps=2, per_device_train_batch_size=8
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=rows, loss=MultipleNegativesRankingLoss(model)
    )
    trainer.train()
    assert trainer.state.global_step == 2
