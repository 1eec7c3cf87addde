"""Evaluate judges of false negatives under known noise, on the simulated store, whose ground truth is known as well.

    python reproduction/noise.py data/store-split data/store [--rates 0 0.1 0.2] [--models LightGCN MF] [--seeds 3]
        [--llm openai:gpt-4o-mini --ask llm titles --engine budget_money=5]

At each rate, false positives are injected into train, or true positives are hidden from it (`hardneg data add-noise`), one kind
at a time. A backbone with uniform negatives is trained on the result. Judges label the 20 unobserved items of every user that it
scores highest. Runs with MixGCF then exclude the suspects from candidates, or train on them as positives.

The first table has precision, recall and accuracy of the labels, compared with the hidden pairs (all other candidates count as
not liked) and with the like-probabilities of the store (expectations). Judge `random` has the rate of `rule`. The second table has
Recall@20 on the test pairs, which contain no noise. The ground truth reaches no judge and no training.

Finished folders in --work are reused. With --llm, named as for `hardneg suspects identify`, a language model judges as well: every
candidate in every condition, within one budget.
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
from hardneg.cli.output import show_progress
from hardneg.data import noise as noises
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.noise import NoiseConfig
from hardneg.judging import suspects
from hardneg.llm.session import Session
from hardneg.models import MF, LightGCN, ModelConfig
from hardneg.pipeline import EVALUATION, RunConfig, SuspectInputs, SuspectsConfig, SuspectsUse
from hardneg.report import printers
from hardneg.sampling import MixGCF, Uniform
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig

MODELS: dict[str, ModelConfig] = {"LightGCN": LightGCN(hops=3), "MF": MF()}
JUDGES = ("rule", "random", "all")
LLM_JUDGES = ("llm", "llm-logprob", "titles")
READ_CODES = ("rule", "llm", "llm-logprob")
USES = ("exclude", "positives")
METRIC = "recall@20"
NOISE = ["false positives", "hidden positives", "model", "judge"]
IDENTIFICATION_HEADERS = [
    *NOISE,
    "against",
    "base rate",
    "suspects",
    "precision",
    "recall",
    "of candidates",
    "accuracy",
]
RECALL_HEADERS = [*NOISE, *(f"Recall@20, {use}" for use in USES)]


@dataclass(frozen=True)
class LlmJudges:
    """An open language model, and the judges that query it."""

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
    llm: LlmJudges | None

    @property
    def cells(self) -> list[str]:
        """The first cells of a line."""
        return [f"{self.noise.false_positives:.0%}", f"{self.noise.hidden:.0%}", self.model]

    @property
    def split(self) -> Path:
        """Folder of the split with noise; without noise the clean split."""
        if not self.noise.false_positives and not self.noise.hidden:
            return self.clean
        return self.work / f"added{self.noise.false_positives:g}-hidden{self.noise.hidden:g}" / "split"

    @property
    def folder(self) -> Path:
        """Folder of runs, trees and suspects."""
        return self.work / f"added{self.noise.false_positives:g}-hidden{self.noise.hidden:g}" / self.model.lower()

    def identify_suspects(self) -> dict[str, Path]:
        """Make suspects with every judge, from the same candidates, and return judge -> suspects folder."""
        run, trees = self.folder / "uniform-seed0", self.folder / "trees"
        pipeline.train_stage(self.split, self.config(sampler=Uniform())).run(run)
        pipeline.trees_stage(self.split, TreesConfig(), run=run).run(trees)
        llm_judges = () if self.llm is None else self.llm.judges
        folders = {judge: self.folder / f"suspects-{judge}" for judge in (*JUDGES, *llm_judges)}
        for judge, out in folders.items():
            model = self.llm.session if self.llm is not None and judge in llm_judges else None
            inputs = SuspectInputs(run, trees if judge in READ_CODES else None, model)
            rate = {"rate": pipeline.suspect_rate(folders["rule"], self.split)} if judge == "random" else {}
            options = SuspectsConfig.model_validate({"judge": {"kind": judge, **rate}})
            pipeline.suspects_stage(self.split, inputs, options).run(out)
        return folders

    def config(self, **more: object) -> RunConfig:
        """Return the settings of a run under seed 0."""
        fit = FitConfig(epochs=self.epochs, check_every=min(5, self.epochs), patience=3, learning_rate=5e-3, l2=1e-4)
        return RunConfig.model_validate({"model": MODELS[self.model], "fit": fit, **more})

    def recall(self, name: str, use: str | None = None, folder: Path | None = None) -> str:
        """Return Recall@20 of MixGCF with or without suspects, mean and standard deviation over seeds."""
        suspects_use = None if use is None else SuspectsUse.model_validate({"use": use})
        config = self.config(sampler=MixGCF(), suspects=suspects_use)
        values = np.array([self._recall(f"{name}-seed{seed}", config, folder, seed) for seed in range(self.seeds)])
        return f"{values.mean():.4f}" + (f" ± {values.std(ddof=1):.4f}" if self.seeds > 1 else "")

    def _recall(self, name: str, config: RunConfig, folder: Path | None, seed: int) -> float:
        run, fit = self.folder / f"mixgcf-{name}", config.fit.model_copy(update={"seed": seed})
        pipeline.train_stage(self.split, config.model_copy(update={"fit": fit}), suspects=folder).run(run)
        pipeline.evaluate_run(run, self.split, (METRIC,))
        return float(read_parquet(run / EVALUATION / "metrics.parquet")["value"].item())


def identification_lines(condition: Condition, truth: Path, folders: dict[str, Path]) -> Iterator[list[str]]:
    """Yield the lines of the first table. folders: judge -> suspects."""
    data, likes = splits.read_split(condition.split), pipeline.truth_of(truth, condition.split)
    hidden = noises.read_noise(condition.split).hidden if condition.noise.hidden else None
    for judge, folder in folders.items():
        judged = suspects.read_suspects(folder, data)
        if hidden is not None:
            yield [*condition.cells, judge, "hidden pairs", *identification_cells(compare_with_pairs(judged, hidden))]
        yield [*condition.cells, judge, "truth", *identification_cells(compare_with_truth(judged, likes, data.train))]


def identification_cells(result: Identification) -> list[str]:
    """Return the cells of one line."""
    shares = result.precision, result.recall, result.recall_of_candidates, result.accuracy
    texts = ["–" if share is None else f"{share:.1%}" for share in shares]
    return [f"{result.base_rate:.1%}", f"{result.suspects:,}", *texts]


def recall_lines(condition: Condition, folders: dict[str, Path]) -> Iterator[list[str]]:
    """Yield the lines of the second table."""
    yield [*condition.cells, "none", *[condition.recall("plain")] * len(USES)]
    for judge, folder in folders.items():
        yield [*condition.cells, judge, *(condition.recall(f"{judge}-{use}", use, folder) for use in USES)]


def make_conditions(arguments: argparse.Namespace, llm: LlmJudges | None) -> Iterator[Condition]:
    """Yield the condition without noise, then each kind of noise at each rate above 0, and make their splits."""
    kinds = [(rate, 0.0) for rate in arguments.rates] + [(0.0, rate) for rate in arguments.rates if rate]
    for added, hidden in kinds:
        for model in arguments.models:
            noise = NoiseConfig(false_positives=added, hidden=hidden)
            condition = Condition(arguments.split, arguments.work, noise, model, arguments.epochs, arguments.seeds, llm)
            if condition.split != arguments.split:
                pipeline.noise_stage(arguments.split, noise).run(condition.split)
            yield condition


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path, help="Split folder of a simulated store.")
    parser.add_argument("truth", type=Path, help="Its dataset folder.")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.1, 0.2])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["LightGCN"])
    parser.add_argument("--seeds", type=int, default=1, help="Number of seeds in the second table.")
    parser.add_argument("--epochs", type=int, default=40, help="Maximum number of epochs.")
    parser.add_argument("--llm", help="Language model: openai:NAME, http://HOST/v1#MODEL, hf:NAME.")
    parser.add_argument(
        "--ask", nargs="+", choices=LLM_JUDGES, default=["llm", "titles"], help="Judges that query the language model."
    )
    parser.add_argument("--engine", nargs="+", help="NAME=VALUE, such as budget_money=5, for all conditions together.")
    parser.add_argument("--prices", type=Path, help="YAML list of prices that replaces the packaged one.")
    parser.add_argument("--work", type=Path, default=Path("out/noise"))
    parser.add_argument("--out", type=Path, help="Also write the tables here.")
    arguments = parser.parse_args()
    lines: list[list[str]] = []
    recalls: list[list[str]] = []
    with ExitStack() as stack:
        llm = None
        if arguments.llm is not None:
            store = arguments.work / "replies.sqlite"
            options = LlmOptions(arguments.llm, None, store, arguments.engine, arguments.prices)
            progress = stack.enter_context(show_progress())
            opened = stack.enter_context(open_session(options.config, "cpu", progress, activity="judging with"))
            llm = LlmJudges(opened, tuple(arguments.ask))
        for condition in make_conditions(arguments, llm):
            folders = condition.identify_suspects()
            lines += identification_lines(condition, arguments.truth, folders)
            recalls += recall_lines(condition, folders)
            print(" ".join(condition.cells), "done", flush=True)
    text = f"{printers.markdown(IDENTIFICATION_HEADERS, lines)}\n{printers.markdown(RECALL_HEADERS, recalls)}"
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
