"""Studies: grids of runs from Python, whole comparisons from a YAML file, and searches for settings."""

from hardneg.studies.runs import Row, RunEnded, RunTask, collect_scores, read_curves, read_sampled, run_rows
from hardneg.studies.search import Search
from hardneg.studies.study import Study

__all__ = [
    "Row",
    "RunEnded",
    "RunTask",
    "Search",
    "Study",
    "collect_scores",
    "read_curves",
    "read_sampled",
    "run_rows",
]
