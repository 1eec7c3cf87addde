"""Draw the figures of docs/results/ from the committed tables of studies/results/.

python reproduction/figures.py --out docs/images
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

RESULTS = Path(__file__).parent.parent / "studies" / "results"
EFFECT = re.compile(r"([+-][\d.]+)% \[([+-][\d.]+)%, ([+-][\d.]+)%\] +\| +(?:< )?([\d.]+)")
SIGNIFICANT = 0.05
PARTS = ("DTL-NS, sampler", "DTL-NS, exclusion", "DTL-NS, positives", "DTL-NS, all")


@dataclass(frozen=True)
class Effect:
    """A relative difference of nDCG@20 with its 95 % interval, in percent, and p after Holm."""

    label: str
    value: float
    low: float
    high: float
    p: float


def section(path: Path, *headings: str) -> list[str]:
    """Return the lines below the headings, each looked up after the one before it."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for heading in headings:
        lines = lines[lines.index(heading) + 1 :]
    following = [number for number, line in enumerate(lines) if line.startswith("#")]
    return lines[: following[0] if following else None]


def effects(lines: Sequence[str], label_column: int = 0) -> list[Effect]:
    """Return the effect of every table row that states one; label_column counts the cells from 0."""
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    matches = [(cells[label_column].strip(), EFFECT.search("|".join(cells))) for cells in rows]
    return [Effect(label, *(float(number) for number in match.groups())) for label, match in matches if match]


def forest(axes: Axes, title: str, rows: Sequence[Effect]) -> None:
    """Draw one panel: a dot with its interval for every row, from top to bottom."""
    places = range(len(rows))
    axes.axvline(0, color="0.6", linewidth=0.8)
    for place, row in zip(places, rows, strict=True):
        colour = "0.45" if row.p >= SIGNIFICANT else "tab:green" if row.value > 0 else "tab:red"
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=1.5)
        axes.plot(row.value, place, "o", color=colour, markersize=4)
    axes.set_yticks(places, [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def save(out: Path, panels: dict[str, list[Effect]], columns: int, unit: str) -> None:
    """Write an SVG file with one panel for each entry; panels of a row share their labels."""
    rows = -(-len(panels) // columns)
    height = 0.7 * rows + 0.24 * rows * max(len(effects) for effects in panels.values())
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(3.1 * columns + 1.6, height),
        sharey="row",
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (title, rows_of_panel) in zip(grid.flat, panels.items(), strict=True):
        forest(axes, title, rows_of_panel)
    figure.supxlabel(unit, fontsize=9)
    figure.savefig(out, metadata={"Date": None})
    plt.close(figure)


def baselines() -> dict[str, list[Effect]]:
    """Return DNS and MixGCF compared with uniform negatives."""
    path = RESULTS / "main" / "tables.md"
    tables = ("scientific", "sports", "yelp")
    return {
        f"{name.capitalize()}, {model}": effects(section(path, f"## {name}, {model}"))
        for model in ("MF", "LightGCN")
        for name in tables
    }


def hnlmrec() -> dict[str, list[Effect]]:
    """Return HNLMRec compared with each of the controls that Scientific and Yelp share."""
    heading = "### HNLMRec against its controls"
    panels = {
        "Scientific": effects(
            section(RESULTS / "hnlmrec" / "tables.md", "## scientific, LightGCN", heading), label_column=1
        ),
        "Yelp": effects(section(RESULTS / "hnlmrec" / "yelp.md", "## yelp, LightGCN", heading), label_column=1),
    }
    shared = {row.label for row in panels["Scientific"]} & {row.label for row in panels["Yelp"]}
    order = [row.label for row in panels["Yelp"] if row.label in shared]
    return {
        title: sorted((row for row in rows if row.label in shared), key=lambda row: order.index(row.label))
        for title, rows in panels.items()
    }


def dtl_ns() -> dict[str, list[Effect]]:
    """Return the parts of DTL-NS compared with MixGCF."""
    tables = {"sports": "Sports", "cds by time": "CDs by time", "toys": "Toys"}
    return {
        f"{title}, {model}": [
            row
            for row in effects(section(RESULTS / "dtlns" / f"{name.replace(' ', '-')}.md", f"## {name}, {model}"))
            if row.label in PARTS
        ]
        for model in ("MF", "LightGCN")
        for name, title in tables.items()
    }


def main() -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "hardneg", "font.size": 8})
    unit = "difference of nDCG@20 from {}, percent, with 95 % interval"
    save(out / "baselines.svg", baselines(), 3, unit.format("uniform negatives"))
    save(out / "hnlmrec-controls.svg", hnlmrec(), 2, unit.format("the control"))
    save(out / "dtl-ns-parts.svg", dtl_ns(), 3, unit.format("MixGCF"))


if __name__ == "__main__":
    main()
