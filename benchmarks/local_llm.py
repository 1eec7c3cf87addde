"""Answers per second of a language model in this process: ours, and transformers' generate with one prompt at a time.

    hardneg data simulate --out data/shop && hardneg data split data/shop --out data/shop-split
    hardneg profiles write data/shop-split --out out/profiles
    python benchmarks/local_llm.py data/shop-split out/profiles --llm smollm2-135m [--precision float32] [--prompts 32]
        [--alone 4] [--repeats 3] [--kinds pair item ...] [--threads 1] [--out benchmarks/results/local_llm.md]

Prompts are those of `hardneg negatives generate`, per pair and per item, with a JSON schema or constrained to the titles of
the catalogue. Both ways have the same weights, precision, threads and rule of choosing tokens. Each turn takes prompts that
no earlier turn had: ours answers all of them in one call, generate some of them, one after another. Ratios are taken
within a turn. Parts of ours are also switched off, one at a time. Seconds are CPU seconds of this process where there is
one thread, since other processes do not count there; otherwise seconds of the clock.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from machine import load, machine

from hardneg.cli.start import measure_matrix_rates
from hardneg.data import split as splits
from hardneg.llm.local import decoding
from hardneg.llm.local import model as local_model
from hardneg.llm.local.model import LocalModel
from hardneg.llm.local.token_choice import DecodedText, DecodingJob, OpenAnswer
from hardneg.llm.names import open_model
from hardneg.llm.protocol import Reply, Request
from hardneg.text import NegativesConfig, profiles
from hardneg.text.generation.item_negatives import ItemNegativesConfig, ItemNegativesPrompts
from hardneg.text.generation.negative_generation import PairPrompts, closed_list, shown_titles

KINDS = {
    "pair": "per pair, JSON",
    "pair-titles": "per pair, titles of the catalogue",
    "item": "per item, JSON",
    "item-titles": "per item, titles of the catalogue",
}
OFF = {
    "ours": (),
    "one row": (patch.dict(decoding.MAX_ROWS, cpu=1),),
    "no prefix": (patch.object(decoding, "MIN_SHARED", 10**9),),
    "no forced tokens": (
        patch.object(OpenAnswer, "_take_forced", lambda _: []),
        patch.object(OpenAnswer, "draft", lambda _: ()),
    ),
}
"""What is patched for each way: nothing, the number of rows, the shared prefixes, the tokens that need no pass of their own."""


@dataclass(frozen=True)
class Turn:
    """CPU or clock seconds, prompts, and prompt and answer tokens of one way in one turn; texts of the answers."""

    seconds: float
    prompt_tokens: int
    answer_tokens: int
    texts: list[str]

    @property
    def rate(self) -> float:
        """Prompts per second."""
        return len(self.texts) / self.seconds


def generate_alone(
    model: Any, jobs: Sequence[DecodingJob], *, ends: Sequence[int], pad: int, **_: object
) -> list[DecodedText]:
    """Answer jobs by transformers' generate, one after another; a replacement of `decoding.decode`."""
    from transformers import GenerationConfig, LogitsProcessorList

    texts = []
    for job in jobs:
        answer = OpenAnswer(job, ends, model.device)

        def choose(_: torch.Tensor, scores: torch.Tensor, answer: OpenAnswer = answer) -> torch.Tensor:
            token = answer.choose(scores[0], int(scores[0].argmax()))
            return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([token]), 0.0)

        settings = GenerationConfig(
            max_new_tokens=job.limit, do_sample=False, eos_token_id=list(ends), pad_token_id=pad
        )
        ids = torch.tensor([list(job.ids)], device=model.device)
        with torch.no_grad():
            model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                logits_processor=LogitsProcessorList([choose]),
            )
        texts.append(DecodedText(answer.ids, answer.ended))
    return texts


def requests_of(
    kind: str, split_folder: Path, profile_folder: Path, model: LocalModel
) -> tuple[LocalModel, list[Request]]:
    """Return the model, with the catalogue's titles where answers are titles, and all requests of a kind."""
    split, written = splits.read_split(split_folder), profiles.read_profiles(profile_folder)
    subject, _, titles = kind.partition("-")
    config = (NegativesConfig if subject == "pair" else ItemNegativesConfig)(constrained=bool(titles))
    if titles:
        model = model.with_closed_list(*closed_list(shown_titles(split, model, config)))
    if isinstance(config, NegativesConfig):
        pairs = PairPrompts(split, written, model, config)
        return model, [pairs.request(group) for group in pairs.groups()]
    items = ItemNegativesPrompts(split, model, config)
    return model, [items.request(item) for item in items.prompted_items.tolist()]


def answer(model: LocalModel, requests: Sequence[Request], clock: Callable[[], float]) -> Turn:
    """Answer requests in one call."""
    before = clock()
    replies = model._complete(requests)
    seconds = clock() - before
    found = [reply for reply in replies if isinstance(reply, Reply)]
    if len(found) < len(replies):
        sys.exit(f"{len(replies) - len(found)} prompts were refused: {next(iter(replies))}")
    tokens = [(reply.usage.prompt_tokens, reply.usage.answer_tokens) for reply in found]
    return Turn(
        seconds, sum(prompt for prompt, _ in tokens), sum(n for _, n in tokens), [reply.text for reply in found]
    )


@contextmanager
def switched_off(part: str) -> Iterator[None]:
    """Switch a part of ours off."""
    with ExitStack() as stack:
        for change in OFF[part]:
            stack.enter_context(change)
        yield


def turns_of(
    model: LocalModel, requests: Sequence[Request], given: argparse.Namespace, clock: Callable[[], float]
) -> list[dict[str, Turn]]:
    """Return the measurements of every turn by way."""
    step = max(1, len(requests) // (given.repeats * given.prompts))
    start, found = 0, []
    for turn in range(given.repeats):
        start = turn * step * given.prompts
        part = list(requests[start : start + given.prompts])  # neighbours, as in a run
        alone = part[:: max(1, len(part) // given.alone)][: given.alone]
        with patch.object(local_model, "decode", generate_alone):
            measured = {"generate": answer(model, alone, clock)}
        for way in OFF if given.parts else ("ours",):
            with switched_off(way):
                measured[way] = answer(model, part, clock)
        by_request = dict(zip(map(id, part), measured["ours"].texts, strict=True))
        same = sum(
            by_request[id(request)] == text for request, text in zip(alone, measured["generate"].texts, strict=True)
        )
        print(f"turn {turn + 1}: {same} of {len(alone)} answers equal, load {load()}", file=sys.stderr)
        if same < len(alone) and given.precision == "float32":
            sys.exit("answers differ")
        found.append(measured)
    return found


def spread(values: Sequence[float], form: str) -> str:
    """Median [min, max]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def table(kind: str, found: Sequence[dict[str, Turn]]) -> list[str]:
    """Return the lines of a kind's table."""
    lines = [
        f"## {KINDS[kind]}",
        "",
        "| way | prompts/s | answer tokens/s | times generate |",
        "| --- | --- | --- | --- |",
    ]
    for way in found[0]:
        turns = [measured[way] for measured in found]
        ratios = [measured[way].rate / measured["generate"].rate for measured in found]
        answers = [turn.answer_tokens / turn.seconds for turn in turns]
        rates = spread([turn.rate for turn in turns], ".3f")
        lines.append(f"| {way} | {rates} | {spread(answers, ',.1f')} | {spread(ratios, '.1f')} |")
    ours = [measured["ours"] for measured in found]
    tokens = [
        statistics.mean(getattr(t, name) / len(t.texts) for t in ours) for name in ("prompt_tokens", "answer_tokens")
    ]
    return [*lines, "", f"Tokens of a prompt {tokens[0]:.0f}, of an answer {tokens[1]:.0f}.", ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("profiles", type=Path)
    parser.add_argument("--llm", required=True, help="a model's name or folder")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--prompts", type=int, default=32, help="of a turn")
    parser.add_argument("--alone", type=int, default=4, help="prompts of a turn for generate")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", action="store_true", help="switch parts off, one at a time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clock = time.process_time if given.threads == 1 else time.perf_counter
    opened = open_model(given.llm, precision=given.precision, batch_size=given.prompts)
    if not isinstance(opened, LocalModel):
        sys.exit(f"{given.llm} runs behind an endpoint, expected a model in this process")
    before, body = measure_matrix_rates(), list[str]()
    for kind in given.kinds:
        model, requests = requests_of(kind, given.split, given.profiles, opened)
        answer(model, requests[-1:], clock)  # loads the weights
        body += table(kind, turns_of(model, requests, given, clock))
    rates = {name: max(rate, before[name]) for name, rate in measure_matrix_rates().items()}
    head = [
        f"# {opened.name}, {given.precision}",
        "",
        f"{machine()}, {given.threads} thread(s); matrix products of one thread: "
        f"{', '.join(f'{name} {rate:,.0f} GFLOP/s' for name, rate in rates.items())}.",
        f"{given.repeats} turns of {given.prompts} prompts, {given.alone} of them by generate; median [min, max]; seconds are "
        f"those of the {'CPU' if given.threads == 1 else 'clock'}. Load {load()}.",
        "",
    ]
    text = "\n".join([*head, *body])
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
