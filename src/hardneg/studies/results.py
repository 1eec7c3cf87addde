"""What a study found: one table of runs and values, and a comparison for every split and model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
from hardneg.evaluation.significance import MIN_SEEDS
from hardneg.pipeline import EVALUATION, RUN
from hardneg.report import overview, tables
from hardneg.studies.control_comparisons import Against, beside, controls, line_of
from hardneg.studies.experiment_cells import Cell
from hardneg.studies.process_pool import Outcome
from hardneg.studies.released import Released
from hardneg.studies.runs import collect, slug
from hardneg.studies.search_tables import found_cells
from hardneg.studies.study import Run, Study
from hardneg.studies.tuned_settings import read_best
from hardneg.studies.warnings import on_table, remarks_on

RUNS, SHARED, TABLES, TEXT, FAILED = "runs.parquet", "shared.parquet", "tables", "tables.md", "failed.json"
CLOCKS = ("seconds", "peak_memory_mib")
"""Columns that differ from one machine, or one call, to the next."""
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
class Table:
    """The comparison on one split with one model. frame: None where too few runs stand; remarks: what is missing."""

    split: str
    model: str
    frame: pl.DataFrame | None
    headers: list[str]
    cells: list[list[str]]
    remarks: list[str]
    latex: str = ""
    released: Released | None = None
    """The same runs under the released mask, where the study asks for that."""
    against: list[Against] = field(default_factory=list)
    """Methods against their controls, and further comparisons; each has a family of its own for Holm."""

    @property
    def title(self) -> str:
        """As a heading."""
        return f"{self.split}, {self.model}"

    @property
    def markdown(self) -> str:
        """The table and its remarks."""
        drawn = tables.markdown(self.headers, self.cells) if self.frame is not None else ""
        masked = "" if self.released is None else self.released.markdown
        others = "".join(made.markdown for made in self.against)
        return drawn + "".join(f"\n{remark}\n" for remark in self.remarks) + others + masked


@dataclass(frozen=True)
class Settings:
    """The settings that a search found, with its budget and its spaces."""

    headers: list[str]
    cells: list[list[str]]
    notes: list[str]

    @property
    def markdown(self) -> str:
        """The table and its notes."""
        return tables.markdown(self.headers, self.cells) + "".join(f"\n{note}\n" for note in self.notes)


@dataclass(frozen=True)
class Results:
    """Everything a study found so far. settings: what a search found for it, if one did. shared: what came before the runs
    (`took.SCHEMA`). failed: run -> reason."""

    runs: pl.DataFrame
    tables: list[Table]
    settings: Settings | None
    shared: pl.DataFrame
    failed: dict[str, str]
    remarks: list[str] = field(default_factory=list)
    """On the study as a whole."""


def write_results(study: Study, outcomes: Sequence[Outcome] = ()) -> Results:
    """Read what stands, and write runs.parquet, a comparison for every split and model, and all of them as Markdown.

    outcomes: how the runs of this call ended; reasons of failures are kept in failed.json until the run stands.
    """
    runs = study.runs()
    reasons = _reasons(study, runs, outcomes)
    runs = [replace(run, stands=run.stands and run.job.name not in reasons) for run in runs]
    in_order = [run for cell in study.cells for run in runs if run.cell is cell]
    frame = pl.DataFrame([line for run in in_order for line in _lines(study, run, reasons)], schema=SCHEMA)
    made = [
        _table(study, split, model, runs) for split, model in dict.fromkeys((c.split, c.model) for c in study.cells)
    ]
    study.results.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(study.results / RUNS)
    shared = study.stages.took()
    if len(shared):
        shared.write_parquet(study.results / SHARED)
    folder = study.results / TABLES
    shutil.rmtree(folder, ignore_errors=True)  # a name may have changed
    folder.mkdir()
    for table in made:
        _write(table, folder / f"{slug(table.split)}-{slug(table.model)}")
    failed = {run.job.name: reasons[run.job.name] for run in runs if run.job.name in reasons}
    results = Results(frame, made, _settings(study), shared, failed, remarks_on(study))
    (study.results / TEXT).write_text(_text(study, results), encoding="utf-8")
    return results


def _reasons(study: Study, runs: Sequence[Run], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Why runs failed, in this call and in earlier ones.

    A reason of this call stays, whatever stands. An earlier one goes once the run stands, if that was made from what the
    file asks for.
    """
    path = study.out / FAILED
    standing = {run.job.name for run in runs if run.stands and study.stages.sure(run.cell)}
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    left = {name: reason for name, reason in known.items() if name not in standing}
    left |= {run.job.name: reason for run in runs if (reason := study.stages.reason(run.cell)) is not None}
    left |= {outcome.name: outcome.reason for outcome in outcomes if outcome.reason is not None}
    if left or path.is_file():
        artifacts.replace_file(path, json.dumps(left, indent=2).encode() + b"\n")
    return left


def _lines(study: Study, run: Run, reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    """One dictionary a metric; one without metric for a run that does not stand."""
    cell, folder = run.cell, run.job.folder
    line: dict[str, Any] = {
        "split": cell.split,
        "model": cell.model,
        "row": cell.row,
        "line": cell.line,
        "options": json.dumps(dict(cell.options)),
        "seed": run.job.seed,
        "settings": json.dumps(run.job.config.model_dump(mode="json")),
        "folder": folder.relative_to(study.out).as_posix(),
    }
    reason = reasons.get(run.job.name)
    if not run.stands:
        return [line | {"status": "not run" if reason is None else "failed", "reason": reason or NOT_RUN}]
    line |= {"status": "done", **_how_it_went(run)}
    measured = read_parquet(folder / EVALUATION / "metrics.parquet")
    return [line | values for values in measured.select("metric", "k", "value").iter_rows(named=True)]


def _how_it_went(run: Run) -> dict[str, Any]:
    folder, select = run.job.folder, run.job.config.fit.select
    notes = artifacts.read_manifest(folder, RUN)["notes"]
    costs = json.loads((folder / "costs.json").read_text(encoding="utf-8"))
    return {
        "valid_metric": select,
        "valid_value": best_on_validation(folder, select),
        "epochs": notes["epochs"],
        "best_epoch": notes["best epoch"],
        **{name: costs[name] for name in CLOCKS},
    }


def best_on_validation(folder: Path, select: str) -> float:
    """The best value that a run reached on validation pairs."""
    curves = read_parquet(folder / "metrics.parquet")
    seen = curves.filter(pl.col("split") == "valid", pl.col("metric") == select)["value"]
    return float(seen.max())  # type: ignore[arg-type] # a run looks at least once


def _table(study: Study, split: str, model: str, runs: Sequence[Run]) -> Table:
    """Compare the lines that have seeds enough."""
    cells = [cell for cell in study.cells if (cell.split, cell.model) == (split, model)]
    stands = {cell.line: [run for run in runs if run.cell is cell and run.stands] for cell in cells}
    released = _released(study, stands)
    remarks = on_table(study, split, cells, {line: len(done) for line, done in stands.items()})
    enough = [cell for cell in cells if len(stands[cell.line]) >= MIN_SEEDS]
    base = baseline_line(study.spec.baseline, cells)
    if base not in (cell.line for cell in enough):
        why = f"No comparison: {base!r} has {len(stands[base])} finished seeds, expected {MIN_SEEDS} at least."
        return Table(split, model, None, [], [], [why, *remarks], released=released)
    measured = [_measured(stands[cell.line]) for cell in enough]
    apart = [line for line in controls(cells, base) if line in (cell.line for cell in enough)]
    frame = tables.comparison_table(measured, base, study.spec.metrics, controls=apart)
    headers, text = tables.comparison_text(frame, study.spec.metrics, base)
    latex = tables.latex(frame, study.spec.metrics, base)
    others = beside(study.spec, cells, {row.name: row for row in measured}, base)
    remarks += [f"Controls, outside the family of Holm here: {'; '.join(apart)}."] if apart else []
    return Table(split, model, frame, headers, text, remarks, latex, released, others)


def _released(study: Study, stands: Mapping[str, Sequence[Run]]) -> Released | None:
    """None where no run is scored under the released mask."""
    scored = {line: [run.job.folder for run in runs if run.job.mask is not None] for line, runs in stands.items()}
    return Released.of(scored, study.spec.metrics) if any(scored.values()) else None


def _measured(runs: Sequence[Run]) -> tables.MethodScores:
    job = runs[0].job
    return collect(job.row, [run.job.seed for run in runs], job.runs)


def baseline_line(baseline: str, cells: Sequence[Cell]) -> str:
    """The line that others are compared with: of that name, else the first of that row."""
    line = line_of(baseline, cells)
    assert line is not None
    return line


def _write(table: Table, path: Path) -> None:
    if table.frame is not None:
        table.frame.write_parquet(path.with_name(f"{path.name}.parquet"))
        path.with_name(f"{path.name}.tex").write_text(table.latex, encoding="utf-8")
    if table.released is not None:
        table.released.frame.write_parquet(path.with_name(f"{path.name}-released-mask.parquet"))
        path.with_name(f"{path.name}-released-mask.svg").write_text(table.released.svg, encoding="utf-8")
    for made in table.against:
        made.frame.write_parquet(path.with_name(f"{path.name}-{made.file}.parquet"))
        path.with_name(f"{path.name}-{made.file}.md").write_text(made.markdown, encoding="utf-8")
    path.with_name(f"{path.name}.md").write_text(table.markdown, encoding="utf-8")


def _text(study: Study, results: Results) -> str:
    parts = [f"# {study.spec.name}\n", *(f"{remark}\n" for remark in results.remarks)]
    groups = {table.title: table.frame for table in results.tables if table.frame is not None}
    if len(groups) > 1:
        parts.append(f"## Over all tables\n\n{_overview(study, results, groups)}")
    parts += [f"## {table.title}\n\n{table.markdown}" for table in results.tables]
    if results.settings is not None:
        parts.append(f"## Settings\n\n{results.settings.markdown}")
    if len(results.shared):
        parts.append(f"## Before the runs\n\n{_before(results.shared)}")
    if results.failed:
        lines = (f"- {name}: {reason}\n" for name, reason in results.failed.items())
        parts.append(f"## Failed\n\n{''.join(lines)}")
    return "\n".join(parts)


def _overview(study: Study, results: Results, groups: Mapping[str, pl.DataFrame]) -> str:
    first = study.spec.metrics[0]
    signs = f"{tables.metric_label(first)}; ▲ better, ▼ worse than {study.spec.baseline} (with its own options) at 5 % after Holm within a table; "
    signs += "controls have no sign.\n"
    parts = [tables.markdown(*overview.side_by_side(groups, first)), signs]
    counted = (
        f"Better, worse: at 5 % after Holm within a family of one table, by {tables.metric_label(first)}. Counts and means over "
        "tables are no test: tables may share data, and one in twenty would differ by chance.\n"
    )
    if not study.spec.options:  # with options, tables may have baselines of different names
        parts.append(tables.markdown(*tables.summary_text(tables.summary_table(groups))))
    each = [[made.frame for made in table.against] for table in results.tables if table.against]
    if each:
        pairs = overview.pairs_summary([pl.concat(frames) for frames in each])
        headers, cells = tables.summary_text(pairs)
        parts.append(tables.markdown(["pair", *headers[1:]], cells))
    return "\n".join([*parts, counted])


def _before(shared: pl.DataFrame) -> str:
    drawn = [
        [split, folder, "–" if seconds is None else f"{seconds:,.1f}", f"{mib:,.1f}"]
        for split, folder, seconds, mib in shared.iter_rows()
    ]
    said = "Made once a split and shared by its runs; not in `s / run`. –: not measured, or gone on with after a break."
    return f"{tables.markdown(['split', 'folder', 's', 'MiB'], drawn)}\n{said}\n"


def _settings(study: Study) -> Settings | None:
    if study.spec.tuned is None:
        return None
    best = read_best(study.spec.tuned)
    headers, cells, spaces = found_cells(best, {cell.searched for cell in study.cells})
    budget = f"Found by search {best.search!r} on validation pairs alone, every trial with seed {best.seed}."
    return Settings(headers, cells, [budget, *spaces])
