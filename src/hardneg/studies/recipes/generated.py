"""Profiles and negatives that a language model writes, and what their replies will cost."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import NonNegativeFloat, PositiveInt

from hardneg import pipeline
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.llm.names import address_of
from hardneg.llm.protocol import ChatModel
from hardneg.llm.session import Session
from hardneg.llm.usage import UsageStats
from hardneg.mining.generated import GeneratedConfig, NamingMode
from hardneg.pipeline import GenerationConfig
from hardneg.stage import Stage
from hardneg.studies.recipes import (
    Entry,
    NameIn,
    NegativesRecipe,
    ProfilesRecipe,
    ReplyEstimate,
    StageContext,
    StudyFile,
)
from hardneg.studies.recipes.implied import item_text_problems
from hardneg.studies.recipes.language_model import LanguageModelSettings
from hardneg.studies.recipes.profiles import ExtractiveProfiles
from hardneg.studies.spec import Grid
from hardneg.text import EstimateConfig, GroundingConfig, ProfilesConfig, TextEncoder, extract_profiles, open_encoder
from hardneg.text.encoders import CAUSAL

ACTIVITY = "naming negatives with"
ACTIVITY_OF_PROFILES = "writing profiles with"
COUNTED = 500
"""Prompts that an estimate counts."""


class GeneratedProfiles(ProfilesRecipe, LanguageModelSettings):
    """Profiles by `hardneg profiles write --llm`."""

    method: Literal["generated"] = "generated"
    llm: str
    """Language model, as for --llm."""
    options: ProfilesConfig = ProfilesConfig()

    @property
    def implied(self) -> Entry:
        own = self.model_dump_json(include={"options", "precision"}, exclude_defaults=True)
        digest = "" if own == "{}" else f" {hashlib.sha256(own.encode()).hexdigest()[:8]}"
        return Entry(self, f"by {self.llm}{digest}")

    def problems(self, file: StudyFile) -> list[str]:
        return super().problems(file) + self.llm_problems()

    def stage(self, context: StageContext) -> Stage:
        """Return the stage. Its store is opened, and the model loaded, while it is built only."""

        def make(session: Session) -> Stage:
            return pipeline.generate_profiles_stage(context.split_dir, session, self.options)

        return self.stage_with_session(context, ACTIVITY_OF_PROFILES, make)

    def estimate_replies(self, context: StageContext) -> ReplyEstimate:
        """Return calls and tokens from the real prompts, and the rate as given or timed, as for negatives.

        Only requests about items are timed: those about a user need the profiles of all train items of the user.
        """
        of_items = self.options.model_copy(update={"users": False})
        with self.open_for_estimate(context, ACTIVITY_OF_PROFILES) as session:
            timed = EstimateConfig(sample=self.n_timed, limit=COUNTED)
            sampled = pipeline.estimate_llm_cost(context.split_dir, session, timed, writing=of_items)
            counted = EstimateConfig(limit=COUNTED)
            cost = pipeline.estimate_llm_cost(context.split_dir, session, counted, writing=self.options)
            return self.reply_estimate(session, cost, self.options.model_dump_json(), sampled=sampled)


class Generated(NegativesRecipe, LanguageModelSettings):
    """Negatives by `hardneg negatives generate`."""

    method: Literal["generated"] = "generated"
    llm: str
    """Language model, as for --llm."""
    per: Literal["pair", "item"] = "item"
    naming: NamingMode = "grounded"
    k: PositiveInt | None = None
    """Products of each item, 3 by default."""
    temperature: NonNegativeFloat | None = None
    """Sampling temperature; None is .7 for items and 0 for pairs."""
    grounding: GroundingConfig = GroundingConfig()
    encoder: str = "minilm"
    """Text encoder, as for --encoder."""
    profiles: ProfilesRecipe | None = ExtractiveProfiles()
    """Profiles of the prompts of pairs and, for items, of the users' vectors; null for means over train items."""
    suspects: Annotated[str | None, NameIn("suspects")] = None
    """A name under `suspects`, none of whose items a pair of their user takes; for items only."""

    @property
    def config(self) -> GenerationConfig:
        """Settings of the stage. Raises ConfigError for k of pairs."""
        config = GenerationConfig(use=GeneratedConfig(grounding=self.grounding))
        return config.replaced(per=self.per, naming=self.naming, k=self.k, temperature=self.temperature)

    def problems(self, file: StudyFile) -> list[str]:
        problems = super().problems(file) + self.llm_problems()
        try:
            _ = self.config
        except ConfigError as error:
            problems.append(str(error))
        if self.per == "pair" and self.profiles is None:
            problems.append("found no profiles for negatives per pair, whose prompts hold them; leave out `profiles`")
        if self.per == "pair" and self.suspects is not None:
            problems.append("found suspects for negatives per pair, expected none; leave them out, or name per item")
        return problems

    def problems_on(self, split: str, grid: Grid) -> list[str]:
        return item_text_problems(split, grid)

    def stage(self, context: StageContext) -> Stage:
        """Return the stage."""

        def make(session: Session) -> Stage:
            return pipeline.generate_stage(
                context.split_dir,
                context.folders.get("profiles"),
                session,
                self._encoder(context, session),
                self.config,
                suspects_dir=context.folders.get("suspects"),
                progress=context.progress,
            )

        return self.stage_with_session(context, ACTIVITY, make)

    def estimate_replies(self, context: StageContext) -> ReplyEstimate:
        """Return calls and tokens from the real prompts, and the rate as given or timed.

        A model in this process is sent the first requests, whose replies stay in the store; nothing is sent to an endpoint.
        """
        with self.open_for_estimate(context, ACTIVITY) as session:
            counted = EstimateConfig(sample=self.n_timed, limit=COUNTED)
            written = extract_profiles(splits.read_split(context.split_dir)) if self.per == "pair" else None
            cost = pipeline.estimate_llm_cost(
                context.split_dir, session, counted, generation=self.config, written=written
            )
            requests = self.config.products if self.per == "item" else self.config.texts
            return self.reply_estimate(session, cost, requests.model_dump_json())

    def _encoder(self, context: StageContext, session: Session) -> TextEncoder:
        """Open the text encoder; vectors of a language model or an endpoint are kept in the store."""

        def executor(model: ChatModel) -> Session:
            return replace(session, model=model, watch=None, usage=UsageStats())

        if address_of(self.encoder) is None and not self.encoder.startswith(CAUSAL):
            return context.open_encoder(self.encoder)
        return open_encoder(self.encoder, device=context.device, precision=self.precision, executor_for=executor)
