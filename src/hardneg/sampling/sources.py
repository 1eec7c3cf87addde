"""Options and names of candidate sources (`fit.candidates`)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hardneg.data.interactions import Interactions
from hardneg.plugins import PluginConfig, Registry
from hardneg.sampling.sampler import CandidateSource, UniformCandidates
from hardneg.types import Indices

SOURCES = Registry(
    "candidate source",
    "hardneg.candidates",
    {
        "uniform": "hardneg.sampling.sources:UniformSource",
        "popularity": "hardneg.sampling.popularity:PopularitySource",
        "in-batch": "hardneg.sampling.in_batch:InBatchSource",
    },
)


@dataclass(frozen=True)
class SourceInputs:
    """Inputs from which a candidate source is built.

    train: training pairs. excluded: pairs that are never drawn, the training pairs among them. positives: item of every
    pair by its pair index, extra positives after the training pairs.
    """

    train: Interactions
    excluded: Interactions
    positives: Indices


class SourceConfig(PluginConfig):
    """Options of a candidate source. A field of this type accepts every source by its `kind`, `uniform` by default."""

    registry: ClassVar[Registry] = SOURCES

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the options with the default kind."""
        return {"kind": "uniform", **values}

    @abstractmethod
    def build(self, inputs: SourceInputs) -> CandidateSource:
        """Return the source."""
        ...


class UniformSource(SourceConfig):
    """Candidates uniform over the items outside the user's exclusion set."""

    kind: Literal["uniform"] = "uniform"

    def build(self, inputs: SourceInputs) -> CandidateSource:
        """Return the source."""
        return UniformCandidates(inputs.excluded)
