"""Compare weights of suspects as positives by the best validation Recall@20 and nDCG@20. No test pair is read.

    python reproduction/suspect_weights.py data/cds-split out/dtlns/runs/cds-by-time/mf/mixgcf-seed0 out/dtlns/shared/cds-by-time/suspects-rule

RUN: a run trained without suspects; every line has its settings. The first line has no suspects. Suspects are not in the graph.
Lines named "batch" have no suspects but smaller batches, since suspects take up part of a batch.
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
from hardneg.report import printers

METRICS = ("recall@20", "ndcg@20")


def best_values(split: Path, config: RunConfig, suspects: Path | None) -> list[float]:
    """Train a run, and return the best validation value of each metric."""
    with TemporaryDirectory() as folder:
        pipeline.train_stage(split, config, suspects=suspects).run(Path(folder) / "run")
        curves = pl.read_parquet(Path(folder) / "run" / "metrics.parquet").filter(split="valid")
    return [float(curves.filter(metric=metric)["value"].max()) for metric in METRICS]  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("run", type=Path, help="Run folder.")
    parser.add_argument("suspects", type=Path, nargs="+", help="Suspects folders.")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.3])
    parser.add_argument("--batches", type=int, nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="Also write the table here.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    plain: dict[str, Any] = read_yaml(arguments.run / "config.yaml")[0]
    lines = [("no suspects", plain, None)]
    lines += [
        (f"batch {size}, no suspects", plain | {"fit": plain["fit"] | {"batch_size": size}}, None)
        for size in arguments.batches
    ]
    lines += [
        (f"{folder.name}, weight {weight:g}", plain | {"suspects": {"use": "positives", "weight": weight}}, folder)
        for folder in arguments.suspects
        for weight in arguments.weights
    ]
    cells = []
    for name, settings, folder in lines:
        config = RunConfig.model_validate(settings)
        seeded = [
            config.model_copy(update={"fit": config.fit.model_copy(update={"seed": n})}) for n in range(arguments.seeds)
        ]
        values = np.array([best_values(arguments.split, seed_config, folder) for seed_config in seeded])
        spread = [f" ± {sd:.4f}" for sd in values.std(0, ddof=1)] if arguments.seeds > 1 else [""] * len(METRICS)
        cells.append(
            [name, *(f"{mean:.4f}{deviation}" for mean, deviation in zip(values.mean(0), spread, strict=True))]
        )
        print(" | ".join(cells[-1]), flush=True)
    text = printers.markdown(["suspects", *(f"validation {metric}" for metric in METRICS)], cells)
    print("\n" + text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
