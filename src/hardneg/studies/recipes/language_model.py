"""Language models of recipes: their settings, their session, and an estimate of their replies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pydantic import PositiveFloat

from hardneg.config import Config
from hardneg.errors import ConfigError
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.local.model import LocalModel
from hardneg.llm.names import address_of, open_model
from hardneg.llm.packages.table import MODELS
from hardneg.llm.protocol import ChatModel, LlmError
from hardneg.llm.recorded import RecordedModel, read_recording
from hardneg.llm.session import Session
from hardneg.llm.usage import FREE, UsageStats, find_price
from hardneg.stage import Draft, Stage
from hardneg.studies.recipes import ReplyEstimate, StageContext
from hardneg.text import CostEstimate
from hardneg.types import WeightPrecision

REPLIES = "replies.sqlite"
"""Store of replies in the folder of a study, which its rows share."""
RECORDED = "recorded:"
"""Beginning of the name of a file of recorded replies (`llm.recorded`), which answers nothing else."""
IN_MEMORY = Path(":memory:")
FIRST_BATCH = 8
"""Requests that an estimate sends to a model in this process, to measure its tokens a second."""


class LanguageModelSettings(Config):
    """The language model of a recipe, and where its replies are kept."""

    llm: str | None = None
    """Language model, as for --llm, or recorded:FILE for a file of recorded replies alone."""
    store: Path | None = None
    """File of the replies; None is replies.sqlite in the folder of the study."""
    precision: WeightPrecision | None = None
    """Precision of the model's weights; None is float32 on the CPU and bfloat16 elsewhere."""
    tokens_per_second: PositiveFloat | None = None
    """Prompt and answer tokens a second, for the hours of an estimate; None: a model in this process is timed."""

    @property
    def llm_name(self) -> str:
        """The name of the model. Raises ConfigError without one."""
        if self.llm is None:
            raise ConfigError("found no language model, expected one; name it with `llm: NAME`")
        return self.llm

    @property
    def n_timed(self) -> int:
        """Number of requests that an estimate sends: none where the rate is given, and none to an endpoint."""
        answers_here = address_of(self.llm_name) is None and not self.llm_name.startswith(RECORDED)
        return FIRST_BATCH if self.tokens_per_second is None and answers_here else 0

    def llm_problems(self) -> list[str]:
        """Return a problem where a packaged model, or a file of recorded replies, is not here."""
        if self.llm is None or not (self.llm in MODELS or self.llm.startswith(RECORDED)):
            return []
        try:
            _open_model(self.llm, "cpu", self.precision)
        except (ConfigError, LlmError) as error:
            return [str(error)]
        return []

    @contextmanager
    def open_for_estimate(self, context: StageContext, activity: str) -> Iterator[Session]:
        """Open the session of an estimate; where requests are timed, with the weights loaded and the store of replies."""
        with self.open_session(context, activity, stored=self.n_timed > 0) as session:
            if self.n_timed and isinstance(session.model, LocalModel):
                session.model.load()
            yield session

    @contextmanager
    def open_session(self, context: StageContext, activity: str, *, stored: bool) -> Iterator[Session]:
        """Open the model with the store of replies, or with one in memory; at the end the weights are let go."""
        model = _open_model(self.llm_name, context.device, self.precision)
        price = FREE if address_of(self.llm_name) is None else find_price(self.llm_name)
        path = (self.store or context.out / REPLIES) if stored else IN_MEMORY
        if stored:
            path.parent.mkdir(parents=True, exist_ok=True)
        with ReplyStore(path) as store:
            if isinstance(model, RecordedModel):
                model.recording.fill(store)
            try:
                yield Session(model, store, price=price, watch=_watch(context), activity=activity)
            finally:
                if isinstance(model, LocalModel):
                    model.unload()

    def stage_with_session(self, context: StageContext, activity: str, make: Callable[[Session], Stage]) -> Stage:
        """Return the stage of a session. The store is opened, and the model loaded, only while the stage is built."""

        def build(draft: Draft) -> None:
            with self.open_session(context, activity, stored=True) as session:
                make(session).build(draft)

        with self.open_session(context, activity, stored=False) as session:
            return replace(make(session), build=build)

    def reply_estimate(
        self, session: Session, cost: CostEstimate, *key: str, sampled: CostEstimate | None = None
    ) -> ReplyEstimate:
        """Return calls and tokens of a cost, with the rate as given or timed.

        key: of the requests. sampled: the estimate whose requests were timed, if that is not `cost`.
        """
        total, timed = cost.total, [stage for stage in (sampled or cost).stages if stage.seconds_per_call]
        seconds = sum(stage.calls * (stage.seconds_per_call or 0.0) for stage in timed)
        rate = sum(stage.tokens for stage in timed) / seconds if seconds else None
        return ReplyEstimate(
            self.llm_name,
            (session.model.identity, *key),
            total.calls,
            total.prompt_tokens,
            total.answer_tokens,
            self.tokens_per_second or rate,
            None if session.price is None else session.price.cost(total.prompt_tokens, total.answer_tokens),
        )


def _watch(context: StageContext) -> Callable[[str, UsageStats], None] | None:
    progress = context.progress
    if progress is None:
        return None
    return lambda text, usage: progress(text, usage.rows, usage.total or usage.rows)


@lru_cache(maxsize=8)
def _open_model(name: str, device: str, precision: WeightPrecision | None) -> ChatModel:
    """Open a model once, since its identity is a hash of its files."""
    if name.startswith(RECORDED):
        return RecordedModel(read_recording(Path(name.removeprefix(RECORDED))))
    return open_model(name, device=device, precision=precision)
