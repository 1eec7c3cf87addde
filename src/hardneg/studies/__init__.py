"""Grids of runs: rows x seeds on one split, whole studies from a YAML file, and searches for settings."""

from hardneg.studies.runs import Finished, Job, Row, collect, curves, run_rows, served

__all__ = ["Finished", "Job", "Row", "collect", "curves", "run_rows", "served"]
