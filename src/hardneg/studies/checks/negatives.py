"""What may be wrong with negatives, and with the rows that use them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.errors import ConfigError
from hardneg.sampling import MixGCF, SamplerConfig, SamplerInputs, SemanticMixing
from hardneg.sampling.sampler_inputs import folder_kind
from hardneg.sampling.tree_similarity import TreeWeights
from hardneg.studies.checks.names import Names, has_line, of_folders, of_name, of_run, splits_of
from hardneg.studies.spec import GivenSpec, Grid, LikeSpec, NegativesSpec, NeighboursSpec, RetrievedSpec, RowSpec
from hardneg.studies.synthesized_spec import FromLabelsSpec, LabelsSpec, SynthesisedSpec


def of_negatives(grid: Grid, names: Names) -> list[str]:
    """Of the section `negatives`."""
    problems = []
    for name, spec in grid.negatives.items():
        if isinstance(spec, LikeSpec):
            problems += [f"negatives.{name}: like {spec.like!r} {text}" for text in _of_like(spec, grid, names)]
        elif isinstance(spec, GivenSpec):
            problems += of_folders(f"negatives.{name}", spec.folders, grid, names, folder_kind)
        elif isinstance(spec, SynthesisedSpec | FromLabelsSpec):
            problems += [f"negatives.{name}: labels: {text}" for text in _of_labels(spec.labels, grid, names)]
        if isinstance(spec, SynthesisedSpec):
            problems += _of_base(name, spec)
    return problems


def of_row(name: str, row: RowSpec, grid: Grid, names: Names) -> list[str]:
    """Does a row have the negatives that it needs, and no others?"""
    problems = []
    if row.negatives is not None:
        problems += of_name(f"rows.{name}", "negatives", row.negatives, names.negatives)
    if needs_negatives(row.sampler) and row.negatives is None:
        problems.append(f"rows.{name}: sampler {row.sampler.kind!r} needs negatives; name some with `negatives: NAME`")
    if row.negatives is not None and not needs_negatives(row.sampler):
        problems.append(f"rows.{name}: sampler {row.sampler.kind!r} uses no negatives; leave `negatives` out")
    return problems + _of_use(name, row, grid)


def needs_negatives(sampler: SamplerConfig) -> bool:
    """True where a sampler cannot be built without mined negatives."""
    if isinstance(sampler, TreeWeights):
        return False  # it may need trees
    try:
        sampler.build(SamplerInputs(1, None, 0))
    except ConfigError:
        return True
    return False


def _of_use(name: str, row: RowSpec, grid: Grid) -> list[str]:
    """Are there texts, or a folder, on every split where the row's negatives are wanted?"""
    spec = grid.negatives.get(row.negatives or "")
    if isinstance(spec, LikeSpec):
        spec = grid.negatives.get(spec.like)
    problems = []
    for split in splits_of(row, grid):
        if isinstance(spec, GivenSpec) and split not in spec.folders:
            problems.append(f"rows.{name}: no negatives folder is given for split {split!r}")
        if _reads_texts(spec) and not _has_texts(grid.splits[split].folder):
            problems.append(
                f"rows.{name}: split {split!r} has no item texts to retrieve from; restrict the row with `splits`"
            )
        if isinstance(spec, SynthesisedSpec | FromLabelsSpec) and not has_line(grid, split, spec.labels):
            problems.append(
                f"rows.{name}: labels come from row {spec.labels.row!r} with {spec.labels.model!r}, which is left out "
                f"on split {split!r}; see its `splits` and `models`"
            )
    return problems + _of_kind(name, row, spec)


def _reads_texts(spec: NegativesSpec | None) -> bool:
    """True where item texts are needed to make it."""
    if isinstance(spec, SynthesisedSpec):
        return spec.reads_texts
    return isinstance(spec, RetrievedSpec) or (isinstance(spec, NeighboursSpec) and spec.by == "text")


def _of_kind(name: str, row: RowSpec, spec: NegativesSpec | None) -> list[str]:
    """The sampler "semantic-mixing" needs neighbours of items, others negatives; what given folders hold shows when read."""
    if spec is None or isinstance(spec, GivenSpec):
        return []
    if isinstance(row.sampler, SemanticMixing) and not isinstance(spec, NeighboursSpec):
        return [f"rows.{name}: sampler 'semantic-mixing' needs neighbours; name some of `method: neighbours`"]
    if isinstance(spec, NeighboursSpec) and not isinstance(row.sampler, SemanticMixing):
        return [f"rows.{name}: sampler {row.sampler.kind!r} uses no neighbours; name negatives of another method"]
    return []


def _has_texts(folder: Path) -> bool:
    """True where items have texts, or where that cannot be known (which another check tells)."""
    path = folder / "items.parquet"
    return not path.is_file() or any(name in c.TEXT for name in pl.read_parquet_schema(path))


def _of_like(spec: LikeSpec, grid: Grid, names: Names) -> list[str]:
    like = grid.negatives.get(spec.like)
    if spec.like not in names.negatives:
        return ["is no name under `negatives`"]
    if isinstance(like, LikeSpec):
        return [f"is {like.method} itself; take what that is like"]
    if isinstance(like, NeighboursSpec):
        return ["is neighbours, which have no vectors to be like"]
    return []


def _of_labels(labels: LabelsSpec, grid: Grid, names: Names) -> list[str]:
    problems, row = of_run(labels, names), grid.rows.get(labels.row)
    if row is not None and not isinstance(row.sampler, MixGCF):
        problems.append(
            f"row {labels.row!r} has sampler {row.sampler.kind!r}, expected 'mixgcf', whose negatives labels are"
        )
    return problems


def _of_base(name: str, spec: SynthesisedSpec) -> list[str]:
    """What is set must mean something to the base."""
    try:
        spec.config().settings(spec.base)
    except ConfigError as error:
        return [f"negatives.{name}: {error}"]
    return []
