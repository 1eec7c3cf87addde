"""Label probabilities from the most likely first tokens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.llm.protocol import Refusal
from hardneg.llm.remote.endpoint import label_probabilities


def top(**masses: float) -> list[tuple[str, float]]:
    return [(token, math.log(mass)) for token, mass in masses.items()]


def test_by_hand() -> None:
    assert label_probabilities(("yes", "no"), top(yes=0.6, no=0.2, maybe=0.1)) == pytest.approx((0.75, 0.25))


def test_space_case_and_beginnings() -> None:
    shown = [(" Yes", math.log(0.3)), ("ye", math.log(0.1)), ("No", math.log(0.2)), ("yesterday", math.log(0.4))]
    assert label_probabilities(("yes", "no"), shown) == pytest.approx((0.4 / 0.6, 0.2 / 0.6))


def test_case_matters_if_choices_differ_by_it_alone() -> None:
    assert label_probabilities(("a", "A"), [("a", math.log(0.6)), ("A", math.log(0.3))]) == pytest.approx(
        (2 / 3, 1 / 3)
    )


def test_token_that_begins_two_choices_counts_for_none() -> None:
    shown = [("un", math.log(0.5)), ("unlik", math.log(0.2)), ("unsure", math.log(0.2))]
    assert label_probabilities(("unlikely", "unsure"), shown) == pytest.approx((0.5, 0.5))


def test_choice_not_shown_gets_its_upper_bound() -> None:
    by_mass = label_probabilities(("yes", "no"), top(yes=0.95, well=0.03))  # 0.02 was not shown
    assert by_mass == pytest.approx((0.95 / 0.97, 0.02 / 0.97))
    by_rank = label_probabilities(("yes", "no"), top(yes=0.5, well=0.01))  # nothing unseen is more likely than 0.01
    assert by_rank == pytest.approx((0.5 / 0.51, 0.01 / 0.51))


@pytest.mark.parametrize("choices", [("1", "10"), ("yes", "yes"), ("", "no")])
def test_choices_with_a_common_beginning_are_refused(choices: tuple[str, ...]) -> None:
    assert isinstance(label_probabilities(choices, top(yes=0.9)), Refusal)


@pytest.mark.parametrize("shown", [[], top(well=0.5)])
def test_no_choice_among_the_tokens_is_refused(shown: list[tuple[str, float]]) -> None:
    probabilities = label_probabilities(("yes", "no"), shown)
    assert isinstance(probabilities, Refusal)
    assert f"among the {len(shown)} most likely" in probabilities.reason


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=8), st.data())
def test_probabilities_sum_to_one(weights: list[float], data: st.DataObject) -> None:
    tokens = data.draw(
        st.lists(st.sampled_from(["a", "b", "c", "x", " A"]), min_size=len(weights), max_size=len(weights))
    )
    shown = [(token, math.log(weight / sum(weights))) for token, weight in zip(tokens, weights, strict=True)]
    probabilities = label_probabilities(("a", "b", "c"), shown)
    if isinstance(probabilities, Refusal):
        assert set(tokens) == {"x"}
    else:
        assert sum(probabilities) == pytest.approx(1)
        assert min(probabilities) >= 0
