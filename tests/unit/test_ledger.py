"""The ledger: an entry cannot change, move, appear or go without the heads telling."""

from __future__ import annotations

import pytest

from golive_redis.records.ledger import GENESIS, Entry, extend, first_break
from golive_redis.testing import Signers

SIGNERS = Signers()
RAWS = [
    SIGNERS.grant(),
    SIGNERS.restriction(2),
    SIGNERS.restriction(3, "reduce"),
    SIGNERS.revocation(4),
]


def chain(raws: list[bytes], head: str = GENESIS) -> list[Entry]:
    entries = []
    for raw in raws:
        head = extend(head, raw)
        entries.append(Entry(raw, head))
    return entries


GOOD = chain(RAWS)


def test_a_whole_ledger_has_no_break() -> None:
    assert first_break(GOOD) is None
    assert first_break([]) is None


@pytest.mark.parametrize("index", range(len(GOOD)))
def test_an_edited_entry_is_named(index: int) -> None:
    """Row 42 (the chain's part): edited."""
    entries = list(GOOD)
    entries[index] = Entry(RAWS[index] + b" ", GOOD[index].head)
    assert first_break(entries) == index


@pytest.mark.parametrize("index", range(len(GOOD) - 1))
def test_a_removed_entry_is_named_by_the_one_that_took_its_place(index: int) -> None:
    """Row 42: deleted, also at the front."""
    assert first_break([*GOOD[:index], *GOOD[index + 1 :]]) == index


def test_swapped_and_repeated_entries_are_named() -> None:
    """Row 42: reordered, duplicated by a retry."""
    first, second, third, fourth = GOOD
    assert first_break([first, third, second, fourth]) == 1
    assert first_break([first, second, second, third]) == 2


def test_an_edit_with_all_later_heads_made_anew_changes_the_last_head() -> None:
    forged = chain([RAWS[0], RAWS[1], RAWS[1], RAWS[3]])
    assert first_break(forged) is None
    assert forged[-1].head != GOOD[-1].head


def test_a_ledger_can_be_continued_from_a_known_head() -> None:
    assert first_break(GOOD[2:], start=GOOD[1].head) is None
    assert first_break(GOOD[2:], start=GOOD[0].head) == 0


def test_an_entry_cannot_pass_for_a_head() -> None:
    assert extend(GENESIS, RAWS[0]) != extend(GENESIS[:-1], b"0" + RAWS[0])
