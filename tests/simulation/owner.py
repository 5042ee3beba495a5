"""Whoever owns Redis: a fork of the data, beats that are played back late, and a stop that is hidden there.

The true store is the primary, which operators and most pods find. Whoever is led astray finds the fork,
which claims to be the same server: it shows the term as if nothing had happened, and every beat that was
made, as late as a reader still takes it. Nothing of it is signed by the owner.
"""

from __future__ import annotations

from typing import Any

from golive_redis.core.barrier import Outcome, Result
from golive_redis.core.permit import Permit
from golive_redis.records.beat import ISSUED_TOLERANCE_MS
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import Verified

from .checker import Checker
from .model import Server
from .nodes import HeartbeatHost, Node, Worker
from .people import Person
from .world import World

FORK_MS = 70_000.0  # the activation is older than the 60 s in which it may be taken for seen
STOP_MS = 85_000.0
EVERY_MS = 250.0
HELD_BACK_MS = ISSUED_TOLERANCE_MS - 6_000  # as far as the wall clocks of two hosts may differ here
CLOCKS_DIFFER_MS = 4_000.0  # at most, here: `Node.wall_off_ms`


class Witness(Checker):
    """Only what is promised against the owner: every other rule assumes a store that does not lie."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.settled_at: float | None = None
        self.last_order_at = 0.0
        self.late_orders = 0

    def judged(self, signed: list[Verified[Revocation]], outcome: Outcome) -> None:
        """Note when the stop was said to be over."""
        if outcome.result is not Result.NOT_CONFIRMED and self.settled_at is None:
            self.settled_at = self.world.now

    def accepted(self, worker: Worker, permit: Permit) -> None:
        """Note an order, and judge one that comes after all that is left to the owner."""
        self.accepts += 1
        self.last_order_at = now = self.world.now
        if self.settled_at is None:
            return
        timing = self.world.timing
        self.late_orders += 1
        if now > self.settled_at + ISSUED_TOLERANCE_MS + timing.beat_ms:
            after_s = (now - self.settled_at) / 1000
            self.fail("owner", f"{worker.name} trades {after_s:.0f} s after the stop was over")

    def attended(self, host: HeartbeatHost, server: Server) -> None:
        """A store that hides a stop has not lost it."""

    def finish(self) -> None:
        """Nobody beats for a term that was stopped."""
        for host in self.world.heartbeats:
            if host.daemon is not None and host.pulse.term is not None:
                self.fail("owner", f"{host.name} beats for term {host.pulse.term} in the end")


class Obedient(Person):
    """An operator who does what the scene asks for, and nothing else."""

    def choose(self) -> str:
        """Return what is due."""
        world: Any = self.world
        return world.due.pop(0) if self.busy and world.due else ""


class Owned(World):
    """A fleet whose Redis belongs to somebody else.

    Args:
        seed: Decides everything.
        late: `hb-2` is started during the term, on the fork. Otherwise it was there at the activation,
            and is started again after the stop, without its disk.
    """

    checkers = Witness
    persons = Obedient

    def __init__(self, seed: int, *, late: bool) -> None:
        self.late = late
        self.due: list[str] = ["activate"]
        self.fork: Server | None = None
        self.led: set[str] = set()
        self.made: list[tuple[float, str, bytes]] = []
        self.played = 0
        super().__init__(seed, minutes=4.0)

    def plan(self) -> None:
        """Nothing but the owner."""
        if self.late:
            self.heartbeats[1].kill()
        self.every(EVERY_MS, self.own)
        self.at(FORK_MS, self.forked)
        self.at(STOP_MS, self.due.append, "revoke")

    def storm(self, kinds: object) -> None:
        """Nothing else goes wrong around the stop."""

    def calm_down(self) -> None:
        """The owner does not tire."""

    def route(self, node: Node) -> Server:
        """Lead whoever was chosen astray."""
        return self.fork if self.fork is not None and node.name in self.led else self.primary

    def forked(self) -> None:
        """Fork the data; a worker that is started now is led there, and so is a heartbeat."""
        self.fork = Server(self.primary.run_id, self.primary.data.copy())
        self.lead(self.workers[-1])
        if self.late:
            self.lead(self.heartbeats[1])

    def lead(self, node: Any) -> None:
        """Start a process that finds the fork."""
        self.led.add(node.name)
        node.kill()
        node.disk = None
        node.start()
        self.subscribe(node)

    def own(self) -> None:
        """Record what is beaten, show it on the fork as late as it counts, and keep the term there."""
        for name, raw in self.primary.data.beats.items():
            if not self.made or all(raw != known for _, _, known in self.made[-4:]):
                self.made.append((self.now, name, raw))
        if self.fork is None or self.fork.data.active is None:
            return
        self.fork.data.active.expires_ms = self.now + 20_000
        self.fork.data.beats_until_ms = self.now + 20_000
        while self.played < len(self.made) and self.made[self.played][0] <= self.now - HELD_BACK_MS:
            _, name, raw = self.made[self.played]
            self.fork.data.beats[name] = raw
            self.played += 1
        witness: Any = self.checker
        # A3: by the clocks of two hosts, so what is started sooner may take a beat for one made since.
        over = witness.settled_at is not None and self.now > witness.settled_at + CLOCKS_DIFFER_MS
        if over and not self.late and "hb-2" not in self.led:
            self.lead(self.heartbeats[1])
