"""Stages of HNLMRec, section 4: tune a language model towards labels, and synthesize negatives with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hardneg import artifacts
from hardneg.checkpoint import CheckpointFile
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
    timing,
    tune,
)
from hardneg.finetuning.inputs import LabelledPairs, draw_pairs, pool_sets, rescale_inputs, select_pairs, set_numbers
from hardneg.llm.local.weights import ModelSource
from hardneg.mining import labels
from hardneg.pipeline.provenance import (
    POOLED,
    dataset_of,
    hash_of_same_split,
    hash_of_transferable,
    inherited_note,
    is_pooled,
    needs_of,
    split_inputs,
)
from hardneg.sampling import mined
from hardneg.stage import Draft, Stage
from hardneg.storage import read_array
from hardneg.text import profiles
from hardneg.types import Floats, Indices, Progress

TUNED = "tuned"


class FinetuneConfig(Config):
    """Prompt, tuned weights and tuning settings of a language model, or of the perceptron in its place."""

    template: TemplateConfig = TemplateConfig()
    model: EncoderConfig = EncoderConfig()
    perceptron: PerceptronConfig = PerceptronConfig()
    """Only for base "none", which ignores template and model."""
    tuning: TuningConfig = TuningConfig()

    def settings(self, base: str) -> dict[str, Any]:
        """Return the settings that apply to a base. Raises ConfigError where another one is set."""
        unused: dict[str, Config] = {"template": TemplateConfig(), "model": EncoderConfig()}
        if base != NO_BASE:
            unused = {"perceptron": PerceptronConfig()}
        for name, default in unused.items():
            if getattr(self, name) != default:
                raise ConfigError(f"{name} is set, but does not apply to base {base!r}; leave it out")
        return {"base": base, **self.model_dump(mode="json", exclude=set(unused))}


Material = tuple[PairInputs, Floats, Indices | None]
"""What a model is shown, the labels, and, for pooled datasets, the dataset of each pair."""


def tune_stage(
    split_dir: Path,
    profiles_dir: Path | None,
    labels_dir: Path,
    source: ModelSource | None,
    config: FinetuneConfig,
    progress: Progress | None = None,
) -> Stage:
    """Return the stage that tunes a base model towards the labels of train pairs (eq. 11, 12).

    source: None for the control without a language model, a perceptron of [e_u, e_v], which reads no profiles.
    """
    texts_dir = _required_profiles(source, profiles_dir)
    inputs = tuning_inputs(split_dir, texts_dir, labels_dir)
    inputs["base"] = NO_BASE if source is None else source.identity()

    def read() -> Material:
        pairs, targets = read_pair_inputs(splits.read_split(split_dir), texts_dir, labels_dir)
        return pairs, targets.vectors, None

    build = partial(tune_from, source=source, config=config, read=read, origin=(labels_dir,), progress=progress)
    return Stage(TUNED, config.settings(NO_BASE if source is None else source.name), inputs, build)


def tune_from(
    draft: Draft,
    *,
    source: ModelSource | None,
    config: FinetuneConfig,
    read: Callable[[], Material],
    origin: Sequence[Path],
    progress: Progress | None,
) -> None:
    """Tune a base on what `read` returns, and write the tuned model.

    origin: labels folders, whose notes of validation pairs are inherited; numbered from 1 where there are several.
    """
    pairs, targets, datasets = read()
    encoder, template = _open_model(source, config, _spaces_of(pairs, targets))
    checkpoint = CheckpointFile(draft.folder, draft.key)
    tuned = tune(encoder, template, pairs, targets, config.tuning, sets=datasets, resume=checkpoint, progress=progress)
    save_tuned(draft.folder, tuned, template, source)
    for number, folder in enumerate(origin, 1):
        suffix = "" if datasets is None else f" {number}"
        draft.notes |= {f"{name}{suffix}": valid for name, valid in inherited_note(folder).items()}
    draft.notes |= {"best step": tuned.state.best_iteration, "steps": tuned.state.iteration}
    draft.notes |= {"held-out loss": -tuned.state.best_value, "rows left out": report_notes(tuned.row_report)}


def synthesize_stage(
    split_dir: Path,
    profiles_dir: Path | None,
    labels_dir: Path,
    tuned_dir: Path,
    source: ModelSource | None,
    config: SynthesisConfig,
    progress: Progress | None = None,
) -> Stage:
    """Return the stage in which a tuned model emits the negative embedding of every train pair.

    tuned_dir: tuned on this split, or on a pool of any datasets; embeddings are then rescaled as they were in the pool.
    """
    texts_dir, pooled = _required_profiles(source, profiles_dir), is_pooled(tuned_dir)
    inputs = tuning_inputs(split_dir, texts_dir, labels_dir)
    inputs["tuned"] = (hash_of_transferable if pooled else hash_of_same_split)(tuned_dir, TUNED, split_dir)
    settings = {"method": "synthesized", **config.model_dump(mode="json", exclude={"batch_size", "share_prefix"})}

    def build(draft: Draft) -> None:
        pairs, targets = read_pair_inputs(splits.read_split(split_dir), texts_dir, labels_dir)
        pairs = rescale_inputs(pairs, targets.vectors)[0] if pooled else pairs
        encoder, template = load_tuned(tuned_dir, source)
        if isinstance(encoder, HardNegativeEncoder):
            encoder.merge_adapter()
        path = synthesize(encoder, template, pairs, draft.folder, config, key=draft.key, progress=progress)
        missing = int(np.isnan(read_array(path)[:, 0]).sum())
        draft.notes |= {"source": _describe_source(tuned_dir, source), "pairs": len(pairs.pairs)}
        draft.notes |= {"rows left out": report_notes(pairs.row_report(template)), **inherited_note(labels_dir)}
        draft.notes["pairs without a vector"] = missing
        mined.write_negatives_tables(draft)
        draft.write_costs(needs_of(profiles_dir).without_own_calls())

    return Stage(mined.KIND, settings, inputs, build)


def tuning_inputs(split_dir: Path, profiles_dir: Path | None, labels_dir: Path) -> dict[str, str]:
    """Return the hashes of what a model is shown of a split; ConfigError where some of it is of another split."""
    return split_inputs(split_dir, profiles=(profiles_dir, profiles.KIND), labels=(labels_dir, labels.KIND))


def read_pair_inputs(
    split: Split, profiles_dir: Path | None, labels_dir: Path
) -> tuple[PairInputs, labels.LabelVectors]:
    """Return what the model is shown of each train pair, and the labels."""
    targets, train = labels.read_labels(labels_dir, split.train), split.train
    if profiles_dir is None:
        user_texts, item_texts = [""] * train.n_users, [""] * train.n_items
    else:
        written = profiles.read_profiles(profiles_dir)
        user_texts, item_texts = written.users, written.items
    return PairInputs(train, user_texts, item_texts, targets.users, targets.items), targets


def _required_profiles(source: ModelSource | None, profiles_dir: Path | None) -> Path | None:
    """Return the profiles that a base reads: none for the perceptron, which is no language model."""
    if source is None:
        return None
    if profiles_dir is None:
        raise ConfigError(f"base {source.name!r} reads profiles, but none are given; see hardneg profiles write")
    return profiles_dir


def _spaces_of(pairs: PairInputs, targets: Floats) -> EmbeddingSpaces:
    tables = (pairs.users, pairs.items, np.asarray(targets, np.float32))
    return EmbeddingSpaces(*map(EmbeddingSpace.of, tables))


def _open_model(
    source: ModelSource | None, config: FinetuneConfig, spaces: EmbeddingSpaces
) -> tuple[AnyEncoder, Template]:
    if source is None:
        return Perceptron(config.perceptron, spaces=spaces), NoTemplate()
    template = Template(source.tokenizer(), config.template)
    template.require_context_length(source.context_length)
    return open_encoder_model(source, config.model, spaces=spaces), template


def _describe_source(tuned_dir: Path, source: ModelSource | None) -> str:
    """Return the source of the vectors, as tables name it."""
    tuned = artifacts.read_manifest(tuned_dir, TUNED)["config"]["tuning"]["epochs"] > 0
    model = "perceptron of embeddings (no language model)" if source is None else source.name
    return f"synthesized by {'a tuned' if tuned else 'an untuned'} {model}"


def estimate_finetuning(
    split: Split, source: ModelSource | None, config: FinetuneConfig, synthesis: SynthesisConfig | None = None
) -> float:
    """Estimate the seconds of tuning a base on a split, or, given `synthesis`, of synthesizing with the tuned model."""
    train, n = split.train, timing.TUNED_PAIRS if synthesis is None else timing.SYNTHESIZED_PAIRS
    if source is None and synthesis is None:  # a batch of the perceptron takes milliseconds
        n = config.tuning.batch_size
    pairs, targets = sample = timing.make_stand_ins(split, n)
    encoder, template = _open_model(source, config, _spaces_of(pairs, targets))
    if synthesis is None:
        return timing.estimate_tuning(encoder, template, sample, len(train), config.tuning)
    return timing.estimate_synthesis(encoder, template, sample, train, synthesis)


@dataclass(frozen=True)
class TuningSet:
    """The folders of one dataset: a split, and profiles and labels of it."""

    split: Path
    profiles: Path
    labels: Path


def tune_pooled_stage(
    sets: Sequence[TuningSet],
    source: ModelSource,
    config: FinetuneConfig,
    progress: Progress | None = None,
    *,
    pairs_each: int | None = None,
) -> Stage:
    """Return the stage that tunes a base on the train pairs of several datasets, for synthesis on any dataset.

    Embeddings and labels of each dataset are `rescale_inputs`. They are comparable between datasets only where they were
    brought into one space before: backbones trained with an anchor, or labels made `onto` the texts. This is not checked.
    pairs_each: the largest number of pairs of a dataset, the front of `draw_pairs`. `config.tuning.pairs` counts the pairs
    of the union, in which large datasets weigh more. In-batch negatives come from the same dataset.
    Raises ConfigError without datasets.
    """
    if not sets:
        raise ConfigError("found no dataset to tune on, expected at least one")
    inputs = {"base": source.identity()}
    for number, dataset in enumerate(sets, 1):
        own = tuning_inputs(dataset.split, dataset.profiles, dataset.labels) | {"dataset": dataset_of(dataset.split)}
        inputs |= {f"{name} {number}": digest for name, digest in own.items()}
    settings = {"base": source.name, **config.model_dump(mode="json"), POOLED: len(sets), "pairs each": pairs_each}

    def read() -> Material:
        whole = [read_rescaled_pairs(dataset) for dataset in sets]
        thinned = [select_pairs(one, draw_pairs(len(one[0].pairs))[:pairs_each]) for one in whole]
        return *pool_sets(thinned), set_numbers(thinned)

    origin = [dataset.labels for dataset in sets]
    return Stage(
        TUNED,
        settings,
        inputs,
        partial(tune_from, source=source, config=config, read=read, origin=origin, progress=progress),
    )


def read_rescaled_pairs(dataset: TuningSet) -> LabelledPairs:
    """Return what a pooled model is shown of a dataset, and its labels."""
    pairs, targets = read_pair_inputs(splits.read_split(dataset.split), dataset.profiles, dataset.labels)
    return rescale_inputs(pairs, targets.vectors)
