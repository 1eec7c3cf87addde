"""Judge options: the base of every judge's configuration, and the judges by name."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from hardneg.judging.judge import Judge, JudgeInputs
from hardneg.plugins import PluginConfig, Registry

JUDGES = Registry(
    "judge",
    "hardneg.judges",
    {
        "rule": "hardneg.judging.rule:PrefixRule",
        "random": "hardneg.judging.fixed:RandomLabels",
        "all": "hardneg.judging.fixed:AllPositive",
        "recorded": "hardneg.judging.recorded:RecordedLabels",
        "llm": "hardneg.judging.llm_judge:LlmOnCodes",
        "llm-logprob": "hardneg.judging.llm_judge:LlmProbabilities",
        "titles": "hardneg.judging.llm_judge:LlmOnTitles",
    },
)


class JudgeConfig(PluginConfig):
    """Options of a judge. A field of this type accepts every judge by its `kind`."""

    registry: ClassVar[Registry] = JUDGES
    reads_trees: ClassVar[bool] = False
    """True for a judge that compares path codes."""
    queries_llm: ClassVar[bool] = False
    """True for a judge that prompts a language model."""

    @abstractmethod
    def build(self, inputs: JudgeInputs) -> Judge:
        """Return the judge. Raises ConfigError where `inputs` lack something that it needs."""
        ...
