"""`hardneg negatives`: hard negatives of every train pair, retrieved or generated, and their controls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from hardneg.cli.common import DeviceOptions, OutputOptions, ReadingOptions, add_command, new_group, run_stage
from hardneg.cli.llm_options import (
    PerOption,
    WritingOptions,
    describe_costs,
    open_session,
    open_text_encoder,
    open_vector_source,
    per_setting,
)
from hardneg.cli.options import (
    EncoderOption,
    OwnVectorsOption,
    Pairs,
    SeedOption,
    SplitArgument,
    pairs_option,
    parse_settings,
)
from hardneg.cli.output import show_progress, warn_if_empty

if TYPE_CHECKING:
    from hardneg.pipeline import GenerationConfig
    from hardneg.stage import Stage

app = new_group("Retrieve or generate hard negatives, or make controls.")
control = new_group("Make a control: vectors that lack one ingredient of other negatives.")
app.add_typer(control, name="control")

OutOption = Annotated[Path, Option(help="Negatives folder to write.")]
OUT, PROFILES = Path("out/negatives"), Path("out/profiles")
ProfilesOption = Annotated[Path, Option(help="Profiles folder of the split.")]
LikeOption = Annotated[Path, Option(help="Negatives folder to imitate.")]
LabelsOption = Annotated[Path, Option(help="Labels folder of the split, by `hardneg finetune label`.")]


@add_command(app, "retrieve")
def retrieve_negatives_command(
    shared: DeviceOptions,
    split: SplitArgument,
    profiles: Annotated[Path | None, Option(show_default="out/profiles", help="Profiles folder of the split.")] = None,
    encoder: EncoderOption = "minilm",
    vectors: OwnVectorsOption = None,
    out: OutOption = OUT,
    settings: Annotated[
        Pairs,
        pairs_option(
            "Setting of the retrieval: n, negatives for each pair; pool, text neighbours to consider; "
            "profile_share, from 0 to 1; duplicate, cosine of an equal item."
        ),
    ] = None,
) -> None:
    """Retrieve the catalogue items whose texts are nearest to the positive and to the user's profile.

    No language model is needed. Items that the user has are left out, also under another id: items of equal title and brand are one product.

    With --vectors, the vector of a user is the mean over train items, and profiles are not needed.

    Examples:

    `hardneg negatives retrieve data/shop-split --profiles out/profiles --set n=2 --set pool=100 --out out/negatives`

    `hardneg negatives retrieve data/shop-split --vectors items.parquet --out out/negatives`
    """
    from hardneg import mining, pipeline

    config = parse_settings(mining.RetrievalConfig, settings)
    opened = open_vector_source(vectors, encoder, shared.device, profiles)
    described = None if vectors else profiles or PROFILES
    with show_progress() as progress:
        notes = run_stage(pipeline.retrieve_stage(split, described, config, opened, progress), out)
    emit_negatives(shared, out, split, notes)


@dataclass(frozen=True)
class NamingOptions:
    """Options of what a language model names, and of the use of its replies."""

    per: PerOption = None
    suspects: Annotated[
        Path | None, Option(help="Suspects folder, none of whose items become negatives of their user; for --per item.")
    ] = None
    naming: Annotated[
        Literal["raw", "grounded", "constrained"] | None,
        Option(
            "--naming",
            "--way",
            show_default="raw",
            help="Use of the generated text: raw, encode it as it is (HNLMRec); grounded, take the catalogue item that it "
            "names; constrained, decode titles of the catalogue only (local models).",
        ),
    ] = None
    settings: Annotated[
        Pairs,
        pairs_option(
            "Setting of the generation: ask.n, ask.pairs_per_call, ask.temperature, items.k, items.temperature, "
            "use.grounding.nearest, ..."
        ),
    ] = None

    def parse(self) -> GenerationConfig:
        """Return the settings of the generation. Raises ConfigError."""
        from hardneg import pipeline

        given = [*per_setting(self.per), *([f"use.naming={self.naming}"] if self.naming else [])]
        config: GenerationConfig = parse_settings(pipeline.GenerationConfig, [*(self.settings or []), *given])
        return config


@add_command(app, "generate")
def generate_negatives_command(
    shared: DeviceOptions,
    split: SplitArgument,
    llm: WritingOptions,
    naming: NamingOptions,
    profiles: Annotated[
        Path | None,
        Option(
            show_default="out/profiles",
            help="Profiles folder of the split. With --per item it gives the users' vectors, by default means of their train "
            "items.",
        ),
    ] = None,
    encoder: Annotated[
        str,
        Option(
            help="Text encoder: minilm, a sentence-transformers folder or name, openai:text-embedding-3-small, "
            "http://HOST/v1#MODEL, or hf-causal:NAME@last."
        ),
    ] = "minilm",
    out: OutOption = OUT,
) -> None:
    """Prompt a language model to name a hard negative for every train pair, or some for every item; encode the answers.

    With --per item, each pair takes the product of its item that is nearest to its user. Every reply is stored, so that an
    interrupted command continues without repeating paid calls.

    Example: `hardneg negatives generate data/shop-split --profiles out/profiles --llm openai:gpt-4o-mini --naming grounded --engine budget_money=20 --out out/generated`
    """
    from hardneg import pipeline

    config = naming.parse()
    if config.per == "pair":
        profiles = profiles or Path("out/profiles")
    with (
        show_progress() as progress,
        open_session(llm.config, shared.device, progress, activity="naming negatives with") as session,
    ):
        opened = open_text_encoder(encoder, shared.device, session, llm.config.prices, llm.config.precision)
        stage = pipeline.generate_stage(
            split,
            profiles,
            session,
            opened,
            config,
            suspects_dir=naming.suspects,
            estimate=llm.read_estimate(),
            progress=progress,
        )
        notes = run_stage(stage, out)
    emit_negatives(shared, out, split, notes)


@dataclass(frozen=True, kw_only=True)
class ControlOptions(ReadingOptions):
    """Options of every control."""

    split: SplitArgument
    out: OutOption = OUT

    def write(self, stage: Stage) -> None:
        """Run the stage of a control, and print its counts."""
        emit_negatives(self, self.out, self.split, run_stage(stage, self.out))


@add_command(control, "random")
def random_negatives_command(options: ControlOptions, like: LikeOption, seed: SeedOption = 0) -> None:
    """Draw random vectors with the norms of other negatives, missing where those are missing.

    Example: `hardneg negatives control random data/shop-split --like out/negatives --out out/random`
    """
    from hardneg.pipeline import random_negatives_stage

    options.write(random_negatives_stage(options.split, like, seed))


@add_command(control, "shuffled")
def shuffled_negatives_command(options: ControlOptions, like: LikeOption, seed: SeedOption = 0) -> None:
    """Permute other negatives among the train pairs.

    Example: `hardneg negatives control shuffled data/shop-split --like out/negatives --out out/shuffled`
    """
    from hardneg.pipeline import shuffled_negatives_stage

    options.write(shuffled_negatives_stage(options.split, like, seed))


@add_command(control, "positive")
def positive_negatives_command(options: ControlOptions, labels: LabelsOption) -> None:
    """Take the embedding of each pair's own positive, by the model behind the labels.

    Example: `hardneg negatives control positive data/shop-split --labels out/labels --out out/positive`
    """
    from hardneg.pipeline import labels_control_stage

    options.write(labels_control_stage(options.split, labels, "positive"))


@add_command(control, "labels")
def label_negatives_command(options: ControlOptions, labels: LabelsOption) -> None:
    """Take the labels themselves: the vectors that a perfectly fine-tuned model would synthesize.

    Example: `hardneg negatives control labels data/shop-split --labels out/labels --out out/labels-control`
    """
    from hardneg.pipeline import labels_control_stage

    options.write(labels_control_stage(options.split, labels, "labels"))


def emit_negatives(shared: OutputOptions, out: Path, split: Path, notes: dict[str, Any]) -> None:
    """Print counts and costs of a negatives folder."""
    from hardneg.data.products import UNDER_ANOTHER_ID
    from hardneg.sampling import mined

    costs, costs_text = describe_costs(out)
    text = f"{notes['pairs']:,} pairs, {notes['pairs without a vector']:,} without a vector ({notes['source']})"
    if refused := notes.get(mined.REJECTED, {}).get(UNDER_ANOTHER_ID, 0):
        text += f"\n  {refused:,} items refused: {UNDER_ANOTHER_ID}; see rejected.parquet"
    warn_if_empty(notes)
    following = ("train", split, "--sampler", "semantic", "--negatives", out)
    shared.emit_folder(out, notes, text + costs_text, following, costs=costs)
