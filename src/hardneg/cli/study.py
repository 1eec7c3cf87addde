"""`hardneg study`: run, search, estimate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardneg.cli.common import (
    DeviceOption,
    OutputOptions,
    add_command,
    configure_torch,
    console,
    emit_following,
    new_group,
    render_table,
)
from hardneg.cli.progress import show_progress
from hardneg.cli.study_output import emit_estimate, exit_if_failed, watch_runs

if TYPE_CHECKING:
    from hardneg.studies.comparisons import ComparisonTable
    from hardneg.studies.results import Results
    from hardneg.studies.search import Search
    from hardneg.studies.study import Study

app = new_group("Compare methods on datasets and seeds, from a YAML file.")


@dataclass(frozen=True, kw_only=True)
class StudyOptions(OutputOptions):
    """The file of a study or a search, and how it runs."""

    file: Annotated[Path, typer.Argument(help="YAML file; its paths start at the working directory.")]
    out: Annotated[Path | None, typer.Option(show_default="out/NAME", help="Folder to write or to continue.")] = None
    splits: Annotated[
        list[str] | None,
        typer.Option(
            "--split", metavar="NAME", help="Split of the file to run; the folders of others may be absent. Repeatable."
        ),
    ] = None
    workers: Annotated[int, typer.Option(min=1, help="Number of processes, one thread each.")] = 1
    device: DeviceOption = "cpu"

    def prepare(self) -> None:
        """Use one thread, and test the device."""
        configure_torch(1, self.device)

    def load_study(self) -> Study:
        """Read the file as a study."""
        from hardneg.studies.study import Study

        return Study.load(self.file, self.out, only=self.splits or (), device=self.device)

    def load_search(self) -> Search:
        """Read the file as a search."""
        from hardneg.studies.search import Search

        return Search.load(self.file, self.out, only=self.splits or (), device=self.device)


@add_command(app, "run")
def run_study_command(
    options: StudyOptions,
    collect: Annotated[
        bool, typer.Option("--collect", help="Run nothing; write the tables of the finished runs.")
    ] = False,
) -> None:
    """Run datasets x models x samplers x options x seeds, and compare the results.

    The file is checked before anything runs. Finished runs are reused. A failed run is listed with its reason and
    repeated by the next call; the others continue. Exit code 1 if a run failed.

    Example: `hardneg study run studies/main.yaml --workers 2`
    """
    study = options.load_study()
    if not collect:
        with show_progress() as progress:
            study.run(options.workers, ended=watch_runs(progress, "runs"), progress=progress)
    results = study.results()
    _emit_results(options, study, results)
    exit_if_failed(results.failed)


@add_command(app, "search")
def search_command(options: StudyOptions) -> None:
    """Search the settings of every dataset x model x sampler, with the same number of trials, on validation pairs.

    The first trial has the settings of the file. An interrupted search continues with the same suggestions. A study
    reads the best settings with `tuned: FOLDER`.

    Example: `hardneg study search studies/main-search.yaml --workers 2`
    """
    search = options.load_search()
    with show_progress() as progress:
        outcomes = search.run(options.workers, ended=watch_runs(progress, "searches"), progress=progress)
    results = search.results()
    headers, cells, spaces = results.best.table()
    failed = results.left_out | {outcome.name: outcome.reason for outcome in outcomes if outcome.reason is not None}
    values = {**results.best.model_dump(mode="json"), "failed": failed, "out": str(search.out)}
    options.emit(values, render_table(headers, cells))
    if not options.as_json:
        written = f"Written: {search.out}; a study reads it with `tuned: {search.out}`"
        options.emit({}, "\n".join([*spaces, written]), ("study", "run", "STUDY.yaml"))
    exit_if_failed(failed)


@add_command(app, "estimate")
def estimate_study_command(options: StudyOptions) -> None:
    """Count the runs of a study or the trials of a search, time each cell for a moment, and estimate the hours.

    Nothing is run to its end. A file with `trials` is a search.

    Example: `hardneg study estimate studies/main.yaml --workers 2`
    """
    from hardneg.config import read_yaml

    values = read_yaml(options.file)[0] if options.file.is_file() else {}
    if isinstance(values, dict) and "trials" in values:
        _estimate_search(options)
    else:
        _estimate_study(options)


def _emit_results(options: StudyOptions, study: Study, results: Results) -> None:
    if options.as_json:
        options.emit(_values(study, results), "")
        return
    for one in results.tables:
        _print_table(one)
    if results.settings is not None:
        console().print(render_table(results.settings.headers, results.settings.cells))
    notes = [] if results.settings is None else results.settings.remarks
    for note in (*notes, *results.remarks, f"Written: {study.results_dir}"):
        console().print(note, markup=False)
    if not results.failed:
        emit_following(("recommend", "RUN", "--user", "USER_ID"))


def _values(study: Study, results: Results) -> dict[str, Any]:
    tables = [
        {
            "split": one.split,
            "model": one.model,
            "rows": one.frame.to_dicts(),
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
    if one.headers:
        console().print(render_table(one.headers, one.cells))
    for remark in one.remarks:
        console().print(remark, markup=False)
    for comparison in one.pairs:
        console().print(comparison.title, style="bold", markup=False)
        console().print(render_table(comparison.headers, comparison.cells))
    if one.released is not None:
        console().print(WARNING, style="bold red", markup=False)
        console().print(render_table(one.released.headers, one.released.cells))


def _estimate_study(options: StudyOptions) -> None:
    from hardneg.evaluation.significance import MIN_SEEDS

    study = options.load_study()
    with show_progress() as progress:
        estimate = study.estimate(progress)
    head = f"{estimate.total} runs, {estimate.finished} finished, {estimate.total - estimate.finished} to run"
    few = dict.fromkeys(cell.row for cell in study.cells if len(study.seeds(cell)) < MIN_SEEDS)
    if few:
        head += f"; fewer than {MIN_SEEDS} seeds, hence in no comparison: {', '.join(map(repr, few))}"
    counts = {"runs": estimate.total, "finished": estimate.finished}
    emit_estimate(options, options.workers, head, estimate.cells, counts, ("study", "run", options.file))


def _estimate_search(options: StudyOptions) -> None:
    from hardneg.studies.tuned_settings import space_text

    search = options.load_search()
    with show_progress() as progress:
        estimate = search.estimate(progress)
    head = f"{estimate.total} trials, {estimate.finished} finished, {estimate.total - estimate.finished} to run"
    spaces = {task.name: space_text(task.space) for task in search.tasks_now()}
    counts = {"trials": estimate.total, "finished": estimate.finished, "spaces": spaces}
    emit_estimate(options, options.workers, head, estimate.cells, counts, ("study", "search", options.file))
