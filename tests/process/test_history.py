"""What our own ledger tells a check: days on which a profile was signed for, days without a trigger."""

from __future__ import annotations

from pathlib import Path

import pytest

from golive_redis import clock
from golive_redis.audit.counting import DAY_MS
from golive_redis.checks.question import LedgerSource, LedgerValue
from golive_redis.checks.source import Surroundings, UnansweredError
from golive_redis.checks.sources import ledger
from golive_redis.errors import RecordError
from golive_redis.records.directive import Profile
from golive_redis.store.connect import Address
from golive_redis.testing import Signers
from golive_redis.testing.server import EmbeddedServer
from golive_redis.testing.signers import EVERYBODY
from kit.ledgers import Book, chained, put

SIGNERS = Signers(approvals=2, version=9)


@pytest.fixture
def address(any_server: EmbeddedServer) -> Address:
    return Address(any_server.url)


def tells(
    address: Address,
    value: str,
    profile: str = "micro",
    *,
    state: Path | None = None,
    signers: Signers = SIGNERS,
) -> int:
    source = LedgerSource(value=LedgerValue(value), profile=Profile(profile))
    where = Surroundings(Path(), {}, address, trust=signers.trust, state_dir=state)
    found = ledger.fetch(source, where, 60_000).value
    assert isinstance(found, int)
    return found


def ago(days: float) -> int:
    """An instant so many days before now, and a few minutes, so that a full day is one."""
    return round(clock.wall_ms() - days * DAY_MS - 600_000)


def kept(any_server: EmbeddedServer, book: Book) -> None:
    with any_server.client() as raw:
        book.put(raw)


def test_an_empty_ledger_tells_of_no_days(address: Address) -> None:
    assert tells(address, "active_days") == 0
    assert tells(address, "quiet_days") == 0


def test_days_on_which_the_profile_or_a_bigger_one_was_signed_for_are_counted(
    address: Address, any_server: EmbeddedServer
) -> None:
    noon = ago(0) // DAY_MS * DAY_MS + DAY_MS // 2
    book = Book(SIGNERS)
    for days, profile in [
        (9, "micro"), (8, "micro"), (8, "small"), (3, "small"), (2, "large"), (1, "micro")
    ]:  # fmt: skip
        book.at_ms = max(book.at_ms if book.entries else 0, noon - days * DAY_MS)
        book.activate(profile=Profile(profile))
        book.halt()
        book.revoke()
    kept(any_server, book)
    assert tells(address, "active_days") == 5
    assert tells(address, "active_days", "small") == 3
    assert tells(address, "active_days", "large") == 1


def test_a_ledger_with_a_grant_that_too_few_signed_tells_nothing(
    address: Address, any_server: EmbeddedServer
) -> None:
    book = Book(SIGNERS, ago(1))
    book.activate(by="alice")
    kept(any_server, book)
    with pytest.raises(RecordError, match="1 of 2 approver signatures"):
        tells(address, "active_days")


def test_a_grant_of_a_keyset_that_is_gone_counts_when_this_one_verifies_it(
    address: Address, any_server: EmbeddedServer
) -> None:
    now = Signers(approvals=2, version=8)
    book = Book(Signers({**EVERYBODY, "dora": ("approver",)}, approvals=2, version=7), ago(2))
    book.activate()
    book.at_ms += DAY_MS
    book.activate(by=("alice", "dora"))
    kept(any_server, book)
    assert tells(address, "active_days", signers=now) == 1


def test_days_are_quiet_since_a_trigger_last_acted(
    address: Address, any_server: EmbeddedServer
) -> None:
    book = Book(SIGNERS, ago(30))
    book.activate()
    kept(any_server, book)
    assert tells(address, "quiet_days") == 30
    book.at_ms = ago(20)
    book.revoke(reason="end of the day")
    kept(any_server, book)
    assert tells(address, "quiet_days") == 30  # people may stop as often as they like
    book.at_ms = ago(12)
    book.note("trigger")
    kept(any_server, book)
    assert tells(address, "quiet_days") == 12
    book.at_ms = ago(5)
    book.halt(reason="trigger drawdown: 2.1, wanted at_most 2")
    kept(any_server, book)
    assert tells(address, "quiet_days") == 5
    book.at_ms = ago(0.5)
    book.revoke(reason="trigger ess: true")
    kept(any_server, book)
    assert tells(address, "quiet_days") == 0


def test_a_ledger_of_many_pages_is_judged_as_far_as_time_allows_and_gone_on_with(
    address: Address, any_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SHARE", 0.0)  # time for one page only
    book = Book(SIGNERS, ago(3))
    book.activate()
    for _ in range(1_100):  # one page is a thousand
        book.note()
    book.at_ms = ago(1)
    book.activate()
    kept(any_server, book)
    with pytest.raises(
        UnansweredError, match="1000 entries were judged in time, which is remembered"
    ):
        tells(address, "active_days", state=tmp_path)
    assert tells(address, "active_days", state=tmp_path) == 2
    # What was judged is not judged again: its keys may be gone.
    assert tells(address, "active_days", state=tmp_path) == 2


@pytest.mark.parametrize("harm", ["dropped", "anew", "changed", "twice", "cut", "emptied"])
def test_a_ledger_that_somebody_changed_tells_nothing(
    address: Address, any_server: EmbeddedServer, tmp_path: Path, harm: str
) -> None:
    book = Book(SIGNERS, ago(1))
    book.activate()
    book.halt()
    book.note()
    book.resume()
    book.note("joined")
    kept(any_server, book)
    assert tells(address, "active_days", state=tmp_path) == 1
    entries = list(book.entries)
    match harm:
        case "dropped":
            del entries[2]
        case "anew":
            del entries[2]
            entries = chained(entries)
        case "changed":
            other = Book(SIGNERS, ago(1))
            other.activate(profile=Profile.LARGE)
            entries = chained([*other.entries, *entries[len(other.entries) :]])
        case "twice":
            entries = chained([*entries, entries[3]])
            entries[-1] = type(entries[-1])(entries[-1].envelope, entries[-1].head, f"{ago(0)}-0")
        case "cut":
            entries = entries[:-1]
        case _:
            entries = []
    with any_server.client() as raw:
        put(raw, entries)
    with pytest.raises(RecordError, match="the ledger is not good"):
        tells(address, "quiet_days", state=tmp_path)
    if harm in {"dropped", "anew", "twice"}:  # found by who has never seen it, too
        with pytest.raises(RecordError, match="the ledger is not good"):
            tells(address, "quiet_days")


def test_a_memory_that_cannot_be_written_costs_time_and_no_answer(
    address: Address, any_server: EmbeddedServer, tmp_path: Path
) -> None:
    book = Book(SIGNERS, ago(2))
    book.activate()
    kept(any_server, book)
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    assert tells(address, "active_days", state=no_folder) == 1
