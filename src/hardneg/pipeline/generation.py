"""Stages in which a language model writes: profiles, hard negatives, and what they will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts
from hardneg.config import Config, parse_config
from hardneg.data import split as splits
from hardneg.data.row_report import report_notes
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.local.model import LocalModel
from hardneg.llm.session import Session
from hardneg.mining.generated import GROUNDING, GeneratedConfig, ground_texts, tabulate_generated
from hardneg.pipeline.costs import Needed, needed_by
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.sampling import mined
from hardneg.text import (
    CostEstimate,
    EstimateConfig,
    MeteredExecutor,
    NegativesConfig,
    ProfilesConfig,
    TextEncoder,
    compare_with_estimate,
    estimate_generation,
    generate_negatives,
    generate_profiles,
    item_texts,
    profiles,
    prompt_digests,
)
from hardneg.text.estimates.cost_estimate import FOLLOW_UPS, ITEMS, NEGATIVES, USERS
from hardneg.text.generation.executor import TokenUsage
from hardneg.text.generation.negative_generation import report_missing
from hardneg.text.generation.negative_prompts import ONE_PROMPT, SEVERAL_PROMPT, TITLE_PROMPT, closed_list, shown_titles
from hardneg.text.generation.profile_prompts import ITEM_PROMPT, USER_PROMPT
from hardneg.types import Progress

QUICKLY = EstimateConfig(limit=500)
"""How a job foretells itself where nobody gave an estimate."""
DEFAULT_PROFILES = ProfilesConfig()


class SemanticMining(Config):
    """Negatives that a language model names (HNLMRec, section 3): what is asked, and what becomes of the answers."""

    ask: NegativesConfig = NegativesConfig()
    use: GeneratedConfig = GeneratedConfig()

    @property
    def texts(self) -> NegativesConfig:
        """What is asked; from the closed list of titles where the way is "constrained"."""
        values = self.ask.model_dump() | {"constrained": self.use.way == "constrained"}
        found: NegativesConfig = parse_config(NegativesConfig, values, where="ask")
        return found


def generate_profiles_folder(
    split_folder: Path,
    out: Path,
    session: Session,
    config: ProfilesConfig = DEFAULT_PROFILES,
    estimate: CostEstimate | None = None,
) -> profiles.Profiles:
    """Have item and user profiles written from what a split may be learnt from; costs.json beside them.

    estimate: one made before, to be held against what it took; without, the job makes a quick one.
    """
    inputs = {"training data": splits.training_data_hash(split_folder), "model": session.model.identity}
    prompts = prompt_digests(ITEM_PROMPT, USER_PROMPT)
    settings = {"method": "written", "model": session.model.name, "prompts": prompts, **config.model_dump(mode="json")}
    if not artifacts.is_finished(out, artifacts.artifact_key(profiles.KIND, settings, inputs)):
        data = splits.read_split(split_folder)
        foretold = estimate or estimate_generation(data, session.model, config, None, QUICKLY)
        meter = MeteredExecutor(session)
        found = generate_profiles(data, meter, session.model, config)
        costs = costs_of(session, dict(zip((ITEMS, USERS), meter.runs, strict=True)), foretold, Needed())
        profiles.write_profiles(out, found, data, config=settings, inputs=inputs, costs=costs)
    return profiles.read_profiles(out)


def generate_negatives_folder(
    split_folder: Path,
    profile_folder: Path,
    out: Path,
    session: Session,
    encoder: TextEncoder,
    options: SemanticMining,
    *,
    estimate: CostEstimate | None = None,
    progress: Progress | None = None,
) -> None:
    """Have a hard negative named for every train pair, ground the names, and encode them; a negatives folder."""
    ask = options.texts
    settings: dict[str, Any] = {
        "method": "semantic",
        "model": session.model.name,
        "encoder": encoder.name,
        "prompts": prompt_digests(*((TITLE_PROMPT,) if ask.constrained else (ONE_PROMPT, SEVERAL_PROMPT))),
        **options.model_dump(mode="json"),
    }
    inputs = {
        "training data": splits.training_data_hash(split_folder),
        "profiles": hash_of_same_split(profile_folder, profiles.KIND, split_folder),
        "model": session.model.identity,
        "encoder": encoder.identity,
    }
    if artifacts.is_finished(out, artifacts.artifact_key(mined.KIND, settings, inputs)):
        return
    data, written = splits.read_split(split_folder), profiles.read_profiles(profile_folder)
    asking = with_titles(session, data, ask)
    foretold = estimate or estimate_generation(data, asking.model, written, ask, QUICKLY)
    meter = MeteredExecutor(asking)
    texts = generate_negatives(data, written, meter, asking.model, ask)
    costs = costs_of(
        asking, dict(zip((NEGATIVES, FOLLOW_UPS), meter.runs, strict=False)), foretold, needed_by(profile_folder)
    )
    _write(out, texts, data, encoder, session, options, costs, settings, inputs, progress)


def _write(
    out: Path,
    texts: pl.DataFrame,
    data: Split,
    encoder: TextEncoder,
    session: Session,
    options: SemanticMining,
    costs: Mapping[str, Any],
    settings: dict[str, Any],
    inputs: dict[str, str],
    progress: Progress | None,
) -> None:
    """Texts to items and vectors to a folder."""
    names = shown_titles(data, session.model, options.texts)
    grounded = ground_texts(texts, names, data, encoder, options.use.grounding, progress)
    of_items = None if options.use.way == "raw" else encoder.encode(item_texts(data.texts), progress)
    source = f"{options.use.way}, written by {session.model.name}, {encoder.name}"
    made = tabulate_generated(texts, grounded, data, options.use, source, of_items)
    mined.write_negatives(
        out,
        made.mined,
        made.table,
        made.rejected,
        config=settings,
        inputs=inputs,
        more={GROUNDING: made.grounding},
        notes={"rows left out": report_notes(report_missing(texts))},
        costs=costs,
    )


def with_titles(session: Session, data: Split, ask: NegativesConfig) -> Session:
    """The session whose model also knows the closed list of titles, where answers must come from it.

    Raises ConfigError where the model is not in this process: no endpoint takes a closed list of thousands.
    """
    if not ask.constrained:
        return session
    if not isinstance(session.model, LocalModel):
        raise ConfigError(
            f"{session.model.name} is asked over the network and cannot be held to a list of titles; "
            "choose way grounded, or a local model (hf:NAME or a folder)"
        )
    titles = closed_list(shown_titles(data, session.model, ask))
    return replace(session, model=session.model.with_closed_list(*titles))


def estimate(
    split_folder: Path,
    session: Session,
    config: EstimateConfig,
    *,
    writing: ProfilesConfig = DEFAULT_PROFILES,
    profile_folder: Path | None = None,
    mining: SemanticMining | None = None,
) -> CostEstimate:
    """What writing profiles (unless a folder of them is given) and then negatives (where asked for) will take."""
    data = splits.read_split(split_folder)
    known = writing if profile_folder is None else profiles.read_profiles(profile_folder)
    ask = None if mining is None else mining.texts
    if ask is not None:
        session = with_titles(session, data, ask)
    return estimate_generation(data, session.model, known, ask, config, session)


def costs_of(
    session: Session, took: Mapping[str, TokenUsage], foretold: CostEstimate, before: Needed
) -> dict[str, Any]:
    """What was paid now, what all was needed whoever paid for it, and how far off the estimate was.

    before: what earlier stages needed.
    """
    stages = {name: vars(spent) for name, spent in took.items() if spent.calls}
    used = {name: took[name] for name in stages}
    for spent in used.values():
        price = session.price
        money = None if price is None else price.cost(spent.prompt_tokens, spent.answer_tokens)
        before += Needed(spent.calls, spent.prompt_tokens + spent.answer_tokens, money)
    return {
        **session.costs(),
        **before.as_costs(),
        "whole": stages,
        "estimate": compare_with_estimate(foretold, used, session.price) if used else {},
    }
