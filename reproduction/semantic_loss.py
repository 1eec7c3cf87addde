"""Why text negatives do not beat their controls: gradients of the loss terms, nearest items of e_hard, an alpha sweep.

    python reproduction/semantic_loss.py data/store-split retrieved=out/retrieved random=out/retrieved-random \\
        --set fit.epochs=60 sampler.alpha=0.1 --out why.md

Trains LightGCN with the sampler `semantic` on every negatives folder in every form, all epochs (patience is not
asked), and measures at the end of the first, the middle and the last. Then sweeps alpha in one form (--form), choosing
the epoch on validation as every run does. One seed (fit.seed). Held-out pairs, test pairs among them, are read for the
table of nearest items alone, where nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from hardneg.sampling import MinedNegatives, SamplerInputs, Semantic, Uniform, UniformCandidates, sampler_inputs
from hardneg.sampling.semantic import MEASURED, SemanticSampler
from hardneg.training import Fitted, fit
from hardneg.types import Batch, Embeddings, Floats, Negatives

RECALL = "recall@20"
FORMS: dict[str, dict[str, bool]] = {
    "literal": {},
    "match_norm": {"match_norm": True},
    "detach_projector": {"detach_projector": True},
    "both": {"match_norm": True, "detach_projector": True},
}
ALPHAS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
BATCHES = 4
"""Batches, the same at every look, over which gradients are meaned."""
AT_ONCE = 8192
"""Text vectors that are projected at once."""
PARTS = ("items", "users", PROJECTOR)


@dataclass(frozen=True)
class Look:
    """What was measured at the end of an epoch."""

    gradients: LossGradients
    nearest: NearestItems
    item_spread: float


@dataclass
class Looking:
    """Measures at the end of chosen epochs (a training observer that is given the model and the sampler)."""

    model: nn.Module
    sampler: SemanticSampler
    split: Split
    config: RunConfig
    epochs: Sequence[int]
    looks: dict[int, Look] = field(default_factory=dict)

    def __post_init__(self) -> None:
        train, size, seed = self.split.train, self.config.fit.batch_size, self.config.fit.seed
        self.steps = -(-len(train) // size)
        order = generator(seed, "batches to look at").permutation(len(train))
        chosen = [order[start : start + size] for start in range(0, len(order), size)][:BATCHES]
        self.given = [self._with_candidates(rows, Stream(seed, "candidates to look at", 0)) for rows in chosen]

    def reads_tables(self, step: int) -> bool:  # noqa: ARG002 - it computes them anew, after the update
        return False

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:  # noqa: ARG002
        if batch.step + 1 == self.steps and batch.epoch in self.epochs:
            fit_config = self.config.fit
            stream = Stream(fit_config.seed, "sampler to look at", 0)
            taken = compute_loss_gradients(self.model, self.sampler, self.given, stream, l2_weight=fit_config.l2)
            self.looks[batch.epoch] = Look(taken, *self._nearest())

    def state(self) -> list[list[Any]]:
        return []

    def restore(self, state: list[list[Any]]) -> None:
        """Nothing is resumed here."""

    def _with_candidates(self, rows: np.ndarray, stream: Stream) -> tuple[Batch, Tensor]:
        train = self.split.train
        users, items = train.users[rows], train.items[rows]
        drawn = UniformCandidates(train).draw(rows, users, n=self.sampler.n_candidates, stream=stream)
        return Batch(*map(torch.from_numpy, (rows, users, items)), epoch=0, step=0), torch.from_numpy(drawn)

    @torch.no_grad()
    def _nearest(self) -> tuple[NearestItems, float]:
        items = self.model().final_items.numpy()
        held_out = union(self.split.valid, self.split.test)
        return nearest_catalogue_items(projected(self.sampler), self.split.train, held_out, items), embedding_spread(
            items
        )


def projected(sampler: SemanticSampler) -> Floats:
    """(pairs, final size) e_hard of every pair, before norms are matched, which no cosine sees; NaN without a vector."""
    n = len(sampler.mined.vectors)
    starts = range(0, n, AT_ONCE)
    texts = (torch.from_numpy(sampler.mined.vectors_of(np.arange(s, min(s + AT_ONCE, n)))) for s in starts)
    return torch.cat([sampler.project(text) for text in texts]).numpy()


@dataclass(frozen=True)
class Trained:
    """One run that was looked at: a negatives folder in a form."""

    name: str
    form: str
    fitted: Fitted
    looks: dict[int, Look]

    def metric(self, name: str, epoch: int) -> float:
        """What the sampler measured, the mean over an epoch."""
        curves = self.fitted.state.curves
        return next(float(p["value"]) for p in curves if p["metric"] == name and p["epoch"] == epoch)

    def line(self, epoch: int) -> list[str]:
        return [self.name, self.form, str(epoch)]


def looked_at(split: Split, mined: MinedNegatives, name: str, form: str, config: RunConfig) -> Trained:
    """Train all epochs, with a look at the end of the first, middle and last."""
    settings = config.fit.model_copy(update={"patience": config.fit.epochs})
    model = config.model.build(split.train, seed=settings.seed)
    sampler = config.sampler.build(SamplerInputs(_size(model), mined, settings.seed))
    epochs = sorted({1, (settings.epochs + 1) // 2, settings.epochs})
    looking = Looking(model, sampler, split, config, epochs)

    def validate(embeddings: Embeddings) -> Mapping[str, float]:
        return evaluate_scores(inner_product(embeddings), split.valid, split.train, metrics=(RECALL, "ndcg@20")).means()

    source = UniformCandidates(split.train)
    fitted = fit(model, split.train, sampler, source, settings, validate=validate, observers=[looking])
    return Trained(name, form, fitted, looking.looks)


def _size(model: Backbone) -> int:
    return model.final_size


def swept(split: Split, config: RunConfig, mined: MinedNegatives | None = None) -> list[str]:
    """Validation Recall@20 and the spread of the item table, both at the best epoch of a run."""
    model = config.model.build(split.train, seed=config.fit.seed)
    fitted = fit_backbone(model, split, sampler=config.sampler, config=config.fit, inputs=FitInputs(mined=mined))
    return [f"{_best(fitted):.4f}", f"{embedding_spread(fitted.embeddings.final_items.numpy()):.2f}"]


def _best(fitted: Fitted) -> float:
    return max(float(p["value"]) for p in fitted.state.curves if (p["split"], p["metric"]) == ("valid", RECALL))


def vectors_table(runs: list[Trained]) -> str:
    names = [*MEASURED, "Recall@20 on validation, best look"]
    lines = [
        [*run.line(epoch), *(f"{run.metric(name, epoch):.3g}" for name in MEASURED), f"{_best(run.fitted):.4f}"]
        for run in runs
        for epoch in run.looks
    ]
    return markdown(["negatives", "form", "epoch", *names], lines)


def gradients_table(runs: list[Trained], part: str) -> str:
    """Norms of every term on a part, and the cosine of BPR through e_hard and the alignment."""
    lines = []
    for run in runs:
        for epoch, look in run.looks.items():
            norms = [f"{look.gradients.norms[term][part]:.2e}" for term in (BPR, *TERMS)]
            cosine = look.gradients.cosines[part]
            lines.append([*run.line(epoch), *norms, NO_VALUE if cosine is None else f"{cosine:+.2f}"])
    return markdown(["negatives", "form", "epoch", BPR, *TERMS, "cosine of e_hard and alignment"], lines)


def nearest_table(runs: list[Trained]) -> str:
    headers = ["its positive", "another train item", "a held-out item", "other", "popularity", "distinct"]
    headers += ["spread of directions", "spread of the item table", "pairs"]
    lines = []
    for run in runs:
        for epoch, look in run.looks.items():
            near = look.nearest
            shares = [f"{share:.2%}" for share in (near.positive, near.train, near.held_out, near.other)]
            counts = [f"{near.popularity:.0%}", f"{near.distinct:,}", f"{near.directions:.3g}"]
            counts += [f"{look.item_spread:.3g}", f"{near.pairs:,}"]
            lines.append([*run.line(epoch), *shares, *counts])
    return markdown(["negatives", "form", "epoch", *headers], lines)


def sweep_table(split: Split, folders: Mapping[str, MinedNegatives], config: RunConfig, alphas: Sequence[float]) -> str:
    lines = []
    for alpha in alphas:
        here, cells = with_sampler(config, alpha=alpha), list[str]()
        for name, mined in folders.items():
            cells += swept(split, here, mined)
            say(f"alpha {alpha:g}, {name}: {RECALL} {cells[-2]}")
        lines.append([f"{alpha:g}", *cells])
    plain = swept(split, config.model_copy(update={"sampler": Uniform()}))
    headers = [text for name in folders for text in (name, "spread of the item table")]
    return markdown(["alpha", *headers], [*lines, ["sampler uniform", *(plain * len(folders))]])


def with_sampler(config: RunConfig, **options: object) -> RunConfig:
    sampler = Semantic.model_validate(config.sampler.model_dump() | options)
    return config.model_copy(update={"sampler": sampler})


def tables(runs: list[Trained]) -> list[str]:
    texts = ["## e_hard beside items\n\nMeans over the epoch named.", vectors_table(runs)]
    texts.append(
        f"## Gradient norms\n\nAt the end of the epoch, mean of {BATCHES} batches, weights of the terms included."
    )
    texts += [f"On {part}:\n\n{gradients_table(runs, part)}" for part in PARTS]
    texts.append("## Nearest catalogue items of e_hard\n\nReads validation and test pairs; nothing is chosen by it.")
    return [*texts, nearest_table(runs)]


def report(
    split: Split, folders: Mapping[str, MinedNegatives], config: RunConfig, arguments: argparse.Namespace
) -> str:
    runs = []
    for name, mined in folders.items():
        for form in arguments.forms:
            runs.append(looked_at(split, mined, name, form, with_sampler(config, **FORMS[form])))
            say(f"{name}, {form}: best {RECALL} {_best(runs[-1].fitted):.4f}")
    texts = tables(runs) if runs else []
    if arguments.alphas:
        chosen = with_sampler(config, **FORMS[arguments.form])
        texts.append(f"## Alpha, form {arguments.form}\n\nRecall@20 on validation, best epoch, seed {config.fit.seed}.")
        texts.append(sweep_table(split, folders, chosen, arguments.alphas))
    return "\n\n".join(text.strip() for text in texts) + "\n"


def mined_from(split_folder: Path, split: Split, folder: Path) -> MinedNegatives:
    """Read a negatives folder; refuse another split's, and neighbours."""
    run_inputs(split_folder, folder)
    found = sampler_inputs.read_sampler_input(folder, split)
    if not isinstance(found, MinedNegatives):
        raise DataError(f"{folder} holds neighbours, expected negatives; make them with `hardneg negatives retrieve`")
    return found


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("negatives", nargs="+", metavar="NAME=FOLDER", help="the text negatives, then their controls")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of fit, sampler or model")
    parser.add_argument("--forms", nargs="*", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--alphas", nargs="*", type=float, default=list(ALPHAS), help="none: no sweep")
    parser.add_argument("--form", default="both", choices=list(FORMS), help="of the sweep")
    parser.add_argument("--out", type=Path, help="Markdown goes here, too")
    arguments = parser.parse_args()
    named = [entry.partition("=") for entry in arguments.negatives]
    if any(not (name and equals and folder) for name, equals, folder in named):
        parser.error(f"found {' '.join(arguments.negatives)}, expected NAME=FOLDER ...")
    values = overrides(["model.kind=lightgcn", "sampler.kind=semantic", "fit.epochs=60", *arguments.set])
    torch.set_num_threads(1)
    split = splits.read_split(arguments.split)
    folders = {name: mined_from(arguments.split, split, Path(folder)) for name, _, folder in named}
    text = report(split, folders, parse_config(RunConfig, values, where="--set"), arguments)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
