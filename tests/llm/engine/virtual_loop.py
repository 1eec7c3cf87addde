"""An event loop with a virtual clock: sleeping takes no time and keeps its order."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Jump(selectors.DefaultSelector):
    """Advances the clock instead of waiting for a timeout; still waits for other threads."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.passed += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For `answer_tasks(..., loop_factory=VirtualLoop)`, with models that open no connection."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.passed
