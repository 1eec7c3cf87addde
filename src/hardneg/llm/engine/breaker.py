"""A circuit breaker: distinguishes occasional failed calls from a model that is down."""

from __future__ import annotations

from collections.abc import Hashable


class Breaker:
    """Closed while calls succeed; opens after `failures` different calls failed in a row; a success closes it.

    A call that is retried and fails each time counts once: the call itself may be at fault. While the breaker is open,
    calls are sent one at a time with growing waits, for at most `seconds`. `stop_reason` tells when to stop, and why.

    probes: calls sent since it opened. replied: any call has succeeded. reached: the model reacted in some form since
    the last reply, or since the start.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._max_failures, self._max_seconds = failures, seconds
        self._failed_in_row: set[Hashable] = set()
        self._refusals = 0
        self._opened: float | None = None
        self._last_reason = ""
        self.probes = 0
        self.replied = self.reached = False

    @property
    def open(self) -> bool:
        """True while the model may be down."""
        return self._opened is not None

    def succeeded(self) -> None:
        """Record a reply."""
        self._failed_in_row.clear()
        self._opened, self.probes = None, 0
        self.replied, self.reached = True, False

    def refused(self, reason: str) -> None:
        """Record a refused request; these count only until the first reply."""
        self._refusals += 1
        self._last_reason, self.reached = reason, True

    def failed(self, call: Hashable, reason: str, now: float, *, reached: bool) -> None:
        """Record a failed call."""
        self._last_reason = reason
        self.reached |= reached
        if self._opened is None:
            self._failed_in_row.add(call)
            self._opened = now if len(self._failed_in_row) >= self._max_failures else None

    def stop_reason(self, now: float) -> str:
        """Return why to stop, or "" to continue. now: when the next call would be sent."""
        if not self.replied and self._refusals >= self._max_failures:
            return f"refused the first {self._refusals:,} requests, the last: {self._last_reason}"
        if self._opened is None:
            return ""
        if not self.replied and not self.reached:
            return self.unreachable_reason()
        if now - self._opened > self._max_seconds:
            return (
                f"failed {len(self._failed_in_row):,} calls in a row and each of {self.probes} more within "
                f"{self._max_seconds:g} s, the last: {self._last_reason}"
            )
        return ""

    def unreachable_reason(self) -> str:
        """Return the reason to report where nothing reacts."""
        return f"cannot be reached ({self._last_reason}); start it, or check its address"
