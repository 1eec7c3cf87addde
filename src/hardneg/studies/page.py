"""The HTML page of a study, from the files of its folder alone; its splits need not be there."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts, storage
from hardneg.data.dataset import read_parquet
from hardneg.data.split import read_split
from hardneg.errors import DataError, HardnegError
from hardneg.evaluation.released import WARNING
from hardneg.judging import suspects
from hardneg.pipeline import EVALUATION, HELD_OUT, MEASURED, RUN
from hardneg.pipeline.explorer import explore_split
from hardneg.pipeline.inference import find_run_split
from hardneg.report import figures, printers
from hardneg.report.figure_data import FigureData
from hardneg.report.page import PageFigure, PageSection, PageTable, ReportPage, render_report
from hardneg.report.verdicts import verdict_words
from hardneg.studies.comparisons import RELEASED_HEADERS, released_cells
from hardneg.studies.recipes import slug
from hardneg.studies.results import INDEX, RUNS, SHARED, TABLES, shared_cells
from hardneg.studies.run_comparison import SIGNS_REMARK, ComparedMethod, compare_groups
from hardneg.studies.study import Study
from hardneg.studies.written_results import WrittenStudy, WrittenTable

PAGE = "page.html"
STUDY_FILE = "study.yaml"
ORIGINS = ("negatives written by", "neighbours by", "semantic tree of", "text", "device")
"""Notes of a run on what it was made from."""
MOST_SCORES = 5_000_000_000
"""Largest number of scores (runs x users x items) that are computed again for the groups of a table by popularity."""
LEAD = (
    "Every number of the tables is from test pairs, which nothing else has read; epochs and settings were chosen on "
    "validation pairs. “Better” and “worse” mean p < .05 after Holm's correction within a table."
)
CAPTION = (
    "{title}: mean ± standard deviation over seeds, on test pairs. The interval resamples users and seeds together; p is "
    "adjusted (Holm) over the methods of this table, without controls."
)


def write_page(
    folder: Path, out: Path | None = None, *, title: str | None = None, conclusions: Sequence[str] = ()
) -> Path:
    """Write the page of a study folder and return its path. out: FOLDER/page.html by default. title: the study's name.

    conclusions: sentences at the top of the page in place of those of the tables, the most important first.

    The explorer is left out, with the reason on the page, where the splits are not there.

    Where runs have ended since the tables were written, or there are none yet, they are written first, which needs the
    splits of the study. Raises DataError where the folder is not that of a study.
    """
    if not (folder / TABLES / INDEX).is_file() or _has_newer_runs(folder):
        if not (folder / STUDY_FILE).is_file():
            found = f"found no {STUDY_FILE} and no {TABLES}/{INDEX} in {folder}"
            inside = sorted(str(path.parent) for path in folder.glob(f"*/{STUDY_FILE}"))
            hint = f"give the study in it, {inside[0]}" if inside else "check the path"
            raise DataError(f"{found}, expected the folder of a study or of a run; {hint}")
        Study.load(folder / STUDY_FILE, folder).results()
    path = out or folder / PAGE
    storage.replace_file(path, render_report(study_page(folder, title=title, conclusions=conclusions)).encode())
    return path


def _has_newer_runs(folder: Path) -> bool:
    """Return True where a run of a whole study has ended after its tables were written."""
    written = (folder / RUNS).stat().st_mtime if (folder / RUNS).is_file() else 0.0
    return any(path.stat().st_mtime > written for path in folder.glob(f"runs/*/*/*/{EVALUATION}/{artifacts.MANIFEST}"))


def study_page(folder: Path, *, title: str | None = None, conclusions: Sequence[str] = ()) -> ReportPage:
    """Return the page of a study whose tables are written. folder: that with the tables. For the others, see `write_page`."""
    study = WrittenStudy(folder)
    compared = [table for table in study.tables if table.compared]
    verdicts = [f"{table.title}: {table.verdict}" if len(study.tables) > 1 else table.verdict for table in compared]
    sections = [
        *([PageSection("conclusions", "Conclusions", remarks=conclusions[1:])] if conclusions[1:] else []),
        *_study_figures(study),
        *([_overview(study, compared)] if len(compared) > 1 else []),
        *(section for table in study.tables for section in _table_sections(study, table)),
        *_background(study),
    ]
    done, total = (runs.select("folder").n_unique() for runs in (study.finished, study.runs))
    explorer, problems = _explorer(study)
    remarks = [PageSection("explorer-missing", "Explorer", remarks=problems)] if problems else []
    lead = f"{done} of {total} runs are finished. {LEAD}"
    verdicts = list(conclusions[:1]) or verdicts or ["No comparison yet: the baseline has no finished run."]
    if question := study.index.get("question"):
        lead = f"{question} ({study.index['paper']}) {lead}"
    return ReportPage(title or study.index["name"], lead, verdicts, [*sections, *remarks], explorer)


def _study_figures(study: WrittenStudy) -> Iterator[PageSection]:
    """Yield the figures that the study asks for."""
    texts = study.index.get("figures", [])
    drawn = [FigureData.of(one, read_parquet(study.folder / TABLES / f"{one['key']}.parquet")) for one in texts]
    if drawn:
        yield PageSection("figures", "Figures", figures=[figure.page_figure for figure in drawn])


def _overview(study: WrittenStudy, tables: Sequence[WrittenTable]) -> PageSection:
    metric = study.tables[0].metrics[0]
    label = printers.metric_label(metric)
    headers, cells = printers.side_by_side({table.title: table.frame for table in tables}, metric)
    caption = f"{label} of every method in every table: ▲ better, ▼ worse than the baseline; controls have no sign"
    note = "Tables may share data, and one in twenty would differ by chance: counts over tables are no test."
    return PageSection("overview", "Over all tables", tables=[PageTable(caption, headers, cells, [note])])


def _table_sections(study: WrittenStudy, table: WrittenTable) -> Iterator[PageSection]:
    """Yield the section of a table, and one for the pairs beside it."""
    key, remarks = table.key, table.entry["remarks"]
    released = []
    if table.entry["released"]:
        cells = released_cells(table.read("-released-mask"))
        released.append(PageTable(f"Released mask: {WARNING}", RELEASED_HEADERS, cells))
    if not table.compared:
        yield PageSection(key, table.title, tables=released, remarks=remarks)
        return
    metric, frame = table.metrics[0], table.frame
    headers, cells = printers.comparison_text(frame, table.metrics, table.baseline)
    words = [verdict_words(verdict) for verdict in frame["verdict"]]
    cells = [[line[0], word, *line[1:]] for line, word in zip(cells, words, strict=True)]
    shown = PageTable(CAPTION.format(title=table.title), [headers[0], "verdict", *headers[1:]], cells, remarks)
    yield PageSection(key, table.title, table.verdict, [shown, *released], list(_figures(study, table, metric)))
    yield from _groups_section(study, table)
    if table.entry["pairs"]:
        pairs = {title: table.read(f"-{file}") for file, title in table.entry["pairs"].items()}
        yield _pairs_section(table, pairs)


def _figures(study: WrittenStudy, table: WrittenTable, metric: str) -> Iterator[PageFigure]:
    styles = figures.line_styles(table.frame, metric)
    if (effects := figures.effects_figure(table.frame, metric, table.key, baseline=table.baseline)) is not None:
        yield effects
    for cost in _costs(study, table):
        if (figure := figures.cost_figure(table.frame, metric, styles, table.key, cost)) is not None:
            yield figure
    yield from figures.curve_figures(*study.curves(table), styles, table.key)
    if not (rates := study.false_negatives(table)).is_empty():
        folders = [study.study_dir / folder for folder in study.finished_runs(table)["folder"]]
        held_out = any(artifacts.read_manifest(one, RUN)["config"].get(MEASURED) == HELD_OUT for one in folders)
        yield figures.rates_figure(rates, table.key, held_out=held_out)


def _costs(study: WrittenStudy, table: WrittenTable) -> Iterator[figures.CostAxis]:
    """Yield the training time of a table's lines and, where a language model was used, its money, or else its tokens."""
    seconds = dict(table.frame.drop_nulls("seconds").select("row", "seconds").iter_rows())
    yield figures.CostAxis("training time", "s per run", seconds, "Time before the runs is not included.")
    runs = study.finished_runs(table).unique("line", maintain_order=True)
    needed = {run["line"]: artifacts.read_costs(study.study_dir / run["folder"]) for run in runs.rows(named=True)}
    for key, name, unit in (("money", "money", "$"), ("llm_tokens", "language model tokens", "millions")):
        scale = 1e-6 if key == "llm_tokens" else 1.0
        amounts = {line: scale * float(costs[key]) for line, costs in needed.items() if costs.get(key) is not None}
        if any(amounts.values()):
            note = "Needed for the negatives and profiles of a line, once for all of its seeds; 0 without a language model."
            yield figures.CostAxis(name, unit, amounts, note)
            return


def _groups_section(study: WrittenStudy, table: WrittenTable) -> Iterator[PageSection]:
    """Yield the groups of users and items of a table; a remark where the split is not there."""
    runs, key, metric = study.finished_runs(table), f"{table.key}-groups", table.metrics[0]
    folders = {run["line"]: list[tuple[Path, int]]() for run in runs.rows(named=True)}
    for run in runs.rows(named=True):
        folders[run["line"]].append((study.study_dir / run["folder"], run["seed"]))
    methods = [ComparedMethod(line, *zip(*folders[line], strict=True)) for line in table.frame["row"]]
    try:
        split = read_split(find_run_split(methods[0].folders[0]))
        scores = len(runs) * int((split.test.counts > 0).sum()) * split.train.n_items
        ranks = scores <= MOST_SCORES
        shown = compare_groups(methods, split, table.baseline, metric, by_popularity=ranks)
    except HardnegError as error:
        yield PageSection(key, f"{table.title}: groups", remarks=[f"Left out: {error}."])
        return
    remarks = ["The first group has the coldest users or items. " + SIGNS_REMARK]
    if not ranks:
        limit = f"{scores:.1e} scores would have to be computed again, more than {MOST_SCORES:.0e}"
        remarks.append(f"Groups by popularity are left out: {limit}; `hardneg compare` has them.")
    tables = [PageTable(one.title, one.headers, one.cells) for one in shown]
    yield PageSection(key, f"{table.title}: groups", tables=tables, remarks=remarks)


def _pairs_section(table: WrittenTable, pairs: dict[str, pl.DataFrame]) -> PageSection:
    key, metric = f"{table.key}-pairs", table.metrics[0]
    tables, drawn = [], []
    for number, (title, frame) in enumerate(pairs.items()):
        headers, cells = printers.pairwise_text(frame, table.metrics)
        words = [verdict_words(verdict) for verdict in frame["verdict"]]
        cells = [[*line[:2], word, *line[2:]] for line, word in zip(cells, words, strict=True)]
        tables.append(
            PageTable(f"{title}; the pairs are a family of Holm", [*headers[:2], "verdict", *headers[2:]], cells)
        )
        if (figure := figures.effects_figure(frame, metric, f"{key}-{number}")) is not None:
            drawn.append(PageFigure(title, figure.chart, figure.caption))
    total = sum(map(len, pairs.values()))
    significant = sum(int(frame["verdict"].is_in(["better", "worse"]).sum()) for frame in pairs.values())
    lead = f"{significant} of {total} pairs differ significantly in {printers.metric_label(metric)}."
    return PageSection(key, f"{table.title}: pairs", lead, tables, drawn)


def _background(study: WrittenStudy) -> Iterator[PageSection]:
    """Yield what a reader needs in order to judge or repeat the study."""
    open_runs = study.runs.filter(pl.col("status") != "done").unique("folder", maintain_order=True)
    if len(open_runs):
        cells = [[run["folder"], run["status"], run["reason"]] for run in open_runs.rows(named=True)]
        table = PageTable("Runs without a result", ["run", "status", "reason"], cells)
        yield PageSection("missing", "Not finished", tables=[table])
    yield PageSection("origins", "What the lines were made from", tables=[_origins(study)])
    yield from _calibrations(study)
    if (study.folder / SHARED).is_file():
        headers = ["split", "folder", "s", "MiB"]
        cells = shared_cells(read_parquet(study.folder / SHARED))
        caption = "Artifacts made once for each split and shared by its runs, not in s / run; –: not measured"
        yield PageSection("shared", "Before the runs", tables=[PageTable(caption, headers, cells)])
    tuned, file = study.index["settings"], study.study_dir / STUDY_FILE
    tables = [] if tuned is None else [PageTable("Settings that a search found on validation pairs", *tuned)]
    code = file.read_text(encoding="utf-8") if file.is_file() else ""
    yield PageSection("settings", "Settings", tables=tables, remarks=study.index["remarks"], code=code)
    yield PageSection("commands", "Commands", _describe_versions(study), code=_commands(study))


def _explorer(study: WrittenStudy) -> tuple[dict[str, Any], list[str]]:
    """Return the explorer's data, from the first finished run of every line, and why splits are missing from it."""
    shown, problems = [], []
    for split in dict.fromkeys(table.entry["split"] for table in study.tables):
        lines = study.finished.filter(pl.col("split") == split).unique(["model", "line"], maintain_order=True)
        runs = {
            f"{run['line']} ({run['model']}, seed {run['seed']})": study.study_dir / run["folder"]
            for run in lines.rows(named=True)
        }
        runs = {name: folder for name, folder in runs.items() if artifacts.is_artifact(folder)}
        shared = sorted((study.study_dir / "shared" / slug(split)).glob("*"))
        try:
            if runs:
                split_dir = find_run_split(next(iter(runs.values())))
                shown.append(explore_split(split, split_dir, runs, shared))
        except HardnegError as error:
            problems.append(f"No explorer of {split}: {error}.")
    return ({"splits": shown} if shown else {}), problems


def _calibrations(study: WrittenStudy) -> Iterator[PageSection]:
    """Yield the calibration of the judges whose scores have one."""
    cells, curves = [], []
    for folder in sorted((study.study_dir / "shared").glob("*/*")):
        if artifacts.kind_at(folder) != suspects.KIND:
            continue
        notes = artifacts.read_manifest(folder, suspects.KIND)["notes"].get("calibration")
        if notes is not None:
            name = f"{folder.parent.name} / {folder.name}"
            shares = [f"{notes[f'{side} items at least 0.5']:.1%}" for side in ("hidden", "random")]
            cells.append(
                [name, f"{notes['hidden items']:,}", f"{notes['random items']:,}", f"{notes['auc']:.3f}", *shares]
            )
            curves.append((name, notes["curve"]))
    if cells:
        headers = ["judge", "hidden items", "random items", "AUC", "hidden ≥ 0.5", "random ≥ 0.5"]
        caption = "Scores of hidden train items against those of random items; AUC 0.5 is no information"
        drawn = [figures.calibration_figure(curves, "calibration")]
        yield PageSection("judges", "Judges", tables=[PageTable(caption, headers, cells)], figures=drawn)


def _origins(study: WrittenStudy) -> PageTable:
    """Return one line for each line of each table, from its first finished run."""
    cells = []
    for run in study.finished.unique(["split", "model", "line"], maintain_order=True).rows(named=True):
        folder = study.study_dir / run["folder"]
        texts = ["the run is not here"] if not artifacts.is_artifact(folder) else list(_describe_origin(folder))
        costs = [f"{run['best_epoch']} of {run['epochs']}", f"{run['seconds']:,.1f}", f"{run['peak_memory_mib']:,}"]
        costs += list(_describe_llm_costs(folder))
        cells.append([run["line"], run["split"], run["model"], "; ".join(texts), *costs])
    headers = ["line", "split", "model", "made from", "best epoch", "s", "MiB", "LLM tokens", "money ($)"]
    return PageTable(
        "The first finished run of every line: inputs, epochs, seconds, peak memory and costs", headers, cells
    )


def _describe_llm_costs(folder: Path) -> tuple[str, str]:
    """Return tokens and money that language models needed for what a run was made from."""
    costs = artifacts.read_costs(folder)
    tokens, money = costs.get("llm_tokens"), costs.get("money")
    return (
        printers.NO_VALUE if tokens is None else f"{tokens:,}",
        printers.NO_VALUE if money is None else f"{money:,.2f}",
    )


def _describe_origin(folder: Path) -> Iterator[str]:
    manifest = artifacts.read_manifest(folder, RUN)
    config, notes = manifest["config"], manifest["notes"]
    if "sampler" in config:
        yield f"sampler {config['sampler']['kind']}"
    yield from (f"{name} {notes[name]}" for name in ORIGINS if name in notes)
    read = [name for name in manifest["inputs"] if name not in ("training data", "valid")]
    if read:
        yield f"reads {', '.join(read)}"


def _describe_versions(study: WrittenStudy) -> str:
    """Return the versions of the finished runs, in one sentence."""
    folders = [study.study_dir / folder for folder in study.finished["folder"].unique(maintain_order=True)]
    manifests = [artifacts.read_manifest(folder, RUN) for folder in folders if artifacts.is_artifact(folder)]
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()) for manifest in manifests
    )
    return f"Made with {'; '.join(versions)}." if versions else "The folders of the runs are not here."


def _commands(study: WrittenStudy) -> str:
    folder = study.study_dir
    commands: list[tuple[object, ...]] = [("study", "run", folder / STUDY_FILE, "--out", folder)]
    commands.append(("report", study.folder))
    runs = study.finished.sort("valid_value", descending=True, nulls_last=True)
    if len(runs):
        commands.append(("recommend", folder / runs["folder"][0], "--user", "USER_ID"))
    return "\n".join(f"hardneg {shlex.join(map(str, words))}" for words in commands)
