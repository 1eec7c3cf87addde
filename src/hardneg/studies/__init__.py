"""Studies: grids of runs from Python, whole comparisons from a YAML file, and searches for settings.

`study.Study` reads a file into cells (`load`), makes the artifacts that runs share (`plan`, `recipes`), trains the runs in
processes (`process_pool`, `runs`) and writes tables (`results`). `search.Search` tries settings on the same plan.
"""

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
