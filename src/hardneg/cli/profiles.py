"""`hardneg profiles`: write profiles of items and users, and encode texts as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardneg.cli.common import DeviceOptions, OutputOptions, add_command, new_group, read_notes, row_report_text
from hardneg.cli.llm_options import (
    EstimateOption,
    LlmOptions,
    costs_text,
    open_session,
    open_text_encoder,
    read_costs,
    read_estimate,
)
from hardneg.cli.options import EncoderOption, Pairs, SplitArgument, pairs_option, parse_settings
from hardneg.cli.progress import show_progress
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.cli.llm_config import LlmConfig

app = new_group("Describe items and users in text, and encode texts as vectors.")


@add_command(app, "write")
def write_profiles_command(
    shared: DeviceOptions,
    split: SplitArgument,
    llm: LlmOptions,
    out: Annotated[Path, typer.Option(help="Profiles folder to write.")] = Path("out/profiles"),
    shuffle_titles: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="Control of extractive profiles: permute titles, texts and reviews among the items first.",
        ),
    ] = None,
    settings: Annotated[
        Pairs, pairs_option("Setting of profiles by a language model: most_reviews, most_items, temperature, ...")
    ] = None,
    estimate: EstimateOption = None,
) -> None:
    """Write profiles of items and users from the train pairs, their reviews and the item texts.

    Profiles are extracts by default; with --llm a language model writes them. Every reply is stored, so that an
    interrupted command continues without repeating paid calls.

    Examples:

    `hardneg profiles write data/shop-split --out out/profiles`

    `hardneg profiles write data/shop-split --llm openai:gpt-4o-mini --engine budget_money=5 --out out/profiles`
    """
    if llm.config.model is None:
        if settings or estimate:
            raise ConfigError("found --set or --estimate without a language model; give --llm, or leave them out")
        _extract(split, out, shuffle_titles)
    elif shuffle_titles is not None:
        raise ConfigError("found --shuffle-titles with --llm, expected one of them; it applies to extracts only")
    else:
        _generate(split, out, llm.config, settings, estimate, shared.device)
    _emit_profiles(shared, out, split)


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


def _emit_profiles(shared: OutputOptions, out: Path, split: Path) -> None:
    from hardneg.text import profiles

    written, notes, costs = profiles.read_profiles(out), read_notes(out, profiles.KIND), read_costs(out)
    counts = {"items": len(written.items), "users": len(written.users)}
    blank = {"items without": written.items.count(""), "users without": written.users.count("")}
    text = f"{out}: {counts['items']:,} item and {counts['users']:,} user profiles ({written.source}); "
    text += f"blank: {blank['items without']:,} and {blank['users without']:,}{costs_text(costs)}"
    values = {**counts, **blank, "source": written.source, "out": str(out), "costs": costs}
    following = ("negatives", "retrieve", split, "--profiles", out)
    shared.emit(values | {"rows left out": notes["rows left out"]}, text + row_report_text(notes), following)


@add_command(app, "encode")
def encode_texts_command(
    shared: DeviceOptions,
    split: SplitArgument,
    profiles: Annotated[Path, typer.Option(help="Profiles folder of the split.")] = Path("out/profiles"),
    encoder: EncoderOption = "minilm",
    out: Annotated[Path, typer.Option(help="Vectors folder to write.")] = Path("out/vectors"),
) -> None:
    """Encode item texts and user profiles as vectors, for `fuse`, `train --anchor` and `trees build --vectors`.

    Example: `hardneg profiles encode data/shop-split --profiles out/profiles --out out/vectors`
    """
    from hardneg import pipeline
    from hardneg.text import text_vectors

    with show_progress() as progress:
        pipeline.encode_texts_stage(split, profiles, open_text_encoder(encoder, shared.device), progress).run(out)
    vectors = text_vectors.read_text_vectors(out)
    counts = {"items": len(vectors.items), "users": len(vectors.users), "size": vectors.items.shape[1]}
    text = f"{out}: {counts['items']:,} item and {counts['users']:,} user vectors of size {counts['size']}, {encoder}"
    following = ("trees", "build", split, "--vectors", out)
    shared.emit({**counts, "encoder": encoder, "out": str(out)}, text, following)
