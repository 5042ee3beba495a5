"""A test kit for code that stands on golive-redis: a clock, signers, a harness, a server, a venue.

Here belongs what authors of bots need for their tests, too; what only our own tests need does not.
`Signers` signs real records with real keys, and `Harness` drives the guard's real state
machine, so what passes here passes for the reasons that hold in production. These two touch no
network; `server` starts a real Redis server, and `venue` takes orders. Start with `harness`.

    signers = Signers()
    guard = Harness(signers)
    guard.arm(signers.grant())
    assert isinstance(guard.decide("open"), Permit)
"""

from __future__ import annotations

from golive_redis.testing.clock import START_MS, FakeClock
from golive_redis.testing.harness import Harness, answer
from golive_redis.testing.signers import EVERYBODY, FLEET, LIMITS, Signers, identity

__all__ = [
    "EVERYBODY",
    "FLEET",
    "LIMITS",
    "START_MS",
    "FakeClock",
    "Harness",
    "Signers",
    "answer",
    "identity",
]
