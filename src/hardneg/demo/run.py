"""The demo from simulation to the table and the page."""

from __future__ import annotations

import platform
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import polars as pl

from hardneg import pipeline, studies
from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.data.simulate import TextQuality
from hardneg.demo import comparison
from hardneg.demo.comparison import BASELINE, METRICS, PROJECTOR, answers, demo_rows, named_row
from hardneg.demo.examples import EXAMPLE_ROWS, example_replies, example_users
from hardneg.demo.folders import SPLIT, DemoFolders
from hardneg.demo.language_model import describe_model, explain_unrecorded, open_recorded
from hardneg.diagnostics import uniform_false_negative_rate
from hardneg.diagnostics.sampled_negatives import NEAREST_ITEM
from hardneg.llm.session import Session
from hardneg.report import printers, tables
from hardneg.report.demo_page import Page, render_demo
from hardneg.report.tables import MethodScores
from hardneg.studies import Row, RunEnded
from hardneg.text.profiles import read_profiles
from hardneg.types import Progress

LEAD = (
    "LightGCN is trained on simulated data with each negative sampler in turn, all else equal. Every number "
    "comes from test pairs that nothing else has read; the epoch is chosen on validation pairs."
)
NOTES = (
    "Mean ± standard deviation over seeds. The interval resamples users and seeds together; p is adjusted (Holm) over "
    "the rows of this table. Users won, tied, lost: whose mean over seeds is higher, equal, lower than with uniform.",
    "“false negatives” is the mean probability that a user likes a sampled negative, which is known for simulated data. "
    "For vectors it is that of the items they are mixed from, and “nearest item is a false negative” is that of the "
    "unobserved item nearest to the vector.",
    "Retrieved negatives are chosen by the packaged MiniLM sentence encoder, and profiles are extracts of train data. "
    "Neither needs a language model.",
    "Each control has Gaussian noise in place of the text vectors of one row: the same lengths, and the same vector "
    "wherever the text row has the same. It is drawn once for all seeds. What the text row gains over it is what text "
    "contributes.",
    "Simulated data show how the tools work and support no claim about real shops; docs/results has those.",
)


@dataclass(frozen=True)
class Demo:
    """Results of the demo: the table, the answers, the model that named negatives, and the page."""

    headers: list[str]
    cells: list[list[str]]
    answers: list[tuple[str, str]]
    language_model: str
    frame: pl.DataFrame
    page: Path


@dataclass(frozen=True)
class _Trained:
    """The finished runs of the demo: rows with their results, seeds and folder."""

    rows: list[Row]
    scores: list[MethodScores]
    seeds: range
    runs: Path


def run_demo(
    out: Path,
    *,
    text: TextQuality = "informative",
    seeds: int = 3,
    workers: int = 2,
    session: Session | None = None,
    progress: Progress | None = None,
    finished: RunEnded | None = None,
) -> Demo:
    """Simulate, split, extract profiles, retrieve and name negatives, train, evaluate and report.

    session: language model that names negatives; None for the recorded replies of the package. Artifacts that are
    finished in `out` are not made again.
    """
    folders, runs = DemoFolders(out, text), out / "runs"
    folders.prepare()
    with nullcontext(session) if session is not None else open_recorded(text, out) as namer:
        folders.make_negatives(namer, progress)
        rows = demo_rows(folders, namer.model.name if namer else None)
        scores = studies.run_rows(
            folders.split, rows, range(seeds), runs, truth=folders.dataset, workers=workers, ended=finished
        )
        frame = tables.comparison_table(scores, BASELINE, METRICS)
        page = _make_page(folders, namer, _Trained(rows, scores, range(seeds), runs), frame)
    frame.write_parquet(out / "table.parquet")
    (out / "table.md").write_text(printers.markdown(page.headers, page.cells), encoding="utf-8")
    (out / "report.html").write_text(render_demo(page), encoding="utf-8")
    return Demo(page.headers, page.cells, page.answers, page.replied_by, frame, out / "report.html")


def _make_page(folders: DemoFolders, session: Session | None, trained: _Trained, frame: pl.DataFrame) -> Page:
    data, profiles = splits.read_split(folders.split), read_profiles(folders.profiles)
    truth = pipeline.truth_of(folders.dataset, folders.split)
    model = session.model.name if session else None
    headers, cells = printers.comparison_text(frame, METRICS, BASELINE)
    rows, seeds, runs = trained.rows, trained.seeds, trained.runs
    shown = [row for row in rows if row.name in (*EXAMPLE_ROWS, named_row(model) if model else None)]
    named_by = explain_unrecorded(folders.text) if session is None else describe_model(session)
    return Page(
        title="Do hard negatives help, and do negatives chosen by text?",
        lead=LEAD,
        answers=answers(trained.scores, frame, uniform_false_negative_rate(truth, data.train), model),
        headers=headers,
        cells=cells,
        notes=[*NOTES],
        curves=pl.concat([studies.read_curves(row, seeds, runs) for row in rows]),
        metric=METRICS[0],
        false_negatives=_false_negatives_by_epoch(rows, seeds, runs),
        users=example_users(data, profiles, truth, shown, runs),
        facts=_facts(data, folders.text, len(seeds), named_by),
        replies=[] if session is None else example_replies(data, truth, session, folders.named(session.model.name)),
        replied_by=named_by,
    )


def _false_negatives_by_epoch(rows: list[Row], seeds: range, runs: Path) -> pl.DataFrame:
    """Return row, seed, epoch, like_probability: the mean over parts with equal weights, without the nearest item."""
    frames = [studies.read_sampled(row, seeds, runs) for row in rows]
    sources = pl.concat(frames).filter(pl.col("part") != NEAREST_ITEM)
    keys = ["row", "seed", "epoch"]
    return sources.group_by(keys, maintain_order=True).agg(pl.col("like_probability").mean())


def _facts(data: Split, text: TextQuality, seeds: int, language_model: str) -> list[tuple[str, str]]:
    train = data.train
    return [
        ("data", f"simulated, {text} item texts: {train.n_users:,} users, {train.n_items:,} items"),
        (
            "pairs",
            f"{len(train):,} train, {len(data.valid):,} valid, {len(data.test):,} test (ratio split, seed {SPLIT.seed})",
        ),
        ("model", f"LightGCN, size 64, 3 hops, mean pooling; projector size {PROJECTOR}"),
        (
            "training",
            ", ".join(
                f"{name.replace('_', ' ')} {value}"
                for name, value in comparison.FIT.model_dump().items()
                if name != "seed"
            ),
        ),
        ("seeds", f"{seeds} (0 to {seeds - 1})"),
        ("protocol", "all items ranked, observed train pairs masked and nothing else, test pairs scored once a run"),
        ("retrieved negatives", "MiniLM; extractive profiles; no language model"),
        ("named negatives", language_model),
        ("made with", f"hardneg {version('hardneg')}, torch {version('torch')}, Python {platform.python_version()}"),
        ("command", "hardneg demo"),
    ]
