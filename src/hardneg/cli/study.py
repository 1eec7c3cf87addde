"""`hardneg study`: run, search, estimate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardneg.cli.common import (
    FAILED,
    DeviceOption,
    JsonOption,
    add_command,
    configure_torch,
    console,
    emit,
    emit_following,
    new_group,
    render_table,
)
from hardneg.cli.experiment_output import emit_estimate, print_failures, watch_runs
from hardneg.cli.progress import show_progress

if TYPE_CHECKING:
    from hardneg.studies.results import ComparisonTable, Results
    from hardneg.studies.search import Search
    from hardneg.studies.study import Study

app = new_group("Compare methods on datasets and seeds, from a YAML file.")

FileArgument = Annotated[Path, typer.Argument(help="YAML file; its paths start at the working directory.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Number of processes, one thread each.")]
SplitsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--split", metavar="NAME", help="Split of the file to run; the folders of others may be absent. Repeatable."
    ),
]
OutOption = Annotated[Path | None, typer.Option(show_default="out/NAME", help="Folder to write or to continue.")]


@add_command(app, "run")
def run_study_command(
    file: FileArgument,
    out: OutOption = None,
    splits: SplitsOption = None,
    collect: Annotated[
        bool, typer.Option("--collect", help="Run nothing; write the tables of the finished runs.")
    ] = False,
    workers: WorkersOption = 1,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Run datasets x models x samplers x options x seeds, and compare the results.

    The file is checked before anything runs. Finished runs are reused. A failed run is listed with its reason and
    repeated by the next call; the others continue. Exit code 1 if a run failed.

    Example: `hardneg study run studies/main.yaml --workers 2`
    """
    from hardneg.studies.study import Study

    configure_torch(1, device)
    study = Study.load(file, out, only=splits or (), device=device)
    if not collect:
        with show_progress() as progress:
            study.run(workers, ended=watch_runs(progress, "runs"), progress=progress)
    results = study.results()
    _emit_results(study, results, as_json=as_json)
    if results.failed:
        print_failures(results.failed)
        raise typer.Exit(FAILED)


@add_command(app, "search")
def search_command(
    file: FileArgument,
    out: OutOption = None,
    splits: SplitsOption = None,
    workers: WorkersOption = 1,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Search the settings of every dataset x model x sampler, with the same number of trials, on validation pairs.

    The first trial has the settings of the file. An interrupted search continues with the same suggestions. A study
    reads the best settings with `tuned: FOLDER`.

    Example: `hardneg study search studies/main-search.yaml --workers 2`
    """
    from hardneg.studies.search import Search

    configure_torch(1, device)
    search = Search.load(file, out, only=splits or (), device=device)
    with show_progress() as progress:
        outcomes = search.run(workers, ended=watch_runs(progress, "searches"), progress=progress)
    written = search.results()
    headers, cells, spaces = written.best.table()
    failed = written.left_out | {outcome.name: outcome.reason for outcome in outcomes if outcome.reason is not None}
    values = {**written.best.model_dump(mode="json"), "failed": failed, "out": str(search.out)}
    emit(values, as_json=as_json, text=render_table(headers, cells))
    if not as_json:
        for line in (*spaces, f"Written: {search.out}; a study reads it with `tuned: {search.out}`"):
            console().print(line, markup=False)
        emit_following(("study", "run", "STUDY.yaml"))
    if failed:
        print_failures(failed)
        raise typer.Exit(FAILED)


@add_command(app, "estimate")
def estimate_study_command(
    file: FileArgument,
    out: OutOption = None,
    splits: SplitsOption = None,
    workers: WorkersOption = 1,
    device: DeviceOption = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Count the runs of a study or the trials of a search, time each cell for a moment, and estimate the hours.

    Nothing is run to its end. A file with `trials` is a search.

    Example: `hardneg study estimate studies/main.yaml --workers 2`
    """
    from hardneg.config import read_yaml
    from hardneg.studies.search import Search
    from hardneg.studies.study import Study

    configure_torch(1, device)
    values = read_yaml(file)[0] if file.is_file() else {}
    if isinstance(values, dict) and "trials" in values:
        search = Search.load(file, out, only=splits or (), device=device)
        _estimate_search(search, file, workers, as_json=as_json)
    else:
        _estimate_study(Study.load(file, out, only=splits or (), device=device), file, workers, as_json=as_json)


def _emit_results(study: Study, results: Results, *, as_json: bool) -> None:
    if as_json:
        emit(_values(study, results), as_json=True, text="")
        return
    for one in results.tables:
        _print_table(one)
    if results.settings is not None:
        console().print(render_table(results.settings.headers, results.settings.cells))
    notes = [] if results.settings is None else results.settings.notes
    for note in (*notes, *results.remarks, f"Written: {study.results_dir}"):
        console().print(note, markup=False)
    if not results.failed:
        emit_following(("recommend", "RUN", "--user", "USER_ID"))


def _values(study: Study, results: Results) -> dict[str, Any]:
    tables = [
        {
            "split": one.split,
            "model": one.model,
            "rows": one.frame.to_dicts() if one.frame is not None else [],
            "against": {comparison.title: comparison.frame.to_dicts() for comparison in one.pairs},
            **_released_values(one),
        }
        for one in results.tables
    ]
    return {"tables": tables, "remarks": results.remarks, "failed": results.failed, "out": str(study.out)}


def _released_values(one: ComparisonTable) -> dict[str, Any]:
    from hardneg.evaluation.released import WARNING

    if one.released is None:
        return {}
    return {"released mask": {"honest": False, "warning": WARNING, "rows": one.released.frame.to_dicts()}}


def _print_table(one: ComparisonTable) -> None:
    from hardneg.evaluation.released import WARNING

    console().print(one.title, style="bold", markup=False)
    if one.frame is not None:
        console().print(render_table(one.headers, one.cells))
    for remark in one.remarks:
        console().print(remark, markup=False)
    for comparison in one.pairs:
        console().print(comparison.title, style="bold", markup=False)
        console().print(render_table(comparison.headers, comparison.cells))
    if one.released is not None:
        console().print(WARNING, style="bold red", markup=False)
        console().print(render_table(one.released.headers, one.released.cells))


def _estimate_study(study: Study, file: Path, workers: int, *, as_json: bool) -> None:
    from hardneg.evaluation.significance import MIN_SEEDS

    with show_progress() as progress:
        estimate = study.estimate(progress)
    head = f"{estimate.total} runs, {estimate.finished} finished, {estimate.total - estimate.finished} to run"
    few = dict.fromkeys(cell.row for cell in study.cells if len(study.seeds(cell)) < MIN_SEEDS)
    if few:
        head += f"; fewer than {MIN_SEEDS} seeds, hence in no comparison: {', '.join(map(repr, few))}"
    counts = {"runs": estimate.total, "finished": estimate.finished}
    emit_estimate(head, estimate.cells, workers, counts, as_json=as_json, following=("study", "run", file))


def _estimate_search(search: Search, file: Path, workers: int, *, as_json: bool) -> None:
    from hardneg.studies.tuned_settings import space_text

    with show_progress() as progress:
        estimate = search.estimate(progress)
    head = f"{estimate.total} trials, {estimate.finished} finished, {estimate.total - estimate.finished} to run"
    spaces = {task.name: space_text(task.space) for task in search.tasks_now()}
    counts = {"trials": estimate.total, "finished": estimate.finished, "spaces": spaces}
    emit_estimate(head, estimate.cells, workers, counts, as_json=as_json, following=("study", "search", file))
