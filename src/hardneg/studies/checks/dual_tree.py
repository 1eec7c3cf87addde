"""What may be wrong with trees and suspects, and with the rows that use them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeGuard

from hardneg.judging import RandomLabels, suspects
from hardneg.sampling import SamplerConfig
from hardneg.sampling.tree_similarity import TreeWeights, tree_weights
from hardneg.studies.auxiliary_runs import RunSpec
from hardneg.studies.checks.names import Names, has_line, of_folders, of_name, of_run, splits_of
from hardneg.studies.dual_tree import ControlSpec, GivenFolders, GrownSpec, JudgedSpec, SuspectsSpec, TreesSpec
from hardneg.studies.experiment_cells import Cell
from hardneg.studies.spec import Grid, RowSpec, SearchSpec, StudySpec, applied
from hardneg.trees import trees_folder

WEIGHTS = ("sampler.alpha_c", "sampler.alpha_s")
"""Settings by which a sampler looks at trees."""


def of_sections(grid: Grid, names: Names) -> list[str]:
    """Of the sections `trees` and `suspects`."""
    problems = []
    for name, tree in grid.trees.items():
        problems += _of_trees(f"trees.{name}", tree, grid, names)
    for name, spec in grid.suspects.items():
        problems += _of_suspects(f"suspects.{name}", spec, grid, names)
    return problems


def _of_trees(where: str, spec: TreesSpec, grid: Grid, names: Names) -> list[str]:
    if isinstance(spec, GivenFolders):
        return of_folders(where, spec.folders, grid, names, lambda _: trees_folder.KIND)
    if isinstance(spec, GrownSpec):
        return _of_run(where, spec.run, grid, names)
    like = grid.trees.get(spec.like)
    if isinstance(like, ControlSpec):
        return [f"{where}: like {spec.like!r} is {like.method} itself; take what that is like"]
    return of_name(where, "trees", spec.like, names.trees)


def _of_suspects(where: str, spec: SuspectsSpec, grid: Grid, names: Names) -> list[str]:
    if isinstance(spec, GivenFolders):
        return of_folders(where, spec.folders, grid, names, lambda _: suspects.KIND)
    return _of_run(where, spec.run, grid, names) + _of_judge(where, spec, names) + _of_like(where, spec, grid, names)


def _of_run(where: str, run: RunSpec, grid: Grid, names: Names) -> list[str]:
    """It needs nothing that would have to be made before."""
    problems, row = [f"{where}: run: {text}" for text in of_run(run, names)], grid.rows.get(run.row)
    if row is not None and (row.negatives, row.suspects, row.trees) != (None, None, None):
        problems.append(
            f"{where}: run: row {run.row!r} uses negatives, suspects or trees itself, expected one that needs none"
        )
    return problems


def _of_judge(where: str, spec: JudgedSpec, names: Names) -> list[str]:
    if spec.trees is not None:
        unused = [] if spec.judge.reads_trees else [f"{where}: judge {spec.judge.kind!r} uses no trees; leave out"]
        return of_name(where, "trees", spec.trees, names.trees) + unused
    if spec.judge.reads_trees:
        return [f"{where}: judge {spec.judge.kind!r} needs trees; name some with `trees: NAME`"]
    return []


def _of_like(where: str, spec: JudgedSpec, grid: Grid, names: Names) -> list[str]:
    if spec.like is None:
        alone = "like_threshold" in spec.model_fields_set
        return [f"{where}: found like_threshold without like; name suspects with `like: NAME`"] if alone else []
    problems = of_name(where, "suspects", spec.like, names.suspects)
    if not isinstance(spec.judge, RandomLabels):
        problems.append(f"{where}: like is of judge 'random' alone, found {spec.judge.kind!r}; leave it out")
    elif "rate" in spec.judge.model_fields_set:
        problems.append(f"{where}: found both a rate and like {spec.like!r}; give one")
    if _chained(spec, grid):
        problems.append(f"{where}: like {spec.like!r} has the rate of others itself; take what that is like")
    return problems


def _chained(spec: JudgedSpec, grid: Grid) -> bool:
    """Has what it is like the rate of others itself? They may lead round in a circle."""
    like = grid.suspects.get(spec.like or "")
    return isinstance(like, JudgedSpec) and like.like is not None


def of_row(name: str, row: RowSpec, grid: Grid, names: Names) -> list[str]:
    """Does a row have the trees that it needs and no others, and are its trees and suspects there on its splits?"""
    where, problems = f"rows.{name}", list[str]()
    if row.trees is not None:
        problems += of_name(where, "trees", row.trees, names.trees)
        if tree_weights(row.sampler) is None:
            problems.append(f"{where}: sampler {row.sampler.kind!r} uses no trees; leave `trees` out")
    elif _reads_trees(row.sampler):
        problems.append(f"{where}: sampler {row.sampler.kind!r} {NEEDS_TREES}")
    if row.suspects is not None:
        problems += of_name(where, "suspects", row.suspects.name, names.suspects)
    suspected = None if row.suspects is None else row.suspects.name
    for split in splits_of(row, grid):
        problems += [f"{where}: {text}" for text in _of_trees_on(split, row.trees, grid)]
        problems += [f"{where}: {text}" for text in _of_suspects_on(split, suspected, grid)]
    return problems


NEEDS_TREES = "needs trees; name some with `trees: NAME`, or set alpha_c and alpha_s to 0"


def _reads_trees(sampler: SamplerConfig) -> bool:
    found = tree_weights(sampler)
    return found is not None and found.reads_trees


def _of_trees_on(split: str, name: str | None, grid: Grid) -> list[str]:
    """Can they be there on a split?"""
    spec = grid.trees.get(name or "")
    if isinstance(spec, ControlSpec):
        spec = grid.trees.get(spec.like)
    if isinstance(spec, GrownSpec):
        return _of_line(split, spec.run, grid, "trees grow")
    if spec is not None and _lacks(split, spec):
        return [f"no trees folder is given for split {split!r}"]
    return []


def _of_suspects_on(split: str, name: str | None, grid: Grid) -> list[str]:
    spec = grid.suspects.get(name or "")
    if isinstance(spec, JudgedSpec):
        problems = _of_line(split, spec.run, grid, "candidates come") + _of_trees_on(split, spec.trees, grid)
        return problems + ([] if _chained(spec, grid) else _of_suspects_on(split, spec.like, grid))
    if spec is not None and _lacks(split, spec):
        return [f"no suspects folder is given for split {split!r}"]
    return []


def _lacks(split: str, spec: object) -> TypeGuard[GivenFolders]:
    return isinstance(spec, GivenFolders) and split not in spec.folders


def _of_line(split: str, run: RunSpec, grid: Grid, what: str) -> list[str]:
    if has_line(grid, split, run):
        return []
    return [
        f"{what} from row {run.row!r} with {run.model!r}, which is left out on split {split!r}; see its `splits` and "
        "`models`"
    ]


def of_released_mask(spec: StudySpec, names: Names) -> list[str]:
    """It names suspects of the file, and can be made wherever it is not given."""
    mask = spec.released_mask
    if mask is None:
        return []
    problems = of_name("released_mask", "suspects", mask, names.suspects)
    if isinstance(spec.suspects.get(mask), JudgedSpec):
        problems += [f"released_mask: {text}" for split in spec.splits for text in _of_suspects_on(split, mask, spec)]
    return problems


def of_views(cells: Iterable[Cell], grid: Grid, where: str) -> list[str]:
    """No setting makes a line look at trees that it does not have; of a row as given that is said by `of_row`."""
    blind = dict.fromkeys(cell.row for cell in cells if cell.trees is None and _reads_trees(cell.config.sampler))
    made_so = [row for row in blind if not _reads_trees(grid.rows[row].sampler)]
    return [f"{where}: {row!r} gets a weight of views, but {NEEDS_TREES}" for row in made_so]


def of_weights_searched(spec: SearchSpec) -> list[str]:
    """No search looks for the weights of views where there are no trees."""
    return [
        f"space: {field} is searched for row {name!r}, which has no trees; give it to rows with trees alone, by their "
        "own `space`"
        for name, row in spec.rows.items()
        for field in WEIGHTS
        if row.trees is None and isinstance(row.sampler, TreeWeights) and field in applied(spec.space, row)
    ]
