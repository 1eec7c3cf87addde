"""Judges of suspects: who says which unobserved items a user likes."""

from hardneg.judging.config import JUDGES, JudgeConfig
from hardneg.judging.fixed import All, Random, RandomJudge
from hardneg.judging.judge import Judge, JudgeInputs, LabelError
from hardneg.judging.llm_judge import Llm, LlmJudge, LlmLogprob, Titles
from hardneg.judging.recorded import Recorded, RecordedJudge, RecordedJudgements, read_judgements
from hardneg.judging.rule import Calibration, Rule, RuleJudge, calibrate
from hardneg.judging.user_candidates import UserCandidates

__all__ = [
    "JUDGES",
    "All",
    "Calibration",
    "Judge",
    "JudgeConfig",
    "JudgeInputs",
    "LabelError",
    "Llm",
    "LlmJudge",
    "LlmLogprob",
    "Random",
    "RandomJudge",
    "Recorded",
    "RecordedJudge",
    "RecordedJudgements",
    "Rule",
    "RuleJudge",
    "Titles",
    "UserCandidates",
    "calibrate",
    "read_judgements",
]
