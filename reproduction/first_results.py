"""Make the tables of docs/results/tables/untuned.md: every sampler, untuned, on one real split.

    python reproduction/first_results.py scientific data/scientific-split
    python reproduction/first_results.py sports data/sports-split

docs/results/baselines.md has the commands that make the two splits. Runs are written to out/NAME; finished ones are not
repeated. The table is written to studies/results/NAME.parquet and NAME.md. Nothing is tuned: all rows of a table have the same
settings, fixed beforehand, and the samplers have their defaults.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from hardneg import pipeline, studies
from hardneg.evaluation import compare_methods, holm
from hardneg.mining import RetrievalConfig
from hardneg.models import LightGCN
from hardneg.report import printers, tables
from hardneg.sampling import DNS, MixGCF, SamplerConfig, Semantic, Uniform
from hardneg.text import sentence_encoder
from hardneg.training import FitConfig

RESULTS = Path(__file__).parents[1] / "studies" / "results"
METRICS = ("ndcg@20", "recall@20")
# Fixed beforehand, and the same for every row of a table.
L2 = {"sports": 1e-4, "scientific": 1e-2}


def progress(what: str, done: int, total: int) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}: {done}/{total}", flush=True)


def make_rows(name: str, split: Path, out: Path) -> list[studies.Row]:
    fit = FitConfig(learning_rate=3e-3, l2=L2[name])
    retrieved, random = out / "retrieved", out / "random"

    def row(label: str, sampler: SamplerConfig, negatives: Path | None = None) -> studies.Row:
        config = pipeline.RunConfig(model=LightGCN(), sampler=sampler, fit=fit)
        return studies.Row(label, config, {} if negatives is None else {"negatives": negatives})

    rows = [row("uniform", Uniform()), row("DNS", DNS(candidates=10)), row("MixGCF", MixGCF(candidates=16))]
    if name == "sports":  # no item texts
        return rows
    pipeline.extract_profiles_stage(split).run(out / "profiles")
    pipeline.retrieve_stage(split, out / "profiles", RetrievalConfig(), sentence_encoder(), progress).run(retrieved)
    pipeline.random_negatives_stage(split, retrieved, seed=0).run(random)
    for suffix, match in (("", False), (", norms matched", True)):
        sampler = Semantic(match_norm=match)
        rows.append(row(f"semantic (retrieved, MiniLM){suffix}", sampler, retrieved))
        rows.append(row(f"semantic (random vectors, control){suffix}", sampler, random))
    return rows


def compare_with_controls(scores: list[tables.MethodScores]) -> str:
    """Return a table of every text row against its control with random vectors, Holm over these comparisons."""
    by_name = {row.name: row for row in scores}
    pairs = [
        (name, name.replace("retrieved, MiniLM", "random vectors, control")) for name in by_name if "MiniLM" in name
    ]
    if not pairs:
        return ""
    gains = [
        compare_methods(by_name[text].values[METRICS[0]], by_name[control].values[METRICS[0]])
        for text, control in pairs
    ]
    adjusted = holm([gain.p for gain in gains])
    cells = [
        [text, f"{g.relative:+.1%} [{g.relative_low:+.1%}, {g.relative_high:+.1%}]", printers.p_text(p)]
        for (text, _), g, p in zip(pairs, gains, adjusted, strict=True)
    ]
    return "\n" + printers.markdown(
        ["row", f"{printers.metric_label(METRICS[0])} vs its control [95 %]", "p (Holm)"], cells
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(L2))
    parser.add_argument("split", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = Path("out") / arguments.name
    rows = make_rows(arguments.name, arguments.split, out)
    scores = studies.run_rows(
        arguments.split,
        rows,
        range(arguments.seeds),
        out / "runs",
        workers=arguments.workers,
        ended=lambda done, total, run: progress(run, done, total),
    )
    frame = tables.comparison_table(scores, "uniform", METRICS)
    RESULTS.mkdir(exist_ok=True)
    frame.write_parquet(RESULTS / f"{arguments.name}.parquet")
    headers, cells = printers.comparison_text(frame, METRICS, "uniform")
    text = printers.markdown(headers, cells) + compare_with_controls(scores)
    (RESULTS / f"{arguments.name}.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
