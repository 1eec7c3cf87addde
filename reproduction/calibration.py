"""Measure how often equal methods are called different: the shares in the docstring of `hardneg.evaluation.compare_methods`.

    python reproduction/calibration.py [--repetitions 4000]

4,000 repetitions (a standard error of 0.3 points) take about four minutes on one core. Writes studies/results/calibration.md
and .parquet.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import polars as pl

from diagnostics import calibration
from hardneg.report import printers

RESULTS = Path(__file__).parents[1] / "studies" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=4000)
    repetitions = parser.parse_args().repetitions
    lines = []
    for kind, settings in (("alike", calibration.ALIKE), ("unlike", calibration.UNLIKE)):
        for name, setting in settings.items():
            shares = {
                f"{a} : {b}": calibration.share_called_different(replace(setting, seeds=(a, b)), repetitions)
                for a, b in calibration.SEED_COUNTS
            }
            lines.append({"methods": kind, "what varies": name, **shares})
            print(lines[-1], flush=True)
    frame = pl.DataFrame(lines)
    frame.write_parquet(RESULTS / "calibration.parquet")
    cells = [[f"{cell:.1%}" if isinstance(cell, float) else cell for cell in row] for row in frame.iter_rows()]
    (RESULTS / "calibration.md").write_text(printers.markdown(frame.columns, cells), encoding="utf-8")


if __name__ == "__main__":
    main()
