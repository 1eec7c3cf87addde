"""Shared by the commands of `hardneg study`: progress of many runs, estimates, and the list of failures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from hardneg.cli.common import FAILED, OutputOptions, render_table
from hardneg.cli.progress import ProgressDisplay

if TYPE_CHECKING:
    from hardneg.studies.estimate import CellEstimate
    from hardneg.studies.process_pool import Outcome

HEADERS = ["cell", "to run", "s / epoch", "epochs a run", "hours"]
EXPLANATION = (
    "Each cell was trained for a moment on one thread. Epochs a run: the mean of the finished runs of the cell, else the "
    "maximum `epochs`, which early stopping may undercut. Not included: negatives, the test evaluation, and other load "
    "of this machine."
)


def watch_runs(progress: ProgressDisplay, group: str) -> Callable[[int, int, Outcome], None]:
    """Return a callback that advances the bar of a group of runs, and prints a line for a failed run."""

    def finish(done: int, total: int, outcome: Outcome) -> None:
        progress.finish_run(group, done, total, outcome.name, outcome.reason)

    return finish


def exit_if_failed(failed: Mapping[str, str | None]) -> None:
    """List failed runs on standard error and exit with code 1, if there are any."""
    if not failed:
        return
    typer.echo(f"hardneg: {len(failed)} failed, the others are finished; run the same command again:", err=True)
    for name, reason in failed.items():
        typer.echo(f"  {name}: {reason}", err=True)
    raise typer.Exit(FAILED)


def emit_estimate(
    shared: OutputOptions,
    workers: int,
    head: str,
    estimates: Sequence[CellEstimate],
    counts: Mapping[str, object],
    following: Sequence[object],
) -> None:
    """Print the number of runs and the estimated hours, of every cell and in total."""
    hours = sum(cell.hours for cell in estimates)
    sequential = sum(cell.hours for cell in estimates if cell.sequential)
    parallel = sequential + (hours - sequential) / workers
    values = {
        **counts,
        "hours": hours,
        "hours_in_parallel": parallel,
        "workers": workers,
        "cells": [
            {
                "cell": cell.name,
                "to_run": cell.left,
                "seconds_per_epoch": cell.seconds_per_epoch,
                "epochs": cell.epochs,
                "epochs_from_finished": cell.known,
                "hours": cell.hours,
            }
            for cell in estimates
        ],
    }
    cells = [
        [cell.name, str(cell.left), f"{cell.seconds_per_epoch:.3g}", cell.epochs_text, f"{cell.hours:.2f}"]
        for cell in estimates
    ]
    if estimates or shared.as_json:
        shared.emit(values, render_table(HEADERS, cells))
    if shared.as_json:
        return
    parallel_text = "" if workers == 1 else f", {parallel:.2f} with {workers} workers that do not slow each other"
    shared.emit({}, f"{head}: {hours:.2f} hours{parallel_text}.\n{EXPLANATION}", following)
