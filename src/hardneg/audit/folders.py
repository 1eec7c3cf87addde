"""The audit of a folder made from a split: profiles, vectors, negatives, neighbours, labels, trees, suspects."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from hardneg import artifacts
from hardneg.audit.recompute import NO_ORIGIN, NotRebuiltError, Origin, Sources, compare_rebuilt, is_close, stage_of
from hardneg.data import columns as c
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.data.dataset import read_parquet
from hardneg.data.split import Split
from hardneg.diagnostics import (
    Check,
    check_added,
    check_candidates,
    check_nearest,
    check_pairs,
    check_reviews,
    check_titles,
)
from hardneg.judging import suspects
from hardneg.mining import labels
from hardneg.pipeline import RUN, read_run
from hardneg.pipeline.provenance import inherited_note, validation_note
from hardneg.pipeline.suspects import top_candidates
from hardneg.sampling import mined
from hardneg.storage import read_array
from hardneg.text import item_texts, profiles
from hardneg.types import Floats


def audit_folder(
    folder: Path, split_dir: Path, origin: Origin = NO_ORIGIN, *, threshold: float = suspects.THRESHOLD
) -> list[Check]:
    """Check a folder made from a split by whatever method: its origin, statistical signs, and what makes it again.

    The folders that it was made from are checked in the same way, except runs. threshold: of suspects.
    """
    checks, waiting, seen = list[Check](), [folder], set[Path]()
    while waiting:
        current = waiting.pop(0)
        if current.resolve() not in seen:
            seen.add(current.resolve())
            own, used = _audit_one(current, split_dir, origin, threshold)
            checks, waiting = checks + own, waiting + used
    return checks


def _audit_one(folder: Path, split_dir: Path, origin: Origin, threshold: float) -> tuple[list[Check], list[Path]]:
    """Return the checks of one folder, and the folders that it was made from."""
    kind = str(artifacts.kind_at(folder))
    recorded = artifacts.read_manifest(folder, kind)["inputs"].get("training data")
    same = recorded == splits.training_data_hash(split_dir)
    first = check_equal(f"the {kind} were made from the training data of this split", same)
    if not same:
        return [first], []
    chosen = inherited_note(folder)
    if chosen not in ({}, validation_note(split_dir)):
        return [first, check_equal(f"validation pairs of this split chose the run behind the {kind}", same=False)], []
    chance, split = is_divided_by_chance(split_dir), splits.read_split(split_dir)
    again, used = rebuild(folder, split_dir, origin)
    return [first, *_find_signs(folder, kind, split, origin, threshold, chance), *again], used


def check_equal(question: str, same: bool) -> Check:
    """Return the check of two hashes."""
    return Check(question, same, "hashes are equal" if same else "hashes differ")


def rebuild(folder: Path, split_dir: Path, origin: Origin) -> tuple[list[Check], list[Path]]:
    """Make a folder again where that is possible; return the check, and the folders that it was made from, except runs."""
    if origin.open_encoder is None:
        return [], []
    with tempfile.TemporaryDirectory(prefix="hardneg-audit-") as temporary:
        sources = Sources(split_dir, Path(temporary), origin)
        try:
            check = compare_rebuilt(folder, stage_of(folder, sources), sources.work / "again")
        except NotRebuiltError as error:
            check = Check(f"{folder.name} is not made again", True, str(error))
    return [check], [path for path in sources.used if artifacts.kind_at(path) != RUN]


def read_held_out_reviews(dataset: Path, split: Split) -> pl.DataFrame:
    """Return user, item and review of the held-out pairs, which a split does not hold. Empty without reviews."""
    interactions = datasets.read_dataset(dataset).interactions
    empty = pl.DataFrame(schema={c.USER: pl.Int64, c.ITEM: pl.Int64, c.REVIEW: pl.String})
    if c.REVIEW not in interactions.columns:
        return empty
    known = interactions.select(
        pl.col(c.USER_ID).replace_strict(split.vocabulary.users, default=None, return_dtype=pl.Int64).alias(c.USER),
        pl.col(c.ITEM_ID).replace_strict(split.vocabulary.items, default=None, return_dtype=pl.Int64).alias(c.ITEM),
        c.REVIEW,
    ).drop_nulls()
    users, items = (known[name].to_numpy() for name in (c.USER, c.ITEM))
    held_out = split.valid.contains(users, items) | split.test.contains(users, items)
    return known.filter(pl.Series(held_out, dtype=pl.Boolean))


def is_divided_by_chance(split_dir: Path) -> bool:
    """Return True where chance divided the held-out pairs of a split into validation and test."""
    return bool(artifacts.read_manifest(split_dir, splits.KIND)["config"].get("by") == "ratio")


def _find_signs(
    folder: Path, kind: str, split: Split, origin: Origin, threshold: float, by_chance: bool
) -> list[Check]:
    if kind == suspects.KIND:
        judged = suspects.read_suspects(folder, split)
        added = check_added(judged.users, judged.items, split, "candidates", by_chance=by_chance)
        again = _check_candidates_again(folder, judged, split, origin)
        return [*again, added, *check_candidates(judged, split, threshold=threshold)]
    if kind == mined.KIND:
        return _check_negatives(folder, split, origin, by_chance=by_chance)
    if kind == labels.KIND:
        table = read_parquet(folder / labels.SOURCES)
        return [_check_table(table, split, "items of the labels", by_chance=by_chance)]
    if kind == profiles.KIND:
        return _check_profiles(folder, split, origin)
    return []


def _check_candidates_again(folder: Path, judged: suspects.Suspects, split: Split, origin: Origin) -> list[Check]:
    """Rank the candidates again, whatever judged them; nothing where their run is not found."""
    manifest = artifacts.read_manifest(folder, suspects.KIND)
    try:
        run = Sources(folder, folder, origin).find(folder, "run", RUN, manifest["inputs"])
    except NotRebuiltError:
        run = None
    if run is None:
        return []
    expected = top_candidates(read_run(run).score(), split.owned, manifest["config"]["candidates"])
    same = np.array_equal(
        expected.to_suspects(np.zeros(expected.items.shape), "").pairs(split.train).keys, judged.pairs(split.train).keys
    )
    return [
        Check("the candidates are those that the run ranks highest", same, f"{len(judged):,} candidates ranked again")
    ]


def _check_negatives(folder: Path, split: Split, origin: Origin, *, by_chance: bool) -> list[Check]:
    negatives, table = mined.read_negatives(folder, split.vocabulary, len(split.train)), _read_rows(folder)
    checks = [_check_rows(table, split), _check_table(table, split, "negatives", by_chance=by_chance)]
    items = _encode_items(folder, split, origin)
    if items is not None:
        expected = mined.mean_vectors(negatives.items, items)
        same = is_close(np.asarray(negatives.vectors), expected)
        checks.append(
            Check("the vectors are those of the items in the table", same, f"{len(expected):,} pairs encoded")
        )
    else:
        items = _find_item_vectors(folder, origin)
    if items is not None and items.shape[1] == negatives.vectors.shape[1]:
        checks.append(check_nearest(negatives.vectors, items, split, "the vectors", by_chance=by_chance))
    return checks


def _read_rows(folder: Path) -> pl.DataFrame:
    return read_parquet(folder / "negatives.parquet").filter(pl.col("item_id").is_not_null())


def _check_rows(table: pl.DataFrame, split: Split) -> Check:
    """Check that every row of a table belongs to the train pair of its number."""
    rows = table["row"].to_numpy()
    if outside := int((rows >= len(split.train)).sum()):
        return Check(
            "every row belongs to the train pair of its number", False, f"{outside:,} of {len(rows):,} have none"
        )
    expected = pl.DataFrame(mined.id_columns(split.train, split.vocabulary, rows))
    n = (
        table.select(expected.columns)
        .hstack(expected.select(pl.all().name.prefix("of ")))
        .filter(pl.any_horizontal(pl.col(name) != pl.col(f"of {name}") for name in expected.columns))
        .height
    )
    return Check("every row belongs to the train pair of its number", n == 0, f"{n:,} of {len(rows):,} do not")


def _check_table(table: pl.DataFrame, split: Split, name: str, *, by_chance: bool) -> Check:
    """Check the items of a table with columns user_id and item_id."""
    vocabulary = split.vocabulary
    users = table[c.USER_ID].replace_strict(vocabulary.users, return_dtype=pl.Int64).to_numpy()
    items = table[c.ITEM_ID].replace_strict(vocabulary.items, return_dtype=pl.Int64).to_numpy()
    return check_pairs(users, items, split, name, by_chance=by_chance)


def _encode_items(folder: Path, split: Split, origin: Origin) -> Floats | None:
    """Return the vectors of item texts where a folder's vectors are means of them, and its encoder is at hand."""
    manifest = artifacts.read_manifest(folder, mined.KIND)
    of_items = manifest["config"].get("method") == "retrieved"
    if not of_items or origin.open_encoder is None:
        return None
    encoder = origin.open_encoder()
    if encoder.identity != manifest["inputs"].get("encoder"):
        return None
    return encoder.encode(item_texts(split.texts), origin.progress)


def _find_item_vectors(folder: Path, origin: Origin) -> Floats | None:
    """Return the item vectors of the labels that negatives were made from; None where there are none."""
    inputs = artifacts.read_manifest(folder, mined.KIND)["inputs"]
    try:
        found = Sources(folder, folder, origin).find(folder, "labels", labels.KIND, inputs)
    except NotRebuiltError:
        return None
    return None if found is None else np.asarray(read_array(found / labels.ITEMS))


def _check_profiles(folder: Path, split: Split, origin: Origin) -> list[Check]:
    """Check what profiles say: no title of a held-out item, and, with the dataset, no piece of a held-out review."""
    written = profiles.read_profiles(folder)
    users = [" ".join(texts) for texts in zip(written.users, written.user_reasoning or written.users, strict=True)]
    items = [" ".join(texts) for texts in zip(written.items, written.item_reasoning or written.items, strict=True)]
    checks = [check_titles(users, split)]
    if origin.dataset is not None:
        reviews = read_held_out_reviews(origin.dataset, split)
        known = [*item_texts(split.texts), *split.reviews[c.REVIEW].to_list()]
        for name, texts, owner in (("user profiles", users, c.USER), ("item profiles", items, c.ITEM)):
            checks.append(check_reviews(texts, reviews[owner].to_numpy(), reviews[c.REVIEW].to_list(), known, name))
    return checks
