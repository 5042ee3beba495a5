"""What is true for orders now, in one sentence, and what is not as it should be.

The state that stands in Redis is one thing; whether an order leaves is another: without a heartbeat, or
without a worker that is armed, LIVE trades nothing. Pure: everything is an argument.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from golive_redis.core.barrier import Result
from golive_redis.core.timing import Timing, bound_in_words, in_words
from golive_redis.operator.fleet import Active, HeartbeatStatus, Revoked, WorkerStatus
from golive_redis.stop.memory import Lack
from golive_redis.store.place import WHICH_STORE
from golive_redis.store.presence import lacking, listed

SOON_MS = 15 * 60_000
_NOTHING = "nothing is active"
_WORDS = {"live": "LIVE", "reduce_only": "REDUCE ONLY", "halted": "HALTED"}


class Outlook(msgspec.Struct, frozen=True):
    """See `FleetStatus`."""

    headline: str
    problems: list[str]
    armed: int


class Ended(msgspec.Struct, frozen=True):
    """A term that no stop has ended.

    Attributes:
        term: Its number.
        not_after_ms: End of its window, Unix ms; None when it is not known here.
    """

    term: int
    not_after_ms: int | None


class Seen(msgspec.Struct, frozen=True):
    """What one look has shown.

    Attributes:
        state: As in `FleetStatus`.
        at_ms: When that was, Unix ms.
        behind: What the store lacks that this host knows; None when that is nothing.
        ended: A term that was in force after the last stop and is not any more.
    """

    state: str
    active: Active | None
    revoked: Revoked | None
    heartbeats: Sequence[HeartbeatStatus]
    workers: Sequence[WorkerStatus]
    refused: Sequence[str]
    at_ms: int
    behind: Lack | None = None
    ended: Ended | None = None


def judge(seen: Seen, timing: Timing) -> Outlook:
    """Say what one look means for orders.

    Args:
        seen: What it has shown.
        timing: The timers of the fleet.

    Fails closed: whoever was not heard for longer than its permission can last is not counted.
    """
    armed = sum(item.state == "armed" for item in seen.workers)
    silence_ms = _silence_ms(seen, timing)
    return Outlook(_headline(seen, armed, silence_ms, timing), _problems(seen, silence_ms), armed)


def late_ms(timing: Timing) -> int:
    """Return after which silence a heartbeat is said to be silent: two beats and their answers."""
    return 2 * (timing.beat_every_ms + timing.timeout_ms)


def _silence_ms(seen: Seen, timing: Timing) -> float | None:
    """Return for how long no heartbeat has beaten: 0 while one does, None when that is not known."""
    if any(item.state == "beating" for item in seen.heartbeats):
        return 0.0
    # What is heard and does not beat has said so itself: its last beat is older than its last word.
    ages = [
        float(item.heard_ms)
        for item in seen.heartbeats
        if item.heard_ms is not None and item.heard_ms > late_ms(timing)
    ]
    ages += [
        max(0.0, seen.at_ms - item.beat_at_ms)
        for item in seen.heartbeats
        if item.beat_at_ms is not None
    ]
    return min(ages, default=None)


def _headline(seen: Seen, armed: int, silence_ms: float | None, timing: Timing) -> str:
    still = f"{armed} of {_count(seen.workers, 'worker')}"
    if seen.state == "refused":
        then = f"; {still} say that they can trade" if armed else "; nobody can trade"
        return f"REFUSED: something in Redis does not verify here{then}"
    if seen.state == "unknown":
        then = f"; {still} there say that they can trade" if armed else ""
        lacks = "this Redis lacks something" if seen.behind is None else seen.behind.in_words()
        return f"UNKNOWN: {lacks}{then}"
    if seen.state == "off" or seen.active is None:
        why = "its window is over" if seen.active is not None or _closed_by_time(seen) else _NOTHING
        if not armed:
            return f"OFF: {why}"
        within = bound_in_words(timing.lease_ms)
        return f"OFF: {why}, but {still} are still armed, for at most {within}"
    word = _WORDS[seen.state] + _less(seen.active, seen.state)
    if not armed:
        return f"{word}, but nobody can trade: {_why_nobody(seen, silence_ms)}"
    does = {
        "live": "can trade",
        "reduce_only": "may only take risk off",
        "halted": "may only cancel",
    }
    headline = f"{word}: {still} {does[seen.state]}"
    if silence_ms == 0.0:
        return headline
    since = _since(silence_ms)
    left_ms = timing.beat_ms - (silence_ms or 0.0)
    return f"{headline}, for at most {bound_in_words(left_ms)} more: {since}"


def _closed_by_time(seen: Seen) -> bool:
    until_ms = None if seen.ended is None else seen.ended.not_after_ms
    return until_ms is not None and seen.at_ms >= until_ms


def _less(active: Active, state: str) -> str:
    """Say what is restricted for some orders beside what holds for all."""
    some = [item.kind for item in active.restrictions if item.labels]
    kinds = Counter("halt" if kind == "halt" else "reduction" for kind in some)
    if not kinds or state == "halted":
        return ""
    return " with " + " and ".join(_times(count, kind) for kind, count in sorted(kinds.items()))


def _why_nobody(seen: Seen, silence_ms: float | None) -> str:
    if not seen.workers:
        return "no worker is there"
    if silence_ms != 0.0:
        return "no heartbeat is there" if not seen.heartbeats else _since(silence_ms)
    heard = [item for item in seen.workers if item.alive]
    if not heard:
        return f"none of {_count(seen.workers, 'worker')} was heard for 10 s"
    reason = Counter(item.reason for item in heard).most_common(1)[0][0]
    return f"none of {_count(seen.workers, 'worker')} is armed ({reason})"


def _since(silence_ms: float | None) -> str:
    if silence_ms is None:
        return "no heartbeat beats for this term"
    return f"no heartbeat for {in_words(silence_ms)}"


def _problems(seen: Seen, silence_ms: float | None) -> list[str]:
    out = list(seen.refused)
    if seen.behind is not None:
        out.append(seen.behind.in_words() if seen.state != "unknown" else WHICH_STORE)
    if seen.revoked is not None:
        out += _unfinished(seen.revoked, seen.active, behind=seen.behind is not None)
    if seen.state == "off" and seen.ended is not None and not _closed_by_time(seen):
        out.append(
            f"term {seen.ended.term} ended without a stop: no heartbeat beat, or its key was removed"
        )
    active = seen.active
    if active is not None:
        if active.pttl_ms < 0:
            out.append("the key in Redis does not run out by itself: somebody changed it")
        out += [
            f"heartbeat {item.name}: {item.state}, {item.reason}"
            for item in seen.heartbeats
            if item.state != "beating"
        ]
        if silence_ms != 0.0 and active.pttl_ms > 0:
            within = in_words(active.pttl_ms)
            out.append(
                f"a heartbeat that crashed goes on with the term when it is started within {within}; "
                "else `golive revoke`, then activate"
            )
        out += _closed(seen.workers)
        left_ms = active.not_after_ms - seen.at_ms
        if 0 < left_ms < SOON_MS:
            out.append(f"the window ends in {in_words(left_ms)}")
    for item in seen.workers:
        if item.unreadable:
            out.append(f"worker {item.id}: cannot be read: {', '.join(item.unreadable)}")
    out += _forked(seen.workers)
    out += lacking(
        [
            *((f"heartbeat {item.name}", item.lacks) for item in seen.heartbeats),
            *((f"worker {item.id}", item.lacks) for item in seen.workers),
        ]
    )
    return out


def _unfinished(stop: Revoked, active: Active | None, *, behind: bool) -> list[str]:
    """Say what the last stop has left open."""
    last = f"the last stop (epoch {stop.epoch})"
    if stop.result is Result.NOT_CONFIRMED:
        what = "is not known there to be confirmed" if behind else "is NOT CONFIRMED"
        # A blind one may have answers that do not count (A2), and then is not finished by that.
        then = "says what is missing" if stop.blind else "finishes it"
        return [f"{last} {what}: `golive revoke` {then}"]
    if stop.result is Result.STOPPED and active is None:
        held = "what was in flight may have been sent"
        return [f"{last} ended STOPPED, not COMPLETE: {held}; look at the venue"]
    return []


def _forked(workers: Sequence[WorkerStatus]) -> list[str]:
    """Say whose forked children are denied: their parent may look well."""
    asked = [item for item in workers if item.forked]
    if not asked:
        return []
    children = sum(item.forked for item in asked)
    were = "1 forked child was" if children == 1 else f"{children} forked children were"
    who = listed(item.id for item in asked)
    return [f"{were} denied, for the guard of {who} is their parent's: open one in each child"]


def _closed(workers: Sequence[WorkerStatus]) -> list[str]:
    """Name the workers that are not armed, together where it is the same with them."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in workers:
        if item.state != "armed":
            # How long it is silent differs from one to the next; lapsed says lapsed.
            known = item.state in {"silent", "gone", item.reason}
            reason = "" if known else item.reason
            groups[item.state, reason].append(item.id)
    return [
        f"{_count(names, 'worker')} {state}{f' ({reason})' if reason else ''}: {listed(names)}"
        for (state, reason), names in sorted(groups.items())
    ]


def _count(items: Sequence[object], word: str) -> str:
    return _times(len(items), word)


def _times(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
