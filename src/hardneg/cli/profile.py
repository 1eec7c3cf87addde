"""`hardneg profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.common import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, use_threads
from hardneg.cli.llm_options import STORE, EngineOption, EstimateOption, KeyOption, LlmOption, PricesOption, StoreOption
from hardneg.errors import ConfigError


def profile(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    out: Annotated[Path, typer.Option(help="Profiles folder to make.")] = Path("out/profiles"),
    llm: LlmOption = None,
    shuffle_titles: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="Control, without --llm: first shuffle what is said of items (titles, texts, reviews) among them.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="With --llm: NAME=VALUE for most_reviews, most_items, item_prompt_tokens, temperature, ..."
        ),
    ] = None,
    store: StoreOption = STORE,
    engine: EngineOption = None,
    prices: PricesOption = None,
    key_variable: KeyOption = "",
    estimate: EstimateOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Write item and user profiles from train texts, pairs and reviews.

    Without --llm they are extracts and no language model writes. With it one does; every reply is kept in the store,
    so that the same command, killed at any moment, goes on and pays for nothing twice.

    Examples:

    `hardneg profile data/shop-split --out out/profiles`

    `hardneg profile data/shop-split --llm openai:gpt-4o-mini --engine budget_money=5 --out out/profiles`

    `hardneg profile data/shop-split --llm http://localhost:8000/v1#qwen --engine concurrency=64 --out out/profiles`
    """
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.cli.llm_options import money_text, read_costs, read_estimate, session
    from hardneg.config import overrides, parse_config
    from hardneg.text import ProfilesConfig
    from hardneg.text.profiles import KIND, read_profiles

    use_threads(threads)
    if llm is None:
        if option or engine or estimate:
            raise ConfigError("--set, --engine and --estimate belong to --llm; name a language model or leave them out")
        pipeline.extract_profiles_stage(split, shuffle_titles=shuffle_titles).run(out)
    elif shuffle_titles is not None:
        raise ConfigError("--shuffle-titles is of extracts, not of --llm; leave one of them out")
    else:
        require_device(device)
        config: ProfilesConfig = parse_config(ProfilesConfig, overrides(option or []), where="hardneg profile --set")
        with (
            bars() as bar,
            session(llm, store, engine, prices, key_variable, device, doing="writing profiles with", bar=bar) as asking,
        ):
            pipeline.generate_profiles_stage(split, asking, config, read_estimate(estimate)).run(out)
    made = read_profiles(out)
    counts = {"items": len(made.items), "users": len(made.users)}
    blank = {"items without": made.items.count(""), "users without": made.users.count("")}
    costs, row_report = read_costs(out), read_manifest(out, KIND)["notes"]["rows left out"]
    text = f"{out}: {counts['items']:,} item and {counts['users']:,} user profiles ({made.source}); "
    text += f"blank: {blank['items without']:,} and {blank['users without']:,}{money_text(costs)}"
    text += "".join(f"\n  {entry}" for entry in made.row_report)
    values = {**counts, **blank, "source": made.source, "out": str(out), "costs": costs, "rows left out": row_report}
    emit(values, as_json=as_json, text=text)
