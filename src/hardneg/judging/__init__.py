"""Judges: label candidates as false negatives, that is, unobserved items that the user would like."""

from hardneg.judging.calibration import Calibration
from hardneg.judging.judge import (
    JUDGES,
    AllPositive,
    Judge,
    JudgeConfig,
    JudgeInputs,
    JudgementIssue,
    RandomLabels,
    ScoredJudge,
)
from hardneg.judging.likelihood import LikelihoodJudge, TitleLikelihood
from hardneg.judging.llm_judge import LlmOnCodes, LlmOnTitles, LlmProbabilities
from hardneg.judging.recorded import RecordedJudge, RecordedJudgements, RecordedLabels, read_judgements
from hardneg.judging.rule import PrefixRule, RuleJudge, calibrate_rule
from hardneg.judging.suspects import UserCandidates

__all__ = [
    "JUDGES",
    "AllPositive",
    "Calibration",
    "Judge",
    "JudgeConfig",
    "JudgeInputs",
    "JudgementIssue",
    "LikelihoodJudge",
    "LlmOnCodes",
    "LlmOnTitles",
    "LlmProbabilities",
    "PrefixRule",
    "RandomLabels",
    "RecordedJudge",
    "RecordedJudgements",
    "RecordedLabels",
    "RuleJudge",
    "ScoredJudge",
    "TitleLikelihood",
    "UserCandidates",
    "calibrate_rule",
    "read_judgements",
]
