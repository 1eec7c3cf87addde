"""Owners of claims: processes, identified so that other processes can tell whether they still run.

An owner is the text "host|boot|pid|started", with an optional suffix after another "|". host: host name and PID
namespace (containers have their own). boot: identifies the machine's start, "" if unknown. started: start time of the
process in the machine's own clock ticks, "" if unknown.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

PROC = Path("/proc")
ENDED_STATES = "ZX"
"""States of a process that has ended but is still listed."""


def this_process() -> str:
    """Return the owner for this process."""
    return "|".join((_host(), _boot(), str(os.getpid()), _started(os.getpid())))


def is_gone(owner: str) -> bool:
    """Return True if an owner is known to have ended; False for running processes and for other machines."""
    host, boot, pid, started, *_ = (*owner.split("|"), "", "", "", "")
    if host != _host() or not pid.isdecimal():
        return False
    if boot != _boot():
        return True
    if PROC.is_dir():
        return _started(int(pid)) != started
    return os.name == "posix" and not _is_running(int(pid))


def _host() -> str:
    try:
        namespace = os.readlink(PROC / "self" / "ns" / "pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}".replace("|", " ").strip()


def _boot() -> str:
    try:
        return (PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ENDED_STATES else fields[19]


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs under another user
        return True
    return True
