"""Embeddings as texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hardneg.llm.protocol import continuation_request, embedded_text, embedding_request, pack_vector, unpack_vector


@given(arrays(np.float32, st.integers(1, 20), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_packed_vectors_round_trip(vector: np.ndarray) -> None:
    decoded = unpack_vector(pack_vector(vector))
    assert decoded.dtype == np.float32
    assert (decoded == vector).all()


@pytest.mark.parametrize("vector", [[], [[1.0]], [np.nan], [np.inf], [1e39]])
def test_invalid_vector_is_not_packed(vector: list[float]) -> None:
    with pytest.raises(ValueError, match="vector"):
        pack_vector(np.array(vector))


@pytest.mark.parametrize("text", ["", "hello!", "AAA", "AAAA", "AAAAAAA="])
def test_invalid_text_is_not_unpacked(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|bytes"):
        unpack_vector(text)


def test_embedding_request_holds_the_text() -> None:
    request = embedding_request("a tent")
    assert embedded_text(request) == "a tent"
    assert request.max_tokens == 0


def test_continuations_leave_the_keys_of_other_requests_as_they_were() -> None:
    request = embedding_request("a tent")
    assert request.digest("m") == "e36d01d8ad1d2a87b65bd0ffeceeedc387f716bdc460f898137af56d8e53df65"
    assert request.canonical == continuation_request("a tent", []).canonical
    digests = {continuation_request("a tent", titles).digest("m") for titles in ([], ["a"], ["a", "b"], ["b", "a"])}
    assert len(digests) == 4
