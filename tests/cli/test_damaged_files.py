"""Damaged and missing files of every kind of artifact: one line that names the file, whatever the command that reads it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.cli.test_commands import run, succeed
from tests.pipeline.test_fusion import Letters
from tests.suspect_folders import make_suspects, write_folder

from hardneg import artifacts, pipeline
from hardneg.data import split as splits
from hardneg.data.noise import NoiseConfig
from hardneg.finetuning import TuningConfig
from hardneg.mining import LabelOptions, RetrievalConfig
from hardneg.models import MF
from hardneg.pipeline import FinetuneConfig, RunConfig
from hardneg.sampling import MixGCF
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig

DAMAGES = 100
FIT = FitConfig(epochs=1)
READERS = {
    "dataset": ["data split {dataset} --out {out}", "data describe {dataset}"],
    "split": [
        "train {split} --out {out}",
        "data describe {split}",
        "data add-noise {split} --out {out}",
        "evaluate {run} --split {split}",
        "audit split {split}",
        "audit run {run} --split {split}",
        "profiles write {split} --out {out}",
        "neighbours find co-occurrence {split} --out {out}",
    ],
    "noisy": ["train {noisy} --out {out}"],
    "profiles": ["profiles encode {split} --profiles {profiles} --out {out}"],
    "vectors": ["fuse {run} --split {split} --vectors {vectors} --out {out}"],
    "negatives": [
        "train {split} --sampler semantic --negatives {negatives} --out {out}",
        "negatives control random {split} --like {negatives} --out {out}",
    ],
    "neighbours": ["train {split} --sampler semantic-mixing --negatives {neighbours} --out {out}"],
    "trees": ["suspects identify {split} --run {run} --trees {trees} --out {out}"],
    "suspects": [
        "train {split} --suspects {suspects} --use-suspects exclude --out {out}",
        "audit suspects {suspects} --split {split}",
        "evaluate {run} --split {split} --released-mask {suspects}",
        "rerank {run} --split {split} --suspects {suspects} --out {out}",
    ],
    "run": [
        "evaluate {run} --split {split}",
        "recommend {run} --user u1",
        "fuse {run} --split {split} --vectors {vectors} --out {out}",
        "finetune label {split} {run} --out {out}",
        "trees build {split} --run {run} --out {out}",
        "audit run {run} --split {split}",
    ],
    "run/evaluation": ["evaluate {run} --split {split}"],
    "labels": [
        "finetune train {split} --labels {labels} --base none --out {out}",
        "negatives control labels {split} --labels {labels} --out {out}",
    ],
    "tuned": ["finetune synthesize {split} --labels {labels} --tuned {tuned} --base none --out {out}"],
    "study/runs/split/mf/dns-seed1": ["study run {study_file} --out {study}"],
    "study/runs/split/mf/dns-seed1/evaluation": ["study run {study_file} --out {study}"],
}
"""Artifact -> commands that read it."""


@pytest.fixture(scope="module")
def made(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of every kind."""
    root = tmp_path_factory.mktemp("artifacts")
    for name in ("dataset", "split"):
        shutil.copytree(folders / name, root / name)
    split = root / "split"
    pipeline.noise_stage(split, NoiseConfig()).run(root / "noisy")
    pipeline.extract_profiles_stage(split).run(root / "profiles")
    pipeline.encode_texts_stage(split, root / "profiles", Letters()).run(root / "vectors")
    pipeline.retrieve_stage(split, root / "profiles", RetrievalConfig(), Letters()).run(root / "negatives")
    pipeline.neighbours_stage(split, "co-occurrence", k=3).run(root / "neighbours")
    config = RunConfig(model=MF(embedding_size=4), sampler=MixGCF(), fit=FIT)
    pipeline.train_stage(split, config).run(root / "run")
    pipeline.evaluate_run(root / "run", split)
    pipeline.trees_stage(split, TreesConfig(), run=root / "run").run(root / "trees")
    write_folder(root / "suspects", split, make_suspects(splits.read_split(split)))
    pipeline.labels_stage(split, root / "run", LabelOptions()).run(root / "labels")
    untuned = FinetuneConfig(tuning=TuningConfig(epochs=0, pairs=256))
    pipeline.tune_stage(split, None, root / "labels", None, untuned).run(root / "tuned")
    study = {
        "name": "tiny",
        "splits": {"split": str(split)},
        "models": {"mf": {"kind": "mf", "embedding_size": 4}},
        "rows": {"uniform": {"sampler": {"kind": "uniform"}}, "dns": {"sampler": {"kind": "dns"}}},
        "fit": {"epochs": 1},
        "seeds": 3,
        "baseline": "uniform",
    }
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    succeed("study", "run", root / "study.yaml", "--out", root / "study")
    return root


def flip(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]


def change_json(content: bytes, rng: random.Random) -> bytes:
    """Remove an entry, or replace it by a value of another type; garbage where the file is not JSON."""
    try:
        values = json.loads(content)
    except ValueError:
        return rng.randbytes(len(content))
    name = rng.choice(sorted(values))
    if rng.random() < 0.5:
        del values[name]
    else:
        values[name] = ["another type"]
    return json.dumps(values).encode()


CHANGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "flipped": flip,
    "cut": lambda content, rng: content[: rng.randrange(len(content))],
    "empty": lambda content, rng: b"",
    "garbage": lambda content, rng: rng.randbytes(rng.randrange(1, 2000)),
    "longer": lambda content, rng: content + b"\0",
    "json": change_json,
    "missing": lambda content, rng: None,
}


def put(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def damage_one(made: Path, kind: str, rng: random.Random) -> tuple[Path, bytes, bytes | None, str]:
    """Draw a file of an artifact and a damage; return the file, its content, the damaged content and a description."""
    manifest = json.loads((made / kind / artifacts.MANIFEST).read_text())
    own = [made / kind / name for name in (artifacts.MANIFEST, *artifacts.listed_hashes(manifest))]
    while True:
        path, change = rng.choice(own), rng.choice(sorted(CHANGES))
        before = path.read_bytes()
        after = CHANGES[change](before, rng)
        if after != before and not _is_same_json(path, before, after):
            return path, before, after, f"{kind}/{path.name} {change}"


def _is_same_json(path: Path, before: bytes, after: bytes | None) -> bool:
    try:
        return path.name == artifacts.MANIFEST and after is not None and json.loads(before) == json.loads(after)
    except ValueError:
        return False


def test_a_hundred_damages_end_commands_with_one_line_that_names_the_file(made: Path, tmp_path: Path) -> None:
    rng, silent = random.Random(20), []
    names = {name: made / name for name in READERS if "/" not in name}
    names |= {"study_file": made / "study.yaml", "study": made / "study"}
    kinds = sorted(READERS)
    for number in range(DAMAGES):
        kind = kinds[number % len(kinds)]
        path, before, after, description = damage_one(made, kind, rng)
        command = rng.choice(READERS[kind])
        words = command.format(**names, out=tmp_path / f"out{number}").split()
        put(path, after)
        try:
            ended = run(*words)
        finally:
            put(path, before)
        is_foreign = path.name == artifacts.MANIFEST and after is None  # then the folder is none of ours
        expected = 3 if words[0] == "audit" and not is_foreign else 2
        lines = ended.output.splitlines()
        if (
            ended.exit_code != expected
            or len(lines) != 1
            or path.name not in lines[0]
            or not lines[0].startswith("hardneg: ")
        ):
            silent.append((description, command, ended.exit_code, ended.output[-500:], repr(ended.exception)))
        assert not (tmp_path / f"out{number}").exists()
    assert not silent, f"{len(silent)} of {DAMAGES}: {silent}"
