"""The witness's verdict: what the venue accepted, held against what nobody may have sent.

Pure functions. All instants are CLOCK_MONOTONIC in ns. A ban says that from one instant to another
orders of some kind cannot be accepted; each follows from one bound of the protocol and from an event
that the soak itself brought about.

The venue accepts everything and stamps it. The witness is the acceptor that the protocol asks for, who
checks a permit's `until_ms`: a worker that is frozen between its check and the send holds an order in
its hand that no switch can take back, and only the acceptor can refuse (row 30). Those are counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec


class Accept(msgspec.Struct, frozen=True):
    """One order as the venue stamped it."""

    worker: str
    symbol: str
    at_ns: int
    at_ms: int
    fence: int | None
    until_ms: int | None

    @property
    def stale(self) -> bool:
        """True when an acceptor that checks the permit refuses it."""
        return self.until_ms is not None and self.at_ms > self.until_ms


class Ban(msgspec.Struct, frozen=True):
    """What cannot be accepted between two instants.

    Attributes:
        why: The bound it follows from.
        from_ns: The bound itself.
        until_ns: When the event ended that it follows from.
        workers: Whose orders; None means everybody's.
        symbol: Which; None means all.
        epoch: Orders under a permit of up to this epoch; None means under any.
    """

    why: str
    from_ns: int
    until_ns: int
    workers: frozenset[str] | None = None
    symbol: str | None = None
    epoch: int | None = None

    def holds(self, accept: Accept) -> bool:
        """Tell whether that order should not have been accepted."""
        return (
            self.from_ns < accept.at_ns < self.until_ns
            and (self.workers is None or accept.worker in self.workers)
            and self.symbol in {None, accept.symbol}
            and (self.epoch is None or (accept.fence or 0) <= self.epoch)
        )


class Verdict(msgspec.Struct, frozen=True):
    """What the witness has to say.

    Attributes:
        accepted: Orders of guarded workers that an acceptor takes.
        stale: Orders that it refuses, because their permit had run out on the way.
        late: Orders that no bound allows, each with the ban.
        workers: How many workers had an order accepted.
        tried: Bans during which the control had an order accepted: the venue was open.
    """

    accepted: int
    stale: int
    late: tuple[tuple[Ban, Accept], ...]
    workers: int
    tried: int


def parse_journal(lines: Iterable[str]) -> list[Accept]:
    """Read the venue's journal; a last line that is not whole does not count."""
    out = []
    for line in lines:
        if line.endswith("\n"):
            entry = json.loads(line)
            out.append(Accept(**{name: entry[name] for name in Accept.__struct_fields__}))
    return out


def judge(accepts: Sequence[Accept], bans: Sequence[Ban], control: str) -> Verdict:
    """Hold every accepted order against every ban."""
    guarded = [accept for accept in accepts if accept.worker != control]
    fresh = [accept for accept in guarded if not accept.stale]
    late = tuple((ban, accept) for ban in bans for accept in fresh if ban.holds(accept))
    free = [accept.at_ns for accept in accepts if accept.worker == control]
    tried = sum(any(ban.from_ns < at < ban.until_ns for at in free) for ban in bans)
    return Verdict(
        accepted=len(fresh),
        stale=len(guarded) - len(fresh),
        late=late,
        workers=len(Counter(accept.worker for accept in fresh)),
        tried=tried,
    )
