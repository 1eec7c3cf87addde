"""A loop with given speeds, for tests of what follows from them."""

from __future__ import annotations

from hardneg.speeds import MeasuredLoop, Seconds


class FixedSpeeds(MeasuredLoop):
    """A loop that is not measured: seconds are those that it is made with."""

    def __init__(self, seconds: Seconds) -> None:
        super().__init__("a loop", tuple(seconds), lambda: seconds)

    def seconds(self, *, again: bool = False) -> Seconds:
        """Return the given seconds, without a file."""
        return self.measure()
