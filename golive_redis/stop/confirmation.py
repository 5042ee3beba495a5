"""What shows that a stop is complete: receipts as they arrive, rosters, and the server they came from.

The barrier judges; here its evidence is gathered, and the stop is repeated until it is in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import msgspec

from golive_redis import clock
from golive_redis.core.barrier import (
    Attested,
    Collected,
    Here,
    Outcome,
    Result,
    Roster,
    asked,
    judge,
)
from golive_redis.core.timing import Timing
from golive_redis.delivery.tombstone import reassert
from golive_redis.errors import StoreError
from golive_redis.records.keyset import Role
from golive_redis.records.trust import Trust
from golive_redis.stop.connections import Connections
from golive_redis.stop.inbox import Receipts
from golive_redis.stop.memory import Memory
from golive_redis.stop.progress import StopProgress, Waiting
from golive_redis.stop.roster import farewells, named_in_ledger, read_heartbeats, read_rosters
from golive_redis.store.keyspace import MAX_RECEIPTS
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.replies import Status
from golive_redis.store.store import Store

REPEAT_MS = 1_000.0
LONGEST_REPEAT_MS = 3_000.0
QUIET_MS = 500.0
POLL_MS = 250.0
MAX_DRAINED = 10_000
WAIT_MS = 50


class Confirmation:
    """Gathers for one stop.

    Args:
        trust: Verifies receipts.
        timing: The timers of the fleet.
        connections: The connections.
        progress: The stop.
        memory: Who was there at the activation.
        attested: Who is dead by the operator's word.

    Attributes:
        roster: Who was on the rosters, or None before they could be read.
    """

    def __init__(
        self,
        trust: Trust,
        timing: Timing,
        connections: Connections,
        progress: StopProgress,
        memory: Memory,
        attested: Attested,
        waiting: Callable[[Waiting], None] = lambda _: None,
    ) -> None:
        self._trust = trust
        self._timing = timing
        self._connections = connections
        self._progress = progress
        self._memory = memory
        self._attested = attested
        self._waiting = waiting
        self._keyset = frozenset(trust.keyset.principals(Role.HEARTBEAT))
        self._receipts = Receipts(trust, clock.now_ms)
        self.roster: Roster | None = None
        self._workers_on = 0
        self._here, self._here_on = Here(), 0
        self._left: frozenset[str] = frozenset()
        self._said_wait = False
        self._answers, self._answered_at = 0, 0.0
        self._recorded: tuple[frozenset[str], int] = (frozenset(), 0)

    def until(
        self, wait_until: float, send: Callable[[], None], *, for_proof: bool = False
    ) -> Outcome:
        """Gather until everything is known to be off and drained or dead, or until that instant.

        Args:
            wait_until: On the steady clock.
            send: Sends the stop; called in place of a repetition while no server has executed it.
            for_proof: Wait beyond that instant for one that is known: once every heartbeat has answered,
                no worker can have a permit some seconds later.
        """
        outcome = self._gather(wait_until, send, for_proof=for_proof)
        self._tell_unused(outcome)
        return outcome

    def _gather(self, wait_until: float, send: Callable[[], None], *, for_proof: bool) -> Outcome:
        repeat_at = clock.now_ms() + REPEAT_MS
        self._connections.attempt(self._look)
        while True:
            outcome = self._judge()
            if self._heard_since():
                self._connections.attempt(self._read_heartbeats)
                outcome = self._judge()
            now = clock.now_ms()
            if for_proof and outcome.off_by is not None:
                # To give up a moment before its own proof would leave a stop unconfirmed for nothing.
                wait_until = max(wait_until, outcome.off_by)
            arriving = self._arriving(now)
            # By time it is over, but a worker whose answer is on its way has drained.
            settled = outcome.settled and not (arriving and outcome.drain_unknown)
            if (settled and self._shown()) or now >= wait_until:
                return outcome
            self._tell(outcome, wait_until, now)
            # A repetition wakes the whole fleet, also those who are just answering. What is not known to
            # be done is repeated all the same.
            waits = arriving and self._shown()
            due = repeat_at + (LONGEST_REPEAT_MS - REPEAT_MS if waits else 0.0)
            if now >= due:
                due = repeat_at = now + REPEAT_MS
                self._tell_wait(outcome, now)
                self._connections.attempt(lambda: self._repeat(send))
                self._connections.attempt(self._look)
            self._listen(min(POLL_MS, wait_until - now, due - now))

    def _arriving(self, now: float) -> bool:
        """Tell whether answers still come in: those of a large fleet take longer than a second."""
        found = self.collected()
        answers = len(found.latched) + len(found.drained) + len(found.heartbeats)
        if answers != self._answers:
            self._answers, self._answered_at = answers, now
        return now - self._answered_at < QUIET_MS

    def _tell(self, outcome: Outcome, wait_until: float, now: float) -> None:
        progress = self._progress
        in_redis = progress.in_redis_ms is not None
        self._waiting(Waiting(outcome, wait_until - now, in_redis, progress.called_at, now))

    def _tell_wait(self, outcome: Outcome, now: float) -> None:
        """Say what it waits for, once that is known."""
        if outcome.off_by is not None and now < outcome.off_by and not self._said_wait:
            self._said_wait = True
            left_s = (outcome.off_by - now) / 1000
            silent = any(not row.settled for row in outcome.workers)
            until = ", and until then the others may still answer" if silent else ""
            dead = any(row.attested_dead and row.latched_ms is None for row in outcome.heartbeats)
            who = "has answered or is attested dead" if dead else "has answered"
            self._connections.say(
                f"every heartbeat {who}; no worker can have a permit from {left_s:.1f} s on{until}"
            )

    def _tell_unused(self, outcome: Outcome) -> None:
        """Say which attestations stand for nobody: a name mistyped, or somebody who has answered."""
        used = {row.name for row in outcome.heartbeats if row.attested_dead}
        for name in sorted(self._attested.heartbeats - used):
            text = f"no heartbeat {name!r} is on the roster or in the keyset"
            self._connections.problem(f"{text}; the attestation is ignored")
        rows = [row for row in outcome.workers if row.attested_dead]
        for name in sorted(self._attested.workers):
            if not any(Attested(workers=frozenset({name})).worker(row.pod) for row in rows):
                text = f"no worker {name!r} is on the roster without an answer"
                self._connections.problem(f"{text}; the attestation is ignored")
        earlier = {row.pod for row in outcome.workers if row.drain_unknown} & self._receipts.dead
        for pod in sorted(earlier):
            self._connections.problem(
                f"{pod.short} was attested dead before; that does not count, for it has been heard "
                "since, or Redis has restarted or failed over in this term"
            )

    def _shown(self) -> bool:
        """Tell whether the server that we are connected to shows the tombstone."""
        return 0 < self._progress.shown_on == self._connections.number

    def _judge(self) -> Outcome:
        roster = self.roster or Roster(frozenset(), frozenset())
        then = self._then()
        heartbeats = asked(  # A1
            named=self._named() - self._left,
            registered=roster.heartbeats,
            keyset=self._keyset,
            unverified=self._progress.claimed > self._progress.term,
        )
        # The word that somebody is dead of whom nobody has heard adds nobody who has answered.
        dead = self._attested.heartbeats & (heartbeats | self._keyset)
        # A5: whoever is on the roster has read since it was said to be dead.
        earlier = frozenset(self._receipts.dead - roster.workers)
        workers = roster.workers | then.workers
        roster = Roster(heartbeats | dead, workers, roster.processes, roster.whole)
        outcome = judge(
            roster,
            self.collected(),
            called_at=self._progress.called_at,
            now=clock.now_ms(),
            timing=self._timing,
            attested=Attested(dead, self._attested.workers, earlier),
            keyset=self._keyset,
            newer=self._progress.newer_keyset or self._receipts.newer,
            here=self._evidence(),
        )
        if self.roster is None:
            # S14: our list may lack a heartbeat that joined later: without the roster that is unknown.
            return msgspec.structs.replace(outcome, result=Result.NOT_CONFIRMED, by=None)
        return outcome

    def _named(self) -> frozenset[str]:
        return self._progress.heartbeats or self._then().heartbeats or self._recorded[0]

    def _began_ms(self) -> int:
        """Return when the term was activated, Unix ms: a goodbye of before says nothing of it."""
        if self._progress.grant is not None:
            return self._progress.grant.activated_at_ms
        return max(self._memory.newest.activated_at_ms, self._recorded[1])

    def _evidence(self) -> Here:
        """Return what the server has shown to which we are connected now."""
        if self._here_on != self._connections.number:
            return Here(since=self._here.since)
        stopped = self._here.stopped and self._shown()
        return msgspec.structs.replace(self._here, stopped=stopped)

    def _then(self) -> Roster:
        """Return who was there at the activation that this stop ends, until it is complete.

        Also when the stop is repeated and nothing is active any more: a process that was taken off the
        roster meanwhile is still waited for.
        """
        state, progress = self._memory.newest, self._progress
        ended = progress.term or state.term
        # Another host has activated since: who was there then is on that list, or on the roster.
        if progress.complete or not 0 < state.term == ended <= progress.newest.record.epoch:
            return Roster(frozenset(), frozenset())
        return state.roster()

    def uncounted(self) -> frozenset[str]:
        """Return the heartbeats that have answered a blind stop while nobody knows of a term.

        They are not silent, and their answers prove nothing (A2): who is asked what to do has to know.
        """
        progress = self._progress
        if max(progress.term, progress.claimed) or not progress.newest.record.blind:
            return frozenset()
        return self._receipts.uncounted(progress.newest, 0)

    def collected(self) -> Collected:
        """Return the receipts for whatever was signed and ends the term."""
        # An answer to a revocation that was signed before a later term was met says nothing of that.
        progress = self._progress
        term = max(progress.term, progress.claimed)
        # Without a term to name, an answer to what came before the newest one may be of another.
        signed = progress.signed if term else progress.signed[-1:]
        return self._receipts.collected(signed, term)

    def _heard_since(self) -> bool:
        """Tell whether a heartbeat has answered since the roster of heartbeats was read."""
        answers = self.collected().heartbeats.values()
        return self.roster is not None and any(a.at > self._here.since for a in answers)

    def _read_heartbeats(self) -> None:
        assert self.roster is not None  # noqa: S101  (checked by the only caller)
        since = clock.now_ms()
        processes = read_heartbeats(self._connections.store())
        names = self.roster.heartbeats | frozenset(processes)
        self.roster = msgspec.structs.replace(
            self.roster, heartbeats=names, processes={**self.roster.processes, **processes}
        )
        self._here = msgspec.structs.replace(self._here, since=since)

    def _look(self) -> None:
        """Read rosters, stored receipts, and who the server is; all of it on one connection."""
        self._here = msgspec.structs.replace(self._here, server="", stopped=False)
        store, number = self._connections.store(), self._connections.number
        since = clock.now_ms()
        if not self._progress.executed:
            self._look_for_a_term(store)
        if self.roster is None or self._workers_on != number:
            # S14: what registers after the stop executed cannot have seen "active" on that
            # primary, so the roster is read after it.
            after = self._shown()
            self.roster = read_rosters(store, self._connections.problem)
            self._workers_on = number if after else 0
            self._here = msgspec.structs.replace(self._here, since=since)
        progress = self._progress
        if not self._named() and not progress.complete:
            epoch = progress.newest.record.epoch
            self._recorded = named_in_ledger(store, self._trust, epoch)
        gone = self._named() - self.roster.heartbeats
        self._left = farewells(store, self._trust, gone, self._began_ms())
        # Where that is refused, those count that are published; what follows is as good as it was.
        for item in self._progress.signed:
            self._if_allowed(partial(self._read_receipts, store, item.identity))
        listed = self.roster.workers | self._then().workers
        silent = listed - self.collected().drained.keys()
        # Where that is refused, whoever has left is waited for.
        self._if_allowed(lambda: self._receipts.read_goodbyes(store, silent))
        server = store.server()
        if server.replicas and self._shown():
            # Evidence for the operator, never success: a failover may still lose what they have.
            have = store.replicated(server.replicas, WAIT_MS)
            self._connections.say_once(f"{have} of {server.replicas} replica(s) have the stop")
        # What was read on two connections may be of two servers, and proves nothing of either.
        if store.link.closed or self._connections.number != number:
            return
        # S14: only the primary that took the activation can vouch for its roster.
        origin = server.run_id if server.run_id == self._progress.origin else ""
        stopped = self._shown() and self._workers_on == number
        self._here, self._here_on = Here(origin, stopped, self._here.since), number

    def _if_allowed(self, step: Callable[[], object]) -> None:
        """Take a step of a look that may go on without it; a lost connection ends the look."""
        try:
            step()
        except StoreRefusedError as error:
            self._connections.problem(error.message)

    def _read_receipts(self, store: Store, directive: str) -> None:
        if not self._receipts.read(store, directive):
            self._connections.problem(
                f"more than {MAX_RECEIPTS} receipts are stored for the stop, more than a fleet writes; "
                "only those that are published count"
            )

    def _look_for_a_term(self, store: Store) -> None:
        """Find out what is active where the stop could not be executed: is it what was revoked?"""
        grant = store.snapshot().grant
        refused = self._progress.note(grant, self._trust) if grant is not None else ""
        if refused:
            self._connections.problem(refused)

    def _repeat(self, send: Callable[[], None]) -> None:
        """Publish again and make sure that a primary shows the tombstone."""
        progress, connections = self._progress, self._connections
        store, item = connections.store(), progress.newest
        if connections.channel is None:
            connections.subscribe()
        if not progress.executed:
            send()
            return
        connections.attempt(lambda: store.publish(connections.keys.events, item.raw))
        if progress.another_fleet:
            return  # A12: what its own people do there meanwhile is theirs
        progress.shown_on = 0
        reach_ms = item.record.reach_ms(progress.wall_ms)
        stop = reassert(connections.store(), self._trust, item, reach_ms=reach_ms)
        progress.origin = progress.origin or stop.origin
        if stop.unrecorded:
            connections.problem(f"the stop is not recorded: {stop.unrecorded}")
        elif stop.status is not Status.LATER:
            progress.shown_on = connections.number
        else:
            connections.problem("a later activation is in force; this stop leaves it alone")

    def _listen(self, timeout_ms: float) -> None:
        channel = self._connections.channel
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
            self._connections.problem(error.message)
            self._connections.close()
