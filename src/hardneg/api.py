"""In Python: load, split, fit, evaluate. The stages of the command line call the same functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, cast

from torch import nn

from hardneg.checkpoint import CheckpointFile
from hardneg.data import Dataset, Split, SplitConfig, make_split
from hardneg.data import dataset as datasets
from hardneg.data.interactions import Interactions
from hardneg.errors import DataError, TrainingDivergedError
from hardneg.evaluation import Evaluation, inner_product
from hardneg.evaluation import evaluate_scores as rank_and_measure
from hardneg.models import Anchor, Backbone
from hardneg.sampling import ItemNeighbours, MinedNegatives, SamplerConfig, SamplerInputs, Uniform, UniformCandidates
from hardneg.training import ExtraPositives, FitConfig, Fitted, Positives, Watch
from hardneg.training import fit as train_loop
from hardneg.trees import Trees
from hardneg.types import Embeddings, Observer

METRICS = ("recall", "ndcg", "precision", "hit_rate")


def load(folder: str | Path) -> Dataset:
    """Read a dataset folder made by `hardneg data import` or `hardneg data simulate`."""
    return datasets.read_dataset(Path(folder))


def split(
    data: Dataset,
    by: Literal["ratio", "leave-one-out", "time", "given"] = "ratio",
    *,
    train: float = 0.8,
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Split:
    """Divide a dataset; see `SplitConfig` for what each way means, and `make_split` for filters."""
    return make_split(data, SplitConfig(by=by, train=train, valid=valid, test=test, seed=seed))


def require_validation(split: Split) -> None:
    """The epoch is chosen on validation pairs, so there must be some."""
    if not len(split.valid):
        raise DataError(
            "the split has no validation pairs, which choose the epoch; split again with a valid share above 0"
        )


def fit(
    model: nn.Module,
    split: Split,
    *,
    sampler: SamplerConfig | None = None,
    mined: MinedNegatives | None = None,
    neighbours: ItemNeighbours | None = None,
    trees: Trees | None = None,
    excluded: Interactions | None = None,
    extra: ExtraPositives | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    config: FitConfig | None = None,
    observers: Sequence[Observer] = (),
    resume: CheckpointFile | None = None,
    watch: Watch | None = None,
    anchor: Anchor | None = None,
) -> Fitted:
    """Train a backbone with a sampler (default: uniform) on the train pairs; the epoch is chosen on validation.

    mined, neighbours, trees: for samplers that need them. anchor: see `hardneg.models.anchor`. excluded: what candidates are
    drawn outside of, in place of the train pairs alone (`negatives.excluding`). extra: positives besides the train pairs.
    Validation masks train pairs alone, whatever these two say. Test pairs are not read. The process keeps freed memory
    from then on (`training.memory`). epochs and seed, where given, replace those of config.
    """
    require_validation(split)
    given = {name: value for name, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    settings = FitConfig.model_validate((config or FitConfig()).model_dump() | given)
    ingredients = SamplerInputs(cast(Backbone, model).final_size, mined, settings.seed, neighbours, trees)

    def validate(embeddings: Embeddings) -> Mapping[str, float]:
        if not all(bool(table.isfinite().all()) for table in (embeddings.final_users, embeddings.final_items)):
            raise TrainingDivergedError("the embeddings hold numbers that are not finite; lower the learning rate")
        metrics = tuple(dict.fromkeys([settings.select, "recall@20", "ndcg@20"]))
        return rank_and_measure(inner_product(embeddings), split.valid, split.train, metrics=metrics).means()

    return train_loop(
        model,
        Positives(split.train, extra),
        (sampler or Uniform()).build(ingredients),
        UniformCandidates(split.train if excluded is None else excluded),
        settings,
        validate=validate,
        observers=observers,
        resume=resume,
        watch=watch,
        anchor=anchor,
    )


def evaluate(fitted: Fitted, split: Split, *, ks: Sequence[int] = (10, 20), shortlist: bool = False) -> Evaluation:
    """Score the test pairs: all items ranked, observed train items masked.

    shortlist: rank by way of 16 bits; see `hardneg.evaluation.inner_product`.
    """
    metrics = tuple(f"{metric}@{k}" for metric in METRICS for k in ks)
    return rank_and_measure(
        inner_product(fitted.embeddings, shortlist=shortlist), split.test, split.train, metrics=metrics
    )
