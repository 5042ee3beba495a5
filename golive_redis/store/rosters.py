"""The rosters: who takes part, who has left, and how an entry goes. Part of `store.Store`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from golive_redis.errors import RecordError
from golive_redis.records.receipt import Instance
from golive_redis.records.record import Name, Strict, convert, decodable
from golive_redis.store import scripts
from golive_redis.store.keyspace import GOODBYE_MS, PRESENCE_MS, Keyspace
from golive_redis.store.link import Link, StoreRefusedError, usable
from golive_redis.store.presence import FIELDS, Presence, parse_presence
from golive_redis.store.replies import Caller, all_bytes, pairs, text
from golive_redis.store.rights import is_lasting

MAX_FLEET = 100_000
POD_PAGE = 10_000  # entries of the roster of workers in one answer
LONGEST = 64 + 1 + 32  # bytes of an entry: a name, a colon, an instance
TRIES = 3
PAGE = 1_000  # goodbyes, or presences, in one answer


@decodable
class _Member(Strict, frozen=True, kw_only=True):
    """What a guard writes into the roster of workers."""

    worker: Name
    instance: Instance


@decodable
class _Named(Strict, frozen=True, kw_only=True):
    name: Name


class Fleet(NamedTuple):
    """The roster of workers.

    Attributes:
        pods: Worker id and instance of each process, oldest first.
        whole: These are all of them (A4).
        foreign: Entries that no guard can have written, for their form is another. They hide no process,
            so no stop waits for them and nobody signs a word about them; an activation strikes them.
    """

    pods: list[tuple[str, str]]
    whole: bool
    foreign: tuple[bytes, ...] = ()


class Rosters:
    """Workers by process, heartbeats by name; over one link.

    Args:
        link: The connection.
        keyspace: Names of the keys.
    """

    def __init__(self, link: Link, keyspace: Keyspace) -> None:
        self.link = link
        self.keys = keyspace

    def leave(self, caller: Caller) -> None:
        """Take a heartbeat off its roster, and drop its presence; its goodbye is in the ledger."""
        self.link.call("HDEL", self.keys.heartbeats, caller.member)
        self._drop(self.keys.heartbeat(caller.name, caller.instance))

    def _drop(self, presence: str) -> None:
        with suppress(StoreRefusedError):  # it runs out by itself, and the rest is done (A7)
            self.link.call("DEL", presence)

    def keep_goodbye(self, caller: Caller, receipt: bytes, incidents: str = "") -> None:
        """Keep a worker's signed goodbye, and drop its presence.

        It stays on the roster: only who has verified that goodbye may strike it off (A4).

        Args:
            caller: Who leaves.
            receipt: The goodbye.
            incidents: What it states last, for a heartbeat to note: it stays for as long as a presence
                does, alone, so that nobody takes it for one.
        """
        key = self.keys.goodbye(caller.name, caller.instance)
        self.link.call("SET", key, receipt, "PX", GOODBYE_MS)
        presence = self.keys.worker(caller.name, caller.instance)
        self._drop(presence)
        if incidents:
            self.link.pipeline(
                [("HSET", presence, "incidents", incidents), ("PEXPIRE", presence, PRESENCE_MS)]
            )

    @usable("incidents")
    def incidents(self) -> list[tuple[Caller, bytes]]:
        """Return what pods state of their incidents: whose they are and JSON, unverified.

        Without those that state none. Of a fleet of more than 10,000 the oldest are asked.
        """
        roster = pairs(self.link.call("HGETALL", self.keys.heartbeats))
        beating = [(name, text(raw)) for name, raw in sorted(roster.items())]
        pods = [Caller("heartbeat", *pod) for pod in beating if _is_pod(*pod)]
        members = _fleet(self.fleet_page(0, POD_PAGE - 1), whole=False).pods
        pods += [Caller("worker", *pod) for pod in members]
        found: list[tuple[Caller, bytes]] = []
        for first in range(0, len(pods), PAGE):
            page = pods[first : first + PAGE]
            replies = self.link.pipeline([("HGET", self._key(pod), "incidents") for pod in page])
            found += [
                (pod, raw)
                for pod, raw in zip(page, replies, strict=True)
                if isinstance(raw, bytes) and raw
            ]
        return found

    def _key(self, pod: Caller) -> str:
        made = self.keys.worker if pod.role == "worker" else self.keys.heartbeat
        return made(pod.name, pod.instance)

    def forget(self, worker: str, instance: str, note: bytes) -> bool:
        """Take a silent worker off the roster, and keep the signed word that it is dead.

        Returns:
            False when it has been heard in the last 10 s: then nothing is changed.
        """
        member, place = f"{worker}:{instance}", self.keys.goodbye(worker, instance)
        names = (self.keys.namespace, member, note, GOODBYE_MS)
        return bool(scripts.run(self.link, "forget", (place,), *names) == 1)

    @usable("goodbyes")
    def goodbyes(self, pods: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return the goodbyes of those workers, or the words that they are dead, unverified.

        Without those that are empty: a process that registers ends what was said about it (A5).
        """
        found: list[bytes] = []
        for first in range(0, len(pods), PAGE):
            names = [self.keys.goodbye(*pod) for pod in pods[first : first + PAGE]]
            said = self.link.call("MGET", *names)
            found += [raw for raw in said if isinstance(raw, bytes) and raw]
        return found

    def strike(self, workers: Sequence[str | bytes]) -> None:
        """Take entries off the roster: after a goodbye, an attestation, or a stop that is over.

        Args:
            workers: Each as `ID:INSTANCE`; one that no guard has written as the bytes that it is.
        """
        for first in range(0, len(workers), PAGE):
            self.link.call("ZREM", self.keys.fleet, *workers[first : first + PAGE])

    @usable("workers")
    def workers(self, fleet: Fleet | None = None) -> list[Presence]:
        """Return the roster of workers, each with its presence.

        Args:
            fleet: The roster, where it was read already.
        """
        pods = (fleet or self.fleet()).pods
        return self._presences([(n, i, self.keys.worker(n, i)) for n, i in pods])

    @usable("fleet")
    def fleet(self) -> Fleet:
        """Return the roster of workers.

        Each page begins with the last entry of the one before: when that is another by now, entries were
        struck meanwhile, some may have been skipped, and all of it is read again.
        """
        members: list[bytes] = []
        for _ in range(TRIES):
            members = []
            while len(members) <= MAX_FLEET:
                first = max(0, len(members) - 1)
                page = self.fleet_page(first, first + POD_PAGE)
                if members and (page[:1] != members[-1:] or len(page[0]) > LONGEST):
                    break
                members += page[1:] if members else page
                if len(page) <= POD_PAGE:
                    return _fleet(members, whole=True)
            else:
                break
        return _fleet(members[:MAX_FLEET], whole=False)

    def fleet_page(self, first: int, last: int) -> list[bytes]:
        """Return the entries of the roster of workers from one rank to another.

        One that is longer than `LONGEST` is cut, and struck where this login may do that: only the first
        look counts it, and has to wait for it.
        """
        try:
            # By its text: a stop waits for no second answer.
            page = scripts.run_text(
                self.link, "fleet", (self.keys.active,), self.keys.namespace, first, last, LONGEST
            )
        except StoreRefusedError as error:
            if not is_lasting(error):
                raise
            # An auditor's login runs no script.
            page = self.link.call("ZRANGE", self.keys.fleet, first, last)
        return all_bytes(page)

    @usable("heartbeats")
    def heartbeats(self) -> list[Presence]:
        """Return the roster of heartbeats, each with its presence.

        Without entries under what is no name: nobody can hold such a key. An instance of another form
        stays: it fails closed, for no receipt comes from it, and without it any process would do.
        """
        roster = pairs(self.link.call("HGETALL", self.keys.heartbeats))
        pods = [(name, text(raw)) for name, raw in sorted(roster.items()) if is_name(name)]
        return self._presences([(n, i, self.keys.heartbeat(n, i)) for n, i in pods])

    def _presences(self, pods: Sequence[tuple[str, str, str]]) -> list[Presence]:
        found: list[Presence] = []
        for first in range(0, len(pods), PAGE):
            page = pods[first : first + PAGE]
            commands = [
                command for *_, key in page for command in (("HMGET", key, *FIELDS), ("PTTL", key))
            ]
            replies = self.link.pipeline(commands)
            found += [
                parse_presence(name, instance, said, pttl)
                for (name, instance, _), said, pttl in zip(
                    page, replies[::2], replies[1::2], strict=True
                )
            ]
        return found


def is_name(text: str) -> bool:
    """Tell whether a worker or a heartbeat can be called so."""
    try:
        convert({"name": text}, _Named)
    except RecordError:
        return False
    return True


def _fleet(members: Sequence[bytes], *, whole: bool) -> Fleet:
    pods: list[tuple[str, str]] = []
    foreign: list[bytes] = []
    for member in members:
        # A byte that is no UTF-8 becomes a character that no name has.
        worker, _, instance = text(member).rpartition(":")
        if _is_pod(worker, instance):
            pods.append((worker, instance))
        else:
            foreign.append(member)
    return Fleet(pods, whole, tuple(foreign))


def _is_pod(name: str, instance: str) -> bool:
    """Tell whether a pod can be called so and have such an instance."""
    try:
        convert({"worker": name, "instance": instance}, _Member)
    except RecordError:
        return False
    return True
