"""A comparison of any finished and evaluated runs of one split, over all users and by groups of them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.evaluation import Evaluation, evaluate_parts, group_by_history, group_by_popularity
from hardneg.evaluation.groups import Group
from hardneg.evaluation.metrics import parse_metric
from hardneg.evaluation.significance import MIN_SEEDS
from hardneg.pipeline import EVALUATION, RUN, find_evaluation, read_run
from hardneg.pipeline.inference import require_split_of, scores_hash, test_inputs
from hardneg.report import printers, tables
from hardneg.report.tables import MethodScores
from hardneg.report.verdicts import verdict_words
from hardneg.studies.comparisons import ResultTable
from hardneg.studies.row_notes import describe_fits
from hardneg.studies.runs import scores_of_runs
from hardneg.types import Progress

DEFAULT_METRICS = ("ndcg@20", "recall@20")
ALL = "all"
BY_POPULARITY, BY_HISTORY = "popularity of the held-out item", "history of the user"
OVER = {True: "users and seeds", False: "users"}
"""Enough seeds -> what a test takes for random."""
SIGNS_REMARK = "▲ better, ▼ worse than the baseline, after Holm over the methods and groups of a table."
COMPARISON = (*tables.SIZES, tables.VERDICT, *tables.COUNTS)
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("metric", "grouping", "group", "method"), pl.String),
    **{"users": pl.Int64, "seeds": pl.Int64, "mean": pl.Float64, "sd": pl.Float64, "baseline_mean": pl.Float64},
    **dict.fromkeys(tables.SIZES, pl.Float64),
    **{tables.VERDICT: pl.String, "tested_over": pl.String},
    **dict.fromkeys(tables.COUNTS, pl.Int64),
    **{"seconds": pl.Float64, "notes": pl.String},
}
GroupedValues = dict[str, dict[str, MethodScores]]
"""Group -> method -> values of its users."""


@dataclass(frozen=True)
class ComparedMethod:
    """Runs that differ only in their seed. seeds: None for a run without one."""

    name: str
    folders: tuple[Path, ...]
    seeds: tuple[int | None, ...]

    @property
    def text(self) -> str:
        """The name, and how many runs it has."""
        seeds, several = ", ".join(str(seed) for seed in self.seeds if seed is not None), "s" * (len(self.folders) > 1)
        return f"{self.name}: {len(self.folders)} run{several}" + (f", seed{several} {seeds}" if seeds else "")


@dataclass(frozen=True)
class RunComparison:
    """Finished runs, grouped into methods and compared with one of these.

    frame: a line for every metric, grouping, group and method: users, seeds, mean, standard deviation over seeds, and the
    columns of `tables.comparison_table` from difference to losses, null for the baseline. tested_over: what the test takes
    for random, null without a test. tables: the same as text. conclusions: what is better and worse, by metric.
    """

    baseline: str
    methods: list[ComparedMethod]
    frame: pl.DataFrame
    tables: list[ResultTable]
    conclusions: list[str]
    remarks: list[str] = field(default_factory=list)


def compare_finished_runs(
    runs: Sequence[Path],
    split_dir: Path,
    *,
    metrics: tuple[str, ...] = DEFAULT_METRICS,
    baseline: Path | None = None,
    groups: bool = True,
    progress: Progress | None = None,
) -> RunComparison:
    """Compare runs with the first one, or with `baseline`, one of them.

    Runs that differ only in their seed are one method. Where a method or the baseline has fewer than three seeds, the
    users alone are taken for random. groups: compare by popularity of the held-out item and by history of the user as well;
    all items are ranked again for the former. Holm's families are the methods by one metric, and the methods x groups of
    one grouping by one metric. Raises ConfigError for runs of other splits, or without an evaluation by these metrics.
    """
    base = runs[0] if baseline is None else baseline
    if base.resolve() not in (run.resolve() for run in runs):
        raise ConfigError(f"found baseline {base}, expected one of the runs {', '.join(map(str, runs))}")
    _require_comparable(runs, split_dir, metrics)
    methods, remarks = group_by_method(runs)
    if len(methods) < 2:
        raise ConfigError(f"found one method ({methods[0].text}), expected two at least; give runs with other settings")
    key = artifacts.key_at(base)
    against = next(method.name for method in methods if key in map(artifacts.key_at, method.folders))
    scores = {method.name: _read_scores(method) for method in methods}
    values: dict[str, GroupedValues] = {ALL: {ALL: scores}}
    if groups:
        split = splits.read_split(split_dir)
        popular = group_by_popularity(split.train, split.test)
        values |= {BY_POPULARITY: _values_by_popularity(methods, scores, popular, metrics, progress)}
        values |= {BY_HISTORY: _values_by_history(scores, split, metrics)}
    frame = pl.concat([_compare_values(name, own, against, metrics) for name, own in values.items()])
    overall = [frame.filter(metric=metric, grouping=ALL) for metric in metrics]
    shown = [*overall, *(frame.filter(metric=metrics[0], grouping=name) for name in values if name != ALL)]
    remarks = [*(f"{method.text}." for method in methods), *remarks, *_test_remarks(frame)]
    remarks += [SIGNS_REMARK] if groups else []
    texts = [_table(part, against) for part in shown]
    return RunComparison(against, methods, frame, texts, [_conclude(part, against) for part in overall], remarks)


def _require_comparable(runs: Sequence[Path], split_dir: Path, metrics: tuple[str, ...]) -> None:
    """Raise ConfigError for runs of other splits, and for those whose evaluation is missing or lacks a metric."""
    depths, missing = dict.fromkeys(parse_metric(metric)[1] for metric in metrics), []
    for run in runs:
        require_split_of(run, split_dir)
        if not artifacts.is_artifact(run / EVALUATION):
            missing.append(run)
            continue
        inputs = artifacts.read_manifest(find_evaluation(run), EVALUATION)["inputs"]
        if inputs["test"] != test_inputs(run, split_dir)["test"]:
            raise ConfigError(f"{run} was evaluated on other test pairs than those of {split_dir}; evaluate it again")
        if not set(metrics) <= set(artifacts.read_manifest(run / EVALUATION, EVALUATION)["config"]["metrics"]):
            missing.append(run)
    if missing:
        words = ["hardneg", "evaluate", missing[0], "--split", split_dir, *(w for k in depths for w in ("-k", k))]
        found = ", ".join(map(str, missing))
        raise ConfigError(
            f"found no evaluation by {', '.join(metrics)} in {found}; first run: {shlex.join(map(str, words))}"
        )


def group_by_method(runs: Sequence[Path]) -> tuple[list[ComparedMethod], list[str]]:
    """Group runs that differ only in their seed, in the given order; also return remarks on repeated runs.

    A method has the name of its first folder without "-seedN", with parent folders where names are equal. For runs by
    fusion or reranking, the seed is that of the trained run behind them, which is found if it lies beside them.
    """
    by_settings: dict[str, dict[str, Path]] = {}
    seeds, copies = dict[Path, int | None](), dict[Path, list[str]]()
    for run in runs:
        settings, seed = _settings_and_seed(run)
        same = by_settings.setdefault(json.dumps(settings, sort_keys=True), {})
        key = str(artifacts.key_at(run))
        if key in same:
            copies.setdefault(same[key], []).append(str(run))
        same.setdefault(key, run)
        seeds[run] = seed
    groups = [tuple(same.values()) for same in by_settings.values()]
    names = _distinct_names([folders[0] for folders in groups])
    remarks = [f"Counted once, the same run as {first}: {', '.join(others)}." for first, others in copies.items()]
    return [
        ComparedMethod(name, folders, tuple(seeds[run] for run in folders))
        for name, folders in zip(names, groups, strict=True)
    ], remarks


def _settings_and_seed(run: Path) -> tuple[dict[str, Any], int | None]:
    """Return what determines a run besides its seed, and the seed."""
    manifest = artifacts.read_manifest(run, RUN)
    config, inputs = manifest["config"], dict(manifest["inputs"])
    if "fit" in config:
        fit = {name: value for name, value in config["fit"].items() if name != "seed"}
        return {"config": {**config, "fit": fit}, "inputs": inputs}, config["fit"]["seed"]
    source = _find_source(run, inputs.get("run"))
    if source is None:
        return {"config": config, "inputs": inputs}, None
    inputs["run"], seed = _settings_and_seed(source)
    return {"config": config, "inputs": inputs}, seed


def _find_source(run: Path, digest: str | None) -> Path | None:
    """Return the run beside this one whose scores have this hash; a trained run comes first."""
    if digest is None:
        return None
    beside = (path for path in sorted(run.resolve().parent.iterdir()) if path.is_dir() and path != run.resolve())
    of_kind = [path for path in beside if artifacts.kind_at(path) == RUN and scores_hash(path) == digest]
    return min(of_kind, key=lambda path: not (path / "model.safetensors").is_file(), default=None)


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """Return the last parts of the paths, as few as make them distinct, without "-seedN" at their ends."""
    parts = [[*folder.resolve().parts[1:-1], re.sub(r"-seed\d+$", "", folder.resolve().name)] for folder in folders]
    names = [own[-1] for own in parts]
    for depth in range(2, max(map(len, parts)) + 1):
        repeated = {name for name in names if names.count(name) > 1}
        names = ["/".join(own[-depth:]) if name in repeated else name for name, own in zip(names, parts, strict=True)]
    return [f"{name} ({names[:n].count(name) + 1})" if names.count(name) > 1 else name for n, name in enumerate(names)]


def _read_scores(method: ComparedMethod) -> MethodScores:
    trained = [folder for folder in method.folders if "fit" in artifacts.read_manifest(folder, RUN)["config"]]
    return scores_of_runs(method.name, method.folders, describe_fits(method.folders, trained))


def compare_groups(
    methods: Sequence[ComparedMethod],
    split: Split,
    baseline: str,
    metric: str,
    *,
    by_popularity: bool,
    popular: Sequence[Group] | None = None,
) -> list[ResultTable]:
    """Return tables of groups of finished and evaluated runs of a split, by history of the user.

    by_popularity: also by popularity of the held-out item, for which all items are ranked again; that table is the first.
    popular: its groups, thirds of the train pairs by default. baseline: one of the methods.
    """
    scores = {method.name: _read_scores(method) for method in methods}
    values = {BY_HISTORY: _values_by_history(scores, split, (metric,))}
    if by_popularity:
        groups = group_by_popularity(split.train, split.test) if popular is None else popular
        values = {BY_POPULARITY: _values_by_popularity(methods, scores, groups, (metric,), None), **values}
    return [_table(_compare_values(name, own, baseline, (metric,)), baseline) for name, own in values.items()]


def _values_by_popularity(
    methods: Sequence[ComparedMethod],
    scores: Mapping[str, MethodScores],
    popular: Sequence[Group],
    metrics: tuple[str, ...],
    progress: Progress | None,
) -> GroupedValues:
    """Rank all items again and return the values of each group's pairs."""
    by_popularity: GroupedValues = {group.name: {} for group in popular}
    for done, method in enumerate(methods, start=1):
        runs = [_score_parts(folder, [group.pairs for group in popular], metrics) for folder in method.folders]
        for number, group in enumerate(popular):
            values = {metric: np.stack([parts[number].values[metric] for parts in runs]) for metric in metrics}
            by_popularity[group.name][method.name] = replace(scores[method.name], values=values)
        if progress is not None:
            progress("groups", done, len(methods))
    return by_popularity


def _values_by_history(scores: Mapping[str, MethodScores], split: Split, metrics: tuple[str, ...]) -> GroupedValues:
    """Return the values of each group's users."""
    users, by_history = np.flatnonzero(split.test.counts), GroupedValues()
    for group in group_by_history(split.train, split.test):
        own = np.isin(users, group.pairs.users)
        by_history[group.name] = {
            name: replace(row, values={metric: row.values[metric][:, own] for metric in metrics})
            for name, row in scores.items()
        }
    return by_history


def _score_parts(folder: Path, parts: Sequence[Interactions], metrics: tuple[str, ...]) -> list[Evaluation]:
    run = read_run(folder)
    return evaluate_parts(run.score(), parts, run.seen, metrics=metrics)


def _compare_values(
    grouping: str, by_group: Mapping[str, Mapping[str, MethodScores]], baseline: str, metrics: tuple[str, ...]
) -> pl.DataFrame:
    """Return the lines of a grouping; its methods x groups are Holm's family for each metric."""
    pairs = [
        (row, values[baseline]) for values in by_group.values() for name, row in values.items() if name != baseline
    ]
    lines = []
    for metric in metrics:
        compared = iter(tables.pairwise_table(pairs, (metric,), by_users=True).iter_rows(named=True))
        for group, values in by_group.items():
            for name, row in values.items():
                means = row.values[metric].mean(axis=1)
                line: dict[str, Any] = {"metric": metric, "grouping": grouping, "group": group, "method": name}
                line |= {"users": row.values[metric].shape[1], "seeds": len(means), "mean": float(means.mean())}
                line |= {"sd": float(means.std(ddof=1)) if len(means) > 1 else None}
                line |= {"seconds": float(row.seconds.mean()), "notes": "; ".join(row.notes) or None}
                if name != baseline:
                    enough = min(len(means), len(values[baseline].values[metric])) >= MIN_SEEDS
                    comparison = next(compared)
                    tested = None if comparison[tables.VERDICT] == printers.UNTESTED else OVER[enough]
                    line |= {"baseline_mean": comparison[f"{metric} against"], "tested_over": tested}
                    line |= {column: comparison[column] for column in COMPARISON}
                lines.append(line)
    return pl.DataFrame(lines, schema=SCHEMA)


def _table(frame: pl.DataFrame, baseline: str) -> ResultTable:
    """Return the lines of one metric and grouping as text."""
    metric, grouping = printers.metric_label(frame["metric"][0]), frame["grouping"][0]
    if grouping == ALL:
        return ResultTable(*printers.compared_text(frame, baseline), frame, title=f"{metric}, all users")
    title = f"{metric} by {grouping}: {baseline}, and differences to it"
    return ResultTable(*printers.grouped_text(frame, baseline), frame, title=title)


def _conclude(frame: pl.DataFrame, baseline: str) -> str:
    """Return which methods are better and worse than the baseline by one metric, with their effects."""
    parts = []
    for verdict in (tables.BETTER, tables.WORSE, tables.UNDECIDED, printers.UNTESTED):
        own = frame.filter(pl.col("verdict") == verdict).select("method", "relative").iter_rows()
        methods = ", ".join(f"{name} ({relative:+.1%})" for name, relative in own)
        if methods:
            parts.append(f"{verdict_words(verdict)}: {methods}")
    return f"{printers.metric_label(frame['metric'][0])} against {baseline}: {'; '.join(parts)}."


def _test_remarks(frame: pl.DataFrame) -> list[str]:
    own = frame.filter(pl.col("tested_over") == OVER[False], grouping=ALL)["method"].unique(maintain_order=True)
    if own.is_empty():
        return []
    return [
        f"Fewer than {MIN_SEEDS} seeds, so tested over users alone: {', '.join(own)}. Their p says whether these trained "
        "runs differ, not whether the methods do: the variation between seeds is not in it."
    ]
