"""Plots show the values of their tables."""

from __future__ import annotations

import polars as pl
from matplotlib.collections import PathCollection

from hardneg.report import plots


def test_two_masks_of_a_row_are_joined_and_the_best_row_under_the_train_mask_is_on_top() -> None:
    rows = {"row": ["a", "a", "b"], "metric": ["ndcg@20", "recall@20", "ndcg@20"]}
    frame = pl.DataFrame(rows | {"honest": [0.3, 0.9, 0.1], "released_mask": [0.4, 0.95, 0.5]})
    figure, (ax,) = plots.new_figure()
    plots.plot_two_masks(frame, "ndcg@20", ax=ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]
    points = [one for one in ax.collections if isinstance(one, PathCollection)]
    assert [one.get_offsets().tolist() for one in points] == [[[0.1, 0], [0.3, 1]], [[0.5, 0], [0.4, 1]]]
    assert "released mask (not valid)" in plots.as_svg(figure)
