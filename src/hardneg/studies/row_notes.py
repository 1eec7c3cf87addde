"""Notes beside a row of a table: what misleads a reader who sees its numbers alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.evaluation.significance import MIN_SEEDS
from hardneg.pipeline import EVALUATION, RUN, SuspectsUse
from hardneg.pipeline.epoch_limit import STILL_RISING
from hardneg.pipeline.inference import BELOW
from hardneg.pipeline.suspect_use import many_suspects_warning
from hardneg.report import tables
from hardneg.report.tables import MethodScores

BELOW_UNIFORM = "below uniform"
FALLBACKS = {
    "pairs without a vector": ("pairs", "of pairs without a vector"),
    "positives without a neighbour": ("pairs mixed with a neighbour", "of positives without a neighbour"),
}
"""Note of a run with a number of missing inputs -> note with their total, and what to say of the share."""


def describe_runs(folders: Sequence[Path], trained: Sequence[Path]) -> tuple[str, ...]:
    """Return the notes of a row: too few seeds, the limit of epochs, missing inputs, popularity.

    folders: its finished runs, one a seed. trained: the runs behind them, where these are fused with text.
    """
    few = (f"{len(folders)} seed{'s' * (len(folders) > 1)}, not tested",) if len(folders) < MIN_SEEDS else ()
    return few + describe_fits(folders, trained)


def describe_fits(folders: Sequence[Path], trained: Sequence[Path]) -> tuple[str, ...]:
    """Return the notes of `describe_runs` that do not depend on the number of seeds."""
    return tuple(_describe(folders, [artifacts.read_manifest(folder, RUN) for folder in trained if folder.is_dir()]))


def _describe(folders: Sequence[Path], manifests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rising = [manifest["config"]["fit"]["epochs"] for manifest in manifests if STILL_RISING in manifest["notes"]]
    if rising:
        yield f"{STILL_RISING} at epoch {max(rising)}, the limit, in {len(rising)} of {len(manifests)} seeds"
    for name, (total, text) in FALLBACKS.items():
        missing, all_of_them = (sum(manifest["notes"].get(key, 0) for manifest in manifests) for key in (name, total))
        if missing:
            yield f"{missing / all_of_them:.1%} {text}"
    evaluations = [artifacts.read_manifest(folder / EVALUATION, EVALUATION)["notes"] for folder in folders]
    if all(BELOW in notes for notes in evaluations):
        yield BELOW


def describe_suspects(folder: Path | None, use: SuspectsUse | None) -> tuple[str, ...]:
    """Return the note of a row whose judge calls most candidates liked."""
    warning = "" if folder is None or use is None else many_suspects_warning(folder, use)
    return (warning,) if warning else ()


def find_below_uniform(pairs: Sequence[tuple[MethodScores, MethodScores]], metric: str) -> set[str]:
    """Return the rows that are significantly worse than `uniform`, after Holm over these pairs of (row, uniform)."""
    frame = tables.pairwise_table(pairs, (metric,))
    return set() if frame.is_empty() else set(frame.filter(verdict=tables.WORSE)["row"])
