"""A circuit breaker: it tells a call that fails now and then from a model that is not there any more."""

from __future__ import annotations

from collections.abc import Hashable


class Breaker:
    """Closed while calls succeed; open after `failures` different calls failed in a row, until one succeeds.

    One call that is repeated and fails each time counts once: it may be the call. While the breaker is open, calls go
    out singly, with growing waits, for `seconds`. `stop` says when to give up, and why.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._most, self._seconds = failures, seconds
        self._in_row: set[Hashable] = set()
        self._refused = 0
        self._opened: float | None = None
        self._last = ""
        self.probes = 0
        """Calls sent since it opened."""
        self.replied = False
        """Any reply at all?"""
        self.reached = False
        """Anything but silence since the last reply, or since the start?"""

    @property
    def open(self) -> bool:
        """Does it doubt that the model is there?"""
        return self._opened is not None

    def succeeded(self) -> None:
        """A call brought a reply."""
        self._in_row.clear()
        self._opened, self.probes = None, 0
        self.replied, self.reached = True, False

    def refused(self, reason: str) -> None:
        """A request was refused; only remarkable while nothing was ever answered."""
        self._refused += 1
        self._last, self.reached = reason, True

    def failed(self, call: Hashable, reason: str, now: float, *, reached: bool) -> None:
        """A call failed."""
        self._last = reason
        self.reached |= reached
        if self._opened is None:
            self._in_row.add(call)
            self._opened = now if len(self._in_row) >= self._most else None

    def hopeless(self, now: float) -> str:
        """Why to stop, "" where there is hope. now: when the next call would go out."""
        if not self.replied and self._refused >= self._most:
            return f"refused the first {self._refused:,} requests, the last: {self._last}"
        if self._opened is None:
            return ""
        if not self.replied and not self.reached:
            return self.silence()
        if now - self._opened > self._seconds:
            in_row = f"{len(self._in_row):,} calls in a row"
            return f"failed {in_row}, and each of {self.probes} more in {self._seconds:g} s, the last: {self._last}"
        return ""

    def silence(self) -> str:
        """What to say where nothing answers."""
        return f"cannot be reached ({self._last}); start it, or check its address"
