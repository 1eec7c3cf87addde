"""Trees, and suspects that are judged by them (DTL-NS): how a file asks for them, and how they are made on one split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt

from hardneg import pipeline
from hardneg.config import Config
from hardneg.judging import JudgeConfig, PrefixRule, RecordedLabels
from hardneg.judging.suspects import THRESHOLD, Threshold
from hardneg.pipeline import RunConfig, SuspectInputs, SuspectsConfig
from hardneg.studies.auxiliary_runs import RunSpec, train_apart
from hardneg.studies.build_times import timed
from hardneg.trees import TreesConfig
from hardneg.types import Progress


class GivenFolders(Config):
    """Trees, or suspects, that stand already."""

    method: Literal["given"] = "given"
    folders: dict[str, Path]
    """Split -> folder."""


class GrownSpec(Config):
    """Trees by `hardneg trees --run`."""

    method: Literal["grown"] = "grown"
    run: RunSpec
    """The semantic tree is over its item embeddings."""
    options: TreesConfig = TreesConfig()


class ControlSpec(Config):
    """The controls: the codes of other trees, handed out at random to other items, or random ones of equal shape."""

    method: Literal["shuffled", "random"]
    like: str
    """A name under `trees`."""
    seed: NonNegativeInt = 0


def _without_further_inputs(judge: JudgeConfig) -> JudgeConfig:
    if judge.queries_llm or isinstance(judge, RecordedLabels):
        raise ValueError(
            f"found judge {judge.kind!r}, expected one without an LLM or a file of labels; make the suspects with `hardneg "
            "mine` and name their folders"
        )
    return judge


class JudgedSpec(Config):
    """Suspects by `hardneg mine --method dual-tree`, judged without a language model."""

    method: Literal["dual-tree"]
    run: RunSpec
    """Ranks the candidates."""
    trees: str | None = None
    """A name under `trees`, for judge rule."""
    judge: Annotated[JudgeConfig, AfterValidator(_without_further_inputs)] = PrefixRule()
    like: str | None = None
    """A name under `suspects`, at whose rate judge random calls candidates liked."""
    like_threshold: Threshold = THRESHOLD
    """Probability from which candidates count as liked there: that of the rows whose control this is."""
    candidates: PositiveInt = SuspectsConfig().candidates


def _method(otherwise: str | None) -> BeforeValidator:
    """Folders alone are given ones."""

    def filled(value: Any) -> Any:
        if not isinstance(value, dict) or "method" in value:
            return value
        method = "given" if "folders" in value else otherwise
        return value if method is None else {"method": method, **value}

    return BeforeValidator(filled)


TreesSpec = Annotated[GrownSpec | ControlSpec | GivenFolders, Field(discriminator="method"), _method("grown")]
SuspectsSpec = Annotated[JudgedSpec | GivenFolders, Field(discriminator="method"), _method(None)]


@dataclass(frozen=True)
class Orchard:
    """A split, where its shared folders lie, and the device that trains."""

    split: Path
    shared: Path
    device: str = "cpu"

    def grow(self, spec: GrownSpec, config: RunConfig, out: Path, progress: Progress | None) -> None:
        """Train the run, where it does not stand, and grow the trees. config: the run's settings."""
        run = self._run(spec.run, config, "the run that a tree grows from", progress)
        with timed(out):
            pipeline.trees_stage(self.split, spec.options, run=run, progress=progress).run(out)

    def judge(
        self,
        spec: JudgedSpec,
        config: RunConfig,
        out: Path,
        *,
        trees: Path | None,
        like: Path | None,
        progress: Progress | None,
    ) -> None:
        """Train the run, where it does not stand, and judge its candidates. trees, like: folders of those named."""
        run = self._run(spec.run, config, "the run that candidates come from", progress)
        judge = spec.judge
        if like is not None:
            judge = judge.model_copy(update={"rate": pipeline.suspect_rate(like, self.split, spec.like_threshold)})
        mining = SuspectsConfig(judge=judge, candidates=spec.candidates)
        with timed(out):
            pipeline.suspects_stage(self.split, SuspectInputs(run, trees, like=like), mining, progress).run(out)

    def _run(self, spec: RunSpec, config: RunConfig, what: str, progress: Progress | None) -> Path:
        return train_apart(self.split, self.shared, spec, config, what=what, device=self.device, progress=progress)
