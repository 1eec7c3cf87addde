"""The language model options."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.llm.function_model import FunctionModel

from hardneg.cli.llm_options import LlmOptions, open_text_encoder
from hardneg.errors import ConfigError
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.session import Session
from hardneg.llm.usage import Price

FILE = """
model: hf:tiny
store: replies/all.sqlite
engine: {concurrency: 4, budget_money: 5}
key_variable: SHOP_KEY
precision: bfloat16
"""


def test_options_replace_the_values_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "llm.yaml").write_text(FILE, encoding="utf-8")
    config = LlmOptions(llm_config=tmp_path / "llm.yaml").config
    assert (config.required_model, config.key_variable) == ("hf:tiny", "SHOP_KEY")
    assert config.precision == "bfloat16"
    assert LlmOptions(llm_config=tmp_path / "llm.yaml", precision="float32").config.precision == "float32"
    assert config.store == Path("replies/all.sqlite")
    assert (config.engine.concurrency, config.engine.budget_money, config.prices) == (4, 5, None)
    options = LlmOptions("hf:other", tmp_path / "llm.yaml", engine=["concurrency=8"], prices=Path("prices.yaml"))
    replaced = options.config
    assert (replaced.model, replaced.prices, replaced.store) == ("hf:other", Path("prices.yaml"), config.store)
    assert (replaced.engine.concurrency, replaced.engine.budget_money) == (8, 5)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("modle: x", "model"),
        ("engine: {budget: 5}", "budget"),
        ("model: a\nmodel: b", "'model'"),
        ("[1]", "[1]"),
        ("precision: half", "precision"),
    ],
)
def test_a_wrong_file_is_named(text: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "llm.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        _ = LlmOptions(llm_config=tmp_path / "llm.yaml").config
    assert "llm.yaml" in str(caught.value)
    assert part in str(caught.value)


def test_a_missing_model_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--llm"):
        _ = LlmOptions().config.required_model
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        _ = LlmOptions(llm_config=tmp_path / "none.yaml").config
    with pytest.raises(ConfigError, match="budget_calls"):
        _ = LlmOptions("hf:x", engine=["budget_calls=-1"]).config
    with pytest.raises(ConfigError, match="--llm"):
        _ = LlmOptions(engine=["budget_calls=1"]).config


def test_limits_and_budget_of_the_language_model_do_not_bind_an_encoder_in_this_process(tmp_path: Path) -> None:
    config = EngineConfig(budget_money=1e-9, budget_calls=1, concurrency=64, requests_per_minute=1)
    texts = [f"a tent of size {number}" for number in range(150)]
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        session = Session(FunctionModel(lambda _: "fine"), store, config, Price(prompt=1.0))
        encoder = open_text_encoder("minilm", "cpu", session)
        first, second = encoder.encode(texts), open_text_encoder("minilm", "cpu", session).encode(texts)
    assert len(np.unique(first, axis=0)) == len(texts)
    np.testing.assert_array_equal(first, second)
    assert session.usage.calls == 0
