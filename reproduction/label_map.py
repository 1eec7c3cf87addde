"""Measure what vectors predict of MixGCF's labels beyond the positive, or beyond e_u and e_v, on held-out train pairs.

    python reproduction/label_map.py SPLIT LABELS TUNED tuned=out/written untuned=out/untuned "no LM=out/mlp" --run RUN --out results

TUNED: a folder by `hardneg finetune train`; the map is scored on pairs that it held out (`--also` another: pairs that both held
out). NAME=FOLDER: negatives folders of any method. RUN: the MixGCF run of LABELS. With it, the label of a pair is ranked among
1,000 fresh draws for other pairs of the same positive; without it, among the stored labels of those pairs, which are mostly fewer.

For each row one ridge map is fitted on pairs that TUNED was tuned on (`--fit-on fresh`: pairs that no folder was tuned on or held
out; all: pairs that were not held out), with its strength chosen on a fifth of them. A model may fit its own tuning pairs better
than others, and a map fitted there then suits held-out pairs worse; `fresh` avoids that. Other rows are the mean label, the
positive's embedding e_v, [e_u, e_v], and each named vector together with [e_u, e_v]: the vectors add something if that row is above
[e_u, e_v] alone. Intervals are 95 % over held-out pairs. The table is written to OUT.md and OUT.parquet.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from diagnostics.label_alternatives import DrawnLabels, LabelAlternatives, draw_alternatives, draw_more_labels
from diagnostics.label_map import LabelMap, compare_maps, fit_label_map
from diagnostics.label_origin import read_label_origin

from hardneg.artifacts import read_manifest
from hardneg.cli.output import show_progress
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.finetuning.folder import HELD_OUT, TUNED_ON
from hardneg.mining import labels
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.pipeline.tuning import TUNED
from hardneg.random import generator
from hardneg.report.printers import markdown
from hardneg.sampling import mined
from hardneg.types import Flags, Floats, Indices

FIT_ON = {
    "tuned": "which the first folder was tuned on",
    "fresh": "neither tuned on nor held out",
    "all": "not held out, tuned on or not",
}
BASE = "ridge on [e_u, e_v]"


@dataclass(frozen=True)
class Pairs:
    """Labels and vectors of the pairs of the table. fit, held: positions of those fitted on, and of those held out."""

    rows: Indices
    labels: Floats
    vectors: dict[str, Floats]
    fit: Indices
    held: Indices


def read_held_out(folders: list[Path], split_dir: Path) -> tuple[Indices, Indices]:
    """Return the pair indices that all tuned folders held out, and those that any did."""
    held_out = []
    for folder in folders:
        hash_of_same_split(folder, TUNED, split_dir)
        held_out.append(pl.read_parquet(folder / HELD_OUT)["pair_row"].to_numpy())
    rows, times = np.unique(np.concatenate(held_out), return_counts=True)
    if not (times == len(held_out)).any():
        raise DataError("no pair was held out by all tuned folders; tune them with the same settings of held-out pairs")
    return rows[times == len(held_out)], rows


def select_fit_pairs(arguments: argparse.Namespace, given: labels.LabelVectors, any_held: Indices) -> Indices:
    """Return the pair indices that may be fitted on."""
    free = np.ones(len(given.vectors), bool)
    free[any_held] = False
    if arguments.fit_on == "all":
        return np.flatnonzero(free)
    tuned = np.zeros(len(free), bool)
    folders = [arguments.tuned] if arguments.fit_on == "tuned" else [arguments.tuned, *arguments.also]
    for folder in folders:
        tuned[pl.read_parquet(folder / TUNED_ON)["pair_row"].to_numpy()] = True
    return np.flatnonzero(free & (tuned if arguments.fit_on == "tuned" else ~tuned))


def usable(tables: list[Floats]) -> Flags:
    """Return (pairs,) flags, True where every table has a label or vector."""
    return np.logical_and.reduce([np.isfinite(np.asarray(table[:, 0], np.float32)) for table in tables])


def gather(
    split: Split,
    given: labels.LabelVectors,
    tables: dict[str, Floats],
    held: Indices,
    free: Indices,
    fit: int,
    seed: int,
) -> Pairs:
    """Return the pairs of the table, with their vectors from every folder."""
    complete = usable([given.vectors, *tables.values()])
    held = held[complete[held]]
    free = free[complete[free]]
    if len(free) < 2:
        raise DataError(f"found {len(free)} pairs to fit on, expected 2 at least; choose others with --fit-on")
    fitted = np.sort(generator(seed, "pairs of label maps").permutation(free)[:fit])
    rows = np.concatenate([fitted, held])
    users, items = given.users[split.train.users[rows]], given.items[split.train.items[rows]]
    both = np.hstack([users, items])
    vectors = {"mean label": both[:, :0], "the positive's embedding e_v": items, BASE: both}
    named = {name: np.asarray(table[rows]) for name, table in tables.items()}
    vectors |= named | {f"[e_u, e_v, {name}]": np.hstack([both, table]) for name, table in named.items()}
    positions = np.arange(len(rows))
    return Pairs(rows, np.asarray(given.vectors[rows]), vectors, positions[: len(fitted)], positions[len(fitted) :])


def find_alternatives(
    arguments: argparse.Namespace, split: Split, given: labels.LabelVectors, held: Indices
) -> LabelAlternatives:
    """Return the labels that a label is ranked among: fresh draws where there is a run, else the stored labels."""
    train, most = split.train, arguments.alternatives
    if arguments.run is None:
        finite = np.flatnonzero(usable([given.vectors]))
        pool = DrawnLabels(given.vectors, np.arange(len(train)))
        pool = pool if len(finite) == len(train) else DrawnLabels(np.asarray(given.vectors[finite]), finite)
    else:
        embeddings, mixgcf, options = read_label_origin(arguments.split, arguments.run, arguments.labels, train)
        with show_progress() as bar:
            pool = draw_more_labels(embeddings, train, mixgcf, options, held, most=most, progress=bar)
    return draw_alternatives(held, train.items, pool, most=most, seed=arguments.seed)


def make_frame(maps: dict[str, LabelMap], widths: dict[str, int]) -> pl.DataFrame:
    """Return a row for each kind of vectors: scores, and differences to BASE with their intervals."""
    rows = []
    for name, label_map in maps.items():
        row = {"vectors": name, "width": widths[name], "strength": label_map.strength}
        row |= {figure: getattr(label_map, figure) for figure in ("r2", "cosine", "rank", "reciprocal_rank")}
        for figure, part in compare_maps(label_map, maps[BASE]).items():
            row |= {f"{figure}_{key}": value for key, value in vars(part).items()}
        rows.append(row)
    return pl.DataFrame(rows)


def table_text(frame: pl.DataFrame) -> str:
    headers = ["vectors", "width", "R2", "cosine", "share of alternatives nearer", "reciprocal rank"]
    headers += [f"R2 above {BASE}", "share nearer, difference to it"]
    cells = []
    for row in frame.to_dicts():
        figures = [f"{row[name]:.4f}" for name in ("r2", "cosine", "rank", "reciprocal_rank")]
        against = [
            "" if row["vectors"] == BASE
            else f"{row[f'{name}_difference']:+.4f} [{row[f'{name}_low']:+.4f}, {row[f'{name}_high']:+.4f}]"
            for name in ("r2", "rank")
        ]  # fmt: skip
        cells.append([row["vectors"], str(row["width"]), *figures, *against])
    return markdown(headers, cells)


def notes_text(pairs: Pairs, alternatives: LabelAlternatives, fresh: bool, fitted: str) -> str:
    counts = alternatives.counts
    chance = np.mean([np.mean(1 / np.arange(1, n + 2)) for n in counts[counts > 0].tolist()] or [np.nan])
    kind = "fresh draws for other pairs" if fresh else "stored labels of other pairs"
    return (
        f"{len(pairs.held):,} held-out pairs, {len(pairs.fit):,} pairs fitted on ({FIT_ON[fitted]}). Ranked among {kind} of the same "
        f"positive: {counts.mean():,.0f} on average, {int((counts == 0).sum()):,} pairs with none. Chance: share "
        f"0.5, reciprocal rank {chance:.4f}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("tuned", type=Path)
    parser.add_argument("vectors", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--also", type=Path, action="append", default=[], help="Another tuned folder.")
    parser.add_argument("--run", type=Path, help="The MixGCF run of the labels.")
    parser.add_argument("--fit", type=int, default=50_000, help="Maximum number of pairs to fit on.")
    parser.add_argument("--fit-on", choices=list(FIT_ON), default="tuned", help="Pairs to fit on.")
    parser.add_argument("--alternatives", type=int, default=1000, help="Maximum number of labels to rank among.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Write OUT.md and OUT.parquet.")
    arguments = parser.parse_intermixed_args()
    split = splits.read_split(arguments.split)
    hash_of_same_split(arguments.labels, labels.KIND, arguments.split)
    given = labels.read_labels(arguments.labels, split.train)
    tables, sources = {}, []
    for name, _, folder in (word.rpartition("=") for word in arguments.vectors):
        hash_of_same_split(Path(folder), mined.KIND, arguments.split)
        tables[name] = mined.read_negatives(Path(folder), split.vocabulary, len(split.train)).vectors
        sources.append(f"{name}: {read_manifest(Path(folder), mined.KIND)['notes']['source']}.")
    held, any_held = read_held_out([arguments.tuned, *arguments.also], arguments.split)
    free = select_fit_pairs(arguments, given, any_held)
    pairs = gather(split, given, tables, held, free, arguments.fit, arguments.seed)
    alternatives = find_alternatives(arguments, split, given, pairs.rows[pairs.held])
    maps = {
        name: fit_label_map(table, pairs.labels, fit=pairs.fit, held_out=pairs.held, alternatives=alternatives)
        for name, table in pairs.vectors.items()
    }
    frame = make_frame(maps, {name: table.shape[1] for name, table in pairs.vectors.items()})
    text = (
        table_text(frame)
        + "\n"
        + notes_text(pairs, alternatives, arguments.run is not None, arguments.fit_on)
        + "".join(f"{s} " for s in sources)
    )
    print(text)
    if arguments.out:
        arguments.out.with_suffix(".md").write_text(text.rstrip() + "\n", encoding="utf-8")
        frame.write_parquet(arguments.out.with_suffix(".parquet"))


if __name__ == "__main__":
    main()
