"""The stage that trains a run; its folder holds all that inference needs."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import polars as pl
import torch
from pydantic import model_validator
from safetensors.torch import save_file
from torch import nn

from hardneg import artifacts
from hardneg.checkpoint import CheckpointFile
from hardneg.config import Config, write_yaml
from hardneg.data import columns as c
from hardneg.data import split as splits
from hardneg.data import truth as truths
from hardneg.data.interactions import Interactions, union
from hardneg.data.row_report import report_notes
from hardneg.data.split import Split
from hardneg.diagnostics import ExampleRecorder, HeldOutPairs, SampledFalseNegatives
from hardneg.errors import ConfigError
from hardneg.fitting import FitInputs, fit_backbone, sampler_problem
from hardneg.judging import suspects as judged_suspects
from hardneg.models import (
    Anchor,
    AnchorConfig,
    BaselineConfig,
    LightGCN,
    ModelConfig,
    TextModelConfig,
    build_anchor,
    build_model,
    initialize_at_anchor,
)
from hardneg.models.graph import Graph
from hardneg.pipeline import epoch_limit
from hardneg.pipeline.provenance import LlmNeeds, hash_of_same_split, needs_of, split_inputs
from hardneg.pipeline.suspect_use import SuspectsUse, UsedSuspects, require_both, use_suspects
from hardneg.pipeline.text import read_model_texts, text_projection
from hardneg.sampling import ItemNeighbours, MinedNegatives, SamplerConfig, Uniform, mined
from hardneg.sampling.tree_similarity import tree_weights
from hardneg.speeds import SLOWER
from hardneg.stage import Draft, Stage
from hardneg.text import text_vectors, titles
from hardneg.training import FitConfig, Fitted, Watch
from hardneg.trees import trees_folder
from hardneg.types import Embeddings, Observer

RUN = "run"
EXAMPLES = "examples.parquet"
"""File of a run with the sampled negatives of a few users."""
SPLIT_NOTE = "split"
"""Note of a run: path of its split, where recommendations find the held-out pairs; a run holds none."""
MEASURED = "measured against truth"
"""Setting of a run: True where sampled negatives were measured against simulated preferences, or HELD_OUT."""
HELD_OUT = "held-out"
VALIDATED = "validated"
"""Setting of a run: False where no validation pair chose its epoch; absent otherwise."""
STEP_SIZE = "step size"
"""Note of a run on large data: its batch size and learning rate, where `fit.max_steps` has raised them."""
MAX_NUMBERS_PER_STEP = 2**33
"""Limit of batch size x candidates x embedding size: 32 GiB."""
SHOWN_USERS = 3
"""Number of users whose sampled negatives a run keeps as examples."""


class RunConfig(Config):
    """One training run: a backbone, a sampler and the training settings."""

    model: ModelConfig = LightGCN()
    sampler: SamplerConfig = Uniform()
    fit: FitConfig = FitConfig()
    suspects: SuspectsUse | None = None
    """Use of a suspects folder, if one is given."""
    anchor: AnchorConfig | None = None
    """Tie the item table to the item texts; none by default. `train_stage` is given their vectors."""
    baseline: BaselineConfig | None = None
    """A baseline in place of a trained model; of the other settings, only fit.seed and fit.select then matter."""
    later_fields: ClassVar[frozenset[str]] = frozenset({"baseline"})

    @model_validator(mode="after")
    def _require_memory(self) -> Self:
        """Refuse a step whose candidate embeddings could not be in memory, and a sampler that the loss does not read."""
        if problem := sampler_problem(self.fit, self.sampler):
            raise ValueError(problem)
        batch = self.fit.batch_size
        candidates = max(int(getattr(self.sampler, name, 1)) for name in ("candidates", "negatives"))
        if self.fit.loss.compares_pairs and batch**2 > MAX_NUMBERS_PER_STEP:
            raise ValueError(
                f"batch_size {batch:,} is too large for loss {self.fit.loss.kind!r}, which compares all pairs"
            )
        size = int(getattr(getattr(self.model, "base", self.model), "embedding_size", 1))
        if batch * candidates * size > MAX_NUMBERS_PER_STEP:
            raise ValueError(
                f"batch_size {batch:,} x candidates {candidates:,} x embedding_size {size:,} is more than "
                f"{MAX_NUMBERS_PER_STEP:,} numbers a step; lower one of them"
            )
        return self


def train_stage(
    split_dir: Path,
    config: RunConfig,
    *,
    negatives: Path | None = None,
    suspects: Path | None = None,
    trees: Path | None = None,
    truth: Literal["held-out"] | Path | None = None,
    vectors: Path | None = None,
    validates: bool = True,
    device: str = "cpu",
    watch: Watch | None = None,
) -> Stage:
    """Return the stage that trains one run; killed at any moment, it continues from its last checkpoint.

    It also goes on from the same run with a lower limit of epochs (`pipeline.epoch_limit`).
    negatives: a negatives or neighbours folder, for samplers that read one. trees: a trees folder, for samplers that read
    path codes. suspects: a suspects folder; `config.suspects` says how it is used. truth: a simulated dataset folder, or
    "held-out"; sampled negatives are then measured against its ground truth, or the held-out pairs, which changes nothing
    in training. vectors: a vectors folder of this split, for a model that reads text, or to which the item table is tied as
    `config.anchor` says. validates: False trains all epochs and keeps the last, for a split with train pairs only. watch: called after every step.
    Raises ConfigError where an input is missing, not used, or of another split.
    """
    _require_used(config, suspects, trees, vectors)
    settings = config.model_dump(mode="json") | {MEASURED: truth if truth == HELD_OUT else truth is not None}
    settings |= {} if validates else {VALIDATED: False}
    folders = {"anchor" if config.anchor else "vectors": vectors}
    inputs = run_inputs(split_dir, negatives=negatives, suspects=suspects, trees=trees, **folders)
    key_of_all_limits = artifacts.artifact_key(RUN, epoch_limit.at_limit(settings, None), inputs)

    def build(draft: Draft) -> None:
        if draft.earlier is not None and epoch_limit.copy_if_complete(draft.earlier, draft):
            write_yaml(draft.folder / "config.yaml", config)
            return
        split = splits.read_split(split_dir)
        materials = _read_materials(split, config, negatives, suspects, trees)
        measured = None if truth is None else _measure_negatives(truth, split)
        examples = ExampleRecorder(shown_users(split.train))
        observers: list[Observer] = [examples] if measured is None else [examples, measured]
        draft.notes |= _describe(materials.inputs, device) | materials.use.notes | note_split(split_dir)
        built = _build_model(config, materials.use.graph, vectors, split, device)
        draft.notes |= built.notes
        checkpoint = _open_checkpoint(draft, key_of_all_limits, built.model, device)
        fitted = fit_backbone(
            built.model,
            split,
            sampler=config.sampler,
            config=config.fit,
            inputs=replace(materials.inputs, anchor=built.anchor),
            observers=observers,
            resume=checkpoint,
            watch=watch,
            validates=validates,
        )
        _write_run(draft, fitted, split, config, needs_of(negatives) + needs_of(suspects) + built.needs)
        draft.notes |= epoch_limit.limit_notes(fitted.state.best_iteration, config.fit.epochs) if validates else {}
        _copy_at_limit(checkpoint, fitted, draft.folder)
        _write_observations(draft.folder, examples, measured, split)

    return Stage(RUN, settings, inputs, build, lambda folder: epoch_limit.is_shorter_run(folder, settings, inputs))


def _copy_at_limit(checkpoint: CheckpointFile, fitted: Fitted, folder: Path) -> None:
    """Keep the last checkpoint of a run that its limit of epochs ended, from which a higher limit continues."""
    if fitted.reached_limit:
        checkpoint.copy(folder / epoch_limit.LAST_EPOCH)


def _write_observations(
    folder: Path, examples: ExampleRecorder, measured: SampledFalseNegatives | None, split: Split
) -> None:
    """Write the examples of sampled negatives, with ids and titles, and their measurements where the truth is known."""
    table, names = examples.table(), pl.Series(titles(split.texts), dtype=pl.String)
    ids = pl.Series(split.vocabulary.item_ids, dtype=pl.String)
    items = {"positive": table["positive"], "item": table["item"]}
    named = {f"{side}_id": ids.gather(rows) for side, rows in items.items()}
    named |= {f"{side}_title": names.gather(rows) for side, rows in items.items()}
    users = pl.Series(split.vocabulary.user_ids, dtype=pl.String).gather(table["user"])
    table.with_columns(user_id=users, **named).write_parquet(folder / EXAMPLES)
    if measured is not None:
        measured.table().write_parquet(folder / "sampled.parquet")


def _open_checkpoint(draft: Draft, key: str, model: nn.Module, device: str) -> CheckpointFile:
    """Return the checkpoint of a run, which begins with that of the same run with a lower limit, if there is one."""
    graph = getattr(model, "graph", None)
    kernel = graph.kernel(torch.device(device)) if isinstance(graph, Graph) else None
    draft.notes |= {} if kernel is None else {epoch_limit.KERNEL: kernel}
    if isinstance(graph, Graph) and (slower := graph.speed_warning(torch.device(device))):
        draft.notes[SLOWER] = slower
    # Another kernel rounds differently: its checkpoint cannot be continued.
    checkpoint = CheckpointFile(draft.folder, key + ("" if kernel is None else f" {kernel}"))
    if draft.earlier is not None:
        epoch_limit.start_from(draft.earlier, checkpoint, draft)
    return checkpoint


def run_inputs(
    split_dir: Path,
    *,
    negatives: Path | None = None,
    suspects: Path | None = None,
    trees: Path | None = None,
    anchor: Path | None = None,
    vectors: Path | None = None,
) -> dict[str, str]:
    """Return the hashes of what a run is made from; test pairs are not among them."""
    inputs = split_inputs(
        split_dir,
        trees=(trees, trees_folder.KIND),
        suspects=(suspects, judged_suspects.KIND),
        anchor=(anchor, text_vectors.KIND),
        vectors=(vectors, text_vectors.KIND),
    )
    inputs["valid"] = artifacts.file_hash(split_dir / "valid.parquet")
    if negatives is not None:
        kind = mined.folder_kind(negatives)
        inputs[kind] = hash_of_same_split(negatives, kind, split_dir)
    return inputs


@dataclass(frozen=True)
class _Materials:
    """The use of suspects by a run, and the inputs of training that follow from it and from folders."""

    use: UsedSuspects
    inputs: FitInputs


def _read_materials(
    split: Split, config: RunConfig, negatives: Path | None, suspects: Path | None, trees: Path | None
) -> _Materials:
    given = None if negatives is None else mined.read_sampler_input(negatives, split)
    use = use_suspects(split, config.suspects, suspects)
    inputs = FitInputs(
        mined=given if isinstance(given, MinedNegatives) else None,
        neighbours=given if isinstance(given, ItemNeighbours) else None,
        trees=None if trees is None else trees_folder.read_trees(trees, split.train.n_items),
        excluded=use.excluded,
        extra=use.extra,
        triplets=use.triplets,
        penalty=use.penalty,
        weights=use.weights,
    )
    return _Materials(use, inputs)


def _measure_negatives(truth: Path | Literal["held-out"], split: Split) -> SampledFalseNegatives:
    if truth == HELD_OUT:
        return SampledFalseNegatives(HeldOutPairs(union(split.valid, split.test)), split.train)
    return SampledFalseNegatives(truths.read_truth(Path(truth)).reindex(split.vocabulary), split.train)


def _require_used(config: RunConfig, suspects: Path | None, trees: Path | None, vectors: Path | None) -> None:
    """Raise ConfigError where a folder lacks its settings, or the settings their folder."""
    if config.baseline is not None:
        raise ConfigError(f"found baseline {config.baseline.kind!r}, which is not trained; use `hardneg baseline`")
    require_both(config.suspects, suspects)
    if trees is not None and tree_weights(config.sampler) is None:
        raise ConfigError(f"sampler {config.sampler.kind!r} reads no trees, found {trees}; leave it out")
    reads_text = isinstance(config.model, TextModelConfig)
    if vectors is None and (reads_text or config.anchor is not None):
        part = f"model {config.model.kind!r}" if reads_text else "an anchor"
        raise ConfigError(
            f"{part} reads text, found no vectors folder; make one by `hardneg profiles encode` and give it"
        )
    if reads_text and config.anchor is not None:
        raise ConfigError(f"found an anchor for model {config.model.kind!r}, which reads text itself; leave it out")
    if vectors is not None and not reads_text and config.anchor is None:
        raise ConfigError(
            f"model {config.model.kind!r} reads no text, found {vectors}; leave it out, choose a model that does, or tie the "
            "item table to it with anchor.weight"
        )


@dataclass(frozen=True)
class _BuiltModel:
    """A model that is not trained yet, and the anchor of its item table. notes: for the manifest. needs: of its texts."""

    model: nn.Module
    anchor: Anchor | None
    notes: dict[str, Any]
    needs: LlmNeeds


def _build_model(
    config: RunConfig, graph: Interactions, vectors: Path | None, split: Split, device: str
) -> _BuiltModel:
    """Build the model of a run. vectors: the texts that it reads, or those to which its item table is tied."""
    texts = read_model_texts(config.model, vectors, split)
    model = build_model(config.model, graph, texts.vectors, seed=config.fit.seed).to(device)
    tied = _anchor_model(model, config, vectors, split)
    notes = texts.notes | ({"anchor": report_notes(tied.row_report)} if tied else {})
    return _BuiltModel(model, tied, notes, needs_of(vectors if texts.vectors else None))


def _anchor_model(model: nn.Module, config: RunConfig, vectors: Path | None, split: Split) -> Anchor | None:
    """Set the model's tables to the places of the texts, where an anchor is given."""
    if vectors is None or config.anchor is None:
        return None
    size = model.get_parameter("items").shape[1]
    places = text_projection(vectors, split.train.n_items, size, seed=config.anchor.map_seed)
    tied = build_anchor(places, config.anchor)
    initialize_at_anchor(model, tied, split.train)
    return tied


def shown_users(train: Interactions) -> Any:
    """Return a few example users: those nearest the median number of train pairs."""
    distance = abs(train.counts - sorted(train.counts)[train.n_users // 2])
    return distance.argsort(kind="stable")[:SHOWN_USERS]


def _describe(inputs: FitInputs, device: str) -> dict[str, Any]:
    notes: dict[str, Any] = {"device": device, "torch threads": torch.get_num_threads()}
    if inputs.trees is not None:
        notes["semantic tree of"] = inputs.trees.source
    if inputs.mined is not None:
        notes["negatives written by"] = inputs.mined.source
    if inputs.neighbours is not None:
        notes["neighbours by"] = inputs.neighbours.source
    return notes


def _write_run(draft: Draft, fitted: Fitted, split: Split, config: RunConfig, needs: LlmNeeds) -> None:
    write_yaml(draft.folder / "config.yaml", config)
    schema = {"epoch": pl.Int64, "split": pl.String, "metric": pl.String, "value": pl.Float64}
    pl.DataFrame(fitted.state.curves, schema=schema).write_parquet(draft.folder / "metrics.parquet")
    state = {name: tensor.cpu() for name, tensor in fitted.model.state_dict().items()}
    save_file(state, draft.folder / "model.safetensors")
    write_embeddings(draft.folder, fitted.embeddings, split)
    draft.write_costs(run_costs(fitted.state.seconds, needs))
    draft.notes |= {"best epoch": fitted.state.best_iteration, "epochs": fitted.state.iteration}
    if fitted.step_size.batch_size != config.fit.batch_size:
        draft.notes[STEP_SIZE] = asdict(fitted.step_size)
    draft.notes |= fitted.state.counters


def note_split(split_dir: Path) -> dict[str, str]:
    """Return the note that says where the split of a run is."""
    return {SPLIT_NOTE: str(split_dir.resolve())}


def write_embeddings(folder: Path, embeddings: Embeddings, split: Split) -> None:
    """Write what inference needs: pooled embeddings, the ids of their rows, titles, and the observed training pairs."""
    pooled = {"users": embeddings.final_users, "items": embeddings.final_items}
    save_file({n: t.detach().cpu().contiguous().clone() for n, t in pooled.items()}, folder / "embeddings.safetensors")
    pl.DataFrame({c.USER_ID: split.vocabulary.user_ids}).write_parquet(folder / "users.parquet")
    names = [name for name in (c.ITEM_ID, c.TITLE, c.BRAND) if name in split.texts.columns]
    split.texts.select(names).write_parquet(folder / "items.parquet")
    pl.DataFrame({c.USER: split.train.users, c.ITEM: split.train.items}).write_parquet(folder / "seen.parquet")


def run_costs(seconds: float, needs: LlmNeeds) -> dict[str, Any]:
    """Return the costs.json of a run: wall time, memory, and what the language models before it needed."""
    return {
        "seconds": round(seconds, 3),
        "peak_memory_mib": _peak_memory_mib(),
        "llm_calls": needs.calls,
        "llm_tokens": needs.tokens,
        "money": needs.money,
    }


def _peak_memory_mib() -> int:
    """Return the largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; getrusage would include the parent's peak in a child process
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)
