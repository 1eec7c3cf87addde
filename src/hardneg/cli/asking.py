"""What every command that asks a language model shares: which one, where its replies are kept, how fast, for how much."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardneg.cli.shell import bars
from hardneg.config import overrides, parse

if TYPE_CHECKING:
    from hardneg.llm.session import Session

StoreOption = Annotated[
    Path, typer.Option("--store", help="File that keeps every reply: killed or repeated, nothing is asked twice.")
]
EngineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine",
        help="NAME=VALUE for concurrency, requests_per_minute, tokens_per_minute, timeout, retries, re_asks, "
        "budget_calls, budget_tokens, budget_money, retry_failed.",
    ),
]
PricesOption = Annotated[
    Path | None, typer.Option("--prices", help="YAML list of prices that goes before the one shipped.")
]
KeyOption = Annotated[
    str, typer.Option("--key-variable", help="Environment variable that holds the endpoint's key; never the key itself.")
]
STORE = Path("out/replies.sqlite")


@contextmanager
def session(
    llm: str, store: Path, engine: list[str] | None, prices: Path | None, key_variable: str, device: str
) -> Iterator[Session]:
    """Open a model, its store and its limits, with progress; the store is closed at the end."""
    from hardneg.llm.config import EngineConfig
    from hardneg.llm.names import open_model
    from hardneg.llm.prices import FREE, price_of
    from hardneg.llm.session import Session
    from hardneg.llm.store import Store

    config: EngineConfig = parse(EngineConfig, overrides(engine or []), where="--engine")
    model = open_model(llm, device=device, key_variable=key_variable)
    price = price_of(llm, prices) if llm.startswith(("openai:", "http://", "https://")) else FREE
    store.parent.mkdir(parents=True, exist_ok=True)
    with Store(store) as kept, bars(count=False) as bar:
        yield Session(model, kept, config, price, watch=bar.asking)
