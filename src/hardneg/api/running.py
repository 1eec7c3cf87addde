"""Functions of the API that divide data, train runs and run studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hardneg import pipeline
from hardneg.api.folders import (
    ArtifactFolder,
    DatasetFolder,
    NegativesFolder,
    NeighboursFolder,
    RunFolder,
    SplitFolder,
    SuspectsFolder,
    TreesFolder,
    VectorsFolder,
)
from hardneg.config import parse_config
from hardneg.data.splitters import SplitConfig
from hardneg.errors import ConfigError
from hardneg.models import BaselineConfig, LightGCN, ModelConfig
from hardneg.pipeline import RunConfig
from hardneg.sampling import SamplerConfig, Uniform
from hardneg.training import FitConfig

if TYPE_CHECKING:
    from hardneg.quickstart import Answer, Question
    from hardneg.studies.run_comparison import RunComparison
    from hardneg.studies.study import Study


def split(
    dataset: DatasetFolder, by: Literal["ratio", "leave-one-out", "time", "given"] = "ratio", **settings: Any
) -> SplitFolder:
    """Divide a dataset into train, validation and test pairs.

    settings: train, valid, test (shares), seed, and filters (min_rating, since, until, kcore) of `SplitConfig`.
    Raises ConfigError for settings that do not exist or do not fit.
    """
    config: SplitConfig = parse_config(SplitConfig, {"by": by, **settings}, where="split")
    folder = dataset.workspace.run(pipeline.split_stage(dataset.folder, config))
    return SplitFolder(folder, dataset.workspace)


def fit(
    split: SplitFolder,
    *,
    model: ModelConfig | None = None,
    sampler: SamplerConfig | None = None,
    negatives: NegativesFolder | NeighboursFolder | None = None,
    suspects: SuspectsFolder | None = None,
    trees: TreesFolder | None = None,
    vectors: VectorsFolder | None = None,
    config: FitConfig | None = None,
    device: str = "cpu",
    earlier: RunFolder | None = None,
    **settings: Any,
) -> RunFolder:
    """Train a backbone (default: LightGCN) with a sampler (default: uniform); the epoch is chosen on validation pairs.

    negatives: for samplers that read mined negatives or item neighbours. suspects: with their use,
    `suspects.used("exclude")`. trees: for samplers that read path codes. vectors: for models that read text, by
    `hn.negatives.make_vectors`. settings: epochs, seed, learning_rate and other
    fields of `FitConfig`, which replace those of config. earlier: the same run with a lower limit of epochs; training goes
    on from it. Raises ConfigError where an input is missing or not used, or the earlier run differs otherwise.
    """
    fit_config: FitConfig = parse_config(FitConfig, {**(config or FitConfig()).model_dump(), **settings}, where="fit")
    run_config = RunConfig(
        model=model or LightGCN(),
        sampler=sampler or Uniform(),
        fit=fit_config,
        suspects=None if suspects is None else suspects.use,
    )
    stage = pipeline.train_stage(
        split.folder,
        run_config,
        negatives=None if negatives is None else negatives.folder,
        suspects=None if suspects is None else suspects.folder,
        trees=None if trees is None else trees.folder,
        vectors=None if vectors is None else vectors.folder,
        device=device,
    )
    if earlier is not None and not stage.extends(earlier.folder):
        raise ConfigError(f"{earlier.folder} is not this run with fewer epochs; give its settings, or leave it out")
    folder = split.workspace.run(stage, earlier=None if earlier is None else earlier.folder)
    return RunFolder(folder, split.workspace, split)


def fit_baseline(
    split: SplitFolder, baseline: BaselineConfig, *, select: str = "recall@20", seed: int = 0
) -> RunFolder:
    """Compute a baseline without a training loop, such as `hn.models.EASE(l2=300)`, as `hardneg baseline` does.

    select: validation metric that is recorded; it chooses nothing. seed: for `ALS`, which starts at random.
    """
    config = pipeline.BaselineRunConfig(baseline=baseline, select=select, seed=seed)
    return RunFolder(split.workspace.run(pipeline.baseline_stage(split.folder, config)), split.workspace, split)


def run(
    orders: str | Path,
    products: str | Path | None = None,
    out: str | Path = "out/run",
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
    time_format: str | None = None,
    report: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> Answer:
    """Compare methods on two tables, and fit the best one to recommend, as `hardneg run` does.

    columns, item_columns: our name -> theirs, as in {"user_id": "customer"}; others are guessed. report: receives a line
    for every step and decision. settings: minutes, trials, epochs, llm, precision and workers of `QuickstartConfig`.
    `.conclusions` are sentences, `.page` a file for a browser; the model is in `out` / "model", for `load_run`. Raises
    ConfigError where a column has two readings or `out` holds another call, DataError where the data are too few.
    """
    from hardneg.quickstart import QuickstartConfig, guess_columns, run_quickstart

    tables = Path(orders), None if products is None else Path(products)
    mapping = guess_columns(*tables, _refuse, columns=columns, item_columns=item_columns, time_format=time_format)
    config: QuickstartConfig = parse_config(QuickstartConfig, settings, where="run")
    return run_quickstart(Path(out), *tables, mapping, config, report=report)


def _refuse(question: Question) -> str:
    readings = ", ".join(question.readings)
    raise ConfigError(
        f"{question.text}? Found {readings}, expected one; say which in columns, item_columns or time_format"
    )


def study(spec: str | Path | Mapping[str, Any], out: str | Path | None = None, **settings: Any) -> Study:
    """Return a study from a YAML file, its content or the name of a ready study; `.run()` makes its runs, `.results()` its
    tables.

    out: study folder, out/NAME by default. settings: as of `Study.load`, such as only=["data/split"] and
    llms=["smollm2-135m"] for a ready study.
    """
    from hardneg.studies.study import Study

    return Study.load(spec, out, **settings)


def compare(
    runs: Sequence[RunFolder | str | Path],
    split: SplitFolder | str | Path,
    *,
    baseline: RunFolder | str | Path | None = None,
    metrics: Sequence[str] = ("ndcg@20", "recall@20"),
    groups: bool = True,
) -> RunComparison:
    """Compare finished and evaluated runs of one split with the first one, or with `baseline`, one of them.

    Runs that differ only in their seed are one method. `.frame` has all numbers, `.conclusions` and `.tables` are text;
    see `RunComparison`. Raises ConfigError for runs of other splits or without an evaluation by these metrics.
    """
    from hardneg.studies.run_comparison import compare_finished_runs

    base = None if baseline is None else _path(baseline)
    return compare_finished_runs(
        list(map(_path, runs)), _path(split), metrics=tuple(metrics), baseline=base, groups=groups
    )


def _path(artifact: ArtifactFolder | str | Path) -> Path:
    return artifact.folder if isinstance(artifact, ArtifactFolder) else Path(artifact)
