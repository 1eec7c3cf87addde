"""Stages that are killed while they write, each attempt in a process: `python killed_stages.py FOLDER KILLS [STAGES]`.

Every attempt is a fork of this process, which itself computes nothing, so that imports are paid once.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from tests.conftest import SMALL
from tests.finetuning.tiny import make_base
from tests.llm.function_model import FunctionModel

from hardneg import artifacts, pipeline, storage
from hardneg.data import SplitConfig
from hardneg.finetuning import SynthesisConfig, TuningConfig, base_model
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.session import Session
from hardneg.mining import LabelOptions
from hardneg.models import MF
from hardneg.pipeline import FinetuneConfig, RunConfig, TuningSet
from hardneg.sampling import MixGCF
from hardneg.studies import Search
from hardneg.training import FitConfig

KILLED = 137
IMPORTED_LATE = ("torch._dynamo", "transformers.models.bert.modeling_bert", "peft", "optuna")  # at a stage's first use
FIT = FitConfig(epochs=6, check_every=1, batch_size=2048)
RUN = RunConfig(model=MF(embedding_size=4), sampler=MixGCF(candidates=4), fit=FIT)
TUNING = TuningConfig(epochs=2, batch_size=128, pairs=512, checkpoint_every=1, look_every=2)
POOLED = {
    "tuning": {"epochs": 1, "batch_size": 32, "micro_batch": 32, "pairs": 160, "checkpoint_every": 1},
    "model": {"rank": 4},
    "template": {"profile_tokens": 12},
}


def prepare(root: Path) -> None:
    """Make what the stages read."""
    pipeline.simulate_stage(SMALL).run(root / "dataset")
    split = pipeline.split_stage(root / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2)).run(root / "split")
    pipeline.extract_profiles_stage(split).run(root / "profiles")
    pipeline.train_stage(split, RUN).run(root / "mixgcf")
    pipeline.labels_stage(split, root / "mixgcf", LabelOptions()).run(root / "labels")
    tuning = FinetuneConfig(tuning=TuningConfig(epochs=0, pairs=256))
    pipeline.tune_stage(split, None, root / "labels", None, tuning).run(root / "untuned")
    make_base(root / "base", "bert")


def train(root: Path, out: Path) -> None:
    pipeline.train_stage(root / "split", RUN).run(out)


def tune(root: Path, out: Path) -> None:
    pipeline.tune_stage(root / "split", None, root / "labels", None, FinetuneConfig(tuning=TUNING)).run(out)


def tune_pooled(root: Path, out: Path) -> None:
    sets = [TuningSet(root / "split", root / "profiles", root / "labels")]
    source = base_model(str(root / "base"))
    pipeline.tune_pooled_stage(sets, source, FinetuneConfig.model_validate(POOLED)).run(out)


def synthesize(root: Path, out: Path) -> None:
    config = SynthesisConfig(shard_rows=512, projection={"size": 8})  # type: ignore[arg-type]
    pipeline.synthesize_stage(root / "split", None, root / "labels", root / "untuned", None, config).run(out)


def search(root: Path, out: Path) -> None:
    spec = {
        "name": "tiny",
        "splits": {"split": str(root / "split")},
        "models": {"mf": {"kind": "mf", "embedding_size": 4}},
        "rows": {"dns": {"sampler": {"kind": "dns"}}},
        "fit": {"epochs": 2, "check_every": 1, "batch_size": 2048},
        "space": {"fit.learning_rate": {"low": 0.001, "high": 0.1, "log": True}},
        "trials": 3,
    }
    found = Search.load(spec, out)
    outcomes = found.run(workers=0)
    assert all(outcome.reason is None for outcome in outcomes), outcomes
    found.results()


def write_profiles(root: Path, out: Path) -> None:
    reply = json.dumps({"summarization": "likes it", "reasoning": "it says so"})
    out.mkdir(exist_ok=True)
    with ReplyStore(out / "replies.sqlite") as store:
        session = Session(FunctionModel(lambda _: reply, name="rules"), store)
        pipeline.generate_profiles_stage(root / "split", session).run(out / "profiles")


STAGES: dict[str, Callable[[Path, Path], None]] = {
    function.__name__: function for function in (train, tune, tune_pooled, synthesize, search, write_profiles)
}


def arm(kill_at: int, counted: Path) -> None:
    """Count writes, flushes, renames and stored replies; end the process in the middle of number `kill_at`."""
    count = 0

    def step(half: Callable[[], object] = lambda: None) -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            half()
            os._exit(KILLED)
        counted.write_text(str(count)) if kill_at < 0 else None

    write_bytes, fsync, replace, save = Path.write_bytes, os.fsync, os.replace, ReplyStore.save

    def half_written(path: Path, data: bytes) -> int:
        step(lambda: write_bytes(path, data[: len(data) // 2]))
        return write_bytes(path, data)

    def flushed(descriptor: int) -> None:
        step()
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        step()
        replace(source, target)

    def saved(store: ReplyStore, *given: object) -> None:
        step()
        save(store, *given)  # type: ignore[arg-type]

    Path.write_bytes, storage.os.fsync, storage.os.replace = half_written, flushed, renamed  # type: ignore[method-assign, assignment]
    ReplyStore.save = saved  # type: ignore[method-assign, assignment]


def attempt(act: Callable[[], None], kill_at: int = 0, counted: Path = Path(os.devnull)) -> int:
    """Call a function in a fork and return its exit code."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            if kill_at:
                arm(kill_at, counted)
            act()
            code = 0
        except BaseException as error:  # noqa: BLE001 - reported to the parent
            sys.stderr.write(f"{error!r}\n")
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file that is equal in equal runs."""
    leave_out = {artifacts.MANIFEST, artifacts.COSTS, "trials.parquet", "replies.sqlite", "build_times.json"}
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in leave_out)
    return {str(path.relative_to(folder)): artifacts.file_hash(path) for path in files}


def check(act: Callable[[Path, Path], None], root: Path, kills: int) -> dict[str, object]:
    """Return the number of writes, and the kills after which the result or its surroundings differed."""
    whole, counted = root / "whole", root / "count"
    assert attempt(lambda: act(root, whole), -1, counted) == 0
    expected, points, wrong = contents(whole), int(counted.read_text()), []
    beside = {path.name for path in root.iterdir()} | {"broken"}
    for number in range(kills):
        kill_at = 1 + number * points // kills
        assert attempt(lambda: act(root, root / "broken"), kill_at) == KILLED
        assert attempt(lambda: act(root, root / "broken")) == 0
        found = contents(root / "broken")
        left = {path.name for path in root.iterdir()} - beside
        if found != expected or left:
            wrong.append((kill_at, sorted(set(found.items()) ^ set(expected.items())), sorted(left)))
        shutil.rmtree(root / "broken")
    shutil.rmtree(whole)
    return {"points": points, "wrong": wrong}


def main(root: Path, kills: int, stages: list[str]) -> None:
    """Print what `check` finds for every stage as one JSON object."""
    torch.set_num_threads(1)
    for module in IMPORTED_LATE:
        importlib.import_module(module)
    assert attempt(lambda: prepare(root)) == 0
    found = {stage: check(STAGES[stage], root, kills) for stage in stages or STAGES}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
