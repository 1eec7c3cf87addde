"""Compare variants of eq. 6 to 10, each with synthesized vectors, random ones, and those of other pairs: validation Recall@20.

    python reproduction/semantic_variants.py data/store-split out/hnlmrec-search/shared/informative/negatives-full --l2 1e-2 --seeds 2

NEGATIVES: a negatives folder of SPLIT with vectors. LightGCN with 3 hops, at most 150 epochs. Nothing is tuned, and no test
pair is read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.fitting import FitInputs, fit_backbone
from hardneg.mining import labels
from hardneg.models import LightGCN
from hardneg.random import generator
from hardneg.sampling import DNS, MinedNegatives, MixGCF, SamplerConfig, Semantic, Uniform, mined
from hardneg.training import FitConfig

FROZEN = {"without_alignment": True, "detach_projector": True}
VARIANTS: dict[str, dict[str, object]] = {
    "norm matched": {},
    "without alignment": {"without_alignment": True},
    "frozen projector": FROZEN,
    "centred": {"centred": True, "without_alignment": True},
    "centred, frozen": {"centred": True, **FROZEN},
    "frozen, on hard items": {"candidates": 10, **FROZEN},
    "centred, frozen, on hard items": {"centred": True, "candidates": 10, **FROZEN},
}


def train_seeds(data: Split, sampler: SamplerConfig, vectors: MinedNegatives | None, fit: FitConfig, seeds: int) -> str:
    """Return mean and standard deviation over seeds of the best value on validation pairs."""
    values = []
    for seed in range(seeds):
        model = LightGCN(hops=3).build(data.train, seed=seed)
        trained = fit_backbone(
            model, data, sampler=sampler, config=fit.model_copy(update={"seed": seed}), inputs=FitInputs(mined=vectors)
        )
        values.append(trained.state.best_value)
    return f"{np.mean(values):.4f} ± {np.std(values):.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("negatives", type=Path)
    parser.add_argument("--l2", type=float, default=1e-2)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.1])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = splits.read_split(arguments.split)
    synthesized = mined.read_negatives(arguments.negatives, data.vocabulary, len(data.train))
    order = generator(0, "shuffled pairs").permutation(len(data.train))
    kinds = {
        "written": synthesized,
        "random": labels.random_control(synthesized, generator(0, "random vectors")),
        "shuffled": labels.shuffled_control(synthesized, order),
    }
    fit = FitConfig(
        learning_rate=arguments.learning_rate, l2=arguments.l2, epochs=arguments.epochs, check_every=5, patience=4
    )
    for sampler in (Uniform(), MixGCF(), DNS()):
        print(f"{sampler.kind}: {train_seeds(data, sampler, None, fit, arguments.seeds)}\n", flush=True)
    print("| alpha | remedy | " + " | ".join(kinds) + " |\n|" + " --- |" * (2 + len(kinds)))
    for alpha in arguments.alphas:
        for name, options in VARIANTS.items():
            sampler = Semantic(alpha=alpha, match_norm=True, **options)  # type: ignore[arg-type]
            cells = (train_seeds(data, sampler, vectors, fit, arguments.seeds) for vectors in kinds.values())
            print(f"| {alpha:g} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
