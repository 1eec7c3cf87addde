"""How much suspects should weigh as positives: the best validation Recall@20 and nDCG@20 by weight. No test pair is read.

    python reproduction/suspect_weights.py data/cds-split out/dtlns/runs/cds-by-time/mf/mixgcf-seed0 out/dtlns/shared/cds-by-time/suspects-rule

RUN: one trained without suspects; its settings are those of every line, whose first has no suspects. Nothing is propagated over
suspects. Lines named "batch" have no suspects either, but smaller batches, since with them a batch holds fewer train pairs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import torch

from hardneg import pipeline
from hardneg.config import read_yaml
from hardneg.pipeline import RunConfig
from hardneg.report import tables

METRICS = ("recall@20", "ndcg@20")


def looks(split: Path, config: RunConfig, suspects: Path | None) -> list[float]:
    """The largest value of each metric that a run had at any look."""
    with TemporaryDirectory() as folder:
        pipeline.train_stage(split, config, suspects=suspects).run(Path(folder) / "run")
        found = pl.read_parquet(Path(folder) / "run" / "metrics.parquet").filter(split="valid")
    return [float(found.filter(metric=metric)["value"].max()) for metric in METRICS]  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("run", type=Path, help="Run folder.")
    parser.add_argument("suspects", type=Path, nargs="+", help="Suspects folders.")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.3])
    parser.add_argument("--batches", type=int, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="Also write the table here.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    plain: dict[str, Any] = read_yaml(given.run / "config.yaml")[0]
    lines = [("no suspects", plain, None)]
    lines += [
        (f"batch {size}, no suspects", plain | {"fit": plain["fit"] | {"batch_size": size}}, None)
        for size in given.batches
    ]
    lines += [
        (f"{folder.name}, weight {weight:g}", plain | {"suspects": {"use": "positives", "weight": weight}}, folder)
        for folder in given.suspects
        for weight in given.weights
    ]
    cells = []
    for name, settings, folder in lines:
        config = RunConfig.model_validate(settings)
        seeded = [
            config.model_copy(update={"fit": config.fit.model_copy(update={"seed": n})}) for n in range(given.seeds)
        ]
        found = np.array([looks(given.split, one, folder) for one in seeded])
        spread = [f" ± {sd:.4f}" for sd in found.std(0, ddof=1)] if given.seeds > 1 else [""] * len(METRICS)
        cells.append([name, *(f"{mean:.4f}{said}" for mean, said in zip(found.mean(0), spread, strict=True))])
        print(" | ".join(cells[-1]), flush=True)
    text = tables.markdown(["suspects", *(f"validation {metric}" for metric in METRICS)], cells)
    print("\n" + text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
