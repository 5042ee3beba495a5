"""The checkpoints of a ledger, on a thread of their own: read, hold against each other, sign, publish.

The first live heartbeat by name signs when something is new. The others follow: each holds what is
published against the ledger and against what it has seen before, and says when that does not fit. So
whoever rewrites the ledger has to deceive every heartbeat that has a disk.

Nothing here delays a beat. The ledger is read in pages with a pause after each, over a connection of
this thread; a log of a million entries takes minutes, once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from golive_redis import clock
from golive_redis.clock import Throttle
from golive_redis.config.auditing import LogSettings
from golive_redis.core.follower import Follower, InconsistentLogError, Mark, judge
from golive_redis.errors import GoliveError, RecordError, SignerError, StoreError
from golive_redis.heartbeat.cosigning import Courier, Offer, wait_for_all
from golive_redis.heartbeat.logmemory import LogMemory
from golive_redis.heartbeat.logstart import LogKeys, LogStart
from golive_redis.logs import Log
from golive_redis.records.checkpoint import Checkpoint
from golive_redis.records.keyset import Role, raw_of
from golive_redis.records.ledger import Entry
from golive_redis.records.logpolicy import Judged
from golive_redis.records.merkle import consistency_path, prove
from golive_redis.records.signednote import parse
from golive_redis.statefile import StateFileError
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.ledgersteps import PAGE
from golive_redis.store.link import Link
from golive_redis.store.reconnect import Reconnecting
from golive_redis.store.replies import Status
from golive_redis.store.store import Store
from golive_redis.threads import Backoff, Loop
from golive_redis.witness.submit import TIMEOUT_S

LOOKS = 4  # in the time between two checkpoints
PAUSE_S = 0.02  # after each page: beats, and other clients, come first
KEEP_EVERY = 100  # pages, while a long ledger is read for the first time
SIGN_S = 5.0
FRESH = (
    10_000  # leaves that are kept for the proofs of the next checkpoint; else they are read again
)
AGAIN = 3  # further offers at once, for witnesses that know another size than was believed
STRANGE_MS = 3_600_000.0
MAX_SAID = 400

SIGNS = "signs"
"""What a heartbeat says of itself that can sign."""
REFUSES = "refuses"
"""How that begins of one that must not: then no other signs in its place, either."""

logger = Log("golive_redis.heartbeat")


class Publisher:
    """Follows the ledger, and publishes its checkpoints while this heartbeat is the one that does.

    Args:
        keys: By which it signs and judges.
        connect: Opens a link.
        keyspace: Names of the keys.
        state_dir: Where it remembers what it has signed; None remembers nothing over a restart.
        say: Told in a sentence what an operator should know.

    Attributes:
        word: What its presence says of it: `signs`, or why it does not.
    """

    def __init__(
        self,
        keys: LogKeys,
        connect: Callable[[], Link],
        keyspace: Keyspace,
        state_dir: Path | None,
        say: Callable[[str], None],
    ) -> None:
        self._keys = keys
        self._say = say
        self._name = keys.signer.principal
        self._memory = LogMemory(
            state_dir, self._name, keys.settings.origin, keys.trust.keyset.fleet
        )
        self._connection = Reconnecting(connect, keyspace)
        self._couriers: list[Courier] = []
        self._couriers_of: LogSettings | None = None
        self._signed_ms = self._offered_ms = float(-keys.settings.every_ms)
        self._again = 0
        self._fresh: tuple[Mark, list[bytes]] = Mark(), []
        self._begun = LogStart()
        self._wake = threading.Event()
        self._told = ""
        self._strange = Throttle(STRANGE_MS)
        self.word = SIGNS
        if self._memory.problem:
            self._trouble(f"cannot: {self._memory.problem}")
        self.loop = Loop(
            "checkpoints",
            self._turn,
            failed=self._failed,
            ended=self._ended,
            backoff=Backoff(1.0, 30.0),
        )

    def follow(self, keys: LogKeys) -> None:
        """Sign and judge from now on by these; the origin stays."""
        self._keys = keys

    def close(self, within_s: float) -> None:
        """End the thread; one that reads a page then ends after it."""
        self.loop.closing.set()
        self._wake.set()
        self.loop.end(within_s)

    # -- the loop --------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._wake.wait(self._keys.settings.every_ms / LOOKS / 1000)
        self.loop.check()
        self._wake.clear()
        if self.loop.closing.is_set() or self._memory.problem:
            return
        try:
            self._look(self._connection.store(), self._keys)
        except InconsistentLogError as error:
            self._trouble(f"{REFUSES}: {error.message}")
        except (SignerError, StateFileError) as error:
            self._trouble(f"cannot: {error.message}")
        else:
            if self.word != SIGNS:
                self._say(
                    "checkpoints: the ledger continues what was signed; they are signed again"
                )
            self.word = SIGNS
            self._told = ""

    def _look(self, store: Store, keys: LogKeys) -> None:
        """Hold what is published against the ledger, and publish what is new.

        Raises:
            InconsistentLogError: The ledger is not the one that was signed for.
            StateFileError: It cannot be written down, so nothing is signed.
            SignerError: It was not signed.
            StoreError: Redis cannot be asked.
        """
        keys = self._begun.keys(store, keys, self._memory)
        raw = store.checkpoint()
        standing = self._opened(raw, keys)
        if standing is not None:
            self._hold(store, standing, keys)
        leads = self._leads(store, keys)
        if leads and self._due(self._signed_ms, keys):
            raw, standing = self._publish(store, raw, standing, keys)
        if standing is not None and leads:
            self._complete(store, raw, standing, keys)
        self._learn()

    def _due(self, since_ms: float, keys: LogKeys) -> bool:
        return clock.now_ms() - since_ms >= keys.settings.every_ms

    def _opened(self, raw: bytes, keys: LogKeys) -> Judged | None:
        """Return the checkpoint that stands there; None for none, and for what nobody has signed."""
        if not raw:
            return None
        try:
            return keys.policy.look(raw)
        except RecordError as error:
            text = (
                f"{keys.trust.namespace}:checkpoint is not signed by a heartbeat of this keyset, and "
                f"the next one replaces it: {error.message}"
            )
            if self._strange.due(text):
                self._say(text)
            return None

    def _leads(self, store: Store, keys: LogKeys) -> bool:
        """Tell whether it is this heartbeat that signs: the first live one by name that can."""
        known = keys.trust.keyset.principals(Role.HEARTBEAT)
        for item in sorted(store.heartbeats(), key=lambda item: item.name):
            word = item.fields.get("log", "")
            if item.name == self._name:
                return True
            if item.alive and item.name in known and word.startswith((SIGNS, REFUSES)):
                return False
        return True

    # -- the ledger ------------------------------------------------------------------------------

    def _hold(self, store: Store, standing: Judged, keys: LogKeys) -> None:
        """Hold the checkpoint that is published against the ledger, and remember it."""
        checkpoint = standing.checkpoint
        mark = self._read_to(store, checkpoint.size)
        judge(checkpoint, mark, keys.who(standing))
        if mark.size not in {each.size for each in self._memory.marks}:
            self._memory.keep(mark)

    def _read_to(self, store: Store, size: int) -> Mark:
        """Return the mark of the ledger at that size, or where it ends."""
        follower = Follower(self._memory.nearest(size))
        if follower.size < size:
            for page in self._pages(store, self._memory.nearest(size).start, "+"):
                follower.take(page, size)
                if follower.size >= size:
                    break
        return follower.mark()

    def _read_on(self, store: Store, horizon_ms: int) -> Mark:
        """Return the mark after the last entry that is old enough; what was known stands there still."""
        newest = self._memory.newest
        follower = Follower(newest)
        fresh: list[bytes] = []
        end = str(horizon_ms) if horizon_ms > newest.last_ms else newest.last_id
        for number, page in enumerate(self._pages(store, newest.start, end), 1):
            fresh = (fresh + follower.take(page))[: FRESH + 1]
            if not number % KEEP_EVERY:
                self._memory.keep(follower.mark())
        self._fresh = newest, fresh
        return follower.mark()

    def _pages(self, store: Store, start: str, end: str) -> Iterator[list[Entry]]:
        """Yield the ledger from there, at least one page, with a pause after each full one.

        Raises:
            StoreError: Also when this heartbeat is to end.
        """
        while True:
            page = store.ledger_from(start, end)
            yield page
            if len(page) < PAGE:
                return
            start = f"({page[-1].id}"
            if self.loop.closing.wait(PAUSE_S):
                raise StoreError("this heartbeat is stopping")
            self.loop.check()

    # -- the checkpoint --------------------------------------------------------------------------

    def _publish(
        self, store: Store, raw: bytes, standing: Judged | None, keys: LogKeys
    ) -> tuple[bytes, Judged | None]:
        """Sign a checkpoint when something is new, have it cosigned, and put it into Redis.

        Returns:
            What stands there then.
        """
        mark = self._read_on(store, store.server_ms() - keys.settings.lag_ms)
        if not mark.size or (standing is not None and mark.size <= standing.checkpoint.size):
            return raw, standing
        # On disk first: what was signed and forgotten could be contradicted after a restart.
        self._memory.keep(mark)
        settings = keys.settings
        head = Checkpoint(settings.origin, mark.size, mark.tree.root())
        verifier = settings.verifier(raw_of(keys.signer.public))
        note = head.signed(verifier, partial(keys.signer.sign, timeout_s=SIGN_S))
        self._signed_ms = clock.now_ms()
        self._again = AGAIN
        self._offer(store, note, mark.size, self._open(keys))
        # Before it is published, so that a checkpoint takes the place of a witnessed one witnessed.
        wait_for_all(self._couriers, TIMEOUT_S)
        whole = self._with_lines(note, mark.size)
        step = store.replace_checkpoint(whole, read=raw)
        if step.status is Status.CONFLICT:
            return store.checkpoint(), None  # another heartbeat was first: looked at the next time
        return whole, keys.policy.look(whole)

    def _complete(self, store: Store, raw: bytes, standing: Judged, keys: LogKeys) -> None:
        """Add the cosignatures that have come since, and ask again for those that have not."""
        size = standing.checkpoint.size
        whole = self._with_lines(raw, size)
        if whole != raw:
            if store.replace_checkpoint(whole, read=raw).status is Status.CONFLICT:
                return
            standing = keys.policy.look(whole)
        left = [each for each in self._open(keys) if each.witness.name not in standing.witnesses]
        if left and self._due(self._offered_ms, keys):
            self._again = AGAIN
            self._offer(store, whole, size, left)
        elif wanting := [each for each in left if each.needs is not None and self._again]:
            self._again -= 1
            self._offer(store, whole, size, wanting)

    def _with_lines(self, raw: bytes, size: int) -> bytes:
        note = parse(raw)
        lines = [line for courier in self._couriers for line in courier.lines(size)]
        return note.with_lines(lines).encode()

    # -- witnesses -------------------------------------------------------------------------------

    def _open(self, keys: LogKeys) -> list[Courier]:
        """Return the couriers of the witnesses that are configured now."""
        if self._couriers_of is not keys.settings:
            for courier in self._couriers:
                courier.end()
            self._couriers = [
                Courier(each, self._memory.known(each.verifier.text), self._say, self._wake.set)
                for each in keys.settings.witnesses
            ]
            self._couriers_of = keys.settings
        return self._couriers

    def _offer(self, store: Store, note: bytes, size: int, couriers: list[Courier]) -> None:
        """Have a checkpoint cosigned, each witness with the proof from what it knows."""
        proofs: dict[int, tuple[bytes, ...]] = {}
        for courier in couriers:
            old = courier.known if courier.needs is None else courier.needs
            if 0 < old < size and old not in proofs:
                proofs[old] = self._proof(store, old, size)
        for courier in couriers:
            courier.offer(Offer(note, size, proofs))
        self._offered_ms = clock.now_ms()

    def _proof(self, store: Store, old: int, new: int) -> tuple[bytes, ...]:
        """Return the consistency proof between two sizes, from the entries since the nearest mark."""
        fresh_from, fresh = self._fresh
        if old == fresh_from.size and new == old + len(fresh):
            return prove(consistency_path(old, new), fresh, after=fresh_from.tree)
        start = self._read_to(store, old)
        follower = Follower(start)

        def leaves() -> Iterator[bytes]:
            for page in self._pages(store, start.start, "+"):
                yield from follower.take(page, new)
                if follower.size >= new:
                    return

        return prove(consistency_path(old, new), leaves(), after=start.tree)

    def _learn(self) -> None:
        """Remember which sizes the witnesses know."""
        known = {courier.witness.verifier.text: courier.known for courier in self._couriers}
        if known:
            self._memory.cosigned({key: size for key, size in known.items() if size})

    # -- what is said ----------------------------------------------------------------------------

    def _trouble(self, word: str) -> None:
        self.word = word[:MAX_SAID]
        lead = "SECURITY: " if word.startswith(REFUSES) else ""
        self._tell(f"{lead}no checkpoint is signed: {word.partition(': ')[2]}")

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._told = text
            self._say(text)

    def _failed(self, error: Exception) -> None:
        self._connection.drop()
        if isinstance(error, GoliveError):
            logger.info("checkpoints: %s", error)
        else:
            logger.error("a defect in golive-redis; no checkpoint is signed now", exc_info=error)

    def _ended(self) -> None:
        for courier in self._couriers:
            with suppress(Exception):
                courier.end()
        self._connection.drop()
        self._memory.release()
