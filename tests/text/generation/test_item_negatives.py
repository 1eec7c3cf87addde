"""Products that a language model names for items."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from hardneg.config import parse_config
from hardneg.errors import ConfigError
from hardneg.llm.protocol import BadReply, Reply, Request, Usage
from hardneg.text.estimates.cost_estimate import PRODUCTS
from hardneg.text.estimates.estimator import EstimateConfig
from hardneg.text.estimates.item_estimate import estimate_products
from hardneg.text.generation.item_negatives import (
    ITEM_PROMPT,
    ITEM_TITLES_PROMPT,
    RESPECTS,
    ItemNegativesConfig,
    ItemNegativesPrompts,
    catalogue_parser,
    name_products,
    products_parser,
    reply_schema,
    report_unnamed,
)
from hardneg.text.generation.message_formats import load_prompt

Toy = Callable[..., Any]


def reply(text: str) -> Reply:
    return Reply(text, Usage(1, 1))


def name_all(request: Request) -> str:
    """Name a near, a simple and another product of the item in the last message."""
    title = json.loads(request.messages[-1].content.splitlines()[1])["title"]
    return json.dumps({"other_brand": f"near {title}", "simpler": f"Near  {title}", "other_type": "bowl"})


def test_a_request_begins_alike_and_ends_with_the_item(toy: Toy, good: Any) -> None:
    prompts = ItemNegativesPrompts(toy(), good.model, ItemNegativesConfig(k=2))
    one, other = prompts.request(0), prompts.request(3)
    assert one.messages[:-1] == other.messages[:-1]
    assert [message.role for message in one.messages] == ["system", *["user", "assistant"] * 3, "user"]
    assert json.loads(one.messages[2].content).keys() == {"other_brand", "simpler"}
    assert "red kettle" in one.messages[-1].content
    assert one.schema == reply_schema(2)
    assert one.max_tokens == 2 * load_prompt(ITEM_PROMPT).header.answer_tokens
    assert json.loads(one.schema)["required"] == ["other_brand", "simpler"]


def test_examples_have_a_product_for_every_respect() -> None:
    for example in load_prompt(ITEM_PROMPT).header.examples:
        assert tuple(example.products) == RESPECTS
        assert len(set(example.products.values())) == len(RESPECTS)


def test_every_item_is_asked_once_and_equal_titles_count_once(toy: Toy, rules: Any) -> None:
    executor = rules(name_all)
    named = name_products(toy(titles=["red kettle", "", "green tent", "pan", "mat"]), executor, executor.model)
    assert len(executor.model.requests) == 4
    assert named.filter(item=0).select("rank", "text", "reason").rows() == [(0, "near red kettle", ""), (1, "bowl", "")]


def test_an_item_without_texts_has_no_request(toy: Toy, rules: Any) -> None:
    executor = rules(name_all)
    split = toy(titles=["red kettle", "", "green tent", "", "mat"])
    named = name_products(split, executor, executor.model)
    assert len(executor.model.requests) == 3
    assert named.filter(text="")["reason"].to_list() == ["nothing is known of the item"] * 2
    (issue,) = report_unnamed(named)
    assert (issue.count, issue.first) == (2, "item 1")


def test_an_unusable_reply_is_asked_again_and_then_named(toy: Toy, rules: Any) -> None:
    executor = rules(lambda _: "no JSON here", again=1)
    named = name_products(toy(), executor, executor.model)
    assert len(executor.model.requests) == 10
    assert named["text"].to_list() == [""] * 5
    assert named["reason"][0] == "found 'no JSON here', expected a JSON object"


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ('{"other_brand": "a pan", "simpler": null, "other_type": " A Pan!"}', ("a pan",)),
        ('Sure: {"simpler": "bowl"} is it', ("bowl",)),
        ('{"other_brand": "None", "simpler": "none."}', ()),
    ],
)
def test_replies_are_read_leniently(text: str, titles: tuple[str, ...]) -> None:
    found = products_parser(5, ())(reply(text))
    assert found.titles == titles
    assert bool(found.reason) == (not titles)


@pytest.mark.parametrize("text", ["{}", '{"simpler": ""}', json.dumps({"simpler": "a " * 11}), "[]"])
def test_a_reply_without_a_title_is_bad(text: str) -> None:
    with pytest.raises(BadReply):
        products_parser(5, ())(reply(text))


def test_titles_of_the_catalogue_are_read_by_line() -> None:
    parse = catalogue_parser({"pan", "bowl", "mat"}.__contains__, ["mat"], ())
    assert parse(reply("pan\nmat\nbowl\npan\ncup")).titles == ("pan", "bowl")
    with pytest.raises(BadReply, match="no other title of the catalogue"):
        parse(reply("mat\ncup"))


def test_a_closed_list_leaves_out_the_item_itself(toy: Toy, rules: Any) -> None:
    titles = ["red kettle", "Red Pan", "green tent", "red pan", "blue mat"]
    executor = rules(lambda request: "\n".join(t for t in titles if t not in request.excluded))
    named = name_products(toy(titles=titles), executor, executor.model, ItemNegativesConfig(constrained=True, k=2))
    assert named.filter(item=1)["text"].to_list() == ["red kettle", "green tent"]
    request = executor.model.requests[1]
    assert request.excluded == ("Red Pan", "red pan")
    assert (request.n_answers, request.schema) == (2, "")
    assert request.max_tokens == 2 * load_prompt(ITEM_TITLES_PROMPT).header.answer_tokens
    assert '"answers":2' in request.canonical


def test_one_answer_keeps_the_key_of_a_request() -> None:
    assert '"answers"' not in Request((), 1, closed_list="x").canonical


def test_a_catalogue_with_one_title_has_no_request(toy: Toy, good: Any) -> None:
    prompts = ItemNegativesPrompts(
        toy(titles=["pan", "Pan", "", "", ""]), good.model, ItemNegativesConfig(constrained=True)
    )
    assert set(prompts.skip_reasons) == {"the catalogue has no other title", "nothing is known of the item"}


@pytest.mark.parametrize("k", [0, 7])
def test_k_has_bounds(k: int) -> None:
    with pytest.raises(ConfigError, match="k"):
        parse_config(ItemNegativesConfig, {"k": k}, where="items")


def test_the_estimate_counts_one_call_for_each_item(toy: Toy, rules: Any) -> None:
    executor, split = rules(name_all), toy(titles=["red kettle", "", "green tent", "pan", "mat"])
    expected = estimate_products(split, executor.model, ItemNegativesConfig(), EstimateConfig(sample=2), executor)
    (stage,) = expected.stages
    prompts = ItemNegativesPrompts(split, executor.model, ItemNegativesConfig())
    tokens = sum(executor.model.count_tokens(prompts.request(int(item))) for item in prompts.prompted_items)
    assert (stage.name, stage.calls, stage.prompt_tokens, expected.sampled) == (PRODUCTS, 4, tokens, 2)
    with pytest.raises(ConfigError, match="sample of 2 without a model"):
        estimate_products(split, executor.model, ItemNegativesConfig(), EstimateConfig(sample=2))
    assumed = estimate_products(split, executor.model, ItemNegativesConfig(constrained=True), EstimateConfig())
    assert assumed.sampled == 0
    assert assumed.total.answer_tokens > 0
