"""`hardneg show`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument

from hardneg.cli.common import ReadingOptions
from hardneg.cli.output import console, emit_following, row_report_text
from hardneg.plain_text import escape_line

if TYPE_CHECKING:
    from hardneg.studies.folder_summary import FolderSummary

FOLLOWING: dict[str, list[str]] = {
    "dataset": ["data split DIR --out data/split", "data describe DIR"],
    "split": ["train DIR --sampler mixgcf", "profiles write DIR", "audit split DIR"],
    "profiles": ["profiles encode SPLIT --profiles DIR", "negatives retrieve SPLIT --profiles DIR"],
    "vectors": ["fuse RUN --split SPLIT --vectors DIR", "train SPLIT --model kar --vectors DIR"],
    "negatives": ["train SPLIT --sampler semantic --negatives DIR", "audit folder DIR --split SPLIT"],
    "neighbours": ["train SPLIT --sampler semantic-mixing --negatives DIR", "audit folder DIR --split SPLIT"],
    "labels": ["finetune train SPLIT --profiles PROFILES --labels DIR --base minilm", "audit folder DIR --split SPLIT"],
    "tuned": ["finetune synthesize SPLIT --profiles PROFILES --labels LABELS --tuned DIR"],
    "trees": ["train SPLIT --sampler multi-view --trees DIR", "suspects identify SPLIT --run RUN --trees DIR"],
    "suspects": ["train SPLIT --suspects DIR --use-suspects exclude", "rerank RUN --split SPLIT --suspects DIR"],
    "run": ["evaluate DIR --split SPLIT", "report DIR", "recommend DIR --user USER_ID", "audit run DIR --split SPLIT"],
    "evaluation": ["compare RUN OTHER --split SPLIT"],
    "evaluation under the released mask": ["compare RUN OTHER --split SPLIT"],
    "bundle": ["recommend DIR --user USER_ID"],
    "export": ["export SOURCE --to bundle --out BUNDLE"],
    "language model": ["llm check DIR"],
    "study": ["report DIR", "study run DIR/study.yaml --out DIR"],
    "results": ["show DIR/NAME"],
    "search": ["study search DIR/search.yaml --out DIR"],
}
"""Kind of a folder -> commands to go on with. DIR is replaced, as are SPLIT, RUN and PROFILES where they are known."""
HIDDEN = ("split", "valid", "rows left out")
"""Notes that are not shown among the others: a path and a hash of the origin, and a report of its own."""
LONGEST = 110
"""Length from which a value is cut; --json has it whole."""
WIDTH = 12
"""Width of the names of the lines."""


def show_command(
    shared: ReadingOptions, folder: Annotated[Path, Argument(metavar="DIR", help="Folder that a command wrote.")]
) -> None:
    """Show what a folder is: kind, origin, settings, contents, and whether its files are unchanged.

    Also a folder that holds several of them, such as that of `hardneg run`. All files are compared with their hashes; --trust leaves that out.

    Example: `hardneg show runs/mixgcf`
    """
    from hardneg import artifacts
    from hardneg.studies.folder_summary import summarize_folder

    with artifacts.noting_edited_manifests() as edited:
        summary = summarize_folder(folder)
    words = _following(summary)
    if shared.as_json:
        values = asdict(summary) | {"next": [" ".join(["hardneg", *own]) for own in words]}
        shared.emit(values | {"edited manifests": sorted(map(str, edited))}, "")
        return
    for name, lines in [*_describe(summary), ("files", _describe_state(summary, edited))]:
        for number, line in enumerate(lines):
            console().print(f"{'' if number else name:<{WIDTH}}{escape_line(line)}", markup=False)
    for own in words:
        emit_following(own)


def _following(summary: FolderSummary) -> list[list[str]]:
    """Return the words of the commands to go on with; an evaluated run needs no evaluation."""
    places = {"DIR": str(summary.folder)} | ({} if summary.split is None else {"SPLIT": str(summary.split)})
    for name in ("run", "profiles"):
        if (origin := Path(summary.made_from.get(name, ""))).exists() and origin.name:
            places[name.upper()] = str(origin if origin.is_dir() else origin.parent)
    if summary.kind.startswith("evaluation"):
        places["RUN"] = str(summary.folder.parent)
    places |= {f"DIR/{name}": f"{summary.folder}/{name}" for name in ("study.yaml", "search.yaml")}
    places["DIR/NAME"] = f"{summary.folder}/{next(iter(summary.contents), '').rstrip('/')}"
    lines = FOLLOWING.get(summary.kind, [])
    chosen = lines[1:] if summary.kind == "run" and summary.results else lines
    return [[places.get(word, word) for word in line.split()] for line in chosen]


def _describe(summary: FolderSummary) -> Iterator[tuple[str, list[str]]]:
    """Yield name -> lines of text."""
    yield "folder", [f"{summary.folder}: {summary.kind}"]
    seconds = summary.costs.get("seconds")
    took = "" if seconds is None else f", {seconds:,.1f} s"
    yield "written", [f"{summary.written:%Y-%m-%d %H:%M}{took}{_describe_costs(summary.costs)}"]
    made_from = [f"{name}: {value}" for name, value in summary.made_from.items()]
    yield "made from", made_from or (["nothing but its settings"] if summary.config else [])
    yield "settings", _wrap([f"{name} {_cut(value)}" for name, value in _flatten(summary.config)])
    notes = {name: value for name, value in summary.notes.items() if name not in HIDDEN}
    yield "notes", _wrap([f"{name} {_cut(value)}" for name, value in _flatten(notes)])
    if summary.notes.get("rows left out"):
        yield "left out", row_report_text(summary.notes).replace("\n  ", "\n").strip().splitlines()
    yield "results", [f"{name}: {value}" for name, value in summary.results.items()]
    yield "contents", _wrap([f"{name} ({size})" for name, size in summary.contents.items()])
    yield "versions", _wrap([f"{name} {value}" for name, value in summary.versions.items()])


def _describe_costs(costs: Mapping[str, Any]) -> str:
    calls = costs.get("llm_calls")
    return f", {calls:,} language model calls" if calls else ""


def _describe_state(summary: FolderSummary, edited: set[Path]) -> list[str]:
    """Return whether the files are as they were written."""
    if summary.differences is None:
        return ["not compared with their hashes"]
    lines = [f"{path} was edited" for path in sorted(edited)]
    for state, names in asdict(summary.differences).items():
        own = [name for name in names if not Path(name).parts[0].startswith(".")]
        lines += [f"{state}: {', '.join(own)}"] if own else []
    return lines or ["unchanged: all agree with their hashes"]


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted name -> text of nested values; empty ones are left out."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
            yield f"{prefix}{name}", f"{len(value):,} entries"
        elif isinstance(value, list):
            yield from [(f"{prefix}{name}", ", ".join(map(str, value)))] if value else []
        elif value is not None:
            yield f"{prefix}{name}", _text_of(value)


def _text_of(value: object) -> str:
    if type(value) is int:
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _wrap(entries: list[str]) -> list[str]:
    """Return entries joined by semicolons in lines that fit the terminal."""
    width, lines = max(40, shutil.get_terminal_size((120, 24)).columns - WIDTH), list[str]()
    for entry in entries:
        if lines and len(lines[-1]) + len(entry) + 2 <= width:
            lines[-1] += f"; {entry}"
        else:
            lines.append(entry)
    return lines
