"""`hardneg mine`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hardneg.cli.shell import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, use_threads
from hardneg.errors import ConfigError


def mine(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    method: Annotated[
        Literal["retrieved", "random"],
        typer.Option(help="retrieved: nearest catalogue texts, no LLM. random: the control, vectors of equal norm."),
    ] = "retrieved",
    out: Annotated[Path, typer.Option(help="Negatives folder to make.")] = Path("out/negatives"),
    profiles: Annotated[Path | None, typer.Option(help="Profiles folder; without, OUT-profiles is made.")] = None,
    like: Annotated[Path | None, typer.Option(help="random: the negatives folder whose norms are taken.")] = None,
    encoder: Annotated[str, typer.Option(help="minilm, or a sentence-transformers folder or name.")] = "minilm",
    option: Annotated[
        list[str] | None, typer.Option("--set", help="retrieved: NAME=VALUE for n, pool, profile_share, duplicate.")
    ] = None,
    seed: Annotated[int, typer.Option(help="random: of the vectors.")] = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Find a hard negative for every train pair.

    Examples:

    `hardneg mine data/shop-split --out out/negatives --set n=2 --set pool=100`

    `hardneg mine data/shop-split --method random --like out/negatives --out out/random`
    """
    from hardneg import pipeline
    from hardneg.artifacts import manifest_of
    from hardneg.config import overrides, parse
    from hardneg.negatives import Retrieved, mined

    use_threads(threads)
    require_device(device)
    if method == "random":
        if like is None or option or profiles:
            raise ConfigError("--method random expects --like NEGATIVES, and no --set or --profiles")
        pipeline.mine_random(split, like, out, seed)
    else:
        if like is not None:
            raise ConfigError("--like belongs to --method random; leave it out")
        from hardneg.text import encoder as open_encoder

        options: Retrieved = parse(Retrieved, overrides(option or []), where="hardneg mine --set")
        folder = profiles or out.with_name(f"{out.name}-profiles")
        if profiles is None:
            pipeline.profile(split, folder)
        with bars() as bar:
            pipeline.mine_retrieved(split, folder, out, options, open_encoder(encoder, device=device), bar)
    notes = manifest_of(out, mined.KIND)["notes"]
    text = f"{out}: {notes['pairs']:,} pairs, {notes['pairs without a vector']:,} without a vector ({notes['source']})"
    emit({**notes, "out": str(out)}, as_json=as_json, text=text)
