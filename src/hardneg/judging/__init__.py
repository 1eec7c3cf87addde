"""Judges: label candidates as false negatives, that is, unobserved items that the user would like."""

from hardneg.judging.judge import JUDGES, AllPositive, Judge, JudgeConfig, JudgeInputs, JudgementIssue, RandomLabels
from hardneg.judging.llm_judge import LlmOnCodes, LlmOnTitles, LlmProbabilities
from hardneg.judging.recorded import RecordedJudge, RecordedJudgements, RecordedLabels, read_judgements
from hardneg.judging.rule import Calibration, PrefixRule, RuleJudge, calibrate_rule
from hardneg.judging.suspects import UserCandidates

__all__ = [
    "JUDGES",
    "AllPositive",
    "Calibration",
    "Judge",
    "JudgeConfig",
    "JudgeInputs",
    "JudgementIssue",
    "LlmOnCodes",
    "LlmOnTitles",
    "LlmProbabilities",
    "PrefixRule",
    "RandomLabels",
    "RecordedJudge",
    "RecordedJudgements",
    "RecordedLabels",
    "RuleJudge",
    "UserCandidates",
    "calibrate_rule",
    "read_judgements",
]
