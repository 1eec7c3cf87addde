"""The part of `hardneg mine` that makes suspects."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hardneg.cli.shell import Bars, Lines, bars, emit
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.pipeline import SuspectMining
    from hardneg.text import Estimate

Asked = tuple[str | None, Path, list[str] | None, Path | None, str, str]
"""--llm, --store, --engine, --prices, --key-variable, --device."""
ASKING = ("llm", "llm-logprob", "titles")
TAKEN = {
    "rule": {"run", "trees"},
    "random": {"run", "like"},
    "all": {"run"},
    "recorded": {"run", "labels"},
    "llm": {"run", "trees", "llm"},
    "llm-logprob": {"run", "trees", "llm"},
    "titles": {"run", "llm"},
}
"""Which options each judge knows."""
NEEDED = {name: taken - {"like"} for name, taken in TAKEN.items()} | {"recorded": {"labels"}}


def judge(
    split: Path,
    out: Path,
    name: str,
    run: Path | None,
    trees: Path | None,
    like: Path | None,
    labels: Path | None,
    option: list[str] | None,
    asked: Asked,
    *,
    as_json: bool,
) -> None:
    """Make a suspects folder and say what came of it."""
    from hardneg import pipeline
    from hardneg.artifacts import manifest_of
    from hardneg.cli.asking import money_text, read_costs
    from hardneg.negatives import suspects

    _require_options_of(name, {"run": run, "trees": trees, "like": like, "labels": labels, "llm": asked[0]})
    mining = _mining(split, name, like, labels, option)
    with bars() as bar, ExitStack() as stack:
        asking = stack.enter_context(_session(asked, bar)) if name in ASKING else None
        sources = pipeline.Sources(run, trees, asking, _say, like)
        pipeline.mine_suspects(split, out, sources, mining, bar)
    notes, costs = manifest_of(out, suspects.KIND)["notes"], read_costs(out)
    emit({**notes, "out": str(out), "costs": costs}, as_json=as_json, text=_text(out, notes) + money_text(costs))


def _mining(split: Path, name: str, like: Path | None, labels: Path | None, option: list[str] | None) -> SuspectMining:
    from hardneg import pipeline
    from hardneg.config import overrides, parse
    from hardneg.negatives import suspects

    values = overrides([*(option or []), f"judge.kind={name}"])
    if labels is not None:
        values["judge"]["labels"] = str(labels)  # type: ignore[index]
    if like is not None:
        threshold = values.pop("like_threshold", suspects.THRESHOLD)
        values["judge"]["rate"] = pipeline.rate_of(like, split, float(threshold))  # type: ignore[index,arg-type]
    found: SuspectMining = parse(pipeline.SuspectMining, values, where="hardneg mine --set")
    return found


def _session(asked: Asked, bar: Bars | Lines) -> Any:
    from hardneg.cli.asking import session

    llm, store, engine, prices, key_variable, device = asked
    assert llm is not None
    return session(llm, store, engine, prices, key_variable, device, doing="judging with", bar=bar)


def _say(foretold: Estimate) -> None:
    total = foretold.total
    said = (
        f"judging {total.rows:,} candidates: {total.calls:,.0f} calls, about {total.prompt_tokens:,.0f} prompt tokens"
    )
    typer.echo(f"{said} and at most {total.answer_tokens:,.0f} answer tokens", err=True)


def _text(out: Path, notes: Mapping[str, Any]) -> str:
    said = f"{out}: {notes['candidates']:,} candidates of {notes['users']:,} users, {notes['at least 0.5']:,} liked, "
    said += f"{notes['unlabelled']:,} without a label ({notes['judge']})"
    return said + (f"; {notes['warning']}" if "warning" in notes else "")


def _require_options_of(name: str, given: Mapping[str, object]) -> None:
    foreign = [option for option, value in given.items() if value and option not in TAKEN[name]]
    if foreign:
        raise ConfigError(f"--{foreign[0]} is no option of --judge {name}; leave it out")
    lacking = [option for option in given if option in NEEDED[name] and not given[option]]
    if lacking:
        raise ConfigError(f"--judge {name} expects --{lacking[0]}; see hardneg mine --help")
