"""What judges of false negatives are worth under noise that is known: on the simulated store, whose truth is known, too.

    python reproduction/noise.py data/store-split data/store [--rates 0 0.1 0.2] [--models LightGCN MF] [--seeds 3]
        [--llm openai:gpt-4o-mini --ask llm titles --engine budget_money=5]

At each rate false positives are injected into train, or true positives hidden from it (`hardneg data add-noise`), one at a time.
A backbone with uniform negatives is trained on what is left, its 20 best unobserved items of every user are judged, and runs
with MixGCF leave the suspects out of candidates, or train on them. First table: precision, recall and accuracy of the
labels, against the hidden pairs (what is not among these counts as not liked) and against the like-probabilities of the
store (expectations); judge `random` has the rate of `rule`. Second table: Recall@20 on the test pairs, which the noise
does not touch. The truth reaches no judge and no training. What stands in --work is not made again. With --llm, named as
for `hardneg suspects identify`, a language model judges as well: every candidate in every condition, within one budget.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from diagnostics.identification import Identification, compare_with_pairs, compare_with_truth

from hardneg import pipeline
from hardneg.cli.llm_options import LlmOptions, open_session
from hardneg.cli.progress import show_progress
from hardneg.data import noise as noises
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.noise import NoiseConfig
from hardneg.judging import suspects
from hardneg.llm.session import Session
from hardneg.models import MF, LightGCN, ModelConfig
from hardneg.pipeline import EVALUATION, RunConfig, SuspectInputs, SuspectsConfig, SuspectsUse
from hardneg.report import tables
from hardneg.sampling import MixGCF, Uniform
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig

MODELS: dict[str, ModelConfig] = {"LightGCN": LightGCN(hops=3), "MF": MF()}
JUDGES = ("rule", "random", "all")
ASKING = ("llm", "llm-logprob", "titles")
SEES_CODES = ("rule", "llm", "llm-logprob")
USES = ("exclude", "positives")
METRIC = "recall@20"
NOISE = ["false positives", "hidden positives", "model", "judge"]
IDENTIFIED = [*NOISE, "against", "base rate", "suspects", "precision", "recall", "of candidates", "accuracy"]
RECALLED = [*NOISE, *(f"Recall@20, {use}" for use in USES)]


@dataclass(frozen=True)
class Asking:
    """A language model at work, and the judges that ask it."""

    session: Session
    judges: tuple[str, ...]


@dataclass(frozen=True)
class Condition:
    """One kind of noise at one rate, with one model."""

    clean: Path
    work: Path
    noise: NoiseConfig
    model: str
    epochs: int
    seeds: int
    asking: Asking | None

    @property
    def cells(self) -> list[str]:
        """First cells of a line."""
        return [f"{self.noise.false_positives:.0%}", f"{self.noise.hidden:.0%}", self.model]

    @property
    def split(self) -> Path:
        """Without noise the split as it is."""
        if not self.noise.false_positives and not self.noise.hidden:
            return self.clean
        return self.work / f"added{self.noise.false_positives:g}-hidden{self.noise.hidden:g}" / "split"

    @property
    def folder(self) -> Path:
        """Of runs, trees and suspects."""
        return self.work / f"added{self.noise.false_positives:g}-hidden{self.noise.hidden:g}" / self.model.lower()

    def judged(self) -> dict[str, Path]:
        """Judge -> suspects folder; all judge the same candidates."""
        run, trees = self.folder / "uniform-seed0", self.folder / "trees"
        pipeline.train_stage(self.split, self.config(sampler=Uniform())).run(run)
        pipeline.trees_stage(self.split, TreesConfig(), run=run).run(trees)
        asked = () if self.asking is None else self.asking.judges
        folders = {judge: self.folder / f"suspects-{judge}" for judge in (*JUDGES, *asked)}
        for judge, out in folders.items():
            model = self.asking.session if self.asking is not None and judge in asked else None
            sources = SuspectInputs(run, trees if judge in SEES_CODES else None, model)
            rate = {"rate": pipeline.suspect_rate(folders["rule"], self.split)} if judge == "random" else {}
            mining = SuspectsConfig.model_validate({"judge": {"kind": judge, **rate}})
            pipeline.suspects_stage(self.split, sources, mining).run(out)
        return folders

    def config(self, **more: object) -> RunConfig:
        """Of a run, under seed 0."""
        fit = FitConfig(epochs=self.epochs, check_every=min(5, self.epochs), patience=3, learning_rate=5e-3, l2=1e-4)
        return RunConfig.model_validate({"model": MODELS[self.model], "fit": fit, **more})

    def recall(self, name: str, use: str | None = None, folder: Path | None = None) -> str:
        """Recall@20 of MixGCF, mean and standard deviation over seeds; with suspects, or without."""
        used = None if use is None else SuspectsUse.model_validate({"use": use})
        config = self.config(sampler=MixGCF(), suspects=used)
        values = np.array([self._recall(f"{name}-seed{seed}", config, folder, seed) for seed in range(self.seeds)])
        return f"{values.mean():.4f}" + (f" ± {values.std(ddof=1):.4f}" if self.seeds > 1 else "")

    def _recall(self, name: str, config: RunConfig, folder: Path | None, seed: int) -> float:
        run, fit = self.folder / f"mixgcf-{name}", config.fit.model_copy(update={"seed": seed})
        pipeline.train_stage(self.split, config.model_copy(update={"fit": fit}), suspects=folder).run(run)
        pipeline.evaluate_run(run, self.split, (METRIC,))
        return float(read_parquet(run / EVALUATION / "metrics.parquet")["value"].item())


def identified(condition: Condition, truth: Path, folders: dict[str, Path]) -> Iterator[list[str]]:
    """Lines of the first table."""
    data, likes = splits.read_split(condition.split), pipeline.truth_of(truth, condition.split)
    hidden = noises.read_noise(condition.split).hidden if condition.noise.hidden else None
    for judge, folder in folders.items():
        judged = suspects.read_suspects(folder, data)
        if hidden is not None:
            yield [*condition.cells, judge, "hidden pairs", *figures(compare_with_pairs(judged, hidden))]
        yield [*condition.cells, judge, "truth", *figures(compare_with_truth(judged, likes, data.train))]


def figures(found: Identification) -> list[str]:
    """Cells of one line."""
    shares = found.precision, found.recall, found.recall_of_candidates, found.accuracy
    texts = ["–" if share is None else f"{share:.1%}" for share in shares]
    return [f"{found.base_rate:.1%}", f"{found.suspects:,}", *texts]


def recalled(condition: Condition, folders: dict[str, Path]) -> Iterator[list[str]]:
    """Lines of the second table."""
    yield [*condition.cells, "none", *[condition.recall("plain")] * len(USES)]
    for judge, folder in folders.items():
        yield [*condition.cells, judge, *(condition.recall(f"{judge}-{use}", use, folder) for use in USES)]


def conditions(given: argparse.Namespace, asking: Asking | None) -> Iterator[Condition]:
    """No noise once, then each kind at each rate above 0."""
    kinds = [(rate, 0.0) for rate in given.rates] + [(0.0, rate) for rate in given.rates if rate]
    for added, hidden in kinds:
        for model in given.models:
            noise = NoiseConfig(false_positives=added, hidden=hidden)
            condition = Condition(given.split, given.work, noise, model, given.epochs, given.seeds, asking)
            if condition.split != given.split:
                pipeline.noise_stage(given.split, noise).run(condition.split)
            yield condition


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path, help="Split folder of a simulated store.")
    parser.add_argument("truth", type=Path, help="Its dataset folder.")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.1, 0.2])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["LightGCN"])
    parser.add_argument("--seeds", type=int, default=1, help="Runs of each line of the second table.")
    parser.add_argument("--epochs", type=int, default=40, help="At most so many a run.")
    parser.add_argument("--llm", help="A language model that judges, too: openai:NAME, http://HOST/v1#MODEL, hf:NAME.")
    parser.add_argument("--ask", nargs="+", choices=ASKING, default=["llm", "titles"], help="The judges that ask it.")
    parser.add_argument(
        "--engine", nargs="+", help="NAME=VALUE, as for `hardneg suspects identify`: budget_money=5 is for all of it."
    )
    parser.add_argument("--prices", type=Path, help="YAML list of prices that goes before the one shipped.")
    parser.add_argument("--work", type=Path, default=Path("out/noise"))
    parser.add_argument("--out", type=Path, help="Also write the tables here.")
    given = parser.parse_args()
    found: list[list[str]] = []
    recalls: list[list[str]] = []
    with ExitStack() as stack:
        asking = None
        if given.llm is not None:
            options = LlmOptions(given.llm, None, given.work / "replies.sqlite", given.engine, given.prices)
            progress = stack.enter_context(show_progress())
            opened = stack.enter_context(open_session(options.parse(), "cpu", progress, activity="judging with"))
            asking = Asking(opened, tuple(given.ask))
        for condition in conditions(given, asking):
            folders = condition.judged()
            found += identified(condition, given.truth, folders)
            recalls += recalled(condition, folders)
            print(" ".join(condition.cells), "done", flush=True)
    text = f"{tables.markdown(IDENTIFIED, found)}\n{tables.markdown(RECALLED, recalls)}"
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
