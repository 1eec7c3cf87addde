"""Measure the gain by DTL-NS's released mask alone: trained runs under the train mask and under the released mask.

    python reproduction/released_mask.py SPLIT ENHANCED RUN [RUN ...] [--item-offset N] [--out FILE.md]

ENHANCED: train_enhance_dtl_fni.txt of the release, or its .gz. Nothing is trained, and the runs are not changed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from diagnostics.added_pairs import added_pairs

from hardneg.data import split as splits
from hardneg.evaluation import evaluate_scores
from hardneg.evaluation.released import WARNING, released_mask
from hardneg.pipeline import read_run
from hardneg.pipeline.inference import require_split_of
from hardneg.report import printers

METRICS = ("ndcg@20", "recall@20", "ndcg@10", "recall@10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("enhanced", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--item-offset", type=int, help="Number of the first item [the number of users].")
    parser.add_argument("--out", type=Path, help="Also write the table here.")
    arguments = parser.parse_args()
    for run in arguments.runs:
        require_split_of(run, arguments.split)
    data = splits.read_split(arguments.split)
    offset = data.train.n_users if arguments.item_offset is None else arguments.item_offset
    added, row_report = added_pairs(arguments.enhanced, data, item_offset=offset)
    mask = released_mask(data.train, added, data.valid, data.test)
    values = np.zeros((2, len(arguments.runs), len(METRICS)))
    for number, folder in enumerate(arguments.runs):
        score = read_run(folder).score()
        for row, masked in enumerate((data.train, mask.pairs)):
            means = evaluate_scores(score, data.test, masked, metrics=METRICS).means()
            values[row, number] = [means[name] for name in METRICS]
        print(f"{folder}: done", flush=True)
    honest, released = values.mean(axis=1)
    lifts = values[1] / values[0] - 1
    cells = [
        [
            printers.metric_label(name),
            f"{honest[k]:.4f}",
            f"{released[k]:.4f}",
            f"{released[k] / honest[k] - 1:+.1%}",
            f"{lifts[:, k].min():+.1%} to {lifts[:, k].max():+.1%}",
        ]
        for k, name in enumerate(METRICS)
    ]
    headers = ["", "train mask", "RELEASED MASK (not valid)", "the mask alone adds", "by run"]
    counts = f"{mask.added:,} added positives are masked, {mask.spared:,} were held out and are not; {len(arguments.runs)} run(s)."
    text = f"**{WARNING}.**\n\n{printers.markdown(headers, cells)}\n{counts}\n" + "".join(
        f"\n{issue}\n" for issue in row_report
    )
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
