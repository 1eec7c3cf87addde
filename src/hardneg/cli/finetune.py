"""`hardneg finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hardneg.cli.common import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, use_threads


def finetune(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    labels: Annotated[Path, typer.Option(help="Labels folder by `hardneg label`.")],
    profiles: Annotated[
        Path | None, typer.Option(help="Profiles folder of that split; --base none needs none.")
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            help="minilm, a Hugging Face name, or a folder (decoder or encoder); none: the control without a language "
            "model, a perceptron of the two embeddings."
        ),
    ] = "minilm",
    out: Annotated[Path, typer.Option(help="Tuned folder to make.")] = Path("out/tuned"),
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="NAME=VALUE: tuning.epochs, tuning.batch_size, model.rank, template.texts, perceptron.hidden_size, ...",
        ),
    ] = None,
    untuned: Annotated[
        bool, typer.Option("--untuned", help="The ablation: tune nothing, keep everything as it starts.")
    ] = False,
    four_bit: Annotated[bool, typer.Option("--four-bit", help="Hold the base in 4 bits (GPU, bitsandbytes).")] = False,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Tune a language model to write the hard negative's vector (HNLMRec, section 4: LoRA, hybrid prompt, InfoNCE).

    Killed at any moment, the same command goes on from its last checkpoint. Controls: --base none, --untuned,
    --set template.texts=false, --set template.embeddings=false, and profiles by `hardneg profile --shuffle-titles`.

    Example: `hardneg finetune data/shop-split --profiles out/profiles --labels out/labels --base minilm --set tuning.epochs=2 --out out/tuned`, then
    `hardneg mine data/shop-split --method synthesised --profiles out/profiles --labels out/labels --tuned out/tuned --out out/synthesised`
    """
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.config import overrides, parse_config
    from hardneg.finetuning import NO_BASE
    from hardneg.finetuning import base_model as base_named
    from hardneg.pipeline.tuning import TUNED, FinetuneConfig

    use_threads(threads)
    require_device(device)
    settings = [*(option or []), *(["tuning.epochs=0"] if untuned else [])]
    config: FinetuneConfig = parse_config(FinetuneConfig, overrides(settings), where="hardneg finetune --set")
    source = None if base == NO_BASE else base_named(base, device=device, four_bit=four_bit)
    with bars() as bar:
        pipeline.tune_stage(split, profiles, labels, source, config, bar).run(out)
    notes = read_manifest(out, TUNED)["notes"]
    text = f"{out}: best at step {notes['best step']} of {notes['steps']}, held-out loss {notes['held-out loss']:.4f}"
    emit({**notes, "out": str(out)}, as_json=as_json, text=text)
