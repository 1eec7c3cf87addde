"""Judges of suspects: who says which unobserved items a user likes."""

from hardneg.negatives.judges.asked import AskedJudge, Llm, LlmLogprob, Titles
from hardneg.negatives.judges.config import JUDGES, JudgeConfig
from hardneg.negatives.judges.fixed import All, Random, RandomJudge
from hardneg.negatives.judges.judge import Evidence, Fault, Judge
from hardneg.negatives.judges.recorded import Labels, Recorded, RecordedJudge, read_labels
from hardneg.negatives.judges.rule import Calibration, Rule, RuleJudge, calibrate
from hardneg.negatives.judges.user_candidates import UserCandidates

__all__ = [
    "JUDGES",
    "All",
    "AskedJudge",
    "Calibration",
    "Evidence",
    "Fault",
    "Judge",
    "JudgeConfig",
    "Labels",
    "Llm",
    "LlmLogprob",
    "Random",
    "RandomJudge",
    "Recorded",
    "RecordedJudge",
    "Rule",
    "RuleJudge",
    "Titles",
    "UserCandidates",
    "calibrate",
    "read_labels",
]
