"""Pairs per second through a tuned model: ours, the release's one prompt at a time, and the machine's bound.

    python benchmarks/synthesis.py SPLIT PROFILES LABELS TUNED [--base minilm] [--pairs 2000] [--threads 2] [--out benchmarks/results/synthesis.md]

Both read the same prompts through the same weights (float32, adapter merged) with the same pooling. Ours is
`hardneg.finetuning.synthesize`, from profiles to the file, including tokenization. The release
(negative_samples_with_fn.py) tokenizes, reads and pools one prompt after another and keeps vectors as lists; here it gets
torch.no_grad, which the release lacks. It is measured on `--alone` random pairs, since the cost of a prompt does not
depend on their number. Both take turns; ratios are taken within each turn.

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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.finetuning import (
    HardNegativeEncoder,
    PairInputs,
    SynthesisConfig,
    Template,
    base_model,
    load_tuned,
    synthesize,
)
from hardneg.finetuning.inputs import PromptBatch, float_tensor
from hardneg.mining import labels
from hardneg.text import profiles

TOLERANCE = 2.0**-11
"""Distance of adjacent float16 numbers below 1: twice the rounding of a stored vector."""


@dataclass(frozen=True)
class Turn:
    """Pairs per second, and the rate of matrix products in operations per second."""

    ours: float
    alone: float
    rate: float


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


def matrix_rate(encoder: HardNegativeEncoder, tokens: int) -> float:
    """Return operations per second of the products of all layers with a batch of tokens; the best of three rounds."""
    shapes, best = layers_of(encoder), 0.0
    rows = {size: torch.randn(tokens, size, device=encoder.device) for size, _ in shapes}
    weights = {shape: torch.randn(shape, device=encoder.device) for shape in set(shapes)}
    for _ in range(3):
        start = time.perf_counter()
        for shape in shapes:
            rows[shape[0]] @ weights[shape]
        best = max(best, 2 * tokens * sum(a * b for a, b in shapes) / (time.perf_counter() - start))
    return best


def prompt_lengths(template: Template, inputs: PairInputs) -> np.ndarray:
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    return tokens.prefix_lengths[inputs.pairs.users] + tokens.suffix_lengths[inputs.pairs.items]


def turns(
    encoder: HardNegativeEncoder,
    template: Template,
    inputs: PairInputs,
    config: SynthesisConfig,
    alone: int,
    repeats: int,
) -> tuple[list[Turn], float]:
    """Return the rates of every turn, and the largest difference between both methods' vectors."""
    rows = np.sort(np.random.default_rng(0).permutation(len(inputs.pairs))[:alone])
    batch_tokens = int(config.batch_size * prompt_lengths(template, inputs).mean())
    one_by_one(encoder, template, inputs, rows[:8])
    found, difference = [], 0.0
    for number in range(repeats):
        start = time.perf_counter()
        theirs = one_by_one(encoder, template, inputs, rows)
        middle = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            path = synthesize(encoder, template, inputs, Path(folder), config)
            end = time.perf_counter()
            ours = np.load(path, allow_pickle=False)[rows].astype(np.float32)
        difference = float(np.maximum(difference, np.abs(ours - theirs).max()))  # NaN stays
        rate = matrix_rate(encoder, batch_tokens)
        found.append(Turn(len(inputs.pairs) / (end - middle), len(rows) / (middle - start), rate))
        print(f"turn {number + 1}: {found[-1]}", file=sys.stderr)
    return found, difference


def spread(values: list[float], form: str = ",.1f") -> str:
    """Median [min, max]."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}, {max(values):{form}}]"


def report(found: list[Turn], difference: float, per_pair: float) -> list[str]:
    """Return the lines of the table. per_pair: mean operations of a whole prompt."""
    bounds = [turn.rate / per_pair for turn in found]
    rows = [
        ("ours, pairs per second", spread([turn.ours for turn in found])),
        ("one prompt at a time, pairs per second", spread([turn.alone for turn in found])),
        ("ours / one at a time", spread([turn.ours / turn.alone for turn in found], ".2f")),
        ("torch's matrix product at the layers' shapes, GFLOP per second", spread([turn.rate / 1e9 for turn in found])),
        ("operations of a whole prompt, GFLOP", f"{per_pair / 1e9:.2f}"),
        ("bound for prompts that are read whole, pairs per second", spread(bounds)),
        ("ours / that bound", spread([turn.ours / b for turn, b in zip(found, bounds, strict=True)], ".2f")),
        ("that bound / one at a time", spread([b / turn.alone for turn, b in zip(found, bounds, strict=True)], ".2f")),
        ("largest difference of the vectors' numbers", f"{difference:.1e} (float16: {TOLERANCE:.1e})"),
    ]
    return ["| | median [min, max] over the turns |", "| --- | --- |", *(f"| {a} | {b} |" for a, b in rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("split", "profiles", "labels", "tuned"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=2000, help="the first of the split; 0: all")
    parser.add_argument("--alone", type=int, default=200, help="pairs for the released method")
    parser.add_argument("--batch-size", type=int, default=SynthesisConfig().batch_size)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    encoder, template = load_tuned(given.tuned, base_model(given.base, device=given.device))
    encoder.merge_adapter()
    inputs = inputs_of(given.split, given.profiles, given.labels, given.pairs)
    config = SynthesisConfig(batch_size=given.batch_size)
    found, difference = turns(encoder, template, inputs, config, given.alone, given.repeats)
    lengths = prompt_lengths(template, inputs)
    lines = ["# Synthesis of vectors", ""]
    lines += [
        f"{len(inputs.pairs):,} pairs of {given.split.name} through {given.tuned.name} ({given.base}), prompts of "
        f"{lengths.mean():.0f} tokens on average, {given.threads} threads, {given.repeats} turns; one at a time on "
        f"{min(given.alone, len(inputs.pairs)):,} of the pairs.",
        "",
    ]
    text = "\n".join([*lines, *report(found, difference, operations(encoder, lengths) / len(lengths))]) + "\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    if not difference <= TOLERANCE:
        sys.exit("the vectors of the two methods differ")


if __name__ == "__main__":
    main()
