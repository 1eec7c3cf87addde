"""Labels of every pair, their independence of the block, and the effect of averaging."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.edited_folders import accept_changes

from hardneg.data import Interactions
from hardneg.data.split import Vocabulary
from hardneg.errors import DataError
from hardneg.mining import LabelOptions, labels
from hardneg.mining.labels import LabelDraws, draw_label_vectors
from hardneg.models import LightGCNModel, MFModel
from hardneg.random import Stream
from hardneg.sampling import MixGCF, UniformCandidates
from hardneg.stage import Stage
from hardneg.types import Embeddings, Pooling

EXACT = LabelOptions(seed=4, precision="float32")
MIXGCF = MixGCF(candidates=5)


def tables(seen: Interactions, pooling: Pooling = "mean") -> Embeddings:
    with torch.no_grad():
        made: Embeddings = LightGCNModel(seen, embedding_size=8, hops=2, pooling=pooling, seed=1)()
    return made


@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_a_label_equals_the_slow_loop(seen: Interactions, pooling: Pooling) -> None:
    """Candidates, choice, mixing and pooling, one pair and hop at a time."""
    embeddings = tables(seen, pooling)
    result = draw_label_vectors(embeddings, seen, MIXGCF, EXACT)
    rows = np.arange(len(seen))
    shares = Stream(4, "labels", 0).uniform(rows, 3)
    candidates = UniformCandidates(seen).draw(rows, seen.users, n=5, stream=Stream(4, "candidates of labels", 0))
    for row, (user, positive) in enumerate(zip(seen.users, seen.items, strict=True)):
        assert not seen.contains(user, candidates[row]).any()
        parts = []
        for hop, items in enumerate(embeddings.items):
            query = embeddings.users[hop][user] if pooling == "concat" else embeddings.final_users[user]
            best = max(candidates[row], key=lambda item: float(query @ items[item]))
            assert result.sources[row, 0, hop] == best
            parts.append(float(shares[row, hop]) * items[positive] + (1 - float(shares[row, hop])) * items[best])
        expected = torch.cat(parts) if pooling == "concat" else torch.stack(parts).mean(dim=0)
        np.testing.assert_allclose(result.vectors[row], expected.numpy(), atol=1e-6)
    np.testing.assert_array_equal(result.shares[:, 0], shares)


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_a_label_does_not_depend_on_the_block_or_the_other_pairs(seen: Interactions, block: int) -> None:
    options = EXACT.model_copy(update={"draws": 3})
    whole = draw_label_vectors(tables(seen), seen, MIXGCF, options)
    rows = np.array([7, 2, 19, 3])
    some = draw_label_vectors(tables(seen), seen, MIXGCF, options, rows=rows, block=block)
    for name in ("vectors", "each", "sources", "shares"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[rows])


def test_draws_are_distinct_and_the_label_is_their_mean(seen: Interactions) -> None:
    result = draw_label_vectors(tables(seen), seen, MIXGCF, EXACT.model_copy(update={"draws": 4}))
    assert result.each.shape == (len(seen), 4, 8)
    np.testing.assert_allclose(result.vectors, result.each.mean(axis=1), atol=1e-7)
    assert len(np.unique(result.shares)) == result.shares.size
    assert (result.sources[:, 0] != result.sources[:, 1]).any(), "other candidates in every draw"
    one = draw_label_vectors(tables(seen), seen, MIXGCF, EXACT)
    np.testing.assert_array_equal(one.vectors, result.each[:, 0])
    other = draw_label_vectors(tables(seen), seen, MIXGCF, EXACT.model_copy(update={"seed": 5}))
    assert not np.array_equal(one.vectors, other.vectors)


def test_averaging_pulls_a_label_towards_half_the_positive(seen: Interactions) -> None:
    """The rest is half of the chosen item; with one free item, that is the only choice."""
    model = MFModel(seen, embedding_size=8, seed=2)
    with torch.no_grad():
        embeddings = model()
    row = int(np.flatnonzero(seen.users == 5)[0])  # user 5 lacks item 3 alone
    options = EXACT.model_copy(update={"draws": 4000})
    result = draw_label_vectors(embeddings, seen, MIXGCF, options, rows=np.array([row]))
    items = embeddings.items[0].detach().numpy()
    expected = (items[seen.items[row]] + items[3]) / 2
    spread = np.abs(items[seen.items[row]] - items[3]) / np.sqrt(12 * 4000)
    assert (np.abs(result.vectors[0] - expected) < 5 * spread + 1e-6).all()


def test_16_bits_are_the_same_rounded(seen: Interactions) -> None:
    exact, rounded = (draw_label_vectors(tables(seen), seen, MIXGCF, o) for o in (EXACT, LabelOptions(seed=4)))
    assert rounded.vectors.dtype == np.float16
    np.testing.assert_array_equal(rounded.vectors, exact.vectors.astype(np.float16))


def test_comparison_with_positives_by_hand() -> None:
    train = Interactions.of(np.array([0, 0]), np.array([0, 1]), n_users=1, n_items=2)
    items = np.array([[2.0, 0.0], [0.0, 1.0]])
    result = labels.compare_with_positives(np.array([[3.0, 0.0], [1.0, 0.0]]), items, train, block=1)
    assert result == {"cosine with the positive": 0.5, "norm of labels": 2.0, "norm of positives": 1.5}


def test_tables_that_are_not_finite_are_refused(seen: Interactions) -> None:
    embeddings = Embeddings((torch.zeros(6, 2),), (torch.full((12, 2), torch.nan),), "mean")
    with pytest.raises(DataError, match="not finite"):
        draw_label_vectors(embeddings, seen, MIXGCF, EXACT)


def written(seen: Interactions, folder: Path, draws: int = 1) -> LabelDraws:
    embeddings = tables(seen)
    drawn = draw_label_vectors(embeddings, seen, MIXGCF, EXACT.model_copy(update={"draws": draws}))
    vocabulary = Vocabulary([f"u{n}" for n in range(6)], [f"i{n}" for n in range(12)])
    sources = labels.tabulate_sources(drawn, seen, vocabulary)
    Stage(
        labels.KIND, {}, {"run": "of this"}, lambda draft: labels.write_labels(draft, drawn, embeddings, sources)
    ).run(folder)
    return drawn


def test_a_folder_is_read_back(seen: Interactions, tmp_path: Path) -> None:
    drawn = written(seen, tmp_path / "labels", draws=2)
    result = labels.read_labels(tmp_path / "labels", seen)
    np.testing.assert_array_equal(result.vectors, drawn.vectors)
    np.testing.assert_array_equal(result.users, tables(seen).final_users)
    np.testing.assert_array_equal(result.items, tables(seen).final_items)
    np.testing.assert_array_equal(np.load(tmp_path / "labels" / "draws.npy"), drawn.each)


def test_sources_have_original_ids(seen: Interactions) -> None:
    drawn = draw_label_vectors(tables(seen), seen, MIXGCF, EXACT.model_copy(update={"draws": 2}))
    vocabulary = Vocabulary([f"u{n}" for n in range(6)], [f"i{n}" for n in range(12)])
    table = labels.tabulate_sources(drawn, seen, vocabulary)
    assert len(table) == len(seen) * 2 * 3
    row = table.row(9 * 6 + 4, named=True)  # pair row 9, draw 1, hop 1
    assert (row["row"], row["draw"], row["hop"]) == (9, 1, 1)
    assert row["user_id"] == f"u{seen.users[9]}"
    assert row["positive_item_id"] == f"i{seen.items[9]}"
    assert row["item_id"] == f"i{drawn.sources[9, 1, 1]}"
    assert row["share_of_positive"] == drawn.shares[9, 1, 1]


def test_a_folder_of_other_pairs_or_that_is_broken_is_refused(seen: Interactions, tmp_path: Path) -> None:
    written(seen, tmp_path / "labels")
    fewer = Interactions(seen.users[1:], seen.items[1:], 6, 12)
    with pytest.raises(DataError, match="as in the split"):
        labels.read_labels(tmp_path / "labels", fewer)
    (tmp_path / "labels" / "items.npy").write_bytes(b"no array")
    accept_changes(tmp_path / "labels")
    with pytest.raises(DataError, match="no readable npy file"):
        labels.read_labels(tmp_path / "labels", seen)
