"""`hardneg profiles`: write profiles of items and users, and encode texts as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardneg.cli.common import (
    DeviceOption,
    JsonOption,
    ThreadsOption,
    add_command,
    configure_torch,
    emit,
    new_group,
    read_notes,
    row_report_text,
)
from hardneg.cli.llm_options import (
    EstimateOption,
    accept_llm,
    costs_text,
    open_session,
    open_text_encoder,
    read_costs,
    read_estimate,
)
from hardneg.cli.options import EncoderOption, SplitArgument, parse_settings
from hardneg.cli.progress import show_progress
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.cli.llm_config import LlmConfig

app = new_group("Describe items and users in text, and encode texts as vectors.")


@add_command(app, "write")
@accept_llm
def write_profiles_command(
    split: SplitArgument,
    llm: LlmConfig,
    out: Annotated[Path, typer.Option(help="Profiles folder to write.")] = Path("out/profiles"),
    shuffle_titles: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="Control of extractive profiles: permute titles, texts and reviews among the items first.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Setting of profiles by a language model: most_reviews, most_items, temperature, ... Repeatable.",
        ),
    ] = None,
    estimate: EstimateOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Write profiles of items and users from the train pairs, their reviews and the item texts.

    Profiles are extracts by default; with --llm a language model writes them. Every reply is stored, so that an
    interrupted command continues without repeating paid calls.

    Examples:

    `hardneg profiles write data/shop-split --out out/profiles`

    `hardneg profiles write data/shop-split --llm openai:gpt-4o-mini --engine budget_money=5 --out out/profiles`
    """
    configure_torch(threads, device)
    if llm.model is None:
        if settings or estimate:
            raise ConfigError("found --set or --estimate without a language model; give --llm, or leave them out")
        _extract(split, out, shuffle_titles)
    elif shuffle_titles is not None:
        raise ConfigError("found --shuffle-titles with --llm, expected one of them; it applies to extracts only")
    else:
        _generate(split, out, llm, settings, estimate, device)
    _emit_profiles(out, split, as_json=as_json)


def _extract(split: Path, out: Path, shuffle_titles: int | None) -> None:
    from hardneg import pipeline

    pipeline.extract_profiles_stage(split, shuffle_titles=shuffle_titles).run(out)


def _generate(
    split: Path, out: Path, llm: LlmConfig, settings: list[str] | None, estimate: Path | None, device: str
) -> None:
    from hardneg import pipeline
    from hardneg.text import ProfilesConfig

    config: ProfilesConfig = parse_settings(ProfilesConfig, settings)
    with show_progress() as progress, open_session(llm, device, progress, activity="writing profiles with") as session:
        pipeline.generate_profiles_stage(split, session, config, read_estimate(estimate)).run(out)


def _emit_profiles(out: Path, split: Path, *, as_json: bool) -> None:
    from hardneg.text import profiles

    written, notes, costs = profiles.read_profiles(out), read_notes(out, profiles.KIND), read_costs(out)
    counts = {"items": len(written.items), "users": len(written.users)}
    blank = {"items without": written.items.count(""), "users without": written.users.count("")}
    text = f"{out}: {counts['items']:,} item and {counts['users']:,} user profiles ({written.source}); "
    text += f"blank: {blank['items without']:,} and {blank['users without']:,}{costs_text(costs)}"
    values = {**counts, **blank, "source": written.source, "out": str(out), "costs": costs}
    emit(
        values | {"rows left out": notes["rows left out"]},
        as_json=as_json,
        text=text + row_report_text(notes),
        following=("negatives", "retrieve", split, "--profiles", out),
    )


@add_command(app, "encode")
def encode_texts_command(
    split: SplitArgument,
    profiles: Annotated[Path, typer.Option(help="Profiles folder of the split.")] = Path("out/profiles"),
    encoder: EncoderOption = "minilm",
    out: Annotated[Path, typer.Option(help="Vectors folder to write.")] = Path("out/vectors"),
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Encode item texts and user profiles as vectors, for `fuse`, `train --anchor` and `trees build --vectors`.

    Example: `hardneg profiles encode data/shop-split --profiles out/profiles --out out/vectors`
    """
    from hardneg import pipeline
    from hardneg.text import text_vectors

    configure_torch(threads, device)
    with show_progress() as progress:
        pipeline.encode_texts_stage(split, profiles, open_text_encoder(encoder, device), progress).run(out)
    vectors = text_vectors.read_text_vectors(out)
    counts = {"items": len(vectors.items), "users": len(vectors.users), "size": vectors.items.shape[1]}
    text = f"{out}: {counts['items']:,} item and {counts['users']:,} user vectors of size {counts['size']}, {encoder}"
    following = ("trees", "build", split, "--vectors", out)
    emit({**counts, "encoder": encoder, "out": str(out)}, as_json=as_json, text=text, following=following)
