"""`hardneg mine`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hardneg.cli.common import DeviceOption, JsonOption, ThreadsOption, bars, emit, require_device, use_threads
from hardneg.cli.llm_options import STORE, EngineOption, EstimateOption, KeyOption, LlmOption, PricesOption, StoreOption
from hardneg.errors import ConfigError

if TYPE_CHECKING:
    from hardneg.llm.session import Session
    from hardneg.types import Progress

Method = Literal["retrieved", "semantic", "synthesised", "dual-tree", "random", "shuffled", "positive", "labels"]
NEGATIVES, SUSPECTS = Path("out/negatives"), Path("out/suspects")
ALLOWED: dict[str, set[str]] = {
    "retrieved": {"profiles", "set"},
    "semantic": {"profiles", "set", "llm", "way", "engine", "prices", "key-variable", "estimate"},
    "synthesised": {"profiles", "set", "labels", "tuned"},
    "dual-tree": {
        "run",
        "trees",
        "judge",
        "like",
        "labels",
        "set",
        "llm",
        "engine",
        "prices",
        "key-variable",
        "dry-run",
    },
    "random": {"like", "seed"},
    "shuffled": {"like", "seed"},
    "positive": {"labels"},
    "labels": {"labels"},
}
"""Which options each method knows."""


def mine(
    split: Annotated[Path, typer.Argument(help="Split folder.")],
    method: Annotated[
        Method,
        typer.Option(
            help="retrieved: nearest catalogue texts, no LLM. semantic: a language model names them. "
            "synthesised: a tuned one writes their vectors. "
            "dual-tree: no negatives, but suspects: unobserved items that a judge calls liked. "
            "Controls: random, vectors of equal norm; shuffled, those of other pairs; positive, the embedding of the "
            "pair's own item; labels, what was to be learnt."
        ),
    ] = "retrieved",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to make; out/negatives, or out/suspects for dual-tree.", show_default=False),
    ] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="Profiles folder; without, retrieved makes extractive ones in OUT-profiles.")
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="random, shuffled: the negatives folder whose norms or vectors are taken. judge random: the suspects "
            "folder whose rate is (of at least 0.5, or --set like_threshold=0.7)."
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="dual-tree: run of a model trained on the split, whose best items are candidates."),
    ] = None,
    trees: Annotated[Path | None, typer.Option(help="dual-tree: folder by `hardneg trees`.")] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="dual-tree: rule, by path codes; llm and llm-logprob, a language model on path codes; titles, one on "
            "titles; recorded, from --labels; controls: random, all; or a plug-in: its entry point or module:Class.",
            show_default="rule",
        ),
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="minilm, a sentence-transformers folder or name; semantic also openai:text-embedding-3-small, "
            "http://HOST/v1#MODEL, hf-causal:NAME@last."
        ),
    ] = "minilm",
    llm: LlmOption = None,
    way: Annotated[
        Literal["raw", "grounded", "constrained"] | None,
        typer.Option(
            help="semantic: raw, the text as it stands (the paper); grounded, the catalogue item it means; "
            "constrained, chosen from the catalogue's titles (local models)."
        ),
    ] = None,
    tuned: Annotated[Path | None, typer.Option(help="synthesised: folder by `hardneg finetune`.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="synthesised: the labels folder that it was tuned with; positive, labels. judge recorded: Parquet or CSV "
            "of user_id, item_id, label, or the folder that DTL-NS released."
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="synthesised: the base that it was tuned on, or none.")] = "minilm",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="NAME=VALUE. retrieved: n, pool, profile_share, duplicate. semantic: ask.n, ask.pairs_per_call, "
            "ask.temperature, use.grounding.nearest, ... dual-tree: candidates, codes (given, shuffled, random), seed, "
            "judge.per_call, judge.reverse, judge.rate, judge.seed, judge.by, judge.threshold (of rule: levels or share of "
            "a common prefix, no probability).",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Judges that ask: ask and make nothing, say calls, tokens and money."),
    ] = False,
    seed: Annotated[int, typer.Option(help="--method random, shuffled: of the vectors, of the order.")] = 0,
    store: StoreOption = STORE,
    engine: EngineOption = None,
    prices: PricesOption = None,
    key_variable: KeyOption = "",
    estimate: EstimateOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Find a hard negative for every train pair, or (dual-tree) suspects among every train user's candidates.

    Examples:

    `hardneg mine data/shop-split --out out/negatives --set n=2 --set pool=100`

    `hardneg mine data/shop-split --method semantic --llm openai:gpt-4o-mini --profiles out/profiles --way grounded --engine budget_money=20 --out out/named`

    `hardneg mine data/shop-split --method random --like out/negatives --out out/random`

    `hardneg mine data/shop-split --method dual-tree --run runs/lightgcn --trees out/trees --judge rule --out out/suspects`

    `hardneg mine data/shop-split --method dual-tree --run runs/lightgcn --trees out/trees --judge llm --llm openai:gpt-4o-mini --dry-run`

    `hardneg mine data/shop-split --method dual-tree --run runs/lightgcn --trees out/trees --judge llm --llm openai:gpt-4o-mini --engine budget_money=5 --out out/suspects`
    """
    from hardneg.artifacts import read_manifest
    from hardneg.cli import suspects
    from hardneg.cli.llm_options import money_text, read_costs, session
    from hardneg.sampling import mined

    given: dict[str, object] = {
        "profiles": profiles,
        "like": like,
        "llm": llm,
        "way": way,
        "set": option,
        "engine": engine,
    }
    given |= {"tuned": tuned, "labels": labels, "run": run, "trees": trees, "judge": judge}
    given |= {"prices": prices, "key-variable": key_variable, "estimate": estimate, "seed": seed, "dry-run": dry_run}
    _require_options_of(method, given, reads_profiles=base != "none")
    use_threads(threads)
    require_device(device)
    out = out or (SUSPECTS if method == "dual-tree" else NEGATIVES)
    if method == "dual-tree":
        asked = (llm, store, engine, prices, key_variable, device)
        suspects.judge(
            split, out, judge or "rule", run, trees, like, labels, option, asked, dry_run=dry_run, as_json=as_json
        )
        return
    if method in ("random", "shuffled", "positive", "labels"):
        _control(method, split, out, like, labels, seed)
    elif method == "synthesised":
        _synthesise(split, out, profiles, labels, tuned, base, option, device)
    elif method == "semantic":
        assert llm is not None
        with (
            bars() as bar,
            session(llm, store, engine, prices, key_variable, device, doing="naming negatives with", bar=bar) as asking,
        ):
            _name(split, out, profiles, asking, encoder, way, option, device, prices, estimate, bar)
    else:
        _retrieve(split, out, profiles, encoder, option, device)
    notes, costs = read_manifest(out, mined.KIND)["notes"], read_costs(out)
    text = f"{out}: {notes['pairs']:,} pairs, {notes['pairs without a vector']:,} without a vector ({notes['source']})"
    emit({**notes, "out": str(out), "costs": costs}, as_json=as_json, text=text + money_text(costs))


def _control(method: Method, split: Path, out: Path, like: Path | None, labels: Path | None, seed: int) -> None:
    from hardneg import pipeline

    if method in ("positive", "labels"):
        assert labels is not None
        pipeline.labels_control_stage(split, labels, "labels" if method == "labels" else "positive").run(out)
        return
    assert like is not None
    mine_like = pipeline.shuffled_negatives_stage if method == "shuffled" else pipeline.random_negatives_stage
    mine_like(split, like, seed).run(out)


def _retrieve(
    split: Path, out: Path, profiles: Path | None, encoder: str, option: list[str] | None, device: str
) -> None:
    from hardneg import pipeline
    from hardneg.cli.llm_options import encoder_of
    from hardneg.config import overrides, parse_config
    from hardneg.mining import RetrievalConfig

    options: RetrievalConfig = parse_config(RetrievalConfig, overrides(option or []), where="hardneg mine --set")
    folder = profiles or out.with_name(f"{out.name}-profiles")
    if profiles is None:
        pipeline.extract_profiles_stage(split).run(folder)
    with bars() as bar:
        pipeline.retrieve_stage(split, folder, options, encoder_of(encoder, device, None), bar).run(out)


def _name(
    split: Path,
    out: Path,
    profiles: Path | None,
    asking: Session,
    encoder: str,
    way: str | None,
    option: list[str] | None,
    device: str,
    prices: Path | None,
    estimate: Path | None,
    progress: Progress,
) -> None:
    from hardneg import pipeline
    from hardneg.cli.llm_options import encoder_of, read_estimate
    from hardneg.config import overrides, parse_config
    from hardneg.pipeline import GenerationConfig

    assert profiles is not None
    pairs = overrides([*(option or []), *([f"use.way={way}"] if way else [])])
    mining: GenerationConfig = parse_config(GenerationConfig, pairs, where="hardneg mine --set")
    opened, foretold = encoder_of(encoder, device, asking, prices), read_estimate(estimate)
    pipeline.generate_stage(split, profiles, asking, opened, mining, estimate=foretold, progress=progress).run(out)


def _synthesise(
    split: Path,
    out: Path,
    profiles: Path | None,
    labels: Path | None,
    tuned: Path | None,
    base: str,
    option: list[str] | None,
    device: str,
) -> None:
    from hardneg import pipeline
    from hardneg.config import overrides, parse_config
    from hardneg.finetuning import NO_BASE, SynthesisConfig
    from hardneg.finetuning import base_model as base_named

    assert labels is not None
    assert tuned is not None
    config: SynthesisConfig = parse_config(SynthesisConfig, overrides(option or []), where="hardneg mine --set")
    source = None if base == NO_BASE else base_named(base, device=device)
    with bars() as bar:
        pipeline.synthesize_stage(split, profiles, labels, tuned, source, config, bar).run(out)


def _require_options_of(method: str, given: Mapping[str, object], *, reads_profiles: bool) -> None:
    """An option that the method does not know is an error; so is the lack of one that it needs."""
    foreign = [name for name, value in given.items() if value and name not in ALLOWED[method]]
    if foreign:
        raise ConfigError(f"--{foreign[0]} is no option of --method {method}; leave it out")
    needed = {
        "random": ("like",),
        "shuffled": ("like",),
        "positive": ("labels",),
        "labels": ("labels",),
        "semantic": ("llm", "profiles"),
        "synthesised": (*(("profiles",) if reads_profiles else ()), "labels", "tuned"),
        "retrieved": (),
        "dual-tree": (),
    }[method]
    lacking = [name for name in needed if not given[name]]
    if lacking:
        raise ConfigError(f"--method {method} expects --{lacking[0]}; see hardneg mine --help")
