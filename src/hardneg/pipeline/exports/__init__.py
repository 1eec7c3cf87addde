"""Exports of runs, negatives and splits, in formats of other libraries and under the ids of the source files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.pipeline.exports import bundle, faiss_index, recbole, tables, triplets
from hardneg.pipeline.exports.inputs import ExportInputs
from hardneg.pipeline.inference import BUNDLE, named_split, require_split_of
from hardneg.pipeline.provenance import require_same_split, split_inputs
from hardneg.pipeline.training import RUN
from hardneg.sampling import mined
from hardneg.stage import Draft, Stage
from hardneg.text import profiles

KIND = "export"
ExportFormat = Literal["parquet", "npy", "safetensors", "faiss", "bundle", "sentence-transformers", "recbole"]
FORMATS: tuple[str, ...] = get_args(ExportFormat)
WRITERS: dict[tuple[str, str], Callable[[Draft, ExportInputs], None]] = {
    (RUN, "parquet"): tables.write_embeddings_parquet,
    (RUN, "npy"): tables.write_embeddings_npy,
    (RUN, "safetensors"): tables.write_embeddings_safetensors,
    (RUN, "faiss"): faiss_index.write_index,
    (RUN, "bundle"): bundle.write_bundle,
    (RUN, "recbole"): recbole.write_atomic_files,
    (splits.KIND, "recbole"): recbole.write_atomic_files,
    (mined.KIND, "parquet"): tables.write_negatives_parquet,
    (mined.KIND, "npy"): tables.write_negatives_npy,
    (mined.KIND, "safetensors"): tables.write_negatives_safetensors,
    (mined.KIND, "sentence-transformers"): triplets.write_triplets,
}
"""Kind of the source and format -> function that writes the files."""
OF_A_SPLIT = ("bundle", "recbole")
"""Formats for which a run's split is read."""


def export_stage(
    source: Path, to: ExportFormat, split_dir: Path | None = None, profiles_dir: Path | None = None
) -> Stage:
    """Return the stage that exports a run, a negatives folder or a split.

    split_dir: the split of the source; a run names its own. profiles_dir: profiles of the split, whose texts of users
    are the anchors of triplets. Raises ConfigError where the format does not exist for the source, an input is missing
    or unused, or of another split.
    """
    kind = artifacts.kind_at(source)
    formats = [name for name in FORMATS if (kind, name) in WRITERS]
    if to not in formats:
        expected = f"--to {' or '.join(formats)}" if formats else "a run, negatives or a split"
        raise ConfigError(
            f"found --to {to} for {source}, a folder of {kind or 'no finished result'}; expected {expected}"
        )
    artifacts.read_manifest(source, str(kind))
    if profiles_dir is not None and to != "sentence-transformers":
        raise ConfigError(f"found --profiles with --to {to}, which has no anchors; leave it out")
    given = ExportInputs(source, _find_split(source, str(kind), to, split_dir), profiles_dir)
    if to == "faiss":
        faiss_index.require_faiss()
    inputs = {"source": artifacts.folder_hash(source)}
    if given.split_dir is not None:
        inputs |= split_inputs(given.split_dir) | {"split": artifacts.folder_hash(given.split_dir)}
    if profiles_dir is not None:
        require_same_split(profiles_dir, profiles.KIND, given.split)
        inputs["profiles"] = artifacts.folder_hash(profiles_dir)
    write = WRITERS[str(kind), to]
    return Stage(BUNDLE if to == "bundle" else KIND, {"of": kind, "to": to}, inputs, lambda draft: write(draft, given))


def _find_split(source: Path, kind: str, to: str, split_dir: Path | None) -> Path | None:
    """Return the split that an export reads: the source itself, the given one, or the one that a run names."""
    if kind == splits.KIND:
        return source
    if kind == RUN and split_dir is None:
        if to not in OF_A_SPLIT:
            return None
        split_dir = named_split(source)
    if split_dir is None or not artifacts.is_artifact(split_dir):
        found = "no split" if split_dir is None else f"no split in {split_dir}"
        raise ConfigError(f"found {found}, expected that of {source}; give it with --split")
    if kind == RUN:
        require_split_of(source, split_dir)
    else:
        require_same_split(source, kind, split_dir)
    return split_dir
