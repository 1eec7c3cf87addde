"""`hardneg audit`: does held-out data reach anything but the final metric? One command for each kind of folder."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from hardneg.cli.common import DAMAGED, FAILED, OutputOptions, add_command, configure_torch, new_group
from hardneg.cli.options import EncoderOption, RunArgument, SplitArgument
from hardneg.cli.output import show_progress
from hardneg.errors import DamagedError

if TYPE_CHECKING:
    from hardneg.audit import Origin
    from hardneg.diagnostics import Check
    from hardneg.types import Progress

app = new_group("Check that no held-out data leaks. Exit code 1: it does; 3: a file is damaged or missing.")

SplitOption = Annotated[Path, Option(help="Split folder that it was made from.")]
DatasetOption = Annotated[
    Path | None, Option(help="Dataset folder of the split; its held-out reviews are searched for.")
]
MadeFromOption = Annotated[
    list[Path] | None,
    Option(help="Folder that it was made from, unless it lies beside it (profiles, labels, run, trees). Repeatable."),
]


@add_command(app, "split", damaged=DAMAGED)
def audit_split_command(
    shared: OutputOptions, split: SplitArgument, dataset: DatasetOption = None, encoder: EncoderOption = "minilm"
) -> None:
    """Redraw the test and validation pairs, repeat every stage, and compare the hashes of all files.

    The redrawn pairs contain no train item; every user keeps the same number of pairs. Profiles, retrieved negatives, trees,
    suspects and short trainings are repeated. With the dataset, the split is made again and compared as well.

    Example: `hardneg audit split data/shop-split --dataset data/shop`
    """
    from hardneg.audit import audit_split
    from hardneg.cli.llm_options import open_text_encoder

    configure_torch(1)
    with _verified(split, dataset) as edited, show_progress() as progress:
        checks = audit_split(split, open_text_encoder(encoder, "cpu"), dataset=dataset, progress=progress)
    _emit_checks(shared, checks, ["train", split], edited)


@add_command(app, "run", damaged=DAMAGED)
def audit_run_command(
    shared: OutputOptions,
    run: RunArgument,
    split: SplitOption,
    negatives: Annotated[Path | None, Option(help="Negatives folder that the run was trained with.")] = None,
    suspects: Annotated[Path | None, Option(help="Suspects folder that the run was trained with.")] = None,
    trees: Annotated[Path | None, Option(help="Trees folder that the run was trained with.")] = None,
    vectors: Annotated[
        Path | None, Option(help="Vectors folder that the model of the run read, or that it was anchored to.")
    ] = None,
    made_from: MadeFromOption = None,
    dataset: DatasetOption = None,
    encoder: EncoderOption = "minilm",
) -> None:
    """Check a finished run against its split and the folders that it was trained with.

    Embeddings, the kept epoch, the first losses and the evaluations are recomputed; its folders are made again where no
    language model is needed. Of a run by late fusion, --made-from names the trained run and the vectors.

    Example: `hardneg audit run runs/semantic --split data/shop-split --negatives out/negatives`
    """
    from hardneg.audit import audit_run

    configure_torch(1)
    folders = (run, split, negatives, suspects, trees, vectors, dataset, *(made_from or ()))
    with _verified(*folders) as edited, show_progress() as progress:
        origin = _origin(made_from, dataset, encoder, progress)
        checks = audit_run(run, split, negatives, suspects, trees=trees, vectors=vectors, origin=origin)
    _emit_checks(shared, checks, ["evaluate", run, "--split", split], edited)


@add_command(app, "folder", damaged=DAMAGED)
def audit_folder_command(
    shared: OutputOptions,
    folder: Annotated[
        Path, Argument(help="Profiles, vectors, negatives, neighbours, labels, tuned, trees or suspects.")
    ],
    split: SplitOption,
    made_from: MadeFromOption = None,
    dataset: DatasetOption = None,
    encoder: EncoderOption = "minilm",
) -> None:
    """Check a folder made from a split: count the held-out pairs in it, and make it again where no language model is needed.

    Example: `hardneg audit folder out/negatives --split data/shop-split`
    """
    _audit_folder(shared, folder, split, made_from, dataset, encoder)


@add_command(app, "suspects", damaged=DAMAGED)
def audit_suspects_command(
    shared: OutputOptions,
    suspects: Annotated[Path, Argument(help="Suspects folder.")],
    split: SplitOption,
    made_from: MadeFromOption = None,
) -> None:
    """Check whether held-out pairs decided which users have candidates, which candidates, or which labels they got.

    Example: `hardneg audit suspects out/suspects --split data/shop-split`
    """
    _audit_folder(shared, suspects, split, made_from, None, "minilm")


def _audit_folder(
    shared: OutputOptions, folder: Path, split: Path, made_from: list[Path] | None, dataset: Path | None, encoder: str
) -> None:
    from hardneg.audit import audit_folder

    configure_torch(1)
    with _verified(folder, split, dataset, *(made_from or ())) as edited, show_progress() as progress:
        checks = audit_folder(folder, split, _origin(made_from, dataset, encoder, progress))
    _emit_checks(shared, checks, ["train", split], edited)


@contextmanager
def _verified(*folders: Path | None) -> Iterator[set[Path]]:
    """Verify all files of the folders, then yield the manifests that the block finds edited by hand."""
    from hardneg import artifacts

    with artifacts.noting_edited_manifests() as edited:
        artifacts.require_whole(*(folder for folder in folders if folder is not None))
        yield edited


def _origin(made_from: list[Path] | None, dataset: Path | None, encoder: str, progress: Progress) -> Origin:
    from hardneg.audit import MemoizingEncoder, Origin
    from hardneg.cli.llm_options import open_text_encoder

    open_encoder = functools.cache(lambda: MemoizingEncoder(open_text_encoder(encoder, "cpu")))
    return Origin(open_encoder, tuple(made_from or ()), dataset, progress)


def _emit_checks(
    shared: OutputOptions, checks: Sequence[Check], following: Sequence[object], edited: set[Path]
) -> None:
    """Print the checks. Raises Exit with code 1 where one failed, else DamagedError where a manifest was edited."""
    names = ", ".join(map(str, sorted(edited)))
    failed = sum(not check.passed for check in checks)
    lines = [f"{'pass' if check.passed else 'FAIL'}  {check.question} ({check.detail})" for check in checks]
    lines += [f"{names}: changed after it was written"] if edited else []
    lines.append(f"{len(checks) - failed} of {len(checks)} checks passed")
    shared.emit([asdict(check) for check in checks], "\n".join(lines), () if failed else following)
    if failed:
        raise typer.Exit(FAILED)
    if edited:
        raise DamagedError(f"{names}: changed after it was written; make the folder again")
