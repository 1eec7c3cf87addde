"""The circuit breaker."""

from __future__ import annotations

from hardneg.llm.engine.admission import Breaker


def test_opens_after_different_calls_in_a_row_and_closes_with_a_reply() -> None:
    breaker = Breaker(3, 60)
    for call in (1, 2, 2, 1):
        breaker.failed(call, "500", 0, reached=True)
    assert not breaker.open, "only two different calls"
    breaker.succeeded()
    for call in (3, 4):
        breaker.failed(call, "500", 1, reached=True)
    assert not breaker.open, "the reply reset the count"
    breaker.failed(5, "500", 2, reached=True)
    assert breaker.open
    breaker.succeeded()
    assert not breaker.open


def test_stops_after_its_seconds() -> None:
    breaker = Breaker(2, 60)
    breaker.succeeded()
    for call in range(2):
        breaker.failed(call, "status 503", 100, reached=True)
    breaker.probes = 4
    assert breaker.stop_reason(160) == ""
    reason = "failed 2 calls in a row and each of 4 more within 60 s, the last: status 503"
    assert breaker.stop_reason(161) == reason
    breaker.succeeded()
    assert breaker.stop_reason(161) == ""


def test_unreachable_from_the_start_stops_at_once() -> None:
    breaker = Breaker(2, 60)
    for call in range(2):
        assert breaker.stop_reason(0) == ""
        breaker.failed(call, "refused connection", 0, reached=False)
    assert breaker.stop_reason(0) == "cannot be reached (refused connection); start it, or check its address"


def test_unreachable_later_may_be_a_restart() -> None:
    breaker = Breaker(1, 60)
    breaker.succeeded()
    breaker.failed(0, "refused connection", 0, reached=False)
    assert breaker.stop_reason(1) == ""
    assert not breaker.reached


def test_refusals_count_only_before_the_first_reply() -> None:
    breaker = Breaker(2, 60)
    breaker.refused("no such model")
    assert breaker.stop_reason(0) == ""
    breaker.refused("no such model")
    assert breaker.stop_reason(0) == "refused the first 2 requests, the last: no such model"
    breaker.succeeded()
    breaker.refused("too long")
    assert breaker.stop_reason(0) == ""
