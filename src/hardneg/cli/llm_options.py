"""The language model options: one group, declared once and added to every command that needs a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from hardneg.cli.options import PRECISION, PRECISION_DEFAULT
from hardneg.cli.output import ProgressDisplay
from hardneg.errors import ConfigError, DataError
from hardneg.types import WeightPrecision

if TYPE_CHECKING:
    from hardneg.cli.config_files import LlmConfig
    from hardneg.llm.session import Session
    from hardneg.llm.usage import Price
    from hardneg.text import CostEstimate, ItemVectors, TextEncoder

_option = partial(Option, rich_help_panel="Language model")
FORMS = (
    "openai:gpt-4o-mini, http://localhost:8000/v1#MODEL, smollm2-135m (see `hardneg llm models`), gguf:FILE, "
    "hf:Qwen/Qwen2.5-7B-Instruct, or a model's folder."
)
FILE = "YAML file with model, store, engine, prices, key_variable and precision; the options below replace its values."
STORE = "File that keeps every reply, so that a repeated command sends no request twice."
ENGINE = (
    "Limit or budget: concurrency, requests_per_minute, tokens_per_minute, timeout (seconds), retries, budget_calls, "
    "budget_tokens, budget_money (US dollars), and others. Repeatable."
)
PRICES = "YAML list of prices, which precedes the packaged one."
KEY = "Name of the environment variable that holds the endpoint's key."
PerOption = Annotated[
    Literal["pair", "item"] | None,
    Option(
        show_default="pair",
        help="Requests: one for each train pair (HNLMRec), or one for each item, of whose products a pair takes one.",
    ),
]


def per_setting(per: Literal["pair", "item"] | None) -> list[str]:
    """Return the option as a setting of the generation; none where it is not given."""
    return [f"per={per}"] if per else []


@dataclass(frozen=True)
class LlmOptions:
    """The options of the group, as given."""

    llm: Annotated[str | None, _option("--llm", help=FORMS, metavar="NAME")] = None
    llm_config: Annotated[Path | None, _option("--llm-config", help=FILE)] = None
    store: Annotated[Path | None, _option("--store", help=STORE, show_default="out/replies.sqlite")] = None
    engine: Annotated[list[str] | None, _option("--engine", help=ENGINE, metavar="NAME=VALUE")] = None
    prices: Annotated[Path | None, _option("--prices", help=PRICES)] = None
    key_variable: Annotated[str | None, _option("--key-variable", help=KEY)] = None
    precision: Annotated[
        WeightPrecision | None, _option("--precision", help=PRECISION, show_default=PRECISION_DEFAULT)
    ] = None

    @cached_property
    def config(self) -> LlmConfig:
        """The settings of the file, with single options in place of its values. Raises ConfigError."""
        from hardneg.cli.config_files import read_llm_config

        given = {
            **{"model": self.llm, "store": self.store, "prices": self.prices},
            **{"key_variable": self.key_variable, "precision": self.precision},
        }
        return read_llm_config(self.llm_config, given, self.engine or [])


@dataclass(frozen=True)
class WritingOptions(LlmOptions):
    """Options of a command that writes texts, whose cost may have been estimated."""

    estimate: Annotated[
        Path | None,
        Option("--estimate", help="File written by `hardneg llm estimate --out`, to compare with the actual cost."),
    ] = None

    def read_estimate(self) -> CostEstimate | None:
        """Return the estimate that `hardneg llm estimate --out` wrote."""
        from hardneg.text import CostEstimate
        from hardneg.text.estimates.cost_estimate import StageEstimate

        if self.estimate is None:
            return None
        try:
            values = json.loads(self.estimate.read_text(encoding="utf-8"))
            return CostEstimate(tuple(StageEstimate(**stage) for stage in values["stages"]), values["sampled"])
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{self.estimate} holds no estimate; write one with hardneg llm estimate --out FILE"
            ) from None


@contextmanager
def open_session(
    llm: LlmConfig, device: str, progress: ProgressDisplay, *, activity: str, sends: bool = True
) -> Iterator[Session]:
    """Open a model with its reply store and limits; the store is closed at the end.

    activity: for the progress line. sends: False where nothing will be sent, so that no key is needed.
    """
    from hardneg.llm.engine.store import ReplyStore
    from hardneg.llm.names import open_model
    from hardneg.llm.session import Session

    name = llm.required_model
    model = open_model(
        name, device=device, precision=llm.precision, key_variable=llm.key_variable, needs_key=sends, progress=progress
    )
    llm.store.parent.mkdir(parents=True, exist_ok=True)
    with ReplyStore(llm.store) as store:
        yield Session(
            model, store, llm.engine, model_price(name, llm.prices), watch=progress.show_usage, activity=activity
        )


def open_vector_source(
    vectors: Path | None, encoder: str, device: str, profiles: Path | None
) -> TextEncoder | ItemVectors:
    """Open the file of own vectors, else the text encoder. Raises ConfigError where both are asked for."""
    from hardneg import text

    if vectors is None:
        return open_text_encoder(encoder, device)
    if encoder != "minilm" or profiles is not None:
        found = "--encoder" if profiles is None else "--profiles"
        raise ConfigError(f"found --vectors with {found}, which encodes texts; leave one of them out")
    return text.ItemVectors(vectors)


def open_text_encoder(
    name: str,
    device: str,
    session: Session | None = None,
    prices: Path | None = None,
    precision: WeightPrecision | None = None,
) -> TextEncoder:
    """Open a text encoder. With a session, the vectors of an endpoint go through the session's store.

    An endpoint's encoder has the session's limits, and its budget once more. An encoder in this process is free and has
    neither.
    """
    from hardneg.llm.engine.config import EngineConfig
    from hardneg.llm.names import address_of
    from hardneg.llm.usage import UsageStats
    from hardneg.text.encoders import open_encoder

    if session is None:
        return open_encoder(name, device=device)
    config = EngineConfig() if address_of(name) is None else session.config
    price = model_price(name, prices)
    return open_encoder(
        name,
        device=device,
        precision=precision,
        executor_for=lambda model: replace(
            session, model=model, config=config, price=price, watch=None, usage=UsageStats()
        ),
    )


def model_price(name: str, prices: Path | None) -> Price | None:
    """Return a model's price: from the user's list, then the packaged one; free in this process; None if unknown."""
    from hardneg.llm.names import address_of
    from hardneg.llm.usage import FREE, find_price

    return find_price(name, prices) or (FREE if address_of(name) is None else None)


def describe_costs(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the costs of a finished folder, {} if it has none, and a text of calls, tokens, money and estimate."""
    from hardneg.artifacts import read_costs

    costs = read_costs(folder)
    if not costs:
        return {}, ""
    money = "price unknown" if costs["money"] is None else f"${costs['money']:,.4f}"
    reason = costs.get("llm_tokens_estimated_because")
    estimated = f" (estimated: {reason})" if reason else ""
    text = f"; {costs['llm_calls']:,} calls, {costs['llm_tokens']:,} tokens{estimated}, {money}"
    error = costs.get("estimate", {}).get("total", {}).get("tokens off")
    return costs, text + ("" if error is None else f"; the estimate was {error:+.1%} off in tokens")
