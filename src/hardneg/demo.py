"""The demo: simulated data, every sampler, three seeds, a table and an HTML page."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl

from hardneg import pipeline, studies
from hardneg.data import Split, SplitConfig, simulate
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.truth import Truth
from hardneg.diagnostics import uniform_false_negative_rate
from hardneg.diagnostics.sampled_negatives import NEAREST_ITEM
from hardneg.evaluation import compare_methods, holm
from hardneg.mining import RetrievalConfig
from hardneg.models import LightGCN
from hardneg.pipeline import RunConfig
from hardneg.report import printers, tables
from hardneg.report.page import Page, ShownPair, ShownUser, render
from hardneg.report.tables import MethodScores, find_row
from hardneg.sampling import DNS, MixGCF, SamplerConfig, Semantic, Uniform
from hardneg.studies import Row, RunEnded
from hardneg.text import sentence_encoder, titles
from hardneg.text.profiles import Profiles, read_profiles
from hardneg.training import FitConfig
from hardneg.types import Progress

METRICS = ("ndcg@20", "recall@20")
BASELINE, SEMANTIC, CONTROL = "uniform", "semantic (retrieved, MiniLM)", "semantic (random vectors, control)"
MATCHED = ", norms matched"
SIGNIFICANT = 0.05
FIT = FitConfig(epochs=150, batch_size=1024, learning_rate=5e-3, l2=1e-2, check_every=3, patience=8, select="ndcg@20")
SPLIT = SplitConfig(by="ratio", train=0.7, valid=0.1, test=0.2)
"""A fifth of the pairs is for the test, since a small dataset needs them to distinguish methods."""
PROJECTOR = 64
"""Hidden size of the projector of the semantic rows, equal to the embedding size."""
EXAMPLE_PAIRS = 3
EXAMPLE_ROWS = (BASELINE, "DNS", "MixGCF", SEMANTIC)
LEAD = (
    "LightGCN is trained on simulated data with each negative sampler in turn, all else equal. Every number "
    "comes from test pairs that nothing else has read; the epoch is chosen on validation pairs."
)
NOTES = [
    "Mean ± standard deviation over seeds. The interval resamples users and seeds together; p is adjusted (Holm) over "
    "the rows of this table. Users won, tied, lost: whose mean over seeds is higher, equal, lower than with uniform.",
    "“false negatives” is the mean probability that a user likes a sampled negative, which is known for simulated data. "
    "For vectors it is that of the items they are mixed from, and “nearest item is a false negative” is that of the "
    "unobserved item nearest to the vector.",
    "No language model is used: text negatives are retrieved with the packaged MiniLM sentence encoder, and "
    "profiles are extracts of train data.",
    "The control has Gaussian noise in place of the text vectors: the same lengths, and the same vector wherever the text "
    "row has the same. It is drawn once for all seeds. What the text row gains over it is what text contributes.",
    "Simulated data show how the tools work and support no claim about real shops; docs/results has those.",
]


@dataclass(frozen=True)
class Demo:
    """Results of the demo: the table, the answers and the page."""

    headers: list[str]
    cells: list[list[str]]
    answers: list[tuple[str, str]]
    frame: pl.DataFrame
    page: Path


def run_demo(
    out: Path,
    *,
    text: simulate.TextQuality = "informative",
    seeds: int = 3,
    workers: int = 2,
    progress: Progress | None = None,
    finished: RunEnded | None = None,
) -> Demo:
    """Simulate, split, extract profiles, retrieve negatives, train, evaluate and report.

    Artifacts that are finished in `out` are not made again.
    """
    settings = simulate.PRESETS[text]
    dataset, split_folder = out / "dataset", out / "split"
    pipeline.simulate_stage(settings).run(dataset)
    data = splits.read_split(pipeline.split_stage(dataset, SPLIT).run(split_folder))
    written = read_profiles(pipeline.extract_profiles_stage(split_folder).run(out / "profiles"))
    pipeline.retrieve_stage(split_folder, out / "profiles", RetrievalConfig(), sentence_encoder(), progress).run(
        out / "negatives" / "retrieved"
    )
    pipeline.random_negatives_stage(split_folder, out / "negatives" / "retrieved", seed=0).run(
        out / "negatives" / "random"
    )
    rows, chosen = demo_rows(out / "negatives"), range(seeds)
    runs = out / "runs"
    measured = studies.run_rows(split_folder, rows, chosen, runs, truth=dataset, workers=workers, ended=finished)
    frame = tables.comparison_table(measured, BASELINE, METRICS)
    headers, cells = printers.comparison_text(frame, METRICS, BASELINE)
    truth = pipeline.truth_of(dataset, split_folder)
    page = Page(
        title="Do hard negatives help, and do negatives chosen by text?",
        lead=LEAD,
        answers=answers(measured, frame, uniform_false_negative_rate(truth, data.train)),
        headers=headers,
        cells=cells,
        notes=NOTES,
        curves=pl.concat([studies.read_curves(row, chosen, runs) for row in rows]),
        metric=METRICS[0],
        false_negatives=_false_negatives_by_epoch(rows, chosen, runs),
        users=example_users(data, written, truth, [row for row in rows if row.name in EXAMPLE_ROWS], runs),
        facts=_facts(data, settings, seeds),
    )
    frame.write_parquet(out / "table.parquet")
    (out / "table.md").write_text(printers.markdown(headers, cells), encoding="utf-8")
    (out / "report.html").write_text(render(page), encoding="utf-8")
    return Demo(headers, cells, page.answers, frame, out / "report.html")


def demo_rows(negatives: Path) -> list[Row]:
    """Return the rows of the table: every sampler, and the control of the semantic one."""

    def row(name: str, sampler: SamplerConfig, folder: str | None = None) -> Row:
        config = RunConfig(model=LightGCN(), sampler=sampler, fit=FIT)
        return Row(name, config, {} if folder is None else {"negatives": negatives / folder})

    return [
        row(BASELINE, Uniform()),
        row("DNS", DNS(candidates=10)),
        row("MixGCF", MixGCF(candidates=16)),
        row(SEMANTIC, Semantic(hidden_size=PROJECTOR, match_norm=False), "retrieved"),
        row(CONTROL, Semantic(hidden_size=PROJECTOR, match_norm=False), "random"),
        row(SEMANTIC + MATCHED, Semantic(hidden_size=PROJECTOR), "retrieved"),
        row(CONTROL + MATCHED, Semantic(hidden_size=PROJECTOR), "random"),
    ]


def answers(rows: list[MethodScores], frame: pl.DataFrame, uniform_rate: float) -> list[tuple[str, str]]:
    """Return the three questions of the page with answers computed from the results.

    frame: the table of the page. A verdict is "better" or "worse" where p is below 0.05. Against uniform, p is that of
    the table; against the controls it is adjusted (Holm) over the two comparisons.
    """
    metric = METRICS[0]
    against = {
        r["row"]: _describe_difference(r["relative"], r["p_holm"])
        for r in frame.iter_rows(named=True)
        if r["row"] != BASELINE
    }
    values = {row.name: row.values[metric] for row in rows}
    gains = [compare_methods(values[SEMANTIC + form], values[CONTROL + form]) for form in ("", MATCHED)]
    adjusted = holm([gain.p for gain in gains])
    literal, matched = (_describe_difference(gain.relative, p) for gain, p in zip(gains, adjusted, strict=True))
    rates = {row.name: _mean_rate(row) for row in rows}
    return [
        (
            "Do hard negatives help here?",
            " ".join(f"{name} against uniform: {against[name]}." for name in ("DNS", "MixGCF")),
        ),
        (
            "Do negatives chosen by text help?",
            f"As in the paper: {against[SEMANTIC]} against uniform, {literal} against the same method with random vectors. "
            f"With norms matched: {against[SEMANTIC + MATCHED]} against uniform, {matched} against random vectors.",
        ),
        (
            "How many sampled negatives are false negatives?",
            f"{rates[BASELINE]:.1%} of the uniform ones ({uniform_rate:.1%} by calculation), {rates['DNS']:.1%} of what "
            f"DNS chose, {rates['MixGCF']:.1%} of what MixGCF mixed, "
            f"{find_row(rows, SEMANTIC).false_negatives['text item']:.1%} of the items that text retrieval named.",
        ),
    ]


def _mean_rate(row: MethodScores) -> float:
    return float(np.mean([rate for part, rate in row.false_negatives.items() if part != NEAREST_ITEM]))


def _describe_difference(relative: float, p: float) -> str:
    verdict = "not significant" if p >= SIGNIFICANT else "better" if relative > 0 else "worse"
    return f"{verdict} ({printers.metric_label(METRICS[0])} {relative:+.1%}, p {printers.p_text(p)})"


def _false_negatives_by_epoch(rows: list[Row], seeds: range, runs: Path) -> pl.DataFrame:
    """Return row, seed, epoch, like_probability: the mean over parts with equal weights, without the nearest item."""
    frames = [studies.read_sampled(row, seeds, runs) for row in rows]
    sources = pl.concat(frames).filter(pl.col("part") != NEAREST_ITEM)
    keys = ["row", "seed", "epoch"]
    return sources.group_by(keys, maintain_order=True).agg(pl.col("like_probability").mean())


def example_users(data: Split, written: Profiles, truth: Truth, rows: list[Row], runs: Path) -> list[ShownUser]:
    """Return history, profile and sampled negatives of a few users, from the runs of seed 0."""
    examples = {row.name: read_parquet(row.folder(runs, 0) / "examples.parquet") for row in rows}
    names = titles(data.texts)
    return [
        _example_user(int(user), data, written, truth, examples, names) for user in pipeline.shown_users(data.train)
    ]


def _example_user(
    user: int, data: Split, written: Profiles, truth: Truth, examples: dict[str, pl.DataFrame], names: list[str]
) -> ShownUser:
    history = data.train.items_of(user)
    own = (pl.col("user") == user) & (pl.col("part") != "uniform item")  # in text rows, only the item named by text
    sampled_items = pl.col("item").unique(maintain_order=True)
    by_positive = {
        row: dict(frame.filter(own).group_by("positive").agg(sampled_items).iter_rows())
        for row, frame in examples.items()
    }
    items = {item for negatives in by_positive.values() for sampled in negatives.values() for item in sampled}
    liked = {names[item]: float(truth.like_probability(np.array(user), np.array(item))) for item in items}
    pairs = [
        ShownPair(
            names[positive], {row: [names[i] for i in pairs.get(positive, [])] for row, pairs in by_positive.items()}
        )
        for positive in history[:EXAMPLE_PAIRS]
    ]
    history_titles = [names[item] for item in history]
    return ShownUser(data.vocabulary.user_ids[user], history_titles, written.users[user], pairs, liked)


def _facts(data: Split, settings: simulate.SimulationConfig, seeds: int) -> list[tuple[str, str]]:
    train = data.train
    return [
        ("data", f"simulated, {settings.text} item texts: {train.n_users:,} users, {train.n_items:,} items"),
        (
            "pairs",
            f"{len(train):,} train, {len(data.valid):,} valid, {len(data.test):,} test (ratio split, seed {SPLIT.seed})",
        ),
        ("model", f"LightGCN, size 64, 3 hops, mean pooling; projector size {PROJECTOR}"),
        (
            "training",
            ", ".join(
                f"{name.replace('_', ' ')} {value}" for name, value in FIT.model_dump().items() if name != "seed"
            ),
        ),
        ("seeds", f"{seeds} (0 to {seeds - 1})"),
        ("protocol", "all items ranked, observed train pairs masked and nothing else, test pairs scored once a run"),
        ("text negatives", "retrieved with MiniLM; extractive profiles; no language model"),
        ("language model cost", "0 calls, 0 tokens, 0 money"),
        ("made with", f"hardneg {version('hardneg')}, torch {version('torch')}, Python {platform.python_version()}"),
        ("command", "hardneg demo"),
    ]
