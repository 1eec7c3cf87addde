"""`hardneg fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hardneg.cli.common import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, use_threads
from hardneg.errors import ConfigError


def fuse(
    split: Annotated[Path, typer.Option(help="The split that it was trained on.")],
    run: Annotated[Path | None, typer.Argument(help="Run folder of a trained model; none with --text-only.")] = None,
    profiles: Annotated[Path, typer.Option(help="Profiles folder of that split.")] = Path("out/profiles"),
    encoder: Annotated[str, typer.Option(help="minilm, a sentence-transformers folder or name.")] = "minilm",
    vectors: Annotated[
        Path | None, typer.Option(help="Where encoded texts are kept for the next time [PROFILES-ENCODER].")
    ] = None,
    out: Annotated[Path, typer.Option(help="Run folder to make.")] = Path("runs/fused"),
    text_only: Annotated[bool, typer.Option("--text-only", help="Score by text alone, without a model.")] = False,
    weight: Annotated[
        list[float] | None, typer.Option(help="A g to try; may be given again. [0, 1, 2, 4, 8, 16, 32]")
    ] = None,
    select: Annotated[str, typer.Option(help="Validation metric that chooses g.")] = "recall@20",
    profile: Annotated[
        Literal["profiles", "items"],
        typer.Option(help="A user's vector: the encoded profile, or the mean over the user's train items (try both)."),
    ] = "profiles",
    centre: Annotated[
        bool, typer.Option("--centre/--no-centre", help="Take the mean off profiles and item texts before the cosine.")
    ] = True,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Add text to a trained model without training: score + g times the cosine of user profile and item text.

    g is chosen on validation pairs. What comes out is a run folder, for `hardneg evaluate` and `hardneg recommend`; a
    method that trains with text should beat it.

    Examples:

    `hardneg fuse runs/mixgcf --split data/shop-split --profiles out/profiles --out runs/mixgcf-fused`

    `hardneg fuse --text-only --split data/shop-split --profiles out/profiles --out runs/text-only`
    """
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.cli.llm_options import encoder_of
    from hardneg.config import parse_config

    if (run is None) != text_only:
        found = "neither RUN nor --text-only" if run is None else "both RUN and --text-only"
        raise ConfigError(f"found {found}, expected one of them; see hardneg fuse --help")
    use_threads(threads)
    require_device(device)
    values: dict[str, Any] = {"select": select, "profile": profile, "centred": centre} | (
        {"weights": weight} if weight else {}
    )
    config: pipeline.FusionConfig = parse_config(pipeline.FusionConfig, values, where="hardneg fuse")
    opened = encoder_of(encoder, device, None)
    kept = vectors or pipeline.default_vectors_dir(profiles, opened)
    with bars() as bar:
        pipeline.encode_texts_stage(split, profiles, opened, bar).run(kept)
    if run is None:
        pipeline.text_only_stage(split, kept, config).run(out)
    else:
        pipeline.fuse_stage(run, split, kept, config).run(out)
    notes = read_manifest(out, pipeline.RUN)["notes"]
    tried = ", ".join(f"{value:.4f}" + (f" at {g}" if run else "") for g, value in notes["on validation"].items())
    said = "text alone" if run is None else f"weight {notes['weight']:g}"
    emit({**notes, "out": str(out)}, as_json=as_json, text=f"{out}: {said} (validation {select}: {tried})")
