"""Helpers of the shared types."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.types import unit_rows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_get_length_1_in_their_own_type_and_zeros_stay(dtype: type) -> None:
    rows = np.array([[3, 4], [0, 0], [0, -2], [0.25, 0]], dtype)
    result = unit_rows(rows)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, [[0.6, 0.8], [0, 0], [0, -1], [1, 0]], atol=1e-3)
