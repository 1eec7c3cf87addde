"""A local causal language model end to end: tiny and random, so replies have no meaning."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import weakref
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.llm.bounded_text import ShortText
from tests.llm.injections import ATTEMPTS
from tests.llm.other_models import make_mistral
from transformers import AutoModelForCausalLM, AutoTokenizer

from hardneg.errors import ConfigError
from hardneg.llm.local import model as local
from hardneg.llm.local.model import LocalModel
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.protocol import LlmError, Message, Refusal, Reply, Request
from hardneg.llm.structured import Structured, reply_parser, strict_schema
from hardneg.llm.untrusted import clean, data_block

TITLES = ("a tent", "a tent for two", "guitar", "iron saucepan", "iron", "長い tent", "a  tent")


class Kind(Structured):
    sure: Literal["yes", "no"]
    name: ShortText


SCHEMA = strict_schema(Kind)


@pytest.fixture(scope="module")
def model(tiny_llama: Path) -> LocalModel:
    return LocalModel(ModelSource(str(tiny_llama)))


@pytest.fixture(scope="module")
def listed(model: LocalModel) -> LocalModel:
    return model.with_closed_list("titles", TITLES)


def request(text: str = "hello", **more: Any) -> Request:
    return Request((Message("system", "be brief"), Message("user", text)), **{"max_tokens": 12, **more})


def ask(model: LocalModel, *requests: Request) -> list[Reply | Refusal]:
    return asyncio.run(model.complete(requests))


def texts(model: LocalModel, *requests: Request) -> list[str]:
    replies = ask(model, *requests)
    assert all(isinstance(reply, Reply) for reply in replies), replies
    return [reply.text for reply in replies if isinstance(reply, Reply)]


def test_replies_with_exact_usage(model: LocalModel) -> None:
    [reply] = ask(model, request())
    assert isinstance(reply, Reply)
    assert reply.text
    assert (reply.usage.prompt_tokens, reply.usage.answer_tokens) == (model.count_tokens(request()), 12)
    assert not reply.usage.estimated
    assert reply.finish == "length"
    assert reply.seconds > 0
    assert ask(model) == []


def test_reply_does_not_depend_on_its_batch(model: LocalModel, listed: LocalModel) -> None:
    mixed = [
        request("one"),
        request("a much longer question about tents and guitars", max_tokens=3),
        request("sampled", temperature=1.0),
        request("constrained", schema=SCHEMA, max_tokens=60, temperature=0.7),
        request("a choice", choices=("yes", "no")),
        request("a title", closed_list="titles", temperature=1.0),
    ]
    together = texts(listed, *mixed)
    assert [texts(listed, one)[0] for one in mixed] == together


def test_draws_differ_only_if_sampled(model: LocalModel) -> None:
    sampled = texts(model, *(request(temperature=1.0, draw=draw) for draw in (0, 1, 2)))
    assert len(set(sampled)) == 3
    assert texts(model, *(request(temperature=1.0, draw=draw) for draw in (0, 1, 2))) == sampled
    assert len(set(texts(model, request(draw=0), request(draw=1)))) == 1


def test_too_long_prompt_is_refused_alone(model: LocalModel) -> None:
    replies = ask(model, request("word " * 3000), request(), request(max_tokens=2040))
    assert [type(reply) for reply in replies] == [Refusal, Reply, Refusal]
    assert isinstance(replies[0], Refusal)
    assert all(number in replies[0].reason for number in ("(12 tokens)", "2048"))


def test_half_a_surrogate_pair_is_refused_alone(model: LocalModel) -> None:
    replies = ask(model, request("a\ud800"), request())
    assert [type(reply) for reply in replies] == [Refusal, Reply]
    assert model.count_tokens(request("a\ud800")) == 0


# ----------------------------------------------------------------------------------------------------------- schema


def test_replies_satisfy_their_schema(model: LocalModel) -> None:
    requests = [request(str(n), schema=SCHEMA, max_tokens=40 + n, temperature=1.5) for n in range(12)]
    for reply in ask(model, *requests):
        assert isinstance(reply, Reply)
        reply_parser(Kind)(reply)
        assert reply.finish in ("stop", "closed")
        assert set(json.loads(reply.text)) == {"sure", "name"}


def test_too_small_limit_cuts_the_reply(model: LocalModel) -> None:
    [reply] = ask(model, request(schema=SCHEMA, max_tokens=3))
    assert isinstance(reply, Reply)
    assert reply.finish == "length"


# ----------------------------------------------------------------------------------------------------- closed list


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([*TITLES, "no title"]), unique=True), st.integers(0, 10**6), st.integers(2, 20))
def test_every_answer_is_in_the_list_and_allowed(
    listed: LocalModel, excluded: list[str], seed: int, limit: int
) -> None:
    single = request(
        "a title", closed_list="titles", excluded=tuple(excluded), temperature=3.0, draw=seed, max_tokens=limit
    )
    [reply] = ask(listed, single)
    if isinstance(reply, Refusal):
        assert f"no answer of the list 'titles' is allowed within {limit} tokens" in reply.reason
        assert limit < 16 or set(TITLES) <= set(excluded)
    else:
        assert reply.text in set(TITLES) - set(excluded)
        assert reply.finish == "stop"
        assert reply.usage.answer_tokens <= limit


def test_all_titles_are_sampled(listed: LocalModel) -> None:
    requests = [request(closed_list="titles", temperature=5.0, draw=draw, max_tokens=20) for draw in range(120)]
    assert set(texts(listed, *requests)) == set(TITLES)


def test_unknown_and_empty_lists(model: LocalModel, listed: LocalModel) -> None:
    with pytest.raises(LlmError, match=r"tiny-llama.*'titles'"):
        ask(model, request(closed_list="titles"))
    with pytest.raises(ConfigError, match="answer 1 without any token"):
        model.with_closed_list("titles", ["a tent", ""])
    [refused] = ask(listed, request(closed_list="titles", excluded=TITLES))
    assert isinstance(refused, Refusal)


def test_closed_list_is_part_of_the_identity(model: LocalModel, listed: LocalModel) -> None:
    assert model.identity != listed.identity
    assert listed.identity == model.with_closed_list("titles", TITLES).identity
    assert listed.identity != model.with_closed_list("titles", TITLES[1:]).identity
    assert listed.with_closed_list("brands", ["x"]).identity.startswith(model.identity + "+brands=")


# ---------------------------------------------------------------------------------------------------------- choices


def test_probabilities_of_choices_are_exact(model: LocalModel) -> None:
    [reply] = ask(model, request("tents?", choices=("yes", "no", "a garden hose")))
    assert isinstance(reply, Reply)
    assert sum(reply.probabilities) == pytest.approx(1)
    loaded = model._loaded
    prompt = loaded.prompts.encode_chat(request("tents?").messages)
    assert not isinstance(prompt, Refusal)
    sums = []
    for choice in ("yes", "no", "a garden hose"):
        label = loaded.prompts.encode_text(choice)
        with torch.no_grad():
            logs = loaded.model(torch.tensor([prompt + label])).logits[0].double().log_softmax(1)
        sums.append(float(sum(logs[len(prompt) - 1 + index, token] for index, token in enumerate(label))))
    assert reply.probabilities == pytest.approx(torch.tensor(sums).softmax(0).tolist(), abs=1e-5)
    assert reply.text == ("yes", "no", "a garden hose")[sums.index(max(sums))]


def test_choice_that_begins_another_needs_the_end_token(model: LocalModel) -> None:
    [reply] = ask(model, request(choices=("1", "1 2")))
    [alone] = ask(model, request(choices=("1", "2")))
    assert isinstance(reply, Reply)
    assert isinstance(alone, Reply)
    assert sum(reply.probabilities) == pytest.approx(1)
    assert reply.probabilities[0] < 1
    [blank] = ask(model, request(choices=("yes", "")))
    assert isinstance(blank, Refusal)


# ---------------------------------------------------------------------------------------------------- the model itself


def test_identity_depends_on_content_not_location(tiny_llama: Path, tiny_qwen: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "tiny-llama")
    first, second = LocalModel(ModelSource(str(tiny_llama))), LocalModel(ModelSource(str(tmp_path / "tiny-llama")))
    assert first.identity == second.identity
    assert first.identity != LocalModel(ModelSource(str(tiny_qwen))).identity
    assert first.describe() == "tiny-llama on cpu, weights as float32, messages by chat template"


def test_another_architecture(tiny_qwen: Path) -> None:
    other = LocalModel(ModelSource(str(tiny_qwen))).with_closed_list("titles", TITLES)
    replies = ask(
        other,
        request(),
        request(schema=SCHEMA, max_tokens=50),
        request(closed_list="titles"),
        request(choices=("a", "b")),
    )
    assert all(isinstance(reply, Reply) for reply in replies)


def test_model_without_a_chat_template(tiny_llama: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(tiny_llama, folder)
    (folder / "chat_template.jinja").unlink()
    other = LocalModel(ModelSource(str(folder)))
    assert other.describe().endswith("messages by plain")
    assert isinstance(ask(other, request())[0], Reply)


def test_batch_size_depends_on_the_size_of_the_model(tiny_llama: Path, tmp_path: Path) -> None:
    source, model = ModelSource(str(tiny_llama)), AutoModelForCausalLM.from_pretrained(tiny_llama)
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert 0.8 < source.n_parameters / expected < 1.25
    assert LocalModel(source).batch_size == 32
    assert LocalModel(source, batch_size=5).batch_size == 5
    shutil.copytree(tiny_llama, tmp_path / "large")
    config = json.loads((tmp_path / "large" / "config.json").read_text())
    for width, batch_size in ((1024, 32), (4096, 14), (16384, 8)):
        (tmp_path / "large" / "config.json").write_text(
            json.dumps({**config, "hidden_size": width, "num_hidden_layers": 12})
        )
        assert LocalModel(ModelSource(str(tmp_path / "large"))).batch_size == batch_size
    assert LocalModel(ModelSource(str(tiny_llama), "cuda")).batch_size == 128


def test_model_whose_prompts_share_no_prefix_says_so(model: LocalModel, tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "windowed")
    make_mistral(6, len(AutoTokenizer.from_pretrained(tiny_llama))).save_pretrained(tmp_path / "windowed")
    windowed = LocalModel(ModelSource(str(tmp_path / "windowed")))
    replies = ask(windowed, request(), request(schema=SCHEMA, max_tokens=60))
    assert all(isinstance(reply, Reply) for reply in replies)
    ask(windowed, request())
    assert len(windowed.notices) == 1
    assert "share no prefix" in windowed.notices[0]
    ask(model, request())
    assert not model.notices


def test_batch_that_exceeds_the_memory_is_halved(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole_decode, sizes = local.decode, []

    def scarce(network: Any, jobs: Any, **more: Any) -> Any:
        sizes.append(len(jobs))
        if len(jobs) > 2 or any(len(job.ids) > 200 for job in jobs):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole_decode(network, jobs, **more)

    monkeypatch.setattr(local, "decode", scarce)
    requests = [request(str(n), schema=SCHEMA, max_tokens=45) for n in range(4)] + [request("long " * 200)]
    replies = ask(model, *requests)
    assert [type(reply) for reply in replies] == [Reply] * 4 + [Refusal]
    assert sizes == [5, 2, 3, 1, 2, 1, 1]
    assert isinstance(replies[4], Refusal)
    assert "the device's memory" in replies[4].reason


def test_event_loop_is_free_while_decoding(model: LocalModel) -> None:
    async def go() -> int:
        task, turns = asyncio.create_task(model.complete([request(max_tokens=100)])), 0
        while not task.done():
            await asyncio.sleep(0.001)
            turns += 1
        await task
        return turns

    assert asyncio.run(go()) > 2, "a call in the thread of the loop would block it"


# ------------------------------------------------------------------------------------------------------- injections


def test_schema_and_closed_list_hold_under_injections(listed: LocalModel) -> None:
    requests = []
    for text in ATTEMPTS.values():
        block = data_block("item", {"title": clean(text, chat_markers=listed.chat_markers, max_length=200)})
        requests.append(request(block, schema=SCHEMA, max_tokens=50, temperature=1.0))
        requests.append(request(block, closed_list="titles", excluded=("guitar",), temperature=1.0))
    replies = [reply for start in range(0, len(requests), 16) for reply in ask(listed, *requests[start : start + 16])]
    for request_sent, reply in zip(requests, replies, strict=True):
        assert isinstance(reply, Reply)
        if request_sent.closed_list:
            assert reply.text in set(TITLES) - {"guitar"}
        else:
            reply_parser(Kind)(reply)


def test_unloaded_weights_are_freed_and_answers_stay(tiny_llama: Path) -> None:
    model = LocalModel(ModelSource(str(tiny_llama)))
    before = texts(model, request("hello " * 40), request("hello " * 40 + "there"))
    network = weakref.ref(model._loaded.model)
    model.unload()
    gc.collect()
    assert network() is None
    assert texts(model, request("hello " * 40), request("hello " * 40 + "there")) == before
