"""Owners of claims: processes, identified so that other processes can tell whether they still run."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ENDED_STATES = "ZX"
"""States of a process that has ended but is still listed."""


@dataclass(frozen=True)
class Owner:
    """A process on some machine.

    host: host name and PID namespace (containers have their own). boot: identifies the machine's start, "" if unknown.
    started: start time of the process in the machine's own clock ticks.
    """

    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Owner:
        """Return the owner for this process."""
        return cls(_host(), _boot(), os.getpid(), _started(os.getpid()))

    @classmethod
    def read(cls, text: str) -> Owner | None:
        """Parse the output of `str`, ignoring fields after it; None if it is something else."""
        host, boot, pid, started, *_ = (*text.split("|"), "", "", "", "")
        return cls(host, boot, int(pid), started) if pid.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.host}|{self.boot}|{self.pid}|{self.started}"

    def gone(self) -> bool:
        """True if the process is known to have ended; False for running processes and for other machines."""
        if self.host != _host():
            return False
        if self.boot != _boot():
            return True
        if PROC.is_dir():
            return _started(self.pid) != self.started
        return os.name == "posix" and not _is_running(self.pid)


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
    """Return the clock ticks from boot to the start of the process; "" if there is no such process or no /proc."""
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
