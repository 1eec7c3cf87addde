"""HNLMRec, section 4: the stage that tunes a language model towards labels, and the one that has it write vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.checkpoint import CHECKPOINT_FILE, CheckpointFile
from hardneg.config import Config
from hardneg.data import split as splits
from hardneg.data.row_report import report_notes
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.finetuning import (
    NO_BASE,
    AnyEncoder,
    EmbeddingSpace,
    EmbeddingSpaces,
    EncoderConfig,
    HardNegativeEncoder,
    NoTemplate,
    PairInputs,
    Perceptron,
    PerceptronConfig,
    SynthesisConfig,
    Template,
    TemplateConfig,
    TuningConfig,
    load_tuned,
    open_encoder_model,
    save_tuned,
    synthesize,
    tune,
)
from hardneg.finetuning.pooling import rescaled
from hardneg.llm.local.weights import ModelSource
from hardneg.mining import labels
from hardneg.pipeline.costs import needed_by
from hardneg.pipeline.provenance import hash_of_same_split, hash_of_transferable, inherited, is_pooled
from hardneg.sampling import mined
from hardneg.text import profiles
from hardneg.types import Floats, Indices, Progress

TUNED = "tuned"


class FinetuneConfig(Config):
    """What a language model is shown, what of it learns, and how; or, without one, the perceptron in its place."""

    template: TemplateConfig = TemplateConfig()
    model: EncoderConfig = EncoderConfig()
    perceptron: PerceptronConfig = PerceptronConfig()
    """Of base "none" alone, to which template and model mean nothing."""
    tuning: TuningConfig = TuningConfig()

    def settings(self, base: str) -> dict[str, Any]:
        """What counts for a base. Raises ConfigError where something is set that does not."""
        foreign = {"template": TemplateConfig(), "model": EncoderConfig()}
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
    source: ModelSource | None,
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
        shown, given = pair_inputs(splits.read_split(split_folder), read_profiles, label_folder)
        return shown, given.vectors, None

    settings, chosen = config.settings(_name(source)), inherited(label_folder)
    tune_into(out, source, config, read, settings=settings, inputs=inputs, chosen=chosen, progress=progress)


Material = tuple[PairInputs, Floats, Indices | None]
"""What a model is shown, the labels, and, of a pool, the set of each pair row."""


def tune_into(
    out: Path,
    source: ModelSource | None,
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
    key = artifacts.artifact_key(TUNED, settings, inputs)
    if artifacts.is_finished(out, key):
        return
    shown, given, sets = read()
    notes: dict[str, Any] = {**chosen}
    with artifacts.writing(out, TUNED, settings, inputs, notes) as folder:
        spaces = EmbeddingSpaces(
            EmbeddingSpace.of(shown.users),
            EmbeddingSpace.of(shown.items),
            EmbeddingSpace.of(np.asarray(given, np.float32)),
        )
        writer, template = _opened(source, config, spaces)
        found = tune(
            writer,
            template,
            shown,
            given,
            config.tuning,
            sets=sets,
            resume=CheckpointFile(folder, key),
            progress=progress,
        )
        save_tuned(folder, found, template, source)
        notes |= {"best step": found.state.best_iteration, "steps": found.state.iteration}
        notes |= {"held-out loss": -found.state.best_value, "rows left out": report_notes(found.row_report)}
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)


def synthesize_negatives(
    split_folder: Path,
    profile_folder: Path | None,
    label_folder: Path,
    tuned_folder: Path,
    out: Path,
    source: ModelSource | None,
    config: SynthesisConfig,
    progress: Progress | None = None,
) -> None:
    """Have a tuned model write the hard negative's vector of every train pair; a negatives folder without items.

    tuned_folder: by `finetune` of this split, or by `finetune_pooled` of any sets; the embeddings are then shown as they
    were in the pool (`rescaled`).
    """
    read_profiles, pooled = _read_by(source, profile_folder), is_pooled(tuned_folder)
    inputs = made_from(split_folder, read_profiles, label_folder)
    origin = hash_of_transferable if pooled else hash_of_same_split
    inputs["tuned"] = origin(tuned_folder, TUNED, split_folder)
    settings = {"method": "synthesised", **config.model_dump(mode="json", exclude={"batch_size", "share_prefix"})}
    key = artifacts.artifact_key(mined.KIND, settings, inputs)
    if artifacts.is_finished(out, key):
        return
    shown, given = pair_inputs(splits.read_split(split_folder), read_profiles, label_folder)
    shown = rescaled(shown, given.vectors)[0] if pooled else shown
    writer, template = load_tuned(tuned_folder, source)
    if isinstance(writer, HardNegativeEncoder):
        writer.merge_adapter()
    notes: dict[str, Any] = {"source": _who(tuned_folder, source), "pairs": len(shown.pairs)}
    notes |= {"rows left out": report_notes(shown.row_report(template)), **inherited(label_folder)}
    with artifacts.writing(out, mined.KIND, settings, inputs, notes) as folder:
        path = synthesize(writer, template, shown, folder, config, key=key, progress=progress)
        missing = int(np.isnan(np.load(path, mmap_mode="r", allow_pickle=False)[:, 0]).sum())
        notes["pairs without a vector"] = missing
        pl.DataFrame(schema=mined.SCHEMA).write_parquet(folder / "negatives.parquet")
        pl.DataFrame(schema={"user_id": pl.String}).write_parquet(folder / "rejected.parquet")
        artifacts.write_costs(
            folder, needed_by(profile_folder).as_costs() | {"llm_calls": 0, "llm_tokens": 0, "money": 0.0}
        )


def made_from(split_folder: Path, profile_folder: Path | None, label_folder: Path) -> dict[str, str]:
    """Hashes of what a model is shown of a split, once it is sure that all of it is of this split."""
    inputs = {"training data": splits.training_data_hash(split_folder)}
    if profile_folder is not None:
        inputs["profiles"] = hash_of_same_split(profile_folder, profiles.KIND, split_folder)
    return inputs | {"labels": hash_of_same_split(label_folder, labels.KIND, split_folder)}


def _read_by(source: ModelSource | None, profile_folder: Path | None) -> Path | None:
    """The profiles that a base reads: none where there is no language model."""
    if source is None:
        return None
    if profile_folder is None:
        raise ConfigError(f"base {source.name!r} reads profiles, but none are given; see hardneg profile")
    return profile_folder


def pair_inputs(data: Split, profile_folder: Path | None, label_folder: Path) -> tuple[PairInputs, labels.LabelVectors]:
    """What the model is shown of each pair, and the labels."""
    given, train = labels.read_labels(label_folder, data.train), data.train
    if profile_folder is None:
        return PairInputs(train, [""] * train.n_users, [""] * train.n_items, given.users, given.items), given
    written = profiles.read_profiles(profile_folder)
    return PairInputs(train, written.users, written.items, given.users, given.items), given


def _opened(source: ModelSource | None, config: FinetuneConfig, spaces: EmbeddingSpaces) -> tuple[AnyEncoder, Template]:
    if source is None:
        return Perceptron(config.perceptron, spaces=spaces), NoTemplate()
    template = Template(source.tokenizer(), config.template)
    template.require_context_length(source.context_length)
    return open_encoder_model(source, config.model, spaces=spaces), template


def _name(source: ModelSource | None) -> str:
    return NO_BASE if source is None else source.name


def _who(tuned_folder: Path, source: ModelSource | None) -> str:
    """For tables: what wrote the vectors."""
    tuned = artifacts.read_manifest(tuned_folder, TUNED)["config"]["tuning"]["epochs"] > 0
    writer = "perceptron of embeddings (no language model)" if source is None else source.name
    return f"synthesised by {'a tuned' if tuned else 'an untuned'} {writer}"
