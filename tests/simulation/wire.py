"""The wires: connections that lose, delay, repeat and reorder, and the product's `Store` over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from golive_redis.core.answer import Answer, Ask
from golive_redis.errors import MaybeAppliedError, StoreUnavailableError
from golive_redis.records.directive import Grant, GrantKind, Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import GENESIS, Entry, extend
from golive_redis.records.receipt import Receipt
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.presence import Presence
from golive_redis.store.replies import Caller, Snapshot, Status, Step, Stop
from golive_redis.store.replies import Server as About
from golive_redis.store.rosters import Fleet

from . import fibers
from .model import Server

if TYPE_CHECKING:
    from .nodes import Node
    from .world import World


class Conn:
    """One connection of a node, to the server that was its primary when it connected.

    Attributes:
        alive: False once the node has dropped it: no answer comes back over it any more.
        number: Counts how often it was made anew; an answer to an earlier one is never read.
    """

    def __init__(self, host: Node, timeout_ms: float = 250.0) -> None:
        self.node = host
        self.timeout_ms = timeout_ms
        self.server = host.world.route(host)
        self.alive = True
        self.closed = False
        self.number = 0
        self.inbox: list[bytes] = []
        self.came = fibers.SimEvent()

    def close(self) -> None:
        """Drop it."""
        self.alive = False

    def reset(self) -> None:
        """Close it after a failed command."""
        self.number += 1
        self.closed = True

    def open(self) -> None:
        """Connect anew where it is closed, as `RedisLink` does at the next command."""
        if self.closed:
            self.server, self.closed = self.node.world.route(self.node), False

    def answers_within(self, timeout_ms: float) -> None:
        """Wait so long for each answer from now on."""
        self.timeout_ms = timeout_ms

    # -- the operator's channel of receipts ------------------------------------------------------

    def hear(self, raw: bytes) -> None:
        """A message arrived."""
        self.inbox.append(raw)
        self.came.set()

    def send(self, *args: object) -> None:
        """Subscribe to the receipts."""
        self.node.world.channels.append(self)

    def receive(self, timeout_ms: float) -> list[bytes] | None:
        """Return the next receipt, or None when none came in time."""
        if not self.server.up or not self.alive:
            raise StoreUnavailableError("the server closed the connection")
        if not self.inbox and timeout_ms > 0:
            self.came.clear()
            self.came.wait(timeout_ms / 1000)
        return [b"message", b"receipts", self.inbox.pop(0)] if self.inbox else None

    def call(self, *args: object) -> int:
        """Take a heartbeat off the roster, the one command that is sent by itself."""
        assert args[0] == "HDEL", args
        name = str(args[2])
        return int(ask(self, lambda s: s.data.heartbeats.pop(name, None) is not None))


def ask(conn: Conn, execute: Callable[[Server], Any]) -> Any:
    """Run a command from a fiber and wait for its answer.

    Raises:
        StoreUnavailableError: It did not leave.
        MaybeAppliedError: No answer came.
    """
    world = conn.node.world
    conn.open()
    if not conn.alive or world.cut(conn.node.name):
        fibers.sleep(conn.timeout_ms)
        raise StoreUnavailableError("cut off")
    patience = conn.timeout_ms / conn.node.rate
    reply = fibers.wait_for(
        lambda answered: world.call(
            conn, execute, answered, within=patience, late=lambda: answered(fibers.LOST)
        )
    )
    if reply is fibers.LOST:
        conn.reset()
        raise MaybeAppliedError("no answer")
    return reply


def _asked(item: Verified[Any]) -> dict[str, Any]:
    return {"epoch": item.record.epoch, "record": item.raw, "identity": item.identity}


class SimStore:
    """`golive_redis.store.store.Store`, over a simulated wire."""

    def __init__(self, link: Conn, keyspace: Keyspace) -> None:
        self.link = link
        self.keys = keyspace
        self._world: World = link.node.world

    def _do(self, execute: Callable[[Server], Any]) -> Any:
        return ask(self.link, execute)

    def attend(
        self, question: Ask, caller: Caller, fields: Mapping[str, str | bytes]
    ) -> tuple[Status, Answer, str]:
        def execute(server: Server) -> Any:
            return server, server.attend(question, caller, fields, self._world.now)

        server, reply = self._do(execute)
        self._world.checker.attended(self.link.node, server)
        return reply

    def beat(self, name: str, record: bytes, *, term: int, ttl_ms: int) -> Step:
        state = self.link.node.pulse.state

        def execute(server: Server) -> Step:
            self._world.checker.beaten(record, state)
            return server.beat(name, record, term, ttl_ms, self._world.now)

        return self._do(execute)

    def drop_proposals(self) -> bool:
        return self._do(lambda _: False)  # nobody proposes anything here

    def leave(self, caller: Caller) -> None:
        self._do(lambda s: s.leave(caller))

    def keep_goodbye(self, caller: Caller, receipt: bytes, incidents: str = "") -> None:
        self._do(lambda s: s.keep_goodbye(caller, receipt))

    def forget(self, worker: str, instance: str, note: bytes) -> bool:
        return self._do(lambda s: s.forget(worker, instance, note, self._world.now))

    def goodbyes(self, pods: Sequence[tuple[str, str]]) -> list[bytes]:
        return self._do(lambda s: s.kept_goodbyes(pods))

    def fleet(self) -> Fleet:
        return Fleet(self._do(lambda s: s.fleet()), whole=True)

    def strike(self, workers: Sequence[str]) -> None:
        def execute(server: Server) -> None:
            for member in workers:
                server.data.fleet.pop(member, None)

        if workers:
            self._do(execute)

    def publish(self, channel: str, raw: bytes) -> int:
        def execute(server: Server) -> int:
            server.published.append(raw)
            return 1

        return self._do(execute)

    def receipts(self, directive: str) -> tuple[list[bytes], bool]:
        return self._do(lambda s: (list(s.data.receipts.get(directive, {}).values()), True))

    def grant(
        self,
        item: Verified[Grant],
        *,
        ttl_ms: int,
        head: str,
        origin: str = "",
        keeps: Sequence[str] = (),
        execution: bytes = b"",
    ) -> Step:
        record = item.record
        begun = extend(head, execution) if execution else head
        asked = {
            **_asked(item),
            "head": head,
            "head_after": extend(begun, item.raw),
            "execution": execution,
            "activates": record.kind is GrantKind.ACTIVATE,
            "term": record.term,
            "prev": record.prev or "",
            "ttl_ms": ttl_ms,
            "origin": origin,
            "fleet": record.fleet,
        }
        return self._do(
            lambda s: self._world.checker.granted(
                s, asked, s.grant(keeps=tuple(keeps), now=self._world.now, **asked)
            )
        )

    def restrict(self, item: Verified[Restriction], *, again: bool = False) -> Step:
        asked = {
            **_asked(item),
            "term": item.record.term,
            "prev": item.record.prev or "",
        }
        return self._do(
            lambda s: self._world.checker.restricted(
                s, asked, s.restrict(again=again, now=self._world.now, **asked)
            )
        )

    def revoke(
        self,
        item: Verified[Revocation],
        *,
        entry: bool = True,
        again: bool = False,
        spare: bool = False,
    ) -> Stop:
        assert not spare, "there is one fleet"
        asked = {**_asked(item), "entry": entry}
        return self._do(
            lambda s: self._world.checker.revoked(
                s, asked, s.revoke(again=again, now=self._world.now, **asked)
            )
        )

    def play(self, item: Verified[Revocation]) -> Stop:
        """Redis-cli plays a card: no code of ours is at work."""
        asked = {**_asked(item), "entry": True}
        return self._do(
            lambda s: self._world.checker.revoked(
                s, asked, s.revoke(again=False, card=True, now=self._world.now, **asked)
            )
        )

    def delete_active(self) -> int:
        def execute(server: Server) -> int:
            gone, server.data.active = server.data.active is not None, None
            server.touched += gone
            return int(gone)

        return self._do(execute)

    def append(self, record: bytes, *, head: str, head_after: str) -> Step:
        return self._do(lambda s: s.append(record, head, head_after))

    def recorded(self, record: bytes, issued_at_ms: int, limit: int = 0) -> bool:
        return self._do(lambda s: record in s.data.ledger)

    def entries(self, limit: int) -> list[Entry]:
        def execute(server: Server) -> list[Entry]:
            head, found = GENESIS, []
            for record in server.data.ledger:
                head = extend(head, record)
                found.append(Entry(record, head))
            return found[-limit:]

        return self._do(execute)

    def ledger_before(self, end: str = "+") -> list[Entry]:
        """One page, in no time: these people are in no hurry (`cool_down` is 0)."""
        if end != "+":
            return []
        return [Entry(record, "", "1-1") for record in self._do(lambda s: list(s.data.ledger))][
            ::-1
        ]

    def drop_tombstone(self) -> None:
        def execute(server: Server) -> None:
            server.data.revoked = None

        self._do(execute)

    def replicated(self, replicas: int, within_ms: int) -> int:
        return 0

    def ping(self) -> None:
        self._do(lambda _: None)

    def taking_away(self) -> list[bytes]:
        seen = self.snapshot()
        return [*seen.restrictions.values(), *([seen.revoked] if seen.revoked else [])]

    def receipts_kept(self, directive: str) -> int:
        return len(self.receipts(directive)[0])

    def deliver(self, directive: str, field: str, raw: bytes) -> tuple[bool, str]:
        self._do(lambda s: s.keep_receipt(directive, field, raw))
        return True, ""

    def fleet_id(self) -> str:
        return self._do(lambda s: s.data.fleet_id)

    def head(self) -> str:
        return self._do(lambda s: s.data.head)

    def snapshot(self) -> Snapshot:
        return self._do(lambda s: s.snapshot(self._world.now))

    def told_directives(self, *_: object) -> list[bytes]:
        return self._do(lambda s: s.told_directives(self._world.now))

    def confirm(self, directive: str, note: bytes) -> bool:
        return self._do(lambda s: s.confirm(directive, note))

    def workers(self) -> list[Presence]:
        return self._do(lambda s: s.pods("worker", self._world.now))

    def heartbeats(self) -> list[Presence]:
        return self._do(lambda s: s.pods("heartbeat", self._world.now))

    def server(self) -> About:
        return self._do(lambda s: About(s.run_id, 0, s.run_id))


class SimOutbox:
    """`Outbox`: a receipt is published, then stored, and sent again until that was answered."""

    lacks = ""

    def __init__(self, host: Node, retry_ms: float) -> None:
        self._node, self._retry_ms = host, retry_ms
        self.loop = fibers.SimLoop()

    def send(self, receipt: Receipt, raw: bytes) -> None:
        self._node.world.checker.receipted(self._node, receipt)
        self._deliver(receipt, raw, Conn(self._node))

    def has_kept(self, raw: bytes) -> bool:
        return False

    def _deliver(self, receipt: Receipt, raw: bytes, conn: Conn) -> None:
        world, done = self._node.world, []

        def execute(server: Server) -> bool:
            world.hear(server, raw)
            name = f"{receipt.by}:{receipt.instance}:{receipt.stage}"
            server.keep_receipt(receipt.directive, name, raw)
            return True

        def again() -> None:
            if not done:
                conn.close()
                self._deliver(receipt, raw, Conn(self._node))

        world.call(conn, execute, done.append, within=self._retry_ms / self._node.rate, late=again)

    def close(self, within_s: float) -> None:
        return
