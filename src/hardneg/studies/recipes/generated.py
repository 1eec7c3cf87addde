"""Negatives that a language model names, and what their replies will cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from hardneg import pipeline
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.local.model import LocalModel
from hardneg.llm.names import address_of, open_model
from hardneg.llm.protocol import ChatModel
from hardneg.llm.session import Session
from hardneg.llm.usage import FREE, UsageStats, find_price
from hardneg.mining.generated import GeneratedConfig, NamingMode
from hardneg.pipeline import GenerationConfig
from hardneg.stage import Draft, Stage
from hardneg.studies.recipes import NameIn, NegativesRecipe, ReplyEstimate, StageContext, StudyFile
from hardneg.studies.recipes.implied import ProfilesRecipe, item_text_problems
from hardneg.studies.spec import Grid
from hardneg.text import EstimateConfig, GroundingConfig, TextEncoder, extract_profiles, open_encoder
from hardneg.text.encoders import CAUSAL
from hardneg.types import WeightPrecision

REPLIES = "replies.sqlite"
"""Store of replies in the folder of a study, which its rows share."""
IN_MEMORY = Path(":memory:")
FIRST_BATCH = 8
"""Requests that an estimate sends to a model in this process, to measure its tokens a second."""
COUNTED = 500
"""Prompts that an estimate counts."""


class Generated(NegativesRecipe):
    """Negatives by `hardneg negatives generate`, with extractive profiles."""

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
    profiles: ProfilesRecipe | None = ProfilesRecipe()
    """Profiles of the prompts of pairs and, for items, of the users' vectors; null for means over train items."""
    suspects: Annotated[str | None, NameIn("suspects")] = None
    """A name under `suspects`, none of whose items a pair of their user takes; for items only."""
    store: Path | None = None
    """File of the replies; None is replies.sqlite in the folder of the study."""
    precision: WeightPrecision | None = None
    """Precision of the model's weights; None is float32 on the CPU and bfloat16 elsewhere."""
    tokens_per_second: PositiveFloat | None = None
    """Prompt and answer tokens a second, for the hours of an estimate; None: a model in this process is timed."""

    @property
    def config(self) -> GenerationConfig:
        """Settings of the stage. Raises ConfigError for k of pairs."""
        config = GenerationConfig(use=GeneratedConfig(grounding=self.grounding))
        return config.replaced(per=self.per, naming=self.naming, k=self.k, temperature=self.temperature)

    def problems(self, file: StudyFile) -> list[str]:
        problems = super().problems(file)
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
        """Return the stage. Its store is opened, and the model loaded, while it is built only."""

        def make(session: Session, encoder: TextEncoder) -> Stage:
            return pipeline.generate_stage(
                context.split_dir,
                context.folders.get("profiles"),
                session,
                encoder,
                self.config,
                suspects_dir=context.folders.get("suspects"),
                progress=context.progress,
            )

        def build(draft: Draft) -> None:
            with self._open(context, self._store(context)) as (session, encoder):
                make(session, encoder).build(draft)

        with self._open(context, IN_MEMORY) as opened:
            return replace(make(*opened), build=build)

    def estimate_replies(self, context: StageContext) -> ReplyEstimate:
        """Return calls and tokens from the real prompts, and the rate as given or timed.

        A model in this process is sent the first requests, whose replies stay in the store; nothing is sent to an endpoint.
        """
        is_timed = self.tokens_per_second is None and address_of(self.llm) is None
        with self._open(context, self._store(context) if is_timed else IN_MEMORY) as (session, _):
            counted = EstimateConfig(sample=FIRST_BATCH if is_timed else 0, limit=COUNTED)
            written = extract_profiles(splits.read_split(context.split_dir)) if self.per == "pair" else None
            cost = pipeline.estimate_llm_cost(
                context.split_dir, session, counted, generation=self.config, written=written
            )
            total, stages = cost.total, [stage for stage in cost.stages if stage.seconds_per_call]
            seconds = sum(stage.calls * (stage.seconds_per_call or 0.0) for stage in stages)
            rate = sum(stage.tokens for stage in stages) / seconds if seconds else None
            requests = self.config.products if self.per == "item" else self.config.texts
            return ReplyEstimate(
                self.llm,
                (session.model.identity, requests.model_dump_json()),
                total.calls,
                total.prompt_tokens,
                total.answer_tokens,
                self.tokens_per_second or rate,
                None if session.price is None else session.price.cost(total.prompt_tokens, total.answer_tokens),
            )

    def _store(self, context: StageContext) -> Path:
        return self.store or context.out / REPLIES

    @contextmanager
    def _open(self, context: StageContext, path: Path) -> Iterator[tuple[Session, TextEncoder]]:
        """Open the model with a store of replies, and the encoder; at the end the weights are let go."""
        model = _open_model(self.llm, context.device, self.precision)
        price = FREE if address_of(self.llm) is None else find_price(self.llm)
        if path != IN_MEMORY:
            path.parent.mkdir(parents=True, exist_ok=True)
        with ReplyStore(path) as store:
            session = Session(model, store, price=price, watch=self._watch(context), activity="naming negatives with")
            try:
                yield session, self._encoder(context, session)
            finally:
                if isinstance(model, LocalModel):
                    model.unload()

    def _encoder(self, context: StageContext, session: Session) -> TextEncoder:
        """Open the text encoder; vectors of a language model or an endpoint are kept in the store."""

        def executor(model: ChatModel) -> Session:
            return replace(session, model=model, watch=None, usage=UsageStats())

        if address_of(self.encoder) is None and not self.encoder.startswith(CAUSAL):
            return context.open_encoder(self.encoder)
        return open_encoder(self.encoder, device=context.device, precision=self.precision, executor_for=executor)

    def _watch(self, context: StageContext) -> Callable[[str, UsageStats], None] | None:
        progress = context.progress
        if progress is None:
            return None
        return lambda text, usage: progress(text, usage.rows, usage.total or usage.rows)


@lru_cache(maxsize=8)
def _open_model(name: str, device: str, precision: WeightPrecision | None) -> ChatModel:
    """Open a model once, since its identity is a hash of its files."""
    return open_model(name, device=device, precision=precision)
