"""Grids of runs: rows x seeds on one split, whole studies from a YAML file, and searches for settings."""

from hardneg.studies.results import write_results
from hardneg.studies.runs import Finished, Job, Row, collect, curves, run_rows, served
from hardneg.studies.search import Search
from hardneg.studies.study import Study

__all__ = ["Finished", "Job", "Row", "Search", "Study", "collect", "curves", "run_rows", "served", "write_results"]
