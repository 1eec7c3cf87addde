"""The use of suspects by a run: excluded from the candidates, trained on, or both; or lesser negatives, or triplets.

Masks never depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from hardneg import artifacts
from hardneg.config import Config
from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.judging import suspects
from hardneg.judging.suspects import Suspects
from hardneg.sampling import PairFactors, exclude_suspects
from hardneg.training import ExtraPositives, JudgedTriplets
from hardneg.types import Floats, Indices

UNCHANGED_USERS = "users whose suspects stay candidates, because no other would be left"
"""Note of a run: number of users."""
WITHOUT_TRIPLET = "users without a triplet"
"""Note of a run: number of users without two labels that differ."""

POSITIVES_ONLY = ("weight", "graph")
"""Settings that apply only where suspects are positives; the weight also where they are triplets."""
GRADED = ("penalize", "weigh")
"""Uses that read probabilities, not suspects from a threshold on."""
TRIPLETS = "triplets"
TRIPLETS_ONLY = ("share", "prune")
"""Settings of triplets alone."""


class SuspectsUse(Config):
    """Use of a suspects folder by a run."""

    use: Literal["exclude", "positives", "both", "penalize", "weigh", "triplets"]
    """Exclude suspects from the candidates, train on them as positives, or both, as DTL-NS does. Or use all judged
    candidates by their probability p: penalize draws a candidate less often, in proportion to (1 - p)^strength; weigh
    multiplies the loss of a negative by it; triplets adds BPR of each user's likeliest and unlikeliest candidate, as
    LLMRec does."""
    threshold: suspects.Threshold = suspects.THRESHOLD
    """Probability from which a judged candidate counts as a suspect (not with penalize, weigh and triplets)."""
    strength: PositiveFloat = 1.0
    """Exponent of 1 - p, above 0 (only with penalize and weigh)."""
    weight: NonNegativeFloat = 1.0
    """Weight in the loss of a suspect that is a positive, or of a triplet; a train pair has 1 (not with other uses)."""
    graph: bool = False
    """Propagate over the suspects as well, as DTL-NS does (not with exclude); ignored by backbones without a graph."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the training pairs that add the triplet of their user (only with triplets)."""
    prune: Annotated[float, Field(ge=0, lt=1)] = 0.71
    """Share of the triplets of a step, those with the largest losses, that are left out (only with triplets)."""

    @model_validator(mode="after")
    def _require_settings_of_use(self) -> Self:
        if not self.trains and (self.graph or (self.weight != 1 and self.use != TRIPLETS)):
            raise ValueError(f"graph and weight apply to suspects as positives, found use {self.use}; leave them out")
        if not self.has_setting("threshold") and self.threshold != suspects.THRESHOLD:
            raise ValueError(f"use {self.use} reads probabilities without a threshold; leave threshold out")
        if not self.is_graded and self.strength != 1:
            raise ValueError(f"strength applies to penalize and weigh, found use {self.use}; leave it out")
        changed = [name for name in TRIPLETS_ONLY if getattr(self, name) != type(self).model_fields[name].default]
        if changed and self.use != TRIPLETS:
            raise ValueError(f"{changed[0]} applies to triplets, found use {self.use}; leave it out")
        return self

    @model_serializer(mode="wrap")
    def _leave_out_later_settings(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out settings of other uses that came later: runs without them keep their keys."""
        values: dict[str, Any] = serialize(self)
        without = [name for name in ("strength", *TRIPLETS_ONLY) if not self.has_setting(name)]
        return {name: value for name, value in values.items() if name not in without}

    @property
    def excludes(self) -> bool:
        """True where suspects are excluded from the candidates."""
        return self.use in ("exclude", "both")

    @property
    def trains(self) -> bool:
        """True where suspects are positives."""
        return self.use in ("positives", "both")

    @property
    def is_graded(self) -> bool:
        """True where candidates are used by their probabilities."""
        return self.use in GRADED

    def has_setting(self, name: str) -> bool:
        """Return True where a setting applies to this use."""
        if name == "strength":
            return self.is_graded
        if name in TRIPLETS_ONLY or self.use == TRIPLETS:
            return self.use == TRIPLETS and name in (*TRIPLETS_ONLY, "use", "weight")
        return not (self.is_graded and name == "threshold") and (self.trains or name not in POSITIVES_ONLY)


@dataclass(frozen=True)
class UsedSuspects:
    """Effect of suspects on training.

    graph: pairs that a backbone propagates over. excluded: pairs that candidates are drawn outside of. extra: further
    positives. penalty: factors of the frequency of candidates. weights: factors of the loss of negatives. triplets: of a
    judge, added to the loss. notes: for the manifest.
    """

    graph: Interactions
    excluded: Interactions
    extra: ExtraPositives | None = None
    penalty: PairFactors | None = None
    weights: PairFactors | None = None
    triplets: JudgedTriplets | None = None
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

    Held-out pairs decided its labels, missing labels were filled in, or no label or most labels reach the threshold. For
    uses by probability: all are 0.
    """
    notes = artifacts.read_manifest(folder, suspects.KIND)["notes"]
    filled = notes.get(suspects.FILLED)
    warnings = [notes[suspects.WARNING]] if suspects.WARNING in notes else []
    if filled:
        warnings.append(f"{filled['candidates']:,} candidates without a label count as {filled['with']:g}")
    if config is not None and config.is_graded:
        warnings += [] if suspects.read_probabilities(folder).any() else ["all probabilities are 0: no effect"]
    elif config is not None:
        warnings += [no_suspects_warning(folder, config), many_suspects_warning(folder, config)]
    return "; ".join(filter(None, warnings))


def many_suspects_warning(folder: Path, config: SuspectsUse) -> str:
    """Return a warning where most labels of a folder reach the threshold, else ""; uses without a threshold have none."""
    if not config.has_setting("threshold"):
        return ""
    probability = suspects.read_probabilities(folder)
    return suspects.describe_liked(int((probability >= config.threshold).sum()), len(probability))


def no_suspects_warning(folder: Path, config: SuspectsUse) -> str:
    """Return a warning where no label of a folder reaches the threshold, else ""; uses without a threshold have none."""
    if not config.has_setting("threshold"):
        return ""
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
    if config.is_graded:
        return _apply_probabilities(train, judged, config)
    if config.use == TRIPLETS:
        return _apply_triplets(train, judged, config)
    pairs = judged.above(config.threshold).pairs(train)
    notes: dict[str, Any] = {"suspects judged by": judged.judge, "suspects used": len(pairs)}
    excluded = train
    if config.excludes:
        excluded, notes[UNCHANGED_USERS] = exclude_suspects(train, pairs)
    extra = ExtraPositives(pairs, config.weight) if config.trains else None
    return UsedSuspects(union(train, pairs) if config.graph else train, excluded, extra, notes=notes)


def _apply_probabilities(train: Interactions, judged: Suspects, config: SuspectsUse) -> UsedSuspects:
    """Use all judged candidates by their probabilities; candidates of probability 1 are never drawn with penalize."""
    factors = PairFactors.of(train, judged.users, judged.items, judged.probability, config.strength)
    notes: dict[str, Any] = {"suspects judged by": judged.judge, "candidates judged likely": len(factors.pairs)}
    if config.use == "weigh":
        return UsedSuspects(train, train, weights=factors, notes=notes)
    excluded, notes[UNCHANGED_USERS] = exclude_suspects(train, factors.excluded)
    return UsedSuspects(train, excluded, penalty=factors, notes=notes)


def _apply_triplets(train: Interactions, judged: Suspects, config: SuspectsUse) -> UsedSuspects:
    """Add each user's likeliest and unlikeliest candidate to the loss, and say who judged them and for how many users."""
    liked, disliked = pick_triplets(judged.users, judged.items, judged.probability, train.n_users)
    triplets = JudgedTriplets(liked, disliked, config.share, config.prune, config.weight)
    n = int((liked >= 0).sum())
    notes = {"triplets judged by": judged.judge, "users with a triplet": n, WITHOUT_TRIPLET: train.n_users - n}
    return UsedSuspects(train, train, triplets=triplets, notes=notes)


def pick_triplets(users: Indices, items: Indices, probability: Floats, n_users: int) -> tuple[Indices, Indices]:
    """Return the likeliest and the unlikeliest judged candidate of every user, (n_users,) each, -1 without a difference.

    users, items, probability: (n,), ordered by user and rank, NaN without a label. Among equals, the first is the likeliest
    and the last the unlikeliest. In LLMRec the language model names both; here the labels of any judge decide.
    """
    picked, extremes = np.full((2, n_users), -1, np.int64), np.full((2, n_users), np.nan)
    labelled = np.flatnonzero(~np.isnan(probability))
    users, items, probability = users[labelled], items[labelled], probability[labelled]
    places = np.arange(len(users))
    for side, (position, value) in enumerate(((places, -probability), (-places, probability))):
        order = np.lexsort((position, value, users))
        distinct, firsts = np.unique(users[order], return_index=True)
        best = order[firsts]
        picked[side, distinct], extremes[side, distinct] = items[best], probability[best]
    picked[:, ~(extremes[0] > extremes[1])] = -1
    return picked[0], picked[1]


def require_both(config: SuspectsUse | None, folder: Path | None) -> None:
    """Raise ConfigError where a folder has no use, or a use no folder."""
    if folder is not None and config is None:
        raise ConfigError(
            f"found suspects {folder}, but no use of them; choose exclude, positives, both, penalize, weigh or triplets"
        )
    if config is not None and folder is None:
        raise ConfigError(f"the settings use suspects ({config.use}), but no suspects folder is given; give one")
    if folder is not None:
        artifacts.read_manifest(folder, suspects.KIND)
