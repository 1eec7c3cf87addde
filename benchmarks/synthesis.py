"""Pairs per second through a model: ours, the release's one prompt at a time, and the machine's bound; pairs per second of tuning.

    python benchmarks/synthesis.py SPLIT PROFILES LABELS TUNED [--base minilm] [--pairs 2000] [--threads 2] [--out benchmarks/results/synthesis.md]
    python benchmarks/synthesis.py SPLIT PROFILES LABELS TUNED --base smollm2-135m --precision bfloat16 --tuning 64 --clock cpu

Both read the same prompts through the same weights (float32 with the adapter merged, unless `--precision` is given for ours
and the loop; the loop in float32 is then measured, too) with the same pooling. Ours is
`hardneg.finetuning.synthesize`, from profiles to the file, including tokenization. The release
(negative_samples_with_fn.py) tokenizes, reads and pools one prompt after another and keeps vectors as lists; here it gets
torch.no_grad, which the release lacks. It is measured on `--alone` random pairs, since the cost of a prompt does not
depend on their number. Both take turns; ratios are taken within each turn.

Tuning (`--tuning N`): one optimizer step of N pairs, in micro-batches, and one pair at a time in float32.

The bound: the rate of torch's matrix product at the shapes of the model's layers, measured in the same turn on batches of
our size, and the floating-point operations of reading every prompt whole (linear layers and attention, no padding). Ours
can exceed it by reading once what several pairs share. Use all pairs (`--pairs 0`) for a figure to report: among the
first pairs fewer users and items repeat.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.finetuning import (
    HardNegativeEncoder,
    PairInputs,
    SynthesisConfig,
    Template,
    TuningConfig,
    base_model,
    load_tuned,
    synthesize,
)
from hardneg.finetuning.inputs import PromptBatch, float_tensor
from hardneg.finetuning.tuning import TuningLoop, split_held_out
from hardneg.mining import labels
from hardneg.text import profiles

TOLERANCE = {"float32": 2.0**-11, "bfloat16": 2.0**-4}
"""Largest difference of the vectors. Float32: the distance of adjacent float16 numbers below 1, twice a stored number's rounding."""
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True)
class Turn:
    """Pairs per second of each method, and the rate of matrix products in operations per second.

    exact: one at a time in float32; equal to alone where ours has float32. tuning, tuning_alone: 0 where not measured.
    """

    ours: float
    alone: float
    exact: float
    rate: float
    tuning: float = 0.0
    tuning_alone: float = 0.0


@dataclass(frozen=True)
class Bench:
    """What is measured. encoders: precision -> encoder for synthesis; loops: precision -> a tuning loop."""

    precision: str
    encoders: dict[str, HardNegativeEncoder]
    loops: dict[str, TuningLoop]
    template: Template
    inputs: PairInputs
    config: SynthesisConfig
    clock: Callable[[], float]


def inputs_of(split: Path, profile_folder: Path, label_folder: Path, pairs: int) -> PairInputs:
    """Return the first pairs of a split; profiles of other users and items are blank, so that they cost nothing."""
    train = splits.read_split(split).train
    written, given = profiles.read_profiles(profile_folder), labels.read_labels(label_folder, train)
    if pairs:
        train = Interactions(train.users[:pairs], train.items[:pairs], train.n_users, train.n_items)
    users, items = set(train.users.tolist()), set(train.items.tolist())
    return PairInputs(
        train,
        [text if user in users else "" for user, text in enumerate(written.users)],
        [text if item in items else "" for item, text in enumerate(written.items)],
        given.users,
        given.items,
    )


def one_by_one(encoder: HardNegativeEncoder, template: Template, inputs: PairInputs, rows: np.ndarray) -> np.ndarray:
    """Return unit vectors, computed as in the release."""
    vectors = []
    for row in rows.tolist():
        user, item = int(inputs.pairs.users[row]), int(inputs.pairs.items[row])
        prefix = template.prefix(inputs.user_profiles[user])
        ids = [*prefix, *template.suffix(inputs.item_profiles[item])]
        batch = PromptBatch(
            torch.tensor([ids], device=encoder.device),
            torch.tensor([len(ids)], device=encoder.device),
            torch.tensor([len(prefix)], device=encoder.device),
            float_tensor(inputs.users[[user]], encoder.device),
            float_tensor(inputs.items[[item]], encoder.device),
        )
        with torch.no_grad():
            vectors.append(torch.nn.functional.normalize(encoder(batch), dim=1)[0].tolist())
    return np.array(vectors, np.float32)


def layers_of(encoder: HardNegativeEncoder) -> list[tuple[int, int]]:
    """Return (in, out) of every linear layer that each token passes, without adapters and pooler."""
    named = encoder.inner.named_modules()
    found = [(n, m) for n, m in named if isinstance(m, torch.nn.Linear) and "lora_" not in n and "pooler" not in n]
    return [(module.in_features, module.out_features) for _, module in found]


def operations(encoder: HardNegativeEncoder, lengths: np.ndarray) -> float:
    """Return the operations of reading prompts whole: two per weight and token, and attention's two products."""
    config = encoder.inner.config.get_text_config()
    linear = 2 * sum(a * b for a, b in layers_of(encoder)) * int(lengths.sum())
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    return float(linear + 4 * width * config.num_hidden_layers * int(np.square(lengths).sum()))


def matrix_rate(encoder: HardNegativeEncoder, tokens: int, clock: Callable[[], float]) -> float:
    """Return operations per second of the products of all layers with a batch of tokens; the best of three rounds."""
    shapes, best, like = layers_of(encoder), 0.0, {"device": encoder.device, "dtype": encoder.inner.dtype}
    rows = {size: torch.randn(tokens, size, **like) for size, _ in shapes}
    weights = {shape: torch.randn(shape, **like) for shape in set(shapes)}
    for _ in range(3):
        start = clock()
        for shape in shapes:
            rows[shape[0]] @ weights[shape]
        best = max(best, 2 * tokens * sum(a * b for a, b in shapes) / (clock() - start))
    return best


def prompt_lengths(template: Template, inputs: PairInputs) -> np.ndarray:
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    return tokens.prefix_lengths[inputs.pairs.users] + tokens.suffix_lengths[inputs.pairs.items]


def turns(bench: Bench, alone: int, repeats: int) -> tuple[list[Turn], float]:
    """Return the rates of every turn, and the largest difference between both methods' vectors."""
    inputs, own = bench.inputs, bench.encoders[bench.precision]
    rows = np.sort(np.random.default_rng(0).permutation(len(inputs.pairs))[:alone])
    batch_tokens = int(bench.config.batch_size * prompt_lengths(bench.template, inputs).mean())
    found, difference = [], 0.0
    for encoder in bench.encoders.values():
        one_by_one(encoder, bench.template, inputs, rows[:8])

    def rate(n: int, work: Callable[[], object]) -> tuple[float, Any]:
        start = bench.clock()
        result = work()
        return n / (bench.clock() - start), result

    for number in range(repeats):
        one_at_a_time = {
            name: rate(len(rows), partial(one_by_one, encoder, bench.template, inputs, rows))
            for name, encoder in bench.encoders.items()
        }
        alone_rate, theirs = one_at_a_time[bench.precision]
        with tempfile.TemporaryDirectory() as folder:
            work = partial(synthesize, own, bench.template, inputs, Path(folder), bench.config)
            ours_rate, path = rate(len(inputs.pairs), work)
            ours = np.load(path, allow_pickle=False)[rows].astype(np.float32)
        difference = float(np.maximum(difference, np.abs(ours - theirs).max()))  # NaN stays
        tuning = [rate(loop.per_batch, loop.step)[0] for loop in bench.loops.values()] or [0.0, 0.0]
        bound = matrix_rate(own, batch_tokens, bench.clock)
        found.append(Turn(ours_rate, alone_rate, one_at_a_time["float32"][0], bound, *tuning))
        print(f"turn {number + 1}: {found[-1]}", file=sys.stderr)
    return found, difference


def spread(values: list[float], form: str = ",.1f") -> str:
    """Median [min, max]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def report(found: list[Turn], difference: float, per_pair: float, precision: str) -> list[str]:
    """Return the lines of the table. per_pair: mean operations of a whole prompt."""
    bounds = [turn.rate / per_pair for turn in found]
    rows = [
        (f"ours, {precision}, pairs per second", spread([turn.ours for turn in found])),
        (f"one prompt at a time, {precision}, pairs per second", spread([turn.alone for turn in found])),
        ("ours / one at a time", spread([turn.ours / turn.alone for turn in found], ".2f")),
        ("one prompt at a time, float32, pairs per second", spread([turn.exact for turn in found])),
        ("ours / one at a time in float32", spread([turn.ours / turn.exact for turn in found], ".2f")),
        ("torch's matrix product at the layers' shapes, GFLOP per second", spread([turn.rate / 1e9 for turn in found])),
        ("operations of a whole prompt, GFLOP", f"{per_pair / 1e9:.2f}"),
        ("bound for prompts that are read whole, pairs per second", spread(bounds)),
        ("ours / that bound", spread([turn.ours / b for turn, b in zip(found, bounds, strict=True)], ".2f")),
        ("that bound / one at a time", spread([b / turn.alone for turn, b in zip(found, bounds, strict=True)], ".2f")),
        ("largest difference of the vectors' numbers", f"{difference:.1e} (at most {TOLERANCE[precision]:.1e})"),
    ]
    if found[0].tuning:
        rows += [
            (f"tuning, ours, {precision}, pairs per second", spread([turn.tuning for turn in found])),
            ("tuning, one pair at a time, float32, pairs per second", spread([turn.tuning_alone for turn in found])),
            ("ours / that", spread([turn.tuning / turn.tuning_alone for turn in found], ".2f")),
        ]
    if precision == "float32":
        rows = [
            row for row in rows if "in float32" not in row[0] and not row[0].endswith("time, float32, pairs per second")
        ]
    return ["| | median [min, max] over the turns |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("split", "profiles", "labels", "tuned"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=list(TOLERANCE))
    parser.add_argument("--pairs", type=int, default=2000, help="the first of the split; 0: all")
    parser.add_argument("--alone", type=int, default=200, help="pairs for the released method")
    parser.add_argument("--tuning", type=int, default=0, help="pairs of a tuning step; 0: not measured")
    parser.add_argument("--batch-size", type=int, default=SynthesisConfig().batch_size)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", default="wall", choices=list(CLOCKS), help="cpu: where other jobs share the machine")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def prepare(given: argparse.Namespace) -> Bench:
    """Load the models and the pairs."""

    def load(precision: str) -> tuple[HardNegativeEncoder, Template]:
        return load_tuned(given.tuned, base_model(given.base, device=given.device, precision=precision))

    encoders, loops, train = {}, {}, splits.read_split(given.split).train
    inputs = inputs_of(given.split, given.profiles, given.labels, given.pairs)
    for precision in dict.fromkeys((given.precision, "float32")):
        encoders[precision], template = load(precision)
        encoders[precision].merge_adapter()
    for precision, micro_batch in ((given.precision, 32), ("float32", 1)) if given.tuning else ():
        config = TuningConfig(batch_size=given.tuning, micro_batch=micro_batch, pairs=10 * given.tuning)
        vectors = labels.read_labels(given.labels, train).vectors[: len(inputs.pairs)]
        rows, held_out = split_held_out(np.arange(len(inputs.pairs)), config)
        name = f"{precision}, {micro_batch} at a time"
        loops[name] = TuningLoop(
            load(precision)[0], template, inputs, vectors, config, rows=rows, held_out=held_out, sets=None
        )
    config = SynthesisConfig(batch_size=given.batch_size)
    return Bench(given.precision, encoders, loops, template, inputs, config, CLOCKS[given.clock])


def main() -> None:
    given = parse_arguments()
    torch.set_num_threads(given.threads)
    bench = prepare(given)
    found, difference = turns(bench, given.alone, given.repeats)
    inputs, lengths = bench.inputs, prompt_lengths(bench.template, bench.inputs)
    lines = ["# Synthesis of vectors", ""]
    lines += [
        f"{len(inputs.pairs):,} pairs of {given.split.name} through {given.tuned.name} ({given.base}), prompts of "
        f"{lengths.mean():.0f} tokens on average, {given.threads} threads, {given.repeats} turns, {given.clock} clock; one at "
        f"a time on {min(given.alone, len(inputs.pairs)):,} of the pairs.",
        "",
    ]
    per_pair = operations(bench.encoders[given.precision], lengths) / len(lengths)
    text = "\n".join([*lines, *report(found, difference, per_pair, given.precision)]) + "\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    if not difference <= TOLERANCE[given.precision]:
        sys.exit("the vectors of the two methods differ")


if __name__ == "__main__":
    main()
