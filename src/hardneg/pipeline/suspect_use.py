"""The use of suspects by a run: excluded from the candidates, trained on, or both. Masks never depend on them."""

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
from hardneg.sampling import exclude_suspects
from hardneg.training import ExtraPositives

UNCHANGED_USERS = "users whose suspects stay candidates, because no other would be left"
"""Note of a run: number of users."""

POSITIVES_ONLY = ("weight", "graph")
"""Settings that apply only where suspects are positives."""


class SuspectsUse(Config):
    """Use of a suspects folder by a run."""

    use: Literal["exclude", "positives", "both"]
    """Exclude suspects from the candidates, train on them as positives, or both, as DTL-NS does."""
    threshold: suspects.Threshold = suspects.THRESHOLD
    """Probability from which a judged candidate counts as a suspect."""
    weight: NonNegativeFloat = 1.0
    """Weight in the loss of a suspect that is a positive (not with exclude); a train pair has 1."""
    graph: bool = False
    """Propagate over the suspects as well, as DTL-NS does (not with exclude); ignored by backbones without a graph."""

    @model_validator(mode="after")
    def _require_positives(self) -> Self:
        if self.use == "exclude" and (self.graph or self.weight != 1):
            raise ValueError("graph and weight apply to suspects as positives, found use exclude; leave them out")
        return self

    @property
    def excludes(self) -> bool:
        """True where suspects are excluded from the candidates."""
        return self.use != "positives"

    @property
    def trains(self) -> bool:
        """True where suspects are positives."""
        return self.use != "exclude"


@dataclass(frozen=True)
class UsedSuspects:
    """Effect of suspects on training.

    graph: pairs that a backbone propagates over. excluded: pairs that candidates are drawn outside of. extra: further
    positives. notes: for the manifest.
    """

    graph: Interactions
    excluded: Interactions
    extra: ExtraPositives | None = None
    notes: dict[str, Any] = field(default_factory=dict)


def use_suspects(split: Split, config: SuspectsUse | None, folder: Path | None) -> UsedSuspects:
    """Read a suspects folder and apply the settings; without either, only train pairs are used.

    Warnings of the folder become a note.
    """
    if config is None or folder is None:
        return UsedSuspects(split.train, split.train)
    applied = apply_suspects(split.train, suspects.read_suspects(folder, split), config)
    warning = suspects_warning(folder, config)
    return replace(applied, notes=applied.notes | ({"suspects warning": warning} if warning else {}))


def suspects_warning(folder: Path, config: SuspectsUse | None = None) -> str:
    """Return what a user of a suspects folder must know, or "".

    Held-out pairs decided its labels, missing labels were filled in, or no label or most labels reach the threshold.
    """
    notes = artifacts.read_manifest(folder, suspects.KIND)["notes"]
    filled = notes.get(suspects.FILLED)
    warnings = [notes[suspects.WARNING]] if suspects.WARNING in notes else []
    if filled:
        warnings.append(f"{filled['candidates']:,} candidates without a label count as {filled['with']:g}")
    if config is not None:
        warnings += [no_suspects_warning(folder, config), many_suspects_warning(folder, config)]
    return "; ".join(filter(None, warnings))


def many_suspects_warning(folder: Path, config: SuspectsUse) -> str:
    """Return a warning where most labels of a folder reach the threshold, else ""."""
    probability = suspects.read_probabilities(folder)
    return suspects.describe_liked(int((probability >= config.threshold).sum()), len(probability))


def no_suspects_warning(folder: Path, config: SuspectsUse) -> str:
    """Return a warning where no label of a folder reaches the threshold, else ""."""
    probability = suspects.read_probabilities(folder)
    highest = probability.max(initial=0.0)
    if highest >= config.threshold:
        return ""
    return (
        f"none of {len(probability):,} labels reaches {config.threshold:g} (the highest is {highest:.3g}): "
        "there are no suspects"
    )


def apply_suspects(train: Interactions, judged: Suspects, config: SuspectsUse) -> UsedSuspects:
    """Apply the settings to suspects."""
    pairs = judged.above(config.threshold).pairs(train)
    notes: dict[str, Any] = {"suspects judged by": judged.judge, "suspects used": len(pairs)}
    excluded = train
    if config.excludes:
        excluded, notes[UNCHANGED_USERS] = exclude_suspects(train, pairs)
    extra = ExtraPositives(pairs, config.weight) if config.trains else None
    return UsedSuspects(union(train, pairs) if config.graph else train, excluded, extra, notes)


def require_both(config: SuspectsUse | None, folder: Path | None) -> None:
    """Raise ConfigError where a folder has no use, or a use no folder."""
    if folder is not None and config is None:
        raise ConfigError(f"found suspects {folder}, but no use of them; choose exclude, positives or both")
    if config is not None and folder is None:
        raise ConfigError(f"the settings use suspects ({config.use}), but no suspects folder is given; give one")
    if folder is not None:
        artifacts.read_manifest(folder, suspects.KIND)
