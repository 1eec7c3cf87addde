"""The demo: simulated data, every sampler, three seeds, a table and an HTML page."""

from hardneg.demo.comparison import METRICS
from hardneg.demo.language_model import open_recorded
from hardneg.demo.run import Demo, run_demo

__all__ = ["METRICS", "Demo", "open_recorded", "run_demo"]
