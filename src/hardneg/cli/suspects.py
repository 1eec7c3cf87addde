"""The part of `hardneg mine` that makes suspects."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hardneg.cli.common import Bars, Lines, bars, emit
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.judging import JudgeConfig
    from hardneg.llm.prices import Price
    from hardneg.pipeline import SuspectsConfig
    from hardneg.text import CostEstimate

Asked = tuple[str | None, Path, list[str] | None, Path | None, str, str]
"""--llm, --store, --engine, --prices, --key-variable, --device."""
ENGINE = {"llm", "engine", "prices", "key-variable", "dry-run"}
NO_STORE = Path(":memory:")
OWN_OPTIONS = {"random": {"like"}, "recorded": {"labels"}}
"""Options of single judges, besides --run, --trees and those of the language model."""


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
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a suspects folder and say what came of it; with dry_run say what asking would take, and make nothing."""
    from hardneg import pipeline
    from hardneg.artifacts import read_manifest
    from hardneg.cli.llm_options import money_text, read_costs
    from hardneg.config import overrides
    from hardneg.judging import JudgeConfig, suspects

    llm, _, engine, prices, key_variable, _ = asked
    given: dict[str, object] = {"run": run, "trees": trees, "like": like, "labels": labels, "llm": llm}
    given |= {"engine": engine, "prices": prices, "key-variable": key_variable, "dry-run": dry_run}
    judge_class = JudgeConfig.find_class(name)
    _require_options_of(name, judge_class, given)
    values = overrides(option or [])
    _require_read(values, name, run, trees, like)
    mining = _mining(split, name, like, labels, values)
    with bars() as bar, ExitStack() as stack:
        asking = stack.enter_context(_session(asked, bar, remembers=not dry_run)) if judge_class.queries_llm else None
        price = None if asking is None else asking.price
        sources = pipeline.SuspectInputs(
            run, trees, asking, lambda found: typer.echo(_foretold(found, price), err=True), like
        )
        if dry_run:
            _emit_foretold(pipeline.estimate_suspects(split, sources, mining, bar), price, as_json=as_json)
            return
        pipeline.suspects_stage(split, sources, mining, bar).run(out)
    notes, costs = read_manifest(out, suspects.KIND)["notes"], read_costs(out)
    emit({**notes, "out": str(out), "costs": costs}, as_json=as_json, text=_text(out, notes) + money_text(costs))


def _mining(split: Path, name: str, like: Path | None, labels: Path | None, values: dict[str, Any]) -> SuspectsConfig:
    from hardneg import pipeline
    from hardneg.config import parse_config
    from hardneg.judging import suspects

    given = values.setdefault("judge", {})
    for option, wanted in (("kind", True), ("labels", labels), ("rate", like)):
        if wanted and option in given:
            instead = {"kind": "--judge", "labels": "--labels", "rate": "--like"}[option]
            raise ConfigError(f"found --set judge.{option}, which {instead} says; leave it out")
    given["kind"] = name
    if labels is not None:
        given["labels"] = str(labels)
    if like is not None:
        where = "hardneg mine --set like_threshold"
        threshold = parse_config(suspects.Threshold, values.pop("like_threshold", suspects.THRESHOLD), where=where)
        given["rate"] = pipeline.suspect_rate(like, split, threshold)
    found: SuspectsConfig = parse_config(pipeline.SuspectsConfig, values, where="hardneg mine --set")
    return found


def _require_read(
    values: Mapping[str, Any], name: str, run: Path | None, trees: Path | None, like: Path | None
) -> None:
    """No setting is given that nothing would read, or that is no mapping where one is expected."""
    if not isinstance(values.get("judge", {}), dict):
        raise ConfigError(f"found --set judge={values['judge']}, expected --judge {values['judge']}")
    if run is None and "candidates" in values:
        raise ConfigError(
            "found --set candidates, but no --run that would rank them: the file has its own; leave it out"
        )
    if like is None and "like_threshold" in values:
        raise ConfigError("found --set like_threshold without --like, whose rate is taken; give both")
    if trees is None and "codes" in values:
        raise ConfigError("found --set codes, which is of trees, but no --trees; leave it out")
    if "seed" in values and values.get("codes", "given") == "given":
        own = "; for that of the judge say --set judge.seed" if name == "random" else ""
        raise ConfigError(f"found --set seed, which is of codes that are shuffled or random; leave it out{own}")


def _session(asked: Asked, bar: Bars | Lines, *, remembers: bool) -> Any:
    from hardneg.cli.llm_options import session

    llm, store, engine, prices, key_variable, device = asked
    assert llm is not None
    return session(
        llm, store if remembers else NO_STORE, engine, prices, key_variable, device, doing="judging with", bar=bar
    )


def _foretold(found: CostEstimate, price: Price | None) -> str:
    from hardneg.text.estimates.cost_estimate import money

    total = found.total
    said = (
        f"judging {total.rows:,} candidates: {total.calls:,.0f} calls, about {total.prompt_tokens:,.0f} prompt tokens"
    )
    said += f" and at most {total.answer_tokens:,.0f} answer tokens"
    dollars = money(total, price)
    return said + ("; price unknown" if dollars is None else f"; about ${dollars:,.2f} where nothing is cached")


def _emit_foretold(found: CostEstimate, price: Price | None, *, as_json: bool) -> None:
    text = f"{_foretold(found, price)}\nNothing was asked."
    emit(found.table(price).row(-1, named=True), as_json=as_json, text=text)


def _text(out: Path, notes: Mapping[str, Any]) -> str:
    from hardneg.data.row_report import RowIssue

    said = f"{out}: {notes['candidates']:,} candidates of {notes['users']:,} users, {notes['at least 0.5']:,} liked, "
    said += f"{notes['unlabelled']:,} without a label ({notes['judge']})"
    said += "".join(f"; {notes[name]}" for name in ("warning", "rule", "like", "labels") if name in notes)
    return said + "".join(f"\n  {RowIssue(**entry)}" for entry in notes["rows left out"])


def _require_options_of(name: str, judge: type[JudgeConfig], given: Mapping[str, object]) -> None:
    known = {"run"} | ({"trees"} if judge.reads_trees else set()) | (ENGINE if judge.queries_llm else set())
    required = {"labels"} if name == "recorded" else known & {"run", "trees", "llm"}
    known |= OWN_OPTIONS.get(name, set())
    foreign = [option for option, value in given.items() if value and option not in known]
    if foreign:
        raise ConfigError(f"--{foreign[0]} is no option of --judge {name}; leave it out")
    lacking = [option for option in given if option in required and not given[option]]
    if lacking:
        raise ConfigError(f"--judge {name} expects --{lacking[0]}; see hardneg mine --help")
