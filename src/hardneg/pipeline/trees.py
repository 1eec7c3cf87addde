"""The stage of the two item trees (DTL-NS)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from safetensors.numpy import load_file

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.pipeline.inference import require_split_of
from hardneg.pipeline.provenance import chosen_by, hash_of_same_split, inherited
from hardneg.random import generator
from hardneg.text import text_vectors
from hardneg.trees import Trees, TreesConfig, mask_untrained, semantic_codes, structural_codes, trees_folder
from hardneg.types import Floats, Progress

Control = Literal["shuffled", "random"]
"""Trees that say nothing: codes handed out at random to other items, or random ones of equal shape."""


def build_trees(
    split_folder: Path,
    out: Path,
    config: TreesConfig,
    *,
    run: Path | None = None,
    vectors: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Grow the structural and the semantic tree of a split into a trees folder, from what may be learnt from alone.

    run: a run folder trained on this split; the semantic tree is over its item embeddings. vectors: instead, a vectors
    folder of this split (`hardneg profile`); the tree is over its item texts. Raises ConfigError unless one of the two is
    given, or where it is of another split.
    """
    inputs = {"training data": splits.training_data_hash(split_folder)}
    if run is not None and vectors is None:
        require_split_of(run, split_folder)
        inputs["run"] = artifacts.file_hash(run / "embeddings.safetensors")
    elif vectors is not None and run is None:
        inputs[text_vectors.KIND] = hash_of_same_split(vectors, text_vectors.KIND, split_folder)
    else:
        found = "neither" if run is None else "both"
        raise ConfigError(f"found {found} of a run and a vectors folder, expected one for the semantic tree; give one")
    settings = config.model_dump(mode="json")
    if artifacts.is_finished(out, artifacts.artifact_key(trees_folder.KIND, settings, inputs)):
        return
    data = splits.read_split(split_folder)
    structural, notes = structural_codes(data.train, config, progress)
    points, source = _points(run, vectors)
    notes |= {} if run is None else chosen_by(split_folder)
    if run is not None:
        points = mask_untrained(points, data.train)
    trees = Trees(structural, semantic_codes(points, config, progress), source)
    trees_folder.write_trees(out, trees, data.vocabulary.item_ids, config=settings, inputs=inputs, notes=notes)


def control_trees(split_folder: Path, like: Path, out: Path, control: Control, seed: int = 0) -> None:
    """Make the control of a trees folder of this split into another one."""
    inputs = {
        "training data": splits.training_data_hash(split_folder),
        "trees": hash_of_same_split(like, trees_folder.KIND, split_folder),
    }
    settings = {"control": control, "seed": seed}
    if artifacts.is_finished(out, artifacts.artifact_key(trees_folder.KIND, settings, inputs)):
        return
    data = splits.read_split(split_folder)
    trees = control_codes(trees_folder.read_trees(like, data.train.n_items), control, seed)
    trees_folder.write_trees(
        out, trees, data.vocabulary.item_ids, config=settings, inputs=inputs, notes=inherited(like)
    )


def control_codes(trees: Trees, control: Control, seed: int) -> Trees:
    """The control of trees; the same seed gives the same."""
    rng = generator(seed, f"{control} codes")
    return trees.shuffled(rng) if control == "shuffled" else trees.random_like(rng)


def _points(run: Path | None, vectors: Path | None) -> tuple[Floats, str]:
    if run is not None:
        return load_file(run / "embeddings.safetensors")["items"], "item embeddings of a trained run"
    assert vectors is not None
    texts = text_vectors.read_text_vectors(vectors)
    return texts.items, f"item texts, {texts.source}"
