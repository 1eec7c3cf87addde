"""From two tables to an answer: import, split, search, comparison and a final model in one call (`hardneg run`)."""

from hardneg.quickstart.column_guesses import ColumnMapping, Question, guess_columns
from hardneg.quickstart.run import Answer, QuickstartConfig, read_mapping, run_quickstart

__all__ = [
    "Answer",
    "ColumnMapping",
    "Question",
    "QuickstartConfig",
    "guess_columns",
    "read_mapping",
    "run_quickstart",
]
