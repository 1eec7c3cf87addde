"""`hardneg finetune`: a language model fine-tuned to emit the embedding of a hard negative (HNLMRec, section 4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hardneg.cli.common import CpuOptions, DeviceOptions, OutputOptions, add_command, new_group, read_notes
from hardneg.cli.negatives import emit_negatives
from hardneg.cli.options import Pairs, SplitArgument, pairs_option, parse_settings
from hardneg.cli.progress import show_progress
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.llm.local.weights import ModelSource
    from hardneg.pipeline import TuningSet

app = new_group("Fine-tune a language model to synthesize negatives.")

LabelsOption = Annotated[Path, typer.Option(help="Labels folder of the split.")]
ProfilesOption = Annotated[
    Path | None, typer.Option(help="Profiles folder of the split; required unless --base is none.")
]
BaseOption = Annotated[
    str,
    typer.Option(
        help="Base model: minilm, a Hugging Face name, or a folder (decoder or encoder); none, the control without a "
        "language model, a perceptron of both embeddings."
    ),
]
TunedOption = Annotated[Path, typer.Option(help="Folder of the fine-tuned model to write.")]
TUNED = Path("out/tuned")
SettingsOption = Annotated[
    Pairs,
    pairs_option(
        "Setting of the fine-tuning: tuning.epochs, tuning.batch_size, model.rank, template.texts, "
        "perceptron.hidden_size, ..."
    ),
]
FourBitOption = Annotated[
    bool, typer.Option("--four-bit", help="Load the base in 4 bits (needs a GPU and bitsandbytes).")
]


@add_command(app, "label")
def label_command(
    shared: CpuOptions,
    split: SplitArgument,
    run: Annotated[Path, typer.Argument(help="Run folder of a model trained on the split with --sampler mixgcf.")],
    out: Annotated[Path, typer.Option(help="Labels folder to write.")] = Path("out/labels"),
    draws: Annotated[int, typer.Option(min=1, help="Number of draws to average; 1 in the paper.")] = 1,
    seed: Annotated[int, typer.Option(help="Random seed of candidates and mixing weights.")] = 0,
    onto: Annotated[
        Path | None,
        typer.Option(
            help="Vectors folder of the split: rotate labels and embeddings towards the item texts (Procrustes)."
        ),
    ] = None,
) -> None:
    """Compute labels: for every train pair the hard negative that a trained MixGCF mixes.

    Embeddings of separately trained models have no common space. With --onto, the labels of several datasets lie in the
    space of their item texts.

    Example: `hardneg finetune label data/shop-split runs/mixgcf --out out/labels`
    """
    from hardneg import pipeline
    from hardneg.config import parse_config
    from hardneg.mining import LabelOptions, labels

    options: LabelOptions = parse_config(LabelOptions, {"draws": draws, "seed": seed}, where="hardneg finetune label")
    with show_progress() as progress:
        pipeline.labels_stage(split, run, options, progress, onto=onto).run(out)
    notes = read_notes(out, labels.KIND)
    text = f"{out}: labels of {notes['pairs']:,} train pairs"
    following = ("finetune", "train", split, "--labels", out, "--profiles", "out/profiles")
    shared.emit({**notes, "out": str(out)}, text, following)


@add_command(app, "train")
def finetune_command(
    shared: DeviceOptions,
    split: SplitArgument,
    labels: LabelsOption,
    profiles: ProfilesOption = None,
    base: BaseOption = "minilm",
    out: TunedOption = TUNED,
    settings: SettingsOption = None,
    untuned: Annotated[
        bool, typer.Option("--untuned", help="Ablation: update nothing, keep the initial weights.")
    ] = False,
    four_bit: FourBitOption = False,
) -> None:
    """Fine-tune a language model towards the labels with LoRA, a hybrid prompt and InfoNCE.

    An interrupted command continues from its last checkpoint. Controls: --base none, --untuned, --set
    template.texts=false, --set template.embeddings=false, and profiles by `hardneg profiles write --shuffle-titles`.

    Example: `hardneg finetune train data/shop-split --profiles out/profiles --labels out/labels --base minilm --set tuning.epochs=2 --out out/tuned`
    """
    from hardneg import pipeline
    from hardneg.pipeline import FinetuneConfig

    pairs = [*(settings or []), *(["tuning.epochs=0"] if untuned else [])]
    config: FinetuneConfig = parse_settings(FinetuneConfig, pairs)
    with show_progress() as progress:
        pipeline.tune_stage(
            split, profiles, labels, _open_base(base, shared.device, four_bit=four_bit), config, progress
        ).run(out)
    _emit_tuned(shared, out, ["finetune", "synthesize", split, "--labels", labels, *_profile_words(profiles)])


@add_command(app, "train-pooled")
def finetune_pooled_command(
    shared: DeviceOptions,
    data: Annotated[
        list[str],
        typer.Option(
            metavar="SPLIT,PROFILES,LABELS",
            help="Folders of one dataset, separated by commas: split, profiles, labels. Repeatable.",
        ),
    ],
    base: BaseOption = "minilm",
    out: TunedOption = TUNED,
    settings: SettingsOption = None,
    pairs_each: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of train pairs of each dataset.", show_default="all")
    ] = None,
    four_bit: FourBitOption = False,
) -> None:
    """Fine-tune one language model on several datasets, to synthesize negatives for these and other datasets.

    The labels of all datasets must lie in one space: made with --onto, or from runs trained with --anchor.

    Example: `hardneg finetune train-pooled --data data/a,out/a-profiles,out/a-labels --data data/b,out/b-profiles,out/b-labels --out out/tuned`
    """
    from hardneg import pipeline
    from hardneg.pipeline import FinetuneConfig

    sets = [_parse_set(text) for text in data]
    config: FinetuneConfig = parse_settings(FinetuneConfig, settings)
    source = _open_base(base, shared.device, four_bit=four_bit)
    if source is None:
        raise ConfigError("found --base none, expected a language model; a perceptron cannot be pooled")
    with show_progress() as progress:
        pipeline.tune_pooled_stage(sets, source, config, progress, pairs_each=pairs_each).run(out)
    first = sets[0]
    words = ["finetune", "synthesize", first.split, "--labels", first.labels, "--profiles", first.profiles]
    _emit_tuned(shared, out, words)


@add_command(app, "synthesize")
def synthesize_command(
    shared: DeviceOptions,
    split: SplitArgument,
    labels: Annotated[Path, typer.Option(help="Labels folder of the split, whose embeddings the model reads.")],
    profiles: ProfilesOption = None,
    tuned: Annotated[Path, typer.Option(help="Folder of the fine-tuned model.")] = TUNED,
    base: Annotated[
        str, typer.Option(help="Base that the model was fine-tuned from; none for a perceptron.")
    ] = "minilm",
    out: Annotated[Path, typer.Option(help="Negatives folder to write.")] = Path("out/negatives"),
    settings: Annotated[
        Pairs,
        pairs_option("Setting of the synthesis: batch_size, shard_rows, projection.size, ..."),
    ] = None,
) -> None:
    """Synthesize a hard negative's embedding for every train pair with a fine-tuned model.

    Example: `hardneg finetune synthesize data/shop-split --profiles out/profiles --labels out/labels --tuned out/tuned --out out/negatives`
    """
    from hardneg import pipeline
    from hardneg.finetuning import SynthesisConfig

    config: SynthesisConfig = parse_settings(SynthesisConfig, settings)
    with show_progress() as progress:
        pipeline.synthesize_stage(
            split, profiles, labels, tuned, _open_base(base, shared.device), config, progress
        ).run(out)
    emit_negatives(shared, out, split)


def _open_base(name: str, device: str, *, four_bit: bool = False) -> ModelSource | None:
    from hardneg.finetuning import NO_BASE, base_model

    return None if name == NO_BASE else base_model(name, device=device, four_bit=four_bit)


def _parse_set(text: str) -> TuningSet:
    from hardneg.pipeline import TuningSet

    folders = text.split(",")
    if len(folders) != 3 or not all(folders):
        raise ConfigError(f"found --data {text!r}, expected SPLIT,PROFILES,LABELS")
    return TuningSet(*map(Path, folders))


def _profile_words(profiles: Path | None) -> list[object]:
    return [] if profiles is None else ["--profiles", profiles]


def _emit_tuned(shared: OutputOptions, out: Path, following: list[object]) -> None:
    from hardneg.pipeline.tuning import TUNED as KIND

    notes = read_notes(out, KIND)
    text = f"{out}: best at step {notes['best step']} of {notes['steps']}, held-out loss {notes['held-out loss']:.4f}"
    shared.emit({**notes, "out": str(out)}, text, [*following, "--tuned", out])
