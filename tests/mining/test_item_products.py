"""Each pair takes, among the products of its item, the one that fits its user best."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.data import Interactions, Split, Vocabulary
from hardneg.evaluation import fusion
from hardneg.mining import item_products
from hardneg.mining.generated import GeneratedConfig, ground_texts, tabulate_generated
from hardneg.text.generation import item_negatives
from hardneg.text.grounding import GroundingConfig, TitleIndex

WORDS = ("red", "kettle", "pan", "green", "tent", "stove", "blue", "mat", "far", "near")
LIMITS = GroundingConfig(nearest=0.9, history=1)


class Words:
    """Encodes counts of words, at unit length."""

    name = identity = "words"

    def encode(self, texts: list[str], progress: object = None) -> np.ndarray:
        rows = np.array([[text.lower().split().count(word) for word in WORDS] for text in texts], np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(lengths > 0, rows / np.maximum(lengths, 1e-9), np.nan)


def make_split(users: list[int], items: list[int], titles: list[str], n_users: int) -> Split:
    n_items = len(titles)
    train = Interactions.of(np.array(users), np.array(items), n_users=n_users, n_items=n_items)
    empty = Interactions.of(np.array([], int), np.array([], int), n_users=n_users, n_items=n_items)
    ids = Vocabulary([f"u{k}" for k in range(n_users)], [f"i{k}" for k in range(n_items)])
    texts = pl.DataFrame({"item_id": ids.item_ids, "title": titles})
    reviews = pl.DataFrame(schema={"user": pl.Int64, "item": pl.Int64, "review": pl.String})
    return Split(train, empty, empty, ids, texts, reviews)


def name(products: list[list[str]]) -> pl.DataFrame:
    rows = [
        (item, rank, text, "" if text else "the model found none")
        for item, texts in enumerate(products)
        for rank, text in enumerate(texts or [""])
    ]
    return pl.DataFrame(rows, schema=item_negatives.SCHEMA, orient="row")


def assign(split: Split, named: pl.DataFrame, config: GeneratedConfig, suspects: Interactions | None = None):
    """Return grounded texts, user vectors, item vectors and the selection."""
    encoder, names = Words(), TitleIndex.of(split.texts["title"].to_list())
    texts = item_products.expand_to_pairs(named, split.train)
    grounded = ground_texts(texts, names, split, encoder, config.grounding, to_other_items=config.naming != "raw")
    grounded = item_products.add_suspects(grounded, split.train, split.owned, suspects)
    item_vectors = encoder.encode(split.texts["title"].to_list())
    users = fusion.mean_of_items(split.train, item_vectors)
    fit = None if config.naming == "raw" else item_vectors
    return texts, grounded, users, fit, item_products.select_best_fit(grounded, split.train, users, fit, config)


def best_by_loop(split, grounded, users, fit, config, owned, suspects) -> dict[int, int]:
    """Return the draw of each pair, one pair and one text after another."""
    best: dict[int, tuple[float, int]] = {}
    for position, row in enumerate(grounded.rows.tolist()):
        user, positive = int(split.train.users[row]), int(split.train.items[row])
        item = int(grounded.items[position])
        title = split.texts["title"].to_list()
        if item < 0:
            if config.naming != "raw" or grounded.objections[position] not in (0, 1):
                continue
        else:
            if owned[user, item] or (suspects is not None and suspects[user, item]):
                continue
            vectors = Words().encode([title[item], title[positive]])
            if vectors[0] @ vectors[1] >= config.grounding.duplicate:
                continue
        vector = grounded.vectors[grounded.which[position]] if fit is None else fit[item]
        vector = vector.astype(np.float64)
        mean = users[user].astype(np.float64)
        cosine = float(mean @ vector / (np.linalg.norm(mean) * np.linalg.norm(vector)))
        cosine = 0.0 if np.isnan(cosine) else cosine
        draw = int(grounded.draws[position])
        if row not in best or cosine > best[row][0] + 1e-5:
            best[row] = (cosine, draw)
    return {row: draw for row, (_, draw) in best.items()}


@pytest.fixture
def split() -> Split:
    """User 0 has kettle, pan, tent; user 1 tent and stove; user 2 the mat."""
    titles = ["red kettle", "red pan", "green tent", "green stove", "blue mat"]
    return make_split([0, 0, 0, 1, 1, 2], [0, 1, 2, 2, 3, 4], titles, 3)


PRODUCTS = [
    ["blue mat", "green stove"],
    ["Red Pan", "red kettle", "blue mat"],
    ["red pan", "blue mat", "red kettle"],
    [],
    ["far far", "green tent"],
]
GROUNDED = GeneratedConfig(naming="grounded", grounding=LIMITS)


def test_a_pair_takes_the_product_nearest_to_its_user(split: Split) -> None:
    texts, grounded, _, fit, selection = assign(split, name(PRODUCTS), GROUNDED)
    generated = tabulate_generated(texts, grounded, split, GROUNDED, "x", fit, selection)
    taken = generated.grounding.filter("used").select("row", "draw", "item_id").rows()
    # user 0 likes green more than blue; owns pan, kettle. User 1, of a tent, likes neither red nor blue: the first rank.
    assert taken == [(0, 1, "i3"), (1, 2, "i4"), (2, 1, "i4"), (3, 0, "i1"), (5, 1, "i2")]
    assert generated.mined.present.tolist() == [True, True, True, True, False, True]
    np.testing.assert_allclose(generated.mined.vectors[0], fit[3], atol=1e-3)
    reasons = generated.rejected.select("user_id", "positive_item_id", "reason").rows()
    assert ("u0", "i1", "the user has it") in reasons
    assert ("u1", "i3", "the model found none") in reasons
    assert ("u2", "i4", "out of the catalogue") in reasons
    named = item_products.tabulate_named(
        name(PRODUCTS), grounded, selection.used, split, TitleIndex.of(split.texts["title"].to_list())
    )
    assert named.filter(item_id="i1").select("rank", "named_item_id", "how", "flag", "reason", "pairs").rows() == [
        (0, "i1", "normalised", "already chosen", "the item itself", 0),
        (1, "i0", "exact", "", "", 0),
        (2, "i4", "exact", "", "", 1),
    ]
    assert named.filter(item_id="i3").select("rank", "text", "reason", "pairs").rows() == [
        (0, "", "the model found none", 0)
    ]
    assert named.filter(item_id="i4", rank=0)["reason"].to_list() == ["out of the catalogue"]


def test_a_text_is_grounded_to_another_item(split: Split) -> None:
    """The item's own title, and a text near it, give the nearest other item."""
    config = GeneratedConfig(naming="grounded", grounding=GroundingConfig(nearest=0.4, history=1), leave_out=())
    products = name([["blue mat"], ["Red Pan"], ["green tent green"], [], ["blue blue mat"]])
    _, grounded, _, _, selection = assign(split, products, config)
    assert grounded.items.tolist() == [4, 0, 3, 3, -1], "both users of the tent are offered the stove"
    assert selection.used.tolist() == [True, True, True, True, False]
    named = item_products.tabulate_named(
        products, grounded, selection.used, split, TitleIndex.of(split.texts["title"].to_list())
    )
    assert named.filter(item_id="i1").select("named_item_id", "how", "flag", "reason", "pairs").rows() == [
        ("i0", "nearest", "already chosen", "the item itself", 1)
    ]
    assert named.filter(item_id="i2").select("named_item_id", "how", "reason", "pairs").rows() == [
        ("i3", "nearest", "", 2)
    ]


def test_raw_texts_keep_their_own_vector(split: Split) -> None:
    config = GeneratedConfig(naming="raw", grounding=LIMITS)
    texts, grounded, _, fit, selection = assign(split, name(PRODUCTS), config)
    generated = tabulate_generated(texts, grounded, split, config, "x", fit, selection)
    taken = generated.grounding.filter("used").select("row", "negative_text").rows()
    assert (5, "far far") in taken, "ties take the lowest rank, also outside the catalogue"
    assert not any(row == 1 and text == "Red Pan" for row, text in taken), "the item itself is no negative of it"
    np.testing.assert_allclose(generated.mined.vectors[5], Words().encode(["far far"])[0], atol=1e-3)


def test_a_suspect_of_the_user_is_not_taken(split: Split) -> None:
    suspects = Interactions.of(np.array([0]), np.array([3]), n_users=3, n_items=5)
    texts, grounded, _, fit, selection = assign(split, name(PRODUCTS), GROUNDED, suspects)
    generated = tabulate_generated(texts, grounded, split, GROUNDED, "x", fit, selection)
    assert generated.grounding.filter("used", row=0)["item_id"].to_list() == ["i4"]
    assert "a judge labels it as a false negative" in generated.rejected["reason"].to_list()


def test_another_id_of_an_owned_product_is_not_taken() -> None:
    titles = ["red kettle", "Red Kettle.", "green tent", "blue mat"]
    split = make_split([0, 0, 1, 1], [0, 2, 1, 3], titles, 2)
    products = [["blue mat"], ["green tent"], ["Red Kettle.", "blue mat"], ["red kettle", "green tent"]]
    _, grounded, _, _, selection = assign(split, name(products), GROUNDED)
    taken = {
        (int(row), int(item))
        for row, item in zip(grounded.rows[selection.used], grounded.items[selection.used], strict=True)
    }
    assert taken == {(0, 3), (1, 3), (2, 2), (3, 2)}


def test_without_a_user_vector_the_first_rank_is_taken(split: Split) -> None:
    _, grounded, users, fit, _ = assign(split, name(PRODUCTS), GROUNDED)
    selection = item_products.select_best_fit(grounded, split.train, np.full_like(users, np.nan), fit, GROUNDED)
    assert grounded.draws[selection.used][0] == 0


@st.composite
def stores(draw: st.DrawFn):
    titles = draw(
        st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=2).map(" ".join), min_size=3, max_size=7)
    )
    n_users = draw(st.integers(1, 4))
    pairs = {(draw(st.integers(0, n_users - 1)), item) for item in range(len(titles))}
    pairs |= set(draw(st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(0, len(titles) - 1)), max_size=6)))
    users, items = map(list, zip(*sorted(pairs), strict=True))
    text = st.one_of(st.sampled_from(titles), st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join))
    products = draw(st.lists(st.lists(text, max_size=4, unique=True), min_size=len(titles), max_size=len(titles)))
    suspects = draw(st.lists(st.tuples(st.integers(0, n_users - 1), st.integers(0, len(titles) - 1)), max_size=4))
    return make_split(users, items, titles, n_users), products, suspects


@settings(max_examples=60)
@given(stores())
def test_no_pair_takes_its_own_item(world) -> None:
    split, products, _ = world
    if any(products):
        limits = GroundingConfig(nearest=0.1, history=1)
        config = GeneratedConfig(naming="grounded", grounding=limits, leave_out=())
        _, grounded, _, _, selection = assign(split, name(products), config)
        rows = grounded.rows[selection.used]
        assert (grounded.items[selection.used] != split.train.items[rows]).all()


@settings(max_examples=60)
@given(stores(), st.sampled_from(["raw", "grounded", "constrained"]))
def test_no_pair_takes_what_its_user_has_or_a_suspect(world, naming: str) -> None:
    split, products, pairs = world
    if not any(products):
        return
    sizes = {"n_users": split.train.n_users, "n_items": split.train.n_items}
    users, items = (np.array([pair[k] for pair in pairs], int) for k in range(2))
    suspects = Interactions.of(users, items, **sizes)
    config = GeneratedConfig(naming=naming, grounding=LIMITS)
    names = TitleIndex.of(split.texts["title"].to_list())
    _, grounded, vectors, fit, selection = assign(split, name(products), config, suspects)
    used = selection.used
    rows, taken = grounded.rows[used], grounded.items[used]
    assert len(set(rows.tolist())) == len(rows), "one product for each pair"
    holders, known = split.train.users[rows], taken >= 0
    for forbidden in (split.train, split.owned, names.owned(split.train), suspects):
        assert not (known & forbidden.contains(holders, np.maximum(taken, 0))).any()
    owned = names.owned(split.train).matrix().toarray() > 0
    flagged = np.zeros(owned.shape, bool)
    flagged[users, items] = True
    expected = best_by_loop(split, grounded, vectors, fit, config, owned, flagged)
    found = dict(zip(rows.tolist(), grounded.draws[used].tolist(), strict=True))
    assert found.keys() == expected.keys()
    cosines = {
        (int(r), int(d)): c
        for r, d, c in zip(grounded.rows, grounded.draws, _fits(grounded, split, vectors, fit), strict=True)
    }
    for row, draw in found.items():
        assert cosines[row, draw] == pytest.approx(cosines[row, expected[row]], abs=1e-3)


def _fits(grounded, split, users, fit):
    table, which = (grounded.vectors, grounded.which) if fit is None else (fit, grounded.items)
    a, b = users[split.train.users[grounded.rows]], table[which].astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))
