"""The audit: redraw what is held out, make everything again with the same stages, compare hashes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
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
    build_trees,
    draw_label_folder,
    finetune,
    identify_suspects,
    mine_random,
    mine_retrieved,
    profile,
    read_run,
    synthesize_negatives,
    train,
)
from hardneg.pipeline.provenance import chosen_by, hash_of_same_split, inherited
from hardneg.pipeline.released import KIND as RELEASED_KIND
from hardneg.pipeline.released import MASKED, SPARED
from hardneg.sampling import AHNS, DNS, MixGCF, MultiView, SamplerConfig, Semantic, Uniform
from hardneg.text import TextEncoder, item_texts, text_vectors
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig, trees_folder
from hardneg.types import Floats, Progress

TRAINED = ("model.safetensors", "embeddings.safetensors", "examples.parquet", "seen.parquet")
"""Files of a run that no held-out pair may change while the number of epochs is fixed."""
QUICKLY = FinetuneConfig(tuning=TuningConfig(pairs=4096))
"""How the audit tunes: the perceptron of base none, which goes through the same stages as a language model."""

Make = Callable[[Path, Path], dict[str, str]]
"""(split folder, empty folder to work in) -> file -> hash of everything made."""


class Remembering:
    """A text encoder that encodes no text twice, since the audit makes everything several times."""

    def __init__(self, inner: TextEncoder) -> None:
        self.inner, self._known = inner, dict[str, Floats]()

    @property
    def name(self) -> str:
        """That of the encoder inside."""
        return self.inner.name

    @property
    def identity(self) -> str:
        """That of the encoder inside."""
        return self.inner.identity

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """Encode what is new."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self.inner.encode(new, progress), strict=True))
        return np.stack([self._known[text] for text in texts])


def audit_split(
    split_folder: Path, encoder: TextEncoder, *, epochs: int = 2, progress: Progress | None = None
) -> list[Check]:
    """Check a split: what is in it, and whether test or validation pairs reach profiles, negatives, trees, suspects or
    training.

    Every sampler but semantic-mixing is trained, with its default options, the multi-view one with the suspects; for
    a fixed number of epochs, so that early stopping plays no part. Without item texts there is nothing to mine, and the
    semantic sampler is left out; the checks say so.
    """
    data = splits.read_split(split_folder)
    remembering, with_text = Remembering(encoder), any(item_texts(data.texts))
    samplers: list[SamplerConfig] = [Uniform(), DNS(), AHNS(), MixGCF(), *([Semantic()] if with_text else [])]
    done = itertools.count(1)
    judged: list[Check] = []

    def make(folder: Path, work: Path) -> dict[str, str]:
        hashes = _mined(folder, work, remembering, progress) if with_text else {}
        for sampler in samplers:
            config = RunConfig(sampler=sampler, fit=FitConfig(epochs=epochs, check_every=epochs))
            negatives = work / "negatives" if isinstance(sampler, Semantic) else None
            hashes |= _trained(folder, work / sampler.kind, config, negatives)
            if progress is not None:
                progress("short trainings", next(done), 3 * len(samplers))
        hashes |= _learnt(folder, work, work / MixGCF().kind) | _judged(folder, work, epochs, progress)
        if not judged:  # of the split as it is
            judged.extend(check_candidates(suspects.read_suspects(work / "suspects", data), data))
        return hashes

    parts = [*(["profiles", "negatives"] if with_text else []), *(f"{s.kind} training" for s in samplers)]
    judging = ["trees", "suspects", "multi-view training with suspects"]
    learnt = ["labels", "tuning and synthesis without a language model", *judging]
    made = ", ".join([*parts, *learnt])
    checks = _redrawn(split_folder, make)
    said = [Check(c.question, c.passed, f"{c.detail}: {made}" if c.passed else c.detail) for c in checks]
    return [*check_split(data), *judged, *said]


def _mined(folder: Path, work: Path, encoder: TextEncoder, progress: Progress | None) -> dict[str, str]:
    """Make profiles, retrieved negatives and their random control; hashes by folder and file."""
    profile(folder, work / "profiles")
    mine_retrieved(folder, work / "profiles", work / "negatives", RetrievalConfig(), encoder, progress)
    mine_random(folder, work / "negatives", work / "random", seed=0)
    folders = ("profiles", "negatives", "random")
    return {f"{name}/{file}": digest for name in folders for file, digest in _hashes(work / name)}


def _judged(folder: Path, work: Path, epochs: int, progress: Progress | None) -> dict[str, str]:
    """Grow trees over the uniform run, judge its candidates by rule, train the multi-view sampler on the suspects; hashes
    by folder and file."""
    run = work / "uniform"
    build_trees(folder, work / "trees", TreesConfig(), run=run, progress=progress)
    identify_suspects(folder, work / "suspects", SuspectInputs(run=run, trees=work / "trees"), progress=progress)
    use = SuspectsUse(use="both", graph=True)
    config = RunConfig(sampler=MultiView(), fit=FitConfig(epochs=epochs, check_every=epochs), suspects=use)
    made = {f"{name}/{file}": digest for name in ("trees", "suspects") for file, digest in _hashes(work / name)}
    return made | _trained(folder, work / "with suspects", config, None, work / "suspects", work / "trees")


def _learnt(folder: Path, work: Path, mixgcf: Path) -> dict[str, str]:
    """Labels of a trained MixGCF, what is tuned towards them, and what that writes; hashes by folder and file."""
    labels, tuned, written = (work / name for name in ("labels", "tuned", "synthesised"))
    draw_label_folder(folder, mixgcf, labels, LabelOptions())
    finetune(folder, None, labels, tuned, None, QUICKLY)
    synthesize_negatives(folder, None, labels, tuned, written, None, SynthesisConfig())
    made = (labels, tuned, written)
    return {f"{one.name}/{file}": digest for one in made for file, digest in _hashes(one)}


def audit_suspects(folder: Path, split_folder: Path) -> list[Check]:
    """Check a suspects folder, whoever made it: whether held-out pairs decided who has candidates, or what was called
    liked. Whether our own stage reads held-out pairs, `audit_split` tells by making everything again."""
    made_from = artifacts.read_manifest(folder, suspects.KIND)["inputs"].get("training data")
    same = made_from == splits.training_data_hash(split_folder)
    detail = "hashes of train pairs, reviews, texts and ids are equal" if same else "they differ"
    first = Check("the suspects were judged from this split", same, detail)
    data = splits.read_split(split_folder)
    return [first, *(check_candidates(suspects.read_suspects(folder, data), data) if same else [])]


def audit_run(
    run_folder: Path,
    split_folder: Path,
    negatives: Path | None,
    suspects_folder: Path | None = None,
    *,
    trees: Path | None = None,
    anchor: Path | None = None,
    epochs: int = 2,
) -> list[Check]:
    """Check a run: what it masks, what it was trained on, and whether held-out pairs reach its training, or decided
    what its suspects are.

    negatives, suspects_folder, trees, anchor: those of the run, as `train` was given them. They stay as they are while
    pairs are drawn anew. Raises ConfigError where one that the run needs is not given, or suspects are of a run without.
    """
    manifest = artifacts.read_manifest(run_folder, RUN)
    if "method" in manifest["config"]:
        raise ConfigError(f"{run_folder} is {manifest['config']['method']}, which trains nothing; audit a trained run")
    settings = {name: value for name, value in manifest["config"].items() if name in RunConfig.model_fields}
    config: RunConfig = parse_config(RunConfig, settings, where=f"{run_folder}/manifest.json")
    if suspects_folder is not None and config.suspects is None:
        raise ConfigError(f"{run_folder} was trained without suspects, found {suspects_folder}; leave it out")
    short = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": epochs, "check_every": epochs})})
    same = manifest["inputs"]["training data"] == splits.training_data_hash(split_folder)
    detail = "hashes of train pairs, reviews, texts and ids are equal" if same else "they differ"
    given = negatives, suspects_folder, trees, anchor
    used = {trees_folder.KIND: trees, "anchor": anchor}
    kinds = {trees_folder.KIND: trees_folder.KIND, "anchor": text_vectors.KIND}

    def make(folder: Path, work: Path) -> dict[str, str]:
        return _trained(folder, work / "run", short, *(_lent(one, folder, work) for one in given))

    return [
        Check("the run was trained on this split", same, detail),
        check_mask(read_run(run_folder).seen, splits.read_split(split_folder).train),
        _check_evaluations(run_folder),
        *([] if suspects_folder is None else _check_same_suspects(manifest, suspects_folder, split_folder)),
        *(
            _check_same_folder(manifest, name, folder, kinds[name], split_folder)
            for name, folder in used.items()
            if folder is not None
        ),
        *_redrawn(split_folder, make),
    ]


def _check_same_folder(manifest: dict[str, Any], name: str, folder: Path, kind: str, split_folder: Path) -> Check:
    same = manifest["inputs"].get(name) == hash_of_same_split(folder, kind, split_folder)
    what = "these trees" if name == trees_folder.KIND else "these vectors as anchor"
    return Check(f"the run was trained with {what}", same, "hashes are equal" if same else "hashes differ")


def _lent(given: Path | None, split_folder: Path, work: Path) -> Path | None:
    """The folder for a redrawn split: its files, and a manifest that names that split's validation pairs.

    What the real ones chose is no part of what is redrawn, and `train` would refuse it beside others.
    """
    chosen = chosen_by(split_folder)
    if given is None or inherited(given) in ({}, chosen):
        return given
    manifest = artifacts.read_manifest(given, str(artifacts.kind_at(given)))
    out = work / "lent" / str(artifacts.kind_at(given))
    shutil.copytree(given, out, copy_function=lambda source, to: os.symlink(os.path.realpath(source), to))
    (out / artifacts.MANIFEST).unlink()
    changed = manifest | {"notes": manifest["notes"] | chosen}
    (out / artifacts.MANIFEST).write_text(json.dumps(changed), encoding="utf-8")
    return out


def _check_evaluations(run_folder: Path) -> Check:
    """The released mask, where the run was scored under it, is no evaluation."""
    folder = run_folder / RELEASED
    question = "no evaluation masks what a method added"
    if not artifacts.is_artifact(folder):
        return Check(question, True, "none under DTL-NS's released mask")
    notes = artifacts.read_manifest(folder, RELEASED_KIND)["notes"]
    added, spared = (notes[name] for name in (MASKED, SPARED))
    detail = f"{folder.name}/ masks {added:,} added pairs and spares {spared:,} because they are held out"
    return Check(question, False, f"{detail}; it stands apart from the honest evaluation")


def _check_same_suspects(manifest: dict[str, Any], folder: Path, split_folder: Path) -> list[Check]:
    """The suspects are those of the run, and as they should be."""
    same = manifest["inputs"].get(suspects.KIND) == hash_of_same_split(folder, suspects.KIND, split_folder)
    question = "the run was trained with these suspects"
    data = splits.read_split(split_folder)
    threshold = (manifest["config"].get("suspects") or {}).get("threshold", suspects.THRESHOLD)
    judged = check_candidates(suspects.read_suspects(folder, data), data, threshold=threshold)
    return [Check(question, same, "hashes are equal" if same else "hashes differ"), *judged]


def _redrawn(split_folder: Path, make: Make) -> list[Check]:
    """Make everything from the split as it is, with other test pairs, and with other validation pairs."""
    data = splits.read_split(split_folder)
    with tempfile.TemporaryDirectory(prefix="hardneg-audit-") as temporary:
        work = Path(temporary)
        before = make(split_folder, work / "as it is")
        checks = []
        parts: tuple[Literal["test", "valid"], ...] = ("test", "valid")
        for part in parts:
            other = work / f"other {part}"
            other.mkdir()
            splits.write_split(other / "split", redraw(data, part, seed=0), config={"redrawn": part}, inputs={})
            question = f"{part} pairs, drawn anew, change nothing that was made"
            checks.append(check_same(question, before, make(other / "split", other)))
            shutil.rmtree(other)
    return checks


def _trained(
    folder: Path,
    out: Path,
    config: RunConfig,
    negatives: Path | None,
    judged: Path | None = None,
    trees: Path | None = None,
    anchor: Path | None = None,
) -> dict[str, str]:
    train(folder, out, config, negatives=negatives, suspects=judged, trees=trees, anchor=anchor)
    return {f"{out.name}/{name}": h for name, h in _hashes(out) if name in TRAINED}


def _hashes(folder: Path) -> list[tuple[str, str]]:
    return list(artifacts.content_hashes(folder).items())
