"""Contrastive loss of held-out pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diagnostics.held_out_score import encode_for_scoring, score_held_out
from tests.finetuning.tiny import make_base, opened

from hardneg.errors import DataError
from hardneg.finetuning import TuningConfig, tune
from hardneg.finetuning.tuning import info_nce


def test_the_score_equals_that_of_tuning(tmp_path: Path) -> None:
    """A validation check and the score of the same pairs agree."""
    _, template, encoder, inputs, labels = opened(make_base(tmp_path / "bert", "bert"))
    config = TuningConfig(epochs=4, batch_size=8, micro_batch=8, held_out=0.25, look_every=1, patience=99)
    tuned = tune(encoder, template, inputs, labels, config)
    rows = tuned.held_out
    assert len(rows) <= 8
    vectors = encode_for_scoring(tuned.encoder, template, inputs, rows)
    options = {"batch_size": len(rows), "temperature": config.temperature}
    score = score_held_out(tuned.encoder, vectors, labels[rows], inputs.items[inputs.pairs.items[rows]], **options)
    assert score.loss == pytest.approx(-tuned.state.best_value, abs=1e-4)
    assert score.information == pytest.approx(np.log(len(rows)) - score.loss)


def test_only_whole_batches_count(tmp_path: Path) -> None:
    _, template, encoder, inputs, labels = opened(make_base(tmp_path / "bert", "bert"))
    rows = np.arange(11)
    vectors, own, items = (
        encode_for_scoring(encoder, template, inputs, rows),
        labels[rows],
        inputs.items[inputs.pairs.items[rows]],
    )
    score = score_held_out(encoder, vectors, own, items, batch_size=5, temperature=0.1)
    with torch.no_grad():
        head = [encoder.label_head(torch.from_numpy(table)) for table in (own, items)]
        halves = [
            float(info_nce(torch.from_numpy(vectors[part]), *(table[part] for table in head), temperature=0.1))
            for part in (slice(0, 5), slice(5, 10))
        ]
    assert score.loss == pytest.approx(np.mean(halves), rel=1e-5)
    assert score.pairs == 10
    with pytest.raises(DataError, match=r"11 pairs.* 12"):
        score_held_out(encoder, vectors, own, items, batch_size=12, temperature=0.1)
