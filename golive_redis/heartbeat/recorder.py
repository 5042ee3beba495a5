"""Writes into the ledger what nobody else does: what workers state, receipts, and what was left out.

A thread of its own, over a connection of its own, looks once a second; no beat and no stop waits for it.
Several heartbeats look and one of them writes: the first live one by name, and the next when it has
not. A directive that took effect is entered when its command did not do so within 3 s, for it was
killed, say, or was a bare PUBLISH and DEL.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from golive_redis import clock
from golive_redis.core import accounts
from golive_redis.core.accounts import Account, Told
from golive_redis.core.incidents import Incident, What, parse
from golive_redis.core.owed import WAIT_MS, Owed, rank
from golive_redis.delivery.append import pause
from golive_redis.errors import RecordError, StoreError
from golive_redis.heartbeat.answers import Answers
from golive_redis.heartbeat.noted import (
    AHEAD_MS,
    REFUSED_MS,
    Noted,
    entered_anywhere,
    entered_since,
)
from golive_redis.logs import Log
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Signer, Verified, seal
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Receipt
from golive_redis.records.trust import Trust
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.ledgersteps import MAX_TOGETHER
from golive_redis.store.link import Link, StoreRefusedError
from golive_redis.store.reconnect import Reconnecting
from golive_redis.store.replies import Caller, Status
from golive_redis.store.store import Store
from golive_redis.threads import Backoff, Loop

LOOK_S = 1.0
MAX_HEARD = 256
MAX_TRIES = 20
MAX_KNOWN = 1_024
OLD_MS = 86_400_000
"""What a presence states and nobody noted for a day is not noted any more: the ledger is then too long
to be looked through for it."""
OF_ONE = 60
"""Incidents of one process in `OF_ONE_MS`: what states more is broken or forged."""
OF_ONE_MS = 900_000.0

logger = Log("golive_redis.heartbeat")

Directive = Verified[Revocation] | Verified[Restriction]
_Any = TypeVar("_Any")


class _Budget:
    """What one process may still state, and its last number that was taken."""

    def __init__(self, now_ms: float) -> None:
        self._since_ms = now_ms
        self._taken = 0
        self._last = 0

    def allows(self, now_ms: float) -> bool:
        """Tell whether one more is within it."""
        if now_ms - self._since_ms >= OF_ONE_MS:
            self._since_ms, self._taken = now_ms, 0
        return self._taken < OF_ONE

    def is_new(self, n: int) -> bool:
        """Tell whether an incident was not taken yet."""
        return n > self._last

    def take(self, n: int) -> None:
        """Count an incident; only once it is owed, for it is not looked at again."""
        self._last = n
        self._taken += 1


class Recorder:
    """Keeps the ledger complete, for one heartbeat.

    Args:
        name: Of the heartbeat.
        connect: Opens a link.
        keyspace: Names of the keys.
        trust: Keyset, namespace and environment.
        signer: The heartbeat's key.
        say: Told in a sentence what an operator should know.

    Attributes:
        loop: Its thread.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Link],
        keyspace: Keyspace,
        trust: Trust,
        signer: Signer,
        say: Callable[[str], None],
    ) -> None:
        self._name = name
        self._next = trust, signer  # one value: another thread may change it
        self._trust, self._signer = self._next
        self._say = say
        self._connection = Reconnecting(connect, keyspace)
        self._muted = False
        self._heard: deque[bytes] = deque(maxlen=MAX_HEARD)
        self._pushed: deque[bytes] = deque(maxlen=MAX_HEARD)
        self._noted = Noted()
        self._missing: Owed[Directive] = Owed()
        self._told: Owed[Told] = Owed()
        self._answers = Answers()
        self._known: dict[bytes, Directive | None] = {}
        self._entered: set[str] = set()
        self._searched: set[str] = set()
        self._states: dict[Caller, bytes] = {}
        self._budgets: dict[Caller, _Budget] = {}
        self._failures = clock.Throttle()
        self.loop = Loop(
            "recorder",
            self._turn,
            failed=self._failed,
            ended=self._connection.drop,
            backoff=Backoff(LOOK_S, 30 * LOOK_S),
        )

    def sign_as(self, trust: Trust, signer: Signer) -> None:
        """Sign and verify from now on under that keyset; called by another thread."""
        self._next = trust, signer
        self._muted = False

    def mute(self) -> None:
        """Write nothing until the next `sign_as`: the keyset in use does not know its key (K4)."""
        self._muted = True

    def heard(self, raw: bytes) -> None:
        """Keep what was pushed: a stop that another replaces within a second is not seen in Redis."""
        self._heard.append(raw)

    def _failed(self, error: Exception) -> None:
        self._connection.drop()
        if isinstance(error, StoreError):
            if self._failures.due(str(error)):
                logger.info("the ledger: %s", error)
        elif self._failures.due(repr(error)):
            logger.error("a defect in golive-redis; the notes come later", exc_info=error)

    def _turn(self) -> None:
        self.loop.closing.wait(LOOK_S)
        self.loop.check()
        if self.loop.closing.is_set() or self._muted:
            return
        self.look(self._connection.store())

    # -- one look --------------------------------------------------------------------------------

    def look(self, store: Store) -> None:
        """See what is there, and write what is due.

        Raises:
            StoreError: Redis does not answer; the next look begins where this one ended.
        """
        self._take_over()
        alive = [item.name for item in self._listed(store.heartbeats) if item.alive]
        place = rank(self._name, alive)
        in_force = self._in_force(store.taking_away())
        head = store.head()
        if not self._noted.follow(store, head, self._oldest_ms()):
            self._say("the ledger has lost entries: looking for what is in force")
            self._lost()
        self._look_for(store, in_force)
        self._hear_of(self._listed(store.incidents))
        self._answers.see(in_force, clock.now_ms(), clock.wall_ms())
        self._pushed.clear()  # not before: where Redis does not answer, the next look takes them
        self._write(store, place, head)

    def _take_over(self) -> None:
        """Go on under the keyset that was set meanwhile: one look is under one keyset and its key."""
        trust, signer = self._next
        if trust is not self._trust or signer is not self._signer:
            self._trust, self._signer, self._known = trust, signer, {}

    def _listed(self, read: Callable[[], list[_Any]]) -> list[_Any]:
        """Return what a roster names; nothing where somebody has put another type in its place.

        What took effect is entered all the same, and two that take themselves for the first one are
        kept apart by the head.
        """
        try:
            return read()
        except StoreRefusedError as error:
            if error.code != "WRONGTYPE":
                raise
            if self._failures.due("a roster"):
                logger.warning("what pods state is not noted, a roster is not readable: %s", error)
            return []

    def _lost(self) -> None:
        """Forget what the ledger was seen to have."""
        self._entered.clear()
        self._searched.clear()

    def _oldest_ms(self) -> int:
        """Return when the oldest fact happened that may have to be written."""
        now_ms = clock.wall_ms()
        told = [item.incident.at_ms for item in self._told.all().values()]
        return max(min([now_ms, *told, *self._answers.issued_ms()]), now_ms - OLD_MS)

    def _in_force(self, stored: Iterable[bytes]) -> list[Directive]:
        """Return the verified directives that take away something now, or did since the last look."""
        self._pushed.extend(self._heard.popleft() for _ in range(len(self._heard)))
        found = [self._verified(raw) for raw in stored]
        # A pushed restriction counts once it is in force: Redis may have refused it. So does a card,
        # which may spare what runs: where it ends a term, a heartbeat of that has put it into Redis.
        found += [
            item
            for item in map(self._verified, self._pushed)
            if item is not None and isinstance(item.record, Revocation) and not item.record.is_card
        ]
        if len(self._known) > MAX_KNOWN:
            self._known = {}
        return list({item.identity: item for item in found if item is not None}.values())

    def _verified(self, raw: bytes) -> Directive | None:
        if raw not in self._known:
            self._known[raw] = self._judged(raw)
        return self._known[raw]

    def _judged(self, raw: bytes) -> Directive | None:
        try:
            return self._trust.revocation(raw)
        except RecordError:
            pass
        try:
            return self._trust.restriction(raw)
        except RecordError:
            return None

    def _look_for(self, store: Store, in_force: Iterable[Directive]) -> None:
        """Owe what is in force and not in the ledger."""
        now_ms = clock.now_ms()
        for item in in_force:
            if item.identity in self._entered or item.identity in self._missing:
                continue
            if self._noted.entered(item.identity) or entered_since(store, item):
                self._entered_now(item.identity)
            else:
                self._missing.see(item.identity, item, now_ms)

    def _hear_of(self, stated: Iterable[tuple[Caller, bytes]]) -> None:
        """Owe what pods state of their incidents."""
        states: dict[Caller, bytes] = {}
        pods: set[Caller] = set()
        for pod, raw in stated:
            pods.add(pod)
            if self._states.get(pod) == raw or self._hear(pod, raw):
                states[pod] = raw
        self._states = states
        self._budgets = {pod: kept for pod, kept in self._budgets.items() if pod in pods}

    def _hear(self, pod: Caller, raw: bytes) -> bool:
        """Owe what one pod states, and return False when there was no room for all of it.

        Then it is looked at again, and nothing of it counts as taken.
        """
        try:
            incidents = parse(raw)
        except RecordError:
            return True  # anybody who may write one presence can write anything into it
        now_ms, wall_ms = clock.now_ms(), clock.wall_ms()
        budget = self._budgets.setdefault(pod, _Budget(now_ms))
        for incident in incidents:
            # Warnings are of the heartbeats: a worker that states one would stand for theirs.
            warns = incident.what is What.EARLY_WARNING and pod.role != "heartbeat"
            if warns or incident.at_ms < wall_ms - OLD_MS or not budget.is_new(incident.n):
                continue
            if not budget.allows(now_ms):
                budget.take(incident.n)
                continue
            told = Told(pod.name, pod.instance, _not_to_come(incident, wall_ms))
            if not self._told.see(told.key, told, now_ms):
                return False
            budget.take(incident.n)
        return True

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, store: Store, place: int, head: str) -> None:
        """Write what is due, as one step, and look once more for each fact before each try.

        Raises:
            StoreError: The ledger cannot be written, or its head kept moving.
        """
        self._search(store, place)
        receipts = self._receipts(store, place)
        for lost in range(1, MAX_TRIES + 1):
            self._settle()
            records, settled = self._records(place, receipts)
            if not records:
                return
            step = store.append_all(records, head=head)
            if step.status is not Status.HEAD:
                for owed, key in settled:
                    owed(key)
                return
            pause(lost)
            head = store.head()
            if not self._noted.follow(store, head, self._oldest_ms()):
                self._lost()
                return
        raise StoreError(f"other entries came first {MAX_TRIES} times")

    def _search(self, store: Store, place: int) -> None:
        """Look through all of the ledger for what is missing, once, before it is entered."""
        for identity, item in self._missing.due(place, clock.now_ms()).items():
            if identity in self._searched:
                continue
            found = entered_anywhere(store, item)
            if found is False:
                self._searched.add(identity)
                continue
            self._entered_now(identity)
            if found is None:
                self._say(
                    f"directive {item.record.epoch} is older than what is left of the ledger: it is "
                    "not known if it was entered, and it is not entered again"
                )

    def _settle(self) -> None:
        """Take off what somebody has written meanwhile."""
        for identity in self._missing.all():
            if self._noted.entered(identity):
                self._entered_now(identity)
        for key, told in self._told.all().items():
            if self._noted.has_told(told):
                self._told.settle(key)
        for identity in self._answers.waiting():
            if self._noted.has(accounts.key_of(identity, "receipts")):
                self._answers.settle(identity)

    def _entered_now(self, identity: str) -> None:
        self._missing.settle(identity)
        if len(self._entered) >= MAX_KNOWN:
            self._lost()  # which costs another look, and no more
        self._entered.add(identity)

    def _records(
        self, place: int, receipts: list[Account]
    ) -> tuple[list[bytes], list[tuple[Callable[[str], None], str]]]:
        """Return what to append now, and what is settled by it: up to 16 entries."""
        records: list[bytes] = []
        settled: list[tuple[Callable[[str], None], str]] = []
        now_ms, wall_ms = clock.now_ms(), clock.wall_ms()
        missing = sorted(
            self._missing.due(place, now_ms).values(), key=lambda item: item.record.epoch
        )
        for item in missing:
            # A restriction that came late was entered at least a second after its issue (V7).
            if wall_ms - item.record.issued_at_ms < WAIT_MS or len(records) + 2 > MAX_TOGETHER:
                continue
            waited_ms = self._missing.waited_ms(item.identity, now_ms)
            note = self._signed(accounts.of_repair(item, waited_ms))
            records += [item.raw] if note is None else [item.raw, note]
            settled.append((self._entered_now, item.identity))
        told = self._told.due(place, now_ms).values()
        for account in [*receipts, *accounts.of_incidents(self._once(told, wall_ms))]:
            if len(records) == MAX_TOGETHER:
                break
            note = self._signed(account)
            if account.topic == "receipts":
                identity = account.facts["directive"]
                if self._noted.has(accounts.key_of(identity, "receipts")):
                    continue
                about: list[tuple[Callable[[str], None], str]] = [(self._answers.settle, identity)]
            else:
                about = [(self._told.settle, key) for key in account.keys]
            if note is None:  # said, and left out: all others go on
                for owed, key in about:
                    owed(key)
                continue
            settled += about
            records.append(note)
        return records, settled

    def _once(self, told: Iterable[Told], wall_ms: int) -> list[Told]:
        """Return what is to be noted now: of one warning the first, of what was refused one a minute."""
        found: list[Told] = []
        warned: set[str] = set()
        for item in told:
            incident = item.incident
            if incident.what is What.SECURITY:
                if wall_ms - self._noted.refused_ms(incident.why) < REFUSED_MS:
                    continue
            elif incident.what is What.EARLY_WARNING:
                if incident.why in warned:
                    continue
                warned.add(incident.why)
            found.append(item)
        return found

    def _signed(self, account: Account) -> bytes | None:
        """Return a note; None for one that no record can carry, which is said."""
        heading = self._trust.heading(self._signer.principal, clock.wall_ms())
        note = Note(**heading, topic=account.topic, text=account.text, facts=account.facts)
        try:
            return seal(note, self._signer)
        except RecordError as error:
            self._say(
                f"a note ({account.topic}) cannot be written and is left out: {error.message}"
            )
            return None

    def _receipts(self, store: Store, place: int) -> list[Account]:
        """Return the notes on receipts that are due."""
        due = self._answers.due(store, place, clock.now_ms())
        return [accounts.of_receipts(*self._opened(item, raws)) for item, raws in due]

    def _opened(
        self, item: Directive, raws: list[bytes]
    ) -> tuple[Directive, list[Verified[Receipt]], int]:
        good: list[Verified[Receipt]] = []
        for raw in raws:
            try:
                receipt = self._trust.receipt(raw)
            except RecordError:
                continue
            if receipt.record.directive == item.identity:
                good.append(receipt)
        return item, good, len(raws) - len(good)


def _not_to_come(incident: Incident, wall_ms: int) -> Incident:
    """Return it as of now where it says that it is still to come: a clock is wrong, or somebody lies."""
    if incident.at_ms <= wall_ms + AHEAD_MS:
        return incident
    return msgspec.structs.replace(incident, at_ms=wall_ms)
