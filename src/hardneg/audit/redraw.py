"""The audit of a split: redraw held-out pairs, build every artifact with the same stages, and compare hashes."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from hardneg import artifacts
from hardneg.audit.division import audit_division, check_stored
from hardneg.data import split as splits
from hardneg.data.noise import NOISE_FILE
from hardneg.diagnostics import Check, check_candidates, check_same, check_split, redraw
from hardneg.finetuning import SynthesisConfig, TuningConfig
from hardneg.judging import suspects
from hardneg.mining import LabelOptions, RetrievalConfig
from hardneg.pipeline import (
    FinetuneConfig,
    RunConfig,
    SuspectInputs,
    SuspectsUse,
    extract_profiles_stage,
    labels_stage,
    random_negatives_stage,
    retrieve_stage,
    suspects_stage,
    synthesize_stage,
    train_stage,
    trees_stage,
    tune_stage,
)
from hardneg.pipeline.provenance import inherited_note, validation_note
from hardneg.sampling import AHNS, DNS, MixGCF, MultiView, SamplerConfig, Semantic, Uniform
from hardneg.stage import Stage
from hardneg.text import TextEncoder, item_texts
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig
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
    split_dir: Path,
    encoder: TextEncoder,
    *,
    dataset: Path | None = None,
    epochs: int = 2,
    progress: Progress | None = None,
) -> list[Check]:
    """Check a split: its content, and that test and validation pairs reach no artifact built from it.

    Every sampler but semantic mixing is trained with its default options, multi-view with the suspects. The number of
    epochs is fixed, so that early stopping plays no part. Without item texts there are no negatives to mine, and the
    semantic sampler is left out; the checks say so. dataset: the dataset that was divided; the split is then made again,
    and item texts are searched for held-out reviews.
    """
    stored = check_stored(split_dir)
    if not stored.passed:
        return [stored]
    split = splits.read_split(split_dir)
    cached, with_text = MemoizingEncoder(encoder), any(item_texts(split.texts))
    samplers: list[SamplerConfig] = [
        Uniform(),
        DNS(),
        AHNS(),
        MixGCF(),
        *([Semantic(allow_empty=True)] if with_text else []),
    ]
    trainings = itertools.count(1)
    suspect_checks: list[Check] = []

    def rebuild(folder: Path, work: Path) -> dict[str, str]:
        hashes = _build_negatives(folder, work, cached, progress) if with_text else {}
        for sampler in samplers:
            config = RunConfig(sampler=sampler, fit=FitConfig(epochs=epochs, check_every=epochs))
            negatives = work / "negatives" if isinstance(sampler, Semantic) else None
            hashes |= train(folder, work / sampler.kind, config, negatives=negatives)
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
        for check in compare_redrawn(split_dir, rebuild)
    ]
    own = [] if dataset is None else audit_division(split_dir, dataset, split)
    return [stored, *check_split(split, noisy=(split_dir / NOISE_FILE).is_file()), *own, *suspect_checks, *checks]


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
    return _hash_files(trees, judged) | train(folder, work / "with suspects", config, suspects=judged, trees=trees)


def _build_synthesized(folder: Path, work: Path, mixgcf: Path) -> dict[str, str]:
    """Build the labels of a trained MixGCF, the model tuned towards them, and its negatives."""
    labels, tuned, synthesized = (work / name for name in ("labels", "tuned", "synthesized"))
    labels_stage(folder, mixgcf, LabelOptions()).run(labels)
    tune_stage(folder, None, labels, None, QUICK_TUNING).run(tuned)
    synthesize_stage(folder, None, labels, tuned, None, SynthesisConfig()).run(synthesized)
    return _hash_files(labels, tuned, synthesized)


def lend(folder: Path | None, split_dir: Path, work: Path) -> Path | None:
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
    artifacts.write_manifest(out, manifest | {"notes": manifest["notes"] | note})
    return out


def compare_redrawn(split_dir: Path, rebuild: Rebuild) -> list[Check]:
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


def train(
    folder: Path,
    out: Path,
    config: RunConfig,
    *,
    negatives: Path | None = None,
    suspects: Path | None = None,
    trees: Path | None = None,
    vectors: Path | None = None,
) -> dict[str, str]:
    """Train a run, and return the hashes of its TRAINED files."""
    train_stage(folder, config, negatives=negatives, suspects=suspects, trees=trees, vectors=vectors).run(out)
    return {name: digest for name, digest in _hash_files(out).items() if name.split("/")[1] in TRAINED}


def _hash_files(*folders: Path) -> dict[str, str]:
    """Return "folder/file" -> hash of every file."""
    hashes = {folder.name: artifacts.content_hashes(folder) for folder in folders}
    return {f"{name}/{file}": digest for name, files in hashes.items() for file, digest in files.items()}
