"""The audit: redraw held-out pairs, rebuild every artifact with the same stages, and compare hashes."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hardneg import artifacts
from hardneg.config import parse_config
from hardneg.data import split as splits
from hardneg.diagnostics import Check, check_candidates, check_mask, check_same, check_split, redraw
from hardneg.errors import ConfigError
from hardneg.finetuning import SynthesisConfig, TuningConfig
from hardneg.judging import suspects
from hardneg.mining import LabelOptions, RetrievalConfig
from hardneg.pipeline import (
    RELEASED,
    RUN,
    FinetuneConfig,
    RunConfig,
    SuspectInputs,
    SuspectsUse,
    extract_profiles_stage,
    labels_stage,
    random_negatives_stage,
    read_run,
    retrieve_stage,
    suspects_stage,
    synthesize_stage,
    train_stage,
    trees_stage,
    tune_stage,
)
from hardneg.pipeline.inference import MASKED, RELEASED_KIND, SPARED
from hardneg.pipeline.provenance import hash_of_same_split, inherited_note, validation_note
from hardneg.sampling import AHNS, DNS, MixGCF, MultiView, SamplerConfig, Semantic, Uniform
from hardneg.stage import Stage
from hardneg.text import TextEncoder, item_texts, text_vectors
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig, trees_folder
from hardneg.types import Floats, Progress

TRAINED = ("model.safetensors", "embeddings.safetensors", "examples.parquet", "seen.parquet")
"""Files of a run that no held-out pair may change while the number of epochs is fixed."""
QUICK_TUNING = FinetuneConfig(tuning=TuningConfig(pairs=4096))
"""Tuning by the audit: the perceptron of base none, which passes through the same stages as a language model."""

Rebuild = Callable[[Path, Path], dict[str, str]]
"""(split folder, empty folder to work in) -> file -> hash of every artifact built."""


class MemoizingEncoder:
    """A text encoder that encodes each text once, since the audit builds everything several times."""

    def __init__(self, inner: TextEncoder) -> None:
        self.inner, self._vectors = inner, dict[str, Floats]()

    @property
    def name(self) -> str:
        """Name of the wrapped encoder."""
        return self.inner.name

    @property
    def identity(self) -> str:
        """Identity of the wrapped encoder."""
        return self.inner.identity

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Encode the texts that are new."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self.inner.encode(new, progress), strict=True))
        return np.stack([self._vectors[text] for text in texts])


def audit_split(
    split_dir: Path, encoder: TextEncoder, *, epochs: int = 2, progress: Progress | None = None
) -> list[Check]:
    """Check a split: its content, and that test and validation pairs reach no artifact built from it.

    Every sampler but semantic mixing is trained with its default options, multi-view with the suspects. The number of
    epochs is fixed, so that early stopping plays no part. Without item texts there are no negatives to mine, and the
    semantic sampler is left out; the checks say so.
    """
    split = splits.read_split(split_dir)
    cached, with_text = MemoizingEncoder(encoder), any(item_texts(split.texts))
    samplers: list[SamplerConfig] = [Uniform(), DNS(), AHNS(), MixGCF(), *([Semantic()] if with_text else [])]
    trainings = itertools.count(1)
    suspect_checks: list[Check] = []

    def rebuild(folder: Path, work: Path) -> dict[str, str]:
        hashes = _build_negatives(folder, work, cached, progress) if with_text else {}
        for sampler in samplers:
            config = RunConfig(sampler=sampler, fit=FitConfig(epochs=epochs, check_every=epochs))
            negatives = work / "negatives" if isinstance(sampler, Semantic) else None
            hashes |= _train(folder, work / sampler.kind, config, negatives=negatives)
            if progress is not None:
                progress("short trainings", next(trainings), 3 * len(samplers))
        hashes |= _build_synthesized(folder, work, work / MixGCF().kind)
        hashes |= _build_suspects(folder, work, epochs, progress)
        if not suspect_checks:  # of the split as it is
            suspect_checks.extend(check_candidates(suspects.read_suspects(work / "suspects", split), split))
        return hashes

    built = ["profiles", "negatives"] if with_text else []
    built += [f"{sampler.kind} training" for sampler in samplers]
    built += ["labels", "tuning and synthesis without a language model"]
    built += ["trees", "suspects", "multi-view training with suspects"]
    checks = [
        Check(check.question, check.passed, f"{check.detail}: {', '.join(built)}" if check.passed else check.detail)
        for check in _compare_redrawn(split_dir, rebuild)
    ]
    return [*check_split(split), *suspect_checks, *checks]


def _build_negatives(folder: Path, work: Path, encoder: TextEncoder, progress: Progress | None) -> dict[str, str]:
    """Build profiles, retrieved negatives and their random control."""
    extract_profiles_stage(folder).run(work / "profiles")
    retrieve_stage(folder, work / "profiles", RetrievalConfig(), encoder, progress).run(work / "negatives")
    random_negatives_stage(folder, work / "negatives", seed=0).run(work / "random")
    return _hash_files(work / "profiles", work / "negatives", work / "random")


def _build_suspects(folder: Path, work: Path, epochs: int, progress: Progress | None) -> dict[str, str]:
    """Build trees over the uniform run, judge its candidates by rule, and train multi-view with the suspects."""
    run, trees, judged = work / "uniform", work / "trees", work / "suspects"
    trees_stage(folder, TreesConfig(), run=run, progress=progress).run(trees)
    suspects_stage(folder, SuspectInputs(run=run, trees=trees), progress=progress).run(judged)
    use = SuspectsUse(use="both", graph=True)
    config = RunConfig(sampler=MultiView(), fit=FitConfig(epochs=epochs, check_every=epochs), suspects=use)
    return _hash_files(trees, judged) | _train(folder, work / "with suspects", config, suspects=judged, trees=trees)


def _build_synthesized(folder: Path, work: Path, mixgcf: Path) -> dict[str, str]:
    """Build the labels of a trained MixGCF, the model tuned towards them, and its negatives."""
    labels, tuned, synthesized = (work / name for name in ("labels", "tuned", "synthesized"))
    labels_stage(folder, mixgcf, LabelOptions()).run(labels)
    tune_stage(folder, None, labels, None, QUICK_TUNING).run(tuned)
    synthesize_stage(folder, None, labels, tuned, None, SynthesisConfig()).run(synthesized)
    return _hash_files(labels, tuned, synthesized)


def audit_suspects(folder: Path, split_dir: Path) -> list[Check]:
    """Check a suspects folder from any source: held-out pairs must decide neither its candidates nor its labels.

    `audit_split` checks our own stage, by building suspects again.
    """
    digest = artifacts.read_manifest(folder, suspects.KIND)["inputs"].get("training data")
    first = _check_equal("the suspects were judged from this split", digest, splits.training_data_hash(split_dir))
    if not first.passed:
        return [first]
    split = splits.read_split(split_dir)
    return [first, *check_candidates(suspects.read_suspects(folder, split), split)]


def audit_run(
    run_dir: Path,
    split_dir: Path,
    negatives: Path | None,
    suspects_dir: Path | None = None,
    *,
    trees: Path | None = None,
    anchor: Path | None = None,
    epochs: int = 2,
) -> list[Check]:
    """Check a run: its mask, its inputs, and that held-out pairs reach neither its training nor its suspects.

    negatives, suspects_dir, trees, anchor: those that the run was trained with; they stay as they are while pairs are
    redrawn. Raises ConfigError where one is missing, or suspects are given for a run without.
    """
    manifest = artifacts.read_manifest(run_dir, RUN)
    if "method" in manifest["config"]:
        raise ConfigError(f"{run_dir} is {manifest['config']['method']}, which trains nothing; audit a trained run")
    settings = {name: value for name, value in manifest["config"].items() if name in RunConfig.model_fields}
    config: RunConfig = parse_config(RunConfig, settings, where=f"{run_dir}/manifest.json")
    if suspects_dir is not None and config.suspects is None:
        raise ConfigError(f"{run_dir} was trained without suspects, found {suspects_dir}; leave it out")
    short = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": epochs, "check_every": epochs})})
    inputs = {"negatives": negatives, "suspects": suspects_dir, "trees": trees, "anchor": anchor}

    def rebuild(folder: Path, work: Path) -> dict[str, str]:
        lent = {name: _lend(path, folder, work) for name, path in inputs.items()}
        return _train(folder, work / "run", short, **lent)

    trained_on = manifest["inputs"]["training data"]
    checks = [
        _check_equal("the run was trained on this split", trained_on, splits.training_data_hash(split_dir)),
        check_mask(read_run(run_dir).seen, splits.read_split(split_dir).train),
        _check_evaluations(run_dir),
    ]
    if suspects_dir is not None:
        checks += _check_suspects(manifest, suspects_dir, split_dir)
    for name, path, kind in (("trees", trees, trees_folder.KIND), ("anchor", anchor, text_vectors.KIND)):
        if path is not None:
            digest = hash_of_same_split(path, kind, split_dir)
            checks.append(
                _check_equal(f"the run was trained with this {name} folder", manifest["inputs"].get(name), digest)
            )
    return [*checks, *_compare_redrawn(split_dir, rebuild)]


def _check_equal(question: str, recorded: str | None, digest: str) -> Check:
    return Check(question, recorded == digest, "hashes are equal" if recorded == digest else "hashes differ")


def _lend(folder: Path | None, split_dir: Path, work: Path) -> Path | None:
    """Return the folder for a redrawn split: its files, and a manifest with that split's validation pairs.

    The pairs that chose the real run are not redrawn, and training refuses artifacts with other validation pairs.
    """
    note = validation_note(split_dir)
    if folder is None or inherited_note(folder) in ({}, note):
        return folder
    kind = str(artifacts.kind_at(folder))
    manifest = artifacts.read_manifest(folder, kind)
    out = work / "lent" / kind
    shutil.copytree(folder, out, copy_function=lambda source, to: os.symlink(os.path.realpath(source), to))
    (out / artifacts.MANIFEST).unlink()
    artifacts.write_json(out / artifacts.MANIFEST, manifest | {"notes": manifest["notes"] | note})
    return out


def _check_evaluations(run_dir: Path) -> Check:
    """Check that no evaluation under the released mask is taken for an honest one."""
    folder = run_dir / RELEASED
    question = "no evaluation masks positives that a method added"
    if not artifacts.is_artifact(folder):
        return Check(question, True, "none under DTL-NS's released mask")
    notes = artifacts.read_manifest(folder, RELEASED_KIND)["notes"]
    detail = (
        f"{folder.name}/ masks {notes[MASKED]:,} added pairs and spares {notes[SPARED]:,} because they are held out; "
        "it is separate from the honest evaluation"
    )
    return Check(question, False, detail)


def _check_suspects(manifest: dict[str, Any], folder: Path, split_dir: Path) -> list[Check]:
    """Check that the suspects are those of the run, and that held-out pairs did not decide them."""
    digest = hash_of_same_split(folder, suspects.KIND, split_dir)
    same = _check_equal("the run was trained with these suspects", manifest["inputs"].get(suspects.KIND), digest)
    split = splits.read_split(split_dir)
    threshold = (manifest["config"].get("suspects") or {}).get("threshold", suspects.THRESHOLD)
    return [same, *check_candidates(suspects.read_suspects(folder, split), split, threshold=threshold)]


def _compare_redrawn(split_dir: Path, rebuild: Rebuild) -> list[Check]:
    """Build everything from the split as it is, with other test pairs, and with other validation pairs."""
    split = splits.read_split(split_dir)
    with tempfile.TemporaryDirectory(prefix="hardneg-audit-") as temporary:
        work = Path(temporary)
        before = rebuild(split_dir, work / "as it is")
        checks = []
        parts: tuple[Literal["test", "valid"], ...] = ("test", "valid")
        for part in parts:
            other = work / f"other {part}"
            other.mkdir()
            build = partial(splits.write_split, split=redraw(split, part, seed=0))
            redrawn = Stage(splits.KIND, {"redrawn": part}, {}, build).run(other / "split")
            question = f"{part} pairs, drawn anew, change nothing that was made"
            checks.append(check_same(question, before, rebuild(redrawn, other)))
            shutil.rmtree(other)
    return checks


def _train(
    folder: Path,
    out: Path,
    config: RunConfig,
    *,
    negatives: Path | None = None,
    suspects: Path | None = None,
    trees: Path | None = None,
    anchor: Path | None = None,
) -> dict[str, str]:
    train_stage(folder, config, negatives=negatives, suspects=suspects, trees=trees, anchor=anchor).run(out)
    return {name: digest for name, digest in _hash_files(out).items() if name.split("/")[1] in TRAINED}


def _hash_files(*folders: Path) -> dict[str, str]:
    """Return "folder/file" -> hash of every file."""
    hashes = {folder.name: artifacts.content_hashes(folder) for folder in folders}
    return {f"{name}/{file}": digest for name, files in hashes.items() for file, digest in files.items()}
