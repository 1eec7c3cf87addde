"""Measure the share of suspects among the unobserved items that runs rank highest.

    python reproduction/suspects_in_top_items.py data/sports-split out/dtlns/shared/sports/suspects-rule out/dtlns/runs/sports/mf/*-seed[0-2]

Train pairs are masked, and other ids of their products, as for candidates of a judge; users are those with train pairs. Runs that differ only in the
seed are one line, with mean and standard deviation.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

from hardneg import pipeline
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.judging import suspects
from hardneg.pipeline.inference import require_split_of
from hardneg.pipeline.suspects import top_candidates
from hardneg.report import printers


def suspect_share(run: Path, owned: Interactions, pairs: Interactions, k: int) -> float:
    """Return the share of suspects among the k unobserved items of each user that a run ranks highest, over all users."""
    top = top_candidates(pipeline.read_run(run).score(), owned, k)
    users = np.broadcast_to(top.users[:, None], top.items.shape)
    return float(pairs.contains(users[top.present], top.items[top.present]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("suspects", type=Path, help="Suspects folder.")
    parser.add_argument("runs", type=Path, nargs="+", help="Run folders, NAME-seedN.")
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--out", type=Path, help="Also write the table here.")
    arguments = parser.parse_args()
    data = splits.read_split(arguments.split)
    pairs = suspects.read_suspects(arguments.suspects, data).above().pairs(data.train)
    shares_by_name: dict[str, list[float]] = {}
    for run in arguments.runs:
        require_split_of(run, arguments.split)
        name = re.sub(r"-seed\d+$", "", f"{run.parent.name}/{run.name}")
        shares_by_name.setdefault(name, []).append(suspect_share(run, data.owned, pairs, arguments.k))
    cells = [
        [
            name,
            str(len(shares)),
            f"{np.mean(shares):.1%}" + (f" ± {np.std(shares, ddof=1):.1%}" if len(shares) > 1 else ""),
        ]
        for name, shares in shares_by_name.items()
    ]
    text = printers.markdown(["runs", "seeds", f"suspects among the top {arguments.k}"], cells)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
