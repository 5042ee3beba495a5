"""Redis as the simulation sees it: the scripts' semantics on plain dictionaries, with TTLs.

`test_model.py` holds this model against the real scripts on a real server, step by step. Keys of a
wrong type are not in here: `tests/contract` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from golive_redis.core.answer import Answer, Ask
from golive_redis.records.ledger import GENESIS, extend
from golive_redis.store.keyspace import PRESENCE_MS
from golive_redis.store.presence import Presence
from golive_redis.store.replies import Audit, Caller, Snapshot, Status, Step, Stop

Fields = Mapping[str, str | bytes]


@dataclass
class Active:
    """The hash `golive:active`; `expires_ms` is on the server's wall clock, None without a TTL."""

    term: int
    grant: bytes
    epoch: int
    last: str
    set: str
    origin: str
    expires_ms: float | None
    restrictions: dict[str, bytes] = field(default_factory=dict)
    activation: bytes | None = None

    def copy(self) -> Active:
        """Return a copy that shares nothing that changes."""
        return replace(self, restrictions=dict(self.restrictions))


@dataclass(frozen=True)
class Stone:
    """The hash `golive:revoked`."""

    epoch: int
    record: bytes
    identity: str
    origin: str
    confirmed: bytes | None = None


@dataclass
class Data:
    """Everything a server holds; what a replica copies.

    Attributes:
        forced: What was put in force on this history, for the checkers; no script can see it.
    """

    active: Active | None = None
    beats: dict[str, bytes] = field(default_factory=dict)
    beats_until_ms: float = 0.0
    revoked: Stone | None = None
    epoch: int = 0
    last: str = ""
    head: str = GENESIS
    fleet_id: str = ""
    ledger: list[bytes] = field(default_factory=list)
    fleet: dict[str, None] = field(default_factory=dict)
    heartbeats: dict[str, str] = field(default_factory=dict)
    presence: dict[str, tuple[Fields, float]] = field(default_factory=dict)
    receipts: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    goodbyes: dict[str, bytes] = field(default_factory=dict)
    forced: list[bytes] = field(default_factory=list)

    def copy(self) -> Data:
        """Return a copy that shares nothing that changes."""
        return Data(
            self.active.copy() if self.active is not None else None,
            dict(self.beats),
            self.beats_until_ms,
            self.revoked,
            self.epoch,
            self.last,
            self.head,
            self.fleet_id,
            list(self.ledger),
            dict(self.fleet),
            dict(self.heartbeats),
            dict(self.presence),
            dict(self.receipts),
            dict(self.goodbyes),
            list(self.forced),
        )


class Server:
    """One Redis. Its wall clock steps when somebody sets it; TTLs follow it.

    Args:
        run_id: Names the process.
        data: What it starts with.

    Attributes:
        up: False once nobody can reach it as a primary any more.
        published: What scripts have published and nobody carried yet.
        touched: Counts changes of the keys that clients track.
        before: Called before a directive changes anything, for what keeps old copies.
    """

    def __init__(self, run_id: str, data: Data | None = None, wall_off_ms: float = 0.0) -> None:
        self.run_id = run_id
        self.data = data or Data()
        self.wall_off_ms = wall_off_ms
        self.up = True
        self.published: list[bytes] = []
        self.touched = 0
        self.before: Callable[[Server], None] = lambda _: None

    def live(self, now: float) -> Active | None:
        """Return the active key, unless its TTL is over."""
        active = self.data.active
        if active is None:
            return None
        if active.expires_ms is not None and active.expires_ms <= now + self.wall_off_ms:
            self.data.active = active = None
            self.touched += 1
        return active

    def pttl(self, now: float) -> int:
        """Return PTTL of the active key."""
        active = self.live(now)
        if active is None:
            return -2
        expires = active.expires_ms
        return -1 if expires is None else int(expires - now - self.wall_off_ms)

    def _beats(self, now: float) -> dict[str, bytes]:
        if self.data.beats and self.data.beats_until_ms <= now + self.wall_off_ms:
            self.data.beats = {}
        return self.data.beats

    def _fields(self, key: str, now: float) -> Fields | None:
        known = self.data.presence.get(key)
        if known is None or known[1] <= now + self.wall_off_ms:
            return None
        return known[0]

    # -- pods ------------------------------------------------------------------------------------

    def attend(
        self, ask: Ask, caller: Caller, fields: Fields, now: float
    ) -> tuple[Status, Answer, str]:
        """The `attend` script."""
        data = self.data
        roster = data.fleet if caller.role == "worker" else data.heartbeats
        member = caller.member
        key = f"{caller.role}:{caller.name}:{caller.instance}"
        alive = self._fields(key, now)
        until = now + self.wall_off_ms + PRESENCE_MS
        if fields and alive is None and next(iter(fields)) != "state":
            return Status.REGISTER, _nothing(ask.nonce), ""
        if fields:
            data.presence[key] = ({**(alive or {}), **fields}, until)
            if caller.role == "heartbeat":
                data.heartbeats[member] = caller.instance
            else:
                if b"golive.note." in data.goodbyes.get(member, b""):  # its own goodbye stays
                    data.goodbyes[member] = b""
                data.fleet.setdefault(member)
        else:
            if alive is not None:
                data.presence[key] = (alive, until)
            if alive is None or member not in roster:
                return Status.REGISTER, _nothing(ask.nonce), ""
        active = self.live(now)
        stone = data.revoked
        same_stone = stone is not None and stone.identity == ask.known_revoked
        same = active is not None and active.set == ask.known_last
        full = active is not None and not same
        answer = Answer(
            nonce=ask.nonce,
            corrupt=None,
            last=active.set if active else None,
            pttl_ms=self.pttl(now),
            grant=active.grant if active and full else None,
            restrictions=tuple(active.restrictions.values()) if active and full else (),
            unchanged=same,
            beats=dict(self._beats(now)) if active else {},
            revoked=stone.record if stone and not same_stone else None,
            revoked_unchanged=same_stone,
        )
        told = data.ledger and caller.role == "heartbeat"
        return Status.OK, answer, data.head if told else ""

    def beat(self, name: str, record: bytes, term: int, ttl_ms: int, now: float) -> Step:
        """The `beat` script."""
        active, stone = self.live(now), self.data.revoked
        if active is None:
            return Step(Status.REFUSED, "absent")
        if active.term != term:
            return Step(Status.REFUSED, "term")
        if stone is not None and stone.epoch >= term:
            return Step(Status.REFUSED, "revoked")
        wall = now + self.wall_off_ms
        self._beats(now)[name] = record
        self.data.beats_until_ms = wall + ttl_ms
        pttl = self.pttl(now)
        if 0 <= pttl < 0.75 * ttl_ms:
            active.expires_ms = wall + ttl_ms
            self.touched += 1
            pttl = ttl_ms
        return Step(Status.OK, str(pttl))

    def keep_receipt(self, directive: str, name: str, raw: bytes) -> None:
        """`Store.deliver`."""
        held = self.data.receipts
        held[directive] = {**held.get(directive, {}), name: raw}

    def keep_goodbye(self, caller: Caller, receipt: bytes) -> None:
        """`Store.keep_goodbye`."""
        self.data.goodbyes[caller.member] = receipt
        self.data.presence.pop(f"{caller.role}:{caller.name}:{caller.instance}", None)

    def forget(self, worker: str, instance: str, note: bytes, now: float) -> bool:
        """The `forget` script."""
        if self._fields(f"worker:{worker}:{instance}", now) is not None:
            return False
        self.data.goodbyes[f"{worker}:{instance}"] = note
        self.data.fleet.pop(f"{worker}:{instance}", None)
        return True

    def kept_goodbyes(self, pods: Sequence[tuple[str, str]]) -> list[bytes]:
        """`Store.goodbyes`."""
        held = (self.data.goodbyes.get(f"{name}:{number}") for name, number in pods)
        return [raw for raw in held if raw]

    def fleet(self) -> list[tuple[str, str]]:
        """`Store.fleet`."""
        pods = [member.rpartition(":") for member in self.data.fleet]
        return [(name, instance) for name, _, instance in pods]

    def leave(self, caller: Caller) -> None:
        """A heartbeat leaves."""
        self.data.heartbeats.pop(caller.member, None)
        self.data.presence.pop(f"{caller.role}:{caller.name}:{caller.instance}", None)

    # -- directives ------------------------------------------------------------------------------

    def grant(
        self,
        *,
        activates: bool,
        term: int,
        epoch: int,
        record: bytes,
        identity: str,
        prev: str,
        ttl_ms: int,
        origin: str,
        head: str,
        head_after: str,
        fleet: str,
        keeps: tuple[str, ...],
        now: float,
        execution: bytes = b"",
    ) -> Step:
        """The `grant` script."""
        data, active = self.data, self.live(now)
        if data.fleet_id not in {"", fleet}:
            return Step(Status.REFUSED, "fleet", data.fleet_id)
        if active is not None and active.grant == record:
            return Step(Status.SAME)
        if data.revoked is not None and epoch <= data.revoked.epoch:
            return Step(Status.REFUSED, "revoked", str(data.revoked.epoch))
        if activates and active is not None:
            return Step(Status.REFUSED, "active", active.grant.decode("utf-8", "replace"))
        if not activates and active is None:
            return Step(Status.REFUSED, "absent")
        if active is not None and active.term != term:
            return Step(Status.REFUSED, "term", str(active.term))
        if data.last != prev:
            return Step(Status.CONFLICT, data.last)
        if epoch <= data.epoch:
            return Step(Status.REFUSED, "used", str(data.epoch))
        if data.head != head:
            return Step(Status.HEAD, data.head)
        self.before(self)
        data.ledger += [execution, record] if execution else [record]
        data.head = head_after
        if active is None:
            expires = now + self.wall_off_ms + ttl_ms
            data.active = Active(term, record, epoch, identity, identity, origin, expires)
            data.beats = {}
        else:
            active.activation = active.activation or active.grant
            active.grant, active.epoch, active.last = record, epoch, identity
            active.set = identity
            held = active.restrictions
            active.restrictions = {name: raw for name, raw in held.items() if name in keeps}
        data.epoch, data.last, data.fleet_id = epoch, identity, fleet
        self.touched += 1
        self._forced(record)
        return Step(Status.OK)

    def restrict(
        self,
        *,
        term: int,
        epoch: int,
        record: bytes,
        identity: str,
        prev: str,
        again: bool,
        now: float,
    ) -> Step:
        """The `restrict` script."""
        data, active = self.data, self.live(now)
        if active is None:
            return Step(Status.REFUSED, "absent")
        if active.term != term:
            return Step(Status.REFUSED, "term", str(active.term))
        name = f"r:{epoch}"
        own = f"{name}:{identity}"
        if record in {active.restrictions.get(name), active.restrictions.get(own)}:
            return Step(Status.SAME)
        if not again and active.last != prev:
            return Step(Status.CONFLICT, active.last, str(active.epoch))
        self.before(self)
        active.restrictions[own if name in active.restrictions else name] = record
        active.set = _named(active.set, identity) if again else identity
        if epoch > active.epoch:
            active.epoch = data.epoch = epoch
        active.last = data.last = identity
        self.touched += 1
        self._forced(record, again=again)
        if again:
            return Step(Status.OK, Audit.NONE)
        self._enter(record)
        return Step(Status.OK, Audit.AUDITED)

    def revoke(
        self,
        *,
        epoch: int,
        record: bytes,
        identity: str,
        entry: bool,
        again: bool,
        now: float,
        card: bool = False,
    ) -> Stop:
        """The `revoke` script."""
        data, active = self.data, self.live(now)
        if again and active is not None and active.term > epoch:
            return Stop(Status.LATER, active.grant, None, active.origin, Audit.NONE, "")
        self.before(self)
        stone = data.revoked
        grant = active.grant if active else None
        newest = active.restrictions.get(f"r:{active.epoch}") if active else None
        origin = (active.origin if active else "") or (stone.origin if stone else "")
        data.active, data.beats = None, {}
        self.touched += active is not None
        status = Status.SAME
        standing = stone.record if stone is not None and stone.record != record else None
        if stone is None or epoch > stone.epoch:
            status, standing = Status.OK, None
            data.revoked = Stone(epoch, record, identity, origin)
            entry = entry and not (card and data.epoch >= epoch)
            data.epoch, data.last = max(data.epoch, epoch), identity
            self.touched += 1
        # One that found a later tombstone and nothing active has put nothing in force.
        idle = status is Status.SAME and grant is None
        self._forced(record, again=again or idle)
        audit = Audit.NONE
        if status is Status.OK and entry and not again:
            self._enter(record)
            audit = Audit.AUDITED
        return Stop(status, grant, newest, origin or None, audit, "", standing=standing)

    def _enter(self, record: bytes) -> None:
        self.data.ledger.append(record)
        self.data.head = extend(self.data.head, record)

    def _forced(self, record: bytes, *, again: bool = False) -> None:
        if not again and record not in self.data.forced:
            self.data.forced.append(record)
        self.published.append(record)

    def append(self, record: bytes, head: str, head_after: str) -> Step:
        """The `append` script."""
        data = self.data
        if data.head == head_after:
            return Step(Status.SAME)
        if data.head != head:
            return Step(Status.HEAD, data.head)
        data.ledger.append(record)
        data.head = head_after
        return Step(Status.OK)

    # -- what operators read ---------------------------------------------------------------------

    def snapshot(self, now: float) -> Snapshot:
        """`Store.snapshot`."""
        data, active = self.data, self.live(now)
        stone = data.revoked
        return Snapshot(
            grant=active.grant if active else None,
            restrictions=dict(active.restrictions) if active else {},
            origin=(active.origin or None) if active else None,
            pttl_ms=self.pttl(now),
            beats=dict(self._beats(now)),
            revoked=stone.record if stone else None,
            revoked_origin=(stone.origin or None) if stone else None,
            confirmed=stone.confirmed if stone else None,
            epoch_hint=data.epoch,
            last=data.last,
            active_last=active.last if active else "",
            head=data.head,
            fleet=data.fleet_id,
            corrupt=(),
            activation=active.activation if active else None,
        )

    def pods(self, role: str, now: float) -> list[Presence]:
        """`Store.workers` and `Store.heartbeats`."""
        if role == "worker":
            names = [member.rpartition(":")[::2] for member in self.data.fleet]
        else:
            names = sorted(self.data.heartbeats.items())
        return [
            Presence(name, instance, self._fields(f"{role}:{name}:{instance}", now) or {}, 0)
            for name, instance in names
        ]

    def told_directives(self, now: float) -> list[bytes]:
        """`Store.told_directives`."""
        pods = [*self.pods("worker", now), *self.pods("heartbeat", now)]
        told = [pod.fields.get("directive") for pod in pods]
        return [raw for raw in told if isinstance(raw, bytes) and raw]

    def confirm(self, directive: str, note: bytes) -> bool:
        """`Store.confirm`."""
        stone = self.data.revoked
        if stone is None or stone.identity != directive:
            return False
        self.data.revoked = replace(stone, confirmed=note)
        return True


def _named(before: str, identity: str) -> str:
    """Return the name of a set on top of which a restriction is put back."""
    digits = zip(before.ljust(64, "0"), identity, strict=False)
    return "".join(f"{(int(a, 16) + int(b, 16)) % 16:x}" for a, b in digits)


def _nothing(nonce: str) -> Answer:
    return Answer(nonce, None, None, -2, None, (), False, {}, None, False)
