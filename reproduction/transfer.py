"""Transfer (HNLMRec's P1): a language model tuned on some sets of data, judged on the train pairs of another one.

    python reproduction/transfer.py data/steam-split --sources data/store-split data/scientific-split --work out/transfer

Embeddings of backbones trained apart have no common space. The ways to deal with it, a row each:

    raw         pooled as they are
    anchored    item tables start at one linear map of their texts and stay near it (`hardneg train --anchor`)
    procrustes  turned onto that map of the texts after training (`hardneg finetune label --onto`)
    texts       no e_u and e_v in the prompt; labels as in procrustes, since the projection of labels needs one space too
    texts-raw   no e_u and e_v in the prompt, labels as they are
    native      tuned on the target itself; native-anchored: the same with its anchored backbone
    untuned     the base as it is, its projection heads drawn at random

Every source gives --tuning-pairs pairs, and so does the target where it is native. All ways are judged on the same pairs
of the target, on which none was tuned, against the target's labels of the way's own space (those of procrustes are those
of raw, turned; the anchored ones are of another backbone). Three measures: InfoNCE through the model's own projection of labels, in
batches of --batch-size, as loss and as information = log(batch) - loss; and the cosine of labels with what one ridge map,
fitted on --fitted other pairs of the target, makes of the vectors: it needs no common space of labels. Each once more with
e_u and e_v turned at random ("turned": in the prompt alone; "all turned": labels too). Where that changes nothing, they were
not used. Finished folders in --work are not made again. --write-all writes a negatives folder of the target for every way.
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
from sklearn.linear_model import RidgeCV

from hardneg import artifacts, pipeline
from hardneg.config import parse_config
from hardneg.data import split as splits
from hardneg.diagnostics import mean_cosine
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
from hardneg.finetuning.pooling import draw_pairs
from hardneg.mining import LabelOptions, labels
from hardneg.models import MF, AnchorConfig, LightGCN
from hardneg.pipeline import FinetuneConfig, RunConfig, TuningSet
from hardneg.pipeline.text_projection import text_projection
from hardneg.sampling import MixGCF
from hardneg.text import TextEncoder, sentence_encoder
from hardneg.training import FitConfig
from hardneg.types import Floats, Indices, Progress

INSTRUCTION = "Another item, close to this one, that the user would not choose."
VECTORS = "judged vectors"


@dataclass(frozen=True)
class Way:
    """space: which labels folder; tuned: on what; embeddings: whether prompts have places for e_u and e_v."""

    space: str
    tuned: str = "sources"
    embeddings: bool = True


WAYS = {
    "raw": Way("raw"),
    "anchored": Way("anchored"),
    "procrustes": Way("onto"),
    "texts": Way("onto", embeddings=False),
    "texts-raw": Way("raw", embeddings=False),
    "native": Way("raw", tuned="target"),
    "native-anchored": Way("anchored", tuned="target"),
    "untuned": Way("raw", tuned="nothing"),
}


@dataclass(frozen=True)
class ItemsAlone:
    """Encodes item texts and leaves user profiles, which nothing here compares, as rows of NaN: most of the time is theirs."""

    inner: TextEncoder
    n_items: int

    @property
    def name(self) -> str:
        return f"{self.inner.name}, items alone"

    @property
    def identity(self) -> str:
        return self.inner.identity

    def encode(self, texts: Sequence[str], progress: object = None) -> Floats:  # noqa: ARG002
        found = self.inner.encode(texts[: self.n_items])
        rest = np.full((len(texts) - self.n_items, found.shape[1]), np.nan, np.float32)
        return np.concatenate([found, rest])


class Study:
    """What is asked for, and the folders that it needs, made when they are first asked for."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.work = given, given.work
        self.source = base_model(given.base)

    @cached_property
    def order(self) -> Indices:
        """Pair rows of the target: natives tune on the front, all are judged on the back."""
        given, n = self.given, len(splits.read_split(self.given.target).train)
        if (wanted := given.tuning_pairs + given.fitted + given.judged) > n:
            sys.exit(
                f"{given.target} has {n} train pairs, expected {wanted}; lower --tuning-pairs, --fitted or --judged"
            )
        return draw_pairs(n)

    @property
    def fitted(self) -> Indices:
        return self.order[len(self.order) - self.given.judged - self.given.fitted :][: self.given.fitted]

    @property
    def judged(self) -> Indices:
        return self.order[len(self.order) - self.given.judged :]

    def dataset(self, split: Path, space: str) -> TuningSet:
        """Profiles and labels of a split in a space: raw, anchored or onto."""
        at = self.work / split.name
        pipeline.extract_profiles_stage(split).run(at / "profiles")
        if space != "raw":
            n_items = splits.read_split(split).train.n_items
            pipeline.encode_texts_stage(split, at / "profiles", ItemsAlone(sentence_encoder(), n_items)).run(
                at / "vectors"
            )
        anchored = space == "anchored"
        run = at / ("run-anchored" if anchored else "run")
        pipeline.train_stage(split, self._run(anchored=anchored), anchor=at / "vectors" if anchored else None).run(run)
        onto = at / "vectors" if space == "onto" else None
        pipeline.labels_stage(split, run, LabelOptions(), onto=onto).run(at / f"labels-{space}")
        return TuningSet(split, at / "profiles", at / f"labels-{space}")

    def turned(self, space: str) -> TuningSet:
        """The target in a space that was turned at random."""
        plain = self.dataset(self.given.target, space)
        out = plain.labels.with_name(f"{plain.labels.name}-turned")
        pipeline.rotate_labels_stage(plain.split, plain.labels, seed=1).run(out)
        return TuningSet(plain.split, plain.profiles, out)

    def _run(self, *, anchored: bool) -> RunConfig:
        given = self.given
        backbone = {"mf": MF, "lightgcn": LightGCN}[given.model]
        return RunConfig(
            model=backbone(embedding_size=given.embedding_size),
            sampler=MixGCF(candidates=16),
            fit=FitConfig(epochs=given.train_epochs),
            anchor=AnchorConfig(weight=given.anchor_weight, length=given.anchor_length) if anchored else None,
        )

    def config(self, way: Way) -> FinetuneConfig:
        given = self.given
        values = {
            "template": {
                "instruction": INSTRUCTION,
                "profile_tokens": given.profile_tokens,
                "embeddings": way.embeddings,
            },
            "tuning": {
                "epochs": given.epochs,
                "batch_size": given.batch_size,
                "micro_batch": given.batch_size,  # short prompts fit whole; a second pass costs a third more
                "learning_rate": given.learning_rate,
                "head_learning_rate": given.head_learning_rate,
                "held_out_most": 128,
                "look_every": 15,
                "patience": 99,
            },
        }
        found: FinetuneConfig = parse_config(FinetuneConfig, values, where="reproduction/transfer.py")
        return found

    def tuned(self, name: str) -> tuple[HardNegativeEncoder, Template]:
        """A way's model."""
        way, given = WAYS[name], self.given
        if way.tuned == "nothing":
            shown, own = pipeline.read_rescaled_pairs(self.dataset(given.target, way.space))
            spaces = EmbeddingSpaces(
                EmbeddingSpace.of(shown.users), EmbeddingSpace.of(shown.items), EmbeddingSpace.of(own)
            )
            template = Template(self.source.tokenizer(), self.config(way).template)
            return open_encoder_model(self.source, self.config(way).model, spaces=spaces), template
        splits_of = [given.target] if way.tuned == "target" else given.sources
        sets, out = [self.dataset(split, way.space) for split in splits_of], self.work / "tuned" / name
        pipeline.tune_pooled_stage(sets, self.source, self.config(way), said(name), pairs_each=given.tuning_pairs).run(
            out
        )
        return load_tuned(out, self.source)

    def vectors(self, name: str, model: tuple[HardNegativeEncoder, Template], target: TuningSet) -> Floats:
        """Vectors of the fitted and of the judged pairs, kept in a folder."""
        out = self.work / VECTORS.replace(" ", "-") / f"{name}-{target.labels.name}"
        tuned = self.work / "tuned" / name
        inputs = {
            "labels": artifacts.folder_hash(target.labels),
            "profiles": artifacts.folder_hash(target.profiles),
            "model": artifacts.folder_hash(tuned) if tuned.is_dir() else self.source.identity(),
        }
        settings = {"fitted": self.given.fitted, "judged": self.given.judged, "way": repr(self.config(WAYS[name]))}
        if not artifacts.is_finished(out, artifacts.artifact_key(VECTORS, settings, inputs)):
            shown, _ = pipeline.read_rescaled_pairs(target)
            rows = np.concatenate([self.fitted, self.judged])
            with artifacts.writing(out, VECTORS, settings, inputs) as folder:
                np.save(folder / "vectors.npy", encode_for_scoring(*model, shown, rows))
        return np.asarray(np.load(out / "vectors.npy"))

    def row(self, name: str) -> dict[str, object]:
        """A way's line of the table."""
        way, given = WAYS[name], self.given
        model = self.tuned(name)
        plain = self.dataset(given.target, way.space)
        own, positives = self.told(plain)
        vectors = self.vectors(name, model, plain)
        found = self.measured(model[0], vectors, own, positives)
        line: dict[str, object] = {
            "way": name,
            "tuned on": way.tuned,
            "loss": found.loss,
            "information": found.information,
        }
        line |= {"turned": None, "all turned": None, "cosine": self.cosine(vectors, own), "cosine, turned": None}
        if way.embeddings:
            turned = self.turned(way.space)
            other = self.vectors(name, model, turned)
            line["turned"] = self.measured(model[0], other, own, positives).information
            line["all turned"] = self.measured(model[0], other, *self.told(turned)).information
            line["cosine, turned"] = self.cosine(other, own)
        if given.write_all and way.tuned != "nothing":
            tuned, out = self.work / "tuned" / name, self.work / "negatives" / name
            target = (plain.split, plain.profiles, plain.labels)
            pipeline.synthesize_stage(*target, tuned, out, self.source, said(name)).run(SynthesisConfig())
        return line

    def told(self, target: TuningSet) -> tuple[Floats, Floats]:
        """Labels of the fitted and of the judged pairs, and their positives' embeddings, levelled."""
        shown, own = pipeline.read_rescaled_pairs(target)
        rows = np.concatenate([self.fitted, self.judged])
        return own[rows], shown.items[shown.pairs.items[rows]]

    def measured(self, writer: HardNegativeEncoder, vectors: Floats, own: Floats, positives: Floats) -> HeldOutScore:
        first = self.given.fitted
        return score_held_out(
            writer,
            vectors[first:],
            own[first:],
            positives[first:],
            batch_size=min(self.given.batch_size, self.given.judged),
            temperature=FinetuneConfig().tuning.temperature,
        )

    def cosine(self, vectors: Floats, own: Floats) -> float:
        """Of the judged pairs' labels with what a ridge map, fitted on the others, makes of their vectors."""
        n = self.given.fitted
        ridge = RidgeCV(alphas=np.logspace(-4, 3, 15)).fit(vectors[:n], own[:n])
        made = ridge.predict(vectors[n:])
        norms = np.linalg.norm(made, axis=1) * np.linalg.norm(own[n:], axis=1)
        return float(np.mean((made * own[n:]).sum(axis=1) / np.maximum(norms, 1e-12)))

    def without_a_model(self) -> dict[str, object]:
        """What the same ridge map makes of [e_u, e_v] alone."""
        shown, own = pipeline.read_rescaled_pairs(self.dataset(self.given.target, "raw"))
        rows = np.concatenate([self.fitted, self.judged])
        both = np.concatenate([shown.users[shown.pairs.users[rows]], shown.items[shown.pairs.items[rows]]], axis=1)
        return {"way": "[e_u, e_v]", "tuned on": "nothing", "cosine": self.cosine(both, own[rows])}

    def spaces(self, split: Path) -> dict[str, object]:
        """What a set's backbones are worth, and how near their items are to the texts."""
        sets = {space: self.dataset(split, space) for space in ("raw", "onto", "anchored")}
        train = splits.read_split(split).train
        places = text_projection(self.work / split.name / "vectors", train.n_items, self.given.embedding_size)
        line: dict[str, object] = {"set": split.name, "items": train.n_items, "train pairs": len(train)}
        for space, one in sets.items():
            line[f"cosine with texts, {space}"] = mean_cosine(labels.read_labels(one.labels, train).items, places)
        for run in ("run", "run-anchored"):
            curves = pl.read_parquet(self.work / split.name / run / "metrics.parquet")
            valid = curves.filter((pl.col("split") == "valid") & (pl.col("metric") == "recall@20"))
            line[f"valid recall@20, {run}"] = valid["value"].max()
        return line


def said(name: str) -> Progress:
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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="split folder")
    parser.add_argument("--sources", type=Path, nargs="+", required=True, help="split folders")
    parser.add_argument("--work", type=Path, default=Path("out/transfer"), help="where all folders go")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[name for name in WAYS if name != "texts-raw"])
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--tuning-pairs", type=int, default=1500, help="of every set")
    parser.add_argument("--epochs", type=int, default=1, help="of tuning")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--head-learning-rate", type=float, default=3e-3)
    parser.add_argument("--fitted", type=int, default=512, help="target pairs of the ridge map")
    parser.add_argument("--judged", type=int, default=512, help="target pairs")
    parser.add_argument("--profile-tokens", type=int, default=32)
    parser.add_argument("--model", choices=("mf", "lightgcn"), default="mf", help="the backbone")
    parser.add_argument("--embedding-size", type=int, default=64)
    parser.add_argument("--train-epochs", type=int, default=100, help="of the backbone, at most")
    parser.add_argument("--anchor-weight", type=float, default=0.1)
    parser.add_argument("--anchor-length", type=float, default=1.0, help="of the places; LightGCN stays nearer with 5")
    parser.add_argument("--write-all", action="store_true", help="also a negatives folder of the target for every way")
    return parser.parse_args()


def main() -> None:
    torch.set_num_threads(1)
    study = Study(arguments())
    given = study.given
    if {"anchored", "procrustes"} <= set(given.ways):
        print(markdown([study.spaces(split) for split in (*given.sources, given.target)]), end="\n\n", flush=True)
    rows = [study.row(name) for name in given.ways]
    print(markdown([*rows, study.without_a_model()]))


if __name__ == "__main__":
    main()
