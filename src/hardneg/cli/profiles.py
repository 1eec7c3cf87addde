"""`hardneg profiles`: write profiles of items and users, and encode texts as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from hardneg.cli.common import DeviceOptions, add_command, new_group, run_stage
from hardneg.cli.llm_options import WritingOptions, describe_costs, open_session, open_vector_source
from hardneg.cli.options import EncoderOption, OwnVectorsOption, Pairs, SplitArgument, pairs_option, parse_settings
from hardneg.cli.output import row_report_text, show_progress
from hardneg.errors import ConfigError

app = new_group("Describe items and users in text, and encode texts as vectors.")


@add_command(app, "write")
def write_profiles_command(
    shared: DeviceOptions,
    split: SplitArgument,
    llm: WritingOptions,
    out: Annotated[Path, Option(help="Profiles folder to write.")] = Path("out/profiles"),
    shuffle_titles: Annotated[
        int | None,
        Option(
            metavar="SEED",
            help="Control of extractive profiles: permute titles, texts and reviews among the items first.",
        ),
    ] = None,
    settings: Annotated[
        Pairs, pairs_option("Setting of profiles by a language model: most_reviews, most_items, temperature, ...")
    ] = None,
) -> None:
    """Write profiles of items and users from the train pairs, their reviews and the item texts.

    Profiles are extracts by default; with --llm a language model writes them. Every reply is stored, so that an
    interrupted command continues without repeating paid calls.

    Examples:

    `hardneg profiles write data/shop-split --out out/profiles`

    `hardneg profiles write data/shop-split --llm openai:gpt-4o-mini --engine budget_money=5 --out out/profiles`
    """
    from hardneg import pipeline
    from hardneg.text import ProfilesConfig, profiles

    if llm.config.model is None:
        if settings or llm.estimate:
            raise ConfigError("found --set or --estimate without a language model; give --llm, or leave them out")
        notes = run_stage(pipeline.extract_profiles_stage(split, shuffle_titles=shuffle_titles), out)
    elif shuffle_titles is not None:
        raise ConfigError("found --shuffle-titles with --llm, expected one of them; it applies to extracts only")
    else:
        config = parse_settings(ProfilesConfig, settings)
        with (
            show_progress() as progress,
            open_session(llm.config, shared.device, progress, activity="writing profiles with") as session,
        ):
            stage = pipeline.generate_profiles_stage(split, session, config, llm.read_estimate())
            notes = run_stage(stage, out)
    written, (costs, costs_text) = profiles.read_profiles(out), describe_costs(out)
    counts = {"items": len(written.items), "users": len(written.users)}
    blank = {"items without": written.items.count(""), "users without": written.users.count("")}
    text = f"{out}: {counts['items']:,} item and {counts['users']:,} user profiles ({written.source}); "
    text += f"blank: {blank['items without']:,} and {blank['users without']:,}{costs_text}"
    values = {**counts, **blank, "source": written.source, "out": str(out), "costs": costs}
    following = ("negatives", "retrieve", split, "--profiles", out)
    shared.emit(values | {"rows left out": notes["rows left out"]}, text + row_report_text(notes), following)


@add_command(app, "encode")
def encode_texts_command(
    shared: DeviceOptions,
    split: SplitArgument,
    profiles: Annotated[Path | None, Option(show_default="out/profiles", help="Profiles folder of the split.")] = None,
    encoder: EncoderOption = "minilm",
    vectors: OwnVectorsOption = None,
    items: Annotated[
        Literal["texts", "profiles"], Option(help="Text of an item: its title and attributes, or its profile.")
    ] = "texts",
    out: Annotated[Path, Option(help="Vectors folder to write.")] = Path("out/vectors"),
) -> None:
    """Encode item texts and user profiles as vectors, for `fuse`, `train --vectors` and `trees build --vectors`.

    With --vectors, nothing is encoded: the folder has your vectors, and for a user the mean over train items.

    Examples:

    `hardneg profiles encode data/shop-split --profiles out/profiles --out out/vectors`

    `hardneg profiles encode data/shop-split --profiles out/profiles --items profiles --out out/profile-vectors`

    `hardneg profiles encode data/shop-split --vectors items.npy --out out/own-vectors`
    """
    from hardneg import pipeline
    from hardneg.text import text_vectors

    opened = open_vector_source(vectors, encoder, shared.device, profiles)
    described = None if vectors else profiles or Path("out/profiles")
    with show_progress() as progress:
        stage = pipeline.encode_texts_stage(split, described, opened, progress, items=items)
        notes = run_stage(stage, out)
    made = text_vectors.read_text_vectors(out)
    counts = {"items": len(made.items), "users": len(made.users), "size": made.items.shape[1]}
    used = encoder if vectors is None else opened.name
    text = f"{out}: {counts['items']:,} item and {counts['users']:,} user vectors of size {counts['size']}, {used}"
    text += f"; without one: {notes['items without']:,} items and {notes['users without']:,} users"
    following = ("trees", "build", split, "--vectors", out)
    shared.emit({**counts, "encoder": used, "out": str(out)}, text, following)
