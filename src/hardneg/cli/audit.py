"""`hardneg audit`: does held-out data reach anything but the final metric? One command for each kind of folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from hardneg.cli.common import FAILED, OutputOptions, add_command, configure_torch, new_group
from hardneg.cli.options import EncoderOption, RunArgument, SplitArgument
from hardneg.cli.output import show_progress

if TYPE_CHECKING:
    from hardneg.diagnostics import Check

app = new_group("Check that no held-out data leaks; exit code 1 if it does.")

SplitOption = Annotated[Path, Option(help="Split folder that it was made from.")]


@add_command(app, "split")
def audit_split_command(shared: OutputOptions, split: SplitArgument, encoder: EncoderOption = "minilm") -> None:
    """Redraw the test and validation pairs, repeat every stage, and compare the hashes of all files.

    The redrawn pairs contain no train item; every user keeps the same number of pairs. Profiles, retrieved negatives, trees,
    suspects and short trainings are repeated.

    Example: `hardneg audit split data/shop-split`
    """
    from hardneg.audit import audit_split
    from hardneg.cli.llm_options import open_text_encoder

    configure_torch(1)
    with show_progress() as progress:
        checks = audit_split(split, open_text_encoder(encoder, "cpu"), progress=progress)
    _emit_checks(shared, checks, ["train", split])


@add_command(app, "run")
def audit_run_command(
    shared: OutputOptions,
    run: RunArgument,
    split: SplitOption,
    negatives: Annotated[Path | None, Option(help="Negatives folder that the run was trained with.")] = None,
    suspects: Annotated[Path | None, Option(help="Suspects folder that the run was trained with.")] = None,
    trees: Annotated[Path | None, Option(help="Trees folder that the run was trained with.")] = None,
    anchor: Annotated[Path | None, Option(help="Vectors folder that the run was anchored to.")] = None,
) -> None:
    """Check a finished run against its split and the folders that it was trained with.

    Example: `hardneg audit run runs/semantic --split data/shop-split --negatives out/negatives`
    """
    from hardneg.audit import audit_run

    configure_torch(1)
    checks = audit_run(run, split, negatives, suspects, trees=trees, anchor=anchor)
    _emit_checks(shared, checks, ["evaluate", run, "--split", split])


@add_command(app, "suspects")
def audit_suspects_command(
    shared: OutputOptions, suspects: Annotated[Path, Argument(help="Suspects folder.")], split: SplitOption
) -> None:
    """Check whether held-out pairs decided which users have candidates, or which labels they got.

    Example: `hardneg audit suspects out/suspects --split data/shop-split`
    """
    from hardneg.audit import audit_suspects

    configure_torch(1)
    checks = audit_suspects(suspects, split)
    following = ["train", split, "--suspects", suspects, "--use-suspects", "exclude"]
    _emit_checks(shared, checks, following)


def _emit_checks(shared: OutputOptions, checks: Sequence[Check], following: Sequence[object]) -> None:
    """Print the checks. Raises Exit with code 1 where one failed."""
    failed = sum(not check.passed for check in checks)
    lines = [f"{'pass' if check.passed else 'FAIL'}  {check.question} ({check.detail})" for check in checks]
    lines.append(f"{len(checks) - failed} of {len(checks)} checks passed")
    shared.emit([asdict(check) for check in checks], "\n".join(lines), () if failed else following)
    if failed:
        raise typer.Exit(FAILED)
