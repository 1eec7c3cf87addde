"""Stages in which a language model writes profiles or names hard negatives, and estimates of their cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from hardneg.config import Config, parse_config
from hardneg.data import split as splits
from hardneg.data.row_report import report_notes
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.local.model import LocalModel
from hardneg.llm.session import Session
from hardneg.mining.generated import GROUNDING, GeneratedConfig, NamingMode, ground_texts, tabulate_generated
from hardneg.pipeline.provenance import LlmNeeds, needs_of, split_inputs
from hardneg.sampling import mined
from hardneg.stage import Draft, Stage
from hardneg.text import (
    CostEstimate,
    EstimateConfig,
    MeteredExecutor,
    NegativesConfig,
    Profiles,
    ProfilesConfig,
    TextEncoder,
    compare_with_estimate,
    estimate_generation,
    generate_negatives,
    generate_profiles,
    profiles,
    prompt_digests,
    require_item_texts,
)
from hardneg.text.estimates.cost_estimate import FOLLOW_UPS, ITEMS, NEGATIVES, USERS
from hardneg.text.estimates.item_estimate import estimate_products
from hardneg.text.generation.executor import TokenUsage
from hardneg.text.generation.item_negatives import ItemNegativesConfig
from hardneg.text.generation.negative_generation import (
    ONE_PROMPT,
    SEVERAL_PROMPT,
    TITLE_PROMPT,
    closed_list,
    report_missing,
    shown_titles,
)
from hardneg.text.generation.profile_generation import ITEM_PROMPT, USER_PROMPT
from hardneg.types import Progress

QUICK_ESTIMATE = EstimateConfig(limit=500)
"""The estimate that a stage makes where none is given."""
DEFAULT_PROFILES = ProfilesConfig()
NEAREST_PER_ITEM = 0.5
"""Default of `use.grounding.nearest` for grounded negatives per item, whose texts match another item than their own."""


class GenerationConfig(Config):
    """Negatives that a language model names (HNLMRec, section 3): the requests, and the use of the replies."""

    per: Literal["pair", "item"] = "pair"
    """One request for each train pair, as in the paper, or one for each item, of whose products each pair takes one."""
    ask: NegativesConfig = NegativesConfig()
    """Requests about pairs."""
    items: ItemNegativesConfig = ItemNegativesConfig()
    """Requests about items."""
    use: GeneratedConfig = GeneratedConfig()

    def replaced(
        self,
        *,
        per: Literal["pair", "item"] | None = None,
        naming: NamingMode | None = None,
        k: int | None = None,
        temperature: float | None = None,
    ) -> GenerationConfig:
        """Return the settings with those that are not None in their place. Raises ConfigError for k of pairs."""
        per = per or self.per
        if k is not None and per == "pair":
            raise ConfigError(f"found k {k} for negatives per pair, expected none; set ask.n, or name per item")
        asked = {"k": k, "temperature": temperature} if per == "item" else {"temperature": temperature}
        part = "items" if per == "item" else "ask"
        values = self.model_dump(exclude_unset=True)
        values |= {"per": per, part: values.get(part, {}) | {n: v for n, v in asked.items() if v is not None}}
        if naming is not None:
            values["use"] = values.get("use", {}) | {"naming": naming}
        config: GenerationConfig = parse_config(GenerationConfig, values, where="generation")
        return config

    @property
    def item_use(self) -> GeneratedConfig:
        """Use of replies about items. Unless it is set, the threshold of `grounded` is NEAREST_PER_ITEM."""
        grounding = self.use.grounding
        if self.use.naming != "grounded" or "nearest" in grounding.model_fields_set:
            return self.use
        return self.use.model_copy(update={"grounding": grounding.model_copy(update={"nearest": NEAREST_PER_ITEM})})

    @property
    def texts(self) -> NegativesConfig:
        """Requests about pairs; replies come from the closed list of titles where naming is "constrained"."""
        values = self.ask.model_dump() | {"constrained": self.use.naming == "constrained"}
        config: NegativesConfig = parse_config(NegativesConfig, values, where="ask")
        return config

    @property
    def products(self) -> ItemNegativesConfig:
        """Requests about items; replies come from the closed list of titles where naming is "constrained"."""
        return self.items.model_copy(update={"constrained": self.use.naming == "constrained"})


def generate_profiles_stage(
    split_dir: Path,
    session: Session,
    config: ProfilesConfig = DEFAULT_PROFILES,
    estimate: CostEstimate | None = None,
) -> Stage:
    """Return the stage in which a language model writes item and user profiles from the training data.

    estimate: an earlier estimate, compared with what the stage takes; without one, the stage makes a quick one.
    """
    settings = {
        "method": "written",
        "model": session.model.name,
        "prompts": prompt_digests(ITEM_PROMPT, USER_PROMPT),
        **config.model_dump(mode="json"),
    }
    inputs = split_inputs(split_dir) | {"model": session.model.identity}

    def build(draft: Draft) -> None:
        split = splits.read_split(split_dir)
        expected = estimate or estimate_generation(split, session.model, config, None, QUICK_ESTIMATE)
        meter = MeteredExecutor(session)
        written = generate_profiles(split, meter, session.model, config)
        profiles.write_profiles(draft, written, split)
        usage = dict(zip((ITEMS, USERS) if config.users else (ITEMS,), meter.runs, strict=True))
        draft.write_costs(summarize_costs(session, usage, expected, LlmNeeds()))

    return Stage(profiles.KIND, settings, inputs, build)


def generate_for_pairs_stage(
    split_dir: Path,
    profiles_dir: Path,
    session: Session,
    encoder: TextEncoder,
    config: GenerationConfig,
    *,
    estimate: CostEstimate | None = None,
    progress: Progress | None = None,
) -> Stage:
    """Return the stage in which a language model names a hard negative for every train pair.

    The names are grounded in the catalogue and encoded. estimate: as in `generate_profiles_stage`.
    """
    requests = config.texts
    prompts = (TITLE_PROMPT,) if requests.constrained else (ONE_PROMPT, SEVERAL_PROMPT)
    settings: dict[str, Any] = {
        "method": "semantic",
        "model": session.model.name,
        "encoder": encoder.name,
        "prompts": prompt_digests(*prompts),
        **config.model_dump(mode="json", include={"ask", "use"}),
    }
    inputs = split_inputs(split_dir, profiles=(profiles_dir, profiles.KIND))
    inputs |= {"model": session.model.identity, "encoder": encoder.identity}

    def build(draft: Draft) -> None:
        split, written = splits.read_split(split_dir), profiles.read_profiles(profiles_dir)
        constrained = with_titles(session, split, requests)
        expected = estimate or estimate_generation(split, constrained.model, written, requests, QUICK_ESTIMATE)
        meter = MeteredExecutor(constrained)
        texts = generate_negatives(split, written, meter, constrained.model, requests)
        usage = dict(zip((NEGATIVES, FOLLOW_UPS), meter.runs, strict=False))
        draft.write_costs(summarize_costs(constrained, usage, expected, needs_of(profiles_dir)))
        draft.notes["rows left out"] = report_notes(report_missing(texts))
        _write_grounded(draft, texts, split, session, encoder, config, progress)

    return Stage(mined.KIND, settings, inputs, build)


def _write_grounded(
    draft: Draft,
    texts: pl.DataFrame,
    split: Split,
    session: Session,
    encoder: TextEncoder,
    config: GenerationConfig,
    progress: Progress | None,
) -> None:
    """Match the named texts with catalogue items, encode them, and write both."""
    names = shown_titles(split, session.model, config.texts)
    grounded = ground_texts(texts, names, split, encoder, config.use.grounding, progress)
    item_vectors = None if config.use.naming == "raw" else encoder.encode(require_item_texts(split.texts), progress)
    source = f"{config.use.naming}, written by {session.model.name}, {encoder.name}"
    generated = tabulate_generated(texts, grounded, split, config.use, source, item_vectors)
    mined.write_negatives(draft, generated.mined, generated.table, generated.rejected)
    generated.grounding.write_parquet(draft.folder / GROUNDING)
    draft.notes["objections"] = dict(generated.grounding["reason"].value_counts().sort("reason").rows())


def with_titles(session: Session, split: Split, requests: NegativesConfig | ItemNegativesConfig) -> Session:
    """Return the session whose model is constrained to the titles of the catalogue, where requests ask for that.

    Raises ConfigError where the model is not in this process: no endpoint accepts a closed list of thousands.
    """
    if not requests.constrained:
        return session
    if not isinstance(session.model, LocalModel):
        raise ConfigError(
            f"{session.model.name} runs behind an endpoint and cannot be constrained to a list of titles; "
            "choose naming grounded, or a local model (hf:NAME or a folder)"
        )
    titles = closed_list(shown_titles(split, session.model, requests))
    return replace(session, model=session.model.with_closed_list(*titles))


def estimate_llm_cost(
    split_dir: Path,
    session: Session,
    config: EstimateConfig,
    *,
    writing: ProfilesConfig = DEFAULT_PROFILES,
    profiles_dir: Path | None = None,
    generation: GenerationConfig | None = None,
    written: Profiles | None = None,
) -> CostEstimate:
    """Return what writing profiles (unless these are given) and then negatives (if any) will take.

    Requests about items hold no profiles, so no profiles are estimated for them.
    """
    split = splits.read_split(split_dir)
    if generation is not None and generation.per == "item":
        session = with_titles(session, split, generation.products)
        return estimate_products(split, session.model, generation.products, config, session)
    known = written or (writing if profiles_dir is None else profiles.read_profiles(profiles_dir))
    requests = None if generation is None else generation.texts
    if requests is not None:
        session = with_titles(session, split, requests)
    return estimate_generation(split, session.model, known, requests, config, session)


def summarize_costs(
    session: Session, usage: Mapping[str, TokenUsage], estimate: CostEstimate, earlier: LlmNeeds
) -> dict[str, Any]:
    """Return what was paid now, what was needed in all including replies paid for earlier, and the error of the estimate.

    earlier: what earlier stages needed.
    """
    used = {name: stage_usage for name, stage_usage in usage.items() if stage_usage.calls}
    needs = earlier
    for stage_usage in used.values():
        price = session.price
        money = None if price is None else price.cost(stage_usage.prompt_tokens, stage_usage.answer_tokens)
        needs += LlmNeeds(stage_usage.calls, stage_usage.prompt_tokens + stage_usage.answer_tokens, money)
    return {
        **session.costs(),
        **needs.as_costs(),
        "whole": {name: vars(stage_usage) for name, stage_usage in used.items()},
        "estimate": compare_with_estimate(estimate, used, session.price) if used else {},
    }
