"""A small store for the demo, and a model that names its products."""

from __future__ import annotations

import json

from tests.llm.function_model import FunctionModel

from hardneg.data import simulate
from hardneg.llm.protocol import Request
from hardneg.training import FitConfig

SMALL = simulate.SimulationConfig(n_users=150, n_items=100, shown=60, like_rate=0.2)
QUICK = FitConfig(epochs=4, check_every=2, select="ndcg@20")
MODEL = "small"
TITLES = simulate.simulate_store(SMALL)[0].items["title"].to_list()


def name_products(request: Request) -> str:
    """Answer with titles of the store, and with one product that it does not have."""
    start = len(request.messages[-1].content) * 7919 % 90
    return json.dumps({"other_brand": TITLES[start], "simpler": TITLES[start + 5], "other_type": "<b>a moon boat</b>"})


def small_model() -> FunctionModel:
    """Return the model."""
    return FunctionModel(name_products, name=MODEL)
