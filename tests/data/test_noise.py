"""Noise in train: the configured amount, without changes of held-out pairs, and recorded."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.edited_folders import accept_changes

from hardneg import artifacts, pipeline
from hardneg.data import Interactions, Split, Vocabulary
from hardneg.data import noise as noises
from hardneg.data import split as splits
from hardneg.data.interactions import union
from hardneg.data.noise import NoiseConfig, make_noisy_split
from hardneg.data.truth import Truth
from hardneg.diagnostics import check_split
from hardneg.errors import ConfigError, DataError

N_USERS, N_ITEMS = 5, 7
PARTS = st.dictionaries(
    st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), st.sampled_from(["train", "valid", "test"])
)
RATES = st.sampled_from([0.0, 0.1, 0.5, 0.99])


def of(parts: dict[tuple[int, int], str]) -> Split:
    vocabulary = Vocabulary([f"u{n}" for n in range(N_USERS)], [f"i{n}" for n in range(N_ITEMS)])
    rows = [(f"u{u}", f"i{i}", part, "said") for (u, i), part in sorted(parts.items())]
    schema = ["user_id", "item_id", "split", "review"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String), orient="row")
    return Split.of(frame, vocabulary, pl.DataFrame({"item_id": vocabulary.item_ids}))


def pairs(found: Interactions) -> set[tuple[int, int]]:
    return set(zip(found.users.tolist(), found.items.tolist(), strict=True))


@given(PARTS, RATES, RATES, st.sampled_from(["uniform", "popularity"]), st.integers(0, 3))
def test_train_loses_the_hidden_and_gains_the_added_pairs(
    parts: dict[tuple[int, int], str], false_positives: float, hidden: float, by: str, seed: int
) -> None:
    split = of(parts)
    noisy, noise = make_noisy_split(
        split, NoiseConfig(false_positives=false_positives, hidden=hidden, by=by, seed=seed)
    )
    before, after = pairs(split.train), pairs(noisy.train)
    assert after == before - pairs(noise.hidden) | pairs(noise.added)
    assert pairs(noise.hidden) <= before
    assert not pairs(noise.added) & (before | pairs(split.valid) | pairs(split.test))
    assert pairs(noisy.valid) == pairs(split.valid)
    assert pairs(noisy.test) == pairs(split.test)
    assert {u for u, _ in before} == {u for u, _ in before - pairs(noise.hidden)}
    reasons = Counter({entry.reason: entry.count for entry in noisy.row_report})
    n = len(before)
    assert len(noise.hidden) + reasons["that are the only train pair of their user"] == round(hidden * n)
    assert len(noise.added) + reasons["for which no new item was found"] == round(false_positives * n)
    assert all(check.passed for check in check_split(noisy, noisy=True))  # no review of a hidden pair among them
    again, _ = make_noisy_split(split, NoiseConfig(false_positives=false_positives, hidden=hidden, by=by, seed=seed))
    assert pairs(again.train) == after


def test_draws_of_held_out_pairs_are_counted(store: tuple[Split, Truth]) -> None:
    """As many as chance foretells; without held-out pairs none."""
    split, rate = store[0], 0.5
    held_out = union(split.valid, split.test)
    nothing = Interactions(*np.empty((2, 0), np.int64), split.train.n_users, split.train.n_items)
    counted = []
    for one in (split, replace(split, valid=nothing, test=nothing)):
        made = [
            make_noisy_split(one, NoiseConfig(false_positives=rate, hidden=0, seed=seed))[0].row_report
            for seed in range(10)
        ]
        found = (entry.count for row_report in made for entry in row_report if "although held out" in entry.reason)
        counted.append(sum(found) / len(made))
    free = split.train.n_items - split.train.counts[split.train.users]
    expected = rate * (held_out.counts[split.train.users] / (free - held_out.counts[split.train.users])).sum()
    assert counted[0] == pytest.approx(expected, rel=0.2)
    assert counted[1] == 0


def test_users_get_equal_shares_and_popular_items_more_by_popularity(store: tuple[Split, Truth]) -> None:
    train = store[0].train
    rates, popularity = {}, {}
    for by in ("uniform", "popularity"):
        noisy, noise = make_noisy_split(store[0], NoiseConfig(false_positives=0.5, hidden=0.3, by=by))
        retained = sum(entry.count for entry in noisy.row_report if "only train pair" in entry.reason)
        rates[by] = np.corrcoef(noise.added.counts, train.counts)[0, 1]
        popularity[by] = np.corrcoef(noise.added.item_counts, train.item_counts)[0, 1]
        assert noise.hidden.counts.sum() == round(0.3 * len(train)) - retained
        assert np.corrcoef(noise.hidden.counts, train.counts)[0, 1] > 0.4
    assert min(rates.values()) > 0.4
    assert popularity["popularity"] > 0.5
    assert popularity["uniform"] < 0.2  # items that many have are fresh for few
    one, other = (make_noisy_split(store[0], NoiseConfig(seed=seed))[1] for seed in (0, 1))
    assert pairs(one.added) != pairs(other.added)
    assert pairs(one.hidden) != pairs(other.hidden)


def test_a_noisy_split_is_a_split_and_its_record_is_no_training_data(folders: Path, tmp_path: Path) -> None:
    given = folders / "split"
    config = NoiseConfig(false_positives=0.2, hidden=0.1)
    noisy, noise = make_noisy_split(splits.read_split(given), config)
    pipeline.noise_stage(given, config).run(tmp_path / "noisy")
    for name in ("valid.parquet", "test.parquet", "users.parquet", "items.parquet"):
        assert artifacts.file_hash(tmp_path / "noisy" / name) == artifacts.file_hash(given / name)
    assert splits.training_data_hash(tmp_path / "noisy") != splits.training_data_hash(given)
    assert noises.NOISE_FILE not in splits.TRAINING_DATA
    before = splits.training_data_hash(tmp_path / "noisy")
    pipeline.noise_stage(given, config).run(tmp_path / "noisy")
    record = noises.read_noise(tmp_path / "noisy")
    assert pairs(record.added) == pairs(noise.added)
    assert pairs(record.hidden) == pairs(noise.hidden)
    assert pairs(splits.read_split(tmp_path / "noisy").train) == pairs(noisy.train)
    pl.DataFrame({"user": [0], "item": [0], "noise": ["added"]}).write_parquet(tmp_path / "noisy" / noises.NOISE_FILE)
    accept_changes(tmp_path / "noisy")
    assert splits.training_data_hash(tmp_path / "noisy") == before
    with pytest.raises(DataError, match=r"holds no noise\.parquet"):
        noises.read_noise(given)


def test_noise_is_added_only_once(folders: Path, tmp_path: Path) -> None:
    pipeline.noise_stage(folders / "split", NoiseConfig()).run(tmp_path / "noisy")
    with pytest.raises(ConfigError, match="has noise already"):
        pipeline.noise_stage(tmp_path / "noisy", NoiseConfig()).run(tmp_path / "noisier")
