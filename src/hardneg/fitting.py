"""Training and evaluation of a backbone on an in-memory split; the stages call these functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from hardneg.checkpoint import CheckpointFile
from hardneg.data import Split
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, TrainingDivergedError
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.models import Anchor, Backbone
from hardneg.sampling import (
    CandidateSource,
    InBatchSource,
    ItemNeighbours,
    MinedNegatives,
    NegativeSampler,
    PairFactors,
    PenalizedCandidates,
    SamplerConfig,
    SamplerInputs,
    SourceInputs,
    TrainingPairs,
    Uniform,
    UniformSource,
    WeighedSampler,
)
from hardneg.training import ExtraPositives, FitConfig, Fitted, JudgedTriplets, Positives, Watch, fit_model
from hardneg.trees import Trees
from hardneg.types import Embeddings, Observer

METRIC_NAMES = ("recall", "ndcg", "precision", "hit_rate")


@dataclass(frozen=True)
class FitInputs:
    """Inputs of training besides the split.

    mined, neighbours, trees: for samplers that need them. excluded: pairs that candidates are drawn outside of, in place
    of the train pairs (`sampling.exclude_suspects`). extra: positives besides the train pairs. triplets: of a judge, added
    to the loss (`training.triplets`). penalty, weights: factors of judged pairs (`sampling.judged`) for the frequency of
    candidates, and for the loss. anchor: see `hardneg.models.anchor`.
    """

    mined: MinedNegatives | None = None
    neighbours: ItemNeighbours | None = None
    trees: Trees | None = None
    excluded: Interactions | None = None
    extra: ExtraPositives | None = None
    triplets: JudgedTriplets | None = None
    penalty: PairFactors | None = None
    weights: PairFactors | None = None
    anchor: Anchor | None = None


NO_INPUTS = FitInputs()


def fit_backbone(
    model: nn.Module,
    split: Split,
    *,
    sampler: SamplerConfig | None = None,
    config: FitConfig | None = None,
    inputs: FitInputs = NO_INPUTS,
    observers: Sequence[Observer] = (),
    resume: CheckpointFile | None = None,
    watch: Watch | None = None,
    validates: bool = True,
) -> Fitted:
    """Train a backbone with a sampler (default: uniform) on the train pairs; the epoch is chosen on validation pairs.

    Validation masks train pairs only, whatever the inputs. Test pairs are not read. The process keeps freed memory from
    then on (`training.loop`). validates: False keeps the last epoch in place of the best one. Raises DataError without
    validation pairs where these choose the epoch, TrainingDivergedError where numbers are not finite.
    """
    if validates:
        split.require_pairs("valid")
    settings = config or FitConfig()
    require_usable(settings, sampler or Uniform(), inputs)

    def validate(embeddings: Embeddings) -> Mapping[str, float]:
        if not all(bool(table.isfinite().all()) for table in (embeddings.final_users, embeddings.final_items)):
            raise TrainingDivergedError("the embeddings hold numbers that are not finite; lower the learning rate")
        metrics = tuple(dict.fromkeys([settings.select, "recall@20", "ndcg@20"]))
        return evaluate_scores(inner_product(embeddings), split.valid, split.train, metrics=metrics).means()

    positives = Positives(split.train, inputs.extra, inputs.triplets)
    excluded = split.train if inputs.excluded is None else inputs.excluded
    candidates = build_source(sampler or Uniform(), settings, positives, excluded)
    candidates = candidates if inputs.penalty is None else PenalizedCandidates(candidates, inputs.penalty)
    pairs = TrainingPairs(split.train, positives.users, positives.items, candidates)
    final_size = cast(Backbone, model).final_size
    sampler_inputs = SamplerInputs(
        final_size, inputs.mined, settings.seed, inputs.neighbours, inputs.trees, pairs=pairs
    )
    built: NegativeSampler = (sampler or Uniform()).build(sampler_inputs)
    return fit_model(
        model,
        positives,
        built if inputs.weights is None else WeighedSampler(built, inputs.weights),
        candidates,
        settings,
        validate=validate if validates else None,
        observers=observers,
        resume=resume,
        watch=watch,
        anchor=inputs.anchor,
    )


def build_source(
    sampler: SamplerConfig, config: FitConfig, positives: Positives, excluded: Interactions
) -> CandidateSource:
    """Return the candidate source of a sampler, its own or that of the settings. excluded: pairs that are never drawn."""
    source = config.candidates if sampler.own_source is None else sampler.own_source
    return source.build(SourceInputs(positives.train, excluded, positives.items))


def sampler_problem(config: FitConfig, sampler: SamplerConfig) -> str | None:
    """Return why a sampler cannot be used with these settings, None where it can."""
    loss, source = config.loss, config.candidates
    if not loss.reads_negatives and sampler != Uniform():
        return f"loss {loss.kind!r} reads no negatives, found sampler {sampler.kind!r}; leave the sampler out"
    if source != UniformSource() and (sampler.own_source is not None or not loss.reads_negatives):
        part = f"loss {loss.kind!r} has none" if sampler.own_source is None else f"sampler {sampler.kind!r} has its own"
        return f"found fit.candidates {source.kind!r}, but {part}; leave fit.candidates out"
    used = source if sampler.own_source is None else sampler.own_source
    if config.order == "by-user" and loss.corrects_bias and isinstance(used, InBatchSource):
        return (
            f"found fit.order by-user, with which loss {loss.kind!r} cannot correct the bias of candidates from the batch; "
            "use fit.order each-pair, or fit.loss.correct_bias false"
        )
    return None


def require_usable(config: FitConfig, sampler: SamplerConfig, inputs: FitInputs) -> None:
    """Raise ConfigError where a loss cannot use the sampler or the weights of negatives and extra positives."""
    loss = config.loss
    if problem := sampler_problem(config, sampler):
        raise ConfigError(problem)
    if inputs.weights is not None and not loss.takes_weights:
        raise ConfigError(
            f"loss {loss.kind!r} has no term for each negative, found weights of negatives; choose another fit.loss, or "
            "another use of suspects"
        )
    if inputs.extra is not None and inputs.extra.weight not in (0, 1) and loss.compares_pairs:
        raise ConfigError(
            f"loss {loss.kind!r} compares the pairs of a batch, found weight {inputs.extra.weight:g} of extra positives, "
            "expected 0 or 1; set suspects.weight"
        )
