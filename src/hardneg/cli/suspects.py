"""`hardneg suspects`: identify false negatives, and evaluate their judge."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from hardneg.cli.common import DeviceOptions, add_command, new_group, run_stage
from hardneg.cli.llm_options import LlmOptions, describe_costs, open_session
from hardneg.cli.options import Pairs, SeedOption, SplitArgument, pairs_option
from hardneg.cli.output import ProgressDisplay, echo, row_report_text, show_progress
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.cli.config_files import LlmConfig
    from hardneg.llm.session import Session
    from hardneg.llm.usage import Price
    from hardneg.pipeline import JudgeEvaluation, SuspectInputs, SuspectsConfig
    from hardneg.text import CostEstimate

app = new_group("Identify false negatives among the candidates (DTL-NS), and evaluate their judge.")


@dataclass(frozen=True)
class JudgingOptions:
    """A split, the candidates of its users, and their judge: options of judging and of estimating its cost."""

    split: SplitArgument
    run: Annotated[
        Path | None,
        Option(
            help="Run folder of a model trained on the split, whose highest-scored items are the candidates; required "
            "unless --judge is recorded."
        ),
    ] = None
    trees: Annotated[Path | None, Option(help="Trees folder of the split, for judges of path codes.")] = None
    judge: Annotated[
        str,
        Option(
            help="Judge: rule, by path codes; llm and llm-logprob, a language model on path codes; titles, one on "
            "titles; likelihood, a local one's log-likelihood of titles; recorded, from a file of labels; controls: random, all; or an entry point or module:Class."
        ),
    ] = "rule"
    settings: Annotated[
        Pairs,
        pairs_option(
            "Setting of the judge: threshold, by (rule); per_call, reverse (llm, titles); longest_history, "
            "longest_title, normalize, calibration_users (likelihood); labels=FILE (recorded); rate, "
            "seed, or like=SUSPECTS and like_threshold for the same rate (random)."
        ),
    ] = None
    candidates: Annotated[
        int | None, Option(min=1, max=10_000, show_default="20", help="Number of candidates of each user.")
    ] = None
    codes: Annotated[
        Literal["given", "shuffled", "random"],
        Option(help="Path codes: as in the trees folder, or, as controls, shuffled among the items, or random."),
    ] = "given"
    codes_seed: Annotated[
        int | None, Option(show_default="0", help="Random seed of shuffled and random path codes.")
    ] = None

    def parse(self, llm: LlmConfig) -> tuple[SuspectsConfig, Path | None]:
        """Return the configuration, and the suspects folder whose rate the judge random copies.

        Raises ConfigError where an option is missing, or given but never read.
        """
        from hardneg import judging, pipeline
        from hardneg.config import overrides, parse_config

        judge_class = judging.JudgeConfig.find_class(self.judge)
        self._require_inputs({"trees": judge_class.reads_trees, "llm": judge_class.queries_llm}, llm)
        values: dict[str, Any] = overrides(self.settings or [])
        like = self._copy_rate(values) if self.judge == "random" else None
        judge = parse_config(judge_class, {"kind": self.judge, **values}, where=f"--judge {self.judge}")
        given = {"candidates": self.candidates, "seed": self.codes_seed}
        settings = {name: value for name, value in given.items() if value is not None}
        values = {"judge": judge, "codes": self.codes, **settings}
        return parse_config(pipeline.SuspectsConfig, values, where="hardneg suspects identify"), like

    def inputs(self, session: Session | None, like: Path | None) -> SuspectInputs:
        """Return the inputs of the stage; an estimate of the cost is printed before the first request."""
        from hardneg.pipeline import SuspectInputs

        price = None if session is None else session.price
        return SuspectInputs(
            self.run, self.trees, session, lambda estimate: echo(judging_text(estimate, price), err=True), like
        )

    def _copy_rate(self, values: dict[str, Any]) -> Path | None:
        """Replace `like` and `like_threshold` by the rate of that suspects folder."""
        from hardneg import pipeline
        from hardneg.config import parse_config
        from hardneg.judging import suspects

        if "like" not in values:
            return None
        if "rate" in values:
            raise ConfigError("found --set rate and --set like, expected one of them; like=FOLDER sets the rate")
        like = Path(str(values.pop("like")))
        threshold = parse_config(
            suspects.Threshold, values.pop("like_threshold", suspects.THRESHOLD), where="--set like_threshold"
        )
        values["rate"] = pipeline.suspect_rate(like, self.split, threshold)
        return like

    def _require_inputs(self, needed: Mapping[str, bool], llm: LlmConfig) -> None:
        """needed: "trees" and "llm", True where the judge reads them."""
        require_used(needed, self.judge, self.trees, llm)
        if self.run is None and self.judge != "recorded":
            raise ConfigError(f"found no --run with --judge {self.judge}, expected a run that ranks the candidates")
        if self.run is None and self.candidates is not None:
            raise ConfigError(
                "found --candidates without --run, expected none; the file of labels has its own candidates"
            )
        if self.trees is None and self.codes != "given":
            raise ConfigError(f"found --codes {self.codes} without --trees; give the trees, or leave --codes out")
        if self.codes_seed is not None and self.codes == "given":
            raise ConfigError("found --codes-seed with --codes given, which has no seed; leave it out")


def require_used(needed: Mapping[str, bool], judge: str, trees: Path | None, llm: LlmConfig) -> None:
    """Raise ConfigError where trees or a language model are missing, or given but never read.

    needed: "trees" and "llm", True where the judge reads them.
    """
    for name, value in {"trees": trees, "llm": llm.model}.items():
        if needed[name] and value is None:
            raise ConfigError(f"found no --{name} with --judge {judge}, expected one")
        if value is not None and not needed[name]:
            raise ConfigError(f"found --{name} with --judge {judge}, which does not read it; leave it out")


@add_command(app, "identify")
def identify_suspects_command(
    shared: DeviceOptions,
    judging: JudgingOptions,
    llm: LlmOptions,
    out: Annotated[Path, Option(help="Suspects folder to write.")] = Path("out/suspects"),
) -> None:
    """Judge the candidates of every train user: which of them are false negatives?

    Examples:

    `hardneg suspects identify data/shop-split --run runs/lightgcn --trees out/trees --judge rule --out out/suspects`

    `hardneg suspects identify data/shop-split --run runs/lightgcn --trees out/trees --judge llm --llm openai:gpt-4o-mini --engine budget_money=5 --out out/suspects`

    `hardneg suspects identify data/shop-split --run runs/lightgcn --judge likelihood --llm hf:HuggingFaceTB/SmolLM2-135M-Instruct --out out/likelihood-suspects`

    `hardneg suspects identify data/shop-split --run runs/lightgcn --judge random --set like=out/suspects --out out/random-suspects`
    """
    from hardneg import pipeline
    from hardneg.judging.suspects import MOSTLY_LIKED

    config, like = judging.parse(llm.config)
    with show_progress() as progress, open_judging_session(llm.config, shared.device, progress) as session:
        stage = pipeline.suspects_stage(judging.split, judging.inputs(session, like), config, progress)
        notes = run_stage(stage, out)
    costs, costs_text = describe_costs(out)
    text = f"{notes['candidates']:,} candidates of {notes['users']:,} users, {notes['at least 0.5']:,} suspects, "
    text += f"{notes['unlabelled']:,} without a label ({notes['judge']})"
    text += "".join(f"; {notes[name]}" for name in ("warning", "rule", "likelihood", "like", "labels") if name in notes)
    if MOSTLY_LIKED in notes:
        echo(f"WARNING: {notes[MOSTLY_LIKED]}", err=True)
    following = ("train", judging.split, "--suspects", out, "--use-suspects", "exclude")
    shared.emit_folder(out, notes, text + row_report_text(notes) + costs_text, following, costs=costs)


@dataclass(frozen=True)
class HiddenItemOptions:
    """Options of the users and items that a judge is evaluated on."""

    users: Annotated[int, Option(min=1, help="Maximum number of users.")] = 1000
    random: Annotated[int, Option(min=1, max=1000, help="Random unobserved items of each user.")] = 5
    popular: Annotated[int, Option(min=0, max=1000, help="Items of each user drawn by popularity.")] = 5
    seed: SeedOption = 0


@add_command(app, "evaluate")
def evaluate_judge_command(
    shared: DeviceOptions,
    split: SplitArgument,
    llm: LlmOptions,
    hidden: HiddenItemOptions,
    judge: Annotated[str, Option(help="Judge, as for `hardneg suspects identify`.")] = "rule",
    settings: Annotated[Pairs, pairs_option("Setting of the judge, as for `hardneg suspects identify`.")] = None,
    trees: Annotated[Path | None, Option(help="Trees folder of the split, for judges of path codes.")] = None,
    truth: Annotated[Path | None, Option(help="Dataset folder of a simulated store, for its ground truth.")] = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Print calls and tokens, and send nothing.")] = False,
    out: Annotated[Path | None, Option(help="Parquet file of the judged candidates to write.")] = None,
) -> None:
    """Evaluate a judge: does it rank train items that were hidden from it above other unobserved items?

    `hardneg data add-noise` hides train pairs and records them.

    Example: `hardneg suspects evaluate data/noisy-split --trees out/trees --judge llm --llm openai:gpt-4o-mini --users 200`
    """
    from hardneg import diagnostics, judging, pipeline
    from hardneg.config import overrides, parse_config

    judge_class = judging.JudgeConfig.find_class(judge)
    require_used({"trees": judge_class.reads_trees, "llm": judge_class.queries_llm}, judge, trees, llm.config)
    chosen = parse_config(judge_class, {"kind": judge, **overrides(settings or [])}, where=f"--judge {judge}")
    drawn = diagnostics.HiddenItemsConfig(**asdict(hidden))
    options = pipeline.SuspectsConfig(judge=chosen)
    given = ["--judge", judge, *(["--trees", trees] if trees else []), *(["--llm", llm.llm] if llm.llm else [])]
    llm_config = llm.config.model_copy(update={"store": Path(":memory:")}) if dry_run else llm.config
    with (
        show_progress() as progress,
        open_judging_session(llm_config, shared.device, progress, sends=not dry_run) as session,
    ):
        sources = pipeline.SuspectInputs(None, trees, session)
        if dry_run:
            expected = pipeline.estimate_evaluation(split, sources, options, drawn)
            text = f"{judging_text(expected, None if session is None else session.price)}\nNothing was sent."
            shared.emit(expected.table(None).row(-1, named=True), text, ("suspects", "evaluate", split, *given))
            return
        result = pipeline.evaluate_judge(split, sources, options, drawn, truth)
    if out is not None:
        from hardneg.storage import replacing

        with replacing(out) as unfinished:
            result.candidates.write_parquet(unfinished)
    values = {"judge": result.judge, "measures": result.measures.to_dicts(), "costs": vars(result.costs)}
    shared.emit(values, evaluation_text(result), ("suspects", "identify", split, "--run", "RUN", *given), written=out)


def evaluation_text(result: JudgeEvaluation) -> str:
    """Return the measures of a judge, a line for each kind of unobserved items."""
    costs = result.costs
    lines = [
        f"{result.judge}: {costs.candidates:,} candidates, {costs.calls:,} calls, {costs.prompt_tokens + costs.answer_tokens:,} tokens"
    ]
    for row in result.measures.to_dicts():
        shown = {name: value for name, value in row.items() if name != "against" and value is not None}
        lines.append(
            f"  hidden and {row['against']} items: " + ", ".join(f"{name} {value:.3f}" for name, value in shown.items())
        )
    return "\n".join(lines)


def open_judging_session(
    llm: LlmConfig, device: str, progress: ProgressDisplay, *, sends: bool = True
) -> AbstractContextManager[Session | None]:
    """Open the session of the judge's language model; None without a model. sends: see `open_session`."""
    if llm.model is None:
        return nullcontext()
    return open_session(llm, device, progress, activity="judging with", sends=sends)


def judging_text(estimate: CostEstimate, price: Price | None) -> str:
    """Return an estimate of the cost of judging as a line of text."""
    from hardneg.text.estimates.cost_estimate import money

    total = estimate.total
    dollars = money(total, price)
    return (
        f"judging {total.rows:,} candidates: {total.calls:,.0f} calls, about {total.prompt_tokens:,.0f} prompt tokens "
        f"and at most {total.answer_tokens:,.0f} answer tokens"
        + ("; price unknown" if dollars is None else f"; about ${dollars:,.2f} if nothing is cached")
    )
