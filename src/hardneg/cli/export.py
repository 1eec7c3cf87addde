"""`hardneg export`: runs, negatives and splits in formats of other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from hardneg.cli.common import ReadingOptions, run_stage

READ_WITH = {
    "parquet": "polars.read_parquet or pandas.read_parquet",
    "npy": "numpy.load; the ids of the rows are in the Parquet files",
    "safetensors": "safetensors.numpy.load_file; the ids of the rows are in the Parquet files",
    "faiss": "faiss.read_index; number n of the index is row n of items.parquet",
    "bundle": "hardneg.load_bundle, or hardneg recommend",
    "sentence-transformers": "datasets.load_dataset('parquet', data_files='{out}/triplets.parquet', split='train')",
    "recbole": "run_recbole(dataset='split', config_file_list=['recbole.yaml']), called in the folder",
}
"""Format -> what reads it."""


def export_command(
    shared: ReadingOptions,
    source: Annotated[Path, Argument(help="Run, negatives or split folder.")],
    to: Annotated[
        Literal["parquet", "npy", "safetensors", "faiss", "bundle", "sentence-transformers", "recbole"],
        Option(
            help="Format: of a run parquet, npy, safetensors, faiss, bundle or recbole; of negatives parquet, npy, "
            "safetensors or sentence-transformers; of a split recbole.",
        ),
    ],
    out: Annotated[Path, Option(help="Folder to write.")],
    split: Annotated[
        Path | None,
        Option(show_default="the one that a run names", help="Split folder of the source; negatives need it."),
    ] = None,
    profiles: Annotated[
        Path | None,
        Option(
            show_default="titles of other train items of the user",
            help="Profiles folder: the profile of the user is the anchor of a triplet.",
        ),
    ] = None,
) -> None:
    """Write a run, negatives or a split in the format of another library, under the ids of the source files.

    Embeddings and vectors: parquet, npy, safetensors, faiss. Triplets of texts for `SentenceTransformerTrainer`: sentence-transformers. Atomic files: recbole. A bundle recommends without its split.

    Examples:

    `hardneg export runs/mixgcf --to bundle --out shop-bundle`

    `hardneg export runs/mixgcf --to parquet --out out/embeddings`

    `hardneg export out/retrieved --to sentence-transformers --split data/shop-split --out out/triplets`

    `hardneg export data/shop-split --to recbole --out out/recbole`
    """
    from hardneg import pipeline

    stage = pipeline.export_stage(source, to, split, profiles)
    notes = run_stage(stage, out)
    counts = ", ".join(f"{value:,} {name}" for name, value in notes.items() if isinstance(value, int))
    described = "".join(f"; {name}: {value}" for name, value in notes.items() if isinstance(value, str))
    text = f"{counts}{described}\nRead with: {READ_WITH[to].format(out=out)}"
    following: tuple[object, ...] = ("recommend", out if to == "bundle" else source, "--all", "--out", "recs.parquet")
    if stage.settings["of"] == "negatives":
        following = ("train", split, "--sampler", "semantic", "--negatives", source)
    elif stage.settings["of"] == "split":
        following = ("data", "describe", source)
    shared.emit_folder(out, notes, text, following)
