"""What our own ledger tells: days on which a profile was signed for, and days without a trigger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.checks.question import LedgerSource, LedgerValue
from golive_redis.checks.source import Surroundings
from golive_redis.checks.sources.ledger import DAY_MS, fetch
from golive_redis.delivery import append as ledger
from golive_redis.errors import RecordError
from golive_redis.records.directive import Profile
from golive_redis.records.envelope import seal
from golive_redis.records.ledger import Note
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.store import Store
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer

SIGNERS = Signers(approvals=2)
Append = Callable[..., None]


@pytest.fixture
def address(any_server: EmbeddedServer) -> Address:
    return Address(any_server.url)


@pytest.fixture
def append(address: Address) -> Iterator[Append]:
    """Appends records to the ledger."""
    link = address.link(timeout_ms=2_000)
    link.open()
    store = Store(link, Keyspace("golive"))

    def add(*records: bytes) -> None:
        for record in records:
            ledger.append(store, record)

    yield add
    link.close()


def tells(address: Address, value: str, profile: str = "micro") -> int:
    source = LedgerSource(value=LedgerValue(value), profile=Profile(profile))
    where = Surroundings(Path(), {}, address, trust=SIGNERS.trust)
    found = fetch(source, where, 2_000).value
    assert isinstance(found, int)
    return found


def ago(days: float) -> int:
    """An instant so many days before now, and a few minutes, so that a full day is one."""
    return round(clock.wall_ms() - days * DAY_MS - 600_000)


def fired(days: float) -> bytes:
    """A trigger's note of so long ago."""
    fields: dict[str, Any] = {"topic": "trigger", "text": "ess fired", "facts": {}}
    note = Note(**SIGNERS.trust.heading("hb-1", ago(days)), **fields)
    return seal(note, SIGNERS.signers["hb-1"])


def test_an_empty_ledger_tells_of_no_days(address: Address) -> None:
    assert tells(address, "active_days") == 0
    assert tells(address, "quiet_days") == 0


def test_days_on_which_the_profile_or_a_bigger_one_was_signed_for_are_counted(
    address: Address, append: Append
) -> None:
    noon = ago(0) // DAY_MS * DAY_MS + DAY_MS // 2
    for epoch, (days, profile) in enumerate(
        [(9, "micro"), (8, "micro"), (8, "small"), (3, "small"), (2, "large"), (1, "micro")], 1
    ):
        at = noon - days * DAY_MS
        append(SIGNERS.grant(epoch, profile=Profile(profile), issued_at_ms=at))
    append(SIGNERS.restriction(9), SIGNERS.revocation(10), SIGNERS.beat())
    assert tells(address, "active_days") == 5
    assert tells(address, "active_days", "small") == 3
    assert tells(address, "active_days", "large") == 1


def test_a_grant_that_too_few_signed_is_not_counted(address: Address, append: Append) -> None:
    append(SIGNERS.grant(1, by="alice"), SIGNERS.grant(2, by=("alice", "rita")), b"no record")
    assert tells(address, "active_days") == 0


def test_days_are_quiet_since_a_trigger_last_acted(address: Address, append: Append) -> None:
    append(SIGNERS.grant(1, issued_at_ms=ago(30)))
    assert tells(address, "quiet_days") == 30
    append(SIGNERS.revocation(2, issued_at_ms=ago(20), reason="end of the day"))
    assert tells(address, "quiet_days") == 30  # people may stop as often as they like
    append(fired(12))
    assert tells(address, "quiet_days") == 12
    append(
        SIGNERS.restriction(
            3, issued_at_ms=ago(5), reason="trigger drawdown: 2.1, wanted at_most 2"
        )
    )
    assert tells(address, "quiet_days") == 5
    append(SIGNERS.revocation(4, issued_at_ms=ago(0.5), reason="trigger ess: true"))
    assert tells(address, "quiet_days") == 0


def test_a_ledger_of_many_pages_is_read_as_a_whole(address: Address, append: Append) -> None:
    store_pages = 1_100  # one page is a thousand
    append(SIGNERS.grant(1, issued_at_ms=ago(3)), *[b"entry %d" % n for n in range(store_pages)])
    append(SIGNERS.grant(2, issued_at_ms=ago(1)))
    assert tells(address, "active_days") == 2


@pytest.mark.parametrize("harm", ["dropped", "changed", "cut"])
def test_a_ledger_that_somebody_changed_tells_nothing(
    address: Address, append: Append, any_server: EmbeddedServer, harm: str
) -> None:
    append(SIGNERS.grant(1), fired(1), SIGNERS.grant(2, issued_at_ms=ago(2)))
    with any_server.client() as raw:
        ids = [key for key, _ in raw.xrange("golive:audit")]
        match harm:
            case "dropped":
                raw.xdel("golive:audit", ids[1])
            case "cut":
                raw.xdel("golive:audit", ids[2])
            case _:
                _, fields = raw.xrange("golive:audit")[2]
                raw.xdel("golive:audit", ids[2])
                raw.xadd("golive:audit", {**fields, b"r": SIGNERS.grant(3)})
    with pytest.raises(RecordError, match="ledger"):
        tells(address, "quiet_days")
