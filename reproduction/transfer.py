"""Measure transfer (HNLMRec's P1): a language model tuned on some datasets, evaluated on the train pairs of another one.

    python reproduction/transfer.py data/steam-split --sources data/store-split data/scientific-split --work out/transfer

Embeddings of separately trained backbones have no common space. Each method below deals with that in another way:

    raw         pooled as they are
    anchored    item tables start at one linear map of their texts and stay near it (`hardneg train --vectors` with anchor.weight)
    procrustes  rotated onto that map of the texts after training (`hardneg finetune label --onto`)
    texts       no e_u and e_v in the prompt; labels as in procrustes, since the projection of labels needs one space too
    texts-raw   no e_u and e_v in the prompt, labels as they are
    native      tuned on the target itself; native-anchored: the same with its anchored backbone
    untuned     the base as it is, its projection heads drawn at random

Every tuning dataset gives --tuning-pairs pairs. All methods are scored on the same pairs of the target, on which none was
tuned, against the target's labels in the space of the method. The labels of procrustes are those of raw, rotated; the anchored
ones are of another backbone.

There are three measures. InfoNCE through the model's own projection of labels, in batches of --batch-size, is given as loss and
as information = log(batch) - loss. The third is the cosine of labels with the predictions of a ridge map from vectors to labels,
fitted on --fitted other pairs of the target; it needs no common space. Each is repeated with e_u and e_v rotated at random
("turned": in the prompt alone; "all turned": labels too). Where that changes nothing, the embeddings were not used.

Finished folders in --work are reused. --write-all writes a negatives folder of the target for every method.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
import torch
from diagnostics.held_out_score import HeldOutScore, encode_for_scoring, score_held_out
from diagnostics.rotated_labels import rotate_labels_stage
from sklearn.linear_model import RidgeCV

from hardneg import artifacts, pipeline
from hardneg.config import parse_config
from hardneg.data import split as splits
from hardneg.finetuning import (
    EmbeddingSpace,
    EmbeddingSpaces,
    HardNegativeEncoder,
    SynthesisConfig,
    Template,
    base_model,
    load_tuned,
    open_encoder_model,
)
from hardneg.finetuning.inputs import draw_pairs
from hardneg.mining import LabelOptions, labels
from hardneg.mining.labels import mean_cosine
from hardneg.models import MF, AnchorConfig, LightGCN
from hardneg.pipeline import FinetuneConfig, RunConfig, TuningSet
from hardneg.pipeline.text import text_projection
from hardneg.sampling import MixGCF
from hardneg.text import TextEncoder, sentence_encoder
from hardneg.training import FitConfig
from hardneg.types import Floats, Indices, Progress

INSTRUCTION = "Another item, close to this one, that the user would not choose."
VECTORS = "scored vectors"


@dataclass(frozen=True)
class Method:
    """space: kind of labels. tuned: on which datasets. embeddings: prompts contain e_u and e_v."""

    space: str
    tuned: str = "sources"
    embeddings: bool = True


METHODS = {
    "raw": Method("raw"),
    "anchored": Method("anchored"),
    "procrustes": Method("onto"),
    "texts": Method("onto", embeddings=False),
    "texts-raw": Method("raw", embeddings=False),
    "native": Method("raw", tuned="target"),
    "native-anchored": Method("anchored", tuned="target"),
    "untuned": Method("raw", tuned="nothing"),
}


@dataclass(frozen=True)
class ItemsAlone:
    """Encodes item texts alone: user profiles, whose vectors nothing here reads and which take most of the time, become NaN."""

    inner: TextEncoder
    n_items: int

    @property
    def name(self) -> str:
        return f"{self.inner.name}, items alone"

    @property
    def identity(self) -> str:
        return self.inner.identity

    def encode(self, texts: Sequence[str], progress: object = None) -> Floats:  # noqa: ARG002
        items = self.inner.encode(texts[: self.n_items])
        rest = np.full((len(texts) - self.n_items, items.shape[1]), np.nan, np.float32)
        return np.concatenate([items, rest])


class Comparison:
    """The methods that are compared, and their folders, made when they are first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work = options, options.work
        self.source = base_model(options.base)

    @cached_property
    def order(self) -> Indices:
        """Pair indices of the target: native methods tune on the first ones, all are scored on the last ones."""
        options, n = self.options, len(splits.read_split(self.options.target).train)
        if (needed := options.tuning_pairs + options.fitted + options.scored) > n:
            sys.exit(
                f"{options.target} has {n} train pairs, expected {needed}; lower --tuning-pairs, --fitted or --scored"
            )
        return draw_pairs(n)

    @property
    def fitted(self) -> Indices:
        return self.order[len(self.order) - self.options.scored - self.options.fitted :][: self.options.fitted]

    @property
    def scored(self) -> Indices:
        return self.order[len(self.order) - self.options.scored :]

    def dataset(self, split: Path, space: str) -> TuningSet:
        """Make profiles and labels of a split in a space: raw, anchored or onto."""
        folder = self.work / split.name
        pipeline.extract_profiles_stage(split).run(folder / "profiles")
        if space != "raw":
            n_items = splits.read_split(split).train.n_items
            pipeline.encode_texts_stage(split, folder / "profiles", ItemsAlone(sentence_encoder(), n_items)).run(
                folder / "vectors"
            )
        anchored = space == "anchored"
        run = folder / ("run-anchored" if anchored else "run")
        pipeline.train_stage(split, self._run(anchored=anchored), vectors=folder / "vectors" if anchored else None).run(
            run
        )
        onto = folder / "vectors" if space == "onto" else None
        pipeline.labels_stage(split, run, LabelOptions(), onto=onto).run(folder / f"labels-{space}")
        return TuningSet(split, folder / "profiles", folder / f"labels-{space}")

    def rotated(self, space: str) -> TuningSet:
        """Make labels of the target in a space that is rotated at random."""
        plain = self.dataset(self.options.target, space)
        out = plain.labels.with_name(f"{plain.labels.name}-turned")
        rotate_labels_stage(plain.split, plain.labels, seed=1).run(out)
        return TuningSet(plain.split, plain.profiles, out)

    def _run(self, *, anchored: bool) -> RunConfig:
        options = self.options
        backbone = {"mf": MF, "lightgcn": LightGCN}[options.model]
        return RunConfig(
            model=backbone(embedding_size=options.embedding_size),
            sampler=MixGCF(candidates=16),
            fit=FitConfig(epochs=options.train_epochs),
            anchor=AnchorConfig(weight=options.anchor_weight, length=options.anchor_length) if anchored else None,
        )

    def config(self, method: Method) -> FinetuneConfig:
        options = self.options
        values = {
            "template": {
                "instruction": INSTRUCTION,
                "profile_tokens": options.profile_tokens,
                "embeddings": method.embeddings,
            },
            "tuning": {
                "epochs": options.epochs,
                "batch_size": options.batch_size,
                "micro_batch": options.batch_size,  # short prompts fit whole; a second pass costs a third more
                "learning_rate": options.learning_rate,
                "head_learning_rate": options.head_learning_rate,
                "held_out_most": 128,
                "look_every": 15,
                "patience": 99,
            },
        }
        config: FinetuneConfig = parse_config(FinetuneConfig, values, where="reproduction/transfer.py")
        return config

    def tuned(self, name: str) -> tuple[HardNegativeEncoder, Template]:
        """Tune the model of a method, and return it with its template."""
        method, options = METHODS[name], self.options
        if method.tuned == "nothing":
            shown, own = pipeline.read_rescaled_pairs(self.dataset(options.target, method.space))
            spaces = EmbeddingSpaces(
                EmbeddingSpace.of(shown.users), EmbeddingSpace.of(shown.items), EmbeddingSpace.of(own)
            )
            template = Template(self.source.tokenizer(), self.config(method).template)
            return open_encoder_model(self.source, self.config(method).model, spaces=spaces), template
        tuning_splits = [options.target] if method.tuned == "target" else options.sources
        sets, out = [self.dataset(split, method.space) for split in tuning_splits], self.work / "tuned" / name
        pipeline.tune_pooled_stage(
            sets, self.source, self.config(method), report(name), pairs_each=options.tuning_pairs
        ).run(out)
        return load_tuned(out, self.source)

    def vectors(self, name: str, model: tuple[HardNegativeEncoder, Template], target: TuningSet) -> Floats:
        """Encode the fitted and the scored pairs, and keep the vectors in a folder."""
        out = self.work / VECTORS.replace(" ", "-") / f"{name}-{target.labels.name}"
        tuned = self.work / "tuned" / name
        inputs = {
            "labels": artifacts.folder_hash(target.labels),
            "profiles": artifacts.folder_hash(target.profiles),
            "model": artifacts.folder_hash(tuned) if tuned.is_dir() else self.source.identity(),
        }
        settings = {
            "fitted": self.options.fitted,
            "scored": self.options.scored,
            "method": repr(self.config(METHODS[name])),
        }
        if not artifacts.is_finished(out, artifacts.artifact_key(VECTORS, settings, inputs)):
            shown, _ = pipeline.read_rescaled_pairs(target)
            rows = np.concatenate([self.fitted, self.scored])
            with artifacts.writing(out, VECTORS, settings, inputs) as folder:
                np.save(folder / "vectors.npy", encode_for_scoring(*model, shown, rows))
        return np.asarray(np.load(out / "vectors.npy"))

    def row(self, name: str) -> dict[str, object]:
        """Return the table line of a method."""
        method, options = METHODS[name], self.options
        model = self.tuned(name)
        plain = self.dataset(options.target, method.space)
        own, positives = self.read_labels(plain)
        vectors = self.vectors(name, model, plain)
        score = self.score(model[0], vectors, own, positives)
        line: dict[str, object] = {
            "method": name,
            "tuned on": method.tuned,
            "loss": score.loss,
            "information": score.information,
        }
        line |= {"turned": None, "all turned": None, "cosine": self.cosine(vectors, own), "cosine, turned": None}
        if method.embeddings:
            rotated = self.rotated(method.space)
            other = self.vectors(name, model, rotated)
            line["turned"] = self.score(model[0], other, own, positives).information
            line["all turned"] = self.score(model[0], other, *self.read_labels(rotated)).information
            line["cosine, turned"] = self.cosine(other, own)
        if options.write_all and method.tuned != "nothing":
            tuned, out = self.work / "tuned" / name, self.work / "negatives" / name
            target = (plain.split, plain.profiles, plain.labels)
            pipeline.synthesize_stage(*target, tuned, self.source, SynthesisConfig(), report(name)).run(out)
        return line

    def read_labels(self, target: TuningSet) -> tuple[Floats, Floats]:
        """Read labels of the fitted and the scored pairs, and the embeddings of their positives, both rescaled."""
        shown, own = pipeline.read_rescaled_pairs(target)
        rows = np.concatenate([self.fitted, self.scored])
        return own[rows], shown.items[shown.pairs.items[rows]]

    def score(self, encoder: HardNegativeEncoder, vectors: Floats, own: Floats, positives: Floats) -> HeldOutScore:
        first = self.options.fitted
        return score_held_out(
            encoder,
            vectors[first:],
            own[first:],
            positives[first:],
            batch_size=min(self.options.batch_size, self.options.scored),
            temperature=FinetuneConfig().tuning.temperature,
        )

    def cosine(self, vectors: Floats, own: Floats) -> float:
        """Return the mean cosine of the scored pairs' labels with the predictions of a ridge map fitted on the other pairs."""
        n = self.options.fitted
        ridge = RidgeCV(alphas=np.logspace(-4, 3, 15)).fit(vectors[:n], own[:n])
        predicted = ridge.predict(vectors[n:])
        norms = np.linalg.norm(predicted, axis=1) * np.linalg.norm(own[n:], axis=1)
        return float(np.mean((predicted * own[n:]).sum(axis=1) / np.maximum(norms, 1e-12)))

    def embeddings_line(self) -> dict[str, object]:
        """Return the table line of the same ridge map from [e_u, e_v] alone."""
        shown, own = pipeline.read_rescaled_pairs(self.dataset(self.options.target, "raw"))
        rows = np.concatenate([self.fitted, self.scored])
        both = np.concatenate([shown.users[shown.pairs.users[rows]], shown.items[shown.pairs.items[rows]]], axis=1)
        return {"method": "[e_u, e_v]", "tuned on": "nothing", "cosine": self.cosine(both, own[rows])}

    def spaces(self, split: Path) -> dict[str, object]:
        """Return validation values of a dataset's backbones, and how near their items are to the texts."""
        sets = {space: self.dataset(split, space) for space in ("raw", "onto", "anchored")}
        train = splits.read_split(split).train
        places = text_projection(self.work / split.name / "vectors", train.n_items, self.options.embedding_size)
        line: dict[str, object] = {"set": split.name, "items": train.n_items, "train pairs": len(train)}
        for space, dataset in sets.items():
            line[f"cosine with texts, {space}"] = mean_cosine(labels.read_labels(dataset.labels, train).items, places)
        for run in ("run", "run-anchored"):
            curves = pl.read_parquet(self.work / split.name / run / "metrics.parquet")
            valid = curves.filter((pl.col("split") == "valid") & (pl.col("metric") == "recall@20"))
            line[f"valid recall@20, {run}"] = valid["value"].max()
        return line


def report(name: str) -> Progress:
    def progress(what: str, done: int, total: int) -> None:
        if done == total or done % 10 == 0:
            print(f"\r{name}: {what} {done}/{total}   ", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return progress


def markdown(rows: list[dict[str, object]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in rows:
        cells = [row.get(name) for name in names]
        lines.append(
            "| "
            + " | ".join("–" if c is None else f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells)
            + " |"
        )
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="Split folder.")
    parser.add_argument("--sources", type=Path, nargs="+", required=True, help="Split folders.")
    parser.add_argument("--work", type=Path, default=Path("out/transfer"), help="Folder of all results.")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=[name for name in METHODS if name != "texts-raw"]
    )
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--tuning-pairs", type=int, default=1500, help="Tuning pairs of every dataset.")
    parser.add_argument("--epochs", type=int, default=1, help="Epochs of tuning.")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--head-learning-rate", type=float, default=3e-3)
    parser.add_argument("--fitted", type=int, default=512, help="Target pairs that the ridge map is fitted on.")
    parser.add_argument("--scored", type=int, default=512, help="Target pairs that are scored.")
    parser.add_argument("--profile-tokens", type=int, default=32)
    parser.add_argument("--model", choices=("mf", "lightgcn"), default="mf", help="The backbone.")
    parser.add_argument("--embedding-size", type=int, default=64)
    parser.add_argument("--train-epochs", type=int, default=100, help="Maximum epochs of the backbone.")
    parser.add_argument("--anchor-weight", type=float, default=0.1)
    parser.add_argument(
        "--anchor-length", type=float, default=1.0, help="Length of the anchors; LightGCN stays nearer with 5."
    )
    parser.add_argument(
        "--write-all", action="store_true", help="Also write a negatives folder of the target for every method."
    )
    return parser.parse_args()


def main() -> None:
    torch.set_num_threads(1)
    comparison = Comparison(parse_arguments())
    options = comparison.options
    if {"anchored", "procrustes"} <= set(options.methods):
        print(
            markdown([comparison.spaces(split) for split in (*options.sources, options.target)]), end="\n\n", flush=True
        )
    rows = [comparison.row(name) for name in options.methods]
    print(markdown([*rows, comparison.embeddings_line()]))


if __name__ == "__main__":
    main()
