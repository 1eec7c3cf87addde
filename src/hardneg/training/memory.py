"""Memory settings of the C library: reuse freed memory instead of returning it to the operating system."""

from __future__ import annotations

import ctypes
import functools
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""
LARGE_THRESHOLD = 2**30
PORTABLE_THRESHOLD = 2**25
"""Largest MMAP_THRESHOLD that older versions of glibc accept."""


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks below 1 GiB; return True if it accepts (glibc only).

    A step allocates and frees tens of megabytes of tables. Page faults on memory that was returned to the system took
    40 % of the time of a LightGCN step and half of an MF step. Results do not depend on this setting.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    accepted = mallopt(MMAP_THRESHOLD, LARGE_THRESHOLD) or mallopt(MMAP_THRESHOLD, PORTABLE_THRESHOLD)
    return bool(accepted and mallopt(TRIM_THRESHOLD, LARGE_THRESHOLD))
