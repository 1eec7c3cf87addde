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
from hardneg.errors import ConfigError
from hardneg.finetuning import (
    NO_BASE,
    AnyWriter,
    Inputs,
    ModelConfig,
    Perceptron,
    PerceptronConfig,
    Space,
    Spaces,
    SynthesisConfig,
    Template,
    TemplateConfig,
    TuningConfig,
    Wordless,
    Writer,
    load,
    open_writer,
    save,
    synthesise,
    tune,
)
from hardneg.finetuning.sets import levelled
from hardneg.llm.local.weights import Source
from hardneg.negatives import labels, mined
from hardneg.pipeline.costs import needed_by
from hardneg.pipeline.origins import hash_of_same_split, hash_of_transferable, inherited, is_pooled
from hardneg.resuming import NAME as CHECKPOINT
from hardneg.resuming import Resume
from hardneg.text import profiles
from hardneg.types import Floats, Indices, Progress

TUNED = "tuned"


class FinetuneConfig(Config):
    """What a language model is shown, what of it learns, and how; or, without one, the perceptron in its place."""

    template: TemplateConfig = TemplateConfig()
    model: ModelConfig = ModelConfig()
    perceptron: PerceptronConfig = PerceptronConfig()
    """Of base "none" alone, to which template and model mean nothing."""
    tuning: TuningConfig = TuningConfig()

    def settings(self, base: str) -> dict[str, Any]:
        """What counts for a base. Raises ConfigError where something is set that does not."""
        foreign = {"template": TemplateConfig(), "model": ModelConfig()}
        if base != NO_BASE:
            foreign = {"perceptron": PerceptronConfig()}
        for name, default in foreign.items():
            if getattr(self, name) != default:
                raise ConfigError(f"{name} is set, which means nothing to base {base!r}; leave it out")
        return {"base": base, **self.model_dump(mode="json", exclude=set(foreign))}


def finetune(
    split_folder: Path,
    profile_folder: Path | None,
    label_folder: Path,
    out: Path,
    source: Source | None,
    config: FinetuneConfig,
    progress: Progress | None = None,
) -> None:
    """Tune a base towards the labels of train pairs (eq. 11, 12); a tuned folder.

    source: None for the control without a language model, a perceptron of [e_u, e_v], which reads no profiles.
    Killed at any moment, the same call goes on from the last checkpoint and leaves the same files.
    """
    read_profiles = _read_by(source, profile_folder)
    inputs = made_from(split_folder, read_profiles, label_folder)
    inputs["base"] = NO_BASE if source is None else source.identity()

    def read() -> Material:
        shown, given = inputs_of(splits.read(split_folder), read_profiles, label_folder)
        return shown, given.vectors, None

    settings, chosen = config.settings(_name(source)), inherited(label_folder)
    tune_into(out, source, config, read, settings=settings, inputs=inputs, chosen=chosen, progress=progress)


Material = tuple[Inputs, Floats, Indices | None]
"""What a model is shown, the labels, and, of a pool, the set of each pair row."""


def tune_into(
    out: Path,
    source: Source | None,
    config: FinetuneConfig,
    read: Callable[[], Material],
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    chosen: Mapping[str, str],
    progress: Progress | None = None,
) -> None:
    """Tune a base on what `read` returns, into a tuned folder; nothing is read where that stands.

    chosen: notes of the validation pairs that chose the runs behind the labels (`inherited`).
    """
    key = artifacts.key_of(TUNED, settings, inputs)
    if artifacts.finished(out, key):
        return
    shown, given, sets = read()
    notes: dict[str, Any] = {**chosen}
    with artifacts.writing(out, TUNED, settings, inputs, notes) as folder:
        spaces = Spaces(Space.of(shown.users), Space.of(shown.items), Space.of(np.asarray(given, np.float32)))
        writer, template = _opened(source, config, spaces)
        found = tune(
            writer, template, shown, given, config.tuning, sets=sets, resume=Resume(folder, key), progress=progress
        )
        save(folder, found, template, source)
        notes |= {"best step": found.progressed.best_step, "steps": found.progressed.step}
        notes |= {"held-out loss": found.progressed.best_loss, "ledger": as_notes(found.ledger)}
    (out / CHECKPOINT).unlink(missing_ok=True)


def mine_synthesised(
    split_folder: Path,
    profile_folder: Path | None,
    label_folder: Path,
    tuned_folder: Path,
    out: Path,
    source: Source | None,
    config: SynthesisConfig,
    progress: Progress | None = None,
) -> None:
    """Have a tuned model write the hard negative's vector of every train pair; a negatives folder without items.

    tuned_folder: by `finetune` of this split, or by `finetune_pooled` of any sets; the embeddings are then shown as they
    were in the pool (`levelled`).
    """
    read_profiles, pooled = _read_by(source, profile_folder), is_pooled(tuned_folder)
    inputs = made_from(split_folder, read_profiles, label_folder)
    origin = hash_of_transferable if pooled else hash_of_same_split
    inputs["tuned"] = origin(tuned_folder, TUNED, split_folder)
    settings = {"method": "synthesised", **config.model_dump(mode="json", exclude={"batch_size", "share_prefix"})}
    key = artifacts.key_of(mined.KIND, settings, inputs)
    if artifacts.finished(out, key):
        return
    shown, given = inputs_of(splits.read(split_folder), read_profiles, label_folder)
    shown = levelled(shown, given.vectors)[0] if pooled else shown
    writer, template = load(tuned_folder, source)
    if isinstance(writer, Writer):
        writer.fold()
    notes: dict[str, Any] = {"source": _who(tuned_folder, source), "pairs": len(shown.pairs)}
    notes |= {"ledger": as_notes(shown.ledger(template)), **inherited(label_folder)}
    with artifacts.writing(out, mined.KIND, settings, inputs, notes) as folder:
        path = synthesise(writer, template, shown, folder, config, key=key, progress=progress)
        missing = int(np.isnan(np.load(path, mmap_mode="r", allow_pickle=False)[:, 0]).sum())
        notes["pairs without a vector"] = missing
        pl.DataFrame(schema=mined.SCHEMA).write_parquet(folder / "negatives.parquet")
        pl.DataFrame(schema={"user_id": pl.String}).write_parquet(folder / "rejected.parquet")
        artifacts.write_costs(
            folder, needed_by(profile_folder).as_costs() | {"llm_calls": 0, "llm_tokens": 0, "money": 0.0}
        )


def made_from(split_folder: Path, profile_folder: Path | None, label_folder: Path) -> dict[str, str]:
    """Hashes of what a model is shown of a split, once it is sure that all of it is of this split."""
    inputs = {"learnt from": splits.learnt_from_hash(split_folder)}
    if profile_folder is not None:
        inputs["profiles"] = hash_of_same_split(profile_folder, profiles.KIND, split_folder)
    return inputs | {"labels": hash_of_same_split(label_folder, labels.KIND, split_folder)}


def _read_by(source: Source | None, profile_folder: Path | None) -> Path | None:
    """The profiles that a base reads: none where there is no language model."""
    if source is None:
        return None
    if profile_folder is None:
        raise ConfigError(f"base {source.name!r} reads profiles, but none are given; see hardneg profile")
    return profile_folder


def inputs_of(data: Split, profile_folder: Path | None, label_folder: Path) -> tuple[Inputs, labels.Labels]:
    """What the model is shown of each pair, and the labels."""
    given, train = labels.read(label_folder, data.train), data.train
    if profile_folder is None:
        return Inputs(train, [""] * train.n_users, [""] * train.n_items, given.users, given.items), given
    written = profiles.read(profile_folder)
    return Inputs(train, written.users, written.items, given.users, given.items), given


def _opened(source: Source | None, config: FinetuneConfig, spaces: Spaces) -> tuple[AnyWriter, Template]:
    if source is None:
        return Perceptron(config.perceptron, spaces=spaces), Wordless()
    template = Template(source.tokenizer(), config.template)
    template.require_room(source.positions)
    return open_writer(source, config.model, spaces=spaces), template


def _name(source: Source | None) -> str:
    return NO_BASE if source is None else source.name


def _who(tuned_folder: Path, source: Source | None) -> str:
    """For tables: what wrote the vectors."""
    tuned = artifacts.manifest_of(tuned_folder, TUNED)["config"]["tuning"]["epochs"] > 0
    writer = "perceptron of embeddings (no language model)" if source is None else source.name
    return f"synthesised by {'a tuned' if tuned else 'an untuned'} {writer}"
