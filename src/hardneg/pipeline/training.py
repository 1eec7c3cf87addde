"""The training stage: one run into one folder, which serves without its split."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors.torch import save_file
from torch import nn

from hardneg import api, artifacts
from hardneg.checkpoint import CHECKPOINT_FILE, CheckpointFile
from hardneg.config import Config, write_yaml
from hardneg.data import columns as c
from hardneg.data import split as splits
from hardneg.data import truth as truths
from hardneg.data.interactions import Interactions
from hardneg.data.row_report import report_notes
from hardneg.data.split import Split
from hardneg.diagnostics import ExampleRecorder, SampledFalseNegatives
from hardneg.errors import ConfigError
from hardneg.models import Anchor, AnchorConfig, LightGCN, LightGCNModel, ModelConfig, anchor_at, start_at
from hardneg.pipeline.costs import Needed, needed_by
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.pipeline.suspect_use import SuspectsUse, require_both, suspect_inputs, use
from hardneg.pipeline.text_projection import text_projection
from hardneg.sampling import ItemNeighbours, MinedNegatives, SamplerConfig, Uniform, sampler_inputs
from hardneg.sampling.tree_similarity import tree_weights
from hardneg.text import text_vectors
from hardneg.training import FitConfig, Fitted, Watch
from hardneg.trees import Trees, trees_folder
from hardneg.types import Embeddings, Observer

RUN = "run"
SHOWN_USERS = 3
"""Users whose served negatives a run keeps for people to look at."""


class RunConfig(Config):
    """One training run: a backbone, a sampler, and how they are trained."""

    model: ModelConfig = LightGCN()
    sampler: SamplerConfig = Uniform()
    fit: FitConfig = FitConfig()
    suspects: SuspectsUse | None = None
    """What is done with a suspects folder, if one is given."""
    anchor: AnchorConfig | None = None
    """Tie the item table to the items' texts, whose vectors `train` is given; none by default."""


def train(
    split_folder: Path,
    out: Path,
    config: RunConfig,
    *,
    negatives: Path | None = None,
    suspects: Path | None = None,
    trees: Path | None = None,
    truth: Path | None = None,
    anchor: Path | None = None,
    device: str = "cpu",
    watch: Watch | None = None,
) -> None:
    """Train one run into a run folder; killed at any moment, the same call goes on from the last checkpoint.

    negatives: a negatives or a neighbours folder, for samplers that need one. trees: a trees folder, for
    samplers that look at two views. suspects: a suspects folder, where `config.suspects`
    says what for. truth: a simulated dataset folder; what the sampler serves is then measured against it, which changes
    nothing of the training. anchor: a vectors folder of this split, where `config.anchor` says how its item table is tied to them.
    """
    require_both(config.suspects, suspects)
    if trees is not None and tree_weights(config.sampler) is None:
        raise ConfigError(f"sampler {config.sampler.kind!r} looks at no trees, found {trees}; leave it out")
    settings = _run_settings(config, against_truth=truth is not None)
    inputs = run_inputs(split_folder, negatives, suspects, trees) | _anchor_inputs(config, anchor, split_folder)
    key = run_key(config, inputs, against_truth=truth is not None)
    if artifacts.is_finished(out, key):
        return
    data = splits.read_split(split_folder)
    api.require_validation(data)
    needed = None if negatives is None else sampler_inputs.read_sampler_input(negatives, data)
    grown = None if trees is None else trees_folder.read_trees(trees, data.train.n_items)
    served = (
        None if truth is None else SampledFalseNegatives(truths.read_truth(truth).reindex(data.vocabulary), data.train)
    )
    examples = ExampleRecorder(shown_users(data.train))
    observers: list[Observer] = [examples] if served is None else [examples, served]
    used = use(data, config.suspects, suspects)
    notes = _notes(needed, grown, device) | used.notes
    with artifacts.writing(out, RUN, settings, inputs, notes) as folder:
        model = config.model.build(used.graph, seed=config.fit.seed).to(device)
        tied = _anchored(model, config, anchor, data)
        notes |= {"anchor": report_notes(tied.row_report)} if tied else {}
        kernel = model.graph.kernel(torch.device(device)) if isinstance(model, LightGCNModel) else None
        notes |= {} if kernel is None else {"graph kernel": kernel}
        fitted = api.fit(
            model,
            data,
            sampler=config.sampler,
            mined=needed if isinstance(needed, MinedNegatives) else None,
            neighbours=needed if isinstance(needed, ItemNeighbours) else None,
            excluded=used.excluded,
            extra=used.extra,
            trees=grown,
            config=config.fit,
            observers=observers,
            resume=CheckpointFile(folder, key if kernel is None else f"{key} {kernel}"),  # another kernel, other bits
            watch=watch,
            anchor=tied,
        )
        _write_run(folder, fitted, data, config, needed_by(negatives) + needed_by(suspects))
        examples.table().write_parquet(folder / "examples.parquet")
        if served is not None:
            served.table().write_parquet(folder / "served.parquet")
        notes |= {"best epoch": fitted.state.best_iteration, "epochs": fitted.state.iteration}
        notes |= fitted.state.counters
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)  # only now: a kill before this line costs no epoch


def run_inputs(
    split_folder: Path, negatives: Path | None, suspects: Path | None = None, trees: Path | None = None
) -> dict[str, str]:
    """Hashes of what a run is made from; no test pair among them."""
    inputs = {
        "training data": splits.training_data_hash(split_folder),
        "valid": artifacts.file_hash(split_folder / "valid.parquet"),
    }
    if negatives is not None:
        kind = sampler_inputs.folder_kind(negatives)
        inputs[kind] = hash_of_same_split(negatives, kind, split_folder)
    if trees is not None:
        inputs[trees_folder.KIND] = hash_of_same_split(trees, trees_folder.KIND, split_folder)
    return inputs | suspect_inputs(suspects, split_folder)


def _anchor_inputs(config: RunConfig, anchor: Path | None, split_folder: Path) -> dict[str, str]:
    if (anchor is None) != (config.anchor is None):
        found, wanted = ("a vectors folder", "settings") if anchor else ("settings", "vectors folder")
        raise ConfigError(f"found {found} of an anchor but no {wanted}; give both or neither")
    return {} if anchor is None else {"anchor": hash_of_same_split(anchor, text_vectors.KIND, split_folder)}


def _anchored(model: nn.Module, config: RunConfig, vectors: Path | None, data: Split) -> Anchor | None:
    """Put the model's tables where the texts say."""
    if vectors is None or config.anchor is None:
        return None
    size = model.get_parameter("items").shape[1]
    tied = anchor_at(text_projection(vectors, data.train.n_items, size, seed=config.anchor.map_seed), config.anchor)
    start_at(model, tied, data.train)
    return tied


def run_key(config: RunConfig, inputs: Mapping[str, str], *, against_truth: bool = False) -> str:
    """The key of the run that `train` would make from these inputs."""
    return artifacts.artifact_key(RUN, _run_settings(config, against_truth=against_truth), inputs)


def _run_settings(config: RunConfig, *, against_truth: bool) -> dict[str, Any]:
    return config.model_dump(mode="json") | {"measured against truth": against_truth}


def shown_users(train: Interactions) -> Any:
    """A few users to show: those nearest the median number of train pairs, by train alone."""
    distance = abs(train.counts - sorted(train.counts)[train.n_users // 2])
    return distance.argsort(kind="stable")[:SHOWN_USERS]


def _notes(needed: sampler_inputs.SamplerInput | None, grown: Trees | None, device: str) -> dict[str, Any]:
    notes: dict[str, Any] = {"device": device, "torch threads": torch.get_num_threads()}
    notes |= {} if grown is None else {"semantic tree of": grown.source}
    if needed is None:
        return notes
    return notes | {"negatives written by" if isinstance(needed, MinedNegatives) else "neighbours by": needed.source}


def _write_run(folder: Path, fitted: Fitted, data: Split, config: RunConfig, needed: Needed) -> None:
    write_yaml(folder / "config.yaml", config)
    pl.DataFrame(
        fitted.state.curves,
        schema={"epoch": pl.Int64, "split": pl.String, "metric": pl.String, "value": pl.Float64},
    ).write_parquet(folder / "metrics.parquet")
    save_file({name: tensor.cpu() for name, tensor in fitted.model.state_dict().items()}, folder / "model.safetensors")
    write_serving(folder, fitted.embeddings, data)
    artifacts.write_costs(folder, run_costs(fitted.state.seconds, needed))


def write_serving(folder: Path, embeddings: Embeddings, data: Split) -> None:
    """Write what a run serves from: pooled embeddings, the ids behind their rows, and what each user has."""
    pooled = {"users": embeddings.final_users, "items": embeddings.final_items}
    save_file({n: t.detach().cpu().contiguous().clone() for n, t in pooled.items()}, folder / "embeddings.safetensors")
    pl.DataFrame({c.USER_ID: data.vocabulary.user_ids}).write_parquet(folder / "users.parquet")
    pl.DataFrame({c.ITEM_ID: data.vocabulary.item_ids}).write_parquet(folder / "items.parquet")
    pl.DataFrame({c.USER: data.train.users, c.ITEM: data.train.items}).write_parquet(folder / "seen.parquet")


def run_costs(seconds: float, needed: Needed) -> dict[str, Any]:
    """The costs.json of a run: wall time, memory, and what the language models before it took."""
    return {
        "seconds": round(seconds, 3),
        "peak_memory_mib": _peak_memory_mib(),
        "llm_calls": needed.calls,
        "llm_tokens": needed.tokens,
        "money": needed.money,
    }


def _peak_memory_mib() -> int:
    """Largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; getrusage would count the parent's peak in a process that it started
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)
