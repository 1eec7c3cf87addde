"""Speed of hardneg, RecBole, cornac and implicit on the same pairs with one thread, in turn.

    python benchmarks/peers.py data/sports-split [--repeats 5] [--only lightgcn|backbones|mf|evaluation] [--models BPR NGCF ...] [--out benchmarks/results/peers.md]

Every library is a process with its own interpreter: peers run in .venv-peers (make .venv-peers/done). Each does its work
once unmeasured; then all take turns, and ratios are taken within each turn.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import load, machine
from peer_libraries.backbone_options import KINDS
from peer_processes import Answers, Entry, export, ratio_table, require_peers, seconds_table, take_turns

from hardneg.data import Split
from hardneg.data import split as splits

OVERSHOOT = 1.1
"""CPU seconds / wall seconds above which a peer must have used more than one thread."""
SAME_METRIC = 1e-5
"""Scores that are equal up to rounding may swap ranks; a larger difference means another metric."""


def recbole(name: str, *arguments: str) -> Entry:
    return Entry(f"RecBole {name}", "recbole_peer.py", arguments)


def ours(name: str, *arguments: str) -> Entry:
    return Entry(f"ours {name}", "ours.py", arguments)


@dataclass(frozen=True)
class Task:
    """Work to measure ("epoch" or "evaluate"), the processes that do it, and the pairs that are compared."""

    title: str
    note: str
    line: str
    entries: Sequence[Entry]
    pairs: Sequence[tuple[str, str]]


def lightgcn() -> Task:
    own = [
        ours(f"{sampler}, {bits} bits", "lightgcn", kind, storage)
        for sampler, kind in (("uniform", "uniform"), ("DNS(10)", "dns"), ("MixGCF(10)", "mixgcf"))
        for bits, storage in ((32, "float32"), (16, "float16"))
    ]
    peers = [recbole("uniform", "LightGCN", "uniform"), recbole("DNS(10)", "LightGCN", "dns")]
    pairs = [("RecBole uniform", entry.name) for entry in own]
    pairs += [("RecBole DNS(10)", entry.name) for entry in own if entry.arguments[1] != "uniform"]
    pairs += [(f"ours MixGCF(10), {bits} bits", f"ours uniform, {bits} bits") for bits in (32, 16)]
    note = (
        "LightGCN, size 64, 3 hops, batch 2048, Adam. RecBole through its Trainer and loaders; our epoch is a call of fit, "
        "so it includes a new Adam and one more propagation for a validation check. RecBole has no MixGCF: ours is "
        "compared with its uniform and its DNS epoch."
    )
    return Task("LightGCN, one epoch", note, "epoch", [*peers, *own], pairs)


def mf() -> Task:
    own = ours("MF, uniform", "mf", "uniform")
    peers = [
        recbole("BPR", "BPR", "uniform"),
        Entry("cornac BPR", "cornac_bpr.py", ()),
        Entry("implicit BPR", "implicit_bpr.py", ()),
    ]
    note = (
        "Matrix factorisation, size 64. RecBole and we do Adam by batches of 2048; cornac and implicit do sequential SGD, "
        "pair by pair, compiled (10 passes a turn, seconds per pass). So this is the speed of one pass over the pairs, "
        "not of equal work: Adam moves every row of both tables in every step."
    )
    return Task("MF-BPR, one pass", note, "epoch", [*peers, own], [(peer.name, own.name) for peer in peers])


def backbones(models: Sequence[str]) -> Task:
    entries, pairs = list[Entry](), list[tuple[str, str]]()
    for model in models:
        theirs, own = recbole(model, model, "uniform"), ours(model, KINDS[model], "uniform")
        entries += [theirs, own]
        pairs.append((theirs.name, own.name))
    note = (
        "Size 64, 3 hops (DGCF: 1 hop, 2 iterations, 4 intents), batch 2048, Adam, uniform negatives; dropout of NGCF, "
        "views and noise as in both libraries' settings. RecBole has no SimGCL: it is a few lines on RecBole's LightGCN "
        "(recbole_simgcl.py). RecBole's BPR has no L2, and its SGL compares with all users and all items, ours with those "
        "of the batch."
    )
    return Task("Backbones, one epoch", note, "epoch", entries, pairs)


def evaluation(n_items: int) -> Task:
    own, short = ours("evaluation", "mf", "uniform"), ours("evaluation, 16-bit shortlist", "mf", "uniform", "shortlist")
    at_once = max(4096 // (n_items + 1), 1)
    peers = [
        recbole(f"evaluation, default ({at_once} user{'s' * (at_once > 1)} per batch)", "LightGCN", "uniform"),
        recbole("evaluation, 512 users a batch", "LightGCN", "uniform", str(512 * (n_items + 1))),
        Entry("cornac ranking_eval", "cornac_bpr.py", ()),
        Entry("implicit ranking_metrics_at_k", "implicit_bpr.py", ()),
    ]
    note = (
        "Recall@20 and nDCG@20 of all test users, all items ranked, train and validation pairs masked, the same random "
        "tables of size 64 for everybody. implicit measures no recall. RecBole counts eval_batch_size in scores, not "
        "users: its default is 4096."
    )
    pairs = [(r.name, own.name) for r in peers] + [(own.name, short.name), (peers[0].name, short.name)]
    return Task("Evaluation, top 20, full ranking", note, "evaluate", [*peers, own, short], pairs)


def report(task: Task, data: Path, repeats: int, clock: str) -> str:
    answers_of, about = take_turns(task.entries, task.line, data, repeats)
    notes = [f"Left out: {name} ({info['skip']})." for name, info in about.items() if "skip" in info]
    notes += disagreements(answers_of)
    notes += [
        f"{name} used {answer['cpu'] / answer['wall']:.2f} CPU seconds per second: not one thread."
        for name, answers in answers_of.items()
        for answer in answers[:1]
        if answer["cpu"] > OVERSHOOT * answer["wall"]
    ]
    versions = {name.split()[0]: info["version"] for name, info in about.items() if "version" in info}
    notes.append("Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    ratios = ratio_table(answers_of, task.pairs, clock)
    return "\n\n".join([f"## {task.title}", task.note, seconds_table(answers_of), ratios, *notes])


def disagreements(answers_of: Answers) -> list[str]:
    """Return a note on the largest difference between metrics; equal metrics show that the work is equal."""
    measured = [answers[0] for answers in answers_of.values()]
    differences = {}
    for metric in sorted({name for answer in measured for name in answer} - {"wall", "cpu"}):
        values = [answer[metric] for answer in measured if metric in answer]
        differences[metric] = max(values) - min(values)
    if not differences:
        return []
    verdict = (
        "the metrics agree" if max(differences.values()) < SAME_METRIC else "THE METRICS DIFFER, so the work does too"
    )
    return [f"Largest difference of a metric: {max(differences.values()):.0e}: {verdict}."]


def heading(split: Split, name: str, arguments: Any) -> str:
    sizes = f"{split.train.n_users:,} users, {split.train.n_items:,} items, {len(split.train):,} train pairs"
    return (
        f"# hardneg and its peers\n\n{name}: {sizes}, {len(set(split.test.users.tolist())):,} test users. One thread each, "
        f"{arguments.repeats} repeats in turn; a ratio is of {arguments.clock} seconds within one turn. {machine()}, load "
        f"averages at the start {load()}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["lightgcn", "backbones", "mf", "evaluation"], help="one task; default: all")
    parser.add_argument("--models", nargs="+", choices=KINDS, default=list(KINDS), help="of the task backbones")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="what ratios are taken of")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    require_peers()
    split = splits.read_split(arguments.split)
    tasks = {
        "lightgcn": lightgcn(),
        "backbones": backbones(arguments.models),
        "evaluation": evaluation(split.train.n_items),
        "mf": mf(),
    }
    chosen = [arguments.only] if arguments.only else list(tasks)
    parts = [heading(split, arguments.split.name, arguments)]
    print(parts[0], flush=True)
    with tempfile.TemporaryDirectory() as name:
        export(split, Path(name))
        for task in chosen:
            parts.append(report(tasks[task], Path(name), arguments.repeats, arguments.clock))
            print("\n" + parts[-1], flush=True)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
