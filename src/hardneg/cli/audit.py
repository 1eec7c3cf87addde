"""`hardneg audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.common import JsonOption, bars, console, emit, use_threads

FAILED = 1


def audit(
    folder: Annotated[Path, typer.Argument(help="Split, run or suspects folder.")],
    split: Annotated[
        Path | None, typer.Option(help="Of a run or suspects: the split that they were made from.")
    ] = None,
    negatives: Annotated[
        Path | None, typer.Option(help="Of a run: the negatives folder that it was trained with.")
    ] = None,
    suspects: Annotated[
        Path | None, typer.Option(help="Of a run: the suspects folder that it was trained with.")
    ] = None,
    trees: Annotated[Path | None, typer.Option(help="Of a run: the trees folder that it was trained with.")] = None,
    anchor: Annotated[
        Path | None, typer.Option(help="Of a run: the vectors folder that its items are tied to.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="Of a split: text encoder of the mined negatives.")] = "minilm",
    as_json: JsonOption = False,
) -> None:
    """Does anything held out reach training, candidates, texts or masks? Exit code 1 if so.

    Test pairs, then validation pairs, are drawn anew (no train item among them, as many per user); profiles, mined
    negatives, trees, suspects and short trainings are made again with the same stages; the hashes of all files are
    compared. Of suspects: did held-out pairs decide which users have candidates, or what was called liked?

    Examples:

    `hardneg audit data/shop-split`

    `hardneg audit runs/semantic --split data/shop-split --negatives out/negatives`

    `hardneg audit out/suspects --split data/shop-split`
    """
    from dataclasses import asdict

    from hardneg.artifacts import kind_at
    from hardneg.audit import audit_run, audit_split, audit_suspects
    from hardneg.text import sentence_encoder as open_encoder

    use_threads(1)
    if (folder / "embeddings.safetensors").is_file():
        split = _required(split, folder, "a run")
        checks = audit_run(folder, split, negatives, suspects, trees=trees, anchor=anchor)
    elif kind_at(folder) == "suspects":
        checks = audit_suspects(folder, _required(split, folder, "a suspects folder"))
    else:
        with bars() as bar:
            checks = audit_split(folder, open_encoder(encoder), progress=bar)
    lines = [f"{'pass' if check.passed else 'FAIL'}  {check.question} ({check.detail})" for check in checks]
    emit([asdict(check) for check in checks], as_json=as_json, text="\n".join(lines))
    failed = sum(not check.passed for check in checks)
    if not as_json:
        console().print(f"{len(checks) - failed} of {len(checks)} checks passed")
    if failed:
        raise typer.Exit(FAILED)


def _required(split: Path | None, folder: Path, what: str) -> Path:
    from hardneg.errors import ConfigError

    if split is None:
        raise ConfigError(f"{folder} is {what}; pass the split that it was made from with --split")
    return split
