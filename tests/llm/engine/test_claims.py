"""Owners of claims: ended processes are recognised; those of other machines count as running."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hardneg.llm.engine import claims
from hardneg.llm.engine.claims import Owner


def test_this_process_runs_and_is_parsed_back() -> None:
    here = Owner.here()
    assert here.pid == os.getpid()
    assert not here.gone()
    assert Owner.read(str(here)) == here
    assert Owner.read(f"{here}|17") == here


@pytest.mark.parametrize("text", ["", "x", "host|boot|pid|1"])
def test_other_text_is_not_an_owner(text: str) -> None:
    assert Owner.read(text) is None


def test_ended_process_is_gone_even_as_a_zombie() -> None:
    code = "from hardneg.llm.engine.claims import Owner; print(Owner.here(), flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code], text=True, **pipes)  # type: ignore[call-overload]
    owner = Owner.read(process.stdout.readline().strip())
    assert owner is not None
    assert not owner.gone()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie
    assert owner.gone()
    process.communicate()
    assert owner.gone()


def test_reused_process_id_is_recognised() -> None:
    assert replace(Owner.here(), started="1").gone()


def test_process_before_a_reboot_is_gone() -> None:
    assert replace(Owner.here(), boot="another").gone()


def test_processes_of_other_machines_count_as_running() -> None:
    assert not replace(Owner.here(), host="elsewhere", boot="another", started="1").gone()


def test_without_proc_the_process_id_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PROC", Path("/nowhere"))
    here = Owner.here()
    assert (here.boot, here.started) == ("", "")
    assert not here.gone()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert replace(here, pid=ended.pid).gone()
