"""Owners of claims: ended processes are recognised; those of other machines count as running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardneg.llm.engine import store as claims
from hardneg.llm.engine.store import is_gone, this_process


def owner(**changes: str) -> str:
    """Return the owner for this process with some fields changed."""
    host, boot, pid, started = this_process().split("|")
    return "|".join(({"host": host, "boot": boot, "pid": pid, "started": started} | changes).values())


def test_this_process_runs() -> None:
    assert this_process().split("|")[2] == str(os.getpid())
    assert not is_gone(this_process())
    assert not is_gone(f"{this_process()}|17")


@pytest.mark.parametrize("text", ["", "x", "host|boot|pid|1"])
def test_other_text_is_not_gone(text: str) -> None:
    assert not is_gone(text)


def test_ended_process_is_gone_even_as_a_zombie() -> None:
    code = "from hardneg.llm.engine.store import this_process; print(this_process(), flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)  # type: ignore[call-overload]
    other = process.stdout.readline().strip()
    assert not is_gone(other)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert is_gone(other)
    process.communicate()
    assert is_gone(other)


def test_reused_process_id_is_recognised() -> None:
    assert is_gone(owner(started="1"))


def test_process_before_a_reboot_is_gone() -> None:
    assert is_gone(owner(boot="another"))


def test_processes_of_other_machines_count_as_running() -> None:
    assert not is_gone(owner(host="elsewhere", boot="another", started="1"))


def test_without_proc_the_process_id_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PROC", Path("/nowhere"))
    assert this_process().split("|")[1::2] == ["", ""]
    assert not is_gone(this_process())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(owner(pid=str(ended.pid)))
