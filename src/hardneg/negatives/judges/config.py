"""Judges by name: a choice and its options are one object."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hardneg.negatives.judges.asked import Llm, LlmLogprob, Titles
from hardneg.negatives.judges.fixed import All, Random
from hardneg.negatives.judges.recorded import Recorded
from hardneg.negatives.judges.rule import Rule

JudgeConfig = Annotated[
    Rule | Random | All | Recorded | Llm | LlmLogprob | Titles,
    Field(discriminator="kind"),
]
JUDGES = ("rule", "random", "all", "recorded", "llm", "llm-logprob", "titles")
