"""Judges by name: a choice and its options are one object."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hardneg.judging.fixed import All, Random
from hardneg.judging.llm_judge import Llm, LlmLogprob, Titles
from hardneg.judging.recorded import Recorded
from hardneg.judging.rule import Rule

JudgeConfig = Annotated[
    Rule | Random | All | Recorded | Llm | LlmLogprob | Titles,
    Field(discriminator="kind"),
]
JUDGES = ("rule", "random", "all", "recorded", "llm", "llm-logprob", "titles")
