"""The method, stage by stage: each reads finished folders, makes one folder, and does nothing if that stands."""

from __future__ import annotations

import json
import resource
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors.torch import load_file, save_file

from hardneg import api, artifacts
from hardneg.config import Config, write_yaml
from hardneg.data import columns as c
from hardneg.data import dataset as datasets
from hardneg.data import simulate as simulation
from hardneg.data import split as splits
from hardneg.data import truth as truths
from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split, Vocabulary
from hardneg.data.splitting import SplitConfig, make_split
from hardneg.data.truth import Truth
from hardneg.diagnostics import Examples, ServedFalseNegatives
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import Evaluation, evaluate, inner_product, top_items
from hardneg.models import LightGCN, LightGCNConfig, ModelConfig
from hardneg.negatives import Mined, Retrieved, SamplerConfig, Uniform, mined, random_like
from hardneg.negatives.retrieved import retrieve, tabulate
from hardneg.random import generator
from hardneg.text import TextEncoder, extract_profiles, item_texts, profiles
from hardneg.training import FitConfig, Fitted, Resume, Watch
from hardneg.training.checkpoint import NAME as CHECKPOINT
from hardneg.types import Embeddings, Observer, Progress

RUN, EVALUATION = "run", "evaluation"
METRICS = tuple(f"{metric}@{k}" for metric in api.METRICS for k in (10, 20))
SHOWN_USERS = 3
"""Users whose served negatives a run keeps for people to look at."""


class RunConfig(Config):
    """One training run: a backbone, a sampler, and how they are trained."""

    model: ModelConfig = LightGCNConfig()
    sampler: SamplerConfig = Uniform()
    fit: FitConfig = FitConfig()


# ---------------------------------------------------------------------------------------------------- data to negatives


def simulate(out: Path, config: simulation.SimulationConfig) -> None:
    """Simulate a store into a dataset folder."""
    if not artifacts.finished(out, artifacts.key_of(datasets.KIND, config.model_dump(), {})):
        simulation.write(out, config)


def split(dataset: Path, out: Path, config: SplitConfig) -> Split:
    """Divide a dataset folder into a split folder."""
    files = ("interactions.parquet", "items.parquet")
    inputs = {"dataset": artifacts.folder_hash(dataset, files)}
    settings = config.model_dump(mode="json")
    if not artifacts.finished(out, artifacts.key_of(splits.KIND, settings, inputs)):
        splits.write(out, make_split(datasets.read(dataset), config), config=settings, inputs=inputs)
    return splits.read(out)


def profile(split_folder: Path, out: Path) -> profiles.Profiles:
    """Write extractive item and user profiles from what a split may be learnt from."""
    inputs = {"learnt from": splits.learnt_from_hash(split_folder)}
    settings = {"method": profiles.SOURCE}
    if not artifacts.finished(out, artifacts.key_of(profiles.KIND, settings, inputs)):
        data = splits.read(split_folder)
        profiles.write(out, extract_profiles(data), data, config=settings, inputs=inputs)
    return profiles.read(out)


def mine_retrieved(
    split_folder: Path,
    profile_folder: Path,
    out: Path,
    options: Retrieved,
    encoder: TextEncoder,
    progress: Progress | None = None,
) -> None:
    """Retrieve text negatives for every train pair into a negatives folder."""
    settings = {"method": "retrieved", "encoder": encoder.name, **options.model_dump()}
    inputs = {
        "learnt from": splits.learnt_from_hash(split_folder),
        "profiles": _hash_of_same_split(profile_folder, profiles.KIND, split_folder),
        "encoder": encoder.identity,
    }
    if artifacts.finished(out, artifacts.key_of(mined.KIND, settings, inputs)):
        return
    data, written = splits.read(split_folder), profiles.read(profile_folder)
    texts = item_texts(data.texts)
    vectors = encoder.encode([*texts, *written.users], progress)
    items, users = vectors[: len(texts)], vectors[len(texts) :]
    found = retrieve(data.train, items, users, options, progress)
    source = f"retrieved, {encoder.name}"
    made, table, refused = tabulate(found, data.train, data.vocabulary, texts, items, source)
    mined.write(out, made, table, refused, config=settings, inputs=inputs)


def mine_random(split_folder: Path, like: Path, out: Path, seed: int) -> None:
    """The control: random vectors of the norms of another negatives folder, missing where those are missing."""
    settings = {"method": "random", "seed": seed}
    inputs = {
        "learnt from": splits.learnt_from_hash(split_folder),
        "like": _hash_of_same_split(like, mined.KIND, split_folder),
    }
    if artifacts.finished(out, artifacts.key_of(mined.KIND, settings, inputs)):
        return
    data = splits.read(split_folder)
    made = random_like(mined.read(like, data.vocabulary, len(data.train)), generator(seed, "random vectors"))
    nothing = pl.DataFrame(schema=mined.SCHEMA)
    refused = pl.DataFrame(schema={"user_id": pl.String})
    mined.write(out, made, nothing, refused, config=settings, inputs=inputs)


def _hash_of_same_split(folder: Path, kind: str, split_folder: Path) -> str:
    """The folder's content hash, once it is sure that it was made from what this split may be learnt from.

    Another split of the same data may have as many train pairs, and have learnt from this one's test pairs.
    """
    made_from = artifacts.manifest_of(folder, kind)["made_from"]
    if made_from.get("learnt from") != splits.learnt_from_hash(split_folder):
        raise ConfigError(
            f"{folder} was made from another split than {split_folder}; make these {kind} from this split"
        )
    return artifacts.folder_hash(folder)


# ----------------------------------------------------------------------------------------------------------- training


def train(
    split_folder: Path,
    out: Path,
    config: RunConfig,
    *,
    negatives: Path | None = None,
    truth: Path | None = None,
    device: str = "cpu",
    watch: Watch | None = None,
) -> None:
    """Train one run into a run folder; killed at any moment, the same call goes on from the last checkpoint.

    negatives: a negatives folder, for samplers that need one. truth: a simulated dataset folder; what the sampler
    serves is then measured against it, which changes nothing of the training.
    """
    settings = _run_settings(config, against_truth=truth is not None)
    inputs = run_inputs(split_folder, negatives)
    key = run_key(config, inputs, against_truth=truth is not None)
    if artifacts.finished(out, key):
        return
    data = splits.read(split_folder)
    api.require_validation(data)
    given = None if negatives is None else mined.read(negatives, data.vocabulary, len(data.train))
    served = (
        None if truth is None else ServedFalseNegatives(truths.read(truth).numbered_as(data.vocabulary), data.train)
    )
    examples = Examples(shown_users(data.train))
    observers: list[Observer] = [examples] if served is None else [examples, served]
    notes = _notes(given, device)
    with artifacts.writing(out, RUN, settings, inputs, notes) as folder:
        model = config.model.build(data.train, seed=config.fit.seed).to(device)
        kernel = model.graph.kernel(torch.device(device)) if isinstance(model, LightGCN) else None
        notes |= {} if kernel is None else {"graph kernel": kernel}
        fitted = api.fit(
            model,
            data,
            sampler=config.sampler,
            mined=given,
            config=config.fit,
            observers=observers,
            resume=Resume(folder, key if kernel is None else f"{key} {kernel}"),  # another kernel, other bits
            watch=watch,
        )
        _write_run(folder, fitted, data, config)
        examples.table().write_parquet(folder / "examples.parquet")
        if served is not None:
            served.table().write_parquet(folder / "served.parquet")
        notes |= {"best epoch": fitted.progressed.best_epoch, "epochs": fitted.progressed.epoch}
        notes |= fitted.progressed.counters
    (out / CHECKPOINT).unlink(missing_ok=True)  # only now: a kill before this line costs no epoch


def run_inputs(split_folder: Path, negatives: Path | None) -> dict[str, str]:
    """Hashes of what a run is made from; no test pair among them."""
    inputs = {
        "learnt from": splits.learnt_from_hash(split_folder),
        "valid": artifacts.file_hash(split_folder / "valid.parquet"),
    }
    if negatives is not None:
        inputs["negatives"] = _hash_of_same_split(negatives, mined.KIND, split_folder)
    return inputs


def run_key(config: RunConfig, inputs: Mapping[str, str], *, against_truth: bool = False) -> str:
    """The key of the run that `train` would make from these inputs."""
    return artifacts.key_of(RUN, _run_settings(config, against_truth=against_truth), inputs)


def _run_settings(config: RunConfig, *, against_truth: bool) -> dict[str, Any]:
    return config.model_dump(mode="json") | {"measured against truth": against_truth}


def shown_users(train: Interactions) -> Any:
    """A few users to show: those nearest the median number of train pairs, by train alone."""
    distance = abs(train.counts - sorted(train.counts)[train.n_users // 2])
    return distance.argsort(kind="stable")[:SHOWN_USERS]


def _notes(given: Mined | None, device: str) -> dict[str, Any]:
    notes: dict[str, Any] = {"device": device, "torch threads": torch.get_num_threads()}
    return notes if given is None else notes | {"negatives written by": given.source}


def _write_run(folder: Path, fitted: Fitted, data: Split, config: RunConfig) -> None:
    write_yaml(folder / "config.yaml", config)
    pl.DataFrame(
        fitted.progressed.curves,
        schema={"epoch": pl.Int64, "split": pl.String, "metric": pl.String, "value": pl.Float64},
    ).write_parquet(folder / "metrics.parquet")
    save_file({name: tensor.cpu() for name, tensor in fitted.model.state_dict().items()}, folder / "model.safetensors")
    embeddings = fitted.embeddings
    pooled = {"users": embeddings.final_users, "items": embeddings.final_items}
    save_file({n: t.detach().cpu().contiguous().clone() for n, t in pooled.items()}, folder / "embeddings.safetensors")
    # What serving needs besides: the ids behind the rows, and what each user has.
    pl.DataFrame({c.USER_ID: data.vocabulary.user_ids}).write_parquet(folder / "users.parquet")
    pl.DataFrame({c.ITEM_ID: data.vocabulary.item_ids}).write_parquet(folder / "items.parquet")
    pl.DataFrame({c.USER: data.train.users, c.ITEM: data.train.items}).write_parquet(folder / "seen.parquet")
    costs = {
        "seconds": round(fitted.progressed.seconds, 3),
        "peak_memory_mib": _peak_memory_mib(),
        "llm_calls": 0,
        "llm_tokens": 0,
        "money": 0.0,
    }
    (folder / "costs.json").write_text(json.dumps(costs, indent=2) + "\n", encoding="utf-8")


def _peak_memory_mib() -> int:
    """Largest resident size of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux; getrusage would count the parent's peak in a process that it started
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(lines["VmHWM"].split()[0]) // 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024 * 1024 if sys.platform == "darwin" else 1024)


# --------------------------------------------------------------------------------------------------- evaluation, use


@dataclass(frozen=True)
class Run:
    """A finished run as it serves: pooled embeddings, ids, and the pairs that are masked."""

    embeddings: Embeddings
    vocabulary: Vocabulary
    seen: Interactions


def read_run(folder: Path) -> Run:
    """Read a run folder; nothing of the split is needed."""
    artifacts.manifest_of(folder, RUN)
    tensors = load_file(folder / "embeddings.safetensors")
    users = datasets.read_parquet(folder / "users.parquet")[c.USER_ID].to_list()
    items = datasets.read_parquet(folder / "items.parquet")[c.ITEM_ID].to_list()
    seen = datasets.read_parquet(folder / "seen.parquet")
    pairs = Interactions(seen[c.USER].to_numpy(), seen[c.ITEM].to_numpy(), len(users), len(items))
    return Run(Embeddings((tensors["users"],), (tensors["items"],), "mean"), Vocabulary(users, items), pairs)


def evaluate_run(
    run_folder: Path,
    split_folder: Path,
    metrics: tuple[str, ...] = METRICS,
    *,
    mask_valid: bool = False,
    shortlist: bool = False,
) -> Path:
    """Score a run on the test pairs of its split, once, into its `evaluation/` folder.

    mask_valid: mask validation pairs too, as some papers do; off by default, and kept in the manifest. shortlist: rank
    by way of 16 bits; but for ties within rounding the same.
    """
    made_from = artifacts.manifest_of(run_folder, RUN)["made_from"]
    valid = artifacts.file_hash(split_folder / "valid.parquet")
    if (made_from["learnt from"], made_from["valid"]) != (splits.learnt_from_hash(split_folder), valid):
        raise ConfigError(f"{run_folder} was not trained on {split_folder}; give the split that it was trained on")
    out = run_folder / EVALUATION
    settings, inputs = _evaluation_of(run_folder, split_folder, metrics, mask_valid)
    if artifacts.key_at(out) == artifacts.key_of(EVALUATION, settings, inputs):
        return out
    shutil.rmtree(out, ignore_errors=True)  # other depths or another mask: cheap, and made from the run alone
    run, data = read_run(run_folder), splits.read(split_folder)
    masked = union(run.seen, data.valid) if mask_valid else run.seen
    score = inner_product(run.embeddings, shortlist=shortlist)
    found = evaluate(score, data.test, masked, metrics=metrics)
    with artifacts.writing(out, EVALUATION, settings, inputs) as folder:
        _write_evaluation(folder, found, run.vocabulary)
    return out


def evaluated(run_folder: Path, split_folder: Path, metrics: tuple[str, ...] = METRICS) -> bool:
    """True where `evaluate_run` would find its work done."""
    settings, inputs = _evaluation_of(run_folder, split_folder, metrics, mask_valid=False)
    return artifacts.key_at(run_folder / EVALUATION) == artifacts.key_of(EVALUATION, settings, inputs)


def _evaluation_of(
    run_folder: Path, split_folder: Path, metrics: tuple[str, ...], mask_valid: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    settings = {"metrics": metrics, "mask": "train and valid" if mask_valid else "train"}
    inputs = {
        "run": artifacts.file_hash(run_folder / "embeddings.safetensors"),
        "test": artifacts.file_hash(split_folder / "test.parquet"),
    }
    return settings, inputs


def _write_evaluation(folder: Path, found: Evaluation, vocabulary: Vocabulary) -> None:
    names = [(name, *name.split("@")) for name in found.values]
    pl.DataFrame(
        [{"split": "test", "metric": m, "k": int(k), "value": float(found.values[name].mean())} for name, m, k in names]
    ).write_parquet(folder / "metrics.parquet")
    ids = [vocabulary.user_ids[user] for user in found.users]
    pl.DataFrame({c.USER_ID: ids, "held_out": found.n_relevant, **found.values}).write_parquet(
        folder / "per_user.parquet"
    )


def recommend(run_folder: Path, user_id: str, k: int) -> pl.DataFrame:
    """The k best items that the user does not have: rank, item_id, score."""
    run = read_run(run_folder)
    if user_id not in run.vocabulary.users:
        raise DataError(
            f"{run_folder} knows no user {user_id!r}, expected one of the {len(run.vocabulary.user_ids):,} train users"
        )
    user = torch.tensor([run.vocabulary.users[user_id]]).numpy()
    score = inner_product(run.embeddings)
    best = top_items(score, user, run.seen, k)[0]
    best = best[best >= 0]
    scores = score(user)[0].numpy()[best]
    return pl.DataFrame(
        {"rank": range(1, len(best) + 1), c.ITEM_ID: [run.vocabulary.item_ids[i] for i in best], "score": scores}
    )


def truth_of(dataset: Path, split_folder: Path) -> Truth:
    """The truth of a simulated dataset, in the numbering of its split."""
    return truths.read(dataset).numbered_as(splits.read(split_folder).vocabulary)
