"""What every command that asks a language model shares: which one, where its replies are kept, how fast, for how much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardneg.cli.common import Bars, Lines
from hardneg.config import overrides, parse_config
from hardneg.errors import DataError

if TYPE_CHECKING:
    from hardneg.llm.prices import Price
    from hardneg.llm.session import Session
    from hardneg.text import CostEstimate, TextEncoder

LlmOption = Annotated[
    str | None,
    typer.Option(
        "--llm", help="openai:gpt-4o-mini, http://localhost:8000/v1#model, hf:Qwen/Qwen2.5-7B-Instruct, a folder."
    ),
]
StoreOption = Annotated[
    Path, typer.Option("--store", help="File that keeps every reply: killed or repeated, nothing is asked twice.")
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        help="NAME=VALUE for concurrency, requests_per_minute, tokens_per_minute, timeout, retries, repairs, "
        "budget_calls, budget_tokens, budget_money, retry_failed.",
    ),
]
PricesOption = Annotated[
    Path | None, typer.Option("--prices", help="YAML list of prices that goes before the one shipped.")
]
KeyOption = Annotated[
    str,
    typer.Option("--key-variable", help="Environment variable that holds the endpoint's key; never the key itself."),
]
EstimateOption = Annotated[
    Path | None,
    typer.Option("--estimate", help="File by `hardneg estimate --out`, to be held against what it took."),
]
STORE = Path("out/replies.sqlite")


@contextmanager
def session(
    llm: str,
    store: Path,
    engine: list[str] | None,
    prices: Path | None,
    key_variable: str,
    device: str,
    *,
    doing: str,
    bar: Bars | Lines,
) -> Iterator[Session]:
    """Open a model, its store and its limits, progress going to `bar`; the store is closed at the end."""
    from hardneg.llm.engine.config import EngineConfig
    from hardneg.llm.engine.store import ReplyStore
    from hardneg.llm.names import open_model
    from hardneg.llm.session import Session

    config: EngineConfig = parse_config(EngineConfig, overrides(engine or []), where="--engine")
    model = open_model(llm, device=device, key_variable=key_variable)
    store.parent.mkdir(parents=True, exist_ok=True)
    with ReplyStore(store) as kept:
        yield Session(model, kept, config, _price(llm, prices), watch=bar.asking, activity=doing)


def encoder_of(name: str, device: str, asking: Session | None, prices: Path | None = None) -> TextEncoder:
    """Open a text encoder; with a session its vectors go through the same store.

    An endpoint's encoder has the session's limits, and the same budget once more for itself. One in this process is
    free and has neither: what a language model may cost or bear says nothing of it.
    """
    from hardneg.llm.engine.config import EngineConfig
    from hardneg.llm.engine.usage_stats import UsageStats
    from hardneg.llm.names import address_of
    from hardneg.text.cached_encoders import open_encoder

    if asking is None:
        return open_encoder(name, device=device)
    config = EngineConfig() if address_of(name) is None else asking.config
    price = _price(name, prices)
    return open_encoder(
        name,
        device=device,
        executor_for=lambda model: replace(
            asking, model=model, config=config, price=price, watch=None, usage=UsageStats()
        ),
    )


def _price(name: str, prices: Path | None) -> Price | None:
    """Of a model by its name: the user's own list, ours, nothing for one in this process, None where unknown."""
    from hardneg.llm.names import address_of
    from hardneg.llm.prices import FREE, find_price

    return find_price(name, prices) or (FREE if address_of(name) is None else None)


def read_estimate(path: Path | None) -> CostEstimate | None:
    """An estimate that `hardneg estimate --out` wrote."""
    from hardneg.text import CostEstimate
    from hardneg.text.estimates.cost_estimate import StageEstimate

    if path is None:
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return CostEstimate(tuple(StageEstimate(**stage) for stage in values["stages"]), values["sampled"])
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} holds no estimate; make one with hardneg estimate --out FILE") from None


def read_costs(folder: Path) -> dict[str, Any]:
    """What a finished folder cost, {} where it cost nothing."""
    path = folder / "costs.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def money_text(costs: dict[str, Any]) -> str:
    """The costs for people: what was paid now, and how far off the estimate was."""
    if not costs:
        return ""
    money = "price unknown" if costs["money"] is None else f"${costs['money']:,.4f}"
    text = f"; {costs['llm_calls']:,} calls, {costs['llm_tokens']:,} tokens, {money}"
    off = costs.get("estimate", {}).get("total", {}).get("tokens off")
    return text + ("" if off is None else f"; the estimate was {off:+.1%} off in tokens")
