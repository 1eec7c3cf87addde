"""Examine the loss of sampler `semantic`: gradients of its terms, catalogue items nearest to e_hard, and a sweep of alpha.

    python reproduction/semantic_loss.py data/store-split retrieved=out/retrieved random=out/retrieved-random \\
        --set fit.epochs=60 sampler.alpha=0.1 --out semantic-loss.md

LightGCN is trained on every negatives folder in every form, for all epochs (without early stopping), and measured at the end of
the first, the middle and the last. Then alpha is swept in one form (--form), with the epoch chosen on validation pairs. There is
one seed (fit.seed). Validation and test pairs are read for the table of nearest items alone, where nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diagnostics.loss_gradients import BPR, PROJECTOR, TERMS, LossGradients, compute_loss_gradients
from diagnostics.nearest_items import NearestItems, embedding_spread, nearest_catalogue_items
from torch import Tensor, nn

from hardneg.config import overrides, parse_config
from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.data.interactions import union
from hardneg.errors import DataError
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.fitting import FitInputs, fit_backbone
from hardneg.models import Backbone
from hardneg.pipeline import RunConfig
from hardneg.pipeline.training import run_inputs
from hardneg.random import Stream, generator
from hardneg.report.printers import NO_VALUE, markdown
from hardneg.sampling import MinedNegatives, SamplerInputs, Semantic, Uniform, UniformCandidates
from hardneg.sampling.mined import read_sampler_input
from hardneg.sampling.semantic import MEASURED, SemanticSampler
from hardneg.training import Fitted, fit_model
from hardneg.types import Batch, Embeddings, Floats, Negatives

RECALL = "recall@20"
FORMS: dict[str, dict[str, bool]] = {
    "literal": {"match_norm": False},
    "match_norm": {"match_norm": True},
    "detach_projector": {"match_norm": False, "detach_projector": True},
    "both": {"match_norm": True, "detach_projector": True},
}
ALPHAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
BATCHES = 4
"""Number of batches, the same for every measurement, over which gradients are averaged."""
CHUNK = 8192
"""Number of text vectors that are projected in one call."""
PARTS = ("items", "users", PROJECTOR)


@dataclass(frozen=True)
class Measurement:
    """Quantities at the end of an epoch."""

    gradients: LossGradients
    nearest: NearestItems
    item_spread: float


@dataclass
class MeasuringObserver:
    """An observer that measures model and sampler at the end of chosen epochs."""

    model: nn.Module
    sampler: SemanticSampler
    split: Split
    config: RunConfig
    epochs: Sequence[int]
    measurements: dict[int, Measurement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        train, size, seed = self.split.train, self.config.fit.batch_size, self.config.fit.seed
        self.steps = -(-len(train) // size)
        order = generator(seed, "batches to look at").permutation(len(train))
        batches = [order[start : start + size] for start in range(0, len(order), size)][:BATCHES]
        self.batches = [self._with_candidates(rows, Stream(seed, "candidates to look at", 0)) for rows in batches]

    def reads_tables(self, step: int) -> bool:  # noqa: ARG002 - tables are computed again after the update
        return False

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:  # noqa: ARG002
        if batch.step + 1 == self.steps and batch.epoch in self.epochs:
            fit_config = self.config.fit
            stream = Stream(fit_config.seed, "sampler to look at", 0)
            gradients = compute_loss_gradients(self.model, self.sampler, self.batches, stream, l2_weight=fit_config.l2)
            self.measurements[batch.epoch] = Measurement(gradients, *self._nearest())

    def state(self) -> list[list[Any]]:
        return []

    def restore(self, state: list[list[Any]]) -> None:
        """Restore nothing: these trainings are not resumed."""

    def _with_candidates(self, rows: np.ndarray, stream: Stream) -> tuple[Batch, Tensor]:
        train = self.split.train
        users, items = train.users[rows], train.items[rows]
        drawn = UniformCandidates(train).draw(rows, users, n=self.sampler.n_candidates, stream=stream)
        return Batch(*map(torch.from_numpy, (rows, users, items)), epoch=0, step=0), torch.from_numpy(drawn)

    @torch.no_grad()
    def _nearest(self) -> tuple[NearestItems, float]:
        items = self.model().final_items.numpy()
        held_out = union(self.split.valid, self.split.test)
        nearest = nearest_catalogue_items(project_all(self.sampler), self.split.train, held_out, items)
        return nearest, embedding_spread(items)


def project_all(sampler: SemanticSampler) -> Floats:
    """Return e_hard of every pair, (pairs, final size), before norms are matched; NaN without a vector."""
    n = len(sampler.mined.vectors)
    starts = range(0, n, CHUNK)
    texts = (torch.from_numpy(sampler.mined.vectors_of(np.arange(s, min(s + CHUNK, n)))) for s in starts)
    return torch.cat([sampler.project(text) for text in texts]).numpy()


@dataclass(frozen=True)
class MeasuredRun:
    """One run: a negatives folder in a form, with its measurements by epoch."""

    name: str
    form: str
    fitted: Fitted
    measurements: dict[int, Measurement]

    def metric(self, name: str, epoch: int) -> float:
        """Return the mean of a metric of the sampler over an epoch."""
        curves = self.fitted.state.curves
        return next(float(p["value"]) for p in curves if p["metric"] == name and p["epoch"] == epoch)

    def line(self, epoch: int) -> list[str]:
        return [self.name, self.form, str(epoch)]


def train_and_measure(split: Split, mined: MinedNegatives, name: str, form: str, config: RunConfig) -> MeasuredRun:
    """Train all epochs, and measure at the end of the first, middle and last."""
    settings = config.fit.model_copy(update={"patience": config.fit.epochs})
    model = config.model.build(split.train, seed=settings.seed)
    sampler = config.sampler.build(SamplerInputs(cast(Backbone, model).final_size, mined, settings.seed))
    epochs = sorted({1, (settings.epochs + 1) // 2, settings.epochs})
    observer = MeasuringObserver(model, sampler, split, config, epochs)

    def validate(embeddings: Embeddings) -> Mapping[str, float]:
        return evaluate_scores(inner_product(embeddings), split.valid, split.train, metrics=(RECALL, "ndcg@20")).means()

    source = UniformCandidates(split.train)
    fitted = fit_model(model, split.train, sampler, source, settings, validate=validate, observers=[observer])
    return MeasuredRun(name, form, fitted, observer.measurements)


def sweep_cells(split: Split, config: RunConfig, mined: MinedNegatives | None = None) -> list[str]:
    """Train a run, and return validation Recall@20 and the spread of the item table, both at the best epoch."""
    model = config.model.build(split.train, seed=config.fit.seed)
    fitted = fit_backbone(model, split, sampler=config.sampler, config=config.fit, inputs=FitInputs(mined=mined))
    return [f"{_best(fitted):.4f}", f"{embedding_spread(fitted.embeddings.final_items.numpy()):.2f}"]


def _best(fitted: Fitted) -> float:
    return max(float(p["value"]) for p in fitted.state.curves if (p["split"], p["metric"]) == ("valid", RECALL))


def vectors_table(runs: list[MeasuredRun]) -> str:
    names = [*MEASURED, "Recall@20 on validation, best epoch"]
    lines = [
        [*run.line(epoch), *(f"{run.metric(name, epoch):.3g}" for name in MEASURED), f"{_best(run.fitted):.4f}"]
        for run in runs
        for epoch in run.measurements
    ]
    return markdown(["negatives", "form", "epoch", *names], lines)


def gradients_table(runs: list[MeasuredRun], part: str) -> str:
    """Return the norm of every term on a part, and the cosine of BPR through e_hard and the alignment."""
    lines = []
    for run in runs:
        for epoch, measurement in run.measurements.items():
            norms = [f"{measurement.gradients.norms[term][part]:.2e}" for term in (BPR, *TERMS)]
            cosine = measurement.gradients.cosines[part]
            lines.append([*run.line(epoch), *norms, NO_VALUE if cosine is None else f"{cosine:+.2f}"])
    return markdown(["negatives", "form", "epoch", BPR, *TERMS, "cosine of e_hard and alignment"], lines)


def nearest_table(runs: list[MeasuredRun]) -> str:
    headers = ["its positive", "another train item", "a held-out item", "other", "popularity", "distinct"]
    headers += ["spread of directions", "spread of the item table", "pairs"]
    lines = []
    for run in runs:
        for epoch, measurement in run.measurements.items():
            near = measurement.nearest
            shares = [f"{share:.2%}" for share in (near.positive, near.train, near.held_out, near.other)]
            counts = [f"{near.popularity:.0%}", f"{near.distinct:,}", f"{near.directions:.3g}"]
            counts += [f"{measurement.item_spread:.3g}", f"{near.pairs:,}"]
            lines.append([*run.line(epoch), *shares, *counts])
    return markdown(["negatives", "form", "epoch", *headers], lines)


def sweep_table(split: Split, folders: Mapping[str, MinedNegatives], config: RunConfig, alphas: Sequence[float]) -> str:
    lines = []
    for alpha in alphas:
        with_alpha, cells = with_sampler(config, alpha=alpha), list[str]()
        for name, mined in folders.items():
            cells += sweep_cells(split, with_alpha, mined)
            log(f"alpha {alpha:g}, {name}: {RECALL} {cells[-2]}")
        lines.append([f"{alpha:g}", *cells])
    plain = sweep_cells(split, config.model_copy(update={"sampler": Uniform()}))
    headers = [text for name in folders for text in (name, "spread of the item table")]
    return markdown(["alpha", *headers], [*lines, ["sampler uniform", *(plain * len(folders))]])


def with_sampler(config: RunConfig, **options: object) -> RunConfig:
    sampler = Semantic.model_validate(config.sampler.model_dump() | options)
    return config.model_copy(update={"sampler": sampler})


def make_tables(runs: list[MeasuredRun]) -> list[str]:
    texts = ["## e_hard beside items\n\nMeans over the epoch named.", vectors_table(runs)]
    texts.append(
        f"## Gradient norms\n\nAt the end of the epoch, mean of {BATCHES} batches, weights of the terms included."
    )
    texts += [f"On {part}:\n\n{gradients_table(runs, part)}" for part in PARTS]
    texts.append("## Nearest catalogue items of e_hard\n\nReads validation and test pairs; nothing is chosen by it.")
    return [*texts, nearest_table(runs)]


def make_report(
    split: Split, folders: Mapping[str, MinedNegatives], config: RunConfig, arguments: argparse.Namespace
) -> str:
    runs = []
    for name, mined in folders.items():
        for form in arguments.forms:
            runs.append(train_and_measure(split, mined, name, form, with_sampler(config, **FORMS[form])))
            log(f"{name}, {form}: best {RECALL} {_best(runs[-1].fitted):.4f}")
    texts = make_tables(runs) if runs else []
    if arguments.alphas:
        in_form = with_sampler(config, **FORMS[arguments.form])
        texts.append(f"## Alpha, form {arguments.form}\n\nRecall@20 on validation, best epoch, seed {config.fit.seed}.")
        texts.append(sweep_table(split, folders, in_form, arguments.alphas))
    return "\n\n".join(text.strip() for text in texts) + "\n"


def read_vectors(split_dir: Path, split: Split, folder: Path) -> MinedNegatives:
    """Read a negatives folder. Raises an error for one of another split, and for neighbours."""
    run_inputs(split_dir, negatives=folder)
    negatives = read_sampler_input(folder, split)
    if not isinstance(negatives, MinedNegatives):
        raise DataError(f"{folder} holds neighbours, expected negatives; make them with `hardneg negatives retrieve`")
    return negatives


def log(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("negatives", nargs="+", metavar="NAME=FOLDER", help="Text negatives, and their controls.")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="A setting of fit, sampler or model."
    )
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=list(FORMS))
    parser.add_argument(
        "--alphas", nargs="*", type=float, default=list(ALPHAS), help="Values of alpha to sweep; none for no sweep."
    )
    parser.add_argument("--form", default="both", choices=list(FORMS), help="Form of the sweep.")
    parser.add_argument("--out", type=Path, help="Also write the tables here.")
    arguments = parser.parse_args()
    named = [entry.partition("=") for entry in arguments.negatives]
    if any(not (name and equals and folder) for name, equals, folder in named):
        parser.error(f"found {' '.join(arguments.negatives)}, expected NAME=FOLDER ...")
    values = overrides(["model.kind=lightgcn", "sampler.kind=semantic", "fit.epochs=60", *arguments.set])
    torch.set_num_threads(1)
    split = splits.read_split(arguments.split)
    folders = {name: read_vectors(arguments.split, split, Path(folder)) for name, _, folder in named}
    text = make_report(split, folders, parse_config(RunConfig, values, where="--set"), arguments)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
