"""Artifacts as Python objects: each is a finished folder, with its content as polars frames under the original ids."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import polars as pl

from hardneg import artifacts, pipeline
from hardneg.config import parse_config
from hardneg.data import columns as c
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.split import Split
from hardneg.errors import ConfigError, DataError
from hardneg.fitting import METRIC_NAMES
from hardneg.judging import suspects
from hardneg.mining.item_products import NAMED
from hardneg.pipeline import SuspectsUse
from hardneg.pipeline.inference import BELOW, EVALUATION
from hardneg.pipeline.recommendation import describe_unknown
from hardneg.sampling import mined
from hardneg.stage import Stage
from hardneg.text import TextVectors, text_vectors

F = TypeVar("F", bound="ArtifactFolder")


class Workspace:
    """A place for artifacts: a folder, or a temporary one that lives as long as the objects made in it.

    With a folder, a repeated script finds its finished artifacts and does not make them again.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._temporary = TemporaryDirectory(prefix="hardneg-") if folder is None else None
        self.folder = Path(self._temporary.name if self._temporary else str(folder))

    def run(self, stage: Stage, *, earlier: Path | None = None) -> Path:
        """Make an artifact, unless it is finished, in a subfolder that is named by its kind and key.

        earlier: a folder with a shorter version of it (`Stage.run`).
        """
        return stage.run(self.folder / f"{stage.kind.replace(' ', '-')}-{stage.key()[:12]}", earlier=earlier)


@dataclass(frozen=True)
class ArtifactFolder:
    """A finished artifact. folder: its place. workspace: where artifacts made from it are written."""

    folder: Path
    workspace: Workspace

    @property
    def notes(self) -> dict[str, Any]:
        """The notes of the manifest: counts, coverage, rows left out."""
        notes: dict[str, Any] = artifacts.read_manifest(self.folder, str(artifacts.kind_at(self.folder)))["notes"]
        return notes

    def save(self, folder: str | Path) -> Path:
        """Copy the artifact to a folder, which the command line accepts as well, and return the folder.

        Raises ConfigError where the folder holds something else.
        """
        target = Path(folder)
        if not artifacts.is_finished(target, str(artifacts.key_at(self.folder))):
            shutil.copytree(self.folder, target, dirs_exist_ok=True)
        return target

    def export(
        self,
        to: pipeline.ExportFormat,
        folder: str | Path,
        *,
        split: SplitFolder | str | Path | None = None,
        profiles: ProfilesFolder | str | Path | None = None,
    ) -> Path:
        """Write a run, negatives or a split in the format of another library, and return the folder.

        split: that of the negatives, or of a run if it is no longer where it was. profiles: whose texts of users are the
        anchors of triplets. Raises ConfigError where the format does not exist for this artifact.
        """
        given = [
            Path(part.folder if isinstance(part, ArtifactFolder) else part) if part else None
            for part in (split, profiles)
        ]
        return pipeline.export_stage(self.folder, to, *given).run(Path(folder))

    def _frame(self, file: str) -> pl.DataFrame:
        return read_parquet(self.folder / file)


@dataclass(frozen=True)
class DatasetFolder(ArtifactFolder):
    """Interactions and item texts."""

    def to_polars(self) -> pl.DataFrame:
        """Return the interactions: user_id, item_id and, if known, rating, timestamp, review, split."""
        return self._frame("interactions.parquet")

    @property
    def items(self) -> pl.DataFrame:
        """The item texts: item_id, title and further text columns."""
        return self._frame("items.parquet")


@dataclass(frozen=True)
class SplitFolder(ArtifactFolder):
    """Train, validation and test pairs, the ids, the item texts and the train reviews."""

    def to_polars(self) -> pl.DataFrame:
        """Return all pairs: split ("train", "valid" or "test"), user_id, item_id."""
        user_ids, item_ids = self._frame("users.parquet")[c.USER_ID], self._frame("items.parquet")[c.ITEM_ID]
        parts = []
        for part in c.PARTS:
            pairs = self._frame(f"{part}.parquet")
            ids = {c.USER_ID: user_ids.gather(pairs[c.USER]), c.ITEM_ID: item_ids.gather(pairs[c.ITEM])}
            parts.append(pl.DataFrame(ids).select(pl.lit(part).alias(c.SPLIT), pl.all()))
        return pl.concat(parts)

    def read(self) -> Split:
        """Return the split as arrays under dense indices."""
        return splits.read_split(self.folder)


@dataclass(frozen=True)
class ProfilesFolder(ArtifactFolder):
    """Profiles of users and items."""

    def to_polars(self) -> pl.DataFrame:
        """Return side ("user" or "item"), id, profile, reasoning, source."""
        sides = [(name, self._frame(f"{name}s.parquet")) for name in ("user", "item")]
        return pl.concat(
            frame.rename({f"{name}_id": "id"}).select(pl.lit(name).alias("side"), pl.all()) for name, frame in sides
        )


@dataclass(frozen=True)
class NegativesFolder(ArtifactFolder):
    """A hard negative for every train pair."""

    def to_polars(self) -> pl.DataFrame:
        """Return user_id, positive_item_id, item_id, negative_text, similarity, reasoning, source; none where the
        negatives are vectors only."""
        return self._frame("negatives.parquet").drop("row")

    @property
    def named(self) -> pl.DataFrame:
        """The products that a model named for each item (`named.parquet`), with what each was grounded to.

        Raises DataError where negatives were not named per item.
        """
        if not (self.folder / NAMED).is_file():
            raise DataError(f"{self.folder} has no products of items, expected negatives by generate(per='item')")
        return self._frame(NAMED)


@dataclass(frozen=True)
class NeighboursFolder(ArtifactFolder):
    """Nearest neighbours of every item, for the sampler semantic-mixing."""


@dataclass(frozen=True)
class TreesFolder(ArtifactFolder):
    """The structural and the semantic item tree."""

    def to_polars(self) -> pl.DataFrame:
        """Return item_id and its path codes, structural and semantic."""
        return self._frame("codes.parquet").drop(c.ITEM)


@dataclass(frozen=True)
class VectorsFolder(ArtifactFolder):
    """Text vectors of items and users."""

    def read(self) -> TextVectors:
        """Return the vectors as arrays under dense indices, rows of NaN without a text."""
        return text_vectors.read_text_vectors(self.folder)


@dataclass(frozen=True)
class SuspectsFolder(ArtifactFolder):
    """Candidates of every train user with the probability that the user likes them. use: by a run."""

    use: SuspectsUse | None = None

    def to_polars(self) -> pl.DataFrame:
        """Return user_id, item_id, probability (null without a label), judge."""
        return self._frame("suspects.parquet")

    def used(self, use: str, **settings: Any) -> SuspectsFolder:
        """Return the suspects with their use by a run: "exclude", "positives", "both", "penalize", "weigh" or "triplets".

        settings: threshold, weight, graph, strength, share or prune of `SuspectsUse`.
        """
        return replace(self, use=SuspectsUse.model_validate({"use": use, **settings}))


@dataclass(frozen=True)
class RunFolder(ArtifactFolder):
    """A trained run. split: the split that it was trained on, if known."""

    split: SplitFolder | None = None

    def to_polars(self) -> pl.DataFrame:
        """Return the validation curve: epoch, split, metric, value."""
        return self._frame("metrics.parquet")

    def evaluate(self, split: SplitFolder | str | Path | None = None, *, ks: Sequence[int] = (10, 20)) -> pl.DataFrame:
        """Score the run on the test pairs: metric, k, value. All items are ranked, observed train items are masked.

        split: that of the run; needed for a run that was loaded. Warns of a run clearly below the most popular items.
        Raises ConfigError without a split or for another one.
        """
        metrics = tuple(f"{metric}@{k}" for metric in METRIC_NAMES for k in ks)
        folder = pipeline.evaluate_run(self.folder, self._split_folder(split), metrics)
        notes = artifacts.read_manifest(folder, EVALUATION)["notes"]
        if BELOW in notes:
            warnings.warn(f"{self.folder} is {BELOW}: {notes[BELOW]}", stacklevel=2)
        return (
            read_parquet(folder / "metrics.parquet").filter(pl.col("k").is_in(list(ks))).select("metric", "k", "value")
        )

    def rerank(
        self, suspects: SuspectsFolder, split: SplitFolder | str | Path | None = None, **settings: Any
    ) -> RunFolder:
        """Return a run whose judged candidates are reranked; the judge's weight is chosen on validation pairs.

        split: that of the run; needed for a run that was loaded. settings: weights and select of `RerankConfig`.
        """
        config: pipeline.RerankConfig = parse_config(pipeline.RerankConfig, settings, where="rerank")
        stage = pipeline.rerank_stage(self.folder, self._split_folder(split), suspects.folder, config)
        return RunFolder(self.workspace.run(stage), self.workspace, self.split)

    def recommend(
        self,
        users: str | Iterable[str],
        k: int = 10,
        *,
        mask: pipeline.Mask = "known",
        split: SplitFolder | str | Path | None = None,
    ) -> pl.DataFrame:
        """Return the k best items of each user that are not masked: user_id, rank, item_id, title, score.

        mask: "known", all that the user is known to have, held-out pairs and other ids of a product included; "train",
        train pairs alone, as in `evaluate`. split: that of the run, if it is no longer where it was. Warns of unknown
        users, and raises DataError where no user is known.
        """
        ids = [users] if isinstance(users, str) else list(users)
        where = None if split is None and self.split is None else self._split_folder(split)
        best = pipeline.make_recommendations(self.folder, ids, k, mask, where)
        if best.unknown:
            warnings.warn(f"{self.folder} has no {describe_unknown(best.unknown)}; left out", stacklevel=2)
        return best.table

    def write_recommendations(
        self,
        out: str | Path,
        k: int = 20,
        *,
        users: Iterable[str] | None = None,
        mask: pipeline.Mask = "known",
        split: SplitFolder | str | Path | None = None,
    ) -> pipeline.RecommendationCounts:
        """Write the k best items of all users, or of some, to a .parquet or .csv file, in bounded memory.

        mask, split: as in `recommend`. A CSV file has titles escaped for spreadsheets; both have the ids as they are.
        """
        ids = None if users is None else list(users)
        where = None if split is None and self.split is None else self._split_folder(split)
        return pipeline.write_recommendations(self.folder, Path(out), k, user_ids=ids, mask=mask, split_dir=where)

    def similar(self, item_id: str, k: int = 10, *, vectors: str | Path | None = None) -> pl.DataFrame:
        """Return the k items nearest to an item: rank, item_id, title, similarity.

        vectors: a vectors folder of the run's split, or a file of own vectors, to compare in place of item embeddings.
        """
        where = None if vectors is None else Path(vectors)
        return pipeline.find_similar_items(self.folder, item_id, k, where).table

    def _split_folder(self, split: SplitFolder | str | Path | None) -> Path:
        if isinstance(split, SplitFolder):
            return split.folder
        if split is not None:
            return Path(split)
        if self.split is None:
            raise ConfigError(f"{self.folder} was loaded without its split; pass evaluate(split)")
        return self.split.folder


@dataclass(frozen=True)
class Bundle(ArtifactFolder):
    """A recommender that needs no split: the scores of a run, item titles and all known pairs."""

    @cached_property
    def recommender(self) -> pipeline.Recommender:
        """The arrays, read once."""
        return pipeline.open_recommender(self.folder)

    def recommend(self, users: str | Iterable[str], k: int = 10) -> pl.DataFrame:
        """Return the k best items of each user that the user does not have: user_id, rank, item_id, title, score.

        Warns of unknown users, and raises DataError where no user is known.
        """
        ids = [users] if isinstance(users, str) else list(users)
        found, unknown = self.recommender.find_users(ids, self.folder)
        if unknown:
            warnings.warn(f"{self.folder} has no {describe_unknown(unknown)}; left out", stacklevel=2)
        return self.recommender.rank(found, k).table


def load_bundle(folder: str | Path) -> Bundle:
    """Return a bundle that `export` wrote."""
    return _load(Bundle, folder, pipeline.BUNDLE)


def load_dataset(folder: str | Path) -> DatasetFolder:
    """Return a dataset folder that a command or `save` wrote."""
    return _load(DatasetFolder, folder, datasets.KIND)


def load_split(folder: str | Path) -> SplitFolder:
    """Return a split folder that a command or `save` wrote."""
    return _load(SplitFolder, folder, splits.KIND)


def load_negatives(folder: str | Path) -> NegativesFolder | NeighboursFolder | SuspectsFolder:
    """Return a folder of negatives, item neighbours or suspects that a command or `save` wrote."""
    kinds: dict[str, type[NegativesFolder | NeighboursFolder | SuspectsFolder]] = {
        mined.KIND: NegativesFolder,
        mined.NEIGHBOURS: NeighboursFolder,
        suspects.KIND: SuspectsFolder,
    }
    kind = artifacts.kind_at(Path(folder))
    if kind not in kinds:
        raise DataError(f"{folder} is a {kind or 'folder without a manifest'}, expected one of {', '.join(kinds)}")
    return _load(kinds[kind], folder, kind)


def load_run(folder: str | Path) -> RunFolder:
    """Return a run folder that a command or `save` wrote."""
    return _load(RunFolder, folder, pipeline.RUN)


def _load(kind: type[F], folder: str | Path, name: str) -> F:
    artifacts.read_manifest(Path(folder), name)
    return kind(Path(folder), Workspace())
