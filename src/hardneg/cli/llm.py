"""`hardneg llm`: check a language model, and estimate the cost of writing and judging."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from hardneg.cli.common import DeviceOptions, OutputOptions, add_command, new_group
from hardneg.cli.llm_models import get_command, models_command
from hardneg.cli.llm_options import LlmOptions, PerOption, open_session, per_setting
from hardneg.cli.options import Pairs, SplitArgument, pairs_option, parse_settings
from hardneg.cli.output import render_table, show_progress
from hardneg.cli.suspects import JudgingOptions, judging_text, open_judging_session

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

    from hardneg.cli.config_files import LlmConfig
    from hardneg.llm.session import Session
    from hardneg.text import CostEstimate

app = new_group("Check a language model, and estimate calls, tokens and money.")
estimate = new_group("Estimate calls, tokens and money from the real prompts.")
app.add_typer(estimate, name="estimate")

Rates = Annotated[float | None, Option(min=1e-9, help="Rate limit of the provider, for the hours.")]
STAGE_NAMES = {
    "items": "item profiles",
    "users": "user profiles",
    "negatives": "negatives",
    "products": "products of items",
    "follow-ups": "repeated requests",
}


add_command(app, "models")(models_command)
add_command(app, "get")(get_command)


@add_command(app, "check")
def check_command(shared: OutputOptions, llm: LlmOptions) -> None:
    """Probe a language model and print what it supports: schemas, choices, log probabilities, seeds.

    An endpoint receives seven to twelve short requests with the real schemas, since some accept options and ignore them.

    Example: `hardneg llm check --llm http://localhost:8000/v1#qwen`
    """
    name = llm.config.required_model
    text = _capabilities(name, llm.config)
    shared.emit({name: text}, f"{name}: {text}", ("llm", "estimate", "writing", "SPLIT", "--llm", name))


def _capabilities(name: str, config: LlmConfig) -> str:
    """Return what a model supports, by its own description or by probing its endpoint."""
    import asyncio

    from hardneg.llm.local.model import LocalModel
    from hardneg.llm.names import open_model
    from hardneg.llm.protocol import CallFailed, LlmError
    from hardneg.llm.remote.capabilities import Capabilities

    model = open_model(name, precision=config.precision, key_variable=config.key_variable)
    if isinstance(model, LocalModel):
        return f"{model.describe()}; answers are constrained to schemas, closed lists and labels"

    async def probe() -> Capabilities:
        try:
            return await model.probe(*_reply_schemas())
        finally:
            await model.aclose()

    try:
        return asyncio.run(probe()).describe().replace("\n", "; ")
    except CallFailed as failure:
        raise LlmError(
            f"{model.name} does not answer ({failure.reason}); check that it runs, and its address"
        ) from None


def _reply_schemas() -> tuple[str, ...]:
    """Return the schemas of the replies that the commands request."""
    from hardneg.judging.judge_prompts import verdict_schema
    from hardneg.llm.structured import strict_schema
    from hardneg.text.generation.message_formats import NegativeReply, NegativesReply, ProfileReply

    return (*map(strict_schema, (ProfileReply, NegativeReply, NegativesReply)), verdict_schema(20))


@add_command(estimate, "writing")
def estimate_writing_command(
    shared: DeviceOptions,
    split: SplitArgument,
    llm: LlmOptions,
    profiles: Annotated[
        Path | None, Option(help="Finished profiles folder; without it, writing profiles is estimated as well.")
    ] = None,
    negatives: Annotated[bool, Option(help="Estimate negatives as well.")] = True,
    per: PerOption = None,
    sample: Annotated[
        int, Option(min=0, help="Number of items, users and pairs to send first; their replies stay in the store.")
    ] = 0,
    profile_settings: Annotated[
        Pairs, pairs_option("Setting, as for `hardneg profiles write --set`.", "--profile-set")
    ] = None,
    settings: Annotated[Pairs, pairs_option("Setting, as for `hardneg negatives generate --set`.")] = None,
    calls_per_minute: Rates = None,
    tokens_per_minute: Rates = None,
    out: Annotated[
        Path | None, Option(help="JSON file to write, for --estimate of `profiles write` and `negatives generate`.")
    ] = None,
) -> None:
    """Estimate what writing profiles and negatives costs: calls, tokens, money, hours.

    With --per item only the products of items are estimated, whose requests hold no profiles.
    Without --sample nothing is sent, and the length of answers is an assumption. Sampled replies are not lost: the
    later commands read them from the store.

    Example: `hardneg llm estimate writing data/shop-split --llm openai:gpt-4o-mini --sample 30 --out out/estimate.json`
    """
    from hardneg import pipeline, text
    from hardneg.storage import replace_file

    writing = parse_settings(text.ProfilesConfig, profile_settings)
    generation = parse_settings(pipeline.GenerationConfig, [*(settings or []), *per_setting(per)])
    with (
        show_progress() as progress,
        open_session(llm.config, shared.device, progress, activity="sampling replies of", sends=sample > 0) as session,
    ):
        config, generation = text.EstimateConfig(sample=sample), generation if negatives else None
        costs = pipeline.estimate_llm_cost(
            split, session, config, writing=writing, profiles_dir=profiles, generation=generation
        )
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, json.dumps(asdict(costs), indent=2).encode() + b"\n")
    rate = text.Rate(calls_per_minute=calls_per_minute, tokens_per_minute=tokens_per_minute)
    rows = costs.table(session.price, rate if calls_per_minute or tokens_per_minute else None)
    values = {"model": session.model.name, "sampled": costs.sampled, "stages": rows.to_dicts()}
    shared.emit(values, _cost_table(rows))
    if not shared.as_json:
        following = ["profiles", "write", split, "--llm", llm.config.required_model]
        following += [] if out is None else ["--estimate", out]
        shared.emit({}, _sources_text(costs, session), following, written=out)


def _sources_text(costs: CostEstimate, session: Session) -> str:
    """Return where an estimate's lengths of answers and prices come from."""
    from hardneg.llm.usage import packaged_prices

    if costs.sampled:
        sampled = (
            f"{costs.sampled:,} replies were sampled ({session.usage.calls:,} calls now); ± is one standard error."
        )
        if session.usage.estimated:
            sampled += f" Their tokens are estimated: {session.usage.estimate_reason}."
    else:
        sampled = "Nothing was sent: the length of answers is assumed. --sample 30 measures it."
    if session.price is None:
        priced = f"No price of {session.model.name} is known; --prices FILE gives one."
    else:
        priced = f"Money: list prices of {packaged_prices().date}, nothing cached; --prices FILE precedes them."
    return f"{sampled}\n{priced}"


def _cost_table(rows: pl.DataFrame) -> Table:
    headers = ["stage", "rows", "calls", "prompt tokens", "answer tokens", "money", "hours"]
    cells = [
        [
            STAGE_NAMES.get(row["name"], row["name"]),
            f"{row['rows']:,}",
            f"{row['calls']:,.0f}",
            _with_error(row["prompt_tokens"], row["prompt_error"]),
            _with_error(row["answer_tokens"], row["answer_error"]),
            "unknown" if row["money"] is None else f"${row['money']:,.2f}",
            "-" if row["hours"] is None else f"{row['hours']:,.1f}",
        ]
        for row in rows.to_dicts()
    ]
    return render_table(headers, cells)


def _with_error(tokens: float, error: float | None) -> str:
    return f"{tokens:,.0f}" + (f" ± {error:,.0f}" if error else "")


@add_command(estimate, "judging")
def estimate_judging_command(shared: DeviceOptions, judging: JudgingOptions, llm: LlmOptions) -> None:
    """Estimate what judging the candidates of every train user costs: calls, tokens, money. Nothing is sent.

    Example: `hardneg llm estimate judging data/shop-split --run runs/lightgcn --trees out/trees --judge llm --llm openai:gpt-4o-mini`
    """
    from hardneg import pipeline

    config, like = judging.parse(llm.config)
    in_memory = llm.config.model_copy(update={"store": Path(":memory:")})
    with (
        show_progress() as progress,
        open_judging_session(in_memory, shared.device, progress, sends=False) as session,
    ):
        inputs = replace(judging.inputs(session, like), show_estimate=None)
        costs = pipeline.estimate_suspects(judging.split, inputs, config, progress)
    price = None if session is None else session.price
    options = {"--run": judging.run, "--trees": judging.trees, "--judge": judging.judge, "--llm": llm.llm}
    given = [word for name, value in options.items() if value is not None for word in (name, value)]
    text = f"{judging_text(costs, price)}\nNothing was sent."
    shared.emit(costs.table(price).row(-1, named=True), text, ("suspects", "identify", judging.split, *given))
