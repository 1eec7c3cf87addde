"""Evaluate judges of false negatives on train items that were hidden from them, beside training-free baselines.

    python reproduction/judges.py scientific data/scientific-split --judges llm titles likelihood --models smollm2-135m
    python reproduction/judges.py toys data/toys-split --judges llm llm-logprob --models qwen2.5-coder-0.5b
    python reproduction/judges.py store data/store-split --truth data/store --judges titles likelihood --models smollm2-135m

Each user has one hidden train item, five random unobserved items and five drawn by popularity (`hardneg suspects evaluate`). The
hidden items are removed from the split before the trees are built, so path codes do not know them. Judges rule, random, all, and
the baselines (nearest title and mean of the history's titles by MiniLM, popularity) are always in the table. Judge random says
"yes" as often as the rule.

--dry-run prints calls, tokens and, with --sample USERS, hours; the sampled replies stay in the store. Replies are stored, so an
interrupted command continues, and a finished row costs nothing. Writes studies/results/judges/NAME.parquet, NAME-bins.parquet and
NAME.md; rows of other models and judges in them stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from diagnostics.title_scores import score_by_titles

from hardneg import pipeline
from hardneg.cli.llm_options import LlmOptions, open_session
from hardneg.cli.output import show_progress
from hardneg.data import noise as noises
from hardneg.data import split as splits
from hardneg.data.noise import NoiseConfig
from hardneg.diagnostics import HiddenItemsConfig
from hardneg.diagnostics.judge_quality import draw_candidates
from hardneg.judging import JudgeConfig
from hardneg.llm.session import Session
from hardneg.models import LightGCN
from hardneg.pipeline import JudgeEvaluation, RunConfig, SuspectInputs, SuspectsConfig
from hardneg.report import printers
from hardneg.sampling import Uniform
from hardneg.text import open_encoder
from hardneg.text.generation.profile_generation import titles_or_blank
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig

RESULTS = Path(__file__).parents[1] / "studies" / "results" / "judges"
NONE = "–"
KEY = ["judge", "model"]
COSTS = ("calls", "prompt_tokens", "answer_tokens", "seconds")
HEADERS = {
    "judge": "judge",
    "model": "model",
    "auc": "AUC, random",
    "auc_popular": "AUC, popular",
    "auc_pooled": "AUC over all users",
    "kappa": "kappa",
    "yes_hidden": "yes to hidden",
    "yes_others": "yes to random",
    "brier": "Brier",
    "ece": "ECE",
    "labelled": "labelled",
    "spearman": "rank corr. with truth",
    "like_yes": "liked, of yes",
    "like_all": "liked, of all",
    "calls": "calls",
    "prompt_tokens": "prompt tokens",
    "answer_tokens": "answer tokens",
    "seconds": "seconds",
}
"""Column of the frame -> header; calls, tokens and seconds are per 1,000 candidates."""
SHARES = ("yes_hidden", "yes_others", "labelled", "like_yes", "like_all")


@dataclass(frozen=True)
class Evaluation:
    """A split with hidden items, its trees, and the users and candidates to judge."""

    name: str
    folder: Path
    truth: Path | None
    users: HiddenItemsConfig

    @property
    def split(self) -> Path:
        return self.folder / "split"

    def prepare(self, original: Path, hidden: float, epochs: int) -> None:
        """Hide train items, and build path codes from what is left."""
        pipeline.noise_stage(original, NoiseConfig(false_positives=0, hidden=hidden)).run(self.split)
        fit = FitConfig(epochs=epochs, check_every=min(5, epochs), patience=3, learning_rate=5e-3, l2=1e-4)
        run = self.folder / "run"
        pipeline.train_stage(self.split, RunConfig(model=LightGCN(hops=3), sampler=Uniform(), fit=fit)).run(run)
        pipeline.trees_stage(self.split, TreesConfig(), run=run).run(self.folder / "trees")

    def sources(self, judge: JudgeConfig, session: Session | None) -> SuspectInputs:
        trees = self.folder / "trees" if judge.reads_trees else None
        return SuspectInputs(None, trees, session if judge.queries_llm else None)

    def judge(
        self, name: str, session: Session | None = None, users: int | None = None, **settings: Any
    ) -> JudgeEvaluation:
        judge = _configure(name, **settings)
        drawn = self.users if users is None else self.users.model_copy(update={"users": users})
        options = SuspectsConfig(judge=judge)
        return pipeline.evaluate_judge(self.split, self.sources(judge, session), options, drawn, self.truth)

    def controls(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of judges without a language model and of the baselines."""
        rule = self.judge("rule")
        yes = float((rule.candidates["probability"] >= 0.5).mean())
        for name, result in (("rule", rule), ("random", self.judge("random", rate=yes)), ("all", self.judge("all"))):
            yield {"judge": name, "model": NONE, **row_of(result.measures)}
        split = splits.read_split(self.split)
        drawn = draw_candidates(split, noises.read_noise(self.split).hidden, self.users)
        candidates = drawn.candidates
        popularity = split.train.item_counts[np.maximum(candidates.items, 0)].astype(float)
        scores = {"popularity": np.where(candidates.present, popularity, np.nan)}
        titles = titles_or_blank(split.texts)
        if any(titles):
            vectors = open_encoder("minilm").encode(titles)
            nearest, mean = score_by_titles(vectors, split.train, candidates)
            scores |= {"nearest title (MiniLM)": nearest, "mean of titles (MiniLM)": mean}
        for name, values in scores.items():
            yield {"judge": name, "model": NONE, **row_of(pipeline.measure_judge(values, drawn, graded=False))}

    def dry_run(self, name: str, session: Session, sample: int, **settings: Any) -> str:
        """Return calls, tokens and, from sampled users, hours as a line."""
        judge = _configure(name, **settings)
        total = pipeline.estimate_evaluation(
            self.split, self.sources(judge, session), SuspectsConfig(judge=judge), self.users
        ).total
        hours = NONE
        if sample:
            self.judge(name, session, users=1, **settings)  # loads the model
            session.usage = type(session.usage)()
            costs = self.judge(name, session, users=1 + sample, **settings).costs
            if costs.seconds is not None:
                hours = f"{costs.seconds / costs.candidates * total.rows / 3600:.2f}"
        tokens = f"{total.prompt_tokens:,.0f} prompt and at most {total.answer_tokens:,.0f} answer tokens"
        return f"{self.name}, {name}, {session.model.name}: {total.rows:,} candidates, {total.calls:,} calls, {tokens}, hours {hours}"


def _configure(name: str, **settings: Any) -> JudgeConfig:
    judge: JudgeConfig = JudgeConfig.find_class(name).model_validate({"kind": name, **settings})
    return judge


def row_of(measures: pl.DataFrame, result: JudgeEvaluation | None = None) -> dict[str, Any]:
    """Return the measures against random items, the AUC against popular ones, and costs per 1,000 candidates."""
    by_kind = {row.pop("against"): row for row in measures.to_dicts()}
    popular = by_kind.get("popular", {})
    row = by_kind["random"] | {"auc_popular": popular.get("auc"), "auc_popular_se": popular.get("auc_se")}
    if result is None:
        return row
    per = 1000 / result.costs.candidates
    amounts = {name: getattr(result.costs, name) for name in COSTS}
    return row | {name: None if amount is None else amount * per for name, amount in amounts.items()}


def merge_rows(path: Path, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Write rows into a table in place of those with the same judge and model; times of stored replies are kept."""
    earlier = (
        {tuple(row[name] for name in KEY): row for row in pl.read_parquet(path).to_dicts()} if path.exists() else {}
    )
    for row in rows:
        old = earlier.get(key := tuple(row[name] for name in KEY), {})
        earlier[key] = row | ({"seconds": old.get("seconds")} if row.get("seconds") is None else {})
    frame = pl.DataFrame(list(earlier.values()), infer_schema_length=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return frame


def tabulate(frame: pl.DataFrame) -> str:
    """Return the table in Markdown; columns without any value are left out."""
    shown = [name for name in HEADERS if name in frame.columns and frame[name].is_not_null().any()]
    cells = [[_cell(name, row) for name in shown] for row in frame.to_dicts()]
    return printers.markdown([HEADERS[name] for name in shown], cells)


def _cell(name: str, row: dict[str, Any]) -> str:
    value = row[name]
    if value is None or isinstance(value, str):
        return value or NONE
    if name in COSTS:
        return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"
    if name in SHARES:
        return f"{value:.1%}"
    error = row.get(f"{name}_se")
    return f"{value:.3f}" + (f" ± {error:.3f}" if error else "")


def write_bins(path: Path, result: JudgeEvaluation, judge: str, model: str) -> None:
    """Write the reliability of a judge in place of an earlier one."""
    bins = result.bins.with_columns(judge=pl.lit(judge), model=pl.lit(model))
    if path.exists():
        others = pl.read_parquet(path).filter((pl.col("judge") != judge) | (pl.col("model") != model))
        bins = pl.concat([others, bins])
    bins.write_parquet(path)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="Name of the table.")
    parser.add_argument("split", type=Path)
    parser.add_argument("--truth", type=Path, help="Dataset folder of a simulated store.")
    parser.add_argument("--judges", nargs="*", default=[], help="Judges that query a language model.")
    parser.add_argument("--models", nargs="*", default=[], help="Language models, as for --llm.")
    parser.add_argument("--precision", help="Precision of a model in this process.")
    parser.add_argument("--engine", nargs="+", help="NAME=VALUE, such as budget_calls=1000.")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--random", type=int, default=5, help="Random items of each user.")
    parser.add_argument("--popular", type=int, default=5, help="Items of each user drawn by popularity.")
    parser.add_argument(
        "--calibration", type=int, default=1000, help="Users with a hidden item that calibrate judge likelihood."
    )
    parser.add_argument("--hidden", type=float, default=0.05, help="Share of train pairs that are hidden.")
    parser.add_argument("--epochs", type=int, default=40, help="Maximum epochs of the run behind the path codes.")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--sample", type=int, default=0, help="Users whose replies are timed in a dry run.")
    parser.add_argument("--work", type=Path, default=Path("out/judges"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    users = HiddenItemsConfig(users=arguments.users, random=arguments.random, popular=arguments.popular)
    evaluation = Evaluation(arguments.name, arguments.work / arguments.name, arguments.truth, users)
    evaluation.prepare(arguments.split, arguments.hidden, arguments.epochs)
    table = arguments.results / f"{arguments.name}.parquet"
    if not arguments.dry_run:
        merge_rows(table, list(evaluation.controls()))
    for model in arguments.models:
        for judge in arguments.judges:
            store = arguments.work / "replies.sqlite"
            options = LlmOptions(llm=model, store=store, engine=arguments.engine, precision=arguments.precision)
            with (
                show_progress() as progress,
                open_session(options.config, "cpu", progress, activity="judging with") as session,
            ):
                settings = {"calibration_users": arguments.calibration} if judge == "likelihood" else {}
                if arguments.dry_run:
                    print(evaluation.dry_run(judge, session, arguments.sample, **settings), flush=True)
                    continue
                result = evaluation.judge(judge, session, **settings)
                merge_rows(table, [{"judge": judge, "model": session.model.name, **row_of(result.measures, result)}])
                write_bins(table.with_name(f"{arguments.name}-bins.parquet"), result, judge, session.model.name)
                result.candidates.write_parquet(evaluation.folder / f"{judge}-{session.model.name}.parquet")
    if not arguments.dry_run:
        text = tabulate(pl.read_parquet(table))
        table.with_suffix(".md").write_text(text, encoding="utf-8")
        print(text)


if __name__ == "__main__":
    main()
