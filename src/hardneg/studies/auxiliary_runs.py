"""Runs of a file that are trained once more on each split, apart from the study's own, since other things are made from them."""

from __future__ import annotations

from pathlib import Path

from pydantic import NonNegativeInt

from hardneg import pipeline
from hardneg.config import Config
from hardneg.pipeline import RunConfig
from hardneg.studies.build_times import timed
from hardneg.studies.runs import by_epoch, slug
from hardneg.types import Progress


class RunSpec(Config):
    """A model and a row of the file; with the settings that the row has on the split."""

    model: str
    """A name under `models`."""
    row: str
    """A name under `rows`. Of a row with several lines it is the first."""
    seed: NonNegativeInt = 1000
    """Of its training; none of a study's own, whose runs would start from the same tables."""

    @property
    def run_name(self) -> str:
        """As a folder's name."""
        return f"{slug(self.model)}-{slug(self.row)}-seed{self.seed}"


def run_folder(shared: Path, spec: RunSpec) -> Path:
    """Where it lies in the shared folder of a split."""
    return shared / f"run-{spec.run_name}"


def train_apart(
    split: Path, shared: Path, spec: RunSpec, config: RunConfig, *, what: str, device: str, progress: Progress | None
) -> Path:
    """Train the run into a shared folder of the split, where it does not stand; returns the run folder.

    config: settings of the row. what: the run is, for the progress.
    """
    run, fit = run_folder(shared, spec), config.fit.model_copy(update={"seed": spec.seed})
    watch = None if progress is None else by_epoch(what, fit.epochs, progress)
    with timed(run):
        pipeline.train_stage(split, config.model_copy(update={"fit": fit}), device=device, watch=watch).run(run)
    return run
