"""A test kit for code that stands on golive-redis: a clock, a party of signers, a rehearsal.

`Party` signs real records with real keys, and `Rehearsal` drives the guard's real state machine, so
what passes here passes for the reasons that hold in production. Nothing in here touches a network.

    party = Party()
    guard = Rehearsal(party)
    guard.arm(party.grant())
    assert isinstance(guard.decide("open"), Permit)
"""

from __future__ import annotations

from golive_redis.testing.clock import START_MS, FakeClock
from golive_redis.testing.party import EVERYBODY, LIMITS, Party, identity
from golive_redis.testing.rehearsal import Rehearsal, answer

__all__ = [
    "EVERYBODY",
    "LIMITS",
    "START_MS",
    "FakeClock",
    "Party",
    "Rehearsal",
    "answer",
    "identity",
]
