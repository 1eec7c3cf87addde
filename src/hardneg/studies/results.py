"""Tables of a study: one of runs and values, and a comparison for every split and model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from hardneg import pipeline, storage
from hardneg.data.dataset import read_parquet
from hardneg.report import printers, tables
from hardneg.report.figure_data import FigureData, standalone_svg
from hardneg.studies.comparisons import ComparisonTable, ResultTable, compare_lines
from hardneg.studies.figures import draw_figures
from hardneg.studies.recipes import slug
from hardneg.studies.runs import training_summary
from hardneg.studies.tuned_settings import read_tuned_settings

if TYPE_CHECKING:
    from hardneg.studies.study import PlannedRun, Study

RUNS, SHARED, TABLES, TEXT, FAILED = "runs.parquet", "shared.parquet", "tables", "tables.md", "failed.json"
INDEX = "tables.json"
"""Names and remarks of the tables and their files, from which `studies.page` reads a study without its splits."""
SCHEMA = {
    "split": pl.String,
    "model": pl.String,
    "row": pl.String,
    "line": pl.String,
    "options": pl.String,
    "seed": pl.Int64,
    "status": pl.String,
    "reason": pl.String,
    "metric": pl.String,
    "k": pl.Int64,
    "value": pl.Float64,
    "valid_metric": pl.String,
    "valid_value": pl.Float64,
    "epochs": pl.Int64,
    "best_epoch": pl.Int64,
    "settings": pl.String,
    "folder": pl.String,
    "seconds": pl.Float64,
    "peak_memory_mib": pl.Int64,
}


@dataclass(frozen=True)
class Results:
    """Tables and failures of the finished part of a study.

    figures: those that the study asks for. settings: those that a search found for it, if one did. shared: artifacts made before the runs (`BUILD_SCHEMA`).
    failed: run -> reason. remarks: on the study as a whole.
    """

    runs: pl.DataFrame
    tables: list[ComparisonTable]
    settings: ResultTable | None
    shared: pl.DataFrame
    failed: dict[str, str]
    remarks: list[str] = field(default_factory=list)
    figures: list[FigureData] = field(default_factory=list)

    @property
    def best_run(self) -> str | None:
        """Folder, within the study, of the finished run with the highest validation value; None without one."""
        done = self.runs.filter((pl.col("status") == "done") & pl.col("valid_value").is_not_null())
        return None if done.is_empty() else str(done.sort("valid_value", descending=True)["folder"][0])


def write_results(study: Study) -> Results:
    """Read finished runs, and write runs.parquet, a comparison for every split and model, and all of them as Markdown.

    Reasons of failures are kept in failed.json until the run is finished.
    """
    runs = study.runs()
    reasons = _failure_reasons(study, runs)
    finished = {run.task.name for run in runs if run.finished and run.task.name not in reasons}
    in_order = [run for cell in study.cells for run in runs if run.cell is cell]
    lines = [line for run in in_order for line in _run_lines(study, run, run.task.name in finished, reasons)]
    finished_runs = [run for run in runs if run.task.name in finished]
    groups = dict.fromkeys(cell.table for cell in study.cells)
    comparisons = [compare_lines(study, split, model, finished_runs) for split, model in groups]
    failed = {run.task.name: reasons[run.task.name] for run in runs if run.task.name in reasons}
    shared, remarks = study.plan.build_times(), _study_remarks(study)
    figures = list(draw_figures(study, finished_runs, comparisons))
    runs_frame = pl.DataFrame(lines, schema=SCHEMA)
    results = Results(runs_frame, comparisons, _settings(study), shared, failed, remarks, figures)
    _write(study, results)
    return results


def _write(study: Study, results: Results) -> None:
    folder = study.results_dir / TABLES
    study.results_dir.mkdir(parents=True, exist_ok=True)
    results.runs.write_parquet(study.results_dir / RUNS)
    if len(results.shared):
        results.shared.write_parquet(study.results_dir / SHARED)
    shutil.rmtree(folder, ignore_errors=True)  # a name may have changed
    folder.mkdir()
    for table in results.tables:
        table.write(folder / _file_stem(table))
    for figure in results.figures:
        figure.points.write_parquet(folder / f"{figure.key}.parquet")
        (folder / f"{figure.key}.svg").write_text(standalone_svg(figure.page_figure), encoding="utf-8")
    storage.write_json(folder / INDEX, _index(study, results))
    (study.results_dir / TEXT).write_text(_page(study, results), encoding="utf-8")


def _file_stem(table: ComparisonTable) -> str:
    return f"{slug(table.split)}-{slug(table.model)}"


def _index(study: Study, results: Results) -> dict[str, Any]:
    """Return what the files of the tables do not say, by table."""
    settings = results.settings
    return {
        "name": study.spec.name,
        "folder": os.path.relpath(study.out, study.results_dir),
        "question": study.spec.question,
        "paper": study.spec.paper,
        "metrics": study.spec.metrics,
        "figures": [figure.texts for figure in results.figures],
        "remarks": results.remarks,
        "failed": results.failed,
        "settings": None if settings is None else [settings.headers, settings.cells, settings.remarks],
        "tables": [
            {
                "split": table.split,
                "model": table.model,
                "file": _file_stem(table),
                "compared": bool(len(table.frame)),
                "released": table.released is not None,
                "remarks": table.remarks,
                "pairs": {pairs.file: pairs.title for pairs in table.pairs},
            }
            for table in results.tables
        ],
    }


def _failure_reasons(study: Study, runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Return run -> reason, of the last `Study.run` and of earlier calls.

    A reason of the last call stays in any case. An earlier one goes once the run is finished, if that was made from
    artifacts which are known to be what the file asks for.
    """
    path = study.out / FAILED
    healed = {run.task.name for run in runs if run.finished and not study.plan.unverified([run.cell])}
    earlier: dict[str, str] = storage.read_json(path) if path.is_file() else {}
    reasons = {name: reason for name, reason in earlier.items() if name not in healed}
    problems = {run.task.name: study.plan.problem_of(run.cell) for run in runs}
    reasons |= {name: problem for name, problem in problems.items() if problem is not None}
    reasons |= {outcome.name: outcome.reason for outcome in study.outcomes if outcome.reason is not None}
    if reasons or path.is_file():
        storage.replace_file(path, json.dumps(reasons, indent=2).encode() + b"\n")
    return reasons


def _run_lines(study: Study, run: PlannedRun, finished: bool, reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a dictionary for every metric; one without a metric for a run that is not finished."""
    cell, task = run.cell, run.task
    line: dict[str, Any] = {
        "split": cell.split,
        "model": cell.model,
        "row": cell.row,
        "line": cell.line,
        "options": json.dumps(dict(cell.options)),
        "seed": task.seed,
        "settings": json.dumps(task.config.model_dump(mode="json")),
        "folder": task.folder.relative_to(study.out).as_posix(),
    }
    if not finished:
        reason = reasons.get(task.name)
        return [line | {"status": "not run" if reason is None else "failed", "reason": reason or "not run yet"}]
    line |= {"status": "done", "valid_metric": task.select}
    line |= training_summary(task.folder, task.select)
    metrics = read_parquet(pipeline.find_evaluation(task.folder) / "metrics.parquet")
    return [line | values for values in metrics.select("metric", "k", "value").iter_rows(named=True)]


def _study_remarks(study: Study) -> list[str]:
    remarks = [
        f"The settings of {title} could not be compared with those of this file: {reason}."
        for title, reason in study.plan.unverified(study.cells).items()
    ]
    twins = [run for _, run in study.plan.auxiliary_runs(study.cells) if run.seed in study.spec.seeds]
    remarks += [
        f"The auxiliary run of {run.row} with {run.model} has seed {run.seed}, which is one of the study's: it starts from "
        "the same tables as the runs under that seed, so that these are not independent of it."
        for run in twins
    ]
    return list(dict.fromkeys(remarks))


def _page(study: Study, results: Results) -> str:
    sections = {table.title: table.page for table in results.tables}
    groups = {table.title: table.frame for table in results.tables if len(table.frame)}
    if len(groups) > 1:
        sections = {"Over all tables": _overview(study, results, groups), **sections}
    if results.settings is not None:
        sections["Settings"] = results.settings.markdown
    if len(results.shared):
        sections["Before the runs"] = _shared_table(results.shared).markdown
    if results.failed:
        sections["Failed"] = "".join(f"- {name}: {reason}\n" for name, reason in results.failed.items())
    if results.figures:
        pictures = (f"![{one.title}]({TABLES}/{one.key}.svg)\n\n{one.caption}\n" for one in results.figures)
        sections = {"Figures": "\n".join(pictures), **sections}
    texts = [f"## {title}\n\n{text}" for title, text in sections.items()]
    about = [f"{study.spec.question} ({study.spec.paper})\n"] if study.spec.question else []
    return "\n".join([f"# {study.spec.name}\n", *about, *(f"{remark}\n" for remark in results.remarks), *texts])


def _overview(study: Study, results: Results, groups: Mapping[str, pl.DataFrame]) -> str:
    first = study.spec.metrics[0]
    label = printers.metric_label(first)
    signs = (
        f"{label}; ▲ better, ▼ worse than {study.spec.baseline} (with its own options) at 5 % after Holm within a table; "
        "controls have no sign.\n"
    )
    counts = (
        f"Better, worse: at 5 % after Holm within a family of one table, by {label}. Counts and means over tables are no "
        "test: tables may share data, and one in twenty would differ by chance.\n"
    )
    parts = [printers.markdown(*printers.side_by_side(groups, first)), signs]
    if not study.spec.options:  # with options, tables may have baselines of different names
        parts.append(printers.markdown(*printers.summary_text(tables.summary_table(groups))))
    pairs = [pl.concat([pair_table.frame for pair_table in table.pairs]) for table in results.tables if table.pairs]
    if pairs:
        headers, cells = printers.summary_text(tables.pairs_summary(pairs))
        parts.append(printers.markdown(["pair", *headers[1:]], cells))
    return "\n".join([*parts, counts])


def _shared_table(shared: pl.DataFrame) -> ResultTable:
    note = "Made once for each split and shared by its runs; not in `s / run`. –: not measured, or continued after a break."
    return ResultTable(["split", "folder", "s", "MiB"], shared_cells(shared), remarks=[note])


def shared_cells(shared: pl.DataFrame) -> list[list[str]]:
    """Return the cells of the table of artifacts that were made before the runs."""
    return [
        [split, folder, printers.NO_VALUE if seconds is None else f"{seconds:,.1f}", f"{mib:,.1f}"]
        for split, folder, seconds, mib in shared.iter_rows()
    ]


def _settings(study: Study) -> ResultTable | None:
    if study.spec.tuned is None:
        return None
    tuned = read_tuned_settings(study.spec.tuned)
    headers, cells, spaces = tuned.table({cell.searched for cell in study.cells})
    budget = f"Found by search {tuned.search!r} on validation pairs alone, every trial with seed {tuned.seed}."
    return ResultTable(headers, cells, remarks=[budget, *spaces])
