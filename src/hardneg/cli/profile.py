"""`hardneg profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.shell import JsonOption, emit


def profile(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    out: Annotated[Path, typer.Option(help="Profiles folder to make.")] = Path("out/profiles"),
    as_json: JsonOption = False,
) -> None:
    """Write item and user profiles from train texts, pairs and reviews (extracts: no language model writes).

    Example: `hardneg profile data/shop-split --out out/profiles`
    """
    from hardneg import pipeline

    made = pipeline.profile(split, out)
    counts = {"items": len(made.items), "users": len(made.users)}
    blank = {"items without": made.items.count(""), "users without": made.users.count("")}
    text = f"{out}: {counts['items']:,} item and {counts['users']:,} user profiles ({made.source}); "
    text += f"blank: {blank['items without']:,} and {blank['users without']:,}"
    emit({**counts, **blank, "source": made.source, "out": str(out)}, as_json=as_json, text=text)
