"""Freed memory stays with the process, so that every step does not pay the system for the same pages again."""

from __future__ import annotations

import ctypes
import functools
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of the two settings in glibc's mallopt."""
KEPT = 2**30
LARGEST_ANYWHERE = 2**25
"""What older versions of glibc accept as the second."""


@functools.cache
def keep_freed_memory() -> bool:
    """Ask the C library not to hand freed blocks below 1 GiB back to the system; True where it can be asked (glibc).

    A step allocates and frees tens of megabytes of tables. Handed back and faulted in again, they took 40 % of the time
    of a LightGCN step and half of one of MF. Results do not depend on it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    kept = mallopt(MMAP_THRESHOLD, KEPT) or mallopt(MMAP_THRESHOLD, LARGEST_ANYWHERE)
    return bool(kept and mallopt(TRIM_THRESHOLD, KEPT))
