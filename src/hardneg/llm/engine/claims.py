"""Who holds a claim: a process, named so that others can tell whether it still lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
ENDED = "ZX"
"""States of a process that is dead but still listed."""


@dataclass(frozen=True)
class Owner:
    """A process of some machine.

    host: its name and its space of process numbers (containers have their own). boot: what tells this start of the
    machine from others, "" where it cannot be known. started: when the process began, in the machine's own count.
    """

    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return cls(_host(), _boot(), os.getpid(), _started(os.getpid()))

    @classmethod
    def read(cls, text: str) -> Owner | None:
        """What `str` wrote; None where it is something else. Words after it are ignored."""
        host, boot, pid, started, *_ = (*text.split("|"), "", "", "", "")
        return cls(host, boot, int(pid), started) if pid.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.host}|{self.boot}|{self.pid}|{self.started}"

    def gone(self) -> bool:
        """True where it is known to have ended; False for a living process and for any of another machine."""
        if self.host != _host():
            return False
        if self.boot != _boot():
            return True
        if PROC.is_dir():
            return _started(self.pid) != self.started
        return os.name == "posix" and not _answers(self.pid)


def _host() -> str:
    try:
        space = os.readlink(PROC / "self" / "ns" / "pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".replace("|", " ").strip()


def _boot() -> str:
    try:
        return (PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Clock ticks from the machine's start to the process's; "" where there is no such process, or nobody says."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ENDED else fields[19]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # alive, and somebody else's
        return True
    return True
