"""What may be wrong with a grid besides its form. Every check returns its problems, one sentence each."""

from hardneg.studies.checks.dual_tree import of_released_mask, of_views, of_weights_searched
from hardneg.studies.checks.grid import of_grid
from hardneg.studies.checks.lines import of_baseline, of_comparisons, of_lines
from hardneg.studies.checks.names import Names
from hardneg.studies.checks.space import of_space

__all__ = [
    "Names",
    "of_baseline",
    "of_comparisons",
    "of_grid",
    "of_lines",
    "of_released_mask",
    "of_space",
    "of_views",
    "of_weights_searched",
]
