"""Estimates of the seconds of fine-tuning and of synthesis, from a moment of each with stand-ins for embeddings and labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.finetuning.inputs import LabelledPairs, PairInputs, Template
from hardneg.finetuning.model import AnyEncoder, HardNegativeEncoder
from hardneg.finetuning.synthesis import SynthesisConfig, encode_pairs, shares_prefixes
from hardneg.finetuning.tuning import TuningConfig, TuningLoop, count_held_out
from hardneg.random import generator
from hardneg.text.texts import item_texts

TUNED_PAIRS, SYNTHESIZED_PAIRS = 32, 128
"""Pairs that are timed with a language model."""
MOMENT = 1.0
"""Seconds above which work is not repeated."""
SIZE = 64
"""Size of the embeddings that stand in; the time hardly depends on it."""


def make_stand_ins(split: Split, n: int) -> LabelledPairs:
    """Return the first n training pairs, with random embeddings and labels that cost as much as real ones.

    A user's profile is the texts of the sampled items; as profiles are cut, it costs as much as a longer one.
    """
    users, user_at = np.unique(split.train.users[:n], return_inverse=True)
    items, item_at = np.unique(split.train.items[:n], return_inverse=True)
    texts, rng = item_texts(split.texts), generator(0, "stand-in")
    item_profiles = [texts[item] for item in items.tolist()]
    user_profiles = [" ".join(item_profiles[at] for at in item_at[user_at == user]) for user in range(len(users))]
    tables = [rng.standard_normal((len(rows), SIZE)).astype(np.float32) for rows in (users, items, user_at)]
    pairs = Interactions(user_at, item_at, len(users), len(items))
    return PairInputs(pairs, user_profiles, item_profiles, *tables[:2]), tables[2]


def estimate_tuning(
    encoder: AnyEncoder, template: Template, sample: LabelledPairs, n_pairs: int, config: TuningConfig
) -> float:
    """Return the seconds of tuning on `n_pairs` training pairs to the last epoch; early stopping may undercut them."""
    inputs, labels = sample
    held_out = count_held_out(n_pairs := min(config.pairs, n_pairs), config)
    batch_size = min(config.batch_size, n_pairs - held_out)
    steps = (n_pairs - held_out) // batch_size * config.epochs
    timed = min(batch_size, len(inputs.pairs))
    # Two micro-batches, unless one is the batch: gradients are cached as in tuning.
    micro_batch = timed if config.micro_batch >= batch_size else min(config.micro_batch, max(timed // 2, 1))
    shorter = config.model_copy(update={"batch_size": timed, "micro_batch": micro_batch, "accumulate": 1})
    rows = np.arange(timed)
    loop = TuningLoop(encoder, template, inputs, labels, shorter, rows=rows, held_out=rows, sets=None)
    check_seconds = _seconds(loop.check) / timed
    step_seconds = _seconds(loop.step) / timed if steps else 0.0
    checks = 1 + math.ceil(steps / config.look_every)
    return steps * batch_size * step_seconds + checks * held_out * check_seconds


def estimate_synthesis(
    encoder: AnyEncoder, template: Template, sample: LabelledPairs, train: Interactions, config: SynthesisConfig
) -> float:
    """Return the seconds of synthesis for all training pairs."""
    inputs, _ = sample
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    share = config.share_prefix and shares_prefixes(encoder.eval(), template)
    rows = np.arange(len(inputs.pairs))
    seconds = _seconds(
        lambda: encode_pairs(encoder, inputs, tokens, rows, batch_size=config.batch_size, share_prefixes=share)
    )
    if isinstance(encoder, HardNegativeEncoder) and encoder.config.reading == "apart":  # each user and item once
        return seconds * (train.n_users + train.n_items) / (inputs.pairs.n_users + inputs.pairs.n_items)
    return seconds * len(train) / len(inputs.pairs)


def _seconds(work: Callable[[], object]) -> float:
    """Return the seconds of work; of its second time where the first was short, as it may load libraries."""
    for _ in range(2):
        started = time.perf_counter()
        work()
        if (seconds := time.perf_counter() - started) > MOMENT:
            break
    return seconds
