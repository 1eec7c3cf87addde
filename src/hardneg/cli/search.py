"""`hardneg search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardneg.cli.common import FAILED, DeviceOption, JsonOption, bars, console, emit, require_device, table, use_threads
from hardneg.cli.experiment_output import emit_estimate, failures, grid_progress

if TYPE_CHECKING:
    from hardneg.studies.search import Search


def search(
    file: Annotated[Path, typer.Argument(help="YAML file; its paths count from the working directory.")],
    out: Annotated[Path | None, typer.Option(help="Search folder to make, or to go on with [out/NAME].")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--split", help="Search only this split of the file now; repeatable.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try nothing: count trials, time each cell for a moment, say how long.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that search side by side, one thread each.")] = 1,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Search settings for every dataset x model x sampler, as many trials for each, on validation pairs alone.

    The first trial is the settings as given. Killed at any moment, the same command goes on and suggests what the
    unbroken search would have. `best.yaml` has the settings found, which a study takes with `tuned: FOLDER`.

    Examples:

    `hardneg search studies/main-search.yaml --dry-run`

    `hardneg search studies/main-search.yaml --workers 2`
    """
    from hardneg.studies.search import Search
    from hardneg.studies.search_tables import found_cells

    require_device(device)
    use_threads(1)
    read = Search.read(file, out, only=only or (), device=device)
    if dry_run:
        _say_what_would_run(read, workers, as_json=as_json)
        return
    with bars() as bar:
        outcomes = read.run(workers, ended=grid_progress(bar, "searches"), progress=bar)
    made = read.write()
    best = made.best
    headers, cells, spaces = found_cells(best)
    failed = made.left_out | {outcome.name: outcome.reason for outcome in outcomes if outcome.reason is not None}
    values = {**best.model_dump(mode="json"), "failed": failed, "out": str(read.out)}
    emit(values, as_json=as_json, text=table(headers, cells))
    if not as_json:
        for line in (*spaces, f"Everything: {read.out}"):
            console().print(line, markup=False)
    if failed:
        failures(failed)
        raise typer.Exit(FAILED)


def _say_what_would_run(read: Search, workers: int, *, as_json: bool) -> None:
    from hardneg.studies.estimate import Wanted, estimates, wanted_apart
    from hardneg.studies.search_tables import space_text

    tasks = read.tasks_now()
    wanted = wanted_apart(read.stages, [task.cell for task in tasks])
    for task in tasks:
        done = len(task.ended())
        folders = [task.folder / f"trial-{trial.trial:03}" for trial in task.ended() if trial.value is not None]
        finished = tuple(folder for folder in folders if folder.is_dir())  # trials may have come without their runs
        left = task.budget - done
        made_from = task.negatives, task.cell.config
        wanted.append(Wanted(task.name, task.split, *made_from, left, finished, task.suspects, task.trees))
    with bars() as bar:
        found = estimates(wanted, device=read.device, told=bar)
    trials, stand = sum(task.budget for task in tasks), sum(len(task.ended()) for task in tasks)
    head = f"{trials} trials, of which {stand} stand and {trials - stand} are to be made"
    spaces = {task.name: space_text(task.space) for task in tasks}
    emit_estimate(head, found, workers, {"trials": trials, "stand": stand, "spaces": spaces}, as_json=as_json)
