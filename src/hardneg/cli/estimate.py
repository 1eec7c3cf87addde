"""`hardneg estimate`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hardneg.cli.common import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, table, use_threads
from hardneg.cli.llm_options import STORE, EngineOption, KeyOption, PricesOption, StoreOption

if TYPE_CHECKING:
    import polars as pl

NAMES = {
    "items": "item profiles",
    "users": "user profiles",
    "negatives": "negatives",
    "follow-ups": "asked again singly",
}


def estimate(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    llm: Annotated[str, typer.Option("--llm", help="The language model, named as for `hardneg profile`.")],
    profiles: Annotated[
        Path | None, typer.Option(help="Profiles that stand already; without, they are to be written too.")
    ] = None,
    negatives: Annotated[bool, typer.Option(help="Also negatives for every train pair.")] = True,
    sample: Annotated[
        int, typer.Option(min=0, help="Ask so many of the real requests first; their replies stay in the store.")
    ] = 0,
    profile_option: Annotated[
        list[str] | None, typer.Option("--profile-set", help="NAME=VALUE, as for `hardneg profile --set`.")
    ] = None,
    option: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, as for `hardneg mine --set`.")] = None,
    calls_per_minute: Annotated[float | None, typer.Option(min=1e-9, help="For the hours.")] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(min=1e-9, help="For the hours.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON file for --estimate of `profile` and `mine`, which say how far off it was."),
    ] = None,
    store: StoreOption = STORE,
    engine: EngineOption = None,
    prices: PricesOption = None,
    key_variable: KeyOption = "",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Say what profiles and negatives will take: calls, tokens, money, hours, from the real prompts.

    Without --sample nothing is sent and the length of answers is assumed. With --sample N, N items, users and pairs are
    asked about (and the items that these users are shown); nothing of it is lost, the job finds the replies in the store.

    Examples:

    `hardneg estimate data/shop-split --llm openai:gpt-4o-mini --calls-per-minute 500`

    `hardneg estimate data/shop-split --llm http://localhost:8000/v1#qwen --sample 30 --out out/estimate.json`
    """
    from hardneg import pipeline
    from hardneg.artifacts import replace_file
    from hardneg.cli.llm_options import session
    from hardneg.config import overrides, parse_config
    from hardneg.pipeline import GenerationConfig
    from hardneg.text import EstimateConfig, ProfilesConfig, Rate

    use_threads(threads)
    require_device(device)
    writing: ProfilesConfig = parse_config(ProfilesConfig, overrides(profile_option or []), where="--profile-set")
    mining: GenerationConfig = parse_config(GenerationConfig, overrides(option or []), where="--set")
    with (
        bars() as bar,
        session(llm, store, engine, prices, key_variable, device, doing="asking a sample of", bar=bar) as asking,
    ):
        found = pipeline.estimate_llm_cost(
            split,
            asking,
            EstimateConfig(sample=sample),
            writing=writing,
            profiles_dir=profiles,
            generation=mining if negatives else None,
        )
        rate = Rate(calls_per_minute=calls_per_minute, tokens_per_minute=tokens_per_minute)
        rows = found.table(asking.price, rate if calls_per_minute or tokens_per_minute else None)
        paid, model, priced = asking.usage, asking.model.name, asking.price is not None
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, json.dumps(asdict(found), indent=2).encode() + b"\n")
    if as_json:
        emit({"model": model, "sampled": found.sampled, "stages": rows.to_dicts()}, as_json=True, text="")
        return
    emit({}, as_json=False, text=_table(rows))
    emit({}, as_json=False, text=_notes(found.sampled, paid.calls, priced=priced, model=model))


def _table(rows: pl.DataFrame) -> Any:
    headers = ["stage", "rows", "calls", "prompt tokens", "answer tokens", "money", "hours"]
    cells = [
        [
            NAMES.get(row["name"], row["name"]),
            f"{row['rows']:,}",
            f"{row['calls']:,.0f}",
            _with_error(row["prompt_tokens"], row["prompt_error"]),
            _with_error(row["answer_tokens"], row["answer_error"]),
            "unknown" if row["money"] is None else f"${row['money']:,.2f}",
            "-" if row["hours"] is None else f"{row['hours']:,.1f}",
        ]
        for row in rows.to_dicts()
    ]
    return table(headers, cells)


def _with_error(tokens: float, error: float | None) -> str:
    return f"{tokens:,.0f}" + ("" if not error else f" ± {error:,.0f}")


def _notes(sampled: int, paid: int, *, priced: bool, model: str) -> str:
    from hardneg.llm.prices import packaged_prices

    lines = []
    if sampled:
        lines.append(f"{sampled:,} replies were sampled ({paid:,} calls now); ± is one standard error.")
    else:
        lines.append("Nothing was sent: the length of answers is assumed. --sample 30 measures it.")
    if priced:
        lines.append(f"Money: list prices of {packaged_prices().date}, nothing cached; --prices FILE goes before them.")
    else:
        lines.append(f"No price of {model} is known; --prices FILE gives one.")
    return "\n".join(lines)
