"""How the ledger stands, for `status` and `doctor`: three cheap questions, and what this host has seen.

It judges no entry; that is `golive audit verify`. What is red here is red at once: a ledger that is
shorter than what was signed of it, a log with two histories, a heartbeat that refuses to sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from golive_redis.audit.beginning import Beginning, entries_now, of_stream
from golive_redis.audit.checkpoints import Held, LogReader
from golive_redis.audit.opening import Keysets
from golive_redis.audit.seen import CheckpointMemory, ForkedLogError, SeenCheckpoints
from golive_redis.config.auditing import LogSettings
from golive_redis.errors import ConfigError, RecordError, StoreError
from golive_redis.operator.fleet import LedgerStatus
from golive_redis.operator.session import Operator
from golive_redis.statefile import StateFileError
from golive_redis.store.presence import Presence

REFUSES, CANNOT = "refuses: ", "cannot: "
"""How the word of a heartbeat begins that signs no checkpoint (`heartbeat.publishing`)."""


def look(operator: Operator, heartbeats: Iterable[Presence]) -> LedgerStatus | None:
    """Look at the ledger and its checkpoint, and remember what witnesses have cosigned.

    None where this login may not look: that is no reason to say nothing else.
    """
    try:
        return _look(operator, heartbeats)
    except StoreError:
        return None


def _look(operator: Operator, heartbeats: Iterable[Presence]) -> LedgerStatus:
    said = [*_said(heartbeats)]
    try:
        settings = LogSettings.of(operator.config)
    except ConfigError as error:
        return LedgerStatus(operator.store.ledger_length(), problems=[error.message, *said])
    trust, store = operator.trust, operator.store
    keysets = Keysets(
        {trust.keyset.version: trust.keyset}, trust.namespace, trust.environment, True
    )
    begun = of_stream(store, keysets) or Beginning()
    policy = settings.of_generation(begun.generation).policy([trust.keyset])
    reader = LogReader.by(policy, [trust.keyset])
    note = store.checkpoint()  # first: it counts no more than the ledger has then
    entries, witnesses = entries_now(store, begun), len(settings.witnesses)
    held, seen, problems = _looked(operator, reader, note, begun.generation)
    if short := _shorter(entries, held, seen):
        problems.append(short)
    if held is None:
        return LedgerStatus(entries, witnesses=witnesses, problems=problems + said)
    return LedgerStatus(
        entries,
        held.size,
        held.by,
        list(held.cosigned),
        witnesses,
        held.met,
        held.time_s,
        problems + said,
    )


def _looked(
    operator: Operator, reader: LogReader, note: bytes, generation: int
) -> tuple[Held | None, SeenCheckpoints | None, list[str]]:
    """Return the checkpoint, what this host had seen before, and what is wrong with them."""
    memory = CheckpointMemory(operator.config.state_dir, operator.trust, generation)
    held: Held | None = None
    problems: list[str] = []
    if note:
        try:
            held = reader.read(note)
        except RecordError as error:
            problems.append(f"{operator.keyspace.checkpoint} is no checkpoint: {error.message}")
    try:
        if held is None:
            seen = memory.read()
        else:  # nothing is held against the ledger here
            seen = memory.see(held) if held.witnessed else memory.compare(held)
    except ForkedLogError as error:
        return held, None, [*problems, error.message]
    except StateFileError as error:
        return held, None, [*problems, f"the checkpoints that this host has seen: {error.message}"]
    return held, seen, problems


def _shorter(entries: int, held: Held | None, seen: SeenCheckpoints | None) -> str:
    counted = max(held.size if held is not None else 0, seen.size if seen is not None else 0)
    if entries >= counted:
        return ""
    return (
        f"the ledger has {entries:,} entries, and a checkpoint of {counted:,} was signed: its end is "
        "lost; `golive audit verify` says more"
    )


def _said(heartbeats: Iterable[Presence]) -> Iterator[str]:
    for item in heartbeats:
        word = item.fields.get("log", "")
        if item.alive and word.startswith(REFUSES):
            yield f"{item.name} refuses to sign the ledger: {word.removeprefix(REFUSES)}"
        elif item.alive and word.startswith(CANNOT):
            yield f"{item.name} signs no checkpoint: {word.removeprefix(CANNOT)}"
