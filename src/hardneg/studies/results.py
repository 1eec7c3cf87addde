"""Tables of a study: one of runs and values, and a comparison for every split and model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
from hardneg.evaluation.significance import MIN_SEEDS
from hardneg.pipeline import EVALUATION, RUN
from hardneg.pipeline.suspect_use import no_suspects_warning
from hardneg.report import printers, tables
from hardneg.studies.cells import Cell
from hardneg.studies.comparisons import PairTable, control_lines, find_line, pair_tables
from hardneg.studies.naming import slug
from hardneg.studies.released import ReleasedTable
from hardneg.studies.runs import collect_scores
from hardneg.studies.tuned_settings import read_tuned_settings

if TYPE_CHECKING:
    from hardneg.studies.study import PlannedRun, Study

RUNS, SHARED, TABLES, TEXT, FAILED = "runs.parquet", "shared.parquet", "tables", "tables.md", "failed.json"
CLOCKS = ("seconds", "peak_memory_mib")
"""Columns that differ between machines and calls."""
NOT_RUN = "not run yet"
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
class ComparisonTable:
    """The comparison on one split with one model.

    frame: None where too few runs are finished. remarks: what is missing, and other things to know. released: the same
    runs under the released mask, if the study asks for that. pairs: methods against their controls, and further pairs.
    """

    split: str
    model: str
    frame: pl.DataFrame | None
    headers: list[str]
    cells: list[list[str]]
    remarks: list[str]
    latex: str = ""
    released: ReleasedTable | None = None
    pairs: list[PairTable] = field(default_factory=list)

    @property
    def title(self) -> str:
        """Its heading."""
        return f"{self.split}, {self.model}"

    @property
    def markdown(self) -> str:
        """The table, its remarks, and the tables beside it."""
        table = printers.markdown(self.headers, self.cells) if self.frame is not None else ""
        masked = "" if self.released is None else self.released.markdown
        pairs = "".join(pair_table.markdown for pair_table in self.pairs)
        return table + "".join(f"\n{remark}\n" for remark in self.remarks) + pairs + masked

    def write(self, path: Path) -> None:
        """Write all its files; path: their common beginning."""
        if self.frame is not None:
            self.frame.write_parquet(path.with_name(f"{path.name}.parquet"))
            path.with_name(f"{path.name}.tex").write_text(self.latex, encoding="utf-8")
        if self.released is not None:
            self.released.frame.write_parquet(path.with_name(f"{path.name}-released-mask.parquet"))
            path.with_name(f"{path.name}-released-mask.svg").write_text(self.released.svg, encoding="utf-8")
        for pair_table in self.pairs:
            pair_table.frame.write_parquet(path.with_name(f"{path.name}-{pair_table.file}.parquet"))
            path.with_name(f"{path.name}-{pair_table.file}.md").write_text(pair_table.markdown, encoding="utf-8")
        path.with_name(f"{path.name}.md").write_text(self.markdown, encoding="utf-8")


@dataclass(frozen=True)
class SettingsTable:
    """The settings that a search found, with its budget and its spaces as notes."""

    headers: list[str]
    cells: list[list[str]]
    notes: list[str]

    @property
    def markdown(self) -> str:
        """The table and its notes."""
        return printers.markdown(self.headers, self.cells) + "".join(f"\n{note}\n" for note in self.notes)


@dataclass(frozen=True)
class Results:
    """Tables and failures of the finished part of a study.

    settings: those that a search found for it, if one did. shared: artifacts made before the runs (`BUILD_SCHEMA`).
    failed: run -> reason. remarks: on the study as a whole.
    """

    runs: pl.DataFrame
    tables: list[ComparisonTable]
    settings: SettingsTable | None
    shared: pl.DataFrame
    failed: dict[str, str]
    remarks: list[str] = field(default_factory=list)


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
    comparisons = [_compare(study, split, model, finished_runs) for split, model in groups]
    failed = {run.task.name: reasons[run.task.name] for run in runs if run.task.name in reasons}
    shared, remarks = study.plan.build_times(), _study_remarks(study)
    results = Results(pl.DataFrame(lines, schema=SCHEMA), comparisons, _settings(study), shared, failed, remarks)
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
        table.write(folder / f"{slug(table.split)}-{slug(table.model)}")
    (study.results_dir / TEXT).write_text(_page(study, results), encoding="utf-8")


def _failure_reasons(study: Study, runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Return run -> reason, of the last `Study.run` and of earlier calls.

    A reason of the last call stays in any case. An earlier one goes once the run is finished, if that was made from
    artifacts which are known to be what the file asks for.
    """
    path = study.out / FAILED
    healed = {run.task.name for run in runs if run.finished and not study.plan.unverified([run.cell])}
    earlier: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    reasons = {name: reason for name, reason in earlier.items() if name not in healed}
    problems = {run.task.name: study.plan.problem_of(run.cell) for run in runs}
    reasons |= {name: problem for name, problem in problems.items() if problem is not None}
    reasons |= {outcome.name: outcome.reason for outcome in study.outcomes if outcome.reason is not None}
    if reasons or path.is_file():
        artifacts.replace_file(path, json.dumps(reasons, indent=2).encode() + b"\n")
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
        return [line | {"status": "not run" if reason is None else "failed", "reason": reason or NOT_RUN}]
    line |= {"status": "done", **_training_summary(task.folder, task.config.fit.select)}
    metrics = read_parquet(task.folder / EVALUATION / "metrics.parquet")
    return [line | values for values in metrics.select("metric", "k", "value").iter_rows(named=True)]


def _training_summary(folder: Path, select: str) -> dict[str, Any]:
    notes = artifacts.read_manifest(folder, RUN)["notes"]
    costs = json.loads((folder / "costs.json").read_text(encoding="utf-8"))
    return {
        "valid_metric": select,
        "valid_value": best_validation_value(folder, select),
        "epochs": notes["epochs"],
        "best_epoch": notes["best epoch"],
        **{name: costs[name] for name in CLOCKS},
    }


def best_validation_value(folder: Path, select: str) -> float:
    """Return the best value of a run on validation pairs."""
    curves = read_parquet(folder / "metrics.parquet")
    values = curves.filter(pl.col("split") == "valid", pl.col("metric") == select)["value"]
    return float(values.max())  # type: ignore[arg-type] # a run validates at least once


def _compare(study: Study, split: str, model: str, finished: Sequence[PlannedRun]) -> ComparisonTable:
    """Compare the lines that have enough seeds."""
    cells = [cell for cell in study.cells if cell.table == (split, model)]
    runs = {cell.line: [run for run in finished if run.cell is cell] for cell in cells}
    released = _read_released(study, runs)
    remarks = list(_table_remarks(study, split, cells, {line: len(own) for line, own in runs.items()}))
    enough = [cell.line for cell in cells if len(runs[cell.line]) >= MIN_SEEDS]
    base = baseline_line(study.spec.baseline, cells)
    if base not in enough:
        reason = f"No comparison: {base!r} has {len(runs[base])} finished seeds, expected {MIN_SEEDS} at least."
        return ComparisonTable(split, model, None, [], [], [reason, *remarks], released=released)
    scores = [_collect(runs[line]) for line in enough]
    controls = [line for line in control_lines(cells, base) if line in enough]
    frame = tables.comparison_table(scores, base, study.spec.metrics, controls=controls)
    headers, text = printers.comparison_text(frame, study.spec.metrics, base)
    latex = printers.latex(frame, study.spec.metrics, base)
    pairs = pair_tables(study.spec, cells, {row.name: row for row in scores}, base)
    remarks += [f"Controls, outside the family of Holm here: {'; '.join(controls)}."] if controls else []
    return ComparisonTable(split, model, frame, headers, text, remarks, latex, released, pairs)


def _read_released(study: Study, runs: Mapping[str, Sequence[PlannedRun]]) -> ReleasedTable | None:
    """Return the table under the released mask; None where no run is scored under it."""
    masked = {
        line: [run.task.folder for run in own if run.task.available_mask() is not None] for line, own in runs.items()
    }
    return ReleasedTable.read(masked, study.spec.metrics) if any(masked.values()) else None


def _collect(runs: Sequence[PlannedRun]) -> tables.MethodScores:
    return collect_scores(runs[0].task.row, [run.task.seed for run in runs], runs[0].task.runs_dir)


def baseline_line(baseline: str, cells: Sequence[Cell]) -> str:
    """Return the line that others are compared with: the one of that name, else the first of that row."""
    line = find_line(baseline, cells)
    assert line is not None
    return line


def _table_remarks(study: Study, split: str, cells: Sequence[Cell], finished: Mapping[str, int]) -> Iterator[str]:
    """Yield what a reader of one table should know besides the numbers. finished: line -> seeds."""
    for cell in cells:
        done, seeds = finished[cell.line], len(study.seeds(cell))
        if done < MIN_SEEDS:
            few = "" if seeds >= MIN_SEEDS else f", expected {MIN_SEEDS} at least"
            yield f"{cell.line}: {done} of {seeds} seeds finished{few}; left out."
        elif done < seeds:
            yield f"{cell.line}: {done} of {seeds} seeds finished."
    mask_problem = study.plan.mask_problem(split)
    if mask_problem is not None:
        yield f"No table under the released mask: {mask_problem}."
    for cell in cells:
        folder, use = study.plan.folder_of(cell, "suspects"), cell.config.suspects
        if folder is not None and use is not None and artifacts.is_artifact(folder):
            warning = no_suspects_warning(folder, use)  # then the row is the one without suspects
            if warning:
                yield f"{cell.line}: {warning}."


def _study_remarks(study: Study) -> list[str]:
    """Return what a reader should know of the study as a whole."""
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
    """Return all tables as Markdown."""
    parts = [f"# {study.spec.name}\n", *(f"{remark}\n" for remark in results.remarks)]
    groups = {table.title: table.frame for table in results.tables if table.frame is not None}
    if len(groups) > 1:
        parts.append(f"## Over all tables\n\n{_overview(study, results, groups)}")
    parts += [f"## {table.title}\n\n{table.markdown}" for table in results.tables]
    if results.settings is not None:
        parts.append(f"## Settings\n\n{results.settings.markdown}")
    if len(results.shared):
        parts.append(f"## Before the runs\n\n{_shared_table(results.shared)}")
    if results.failed:
        lines = (f"- {name}: {reason}\n" for name, reason in results.failed.items())
        parts.append(f"## Failed\n\n{''.join(lines)}")
    return "\n".join(parts)


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


def _shared_table(shared: pl.DataFrame) -> str:
    cells = [
        [split, folder, "–" if seconds is None else f"{seconds:,.1f}", f"{mib:,.1f}"]
        for split, folder, seconds, mib in shared.iter_rows()
    ]
    note = "Made once for each split and shared by its runs; not in `s / run`. –: not measured, or continued after a break."
    return f"{printers.markdown(['split', 'folder', 's', 'MiB'], cells)}\n{note}\n"


def _settings(study: Study) -> SettingsTable | None:
    if study.spec.tuned is None:
        return None
    tuned = read_tuned_settings(study.spec.tuned)
    headers, cells, spaces = tuned.table({cell.searched for cell in study.cells})
    budget = f"Found by search {tuned.search!r} on validation pairs alone, every trial with seed {tuned.seed}."
    return SettingsTable(headers, cells, [budget, *spaces])
