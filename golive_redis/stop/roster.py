"""Who has to answer a stop: the rosters, who has left them, and who is taken off when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from golive_redis.core.barrier import Pod, Roster
from golive_redis.errors import RecordError, StoreError
from golive_redis.records.keyset import Role
from golive_redis.records.receipt import Stage
from golive_redis.records.trust import Trust
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.store import Store

LOOK_BACK = 2_000


def read_rosters(store: Store, say: Callable[[str], None] = lambda _: None) -> Roster:
    """Read who is on the rosters.

    Args:
        store: A connected store.
        say: Told in a sentence what was left out.

    Raises:
        StoreError: They cannot be read. Fails closed: without a roster nothing is complete.
    """
    processes = read_heartbeats(store)
    pods, whole, foreign = store.fleet()
    if foreign:
        say(left_out(len(foreign)))
    return Roster(frozenset(processes), frozenset(Pod(*pod) for pod in pods), processes, whole)


def left_out(foreign: int) -> str:
    """Say how many entries of the roster of workers no worker can have written."""
    what = "1 entry" if foreign == 1 else f"{foreign} entries"
    verb = "was" if foreign == 1 else "were"
    return f"{what} on the roster of workers {verb} written by no worker; left out"


def read_heartbeats(store: Store) -> dict[str, str]:
    """Read which process of each heartbeat registered last.

    Raises:
        StoreError: The roster cannot be read.
    """
    return {item.name: item.instance for item in store.heartbeats()}


def named_in_ledger(store: Store, trust: Trust, epoch: int) -> tuple[frozenset[str], int]:
    """Return whom the last term up to that epoch names (A1), and since when, as the ledger tells it.

    For a stop that is repeated where nothing is active any more.

    Raises:
        StoreError: The ledger cannot be read.
    """
    term, named, began_ms = 0, frozenset[str](), 0
    for entry in store.entries(LOOK_BACK):
        try:
            grant = trust.grant(entry.envelope).record
        except RecordError:
            continue
        if grant.epoch <= epoch and grant.term >= term:
            named = (named if grant.term == term else frozenset()) | frozenset(grant.heartbeats)
            term, began_ms = grant.term, grant.activated_at_ms
    return named, began_ms


def farewells(store: Store, trust: Trust, names: frozenset[str], since_ms: int) -> frozenset[str]:
    """Return which of these heartbeats have left with a signed goodbye since then, and stayed away.

    A heartbeat that has said goodbye has given its term up on disk, so no stop waits for it, until it
    joins the term again: then it says so in the ledger before its first beat.

    Raises:
        StoreError: The ledger cannot be read. Fails closed: a heartbeat not known to have left is
            waited for.
    """
    last: dict[str, str] = {}
    for entry in store.entries(LOOK_BACK) if names else ():
        try:
            note = trust.note(entry.envelope, Role.HEARTBEAT).record
        except RecordError:
            continue
        if note.topic in {"goodbye", "joined"} and note.issued_at_ms >= since_ms:
            last[note.by] = note.topic
    return frozenset(name for name in names if last.get(name) == "goodbye")


def goodbyes(store: Store, trust: Trust, pods: Iterable[Pod]) -> frozenset[Pod]:
    """Return which of these workers have left with a signed goodbye (A4).

    Where that may not be read nobody has: whoever is not known to have left is waited for.
    """
    found = set()
    try:
        raws = store.goodbyes([(pod.worker, pod.instance) for pod in sorted(pods)])
    except StoreRefusedError:
        raws = []
    for raw in raws:
        try:
            receipt = trust.receipt(raw).record
        except RecordError:
            continue
        if receipt.stage is Stage.LEFT:
            found.add(Pod(receipt.worker or "", receipt.instance))
    return frozenset(found)


def strike(store: Store, pods: Iterable[Pod]) -> None:
    """Take processes off the roster of workers; one that lives registers again at its next read."""
    try:
        store.strike([f"{pod.worker}:{pod.instance}" for pod in sorted(pods)])
    except StoreError:
        return  # they stay, and are struck another time
