"""Presence: what a pod says of itself on a roster, unsigned, parsed as strictly as what is signed.

Everybody who may write one key can write anything into it. So each field is held against its own form
here, once, and one that does not fit is left out and named: no field can end a command, take its time or
its memory, or be read as another number than it shows (`int("²")` raises, `int("٣")` does not).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.record import MAX_INT, Name, convert, parse_json
from golive_redis.store.keyspace import PRESENCE_MS
from golive_redis.store.link import Reply, StoreRefusedError

MAX_FIELD = 64 * 1024
MAX_LABELS = 2 * 1024
MAX_LACKS = 500
MAX_NAMED = 5
GONE = -2  # what PTTL says of a key that is not there

_Number = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,15})\Z")]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._+:-]{0,128}\Z")]
_Labels = dict[Name, Annotated[str, msgspec.Meta(max_length=128)]]
_NUMBERS = ("term", "epoch", "in_flight", "permits", "sent", "rejected", "skipped", "forked", "pid")
_WORDS = ("state", "durable", "push", "version", "policy")
FIELDS = (*_NUMBERS, *_WORDS, "reason", "lacks", "log", "host", "labels", "stated")
"""What is read of a presence: whatever else somebody wrote into one is not even fetched."""


class Presence(msgspec.Struct, frozen=True):
    """A roster entry with what the pod last said of itself; no fields once it is gone for 10 s.

    Each renewal gives a presence 10 s more. What has no end, or a later one, was written by no pod:
    it says what it says, but not that anybody is alive.

    Attributes:
        fields: Those that have the form they should have.
        heard_ms: How long ago it renewed them, by the server's clock; None when its end tells nothing of
            that.
        unreadable: Names of the fields that were left out.
    """

    name: str
    instance: str
    fields: Mapping[str, str]
    heard_ms: int | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """True when its presence has an end, and has not reached it."""
        return self.heard_ms is not None and bool(self.fields or self.unreadable)

    def number(self, name: str) -> int:
        """Return a field that is a number; 0 when it is not there."""
        return self.known(name) or 0

    def known(self, name: str) -> int | None:
        """Return a field that is a number; None when it is not there."""
        text = self.fields.get(name)
        return None if text is None else int(text)

    def labels(self) -> dict[str, str]:
        """Return the labels of a worker; none when they are not there."""
        text = self.fields.get("labels")
        return {} if text is None else _labels(text)


def parse_presence(name: str, instance: str, reply: Reply, pttl: Reply) -> Presence:
    """Return a roster entry; without fields when its presence has run out or is unreadable.

    Args:
        name: Of the pod.
        instance: Which process.
        reply: Its values of `FIELDS`.
        pttl: The remaining life of it in ms.
    """
    if isinstance(reply, StoreRefusedError) or pttl == GONE:
        return Presence(name, instance, {})
    fields: dict[str, str] = {}
    unreadable: list[str] = []
    for field, value in zip(FIELDS, reply, strict=True):
        if value is None:
            continue
        shown = _read(field, value)
        if shown is None:
            unreadable.append(field)
        else:
            fields[field] = shown
    return Presence(name, instance, fields, _heard_ms(pttl), tuple(sorted(unreadable)))


def _heard_ms(pttl: Reply) -> int | None:
    """Return how long ago a presence was renewed: each renewal gives it its whole life again."""
    # A little more than a whole life is another server's clock.
    if not isinstance(pttl, int) or not 0 <= pttl <= 2 * PRESENCE_MS:
        return None
    return max(0, PRESENCE_MS - pttl)


def _read(field: str, value: bytes) -> str | None:
    """Return a field as text, or None when it has not the form it should have."""
    if len(value) > MAX_FIELD:
        return None
    try:
        text = value.decode()
        if field in {"lacks", "log"} and len(text) > MAX_LACKS:
            return None
        if field in _NUMBERS:
            number = int(convert(text, _Number))
            return text if number <= MAX_INT else None
        if field == "labels":
            _labels(text)
            return text
        return convert(text, _Word) if field in _WORDS else text
    except (UnicodeDecodeError, RecordError):
        return None


def _labels(text: str) -> dict[str, str]:
    return dict(convert(parse_json(text.encode(), MAX_LABELS), _Labels))


def listed(names: Iterable[str], most: int = MAX_NAMED) -> str:
    """Name the first few pods: a sentence has to stay one."""
    found = sorted(set(names))
    more = len(found) - most
    return ", ".join(found[:most]) + (f" and {more} more" if more > 0 else "")


def lacking(pods: Iterable[tuple[str, str]]) -> list[str]:
    """Say whose logins lack which rights, together where it is the same.

    Args:
        pods: Name of each with what it lacks, "" for nothing.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name, lacks in pods:
        if lacks:
            groups[lacks].append(name)
    told = [f"the login of {listed(who)} may not: {what}" for what, who in sorted(groups.items())]
    more = len(told) - MAX_NAMED
    return told[:MAX_NAMED] + (
        [f"{more} more groups of pods lack other rights"] if more > 0 else []
    )
