"""What befell a process that an auditor wants to read of: collected by itself, in small numbers.

A worker may not write to the ledger. So it states the last of its incidents in its presence, each with
a number of its own, and a heartbeat notes them; a heartbeat states its own in the same way. By process
and number an incident is recognised, whoever notes it and however often it is read.

`Incidents` collects; `Lapses` and `SkipBursts` say what is one. Times are Unix ms of that process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from itertools import count
from typing import Annotated

import msgspec

from golive_redis.core.permit import Reason
from golive_redis.errors import RecordError
from golive_redis.records.record import (
    MAX_INT,
    Count,
    Epoch,
    Ms,
    Strict,
    convert,
    decodable,
    parse_json,
)

MAX_INCIDENTS = 16
"""So many are stated, the newest. A heartbeat looks once a second."""
MAX_BYTES = 8 * 1024
MAX_COUNTS = 24
MAX_TEXT = 160
MAX_FRESH = 1_000
SECURITY_EVERY_MS = 60_000
"""Of what is refused, one incident of each kind in that time: whoever offers it could flood."""
QUIET_MS = 60_000
"""A burst of skipped orders is over when none was skipped for so long."""
BURST_MS = 900_000
"""At most one burst is stated in that time."""


class What(StrEnum):
    """The kinds, each of which is the topic of its note, too."""

    LAPSE = "lapse"
    HEAL = "heal"
    LOCAL_KILL = "local-kill"
    SKIPS = "skips"
    SECURITY = "security"
    EARLY_WARNING = "early-warning"


class Refused(StrEnum):
    """Kinds of security incidents."""

    RECORD = "refused-record"  # a signature, a signer or a form that we refuse
    REPLAY = "replay"  # what was true once, and was put back
    WRONG_TYPE = "wrong-type"  # a key in Redis of another type than ours
    TERM = "refused-term"  # a verified activation that the rules of haste forbid


Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]


@decodable
class Incident(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One incident.

    Attributes:
        n: Its number in this process, from 1.
        what: Its kind.
        at_ms: When it happened, or ended.
        why: A stable word: the reason of a lapse or a heal, the kind of what was refused, a trigger.
        text: A sentence, or "".
        term: Of which term, 0 for none.
        from_ms: When it began; 0 for what has no length.
        counts: How many of what: skipped orders by reason, refused records.
    """

    n: Epoch
    what: What
    at_ms: Ms
    why: Word
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] = ""
    term: Count = 0
    from_ms: Ms = 0
    counts: Annotated[dict[Word, Count], msgspec.Meta(max_length=MAX_COUNTS)] = {}


class Incidents:
    """The incidents of one process: added by any thread without a lock, stated by one.

    Attributes:
        told: The last of them as JSON, oldest first; "" before the first.
    """

    def __init__(self) -> None:
        self.told = ""
        self._numbers = count(1)
        # Between the threads: appending is atomic, and a signal handler may interrupt anything.
        self._fresh: deque[Incident] = deque(maxlen=MAX_FRESH)
        self._refused: deque[tuple[str, str, int]] = deque(maxlen=MAX_FRESH)
        self._pending: dict[str, _Pending] = {}
        self._kept: deque[tuple[Incident, bytes]] = deque(maxlen=MAX_INCIDENTS)

    def add(
        self,
        what: What,
        why: str,
        at_ms: float,
        *,
        text: str = "",
        term: int = 0,
        from_ms: float = 0,
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Add one; takes no lock."""
        self._fresh.append(
            Incident(
                n=next(self._numbers),
                what=what,
                at_ms=int(at_ms),
                why=why,
                text=_line(text),
                term=term,
                from_ms=int(from_ms),
                counts=_most(counts or {}),
            )
        )

    def refused(self, why: str, text: str, at_ms: float) -> None:
        """Count something that was refused; takes no lock."""
        self._refused.append((why, text, int(at_ms)))

    def turn(self, now_ms: float) -> None:
        """Take in what was added since the last turn; on one thread."""
        while self._refused:
            why, text, at_ms = self._refused.popleft()
            self._pending.setdefault(why, _Pending()).add(text, at_ms)
        for why, pending in self._pending.items():
            if pending.count and now_ms - pending.stated_ms >= SECURITY_EVERY_MS:
                counts = {"count": pending.count}
                self.add(
                    What.SECURITY,
                    why,
                    pending.last_ms,
                    text=pending.text,
                    from_ms=pending.first_ms,
                    counts=counts,
                )
                self._pending[why] = _Pending(now_ms)
        if not self._fresh:
            return
        while self._fresh:
            incident = self._fresh.popleft()
            self._kept.append((incident, msgspec.json.encode(incident)))
        while sum(len(raw) + 1 for _, raw in self._kept) > MAX_BYTES:
            self._kept.popleft()
        self.told = "[" + ",".join(raw.decode() for _, raw in self._kept) + "]"


class _Pending:
    """What was refused and is not stated yet, of one kind."""

    def __init__(self, stated_ms: float = -SECURITY_EVERY_MS) -> None:
        self.stated_ms = stated_ms
        self.count = 0
        self.first_ms = self.last_ms = 0
        self.text = ""

    def add(self, text: str, at_ms: int) -> None:
        self.first_ms = self.first_ms if self.count else at_ms
        self.count += 1
        self.last_ms, self.text = at_ms, text


_HEALS = frozenset(
    {
        Reason.LAPSED,
        Reason.STORE_UNREACHABLE,
        Reason.ANSWER_MISMATCH,
        Reason.STORE_CORRUPT,
        Reason.RECORD_REFUSED,
        Reason.TTL_INVALID,
        Reason.STATE_BEHIND,
        Reason.CLOCK_ANOMALY,
        Reason.DEFECT,
    }
)
"""For these a guard closes that was armed, without anybody having stopped it, and may open again."""


class Lapses:
    """Finds lapses and heals in what a guard looks like from one look to the next.

    Args:
        incidents: Where they are added.
    """

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self._armed = False
        self._term = 0
        self._lapsed: tuple[float, str] | None = None

    def look(self, *, armed: bool, reason: str, term: int, since_ms: float) -> None:
        """Compare with the last look.

        Args:
            armed: It permits orders.
            reason: Why not.
            term: That it knows of, 0 for none.
            since_ms: Since when it has been so, as far as it is known.
        """
        if armed:
            if self._lapsed is not None and term == self._term:
                from_ms, why = self._lapsed
                self._incidents.add(What.HEAL, why, since_ms, term=term, from_ms=from_ms)
            self._armed, self._term, self._lapsed = True, term, None
        elif self._armed:
            self._armed = False
            if reason in _HEALS:
                self._lapsed = since_ms, reason
                self._incidents.add(What.LAPSE, reason, since_ms, term=self._term)
        elif self._lapsed is not None and reason == Reason.REVOKED:
            self._lapsed = None  # it was stopped meanwhile: what arms it next is another term


class SkipBursts:
    """Finds bursts of skipped orders in their counts.

    Args:
        incidents: Where they are added.
    """

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents
        self._before: dict[str, int] = {}
        self._total = 0
        self._from_ms = self._last_ms = 0.0
        self._stated_ms = -float(BURST_MS)

    def look(self, counts: Mapping[str, int], now_ms: float) -> None:
        """Take in the counts since the process began.

        Args:
            counts: Skipped orders by reason.
            now_ms: When they were counted.
        """
        total = sum(counts.values())
        if total > self._total:
            self._from_ms = self._from_ms or now_ms
            self._last_ms, self._total = now_ms, total
        if not self._from_ms or now_ms - self._stated_ms < BURST_MS:
            return
        if now_ms - self._last_ms >= QUIET_MS or now_ms - self._from_ms >= BURST_MS:
            self._state(counts, now_ms)

    def end(self, counts: Mapping[str, int], now_ms: float) -> None:
        """State what is left: the process ends."""
        self._total = sum(counts.values())
        if any(number > self._before.get(why, 0) for why, number in counts.items()):
            self._from_ms, self._last_ms = self._from_ms or now_ms, self._last_ms or now_ms
            self._state(counts, now_ms)

    def _state(self, counts: Mapping[str, int], now_ms: float) -> None:
        news = {
            why: number - self._before.get(why, 0)
            for why, number in counts.items()
            if number > self._before.get(why, 0)
        }
        most = max(news, key=lambda why: news[why])
        self._incidents.add(
            What.SKIPS, most, self._last_ms, from_ms=self._from_ms, counts=dict(news)
        )
        self._before, self._stated_ms = dict(counts), now_ms
        self._from_ms = 0.0


def parse(raw: bytes) -> list[Incident]:
    """Return the incidents that a presence states.

    One of a kind that this version does not know is left out: a later one wrote it.

    Raises:
        RecordError: It is no list of incidents.
    """
    stated = parse_json(raw, MAX_BYTES + 2)
    if not isinstance(stated, list) or len(stated) > MAX_INCIDENTS:
        raise RecordError("no list of incidents")
    found = []
    for item in stated:
        if isinstance(item, dict) and item.get("what") not in set(What):
            continue
        found.append(convert(item, Incident))
    return found


def _line(text: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in text)[:MAX_TEXT]
    return shown.encode(errors="replace").decode()


def _most(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the largest counts; what does not fit is one of its own."""
    if len(counts) <= MAX_COUNTS:
        return dict(counts)
    order = sorted(counts, key=lambda why: -counts[why])
    first, rest = order[: MAX_COUNTS - 1], order[MAX_COUNTS - 1 :]
    others = min(MAX_INT, sum(counts[why] for why in rest))
    return {why: counts[why] for why in first} | {"others": others}
