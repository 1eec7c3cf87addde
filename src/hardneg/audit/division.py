"""Checks of a split against the dataset that it divides."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hardneg import artifacts
from hardneg.audit.folders import check_equal, read_held_out_reviews
from hardneg.audit.recompute import compare_rebuilt
from hardneg.config import parse_config
from hardneg.data import columns as c
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.split import Split
from hardneg.data.splitters import SplitConfig
from hardneg.diagnostics import Check, check_reviews
from hardneg.pipeline import split_stage
from hardneg.text import item_texts


def check_stored(split_dir: Path) -> Check:
    """Check that no pair is stored twice, and that pairs name users and items of the split."""
    artifacts.read_manifest(split_dir, splits.KIND)
    sizes = {name: read_parquet(split_dir / f"{name}s.parquet").height for name in (c.USER, c.ITEM)}
    problems = []
    for part in c.PARTS:
        pairs = read_parquet(split_dir / f"{part}.parquet").select(c.USER, c.ITEM)
        repeated = pairs.height - pairs.n_unique()
        outside = sum(int((~pairs[name].is_between(0, size - 1)).sum()) for name, size in sizes.items())
        problems += [f"{part}: {repeated:,} repeated"] if repeated else []
        problems += [f"{part}: {outside:,} of no user or item of the split"] if outside else []
        problems += [] if repeated or outside or pairs.equals(pairs.sort(c.USER, c.ITEM)) else [f"{part}: not sorted"]
    return Check("the pairs of every part are distinct and sorted", not problems, "; ".join(problems) or "3 parts read")


def audit_division(split_dir: Path, dataset: Path, split: Split) -> list[Check]:
    """Make the split again from its dataset, and search item texts for pieces of held-out reviews."""
    manifest = artifacts.read_manifest(split_dir, splits.KIND)
    digest = artifacts.folder_hash(dataset, ("interactions.parquet", "items.parquet"))
    checks = [check_equal("the split divides this dataset", manifest["inputs"].get("dataset") == digest)]
    if checks[0].passed and "noise" not in manifest["config"]:
        config = parse_config(SplitConfig, manifest["config"], where=f"{split_dir}/{artifacts.MANIFEST}")
        with tempfile.TemporaryDirectory(prefix="hardneg-audit-") as temporary:
            checks.append(compare_rebuilt(split_dir, split_stage(dataset, config), Path(temporary) / "split"))
    reviews, known = read_held_out_reviews(dataset, split), split.reviews[c.REVIEW].to_list()
    texts, owners = item_texts(split.texts), reviews[c.ITEM].to_numpy()
    return [*checks, check_reviews(texts, owners, reviews[c.REVIEW].to_list(), known, "item texts")]
