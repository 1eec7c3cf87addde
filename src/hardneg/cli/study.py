"""`hardneg study`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardneg.cli.common import FAILED, DeviceOption, JsonOption, bars, console, emit, require_device, table, use_threads
from hardneg.cli.experiment_output import emit_estimate, failures, grid_progress

if TYPE_CHECKING:
    from hardneg.studies.results import Results, Table
    from hardneg.studies.study import Study


def study(
    file: Annotated[Path, typer.Argument(help="YAML file; its paths count from the working directory.")],
    out: Annotated[Path | None, typer.Option(help="Study folder to make, or to go on with [out/NAME].")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--split",
            help="Only this split of the file (folders of others need not stand), with tables in OUT/parts/SPLIT; repeatable.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Run nothing: count runs, time each cell for a moment, say how long.")
    ] = False,
    collect: Annotated[bool, typer.Option("--collect", help="Run nothing: write the tables of what stands.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train side by side, one thread each.")] = 1,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Run datasets x models x samplers x options x seeds, and compare them.

    The file is checked before anything runs. A run that stands is not repeated; one that failed is listed with its
    reason, stops nothing, and is tried again by the next call. Exit code 1 where runs failed.

    Examples:

    `hardneg study studies/main.yaml --dry-run`

    `hardneg study studies/main.yaml --workers 2`
    """
    from hardneg.studies.results import write_results
    from hardneg.studies.study import Study

    require_device(device)
    use_threads(1)
    read = Study.read(file, out, only=only or (), device=device)
    if dry_run:
        _say_what_would_run(read, workers, as_json=as_json)
        return
    outcomes = []
    if not collect:
        with bars() as bar:
            outcomes = read.run(workers, ended=grid_progress(bar, "runs"), progress=bar)
    results = write_results(read, outcomes)
    _say(read, results, as_json=as_json)
    if results.failed:
        failures(results.failed)
        raise typer.Exit(FAILED)


def _released(made: Table) -> dict[str, Any]:
    from hardneg.evaluation.released import WARNING

    if made.released is None:
        return {}
    return {"released mask": {"honest": False, "warning": WARNING, "rows": made.released.frame.to_dicts()}}


def _say(read: Study, results: Results, *, as_json: bool) -> None:
    if as_json:
        emit(_values(read, results), as_json=True, text="")
        return
    for made in results.tables:
        _show(made)
    if results.settings is not None:
        console().print(table(results.settings.headers, results.settings.cells))
    notes = [] if results.settings is None else results.settings.notes
    for note in (*notes, *results.remarks, f"Everything: {read.results}"):
        console().print(note, markup=False)


def _values(read: Study, results: Results) -> dict[str, Any]:
    tables = [
        {
            "split": made.split,
            "model": made.model,
            "rows": made.frame.to_dicts() if made.frame is not None else [],
            "against": {one.title: one.frame.to_dicts() for one in made.against},
            **_released(made),
        }
        for made in results.tables
    ]
    return {"tables": tables, "remarks": results.remarks, "failed": results.failed, "out": str(read.out)}


def _show(made: Table) -> None:
    from hardneg.evaluation.released import WARNING

    console().print(made.title, style="bold", markup=False)
    if made.frame is not None:
        console().print(table(made.headers, made.cells))
    for remark in made.remarks:
        console().print(remark, markup=False)
    for one in made.against:
        console().print(one.title, style="bold", markup=False)
        console().print(table(one.headers, one.cells))
    if made.released is not None:
        console().print(WARNING, style="bold red", markup=False)
        console().print(table(made.released.headers, made.released.cells))


def _say_what_would_run(read: Study, workers: int, *, as_json: bool) -> None:
    from hardneg.evaluation.significance import MIN_SEEDS
    from hardneg.studies.estimate import Wanted, estimates, wanted_apart

    runs = read.runs()
    wanted = wanted_apart(read.stages, read.cells)
    for cell in read.cells:
        if cell.fusion is not None:
            continue  # trains nothing: seconds
        own = [run for run in runs if run.cell is cell]
        stands = [run.job.folder for run in own if run.stands]
        first = own[0].job
        wanted.append(
            Wanted(
                cell.name,
                first.split,
                first.row.negatives,
                cell.config,
                len(own) - len(stands),
                tuple(stands),
                first.row.suspects,
                first.row.trees,
            )
        )
    with bars() as bar:
        found = estimates(wanted, device=read.device, told=bar)
    stand = sum(run.stands for run in runs)
    head = f"{len(runs)} runs, of which {stand} stand and {len(runs) - stand} are to be made"
    few = dict.fromkeys(cell.row for cell in read.cells if len(read.seeds(cell)) < MIN_SEEDS)
    if few:
        head += f"; with fewer than {MIN_SEEDS} seeds, and so in no comparison: {', '.join(map(repr, few))}"
    emit_estimate(head, found, workers, {"runs": len(runs), "stand": stand}, as_json=as_json)
