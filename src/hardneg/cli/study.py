"""`hardneg study`: list, run, search, estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer import Argument, Option

from hardneg.cli.common import (
    FAILED,
    DeviceOption,
    OutputOptions,
    ReadingOptions,
    add_command,
    configure_torch,
    new_group,
)
from hardneg.cli.output import console, echo, emit_following, print_titled, render_table, show_progress

if TYPE_CHECKING:
    from hardneg.studies.comparisons import ComparisonTable
    from hardneg.studies.estimate import Estimate
    from hardneg.studies.recipes import ReplyEstimate
    from hardneg.studies.results import Results
    from hardneg.studies.search import Search
    from hardneg.studies.study import Study

app = new_group("Compare methods on datasets and seeds, from a YAML file.")

HEADERS = ["cell", "to run", "s / epoch", "epochs a run", "hours"]
REPLY_HEADERS = ["replies for", "model", "calls", "prompt tokens", "answer tokens", "tokens / s", "hours", "money"]
EXPLANATION = (
    "Each cell was trained for a moment on one thread. Epochs a run: the mean of the finished runs of the cell, else the "
    "maximum `epochs`, which early stopping may undercut. Fine-tuning and synthesis count as one epoch each. Not included: "
    "rows of baselines such as ease, fusion, reranking, other artifacts and their language model replies, the test "
    "evaluation, and other load of this machine."
)

Planned = TypeVar("Planned", "Study", "Search")


@dataclass(frozen=True, kw_only=True)
class StudyOptions(ReadingOptions):
    """The file of a study or a search, and how it runs."""

    file: Annotated[
        Path,
        Argument(
            help="YAML file, whose paths start at the working directory, or a ready study of `hardneg study list`."
        ),
    ]
    out: Annotated[Path | None, Option(show_default="out/NAME", help="Folder to write or to continue.")] = None
    splits: Annotated[
        list[str] | None,
        Option(
            "--split",
            metavar="FOLDER|NAME",
            help="Ready study: split folder, or NAME=FOLDER. Other file: name of a split to run; for a study, the folders "
            "of others may be absent. Repeatable.",
        ),
    ] = None
    llms: Annotated[
        list[str] | None,
        Option("--llm", metavar="NAME", help="Ready study that compares language models: one of them. Repeatable."),
    ] = None
    seeds: Annotated[
        int | None,
        Option(
            min=1, max=10_000, show_default="those of the file", help="Number of seeds of a study; tests need three."
        ),
    ] = None
    workers: Annotated[int, Option(min=1, max=256, help="Number of processes, one thread each.")] = 1
    device: DeviceOption = "cpu"

    def prepare(self) -> None:
        """Use one thread, and test the device."""
        configure_torch(1, self.device)

    def load(self, kind: type[Planned]) -> Planned:
        """Read the file as a study or a search."""
        only, llms = self.splits or (), self.llms or ()
        return kind.load(self.file, self.out, only=only, llms=llms, seeds=self.seeds, device=self.device)

    @property
    def words(self) -> list[object]:
        """Words of a command on the same file with the same splits and language models."""
        out: list[object] = [] if self.seeds is None else ["--seeds", self.seeds]
        out += ["--out", self.out] if self.out is not None else []
        named = [
            (option, name) for option, names in (("--split", self.splits), ("--llm", self.llms)) for name in names or ()
        ]
        return [self.file, *(word for pair in named for word in pair), *out]


@add_command(app, "list")
def list_ready_command(shared: OutputOptions) -> None:
    """List the ready studies: every table and figure of HNLMRec and DTL-NS, to be run on your own split.

    Each runs by its name. A path of a study file works as well. `hardneg init study NAME` writes a copy to edit.

    Example: `hardneg study list`
    """
    from hardneg.studies.ready_studies import find_ready, ready_names

    ready = [find_ready(name) for name in ready_names()]
    values = [
        {
            "name": one.name,
            "paper": one.paper,
            "question": one.question,
            "llms": one.llms,
            "least_splits": one.least_splits,
        }
        for one in ready
    ]
    headers = ["name", "table or figure", "question", "needs"]
    cells = [[one.name, one.paper, one.question, one.needs] for one in ready]
    text = render_table(headers, cells, left=headers)
    shared.emit(values, text, ("study", "run", ready[0].name, "--split", "SPLIT", "--dry-run"))


@add_command(app, "run")
def run_study_command(
    options: StudyOptions,
    collect: Annotated[bool, Option("--collect", help="Run nothing; write the tables of the finished runs.")] = False,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Run nothing; print runs, language model calls and hours, as `study estimate`.")
    ] = False,
) -> None:
    """Run datasets x models x samplers x options x seeds, and compare the results.

    The file is checked before anything runs. Finished runs are reused. A failed run is listed with its reason and
    repeated by the next call; the others continue. Exit code 1 if a run failed.

    Examples:

    `hardneg study run studies/main.yaml --workers 2`

    `hardneg study run scale --split data/shop-split --llm smollm2-135m --llm qwen2.5-coder-0.5b`
    """
    from hardneg.studies.page import write_page
    from hardneg.studies.study import Study

    study = options.load(Study)
    if dry_run:
        _estimate_study(options, study)
        return
    if not collect:
        with show_progress() as progress:
            study.run(options.workers, ended=partial(progress.finish_run, "runs"), progress=progress)
    results = study.results()
    page = write_page(study.results_dir)
    _emit_results(options, study, results, page)
    exit_if_failed(results.failed)


@add_command(app, "search")
def search_command(options: StudyOptions) -> None:
    """Search the settings of every dataset x model x sampler, with the same number of trials, on validation pairs.

    The first trial has the settings of the file. An interrupted search continues with the same suggestions. A study
    reads the best settings with `tuned: FOLDER`.

    Example: `hardneg study search studies/main-search.yaml --workers 2`
    """
    from hardneg.studies.search import Search

    search = options.load(Search)
    with show_progress() as progress:
        outcomes = search.run(options.workers, ended=partial(progress.finish_run, "searches"), progress=progress)
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

    Nothing is run to its end. A file with `trials` is a search. A language model in this process is timed on the first
    requests, whose replies are kept; nothing is sent to an endpoint.

    Example: `hardneg study estimate studies/main.yaml --workers 2`
    """
    from hardneg.studies.ready_studies import read_source
    from hardneg.studies.search import Search
    from hardneg.studies.study import Study
    from hardneg.studies.tuned_settings import space_text

    _, values, _ = read_source(options.file)
    if isinstance(values, dict) and "trials" in values:
        search = options.load(Search)
        with show_progress() as progress:
            estimate = search.estimate(progress)
        spaces = {task.name: space_text(task.space) for task in search.tasks_now()}
        _emit_estimate(options, estimate, "trials", "search", spaces=spaces)
        return
    _estimate_study(options, options.load(Study))


def _estimate_study(options: StudyOptions, study: Study) -> None:
    from hardneg.evaluation.significance import MIN_SEEDS

    with show_progress() as progress:
        estimate = study.estimate(progress)
    few = dict.fromkeys(cell.row for cell in study.cells if len(study.seeds(cell)) < MIN_SEEDS)
    remark = f"; fewer than {MIN_SEEDS} seeds, hence not tested: {', '.join(map(repr, few))}" if few else ""
    _emit_estimate(options, estimate, "runs", "run", remark)


def exit_if_failed(failed: Mapping[str, str | None]) -> None:
    """List failed runs on standard error and exit with code 1, if there are any."""
    if not failed:
        return
    echo(f"hardneg: {len(failed)} failed, the others are finished; run the same command again:", err=True)
    for name, reason in failed.items():
        echo(f"  {name}: {reason}", err=True)
    raise typer.Exit(FAILED)


def _emit_results(options: StudyOptions, study: Study, results: Results, page: Path) -> None:
    if options.as_json:
        tables = [_values(one) for one in results.tables]
        values = {"tables": tables, "remarks": results.remarks, "failed": results.failed, "out": str(study.out)}
        drawn = [one.texts | {"file": str(study.results_dir / "tables" / f"{one.key}.svg")} for one in results.figures]
        options.emit({**values, "figures": drawn, "page": str(page)}, "")
        return
    for one in results.tables:
        _print_comparison(one)
    figures = [f"Figure {one.key}.svg, {one.title}: {one.conclusion}" for one in results.figures]
    notes = [*figures, *results.remarks, f"Written: {study.results_dir}, and {page} for a browser"]
    if results.settings is not None:
        console().print(render_table(results.settings.headers, results.settings.cells))
        notes = [*results.settings.remarks, *notes]
    for note in notes:
        console().print(note, markup=False)
    best = results.best_run
    if not results.failed:
        emit_following(("study", "run", *options.words) if best is None else _recommend_words(study.out / best))


def _recommend_words(run: Path) -> list[object]:
    """Return the words that recommend to the first user of a run."""
    from hardneg.data import columns as c
    from hardneg.data.dataset import read_parquet

    users = run / "users.parquet"
    return ["recommend", run, "--user", read_parquet(users)[c.USER_ID][0] if users.is_file() else "USER_ID"]


def _print_comparison(one: ComparisonTable) -> None:
    from hardneg.evaluation.released import WARNING

    print_titled(one.title, one)
    for remark in one.remarks:
        console().print(remark, markup=False)
    for comparison in one.pairs:
        print_titled(comparison.title, comparison)
    if one.released is not None:
        print_titled(WARNING, one.released, style="bold red")


def _values(one: ComparisonTable) -> dict[str, Any]:
    from hardneg.evaluation.released import WARNING

    values: dict[str, Any] = {"split": one.split, "model": one.model}
    values["rows"] = one.frame.to_dicts()
    values["against"] = {comparison.title: comparison.frame.to_dicts() for comparison in one.pairs}
    if one.released is not None:
        values["released mask"] = {"honest": False, "warning": WARNING, "rows": one.released.frame.to_dicts()}
    return values


def _reply_cells(title: str, needed: ReplyEstimate) -> list[str]:
    rate, hours, money = needed.tokens_per_second, needed.hours, needed.money
    tokens = [f"{number:,.0f}" for number in (needed.calls, needed.prompt_tokens, needed.answer_tokens)]
    known = ["unknown" if rate is None else f"{rate:,.0f}", "unknown" if hours is None else f"{hours:.2f}"]
    return [title, needed.llm, *tokens, *known, "unknown" if money is None else f"${money:,.2f}"]


def _emit_estimate(
    options: StudyOptions, estimate: Estimate, unit: str, command: str, remark: str = "", **more: object
) -> None:
    """Print the number of runs or trials (`unit`) and the estimated hours, of every cell and in total."""
    hours = sum(cell.hours for cell in estimate.cells)
    sequential = sum(cell.hours for cell in estimate.cells if cell.sequential)
    parallel = sequential + (hours - sequential) / options.workers
    head = f"{estimate.total} {unit}, {estimate.finished} finished, {estimate.total - estimate.finished} to run{remark}"
    counts = {unit: estimate.total, "finished": estimate.finished, **more}
    totals = {"hours": hours, "hours_in_parallel": parallel, "workers": options.workers}
    cell_values = [
        {
            "cell": cell.name,
            "to_run": cell.left,
            "seconds_per_epoch": cell.seconds_per_epoch,
            "epochs": cell.epochs,
            "epochs_from_finished": cell.known,
            "hours": cell.hours,
        }
        for cell in estimate.cells
    ]
    cells = [
        [cell.name, str(cell.left), f"{cell.seconds_per_epoch:.3g}", cell.epochs_text, f"{cell.hours:.2f}"]
        for cell in estimate.cells
    ]
    if estimate.cells or options.as_json:
        replies = {title: asdict(needed) | {"hours": needed.hours} for title, needed in estimate.replies.items()}
        options.emit({**counts, **totals, "cells": cell_values, "replies": replies}, render_table(HEADERS, cells))
    if options.as_json:
        return
    if estimate.replies:
        options.emit({}, render_table(REPLY_HEADERS, [_reply_cells(*entry) for entry in estimate.replies.items()]))
    parallel_text = f", {parallel:.2f} with {options.workers} workers that do not slow each other"
    total = f"{head}: {hours:.2f} hours{'' if options.workers == 1 else parallel_text}."
    options.emit({}, f"{total}\n{EXPLANATION}", ("study", command, *options.words))
