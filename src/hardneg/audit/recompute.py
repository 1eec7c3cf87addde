"""Making an artifact again from its manifest's settings, and comparing the files.

Hashes protect only what the manifest of a finished folder is trusted for: who edits a file can edit its manifest. What a
stage makes again from the same inputs cannot be edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from hardneg import artifacts
from hardneg.config import parse_config
from hardneg.data.dataset import read_parquet
from hardneg.diagnostics import Check
from hardneg.finetuning import NO_BASE, SynthesisConfig
from hardneg.judging import JUDGES, suspects
from hardneg.mining import LabelOptions, RetrievalConfig, labels
from hardneg.pipeline import (
    BASELINE,
    POPULARITY,
    RUN,
    BaselineRunConfig,
    FinetuneConfig,
    FusionConfig,
    PopularityConfig,
    RerankConfig,
    SuspectInputs,
    SuspectsConfig,
    baseline_stage,
    control_trees_stage,
    encode_texts_stage,
    extract_profiles_stage,
    fuse_stage,
    labels_control_stage,
    labels_stage,
    neighbours_stage,
    popularity_stage,
    random_negatives_stage,
    rerank_stage,
    retrieve_stage,
    shuffle_profiles_stage,
    shuffled_negatives_stage,
    suspects_stage,
    synthesize_stage,
    text_only_stage,
    trees_stage,
    tune_stage,
)
from hardneg.pipeline.inference import scores_hash
from hardneg.pipeline.labels import TRAINED
from hardneg.pipeline.reranking import RERANKED
from hardneg.pipeline.tuning import TUNED
from hardneg.sampling import mined
from hardneg.stage import Stage
from hardneg.storage import read_array, read_tensors
from hardneg.text import TextEncoder, profiles, text_vectors
from hardneg.text.item_vectors import OWN
from hardneg.trees import TreesConfig, trees_folder
from hardneg.types import Progress

TOLERANCE = 1e-3
"""Largest difference of numbers, as a share of the largest of their table, that counts as rounding."""


class NotRebuiltError(Exception):
    """The reason why an artifact cannot be made again: what is missing, or that a language model made it."""


@dataclass(frozen=True)
class Origin:
    """Sources of an audited artifact.

    open_encoder: opens the text encoder, where texts are encoded again; None: nothing is made again. folders: folders of
    any kind; those that lie beside an audited artifact are tried as well. dataset: the dataset of the split.
    """

    open_encoder: Callable[[], TextEncoder] | None = None
    folders: tuple[Path, ...] = ()
    dataset: Path | None = None
    progress: Progress | None = None


NO_ORIGIN = Origin()


@dataclass
class Sources:
    """Finds the folders that artifacts of a split were made from. work: an empty folder. used: those found, in order."""

    split: Path
    work: Path
    origin: Origin
    used: list[Path] = field(default_factory=list)

    def find(self, folder: Path, name: str, kind: str, inputs: Mapping[str, str]) -> Path | None:
        """Return the folder of a kind whose hash is the input `name` of an artifact; None where it has no such input.

        Extractive profiles are made again where no folder has the hash. Raises NotRebuiltError where none is found.
        """
        if name not in inputs:
            return None
        for candidate in self._candidates(folder, kind):
            if inputs[name] in _hashes(candidate, kind):
                self.used.append(candidate)
                return candidate
        if kind == profiles.KIND:
            extracted = extract_profiles_stage(self.split).run(self.work / "extracted profiles")
            if artifacts.folder_hash(extracted) == inputs[name]:
                return extracted
        raise NotRebuiltError(f"no {kind} folder with the recorded hash was found; give it with --made-from")

    def need(self, folder: Path, name: str, kind: str, inputs: Mapping[str, str]) -> Path:
        """Return the folder as `find`; raise NotRebuiltError where the artifact has no such input."""
        if (found := self.find(folder, name, kind, inputs)) is None:
            raise NotRebuiltError(f"its manifest names no {name}")
        return found

    def encoder(self, config: Mapping[str, Any], inputs: Mapping[str, str]) -> TextEncoder:
        """Return the text encoder. Raises NotRebuiltError where the artifact was made with another."""
        assert self.origin.open_encoder is not None
        encoder = self.origin.open_encoder()
        if encoder.identity != inputs.get("encoder"):
            raise NotRebuiltError(f"its encoder is {config.get('encoder')}, not {encoder.name}; give it with --encoder")
        return encoder

    def _candidates(self, folder: Path, kind: str) -> Iterator[Path]:
        beside = sorted(path for path in folder.resolve().parent.iterdir() if path.is_dir())
        of_kind = [path for path in [*self.origin.folders, *beside] if artifacts.kind_at(path) == kind]
        # A trained run comes first: late fusion with weight 0 has the same embeddings.
        yield from sorted(of_kind, key=lambda path: not (path / "model.safetensors").is_file())


def _hashes(folder: Path, kind: str) -> set[str]:
    """Return the hashes by which manifests name a folder; of a run, files alone, since it may hold an evaluation."""
    if kind != RUN:
        return {artifacts.folder_hash(folder)}
    has_table = (folder / "embeddings.safetensors").is_file()
    return {artifacts.folder_hash(folder, TRAINED), *([scores_hash(folder)] if has_table else [])}


def stage_of(folder: Path, sources: Sources) -> Stage:
    """Return the stage that makes a finished artifact again. Raises NotRebuiltError where that is not possible."""
    kind = str(artifacts.kind_at(folder))
    manifest = artifacts.read_manifest(folder, kind)
    if kind not in _STAGES:
        raise NotRebuiltError(f"a {kind} folder is not made again")
    if manifest["config"].get("encoder") == OWN:
        raise NotRebuiltError("its vectors are a file of the user")
    where = f"{folder}/{artifacts.MANIFEST}"
    try:
        return _STAGES[kind](_Recipe(folder, sources, manifest["config"], manifest["inputs"], where))
    except (ValueError, KeyError, TypeError) as error:  # a ConfigError is a ValueError
        raise NotRebuiltError(f"its settings are not those of a stage ({error})") from None


@dataclass(frozen=True)
class _Recipe:
    """Settings and inputs of an artifact, as its manifest states them."""

    folder: Path
    sources: Sources
    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    where: str

    @property
    def split(self) -> Path:
        return self.sources.split

    def settings(self, kind: Any, *others: str) -> Any:
        """Return the settings without those that only the stage adds."""
        return parse_config(kind, {k: v for k, v in self.config.items() if k not in others}, where=self.where)

    def find(self, name: str, kind: str) -> Path | None:
        return self.sources.find(self.folder, name, kind, self.inputs)

    def need(self, name: str, kind: str) -> Path:
        return self.sources.need(self.folder, name, kind, self.inputs)

    def encoder(self) -> TextEncoder:
        return self.sources.encoder(self.config, self.inputs)


def _profiles(made: _Recipe) -> Stage:
    if made.config.get("method") == "shuffled":
        return shuffle_profiles_stage(made.split, made.need("like", profiles.KIND), made.config["seed"])
    if made.config.get("method") != profiles.SOURCE:
        raise NotRebuiltError("a language model wrote it")
    shuffled, users = made.config.get("titles shuffled with seed"), made.config.get("users", True)
    return extract_profiles_stage(made.split, shuffle_titles=shuffled, users=users)


def _vectors(made: _Recipe) -> Stage:
    written, items = made.need("profiles", profiles.KIND), made.config.get("items", "texts")
    return encode_texts_stage(made.split, written, made.encoder(), made.sources.origin.progress, items=items)


def _negatives(made: _Recipe) -> Stage:
    method = made.config.get("method")
    if method == "retrieved":
        written, config = made.need("profiles", profiles.KIND), made.settings(RetrievalConfig, "method", "encoder")
        return retrieve_stage(made.split, written, config, made.encoder(), made.sources.origin.progress)
    if method in ("random", "shuffled"):
        control = random_negatives_stage if method == "random" else shuffled_negatives_stage
        return control(made.split, made.need("like", mined.KIND), made.config["seed"])
    if method in ("positive", "labels"):
        return labels_control_stage(made.split, made.need("labels", labels.KIND), method)
    if method == "synthesized" and "profiles" not in made.inputs:  # by the perceptron, which reads no profiles
        targets, tuned = made.need("labels", labels.KIND), made.need("tuned", TUNED)
        return synthesize_stage(made.split, None, targets, tuned, None, made.settings(SynthesisConfig, "method"))
    raise NotRebuiltError(f"its method is {method!r}, which needs a language model")


def _neighbours(made: _Recipe) -> Stage:
    config, encoder = made.config, made.encoder() if made.config["by"] == "text" else None
    written, seed = made.find("profiles", profiles.KIND), config.get("seed", 0)
    return neighbours_stage(made.split, config["by"], k=config["k"], encoder=encoder, profiles_dir=written, seed=seed)


def _labels(made: _Recipe) -> Stage:
    options = made.settings(LabelOptions, "mixgcf", "map seed")
    run, onto = made.need("run", RUN), made.find("onto", text_vectors.KIND)
    return labels_stage(made.split, run, options, onto=onto, map_seed=made.config.get("map seed", 0))


def _tuned(made: _Recipe) -> Stage:
    if made.config.get("base") != NO_BASE:
        raise NotRebuiltError(f"its base is the language model {made.config.get('base')}")
    return tune_stage(made.split, None, made.need("labels", labels.KIND), None, made.settings(FinetuneConfig, "base"))


def _trees(made: _Recipe) -> Stage:
    if "control" in made.config:
        like = made.need("trees", trees_folder.KIND)
        return control_trees_stage(made.split, like, made.config["control"], made.config["seed"])
    run, vectors = made.find("run", RUN), made.find("vectors", text_vectors.KIND)
    return trees_stage(made.split, made.settings(TreesConfig), run=run, vectors=vectors)


def _suspects(made: _Recipe) -> Stage:
    judge = dict(made.config.get("judge") or {})
    if judge.get("kind") == "recorded" or JUDGES.find(judge.get("kind", "")).queries_llm:
        raise NotRebuiltError(f"its judge is {judge.get('kind')!r}, whose labels are not made again")
    inputs = SuspectInputs(
        run=made.find("run", RUN), trees=made.find("trees", trees_folder.KIND), like=made.find("like", suspects.KIND)
    )
    return suspects_stage(made.split, inputs, made.settings(SuspectsConfig, "method", "model", "prompts"))


def _run(made: _Recipe) -> Stage:
    method = made.config.get("method")
    if method is None:
        raise NotRebuiltError("a trained run is not trained again to the end")
    if method == RERANKED:
        judged = made.need("suspects", suspects.KIND)
        return rerank_stage(made.need("run", RUN), made.split, judged, made.settings(RerankConfig, "method"))
    if method == BASELINE:
        return baseline_stage(made.split, made.settings(BaselineRunConfig, "method"))
    if method == POPULARITY:
        return popularity_stage(made.split, made.settings(PopularityConfig))
    vectors, config = made.need("vectors", text_vectors.KIND), made.settings(FusionConfig, "method")
    if method == "text only":
        return text_only_stage(made.split, vectors, config)
    return fuse_stage(made.need("run", RUN), made.split, vectors, config)


_STAGES: dict[str, Callable[[_Recipe], Stage]] = {
    profiles.KIND: _profiles,
    text_vectors.KIND: _vectors,
    mined.KIND: _negatives,
    mined.NEIGHBOURS: _neighbours,
    labels.KIND: _labels,
    TUNED: _tuned,
    trees_folder.KIND: _trees,
    suspects.KIND: _suspects,
    RUN: _run,
}


def compare_rebuilt(folder: Path, stage: Stage, work: Path) -> Check:
    """Make the artifact again in `work`, and check that it has the same files."""
    again = stage.run(work)
    names = sorted({*artifacts.content_hashes(again), *_own_files(folder)})
    differing = [name for name in names if not is_same_file(folder / name, again / name)]
    detail = f"differs: {', '.join(differing)}" if differing else f"{len(names)} files are equal"
    return Check(f"{folder.name}, made again from its settings and inputs, is the same", not differing, detail)


def _own_files(folder: Path) -> list[str]:
    """Return the hashed files of an artifact, without those of artifacts inside it (a run's evaluation)."""
    return [
        name
        for name in artifacts.content_hashes(folder)
        if not artifacts.is_artifact((folder / name).parent) or "/" not in name
    ]


def is_same_file(path: Path, other: Path) -> bool:
    """Return True where two files hold the same, up to rounding of numbers."""
    if not (path.is_file() and other.is_file()):
        return False
    if artifacts.file_hash(path) == artifacts.file_hash(other):
        return True
    if path.suffix == ".npy":
        return is_close(read_array(path), read_array(other))
    if path.suffix == ".safetensors":
        one, two = ({name: table.numpy() for name, table in read_tensors(file).items()} for file in (path, other))
        return one.keys() == two.keys() and all(is_close(one[name], two[name]) for name in one)
    if path.suffix == ".parquet":
        return is_same_table(read_parquet(path), read_parquet(other))
    return False


def is_same_table(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Return True where two tables are equal, up to rounding of numbers."""
    try:
        assert_frame_equal(one, other, check_exact=False, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except AssertionError:
        return False
    return True


def is_close(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Return True where two arrays are equal up to rounding, NaN at the same places included."""
    if one.shape != other.shape:
        return False
    one, other = one.astype(np.float64), other.astype(np.float64)
    bound = TOLERANCE * float(np.nanmax(np.abs(other), initial=0.0))
    return bool(np.allclose(one, other, rtol=0.0, atol=bound, equal_nan=True))
