"""Judging vectors that were written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import opened

from hardneg.errors import DataError
from hardneg.finetuning import TuningConfig, encode_for_scoring, score_held_out, tune
from hardneg.finetuning.contrastive import info_nce


def test_it_measures_what_tuning_measured(bases: Bases) -> None:
    """A look at held-out pairs and a judge of the same pairs agree."""
    _, template, encoder, inputs, labels = opened(bases("bert"))
    config = TuningConfig(epochs=4, batch_size=8, micro_batch=8, held_out=0.25, look_every=1, patience=99)
    found = tune(encoder, template, inputs, labels, config)
    rows = found.held_out
    assert len(rows) <= 8
    vectors = encode_for_scoring(found.encoder, template, inputs, rows)
    given = {"batch_size": len(rows), "temperature": config.temperature}
    judged = score_held_out(found.encoder, vectors, labels[rows], inputs.items[inputs.pairs.items[rows]], **given)
    assert judged.loss == pytest.approx(-found.state.best_value, abs=1e-4)
    assert judged.information == pytest.approx(np.log(len(rows)) - judged.loss)


def test_whole_batches_alone_count(bases: Bases) -> None:
    _, template, encoder, inputs, labels = opened(bases("bert"))
    rows = np.arange(11)
    vectors, own, items = (
        encode_for_scoring(encoder, template, inputs, rows),
        labels[rows],
        inputs.items[inputs.pairs.items[rows]],
    )
    found = score_held_out(encoder, vectors, own, items, batch_size=5, temperature=0.1)
    with torch.no_grad():
        head = [encoder.label_head(torch.from_numpy(table)) for table in (own, items)]
        halves = [
            float(info_nce(torch.from_numpy(vectors[part]), *(table[part] for table in head), temperature=0.1))
            for part in (slice(0, 5), slice(5, 10))
        ]
    assert found.loss == pytest.approx(np.mean(halves), rel=1e-5)
    assert found.pairs == 10
    with pytest.raises(DataError, match=r"11 pairs.* 12"):
        score_held_out(encoder, vectors, own, items, batch_size=12, temperature=0.1)
