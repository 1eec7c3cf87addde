"""The tables, sampler and options that labels were drawn with."""

from __future__ import annotations

from pathlib import Path

from hardneg import artifacts
from hardneg.config import parse_config
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError
from hardneg.mining import labels
from hardneg.mining.labels import LabelOptions
from hardneg.pipeline.labels import TRAINED, read_mixgcf_config, rebuild_backbone, rebuild_embeddings
from hardneg.sampling import MixGCF
from hardneg.types import Embeddings


def read_label_origin(
    split_dir: Path, run_dir: Path, labels_dir: Path, train: Interactions
) -> tuple[Embeddings, MixGCF, LabelOptions]:
    """Return the tables, sampler and options that labels were drawn with, to draw more of them.

    Raises ConfigError where the labels come from another run, or were rotated after they were drawn.
    """
    config = read_mixgcf_config(run_dir, split_dir)
    manifest = artifacts.read_manifest(labels_dir, labels.KIND)
    if manifest["inputs"]["run"] != artifacts.folder_hash(run_dir, TRAINED):
        raise ConfigError(f"{labels_dir} was not made from {run_dir}; give the run that these labels come from")
    if "onto" in manifest["inputs"] or "rotated with seed" in manifest["config"]:
        raise ConfigError(
            f"{labels_dir} was rotated after it was drawn (onto texts, or at random), so more draws would not fit; "
            "give labels made without --onto, or leave the run out"
        )
    assert isinstance(config.sampler, MixGCF)
    stored = {name: value for name, value in manifest["config"].items() if name != "mixgcf"}
    options: LabelOptions = parse_config(LabelOptions, stored, where=str(labels_dir / artifacts.MANIFEST))
    return rebuild_embeddings(rebuild_backbone(run_dir, config, train), run_dir), config.sampler, options
