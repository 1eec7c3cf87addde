"""Tables of a study on one split with one model: lines and the baseline, controls, further pairs, the released mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
from hardneg.evaluation.released import WARNING
from hardneg.evaluation.significance import MIN_SEEDS
from hardneg.pipeline import EVALUATION, HELD_OUT, RELEASED, find_evaluation
from hardneg.pipeline.suspect_use import no_suspects_warning
from hardneg.report import plots, printers, tables
from hardneg.sampling import Uniform
from hardneg.studies.cells import Cell
from hardneg.studies.recipes import slug
from hardneg.studies.row_notes import BELOW_UNIFORM, find_below_uniform
from hardneg.studies.runs import collect_scores
from hardneg.studies.spec import StudySpec
from hardneg.training import FitConfig

if TYPE_CHECKING:
    from hardneg.studies.study import PlannedRun, Study

RELEASED_HEADERS = ["row", "metric", "train mask", "RELEASED MASK (not valid)", "the mask alone adds"]
RELEASED_COLUMNS = ["row", "metric", "seeds", "honest", "released_mask", "lift"]


@dataclass(frozen=True)
class ResultTable:
    """A table as text, and its numbers, if they are stored. file: suffix of the names of its files."""

    headers: list[str]
    cells: list[list[str]]
    frame: pl.DataFrame = field(default_factory=pl.DataFrame)
    remarks: list[str] = field(default_factory=list)
    title: str = ""
    file: str = ""

    @property
    def markdown(self) -> str:
        """The table and its remarks."""
        table = printers.markdown(self.headers, self.cells) if self.headers else ""
        return table + "".join(f"\n{remark}\n" for remark in self.remarks)


@dataclass(frozen=True)
class ComparisonTable(ResultTable):
    """The comparison on one split with one model.

    frame: empty where the baseline has no finished run. remarks: what is missing, and other things to know. released: the same
    runs under the released mask, if the study asks for that. pairs: methods against their controls, and further pairs.
    """

    split: str = ""
    model: str = ""
    latex: str = ""
    released: ResultTable | None = None
    pairs: list[ResultTable] = field(default_factory=list)

    @property
    def page(self) -> str:
        """The table, its remarks, and the tables beside it, as Markdown."""
        masked = "" if self.released is None else f"\n**{WARNING}.**\n\n{self.released.markdown}"
        return self.markdown + "".join(map(_pairs_section, self.pairs)) + masked

    def write(self, path: Path) -> None:
        """Write all its files; path: their common beginning."""

        def file(suffix: str) -> Path:
            return path.with_name(path.name + suffix)

        if len(self.frame):
            self.frame.write_parquet(file(".parquet"))
            file(".tex").write_text(self.latex, encoding="utf-8")
        if self.released is not None:
            self.released.frame.write_parquet(file("-released-mask.parquet"))
            file("-released-mask.svg").write_text(_draw_masks(self.released.frame), encoding="utf-8")
        for pairs in self.pairs:
            pairs.frame.write_parquet(file(f"-{pairs.file}.parquet"))
            file(f"-{pairs.file}.md").write_text(_pairs_section(pairs), encoding="utf-8")
        file(".md").write_text(self.page, encoding="utf-8")


def _pairs_section(pairs: ResultTable) -> str:
    return f"\n### {pairs.title}\n\n{pairs.markdown}"


def _draw_masks(frame: pl.DataFrame) -> str:
    figure, (ax,) = plots.new_figure(size=(8.6, 1.3 + 0.27 * frame["row"].n_unique()))
    plots.plot_two_masks(frame, frame["metric"][0], ax=ax)
    return plots.as_svg(figure)


def compare_lines(study: Study, split: str, model: str, finished: Sequence[PlannedRun]) -> ComparisonTable:
    """Compare the lines that have a finished seed; those with too few are not tested."""
    cells = [cell for cell in study.cells if cell.table == (split, model)]
    runs = {cell.line: [run.task for run in finished if run.cell is cell] for cell in cells}
    scored = {line: [task.folder for task in own if task.available_mask() is not None] for line, own in runs.items()}
    released = released_table(scored, study.spec.metrics) if any(scored.values()) else None
    remarks = list(_remarks(study, split, cells, {line: len(own) for line, own in runs.items()}))
    begun = [cell.line for cell in cells if runs[cell.line]]
    base, title = find_line(study.spec.baseline, cells), f"{split}, {model}"
    assert base is not None
    if base not in begun:
        reason = f"No comparison: {base!r} has 0 finished seeds, expected 1 at least."
        remarks = [reason, *remarks]
        return ComparisonTable([], [], remarks=remarks, title=title, split=split, model=model, released=released)
    scores = [
        collect_scores(own[0].row, [task.seed for task in own], own[0].runs_dir)
        for own in (runs[line] for line in begun)
    ]
    scores = mark_below_uniform(scores, cells, study.spec.metrics[0])
    with_controls = pairs_with_controls(cells, base).values()
    controls = [control for pairs in with_controls for _, control in pairs if control in begun]
    frame = tables.comparison_table(scores, base, study.spec.metrics, controls=controls)
    remarks += [f"Controls, outside the family of Holm here: {'; '.join(controls)}."] if controls else []
    return ComparisonTable(
        *printers.comparison_text(frame, study.spec.metrics, base),
        frame,
        remarks,
        title=title,
        split=split,
        model=model,
        latex=printers.latex(frame, study.spec.metrics, base),
        released=released,
        pairs=pair_tables(study.spec, cells, {row.name: row for row in scores}, base),
    )


def _remarks(study: Study, split: str, cells: Sequence[Cell], finished: Mapping[str, int]) -> Iterator[str]:
    """Yield what a reader of one table should know besides the numbers. finished: line -> seeds."""
    for cell in cells:
        done, seeds = finished[cell.line], len(study.seeds(cell))
        if done < seeds:
            yield f"{cell.line}: {done} of {seeds} seeds finished{'' if done else '; left out'}."
    few = [cell.line for cell in cells if 0 < finished[cell.line] < MIN_SEEDS]
    if few:
        yield f"Means only, not tested with fewer than {MIN_SEEDS} seeds: {'; '.join(few)}."
    if study.spec.splits[split].truth == HELD_OUT:
        yield "False negatives here are sampled pairs that are held out: fewer than all items that users would like."
    mask_problem = study.plan.mask_problem(split)
    if mask_problem is not None:
        yield f"No table under the released mask: {mask_problem}."
    for cell in cells:
        yield from _suspect_remarks(study, cell)


def _suspect_remarks(study: Study, cell: Cell) -> Iterator[str]:
    """Yield a remark where the suspects of a line are none."""
    suspects, use = study.plan.artifacts_of(cell).get("suspects"), cell.config.suspects
    if suspects is not None and use is not None and artifacts.is_artifact(suspects.folder):
        warning = no_suspects_warning(suspects.folder, use)  # then the row is the one without suspects
        if warning:
            yield f"{cell.line}: {warning}."


def mark_below_uniform(
    scores: list[tables.MethodScores], cells: Sequence[Cell], metric: str
) -> list[tables.MethodScores]:
    """Return the scores with a note where a line is significantly worse than the row of the sampler `uniform`.

    Of several lines of that row, the one with the same options counts.
    """
    known, plain = {row.name: row for row in scores}, [cell for cell in cells if _is_uniform(cell)]
    pairs = []
    for cell in (cell for cell in cells if cell.line in known and not _is_uniform(cell)):
        same = [other.line for other in plain if _share_options(other, cell)] or [other.line for other in plain]
        pairs += [(known[cell.line], known[line]) for line in same[:1] if line in known]
    below = find_below_uniform(pairs, metric)
    return [replace(row, notes=(*row.notes, BELOW_UNIFORM)) if row.name in below else row for row in scores]


def _is_uniform(cell: Cell) -> bool:
    """Return True where a line is the sampler `uniform` with default candidates and loss, without suspects, anchor or text."""
    config = cell.config
    plain = FitConfig()
    is_plain = (config.sampler, config.fit.loss, config.fit.candidates) == (Uniform(), plain.loss, plain.candidates)
    return is_plain and cell.trains and config.suspects is None and config.anchor is None


def released_table(runs: Mapping[str, Sequence[Path]], metrics: Sequence[str]) -> ResultTable:
    """Return a separate table of finished runs under DTL-NS's released mask, marked as such. runs: line -> their folders.

    frame: row, metric, seeds, mean over seeds under the train mask (honest) and under the released mask, and the gain by the
    released mask as a share of the former (null where that is 0).
    """
    lines = []
    for line, metric in [(line, metric) for line, folders in runs.items() if folders for metric in metrics]:
        honest, released = (_mean(runs[line], evaluation, metric) for evaluation in (EVALUATION, RELEASED))
        lines.append([line, metric, len(runs[line]), honest, released, released / honest - 1 if honest else None])
    frame = pl.DataFrame(lines, schema=RELEASED_COLUMNS, schema_overrides={"lift": pl.Float64}, orient="row")
    return ResultTable(RELEASED_HEADERS, released_cells(frame), frame)


def released_cells(frame: pl.DataFrame) -> list[list[str]]:
    """Return the cells of a table under the released mask. frame: as in `released_table`."""
    return [
        [
            row["row"],
            printers.metric_label(row["metric"]),
            f"{row['honest']:.4f}",
            f"{row['released_mask']:.4f}",
            printers.NO_VALUE if row["lift"] is None else f"{row['lift']:+.1%}",
        ]
        for row in frame.rows(named=True)
    ]


def _mean(folders: Sequence[Path], evaluation: str, metric: str) -> float:
    name, _, k = metric.partition("@")
    is_metric = pl.col("metric") == name, pl.col("k") == int(k)
    frames = [read_parquet(find_evaluation(folder, evaluation) / "metrics.parquet") for folder in folders]
    values = [frame.filter(*is_metric)["value"].item() for frame in frames]
    return float(sum(values)) / len(values)


def pair_tables(
    spec: StudySpec, cells: Sequence[Cell], scores: Mapping[str, tables.MethodScores], baseline: str
) -> list[ResultTable]:
    """Return the tables of pairs beside a table. cells: those of its split and model. scores: lines with finished seeds."""
    groups = [
        (f"{row} against its controls", f"against-controls-{slug(row)}", pairs)
        for row, pairs in pairs_with_controls(cells, baseline).items()
    ]
    own = ((find_line(name, cells), find_line(other, cells)) for name, other in spec.comparisons)
    further = [(line, other) for line, other in own if line is not None and other is not None]
    groups.append(("Further comparisons", "comparisons", further))
    beside = []
    for title, file, pairs in groups:
        known = [(scores[line], scores[other]) for line, other in pairs if line in scores and other in scores]
        if known:
            frame = tables.pairwise_table(known, spec.metrics)
            beside.append(ResultTable(*printers.pairwise_text(frame, spec.metrics), frame, title=title, file=file))
    return beside


def pairs_with_controls(cells: Sequence[Cell], baseline: str) -> dict[str, list[tuple[str, str]]]:
    """Return row -> pairs of its lines and their controls: lines of rows `against` it, or else `tuned_as` it.

    Controls of the baseline's row are left out: the table itself compares them. Where a row has several lines, a control
    belongs to the one with the same options, as far as both have them; fused lines belong to fused ones.
    """
    pairs: dict[str, list[tuple[str, str]]] = {}
    for control in cells:
        own = [cell for cell in cells if cell.row == control.against != control.row and _match(cell, control)]
        if own and control.line != baseline and all(cell.line != baseline for cell in own):
            pairs.setdefault(own[0].row, []).append((own[0].line, control.line))
    return pairs


def _match(cell: Cell, control: Cell) -> bool:
    kind, other = ((one.text_label, one.alone, one.judged, one.popular) for one in (cell, control))
    return kind == other and _share_options(cell, control)


def _share_options(one: Cell, other: Cell) -> bool:
    """Return True where two lines have equal options, as far as both have them."""
    options, others = dict(one.options), dict(other.options)
    return all(options[field] == others[field] for field in options.keys() & others.keys())


def find_line(name: str, cells: Sequence[Cell]) -> str | None:
    """Return the line of that name, else the first of that row; None where there is neither."""
    lines = [cell.line for cell in cells]
    return name if name in lines else next((cell.line for cell in cells if cell.row == name), None)
