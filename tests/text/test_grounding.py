"""Grounding against a slow loop, with equal titles, missing vectors and calibrated limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.data import Interactions
from hardneg.text import grounding
from hardneg.text.grounding import (
    EXACT,
    HISTORY,
    NEAREST,
    NONE,
    NORMALISED,
    OTHER_ID,
    OUTSIDE,
    EncodedCatalogue,
    GroundingConfig,
    Matches,
    TitleIndex,
    history_limit,
    match,
    normalise_title,
    reasons_against,
)


def test_groups_of_a_catalogue() -> None:
    names = TitleIndex.of(["The Tent", "", "tent", "?!", "Pan", "?!", "the tent", "!!", "The Tent"])
    assert names.groups.tolist() == [0, -1, 0, 1, 2, 1, 0, 3, 0]
    assert names.first.tolist() == [0, 3, 4, 7]
    assert names.distinct == ["The Tent", "tent", "?!", "Pan", "the tent", "!!"]
    assert names.exact == {"The Tent": 0, "tent": 2, "?!": 3, "Pan": 4, "the tent": 6, "!!": 7}
    assert names.loose == {"tent": 0, "pan": 4}
    assert names.variants(np.array([2, 1])) == ("The Tent", "tent", "the tent")
    assert names.variants(np.array([5])) == ("?!",)


def test_owned_titles_of_users() -> None:
    names = TitleIndex.of(["Tent", "", "tent", "Pan"])
    train = Interactions.of(np.array([0, 0, 1]), np.array([2, 1, 3]), n_users=2, n_items=4)
    owned = names.owned(train)
    assert owned.contains(np.array([[0], [1]]), np.arange(4)).tolist() == [
        [True, True, True, False],
        [False] * 3 + [True],
    ]


@given(st.lists(st.text(max_size=4) | st.sampled_from(["the a", "A", "a!", "!"]), max_size=8))
def test_groups_equal_the_slow_loop(texts: list[str]) -> None:
    names = TitleIndex.of(texts)
    for one, text in enumerate(texts):
        same = [
            other
            for other, read in enumerate(texts)
            if text.strip()
            and read.strip()
            and (normalise_title(text) or f"={text}") == (normalise_title(read) or f"={read}")
        ]
        if text.strip():
            assert np.flatnonzero(names.groups == names.groups[one]).tolist() == same
            assert names.first[names.groups[one]] == same[0]
        else:
            assert names.groups[one] == -1


WORDS = ("red", "green", "kettle", "pan", "tent", "The", "mat!", "stove")


def encode(texts: list[str]) -> np.ndarray:
    """Return word counts of unit length; NaN for a text without words."""
    rows = np.array([[text.lower().split().count(word.lower()) for word in WORDS] for text in texts], np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 0, rows / np.maximum(lengths, 1e-9), np.nan).astype(np.float32)


def loop_match(
    texts: list[str], titles: list[str], config: GroundingConfig, own: list[int] | None = None
) -> list[tuple[int, int]]:
    """Match one text at a time, to no title of its own item where another is near enough; return item and match type."""
    vectors, found = encode(titles), []
    for text, vector, owner in zip(texts, encode(texts), own or [-1] * len(texts), strict=True):
        excluded = normalise_title(titles[owner]) if owner >= 0 else ""
        same = [i for i, title in enumerate(titles) if title and title == text]
        like = [
            i
            for i, title in enumerate(titles)
            if normalise_title(title) and normalise_title(title) == normalise_title(text)
        ]
        named = (same[0], EXACT) if same else (like[0], NORMALISED) if like else (-1, NONE)
        if (same or like) and not (excluded and normalise_title(text) == excluded):
            found.append(named)
            continue
        best, at = -1.0, -1
        for item, title in enumerate(titles):
            twins = [i for i in range(item) if titles[i] and normalise_title(titles[i]) == normalise_title(title) != ""]
            cosine = float(vector @ vectors[item])
            if not twins and not (excluded and normalise_title(title) == excluded) and cosine > best + 1e-6:
                best, at = cosine, item
        found.append((at, NEAREST) if best >= config.nearest else named)
    return found


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def loop_limit(train: Interactions, vectors: np.ndarray, quantile: float) -> float:
    reached = []
    for user, item in zip(train.users, train.items, strict=True):
        others = [vectors[i] for i in train.items_of(user) if i != item and not np.isnan(vectors[i, 0])]
        if others and not np.isnan(vectors[item, 0]):
            reached.append(cosine(vectors[item], np.sum(others, axis=0)))
    return float(np.quantile(reached, quantile)) if reached and quantile < 1 else np.inf


def loop_reasons(
    rows: list[int], texts: list[str], titles: list[str], train: Interactions, config: GroundingConfig
) -> list[int]:
    """Check one text of a pair at a time."""
    vectors, limit, found = encode(titles), loop_limit(train, encode(titles), config.history), []
    for row, text, (item, _) in zip(rows, texts, loop_match(texts, titles, config), strict=True):
        user, positive = int(train.users[row]), int(train.items[row])
        own = train.items_of(user)
        vector = vectors[item] if item >= 0 else encode([text])[0]
        others = [vectors[i] for i in own if i != positive and not np.isnan(vectors[i, 0])]
        if item in own:
            found.append(grounding.OWNED)
        elif item >= 0 and any(normalise_title(titles[i]) == normalise_title(titles[item]) for i in own):
            found.append(grounding.OTHER_ID)
        elif cosine(vector, vectors[positive]) >= config.duplicate - 1e-6:
            found.append(grounding.DUPLICATE)
        elif others and cosine(vector, np.sum(others, axis=0)) > limit + 1e-6:
            found.append(grounding.HISTORY)
        else:
            found.append(grounding.FINE if item >= 0 else grounding.OUTSIDE)
    return found


some_titles = st.lists(st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join), min_size=2, max_size=7)


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[list[str], list[str], list[int], Interactions, GroundingConfig]:
    titles = draw(some_titles)
    pairs = draw(st.sets(st.tuples(st.integers(0, 3), st.integers(0, len(titles) - 1)), min_size=1))
    train = Interactions.of(*np.array(sorted(pairs)).T, n_users=4, n_items=len(titles))
    texts = draw(
        st.lists(st.one_of(st.sampled_from(titles), some_titles.map(lambda t: t[0]), st.just("THE  pan")), min_size=1)
    )
    texts = [text for text in texts if text] or ["pan"]
    rows = [draw(st.integers(0, len(train) - 1)) for _ in texts]
    limits = st.sampled_from([0.5, 0.7, 0.9])  # no cosine of so few words lies within rounding of these
    config = GroundingConfig(
        nearest=draw(limits), duplicate=draw(limits) + 0.04, history=draw(st.sampled_from([0, 0.5, 1]))
    )
    return titles, texts, rows, train, config


@settings(max_examples=150, deadline=None)
@given(catalogues())
def test_grounding_equals_the_slow_loop(
    catalogue_and_texts: tuple[list[str], list[str], list[int], Interactions, GroundingConfig],
) -> None:
    titles, texts, rows, train, config = catalogue_and_texts
    catalogue, vectors = EncodedCatalogue(TitleIndex.of(titles), encode(titles)), encode(texts)
    found = match(texts, vectors, catalogue, config)
    assert list(zip(found.items.tolist(), found.how.tolist(), strict=True)) == loop_match(texts, titles, config)
    against = reasons_against(np.array(rows), np.arange(len(texts)), found, vectors, catalogue, train, config)
    limit = history_limit(train, catalogue.vectors, config.history)
    assert limit == pytest.approx(loop_limit(train, catalogue.vectors, config.history), abs=1e-5)
    expected = loop_reasons(rows, texts, titles, train, config)
    # Where a cosine equals the limit up to rounding, either result is correct.
    border = np.array(
        [{one, other} <= {HISTORY, OUTSIDE, 0} for one, other in zip(against.tolist(), expected, strict=True)]
    )
    assert (against == expected)[~border].all()
    if config.history == 1:
        assert against.tolist() == expected


@settings(max_examples=150, deadline=None)
@given(catalogues(), st.data())
def test_other_items_equal_the_slow_loop(
    catalogue_and_texts: tuple[list[str], list[str], list[int], Interactions, GroundingConfig], data: st.DataObject
) -> None:
    titles, texts, _, _, config = catalogue_and_texts
    own = data.draw(st.lists(st.integers(-1, len(titles) - 1), min_size=len(texts), max_size=len(texts)))
    names = TitleIndex.of(titles)
    matches = match(texts, encode(texts), EncodedCatalogue(names, encode(titles)), config, np.array(own))
    expected = loop_match(texts, titles, config, own)
    assert list(zip(matches.items.tolist(), matches.how.tolist(), strict=True)) == expected
    for item, how, owner in zip(matches.items, matches.how, own, strict=True):
        assert how != NEAREST or owner < 0 or item != owner
        assert how != NEAREST or owner < 0 or names.groups[owner] < 0 or names.groups[item] != names.groups[owner]


TITLES = ["red kettle", "red pan", "green tent", "", "Red Pan!", "green stove"]


@pytest.fixture
def catalogue() -> EncodedCatalogue:
    return EncodedCatalogue(TitleIndex.of(TITLES), encode(TITLES))


def test_names_by_hand(catalogue: EncodedCatalogue) -> None:
    texts = ["red kettle", "The Red PAN", "green tent tent", "mat! mat!", "Red Pan!"]
    found = match(texts, encode(texts), catalogue, GroundingConfig(nearest=0.9))
    assert found.items.tolist() == [0, 1, 2, -1, 4]
    assert found.how.tolist() == [EXACT, NORMALISED, NEAREST, NONE, EXACT]
    assert found.similarity[[0, 2, 3]] == pytest.approx([1.0, 3 / 10**0.5, 0.0], abs=1e-6)


def test_other_items_by_hand(catalogue: EncodedCatalogue) -> None:
    texts = ["red pan", "red pan pan", "Red Pan!", "red kettle", "red"]
    matches = match(texts, encode(texts), catalogue, GroundingConfig(nearest=0.3), np.array([4, 1, 0, 1, 3]))
    assert matches.items.tolist() == [0, 0, 4, 0, 0], "items 1 and 4 have one title; item 3 has none"
    assert matches.how.tolist() == [NEAREST, NEAREST, EXACT, EXACT, NEAREST]
    assert matches.titled.tolist() == [1, -1, 4, 0, -1]
    assert matches.similarity[:2] == pytest.approx([0.5, 1 / 10**0.5], abs=1e-6)
    far = match(texts[:2], encode(texts[:2]), catalogue, GroundingConfig(nearest=0.9), np.array([4, 1]))
    assert far.items.tolist() == [1, -1], "without another item the text stays what it is"
    assert far.how.tolist() == [EXACT, NONE]
    single = EncodedCatalogue(TitleIndex.of(["red pan"]), encode(["red pan"]))
    none = match(["red"], encode(["red"]), single, GroundingConfig(nearest=0.1), np.array([0]))
    assert none.items.tolist() == [-1]
    assert np.isnan(none.similarity).all()


def test_the_user_owns_an_item_of_equal_title(catalogue: EncodedCatalogue) -> None:
    """User 0 has item 4, whose title equals that of item 1: the text matches an owned title."""
    train = Interactions.of(np.array([0, 0, 1]), np.array([4, 5, 0]), n_users=2, n_items=6)
    texts = ["red pan", "stove"]
    vectors = encode(texts)
    found = match(texts, vectors, catalogue, GroundingConfig(nearest=0.9))
    rows, which = np.array([0, 1, 2, 2]), np.array([0, 0, 0, 1])
    against = reasons_against(rows, which, found, vectors, catalogue, train, GroundingConfig(history=1))
    assert against.tolist() == [OTHER_ID, OTHER_ID, 0, OUTSIDE]


def test_blocks_do_not_show(catalogue: EncodedCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 3)) for _ in range(40)]
    train = Interactions.of(
        np.repeat(np.arange(4), 3), np.array([0, 1, 2, 0, 2, 5, 1, 3, 4, 0, 4, 5]), n_users=4, n_items=6
    )
    rows, which, config = rng.integers(12, size=90), rng.integers(40, size=90), GroundingConfig(nearest=0.8)
    own = rng.integers(-1, 6, size=40)

    def found() -> tuple[Matches, np.ndarray]:
        matches = match(texts, encode(texts), catalogue, config, own)
        return matches, reasons_against(rows, which, matches, encode(texts), catalogue, train, config)

    whole, against = found()
    monkeypatch.setattr(grounding, "BLOCK", 7)
    monkeypatch.setattr(grounding, "MAX_CELLS", 15)
    parts, again = found()
    assert (whole.items == parts.items).all()
    assert (against == again).all()
    assert len(set(against.tolist())) > 3


def test_limits_without_a_history_or_vectors() -> None:
    alone = Interactions.of(np.array([0, 1]), np.array([0, 1]), n_users=2, n_items=2)
    vectors = encode(["red", "green"])
    assert history_limit(alone, vectors, 0.5) == np.inf, "nobody has another item"
    nobody = Interactions.of(np.array([], int), np.array([], int), n_users=2, n_items=2)
    assert history_limit(nobody, vectors, 0.5) == np.inf
    blank = EncodedCatalogue(TitleIndex.of(["", ""]), np.full((2, 8), np.nan, np.float32))
    found = match(["red"], encode(["red"]), blank, GroundingConfig())
    assert found.items.tolist() == [-1]
    assert np.isnan(found.similarity).all()
