"""What shows that a stop is complete: receipts as they arrive, rosters, and the server they came from.

The barrier judges; here its evidence is gathered, and the stop is repeated until it is in.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from golive_redis import clock
from golive_redis.core.barrier import Collected, Outcome, Roster, judge
from golive_redis.core.policy import Timing
from golive_redis.core.trust import Trust
from golive_redis.ending import Ending
from golive_redis.errors import StoreError
from golive_redis.fleet import Receipts, farewells, read_rosters
from golive_redis.operator_state import Memory
from golive_redis.store.store import Status
from golive_redis.tombstone import reassert
from golive_redis.wires import Wires

REPEAT_MS = 1_000.0
POLL_MS = 250.0
MAX_DRAINED = 10_000
WAIT_MS = 50


class Gathering:
    """Gathers for one stop.

    Args:
        trust: Verifies receipts.
        timing: The timers of the fleet.
        wires: The connections.
        ending: The stop.
        memory: Who was there at the activation.
        dead: Heartbeats that the operator attests to be dead.

    Attributes:
        roster: Who was on the rosters, or None before they could be read.
    """

    def __init__(
        self,
        trust: Trust,
        timing: Timing,
        wires: Wires,
        ending: Ending,
        memory: Memory,
        dead: frozenset[str],
    ) -> None:
        self._trust = trust
        self._timing = timing
        self._wires = wires
        self._ending = ending
        self._memory = memory
        self._dead = dead
        self._receipts = Receipts(trust, clock.now_ms)
        self.roster: Roster | None = None
        self._read_after = False
        self._same_primary = False
        self._left: frozenset[str] = frozenset()

    def until(self, wait_until: float, send: Callable[[], None]) -> Outcome:
        """Gather until it is complete, or until that instant.

        Args:
            wait_until: On the steady clock.
            send: Sends the stop; called in place of a repetition while no server has executed it.
        """
        repeat_at = clock.now_ms() + REPEAT_MS
        self._wires.attempt(self._look)
        while True:
            outcome = self._judge()
            now = clock.now_ms()
            if (outcome.settled and self._ending.shown) or now >= wait_until:
                return outcome
            if now >= repeat_at:
                repeat_at = now + REPEAT_MS
                self._wires.attempt(lambda: self._repeat(send))
                self._wires.attempt(self._look)
            self._listen(min(POLL_MS, wait_until - now, repeat_at - now))

    def _judge(self) -> Outcome:
        roster = self.roster or Roster(frozenset(), frozenset())
        then = self._then()
        roster = Roster(
            roster.heartbeats | (then.heartbeats - self._left) | self._dead,
            roster.workers | then.workers,
        )
        return judge(
            roster,
            self.collected(),
            called_at=self._ending.called_at,
            now=clock.now_ms(),
            timing=self._timing,
            attested_dead=self._dead,
            same_primary=self._same_primary and self._ending.shown and self._read_after,
        )

    def _then(self) -> Roster:
        """Return who was there at the activation that this stop ends, until it is confirmed.

        Also when the stop is repeated and nothing is active any more: whoever was taken off the
        roster meanwhile is still waited for.
        """
        state = self._memory.newest
        if self._ending.confirmed or not 0 < state.term <= self._ending.newest.record.epoch:
            return Roster(frozenset(), frozenset())
        return state.roster()

    def collected(self) -> Collected:
        """Return the receipts for whatever was signed and ends the term."""
        # A revocation that was signed before a later term was met does not end that term, so an
        # answer to it says nothing.
        ended = self._ending.grant
        return self._receipts.collected(
            [
                item.identity
                for item in self._ending.signed
                if ended is None or item.record.covers(ended.term, ended.activated_at_ms)
            ]
        )

    def _look(self) -> None:
        """Read rosters, stored receipts, and whether this is still the primary it was."""
        self._same_primary = False  # until all of this has been read, and read after the stop
        store = self._wires.store()
        if self.roster is None or not self._read_after:
            # Whoever registers after the stop executed cannot have seen "active" on that primary.
            after = self._ending.shown
            self.roster = read_rosters(store)
            self._read_after = after
        gone = self._then().heartbeats - self.roster.heartbeats
        since = self._memory.newest.activated_at_ms
        self._left = farewells(store, self._trust, gone, since)
        for item in self._ending.signed:
            self._receipts.read(store, item.identity)
        server = store.server()
        self._same_primary = bool(server.run_id) and server.run_id == self._ending.origin
        if server.replicas and self._ending.shown:
            # Evidence for the operator, never success: a failover may still lose what they have.
            have = store.replicated(server.replicas, WAIT_MS)
            self._wires.say_once(f"{have} of {server.replicas} replica(s) have the tombstone")

    def _repeat(self, send: Callable[[], None]) -> None:
        """Publish again and make sure that a primary shows the tombstone."""
        ending, wires = self._ending, self._wires
        store, item = wires.store(), ending.newest
        if wires.channel is None:
            wires.subscribe()
        if not ending.executed:
            send()
            return
        wires.attempt(lambda: store.publish(wires.keys.events, item.raw))
        stop = reassert(wires.store(), self._trust, item)
        ending.origin = ending.origin or stop.origin
        ending.shown = stop.status is not Status.LATER
        if not ending.shown:
            wires.problem("a later activation is in force; this stop leaves it alone")

    def _listen(self, timeout_ms: float) -> None:
        channel = self._wires.channel
        if channel is None:
            time.sleep(max(0.0, timeout_ms) / 1000)
            return
        try:
            more = self._receipts.listen(channel, max(1.0, timeout_ms))
            for _ in range(MAX_DRAINED):  # a fleet answers at once: judge after all of it
                if not more:
                    break
                more = self._receipts.listen(channel, 0.0)
        except StoreError as error:
            self._wires.problem(error.message)
            self._wires.close()
