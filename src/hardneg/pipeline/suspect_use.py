"""What a run does with suspects: never serve them, train on them, or both. What is masked is none of its business."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import NonNegativeFloat, model_validator

from hardneg import artifacts
from hardneg.config import Config
from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.judging import suspects
from hardneg.judging.suspects import Suspects
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.sampling import exclude_suspects
from hardneg.training import ExtraPositives

LEFT_ALONE = "users whose suspects stay candidates, because no other would be left"
"""Note of a run: how many."""

OF_POSITIVES = ("weight", "graph")
"""Settings of a use that only positives have."""


class SuspectsUse(Config):
    """How a run uses a suspects folder."""

    use: Literal["exclude", "positives", "both"]
    """Draw no candidate among them; train on them as positives; or both, as DTL-NS does."""
    threshold: suspects.Threshold = suspects.THRESHOLD
    """Probability from which a judged candidate counts as a suspect."""
    weight: NonNegativeFloat = 1.0
    """Of a suspect in the loss, where it is a positive (not with exclude); 1 is a train pair, 0 leaves it out."""
    graph: bool = False
    """Propagate over the suspects as well, as DTL-NS does (not with exclude); a backbone without a graph has none to add
    them to."""

    @model_validator(mode="after")
    def _of_positives(self) -> Self:
        if self.use == "exclude" and (self.graph or self.weight != 1):
            raise ValueError("graph and weight are of suspects that are positives, found use exclude; leave them out")
        return self

    @property
    def excludes(self) -> bool:
        """Are candidates drawn outside them?"""
        return self.use != "positives"

    @property
    def trains(self) -> bool:
        """Are they positives?"""
        return self.use != "exclude"


@dataclass(frozen=True)
class Used:
    """What training takes from suspects; nothing of it reaches a mask.

    graph: what a backbone propagates over. excluded: what candidates are drawn outside of. notes: for the manifest.
    """

    graph: Interactions
    excluded: Interactions
    extra: ExtraPositives | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def use(split: Split, config: SuspectsUse | None, folder: Path | None) -> Used:
    """Read a suspects folder and apply what the run's settings say; without either, train pairs alone.

    The notes also hold what the folder warns of.
    """
    if config is None or folder is None:
        return Used(split.train, split.train)
    found, said = used(split.train, suspects.read_suspects(folder, split), config), warning_of(folder, config)
    return replace(found, notes=found.notes | ({"suspects warning": said} if said else {}))


def warning_of(folder: Path, config: SuspectsUse | None = None) -> str:
    """What whoever uses a suspects folder must be told: held-out pairs decided its labels, labels were put in, a use
    finds no suspect in it; or ""."""
    notes = artifacts.read_manifest(folder, suspects.KIND)["notes"]
    filled = notes.get(suspects.FILLED)
    said = [notes[suspects.WARNING]] if suspects.WARNING in notes else []
    if filled:
        said.append(f"{filled['candidates']:,} candidates without a label are taken for {filled['with']:g}")
    said += [] if config is None else [nothing_in(folder, config)]
    return "; ".join(filter(None, said))


def nothing_in(folder: Path, config: SuspectsUse) -> str:
    """That a use finds no suspect in a folder; "" where it finds some."""
    probability = suspects.read_probabilities(folder)
    most = probability.max(initial=0.0)
    if most >= config.threshold:
        return ""
    return (
        f"none of {len(probability):,} labels reaches {config.threshold:g} (the highest is {most:.3g}): nothing is used"
    )


def used(train: Interactions, judged: Suspects, config: SuspectsUse) -> Used:
    """Apply what the settings say to suspects that were read."""
    pairs = judged.above(config.threshold).pairs(train)
    notes: dict[str, Any] = {"suspects judged by": judged.judge, "suspects used": len(pairs)}
    excluded = train
    if config.excludes:
        exclusion = exclude_suspects(train, pairs)
        excluded = exclusion.pairs
        notes[LEFT_ALONE] = exclusion.unrestricted_users
    extra = ExtraPositives(pairs, config.weight) if config.trains else None
    return Used(union(train, pairs) if config.graph else train, excluded, extra, notes)


def suspect_inputs(folder: Path | None, split_folder: Path) -> dict[str, str]:
    """The hash of a suspects folder, once it is sure that it was judged from this split; nothing without one."""
    return {} if folder is None else {suspects.KIND: hash_of_same_split(folder, suspects.KIND, split_folder)}


def require_both(config: SuspectsUse | None, folder: Path | None) -> None:
    """ConfigError where a folder has no use, or a use no folder."""
    if folder is not None and config is None:
        raise ConfigError(f"found suspects {folder}, but not what for; say exclude, positives or both")
    if config is not None and folder is None:
        raise ConfigError(f"the settings use suspects ({config.use}), but no suspects folder is given; give one")
    if folder is not None:
        artifacts.read_manifest(folder, suspects.KIND)
