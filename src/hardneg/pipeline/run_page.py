"""The HTML page of one evaluated run: metrics, curves, groups of users and items, what it was made from, and users."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts, storage
from hardneg.data.dataset import read_parquet
from hardneg.data.split import read_split
from hardneg.errors import ConfigError, HardnegError
from hardneg.evaluation import evaluate_parts, group_by_history, group_by_popularity
from hardneg.pipeline.explorer import explore_split
from hardneg.pipeline.inference import (
    BELOW,
    EVALUATION,
    POPULARITY,
    find_evaluation,
    find_run_split,
    named_split,
    read_run,
)
from hardneg.pipeline.training import RUN
from hardneg.report import figures, printers
from hardneg.report.page import PageSection, PageTable, ReportPage, render_report
from hardneg.speeds import SLOWER

WARNINGS = (BELOW, "still rising", "mostly empty", SLOWER)
"""Notes of a run or an evaluation that its page shows first."""


def write_run_page(run_dir: Path, out: Path | None = None, split_dir: Path | None = None) -> Path:
    """Write the page of an evaluated run and return its path.

    out: RUN.html beside the run by default, since a run folder holds nothing but the run. split_dir: its split, None for
    the one that the run names; without it, groups and explorer are left out, with the reason on the page. Raises
    ConfigError where the run is not evaluated.
    """
    path = out or run_dir.resolve().with_name(f"{run_dir.resolve().name}.html")
    storage.replace_file(path, render_report(run_page(run_dir, split_dir)).encode())
    return path


def run_page(run_dir: Path, split_dir: Path | None = None) -> ReportPage:
    """Return the page of an evaluated run; see `write_run_page`."""
    manifest = artifacts.read_manifest(run_dir, RUN)
    if not artifacts.is_artifact(run_dir / EVALUATION):
        named = split_dir or named_split(run_dir) or "SPLIT"
        command = shlex.join(["hardneg", "evaluate", str(run_dir), "--split", str(named)])
        raise ConfigError(f"found no evaluation in {run_dir}, expected an evaluated run; run {command}")
    folder = find_evaluation(run_dir)
    notes = manifest["notes"] | artifacts.read_manifest(folder, EVALUATION)["notes"]
    metrics = read_parquet(folder / "metrics.parquet").with_columns(name=pl.format("{}@{}", "metric", "k"))
    values: dict[str, float] = dict(metrics.select("name", "value").iter_rows())
    sections, explorer = [_test_section(values, notes), *_curves(run_dir, manifest)], {}
    try:
        split_dir = find_run_split(run_dir, split_dir)
        sections.append(_groups(run_dir, split_dir, tuple(values)))
        explorer = {"splits": [explore_split(split_dir.name, split_dir, {run_dir.name: run_dir})]}
    except HardnegError as error:
        sections.append(PageSection("groups", "Groups and explorer", remarks=[f"Left out: {error}."]))
    n_users = len(read_parquet(folder / "per_user.parquet"))
    lead = f"Means over {n_users:,} users with test pairs; all items are ranked, train pairs are masked."
    return ReportPage(
        run_dir.resolve().name, lead, _verdicts(values, notes), [*sections, *_origin(run_dir, manifest)], explorer
    )


def _verdicts(values: Mapping[str, float], notes: Mapping[str, Any]) -> list[str]:
    """Return the main value beside that of the most popular items, and the warnings."""
    metric = next(
        (name for name in ("ndcg@20", *values) if name in values and name.startswith("ndcg")), next(iter(values))
    )
    text = f"{printers.metric_label(metric)} {values[metric]:.4f}"
    if (popular := notes.get(POPULARITY, {}).get(metric)) is not None:
        text += f"; the most popular items reach {popular:.4f}"
    return [f"{text}.", *(f"Warning: {name}: {notes[name]}." for name in WARNINGS if name in notes)]


def _test_section(values: Mapping[str, float], notes: Mapping[str, Any]) -> PageSection:
    popular = notes.get(POPULARITY, {})
    cells = [
        [printers.metric_label(name), f"{value:.4f}", f"{popular[name]:.4f}" if name in popular else printers.NO_VALUE]
        for name, value in values.items()
    ]
    table = PageTable(
        "Metrics on test pairs; those of the most popular items where known", ["metric", "run", "popularity"], cells
    )
    return PageSection("metrics", "Results on test pairs", tables=[table])


def _curves(run_dir: Path, manifest: Mapping[str, Any]) -> Iterator[PageSection]:
    """Yield the learning curve of a trained run, or the validation values of the weights of another."""
    curve, notes = read_parquet(run_dir / "metrics.parquet").filter(pl.col("split") == "valid"), manifest["notes"]
    if "weight" in curve.columns:
        cells = [
            [
                f"{row['weight']:g}" if math.isfinite(row["weight"]) else printers.NO_VALUE,
                printers.metric_label(row["metric"]),
                f"{row['value']:.4f}",
            ]
            for row in curve.rows(named=True)
        ]
        table = PageTable(
            "Validation value of every weight, – without one; the highest was chosen",
            ["weight", "metric", "value"],
            cells,
        )
        yield PageSection("training", "On validation pairs", tables=[table])
        return
    select = manifest["config"].get("fit", {}).get("select", "")
    own = curve.filter(pl.col("metric") == select)
    if own.is_empty():
        return
    costs = storage.read_json(run_dir / "costs.json")
    rate = costs["seconds"] / max(notes["epochs"], 1)
    frame = own.select(pl.lit(run_dir.name).alias("row"), "epoch", "value", (pl.col("epoch") * rate).alias("seconds"))
    drawn = figures.curve_figures(frame, select, {run_dir.name: 1}, "run")
    lead = f"Best epoch {notes['best epoch']} of {notes['epochs']}, chosen by validation {printers.metric_label(select)}; {costs['seconds']:,.1f} s."
    yield PageSection("training", "Training", lead, figures=drawn)


def _groups(run_dir: Path, split_dir: Path, metrics: tuple[str, ...]) -> PageSection:
    """Return the metrics of groups of test pairs, by popularity of the item and by history of the user."""
    split, run = read_split(split_dir), read_run(run_dir)
    groups = {
        "popularity of the item": group_by_popularity(split.train, split.test),
        "history of the user": group_by_history(split.train, split.test),
    }
    parts = [group.pairs for own in groups.values() for group in own]
    scores = iter(evaluate_parts(run.score(), parts, run.seen, metrics=metrics))
    headers = ["group", "users", "pairs", *map(printers.metric_label, metrics)]
    tables = []
    for name, own in groups.items():
        cells = []
        for group in own:
            evaluation = next(scores)
            means = [f"{evaluation.means()[metric]:.4f}" for metric in metrics]
            cells.append([group.name, f"{len(evaluation.users):,}", f"{len(group.pairs):,}", *means])
        tables.append(PageTable(f"By {name}, in train pairs; only the group's pairs count as relevant", headers, cells))
    return PageSection("groups", "Groups", tables=tables)


def _origin(run_dir: Path, manifest: Mapping[str, Any]) -> Iterator[PageSection]:
    """Yield inputs, notes, settings, versions and commands."""
    notes = {name: value for name, value in manifest["notes"].items() if name not in WARNINGS}
    cells = [[f"input: {name}", f"SHA-256 {digest[:16]}…"] for name, digest in manifest["inputs"].items()]
    cells += [[name, value if isinstance(value, str) else json.dumps(value)] for name, value in notes.items()]
    cells += [[f"cost: {name}", json.dumps(value)] for name, value in storage.read_json(run_dir / "costs.json").items()]
    cells += [[f"version: {name}", str(version)] for name, version in manifest["versions"].items()]
    table = PageTable("Inputs, notes, costs and versions", ["name", "made from"], cells)
    yield PageSection("origin", "What it was made from", tables=[table])
    yield PageSection("settings", "Settings", code=json.dumps(manifest["config"], indent=2))
    commands = [("recommend", run_dir, "--user", "USER_ID"), ("report", run_dir)]
    yield PageSection(
        "commands", "Commands", code="\n".join(f"hardneg {shlex.join(map(str, words))}" for words in commands)
    )
