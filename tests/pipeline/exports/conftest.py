"""A run, profiles and negatives of the small store, encoded by counts of words."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.diagnostics.test_leakage import WordCounts

from hardneg import pipeline
from hardneg.mining import RetrievalConfig
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.training import FitConfig


@pytest.fixture(scope="session")
def store_root(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders run, profiles, negatives and random, made from the split of `folders`."""
    root, split = tmp_path_factory.mktemp("exports"), folders / "split"
    config = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=2, check_every=1))
    pipeline.train_stage(split, config).run(root / "run")
    pipeline.extract_profiles_stage(split).run(root / "profiles")
    pipeline.retrieve_stage(split, root / "profiles", RetrievalConfig(n=2, pool=20), WordCounts()).run(
        root / "negatives"
    )
    pipeline.random_negatives_stage(split, root / "negatives", 0).run(root / "random")
    return root
