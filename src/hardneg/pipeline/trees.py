"""Stages that build the two item trees of DTL-NS, and their controls."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.pipeline.inference import require_split_of
from hardneg.pipeline.provenance import inherited_note, split_inputs, validation_note
from hardneg.random import generator
from hardneg.stage import Draft, Stage
from hardneg.storage import read_tensors
from hardneg.text import text_vectors
from hardneg.trees import Trees, TreesConfig, mask_untrained, semantic_codes, structural_codes, trees_folder
from hardneg.types import Floats, Progress

CodeControl = Literal["shuffled", "random"]
"""Path codes without information: assigned to other items at random, or random codes of the same shape."""


def trees_stage(
    split_dir: Path,
    config: TreesConfig,
    *,
    run: Path | None = None,
    vectors: Path | None = None,
    progress: Progress | None = None,
) -> Stage:
    """Return the stage that builds the structural and the semantic tree from the training data.

    run: a run folder of this split; the semantic tree is built over its item embeddings. vectors: instead, a vectors
    folder of this split; the tree is built over its item texts. Raises ConfigError unless exactly one is given, or where
    it belongs to another split.
    """
    if (run is None) == (vectors is None):
        found = "neither" if run is None else "both"
        raise ConfigError(f"found {found} of a run and a vectors folder, expected one for the semantic tree; give one")
    inputs = split_inputs(split_dir, vectors=(vectors, text_vectors.KIND))
    if run is not None:
        require_split_of(run, split_dir)
        inputs["run"] = artifacts.file_hash(run / "embeddings.safetensors")

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        structural, notes = structural_codes(split.train, config, progress)
        points, source = _read_points(run, vectors)
        if run is not None:
            points = mask_untrained(points, split.train)
            draft.notes |= validation_note(split_dir)
        trees = Trees(structural, semantic_codes(points, config, progress), source)
        trees_folder.write_trees(draft, trees, split.vocabulary.item_ids)
        draft.notes |= notes

    return Stage(trees_folder.KIND, config.model_dump(mode="json"), inputs, build)


def control_trees_stage(split_dir: Path, like: Path, control: CodeControl, seed: int = 0) -> Stage:
    """Return the stage that makes the control of a trees folder of this split."""
    inputs = split_inputs(split_dir, trees=(like, trees_folder.KIND))

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        trees = control_codes(trees_folder.read_trees(like, split.train.n_items), control, seed)
        trees_folder.write_trees(draft, trees, split.vocabulary.item_ids)
        draft.notes |= inherited_note(like)

    return Stage(trees_folder.KIND, {"control": control, "seed": seed}, inputs, build)


def control_codes(trees: Trees, control: CodeControl, seed: int) -> Trees:
    """Return the control of trees; equal seeds give equal codes."""
    rng = generator(seed, f"{control} codes")
    return trees.shuffled(rng) if control == "shuffled" else trees.random_like(rng)


def _read_points(run: Path | None, vectors: Path | None) -> tuple[Floats, str]:
    if run is not None:
        items = read_tensors(run / "embeddings.safetensors", "items")["items"].numpy()
        if not items.shape[1]:
            raise ConfigError(f"{run} is an item-item model without embeddings; give a run that has some")
        return items, "item embeddings of a trained run"
    assert vectors is not None
    texts = text_vectors.read_text_vectors(vectors)
    return texts.items, f"item texts, {texts.source}"
