"""Figure of judges: identification, by their suspects, of train items that were hidden from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hardneg import artifacts
from hardneg.data import noise as noises
from hardneg.data import split as splits
from hardneg.diagnostics.identification import Identification, measure_identification
from hardneg.evaluation import compare_users, holm
from hardneg.judging.suspects import read_suspects
from hardneg.report.figure_data import FigureData
from hardneg.report.tables import BETTER, SIGNIFICANT, UNDECIDED, WORSE
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.figures.panel import Panel, half_width, points_frame
from hardneg.studies.recipes import slug

CHANCE = 0.5


def draw_identification(panels: Sequence[Panel], _: FigureSpec, key: str) -> Iterator[FigureData]:
    """Yield a chart of every split with hidden pairs: the AUC of each judge, the mean over users."""
    for panel in {panel.split: panel for panel in panels}.values():
        measured = _measure_judges(panel)
        if measured:
            yield _draw(panel, measured, f"{key}-{slug(panel.split)}")


def _measure_judges(panel: Panel) -> dict[str, Identification]:
    """Return judge -> measurement, for suspects that are made."""
    study, folder = panel.study, panel.study.plan.split_dir(panel.split)
    if not (folder / noises.NOISE_FILE).is_file():
        return {}
    split, hidden = splits.read_split(folder), noises.read_noise(folder).hidden
    measured: dict[str, Identification] = {}
    for name in study.spec.suspects:
        entry = study.spec.entry("suspects", name)
        made = None if entry is None else study.plan.artifact(panel.split, entry).folder
        if made is not None and artifacts.is_artifact(made):
            result = measure_identification(read_suspects(made, split), hidden)
            measured |= {name: result} if len(result.users) > 1 else {}
    return measured


def _draw(panel: Panel, measured: dict[str, Identification], key: str) -> FigureData:
    tests = [compare_users(one.auc, np.full(len(one.auc), CHANCE)) for one in measured.values()]
    rows, sentences = list[dict[str, object]](), list[str]()
    for (name, one), test, p in zip(measured.items(), tests, holm([test.p for test in tests]), strict=True):
        side = BETTER if test.mean > 0 else WORSE
        verdict = side if p < SIGNIFICANT else UNDECIDED
        margin = half_width(one.auc.std(ddof=1), len(one.auc))
        mean = float(one.auc.mean())
        rows.append(
            {
                "series": "AUC",
                "x_name": name,
                "value": mean,
                "low": mean - margin,
                "high": mean + margin,
                "verdict": verdict,
            }
        )
        words = {BETTER: "above chance", WORSE: "below chance", UNDECIDED: "not significantly different from chance"}
        shares = f"labels {one.liked_hidden:.0%} of hidden and {one.liked_others:.0%} of other candidates as liked"
        sentences.append(f"{name}: AUC {mean:.3f}, {words[verdict]}; it {shares}.")
    users = max(len(one.users) for one in measured.values())
    conclusion = " ".join(sentences)
    note = (
        "AUC: share of pairs of a hidden train item and another candidate of the same user in which the judge scores the "
        f"hidden one higher; mean over up to {users:,} users with 95 % intervals. Filled marks differ significantly from "
        "chance (0.5), t-test over users, Holm over the judges."
    )
    title = f"Identification of hidden items: {panel.split}"
    return FigureData(key, title, "dots", "AUC, 0.5 is chance", "", conclusion, note, points_frame(rows))
