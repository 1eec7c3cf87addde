"""Rows of the demo's table, and its questions with answers that are computed from the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from hardneg.demo.folders import DemoFolders
from hardneg.diagnostics.sampled_negatives import NEAREST_ITEM
from hardneg.evaluation import compare_methods, holm
from hardneg.models import LightGCN
from hardneg.pipeline import RunConfig
from hardneg.report import printers
from hardneg.report.tables import MethodScores, find_row
from hardneg.sampling import DNS, MixGCF, SamplerConfig, Semantic, Uniform
from hardneg.studies import Row
from hardneg.training import FitConfig

METRICS = ("ndcg@20", "recall@20")
BASELINE, SEMANTIC, CONTROL = "uniform", "semantic (retrieved, MiniLM)", "semantic (random vectors, control)"
MATCHED = ", norms matched"
SIGNIFICANT = 0.05
TEXT_ITEM = "text item"
"""Part of the negatives of semantic rows: the item that text named."""
FIT = FitConfig(epochs=150, batch_size=1024, learning_rate=5e-3, l2=1e-2, check_every=3, patience=8, select="ndcg@20")
PROJECTOR = 64
"""Hidden size of the projector of the semantic rows, equal to the embedding size."""


def named_row(model: str) -> str:
    """Return the name of the row of negatives that a language model named."""
    return f"semantic (named by {model}){MATCHED}"


def named_control(model: str) -> str:
    """Return the name of the row of their control."""
    return f"semantic (random vectors for {model}, control){MATCHED}"


def demo_rows(folders: DemoFolders, model: str | None) -> list[Row]:
    """Return the rows of the table: every sampler, and a control of every semantic one.

    model: name of the language model, None if there is none.
    """

    def row(name: str, sampler: SamplerConfig, negatives: Path | None = None) -> Row:
        config = RunConfig(model=LightGCN(), sampler=sampler, fit=FIT)
        return Row(name, config, {} if negatives is None else {"negatives": negatives})

    retrieved, random = folders.retrieved, folders.control(folders.retrieved)
    literal, matched = Semantic(hidden_size=PROJECTOR, match_norm=False), Semantic(hidden_size=PROJECTOR)
    rows = [
        row(BASELINE, Uniform()),
        row("DNS", DNS(candidates=10)),
        row("MixGCF", MixGCF(candidates=16)),
        row(SEMANTIC, literal, retrieved),
        row(CONTROL, literal, random),
        row(SEMANTIC + MATCHED, matched, retrieved),
        row(CONTROL + MATCHED, matched, random),
    ]
    if model is not None:
        partial = Semantic(hidden_size=PROJECTOR, allow_empty=True)  # a small model may name few items of the catalogue
        named = folders.named(model)
        rows += [row(named_row(model), partial, named), row(named_control(model), partial, folders.control(named))]
    return rows


def answers(
    rows: list[MethodScores], frame: pl.DataFrame, uniform_rate: float, model: str | None
) -> list[tuple[str, str]]:
    """Return the questions of the page with answers computed from the results.

    frame: the table of the page. model: name of the language model, None if there is none. A verdict is "better" or
    "worse" where p is below 0.05. Against uniform, p is that of the table; against random vectors it is adjusted (Holm)
    over these comparisons.
    """
    against = {
        r["row"]: _describe_difference(r["relative"], r["p_holm"])
        for r in frame.iter_rows(named=True)
        if r["row"] != BASELINE
    }
    controls = {SEMANTIC: CONTROL, SEMANTIC + MATCHED: CONTROL + MATCHED}
    controls |= {} if model is None else {named_row(model): named_control(model)}
    against_random = _describe_gains(rows, controls)
    found = [
        (
            "Do hard negatives help here?",
            " ".join(f"{name} against uniform: {against[name]}." for name in ("DNS", "MixGCF")),
        ),
        (
            "Do negatives chosen by text help?",
            f"As in the paper: {against[SEMANTIC]} against uniform, {against_random[SEMANTIC]} against the same method "
            f"with random vectors. With norms matched: {against[SEMANTIC + MATCHED]} against uniform, "
            f"{against_random[SEMANTIC + MATCHED]} against random vectors.",
        ),
    ]
    if model is not None:
        named = named_row(model)
        share = 1 - (find_row(rows, named).without_vector or 0.0)
        answer = (
            f"Named by {model}, norms matched: {against[named]} against uniform, {against_random[named]} against random "
            f"vectors. {share:.1%} of the pairs have a named item; the others keep a uniform negative."
        )
        found.append(("Do negatives that a language model names help?", answer))
    return [*found, ("How many sampled negatives are false negatives?", _describe_rates(rows, uniform_rate, model))]


def _describe_gains(rows: list[MethodScores], controls: dict[str, str]) -> dict[str, str]:
    """Return how each row differs from its control, adjusted (Holm) over all of them. controls: by row."""
    values = {row.name: row.values[METRICS[0]] for row in rows}
    gains = [compare_methods(values[name], values[control]) for name, control in controls.items()]
    adjusted = holm([gain.p for gain in gains])
    return {
        name: _describe_difference(gain.relative, p) for name, gain, p in zip(controls, gains, adjusted, strict=True)
    }


def _describe_rates(rows: list[MethodScores], uniform_rate: float, model: str | None) -> str:
    rates = {row.name: _mean_rate(row) for row in rows}
    text = (
        f"{rates[BASELINE]:.1%} of the uniform ones ({uniform_rate:.1%} by calculation), {rates['DNS']:.1%} of what "
        f"DNS chose, {rates['MixGCF']:.1%} of what MixGCF mixed, "
        f"{find_row(rows, SEMANTIC).false_negatives[TEXT_ITEM]:.1%} of the items that text retrieval named"
    )
    named = {} if model is None else find_row(rows, named_row(model)).false_negatives
    return text + (f", {named[TEXT_ITEM]:.1%} of those that {model} named." if TEXT_ITEM in named else ".")


def _mean_rate(row: MethodScores) -> float:
    return float(np.mean([rate for part, rate in row.false_negatives.items() if part != NEAREST_ITEM]))


def _describe_difference(relative: float, p: float) -> str:
    verdict = "not significant" if p >= SIGNIFICANT else "better" if relative > 0 else "worse"
    return f"{verdict} ({printers.metric_label(METRICS[0])} {relative:+.1%}, p {printers.p_text(p)})"
