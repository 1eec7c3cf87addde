"""Which exports exist, what they need, and that a folder of something else is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hardneg import artifacts, pipeline
from hardneg.data import SplitConfig
from hardneg.errors import ConfigError
from hardneg.pipeline.exports import KIND, WRITERS, export_stage


def test_a_format_that_does_not_exist_names_those_that_do(store_root: Path, folders: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"found --to recbole .* a folder of negatives; expected --to parquet or npy or"
    ):
        export_stage(store_root / "negatives", "recbole", folders / "split")
    with pytest.raises(ConfigError, match="a folder of split; expected --to recbole"):
        export_stage(folders / "split", "npy")
    with pytest.raises(ConfigError, match="a folder of profiles; expected a run, negatives or a split"):
        export_stage(store_root / "profiles", "npy")
    with pytest.raises(ConfigError, match="no finished result"):
        export_stage(tmp_path, "npy")


def test_inputs_that_are_missing_unused_or_of_another_split(store_root: Path, folders: Path, tmp_path: Path) -> None:
    other = pipeline.split_stage(folders / "dataset", SplitConfig(seed=5)).run(tmp_path / "split")
    with pytest.raises(ConfigError, match="--split"):
        export_stage(store_root / "negatives", "npy")
    with pytest.raises(ConfigError, match="made from another split"):
        export_stage(store_root / "negatives", "npy", other)
    for to in ("bundle", "npy"):
        with pytest.raises(ConfigError, match="was not trained on"):
            export_stage(store_root / "run", to, other)
    with pytest.raises(ConfigError, match="--profiles"):
        export_stage(store_root / "negatives", "npy", folders / "split", store_root / "profiles")
    profiles = pipeline.extract_profiles_stage(other).run(tmp_path / "profiles")
    with pytest.raises(ConfigError, match="made from another split"):
        export_stage(store_root / "negatives", "sentence-transformers", folders / "split", profiles)


def test_a_run_whose_split_was_moved_asks_for_it(store_root: Path, folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "split", tmp_path / "split")
    config = pipeline.RunConfig.model_validate({"model": {"kind": "mf", "embedding_size": 4}, "fit": {"epochs": 1}})
    run = pipeline.train_stage(tmp_path / "split", config).run(tmp_path / "run")
    (tmp_path / "split").rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="give it with --split"):
        export_stage(run, "bundle")
    export_stage(run, "bundle", tmp_path / "moved").run(tmp_path / "bundle")
    export_stage(run, "npy").run(tmp_path / "npy")


def test_an_export_is_made_once_and_never_written_over(store_root: Path, tmp_path: Path) -> None:
    out = export_stage(store_root / "run", "npy").run(tmp_path / "out")
    written = (out / "items.npy").stat().st_mtime_ns
    export_stage(store_root / "run", "npy").run(out)
    assert (out / "items.npy").stat().st_mtime_ns == written
    assert artifacts.read_manifest(out, KIND)["config"] == {"of": "run", "to": "npy"}
    with pytest.raises(ConfigError, match="already holds something else"):
        export_stage(store_root / "run", "parquet").run(out)


@pytest.mark.parametrize(
    "to", [to for kind, to in WRITERS if kind == "run" and to not in ("bundle", "recbole", "faiss")]
)
def test_a_reranked_run_is_more_than_its_embeddings(store_root: Path, folders: Path, tmp_path: Path, to: str) -> None:
    run = store_root / "run"
    inputs = pipeline.SuspectInputs(run)
    config = pipeline.SuspectsConfig.model_validate({"judge": {"kind": "random"}, "candidates": 5})
    suspects = pipeline.suspects_stage(folders / "split", inputs, config).run(tmp_path / "suspects")
    reranked = pipeline.rerank_stage(run, folders / "split", suspects, pipeline.RerankConfig()).run(
        tmp_path / "reranked"
    )
    with pytest.raises(ConfigError, match=r"is reranked: .* --to bundle"):
        export_stage(reranked, to).run(tmp_path / "out")  # type: ignore[arg-type]
