"""RecBole, cornac and implicit beside hardneg: same pairs, one thread, in turn.

    python benchmarks/peers.py data/sports-split [--repeats 5] [--only lightgcn|mf|evaluation] [--out benchmarks/results/peers.md]

Every peer is a process of its own with its own interpreter: peers run in .venv-peers (make .venv-peers/done).
Each does its work once unmeasured; then all take turns, and a ratio is taken within each turn.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peer_processes import Answers, Entry, export, ratio_table, require_peers, seconds_table, take_turns
from machine import load, machine

from hardneg.data import Split
from hardneg.data import split as splits

OVERSHOOT = 1.1
"""CPU seconds over wall seconds from which on a peer cannot have kept to one thread."""
SAME_METRIC = 1e-5
"""Scores that are equal but for rounding may change places; more than that is another measure."""


def recbole(name: str, *arguments: str) -> Entry:
    return Entry(f"RecBole {name}", "recbole_peer.py", arguments)


def ours(name: str, *arguments: str) -> Entry:
    return Entry(f"ours {name}", "ours.py", arguments)


@dataclass(frozen=True)
class Task:
    """What is done ("epoch" or "evaluate"), by whom, and which two are compared."""

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
        "so it holds a new Adam and one more propagation for a look at validation. RecBole has no MixGCF: ours stands "
        "beside its uniform and its DNS epoch."
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


def evaluation(n_items: int) -> Task:
    own, short = ours("evaluation", "mf", "uniform"), ours("evaluation, 16-bit shortlist", "mf", "uniform", "shortlist")
    at_once = max(4096 // (n_items + 1), 1)
    peers = [
        recbole(f"evaluation, default ({at_once} user{'s' * (at_once > 1)} a batch)", "LightGCN", "uniform"),
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
    found, about = take_turns(task.entries, task.line, data, repeats)
    notes = [f"Left out: {name} ({said['skip']})." for name, said in about.items() if "skip" in said]
    notes += disagreements(found)
    notes += [
        f"{name} used {answer['cpu'] / answer['wall']:.2f} CPU seconds a second: not one thread."
        for name, answers in found.items()
        for answer in answers[:1]
        if answer["cpu"] > OVERSHOOT * answer["wall"]
    ]
    versions = {name.split()[0]: said["version"] for name, said in about.items() if "version" in said}
    notes.append("Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    ratios = ratio_table(found, task.pairs, clock)
    return "\n\n".join([f"## {task.title}", task.note, seconds_table(found), ratios, *notes])


def disagreements(found: Answers) -> list[str]:
    """How far the peers' metrics lie apart: only who measures the same does the same work."""
    measured = [answers[0] for answers in found.values()]
    apart = {}
    for metric in sorted({name for answer in measured for name in answer} - {"wall", "cpu"}):
        values = [answer[metric] for answer in measured if metric in answer]
        apart[metric] = max(values) - min(values)
    if not apart:
        return []
    said = "the metrics agree" if max(apart.values()) < SAME_METRIC else "THE METRICS DIFFER, so the work does too"
    return [f"Largest difference of a metric: {max(apart.values()):.0e}: {said}."]


def heading(split: Split, name: str, arguments: Any) -> str:
    sizes = f"{split.train.n_users:,} users, {split.train.n_items:,} items, {len(split.train):,} train pairs"
    return (
        f"# hardneg beside its peers\n\n{name}: {sizes}, {len(set(split.test.users.tolist())):,} test users. One thread each, "
        f"{arguments.repeats} repeats in turn; a ratio is of {arguments.clock} seconds within one turn. {machine()}, load "
        f"averages at the start {load()}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["lightgcn", "mf", "evaluation"], help="one task; default: all")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall", help="what ratios are taken of")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    require_peers()
    split = splits.read_split(arguments.split)
    tasks = {"lightgcn": lightgcn(), "evaluation": evaluation(split.train.n_items), "mf": mf()}
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
