"""`check_keys`: whether a key of the keyset is about to expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from golive_redis.records.keyset import Keyset
from golive_redis.records.report import Finding, Outcome

NAME = "check_keys"
# A week to replace a key in working hours, besides the term that is about to begin.
AHEAD_MS = 7 * 86_400_000


def check_keys(keyset: Keyset, now_ms: int, window_ms: int) -> Finding:
    """Look at the dates in the keyset; a key without one does not expire.

    Args:
        keyset: As pinned on this host.
        now_ms: Unix ms.
        window_ms: Length of the term that is about to begin.
    """
    ends = {key.principal: _end_ms(key.expires) for key in keyset.keys.values() if key.expires}
    until = now_ms + window_ms + AHEAD_MS
    late = sorted(name for name, at in ends.items() if at < until)
    gone = [name for name in late if ends[name] <= now_ms]
    days = {name: f"{(at - now_ms) / 86_400_000:.1f}" for name, at in sorted(ends.items())[:31]}
    explain = f"{len(keyset.keys)} keys, {len(ends)} with a date; none expires soon"
    if late:
        expired = f"expired: {', '.join(gone)}; " if gone else ""
        explain = f"{expired}about to expire: {', '.join(late)}; make new keys: `golive keys new`"
    return Finding(
        check=NAME,
        outcome=Outcome.FAIL if late else Outcome.PASS,
        explain=explain[:500],
        facts={f"days_left_{name}": left for name, left in days.items()},
    )


def _end_ms(day: str) -> int:
    """Return the Unix ms of the end of a day, UTC."""
    end = datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
    return int(end.timestamp() * 1000)
