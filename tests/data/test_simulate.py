"""Simulated data: the presets, the ground truth, and its absence from splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from hardneg import artifacts, pipeline
from hardneg.data import dataset as datasets
from hardneg.data import truth as truths
from hardneg.data.dataset import Dataset
from hardneg.data.simulate import DEPARTMENTS, PRESETS, SimulationConfig, simulate_store
from hardneg.data.split import Vocabulary
from hardneg.data.splitters import SplitConfig, make_split
from hardneg.data.truth import Truth
from hardneg.errors import DataError
from hardneg.pipeline import simulate_stage

N_USERS, N_ITEMS = 60, 80
SMALL = SimulationConfig(n_users=N_USERS, n_items=N_ITEMS, shown=30, like_rate=0.1)
Made = tuple[Dataset, Truth]


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    return {name: simulate_store(SMALL.model_copy(update={"text": name})) for name in PRESETS}


def test_shapes(made: dict[str, Made]) -> None:
    dataset, truth = made["informative"]
    assert dataset.interactions.columns == ["user_id", "item_id", "timestamp", "review"]
    assert dataset.items.columns == ["item_id", "title", "brand", "categories", "attributes", "description"]
    assert dataset.items["item_id"].to_list() == [f"i{n}" for n in range(N_ITEMS)]
    n_traits = truth.item_traits.shape[1]
    assert truth.user_preferences.shape == (N_USERS, n_traits)
    assert truth.item_traits.shape == (N_ITEMS, n_traits)
    assert n_traits == len(DEPARTMENTS) * 9 + SMALL.hidden_traits
    assert truth.item_quality.shape == (N_ITEMS,)
    assert truth.user_offsets.shape == (N_USERS,)
    assert len(dataset.interactions) > N_USERS


def test_the_same_seed_gives_the_same_data_and_another_seed_other_data(made: dict[str, Made]) -> None:
    dataset, truth = made["informative"]
    again, same = simulate_store(SMALL)
    assert again.interactions.equals(dataset.interactions)
    assert again.items.equals(dataset.items)
    assert all((getattr(same, name) == value).all() for name, value in vars(truth).items())
    other, _ = simulate_store(SMALL.model_copy(update={"seed": 1}))
    assert not other.interactions.select("user_id", "item_id").equals(dataset.interactions.select("user_id", "item_id"))


def test_no_pair_is_observed_twice(made: dict[str, Made]) -> None:
    for dataset, _ in made.values():
        assert not dataset.interactions.select("user_id", "item_id").is_duplicated().any()


def test_a_user_likes_the_configured_share_of_the_catalogue(made: dict[str, Made]) -> None:
    likes = made["informative"][1].like_probabilities(np.arange(N_USERS))
    assert likes.shape == (N_USERS, N_ITEMS)
    np.testing.assert_allclose(likes.mean(axis=1), SMALL.like_rate, rtol=1e-4)


def test_the_presets_differ_in_text_only(made: dict[str, Made]) -> None:
    dataset, truth = made["informative"]
    for name in ("weak", "misleading"):
        other, same = made[name]
        columns = ["user_id", "item_id", "timestamp"]
        assert other.interactions.select(columns).equals(dataset.interactions.select(columns))
        assert all((getattr(same, array) == value).all() for array, value in vars(truth).items())
        assert not other.items.equals(dataset.items)
    assert [PRESETS[name].model_copy(update={"text": "weak"}) for name in PRESETS] == [PRESETS["weak"]] * 3


def named_traits(dataset: Dataset) -> list[tuple[str, ...]]:
    """Department and features that each text names."""
    items = dataset.items
    departments = items["categories"].str.split(", ").list.get(0).to_list()
    return [(d, *f.split(", ")) for d, f in zip(departments, items["attributes"].to_list(), strict=True)]


def true_traits(truth: Truth) -> list[tuple[str, ...]]:
    """Department and set of features that each item has."""
    n = len(DEPARTMENTS)
    found: list[tuple[str, ...]] = []
    for row in truth.item_traits:
        (d,) = np.flatnonzero(row[:n])
        features = np.flatnonzero(row[n : n + 8 * n])
        assert (features // 8 == d).all()
        found.append((DEPARTMENTS[d].name, *sorted(DEPARTMENTS[d].features[f % 8] for f in features)))
    return found


def test_misleading_texts_are_those_of_other_items(made: dict[str, Made]) -> None:
    dataset, truth = made["misleading"]
    named = [(d, *sorted(features)) for d, *features in named_traits(dataset)]
    real = true_traits(truth)
    assert sorted(named) == sorted(real), "a permutation of the traits"
    assert np.mean([s == r for s, r in zip(named, real, strict=True)]) < 0.2


def test_texts_name_the_configured_share_of_traits() -> None:
    """Share of correct departments: 1 - noise, and a tenth of the noise by chance."""
    shares = {}
    for name in PRESETS:
        dataset, truth = simulate_store(SMALL.model_copy(update={"text": name, "n_items": 1000, "n_users": 10}))
        pairs = zip(named_traits(dataset), true_traits(truth), strict=True)
        shares[name] = np.mean([named[0] == real[0] for named, real in pairs])
    assert shares["informative"] == pytest.approx(0.8 + 0.2 / 10, abs=0.05)
    assert shares["weak"] == pytest.approx(0.4 + 0.6 / 10, abs=0.05)
    assert shares["misleading"] == pytest.approx(1 / 10, abs=0.05)


def test_a_review_names_a_feature_that_the_item_s_text_names(made: dict[str, Made]) -> None:
    for dataset, _ in made.values():
        named = dict(zip(dataset.items["item_id"], named_traits(dataset), strict=True))
        for item, review in dataset.interactions.select("item_id", "review").rows():
            assert any(f" {feature}. " in review for feature in named[item][1:]), (item, review)


def test_observed_items_are_liked_more_than_others(made: dict[str, Made]) -> None:
    dataset, truth = made["informative"]
    users, items = (dataset.interactions[c].str.slice(1).cast(pl.Int64).to_numpy() for c in ("user_id", "item_id"))
    assert truth.like_probability(users, items).mean() > 2 * SMALL.like_rate


@pytest.mark.parametrize("change", [{"n_users": 9}, {"n_items": 49}, {"shown": 4}, {"like_rate": 0.5}, {"text": "x"}])
def test_invalid_sizes_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        SimulationConfig(**change)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------------- truth


def test_the_probability_of_a_pair_equals_its_formula_and_the_matrix(made: dict[str, Made]) -> None:
    truth = made["weak"][1]
    matrix = truth.like_probabilities(np.arange(N_USERS))
    pairwise = truth.like_probability(np.arange(N_USERS)[:, None], np.arange(N_ITEMS))
    assert pairwise.shape == matrix.shape == (N_USERS, N_ITEMS)
    np.testing.assert_allclose(pairwise, matrix, rtol=1e-4, atol=1e-6)
    assert ((matrix >= 0) & (matrix <= 1)).all()
    for u, i in [(0, 0), (7, 50), (59, 79)]:
        score = float(np.dot(truth.user_preferences[u].astype(float), truth.item_traits[i]))
        score += truth.item_quality[i] - truth.user_offsets[u]
        assert matrix[u, i] == pytest.approx(1 / (1 + np.exp(-score)), rel=1e-3)
    some = truth.like_probability(np.array([3, 5]), np.array([[1], [2], [4]]))
    assert some.shape == (3, 2)
    assert some[2, 1] == pytest.approx(matrix[5, 4], rel=1e-4)


def test_sigmoid_does_not_overflow() -> None:
    with np.errstate(all="raise"):
        found = truths.sigmoid(np.array([-1e4, -1.0, 0.0, 1e4]))
    assert found.tolist() == pytest.approx([0, 1 / (1 + np.e), 0.5, 1])


def test_truth_is_reindexed_to_a_split(made: dict[str, Made]) -> None:
    dataset, truth = made["informative"]
    split = make_split(dataset, SplitConfig())
    numbered = truth.reindex(split.vocabulary)
    assert numbered.user_preferences.shape[0] == split.train.n_users
    assert numbered.item_traits.shape[0] == split.train.n_items
    for user, item in [(0, 0), (5, 9), (split.train.n_users - 1, split.train.n_items - 1)]:
        raw = int(split.vocabulary.user_ids[user][1:]), int(split.vocabulary.item_ids[item][1:])
        expected = truth.like_probability(*map(np.array, raw))
        assert numbered.like_probability(np.array(user), np.array(item)) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("ids", "first"),
    [
        (Vocabulary(["u0", "anna"], ["i0"]), "anna"),
        (Vocabulary(["u0"], ["i0", f"i{N_ITEMS}"]), f"i{N_ITEMS}"),
        (Vocabulary(["u-1"], ["i0"]), "u-1"),
    ],
)
def test_the_truth_of_another_dataset_is_refused(made: dict[str, Made], ids: Vocabulary, first: str) -> None:
    with pytest.raises(DataError, match=rf"1 ids in the split that the simulated dataset lacks \(first: '{first}'\)"):
        made["weak"][1].reindex(ids)


def test_simulated_data_read_back_with_their_truth(made: dict[str, Made], tmp_path: Path) -> None:
    simulate_stage(SMALL).run(tmp_path / "store")
    dataset, truth = made["informative"]
    again, same = datasets.read_dataset(tmp_path / "store"), truths.read_truth(tmp_path / "store")
    assert again.interactions.equals(dataset.interactions)
    assert again.items.equals(dataset.items)
    assert all((getattr(same, name) == value).all() for name, value in vars(truth).items())
    assert artifacts.is_finished(tmp_path / "store", artifacts.artifact_key("dataset", SMALL.model_dump(), {}))


def test_a_split_folder_contains_no_truth(tmp_path: Path) -> None:
    simulate_stage(SMALL).run(tmp_path / "store")
    assert (tmp_path / "store" / "truth" / "factors.safetensors").is_file()
    pipeline.split_stage(tmp_path / "store", SplitConfig()).run(tmp_path / "split")
    files = {path.relative_to(tmp_path / "split").as_posix() for path in (tmp_path / "split").rglob("*")}
    assert files == {
        *("train.parquet", "valid.parquet", "test.parquet", "users.parquet", "items.parquet"),
        *("train_reviews.parquet", "manifest.json"),
    }
    with pytest.raises(DataError, match=r"split holds no truth/"):
        truths.read_truth(tmp_path / "split")


def test_a_broken_truth_file_is_named(tmp_path: Path) -> None:
    simulate_stage(SMALL).run(tmp_path / "store")
    (tmp_path / "store" / "truth" / "factors.safetensors").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"factors\.safetensors (is no readable|differs)"):
        truths.read_truth(tmp_path / "store")


def test_an_interrupted_simulation_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(truths, "save_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate_stage(SMALL).run(tmp_path / "store")
    assert not (tmp_path / "store").exists()
    simulate_stage(SMALL).run(tmp_path / "store")
    assert truths.read_truth(tmp_path / "store").user_preferences.shape[0] == N_USERS
