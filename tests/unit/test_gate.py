"""The order path by itself: what its answers are worth, and what it says of misuse."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest

from golive_redis import clock, logs
from golive_redis.core.permit import Permit, Reason
from golive_redis.guard.gate import Gate
from golive_redis.testing import Harness, Signers

SIGNERS = Signers()
HOUR_NS = 3_600 * 10**9


def armed(*restrictions: bytes) -> Gate:
    """Return the order path of a guard that is armed for an hour."""
    harness, gate = Harness(SIGNERS), Gate()
    harness.arm(SIGNERS.grant(), *restrictions)
    verdict = harness.view.verdict
    gate.publish(msgspec.structs.replace(verdict, deadline_ns=clock.now_ns() + HOUR_NS))
    return gate


def test_a_denial_is_falsy_and_a_permit_truthy_whoever_forgets_to_look_closer() -> None:
    gate = armed(SIGNERS.restriction(labels={"symbol": "HALTED"}))
    sent = [symbol for symbol in ("BTC", "HALTED") if gate.check(symbol=symbol)]
    assert sent == ["BTC"]
    gate.shut(Reason.CLOSED)
    assert not gate.check(symbol="BTC")
    assert gate.check("cancel")
    with gate.order(symbol="BTC") as answer:
        assert not answer


@pytest.mark.parametrize(
    "amounts", [{"notional": 10.0}, {"notional": 10, "position_notional": 10.0}]
)
def test_a_float_that_never_fits_is_said_once_in_the_log(
    amounts: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    permit = armed().require()
    assert isinstance(permit, Permit)
    with caplog.at_level(logging.ERROR):
        assert [permit.fits(**amounts) for _ in range(3)] == [False] * 3
        assert permit.fits(notional=10, position_notional="10")
        assert logs.ASIDE.flush(60)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("Permit.fits was given the float 10.0: a float never fits")
