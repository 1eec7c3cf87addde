"""A bundle recommends what its run recommends, without the split."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import hardneg as hn
from hardneg import pipeline
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError
from hardneg.pipeline.exports import export_stage


@pytest.fixture(scope="module")
def bundle(store_root: Path, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle alone, at another place."""
    out = tmp_path_factory.mktemp("bundle")
    export_stage(store_root / "run", "bundle", folders / "split").run(out / "made")
    shutil.move(out / "made", out / "moved")
    return out / "moved"


def test_it_recommends_what_the_run_recommends(bundle: Path, store_root: Path, folders: Path, tmp_path: Path) -> None:
    users = splits.read_split(folders / "split").vocabulary.user_ids[:40]
    expected = pipeline.make_recommendations(store_root / "run", users, 7)
    served = hn.load_bundle(bundle)
    assert served.recommend(users, 7).equals(expected.table)
    assert (
        served.recommend(users[3], 2)
        .select("user_id", "item_id")
        .equals(expected.table.filter(user_id=users[3])[:2].select("user_id", "item_id"))
    )
    assert pipeline.make_recommendations(bundle, users, 7).masked == expected.masked
    counts = pipeline.write_recommendations(bundle, tmp_path / "recs.csv", 3)
    assert counts.users == served.notes["users"]


def test_a_reranked_run_keeps_the_scores_of_its_judge(store_root: Path, folders: Path, tmp_path: Path) -> None:
    split = folders / "split"
    config = pipeline.SuspectsConfig.model_validate({"judge": {"kind": "random"}, "candidates": 10})
    suspects = pipeline.suspects_stage(split, pipeline.SuspectInputs(store_root / "run"), config).run(
        tmp_path / "suspects"
    )
    weights = pipeline.RerankConfig(weights=(4.0,))
    reranked = pipeline.rerank_stage(store_root / "run", split, suspects, weights).run(tmp_path / "reranked")
    export_stage(reranked, "bundle", split).run(tmp_path / "bundle")
    users = splits.read_split(split).vocabulary.user_ids
    table = hn.load_bundle(tmp_path / "bundle").recommend(users)
    assert table.equals(pipeline.recommend(reranked, users, 10))
    assert not table.equals(pipeline.recommend(store_root / "run", users, 10))


def test_what_it_cannot_do_is_an_error(bundle: Path, store_root: Path) -> None:
    with pytest.raises(DataError, match="no user 'nobody'"):
        hn.load_bundle(bundle).recommend("nobody")
    with pytest.raises(ConfigError, match="mask train"):
        pipeline.recommend(bundle, "u1", 2, "train")
    with pytest.raises(DataError, match="is a run folder, expected a bundle folder"):
        hn.load_bundle(store_root / "run")
    with pytest.raises(DataError, match="is a bundle folder, expected a run folder"):
        hn.load_run(bundle)


def test_python_objects_export_themselves(store_root: Path, folders: Path, tmp_path: Path) -> None:
    split = hn.load_split(folders / "split")
    out = hn.load_run(store_root / "run").export("bundle", tmp_path / "bundle", split=split)
    assert len(hn.load_bundle(out).recommend("u1", 3)) == 3
    assert (split.export("recbole", tmp_path / "recbole") / "recbole.yaml").is_file()
    negatives = hn.load_negatives(store_root / "negatives")
    out = negatives.export("sentence-transformers", tmp_path / "t", split=split, profiles=store_root / "profiles")
    assert (out / "triplets.parquet").is_file()
