"""HNLMRec, section 4: the stage that tunes a language model towards labels, and the one that has it write vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.config import Config
from hardneg.data import split as splits
from hardneg.data.ledger import as_notes
from hardneg.data.split import Split
from hardneg.finetuning import (
    Inputs,
    ModelConfig,
    Resume,
    Space,
    Spaces,
    SynthesisConfig,
    Template,
    TemplateConfig,
    TuningConfig,
    load,
    open_writer,
    save,
    synthesise,
    tune,
)
from hardneg.finetuning.checkpoint import NAME as CHECKPOINT
from hardneg.finetuning.sets import levelled
from hardneg.llm.local.weights import Source
from hardneg.negatives import labels, mined
from hardneg.pipeline.costs import needed_by
from hardneg.pipeline.origins import hash_of_same_split, hash_of_transferable, is_pooled
from hardneg.text import profiles
from hardneg.types import Floats, Indices, Progress

TUNED = "tuned"


class FinetuneConfig(Config):
    """What a language model is shown, what of it learns, and how."""

    template: TemplateConfig = TemplateConfig()
    model: ModelConfig = ModelConfig()
    tuning: TuningConfig = TuningConfig()


def finetune(
    split_folder: Path,
    profile_folder: Path,
    label_folder: Path,
    out: Path,
    source: Source,
    config: FinetuneConfig,
    progress: Progress | None = None,
) -> None:
    """Tune a base towards the labels of train pairs (eq. 11, 12); a tuned folder.

    Killed at any moment, the same call goes on from the last checkpoint and leaves the same files.
    """
    inputs = made_from(split_folder, profile_folder, label_folder) | {"base": source.identity()}
    settings = {"base": source.name, **config.model_dump(mode="json")}

    def read() -> Material:
        shown, given = inputs_of(splits.read(split_folder), profile_folder, label_folder)
        return shown, given.vectors, None

    tune_into(out, source, config, read, settings=settings, inputs=inputs, progress=progress)


Material = tuple[Inputs, Floats, Indices | None]
"""What a model is shown, the labels, and, of a pool, the set of each pair row."""


def tune_into(
    out: Path,
    source: Source,
    config: FinetuneConfig,
    read: Callable[[], Material],
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    progress: Progress | None = None,
) -> None:
    """Tune a base on what `read` returns, into a tuned folder; nothing is read where that stands."""
    key = artifacts.key_of(TUNED, settings, inputs)
    if artifacts.finished(out, key):
        return
    shown, given, sets = read()
    template = Template(source.tokenizer(), config.template)
    template.require_room(source.positions)
    notes: dict[str, Any] = {}
    with artifacts.writing(out, TUNED, settings, inputs, notes) as folder:
        spaces = Spaces(Space.of(shown.users), Space.of(shown.items), Space.of(np.asarray(given, np.float32)))
        writer = open_writer(source, config.model, spaces=spaces)
        found = tune(
            writer, template, shown, given, config.tuning, sets=sets, resume=Resume(folder, key), progress=progress
        )
        save(folder, found, template, source)
        notes |= {"best step": found.progressed.best_step, "steps": found.progressed.step}
        notes |= {"held-out loss": found.progressed.best_loss, "ledger": as_notes(found.ledger)}
    (out / CHECKPOINT).unlink(missing_ok=True)


def mine_synthesised(
    split_folder: Path,
    profile_folder: Path,
    label_folder: Path,
    tuned_folder: Path,
    out: Path,
    source: Source,
    config: SynthesisConfig,
    progress: Progress | None = None,
) -> None:
    """Have a tuned model write the hard negative's vector of every train pair; a negatives folder without items.

    tuned_folder: by `finetune` of this split, or by `finetune_pooled` of any sets; the embeddings are then shown as they
    were in the pool (`levelled`).
    """
    inputs, pooled = made_from(split_folder, profile_folder, label_folder), is_pooled(tuned_folder)
    origin = hash_of_transferable if pooled else hash_of_same_split
    inputs["tuned"] = origin(tuned_folder, TUNED, split_folder)
    settings = {"method": "synthesised", **config.model_dump(mode="json", exclude={"batch_size", "share_prefix"})}
    key = artifacts.key_of(mined.KIND, settings, inputs)
    if artifacts.finished(out, key):
        return
    shown, given = inputs_of(splits.read(split_folder), profile_folder, label_folder)
    shown = levelled(shown, given.vectors)[0] if pooled else shown
    writer, template = load(tuned_folder, source)
    if writer.config.adapt == "lora":
        writer.fold()
    notes: dict[str, Any] = {"source": f"synthesised by tuned {source.name}", "pairs": len(shown.pairs)}
    notes |= {"ledger": as_notes(shown.ledger(template))}
    with artifacts.writing(out, mined.KIND, settings, inputs, notes) as folder:
        path = synthesise(writer, template, shown, folder, config, key=key, progress=progress)
        missing = int(np.isnan(np.load(path, mmap_mode="r", allow_pickle=False)[:, 0]).sum())
        notes["pairs without a vector"] = missing
        pl.DataFrame(schema=mined.SCHEMA).write_parquet(folder / "negatives.parquet")
        pl.DataFrame(schema={"user_id": pl.String}).write_parquet(folder / "rejected.parquet")
        artifacts.write_costs(
            folder, needed_by(profile_folder).as_costs() | {"llm_calls": 0, "llm_tokens": 0, "money": 0.0}
        )


def made_from(split_folder: Path, profile_folder: Path, label_folder: Path) -> dict[str, str]:
    """Hashes of what a model is shown of a split, once it is sure that all of it is of this split."""
    return {
        "learnt from": splits.learnt_from_hash(split_folder),
        "profiles": hash_of_same_split(profile_folder, profiles.KIND, split_folder),
        "labels": hash_of_same_split(label_folder, labels.KIND, split_folder),
    }


def inputs_of(data: Split, profile_folder: Path, label_folder: Path) -> tuple[Inputs, labels.Labels]:
    """What the model is shown of each pair, and the labels."""
    written, given = profiles.read(profile_folder), labels.read(label_folder, data.train)
    return Inputs(data.train, written.users, written.items, given.users, given.items), given
