"""What `study` and `search` share: progress of many runs, estimates, and the list of what failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from hardneg.cli.common import Bars, Lines, console, emit, table

if TYPE_CHECKING:
    from hardneg.studies.estimate import Estimate
    from hardneg.studies.process_pool import Outcome

HEADERS = ["cell", "left", "s / epoch", "epochs a run", "hours"]


def grid_progress(bar: Bars | Lines, what: str) -> Callable[[int, int, Outcome], None]:
    """The bar of the whole; the bar of a run goes when the run ends, a failure leaves its line."""

    def ended(done: int, total: int, outcome: Outcome) -> None:
        bar.ended(what, done, total, outcome.name, outcome.reason)

    return ended


def failures(failed: Mapping[str, str | None]) -> None:
    """List what failed on standard error."""
    typer.echo(f"hardneg: {len(failed)} failed, the rest stands; the same command tries these again:", err=True)
    for name, reason in failed.items():
        typer.echo(f"  {name}: {reason}", err=True)


def emit_estimate(
    head: str, found: Sequence[Estimate], workers: int, counts: Mapping[str, object], *, as_json: bool
) -> None:
    """Print what would run, how long it would take, and what that rests on."""
    hours = sum(one.hours for one in found)
    apart = sum(one.hours for one in found if one.apart)
    together = apart + (hours - apart) / workers
    cells = [
        [one.name, str(one.left), f"{one.seconds_per_epoch:.3g}", one.assumed, f"{one.hours:.2f}"] for one in found
    ]
    values = {
        **counts,
        "hours": hours,
        "hours_side_by_side": together,
        "workers": workers,
        "cells": [
            {
                "cell": one.name,
                "left": one.left,
                "seconds_per_epoch": one.seconds_per_epoch,
                "epochs": one.epochs,
                "epochs_from_finished": one.known,
                "hours": one.hours,
            }
            for one in found
        ],
    }
    if as_json or found:
        emit(values, as_json=as_json, text=table(HEADERS, cells))
    if as_json:
        return
    side_by_side = "" if workers == 1 else f", {together:.2f} with {workers} workers that do not slow each other"
    console().print(f"{head}: {hours:.2f} hours{side_by_side}.", markup=False)
    console().print(
        "Timed by training each cell for a moment now, on one thread. Epochs a run: the mean of finished runs of the cell, "
        "else the upper bound `epochs`, which early stopping may undercut by far. Making negatives, scoring the test "
        "pairs and whatever else this machine does are not counted.",
        markup=False,
    )
