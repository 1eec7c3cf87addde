"""`hardneg finetune`: a language model fine-tuned to emit the embedding of a hard negative (HNLMRec, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from hardneg.cli.common import CpuOptions, DeviceOptions, OutputOptions, add_command, new_group, run_stage
from hardneg.cli.negatives import emit_negatives
from hardneg.cli.options import Pairs, PrecisionOption, SplitArgument, pairs_option, parse_settings
from hardneg.cli.output import show_progress
from hardneg.errors import ConfigError
from hardneg.types import WeightPrecision

if TYPE_CHECKING:
    from hardneg.llm.local.weights import ModelSource
    from hardneg.pipeline import TuningSet

app = new_group("Fine-tune a language model to synthesize negatives.")

ProfilesOption = Annotated[Path | None, Option(help="Profiles folder of the split; required unless --base is none.")]
TUNED = Path("out/tuned")


@dataclass(frozen=True)
class TuningOptions:
    """The base model, how it is fine-tuned, and where it is written."""

    base: Annotated[
        str,
        Option(
            help="Base model: minilm, smollm2-135m (see `hardneg llm models`), gguf:FILE, a Hugging Face name, or a folder (decoder or encoder); none, the control without a "
            "language model, a perceptron of both embeddings."
        ),
    ] = "minilm"
    out: Annotated[Path, Option(help="Folder of the fine-tuned model to write.")] = TUNED
    settings: Annotated[
        Pairs,
        pairs_option(
            "Setting of the fine-tuning: tuning.epochs, tuning.batch_size, model.rank, template.texts, "
            "perceptron.hidden_size, ..."
        ),
    ] = None
    precision: PrecisionOption = None


@add_command(app, "label")
def label_command(
    shared: CpuOptions,
    split: SplitArgument,
    run: Annotated[Path, Argument(help="Run folder of a model trained on the split with --sampler mixgcf.")],
    out: Annotated[Path, Option(help="Labels folder to write.")] = Path("out/labels"),
    draws: Annotated[int, Option(min=1, max=10_000, help="Number of draws to average; 1 in the paper.")] = 1,
    seed: Annotated[int, Option(min=0, max=2**63 - 1, help="Random seed of candidates and mixing weights.")] = 0,
    onto: Annotated[
        Path | None,
        Option(help="Vectors folder of the split: rotate labels and embeddings towards the item texts (Procrustes)."),
    ] = None,
) -> None:
    """Compute labels: for every train pair the hard negative that a trained MixGCF mixes.

    Embeddings of separately trained models have no common space. With --onto, the labels of several datasets lie in the
    space of their item texts.

    Example: `hardneg finetune label data/shop-split runs/mixgcf --out out/labels`
    """
    from hardneg import mining, pipeline
    from hardneg.config import parse_config

    options = parse_config(mining.LabelOptions, {"draws": draws, "seed": seed}, where="hardneg finetune label")
    with show_progress() as progress:
        notes = run_stage(pipeline.labels_stage(split, run, options, progress, onto=onto), out)
    following = ("finetune", "train", split, "--labels", out, "--profiles", "out/profiles")
    shared.emit_folder(out, notes, f"labels of {notes['pairs']:,} train pairs", following)


@add_command(app, "train")
def finetune_command(
    shared: DeviceOptions,
    options: TuningOptions,
    split: SplitArgument,
    labels: Annotated[Path, Option(help="Labels folder of the split.")],
    profiles: ProfilesOption = None,
    untuned: Annotated[bool, Option("--untuned", help="Ablation: update nothing, keep the initial weights.")] = False,
) -> None:
    """Fine-tune a language model towards the labels with LoRA, a hybrid prompt and InfoNCE.

    An interrupted command continues from its last checkpoint. Controls: --base none, --untuned, --set
    template.texts=false, --set template.embeddings=false, and profiles by `hardneg profiles write --shuffle-titles`.

    Example: `hardneg finetune train data/shop-split --profiles out/profiles --labels out/labels --base minilm --set tuning.epochs=2 --out out/tuned`
    """
    from hardneg import pipeline

    config = parse_settings(
        pipeline.FinetuneConfig, [*(options.settings or []), *(["tuning.epochs=0"] if untuned else [])]
    )
    source = _open_base(options.base, shared.device, precision=options.precision)
    with show_progress() as progress:
        notes = run_stage(pipeline.tune_stage(split, profiles, labels, source, config, progress), options.out)
    _emit_tuned(shared, options.out, notes, split, labels, profiles)


@add_command(app, "train-pooled")
def finetune_pooled_command(
    shared: DeviceOptions,
    options: TuningOptions,
    data: Annotated[
        list[str],
        Option(
            metavar="SPLIT,PROFILES,LABELS",
            help="Folders of one dataset, separated by commas: split, profiles, labels. Repeatable.",
        ),
    ],
    pairs_each: Annotated[
        int | None, Option(min=1, help="Maximum number of train pairs of each dataset.", show_default="all")
    ] = None,
) -> None:
    """Fine-tune one language model on several datasets, to synthesize negatives for these and other datasets.

    The labels of all datasets must lie in one space: made with --onto, or from runs trained with an anchor.

    Example: `hardneg finetune train-pooled --data data/a,out/a-profiles,out/a-labels --data data/b,out/b-profiles,out/b-labels --out out/tuned`
    """
    from hardneg import pipeline

    sets = [_parse_set(text) for text in data]
    config = parse_settings(pipeline.FinetuneConfig, options.settings)
    source = _open_base(options.base, shared.device, precision=options.precision)
    if source is None:
        raise ConfigError("found --base none, expected a language model; a perceptron cannot be pooled")
    with show_progress() as progress:
        notes = run_stage(
            pipeline.tune_pooled_stage(sets, source, config, progress, pairs_each=pairs_each), options.out
        )
    _emit_tuned(shared, options.out, notes, sets[0].split, sets[0].labels, sets[0].profiles)


@add_command(app, "synthesize")
def synthesize_command(
    shared: DeviceOptions,
    split: SplitArgument,
    labels: Annotated[Path, Option(help="Labels folder of the split, whose embeddings the model reads.")],
    profiles: ProfilesOption = None,
    tuned: Annotated[Path, Option(help="Folder of the fine-tuned model.")] = TUNED,
    base: Annotated[str, Option(help="Base that the model was fine-tuned from; none for a perceptron.")] = "minilm",
    precision: PrecisionOption = None,
    out: Annotated[Path, Option(help="Negatives folder to write.")] = Path("out/negatives"),
    settings: Annotated[
        Pairs, pairs_option("Setting of the synthesis: batch_size, shard_rows, projection.size, ...")
    ] = None,
) -> None:
    """Synthesize a hard negative's embedding for every train pair with a fine-tuned model.

    Example: `hardneg finetune synthesize data/shop-split --profiles out/profiles --labels out/labels --tuned out/tuned --out out/negatives`
    """
    from hardneg import finetuning, pipeline

    config = parse_settings(finetuning.SynthesisConfig, settings)
    source = _open_base(base, shared.device, precision=precision)
    with show_progress() as progress:
        notes = run_stage(pipeline.synthesize_stage(split, profiles, labels, tuned, source, config, progress), out)
    emit_negatives(shared, out, split, notes)


def _open_base(name: str, device: str, *, precision: WeightPrecision | None = None) -> ModelSource | None:
    from hardneg.finetuning import NO_BASE, base_model

    if name == NO_BASE:
        return None
    with show_progress() as progress:
        return base_model(name, device=device, precision=precision, progress=progress)


def _parse_set(text: str) -> TuningSet:
    from hardneg.pipeline import TuningSet

    folders = text.split(",")
    if len(folders) != 3 or not all(folders):
        raise ConfigError(f"found --data {text!r}, expected SPLIT,PROFILES,LABELS")
    return TuningSet(*map(Path, folders))


def _emit_tuned(
    shared: OutputOptions, out: Path, notes: dict[str, Any], split: Path, labels: Path, profiles: Path | None
) -> None:
    with_profiles = [] if profiles is None else ["--profiles", profiles]
    following = ["finetune", "synthesize", split, "--labels", labels, *with_profiles, "--tuned", out]
    text = f"best at step {notes['best step']} of {notes['steps']}, held-out loss {notes['held-out loss']:.4f}"
    shared.emit_folder(out, notes, text, following)
