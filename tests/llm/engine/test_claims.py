"""Owners: the dead are told from the living, and strangers are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hardneg.llm.engine import claims
from hardneg.llm.engine.claims import Owner


def test_this_process_lives_and_can_be_read_back() -> None:
    here = Owner.here()
    assert here.pid == os.getpid()
    assert not here.gone()
    assert Owner.read(str(here)) == here
    assert Owner.read(f"{here}|17") == here


@pytest.mark.parametrize("text", ["", "x", "host|boot|pid|1"])
def test_something_else_is_no_owner(text: str) -> None:
    assert Owner.read(text) is None


def test_a_process_that_ended_is_gone_even_before_it_is_collected() -> None:
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


def test_the_number_of_a_dead_process_may_be_anothers_now() -> None:
    assert replace(Owner.here(), started="1").gone()


def test_a_process_before_the_last_start_of_the_machine_is_gone() -> None:
    assert replace(Owner.here(), boot="another").gone()


def test_nothing_is_known_of_another_machine() -> None:
    assert not replace(Owner.here(), host="elsewhere", boot="another", started="1").gone()


def test_without_proc_the_number_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "PROC", Path("/nowhere"))
    here = Owner.here()
    assert (here.boot, here.started) == ("", "")
    assert not here.gone()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert replace(here, pid=ended.pid).gone()
