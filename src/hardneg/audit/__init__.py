"""The audit: no held-out pair reaches anything but the final metric.

Three kinds of proof: held-out pairs are drawn anew and everything is made again; a finished artifact is recomputed from
its settings and inputs; and where neither is possible, held-out pairs are counted where chance explains their number.
"""

from hardneg.audit.folders import audit_folder
from hardneg.audit.recompute import Origin
from hardneg.audit.redraw import TRAINED, MemoizingEncoder, audit_split
from hardneg.audit.runs import audit_run

__all__ = ["TRAINED", "MemoizingEncoder", "Origin", "audit_folder", "audit_run", "audit_split"]
