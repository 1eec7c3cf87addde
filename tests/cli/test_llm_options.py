"""What commands that ask share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hardneg.cli.llm_options import encoder_of
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.fake import FunctionModel
from hardneg.llm.prices import Price
from hardneg.llm.session import Session


def test_limits_and_budget_of_the_language_model_do_not_bind_an_encoder_in_this_process(tmp_path: Path) -> None:
    config = EngineConfig(budget_money=1e-9, budget_calls=1, concurrency=64, requests_per_minute=1)
    texts = [f"a tent of size {number}" for number in range(150)]
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        session = Session(FunctionModel(lambda _: "fine"), store, config, Price(prompt=1.0))
        encoder = encoder_of("minilm", "cpu", session)
        first, second = encoder.encode(texts), encoder_of("minilm", "cpu", session).encode(texts)
    assert len(np.unique(first, axis=0)) == len(texts)
    np.testing.assert_array_equal(first, second)
    assert session.usage.calls == 0
