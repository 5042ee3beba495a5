"""The rules of the ledger, one by one: what breaks which, and which entry is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from golive_redis.audit.history import (
    CLOCKS_MS,
    KEPT,
    PRUNE_EACH,
    WINDOW_MS,
    BrokenLedgerError,
    Carry,
    Seen,
)
from golive_redis.audit.opening import Keysets
from golive_redis.audit.receipts import claimed_heads
from golive_redis.audit.verifying import Anchor, Judge, Verdict, judged
from golive_redis.core.timing import Haste
from golive_redis.errors import ConfigError
from golive_redis.records.approval import Answer, Execution, Said
from golive_redis.records.directive import Grant, GrantKind, Revocation
from golive_redis.records.envelope import decode, peek, seal
from golive_redis.records.keyset import parse_keyset
from golive_redis.records.ledger import GENESIS, Entry, extend
from golive_redis.records.rotation import draft
from golive_redis.testing import Signers
from golive_redis.testing.signers import EVERYBODY, START_MS, identity
from kit.ledgers import Book, chained, day, next_id

SIGNERS = Signers()
KEYSETS = Keysets.of([SIGNERS.keyset], "golive", "test")


def verdict(
    entries: list[Entry], keysets: Keysets = KEYSETS, anchors: tuple[Anchor, ...] = ()
) -> Verdict:
    judge = Judge(keysets, anchors=anchors)
    return judged(judge, [entries[at : at + 4] for at in range(0, len(entries), 4)], keysets)


def broken(entries: list[Entry], keysets: Keysets = KEYSETS) -> tuple[int, str]:
    found = verdict(entries, keysets).broken
    assert found is not None
    return found.index, found.rule


def end(entries: list[Entry]) -> Anchor:
    return Anchor(entries[-1].head, len(entries), "the auditor")


def test_a_ledger_as_the_product_writes_it_is_good() -> None:
    book = day(SIGNERS)
    found = verdict(book.entries)
    assert (found.broken, found.entries, found.terms, found.late) == (None, 13, 2, 0)
    assert found.keysets == (1, 1)
    assert not found.verified  # for nobody remembers its end
    found = verdict(book.entries, anchors=(end(book.entries),))
    assert found.verified
    assert (found.anchored, found.by) == (13, "the auditor")


def test_an_empty_ledger_is_good_and_protected_by_nobody() -> None:
    found = verdict([])
    assert (found.broken, found.anchored, found.head) == (None, None, GENESIS)


def test_v1_an_entry_has_two_fields_and_no_others() -> None:
    entries = list(day(SIGNERS).entries)
    entries[3] = Entry(entries[3].envelope, entries[3].head, entries[3].id, ("note",))
    assert broken(entries) == (3, "V1")
    entries[3] = Entry(b"", entries[3].head, entries[3].id)
    assert broken(entries) == (3, "V1")


def test_v2_an_entry_that_is_edited_removed_or_moved_breaks_the_chain_there() -> None:
    good = day(SIGNERS).entries
    edited = list(good)
    edited[2] = Entry(good[3].envelope, good[2].head, good[2].id)
    assert broken(edited) == (2, "V2")
    assert broken([*good[:5], *good[6:]]) == (5, "V2")
    assert broken([*good[:2], good[3], good[2], *good[4:]]) == (2, "V2")
    found = verdict(list(good[5:])).broken
    assert found is not None
    assert "what stood before it is not here" in found.message
    head = extend(good[-1].head, good[0].envelope)
    assert broken([*good, Entry(good[0].envelope, head, "1-0")]) == (
        13,
        "V2",
    )  # an id that is lower


def test_v3_an_entry_is_signed_as_its_kind_demands() -> None:
    book = day(SIGNERS)
    raw = SIGNERS.grant(book.epoch + 1, by="rita", issued_at_ms=book.at_ms, prev=book.prev)
    book.add(raw)
    assert broken(book.entries) == (13, "V3")
    changed = book.entries[2].envelope.replace(b'"sig":"', b'"sig":"A', 1)
    entries = chained([*book.entries[:2], Entry(changed, "", book.entries[2].id)])
    assert broken(entries) == (2, "V3")


def test_v3_a_record_is_judged_by_the_keyset_that_it_names_and_by_no_other() -> None:
    book = day(SIGNERS)
    without = {name: roles for name, roles in EVERYBODY.items() if name != "alice"}
    later = Signers({**without, "carol": ("approver",)}, version=2)
    book.signers = later
    book.activate(by="carol")
    both = Keysets.of([SIGNERS.keyset, later.keyset], "golive", "test")
    assert verdict(book.entries, both).keysets == (1, 2)
    found = verdict(book.entries, Keysets.of([later.keyset], "golive", "test")).broken
    assert found is not None
    assert (found.index, found.rule) == (0, "V3")
    assert "keyset version 1, which is not at hand" in found.message
    assert "--keyset" in found.hint
    # A key that version 2 has taken out signs nothing more, also under the old number.
    book.signers = SIGNERS
    book.revoke()
    book.activate()
    assert broken(book.entries, both) == (len(book.entries) - 1, "V3")


def test_two_keysets_of_one_version_or_of_two_fleets_are_refused() -> None:
    other = Signers({**EVERYBODY, "dora": ("approver",)})
    with pytest.raises(ConfigError, match="two keysets of version 1 differ"):
        Keysets.of([Signers().keyset, other.keyset], "golive", "test")
    value = {**SIGNERS.keyset_file, "fleet": "0" * 32, "version": 2}
    with pytest.raises(ConfigError, match="different fleets"):
        Keysets.of([SIGNERS.keyset, parse_keyset(value)], "golive", "test")
    Keysets.of([SIGNERS.keyset, SIGNERS.keyset], "golive", "test")


def test_v4_a_note_is_of_somebody_who_may_write_on_that() -> None:
    book = day(SIGNERS)
    book.note("goodbye", by="rita")
    assert broken(book.entries) == (13, "V3")
    book = day(SIGNERS)
    book.note("weather", by="hb-1")
    assert broken(book.entries) == (13, "V3")
    book = day(SIGNERS)
    book.add(SIGNERS.beat())  # no kind of record of a ledger
    assert broken(book.entries) == (13, "V3")


@pytest.mark.parametrize("index", range(13))
def test_v5_an_entry_that_is_told_twice_is_found_however_much_later(index: int) -> None:
    for later_ms in (1_000, 3_600_000 * 24 * 400):
        book = day(SIGNERS)
        book.add(book.entries[index].envelope, at_ms=book.at_ms + later_ms)
        assert broken(book.entries) == (13, "V5")


def test_v6_a_directive_that_a_later_one_names_cannot_be_removed() -> None:
    good = day(SIGNERS).entries
    for gone, first in [(1, (3, "V8")), (3, (3, "V6")), (5, (8, "V6")), (8, (8, "V9"))]:
        assert broken(chained([*good[:gone], *good[gone + 1 :]])) == first


def test_v6_a_stop_that_came_late_from_a_spool_is_no_gap() -> None:
    book = day(SIGNERS)
    kept = SIGNERS.revocation(book.epoch + 2, issued_at_ms=book.at_ms)
    book.activate()
    book.epoch += 1
    book.prev = identity(kept)
    book.at_ms += 5_000
    book.activate()
    assert broken(book.entries) == (16, "V6")  # it names a stop that is not here yet
    book.add(kept, at_ms=book.at_ms + 60_000)
    found = verdict(book.entries)
    assert (found.broken, found.late) == (None, 1)


def test_v7_a_restriction_that_was_moved_behind_its_stop_is_named() -> None:
    good = day(SIGNERS).entries
    entries = list(good)
    # Contents change places; ids, which rise, stay.
    entries[3], entries[5] = (
        Entry(good[5].envelope, "", good[3].id),
        Entry(good[3].envelope, "", good[5].id),
    )
    entries = chained(entries)
    assert broken(entries)[0] in {4, 5}


def test_v7_a_late_restriction_is_good_and_is_counted() -> None:
    book = day(SIGNERS)
    late = SIGNERS.restriction(book.epoch - 1, term=1, issued_at_ms=book.at_ms, reason="spooled")
    book.add(late, at_ms=book.at_ms + 30_000)
    found = verdict(book.entries)
    assert (found.broken, found.late) == (None, 1)


def test_v7_a_grant_is_entered_when_it_is_issued() -> None:
    book = day(SIGNERS)
    book.report()
    raw = SIGNERS.grant(9, issued_at_ms=book.at_ms, prev=book.prev)
    book.add(raw, at_ms=book.at_ms + 700_000)
    assert broken(book.entries) == (14, "V7")


def test_v8_nothing_is_granted_under_a_stop_or_in_a_term_that_does_not_run() -> None:
    book = day(SIGNERS)
    book.report()
    book.revoke()
    raw = SIGNERS.grant(book.epoch, issued_at_ms=book.at_ms)
    book.add(raw)
    assert broken(book.entries) == (15, "V8")
    book = day(SIGNERS)
    book.term = 1
    book.resume()
    assert broken(book.entries) == (13, "V8")


def test_v10_what_several_have_to_sign_has_their_answers_and_an_execution() -> None:
    several = Signers(approvals=2)
    both = Keysets.of([several.keyset], "golive", "test")
    good = day(several).entries
    assert verdict(good, both).broken is None
    # The second term: a report, two answers, the execution, and the grant.
    grant = next(n for n, item in enumerate(good) if n > 5 and _activates(item))
    for gone in (grant - 1, grant - 2, grant - 3):
        assert broken(chained([*good[:gone], *good[gone + 1 :]]), both) == (grant - 1, "V10")


def test_v10_a_ledger_of_golive_0_1_had_no_executions() -> None:
    several = Signers(approvals=2)
    both = Keysets.of([several.keyset], "golive", "test")
    kinds = {Answer.payload_type(), Execution.payload_type()}
    old = [item for item in day(several).entries if decode(item.envelope).payload_type not in kinds]
    assert verdict(chained(old), both).broken is None


def _activates(entry: Entry) -> bool:
    return decode(entry.envelope).payload_type == Grant.payload_type() and (
        peek(entry.envelope, Grant).kind is GrantKind.ACTIVATE
    )


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(lambda _: "f" * 64, id="on a report that is not there"),
        pytest.param(lambda book: book.report(passed=False), id="on one that failed"),
        pytest.param(lambda book: book.report(policy="1" * 64), id="on one of another policy"),
        pytest.param(lambda _: None, id="on none"),
    ],
)
def test_v9_an_activation_rests_on_a_passed_report(rest: Callable[[Book], str | None]) -> None:
    book = day(SIGNERS)
    report = rest(book)
    book._grant(term=book.epoch + 1, report=report)
    assert broken(book.entries)[1] == "V9"


def test_v13_what_is_in_force_is_in_the_ledger() -> None:
    book = day(SIGNERS)
    judge = Judge(KEYSETS, expected={identity(SIGNERS.revocation(99)): "revocation 99 by rita"})
    found = judged(judge, [book.entries], KEYSETS).broken
    assert found is not None
    assert (found.index, found.rule) == (13, "V13")
    assert "revocation 99 by rita" in found.message
    judge = Judge(KEYSETS, expected={identity(book.entries[-2].envelope): "the newest stop"})
    assert judged(judge, [book.entries], KEYSETS).broken is None


def test_v14_a_ledger_that_is_shorter_or_another_than_somebody_has_seen() -> None:
    good = day(SIGNERS).entries
    seen = end(good)
    found = verdict(list(good[:-1]), anchors=(seen,)).broken
    assert found is not None
    assert (found.index, found.rule) == (12, "V14")
    assert "the auditor has seen 13 entries" in found.message
    other = Book(SIGNERS)
    for _ in range(20):
        other.note()
    found = verdict(other.entries, anchors=(seen,)).broken
    assert found is not None
    assert (found.index, found.rule) == (12, "V14")
    # Of a head alone it is not known where it stood.
    found = verdict(other.entries, anchors=(Anchor(seen.head, None, "you"),)).broken
    assert found is not None
    assert found.rule == "V14"
    grown = Book(SIGNERS)
    grown.entries = [*good]
    grown.at_ms = good[-1].at_ms + 1_000
    grown.note()
    assert verdict(grown.entries, anchors=(seen,)).anchored == 13


def test_what_is_known_of_the_beginning_goes_on_with_the_rest() -> None:
    """In two runs, over the file of a memory, it is the same verdict as in one."""
    book = Book(SIGNERS)
    book.activate()
    for _ in range(3 * KEPT):
        book.halt()
    book.resume()
    book.add(SIGNERS.restriction(5, term=1, issued_at_ms=book.at_ms), at_ms=book.at_ms + 9_000)
    whole = verdict(book.entries)
    assert (whole.broken, whole.late) == (None, 1)
    for cut in (0, 1, 2, 3, KEPT, 2 * KEPT + 7, len(book.entries) - 1):
        before = verdict(book.entries[:cut])
        judge = Judge(KEYSETS, start=before.carry, counts=before.counts)
        after = judged(judge, [book.entries[cut:]], KEYSETS)
        assert (after.broken, after.carry) == (None, whole.carry)
        assert after.counts == whole.counts
    early = verdict(book.entries[:7])
    twice = chained(
        [*book.entries, Entry(book.entries[3].envelope, "", next_id(book.entries, book.at_ms))]
    )
    judge = Judge(KEYSETS, start=early.carry)
    found = judged(judge, [twice[7:]], KEYSETS).broken
    assert found is not None
    assert found.rule == "V5"


def test_a_carry_knows_whether_something_was_left_unjudged() -> None:
    book = day(SIGNERS)
    book.signers = Signers(version=2)
    book.activate()
    lenient = Keysets({1: SIGNERS.keyset}, "golive", "test", lenient=True)
    found = verdict(book.entries, lenient)
    assert found.broken is None
    assert found.carry[0].unjudged == (13, 2)
    judge = Judge(KEYSETS, start=found.carry)
    with pytest.raises(BrokenLedgerError, match="keyset version 2"):
        judge.end()
    assert Carry().unjudged is None


@pytest.mark.parametrize("hour", [1, 24 * 30])
def test_v5_what_was_entered_long_before_its_issue_is_found_when_it_is_told_again(
    hour: int,
) -> None:
    """The clock of its signer was fast: the copy looks as if it were entered in time."""
    book = day(SIGNERS)
    ahead_ms = hour * 3_600_000
    issued_ms = book.at_ms + ahead_ms
    book.note(issued_at_ms=issued_ms)
    early = book.entries[-1].envelope
    book.at_ms = issued_ms - 60_000
    book.note()
    book.add(early, at_ms=issued_ms)
    assert broken(book.entries) == (15, "V5")
    first = verdict(book.entries[:14])
    judge = Judge(KEYSETS, start=first.carry)
    found = judged(judge, [book.entries[14:]], KEYSETS).broken
    assert found is not None
    assert (found.index, found.rule) == (15, "V5")


def test_clocks_that_are_ahead_do_not_fill_the_memory() -> None:
    seen = Seen(b"", 0, 0, {})
    for number in range(3 * PRUNE_EACH):
        at_ms = START_MS + number * 3_600_000
        assert not seen.add(f"{number:016x}" + "0" * 48, at_ms, at_ms + 2 * CLOCKS_MS)
    assert len(seen.ahead()) <= PRUNE_EACH
    assert seen.add("0" * 64, START_MS + 2 * CLOCKS_MS, START_MS + 2 * CLOCKS_MS + WINDOW_MS)


def test_what_was_not_judged_and_what_names_a_gap_is_not_called_good() -> None:
    book = day(SIGNERS)
    book.note("goodbye", by="rita")  # breaks V3
    gap = chained([*book.entries[:3], *book.entries[4:]])
    found = verdict(gap)
    assert found.broken is not None
    assert (found.broken.index, found.good) == (12, 3)
    assert "resume" not in found.named
    newer = Signers(approvals=2, version=2)
    book = Book(newer)
    book.note()
    book.signers = SIGNERS
    book.note()
    book.add(b"?")
    found = verdict(book.entries)
    assert found.broken is not None
    assert (found.broken.index, found.broken.rule, found.good) == (2, "V3", 0)
    assert "keyset of version 2" in found.broken.hint


def test_only_the_entry_that_is_bad_is_named_in_words() -> None:
    book = day(SIGNERS)
    book.add(book.entries[5].envelope, at_ms=book.at_ms + 1_000)
    assert verdict(book.entries).named.startswith("revocation 4 by rita")
    assert verdict(book.entries[:13], anchors=(Anchor("f" * 64, 20, "you"),)).named == ""


# -- V11: against haste ------------------------------------------------------------------------------

RISK = Signers({**EVERYBODY, "carol": ("approver", "revoker"), "dave": ("approver",)})
POLICY = "0" * 64
HASTE = Haste(cool_down_ms=60_000, daily=3)


def with_risk(signers: Signers = RISK, name: str = "carol") -> Keysets:
    """The keyset of these signers, where one has the authority of risk."""
    file = {**signers.keyset_file, "principals": dict(signers.keyset_file["principals"])}
    file["principals"][name] = {**file["principals"][name], "authority": "risk"}
    return Keysets.of([parse_keyset(file)], "golive", "test")


def hasty(
    entries: list[Entry], keysets: Keysets, policies: dict[str, Haste] | None = None
) -> tuple[int, str, str] | None:
    """Index, rule and reason; the same in one run and in two, wherever the first ends."""
    policies = {POLICY: HASTE} if policies is None else policies
    whole = judged(Judge(keysets, policies=policies), [entries], keysets)
    for cut in range(1, len(entries)):
        first = judged(Judge(keysets, policies=policies), [entries[:cut]], keysets)
        if first.broken is not None:
            break
        start = (
            msgspec.json.decode(msgspec.json.encode(first.carry[0]), type=Carry),
            first.carry[1],
        )
        rest = judged(Judge(keysets, start=start, policies=policies), [entries[cut:]], keysets)
        assert (rest.broken and rest.broken.message) == (whole.broken and whole.broken.message)
    found = whole.broken
    return None if found is None else (found.index, found.rule, found.why)


def stopped(by: str = "rita", signers: Signers = RISK) -> Book:
    book = Book(signers)
    book.activate()
    book.revoke(by=by)
    return book


def after_a_stop(wait_ms: int, **fields: Any) -> list[Entry]:
    book = stopped(**fields.pop("stop", {}))
    stop_ms = book.entries[-1].at_ms - 5  # when it was issued
    book.at_ms = stop_ms + wait_ms - 1_000 - 5  # its report comes a second before
    book.activate(**fields)
    return book.entries


def test_v11_an_activation_waits_for_the_cool_down() -> None:
    keysets = with_risk()
    assert hasty(after_a_stop(60_005), keysets) is None
    found = hasty(after_a_stop(59_000), keysets)
    assert found is not None
    assert found[:2] == (4, "V11")
    assert "cool-down after the stop: 1 s left" in found[2]
    assert (
        hasty(after_a_stop(5_000, by=("alice", "bob")), keysets) is None
    )  # one more than it takes


def test_v11_a_policy_that_is_not_at_hand_judges_no_cool_down_and_no_daily_limit() -> None:
    keysets = with_risk()
    assert hasty(after_a_stop(5_000), keysets, {}) is None
    assert hasty(after_a_stop(5_000), keysets, {"1" * 64: HASTE}) is None
    assert hasty(after_a_stop(5_000), keysets, {POLICY: Haste()}) is None


def test_v11_no_more_activations_in_24_hours_than_the_policy_allows() -> None:
    keysets = with_risk()

    def days(pause_ms: int, **last: Any) -> list[Entry]:
        book = Book(RISK)
        for number in range(4):
            book.activate(**(last if number == 3 else {}))
            book.at_ms += 120_000
            book.revoke()
            book.at_ms += pause_ms
        return book.entries

    found = hasty(days(120_000), keysets)
    assert found is not None
    assert found[:2] == (10, "V11")
    assert "3 activations in the last 24 h, and 3 are allowed" in found[2]
    assert hasty(days(120_000, by=("alice", "bob")), keysets) is None
    assert hasty(days(8 * 3_600_000), keysets) is None  # the first was more than a day ago
    assert hasty(days(120_000), keysets, {POLICY: Haste(60_000, 4)}) is None


def test_v11_after_a_stop_by_risk_one_of_risk_has_signed() -> None:
    keysets = with_risk()
    wait_ms = 3_600_000
    for policies in ({}, {POLICY: HASTE}):  # the keyset alone says so
        found = hasty(after_a_stop(wait_ms, stop={"by": "carol"}), keysets, policies)
        assert found is not None
        assert found[:2] == (4, "V11")
        assert "the last stop was by carol (risk), so carol has to sign" in found[2]
        for by in ("carol", ("alice", "carol")):
            entries = after_a_stop(wait_ms, stop={"by": "carol"}, by=by)
            assert hasty(entries, keysets, policies) is None
        # More signatures do not stand in for it, and a stop by another asks for nobody.
        entries = after_a_stop(wait_ms, stop={"by": "carol"}, by=("alice", "bob"))
        assert hasty(entries, keysets, policies) is not None
        assert hasty(after_a_stop(wait_ms), keysets, policies) is None


def test_v11_the_last_stop_is_the_one_with_the_highest_epoch_also_when_another_comes_late() -> None:
    keysets = with_risk()
    book = stopped("carol")
    late = RISK.revocation(1, issued_at_ms=book.at_ms - 60_000)
    book.add(late, at_ms=book.at_ms + 3_600_000)
    book.activate()
    found = hasty(book.entries, keysets)
    assert found is not None
    assert found[:2] == (5, "V11")


def test_v11_a_stop_counts_from_its_issue_or_its_entry_whichever_is_earlier() -> None:
    keysets = with_risk()
    book = Book(RISK)
    book.activate()
    fast = RISK.revocation(2, issued_at_ms=book.at_ms + 500_000)  # by a clock that is fast
    book.epoch += 1
    book.add(fast)
    book.prev = identity(fast)
    book.at_ms += 61_000
    book.activate()
    assert hasty(book.entries, keysets) is None


def test_v11_a_decision_counts_for_no_later_than_its_entry_and_30_s() -> None:
    """A grant that claims to be issued after the cool-down was entered within it."""
    keysets = with_risk()
    for entered_ms, claimed_ms, good in [
        (31_000, 60_000, True),  # by a clock that is 29 s fast
        (29_000, 60_000, False),
        (10_000, 300_000, False),
    ]:
        book = stopped()
        stop_ms = book.entries[-1].at_ms - 5
        report = book.report()
        book.epoch += 1
        raw = RISK.grant(
            book.epoch,
            issued_at_ms=stop_ms + claimed_ms,
            not_after_ms=stop_ms + 9_000_000,
            report=report,
            prev=book.prev,
        )
        book.add(raw, at_ms=stop_ms + entered_ms)
        assert (hasty(book.entries, keysets) is None) is good, (entered_ms, claimed_ms)


def test_v11_what_waited_for_a_second_person_is_judged_when_it_is_executed() -> None:
    several = Signers({**EVERYBODY, "carol": ("approver", "revoker")}, approvals=2)
    keysets = with_risk(several)

    def executed_after(wait_ms: int) -> list[Entry]:
        book = stopped(signers=several)
        stop_ms = book.entries[-1].at_ms - 5
        report = book.report()
        book.epoch += 1
        grant = several.grant(
            book.epoch, issued_at_ms=stop_ms + 5_000, report=report, prev=book.prev
        )
        answers = []
        for name in ("alice", "bob"):
            raw = seal(
                Answer(
                    **several.trust.heading(name, stop_ms + 6_000),
                    proposal=identity(grant),
                    answer=Said.APPROVE,
                    approve_by_ms=stop_ms + 600_000,
                    reason="",
                ),
                several.signers[name],
            )
            book.add(raw)
            answers.append(identity(raw))
        book.at_ms = stop_ms + wait_ms
        execution = Execution(
            **several.trust.heading("bob", book.at_ms),
            directive=identity(grant),
            report=None,
            answers=answers,
        )
        book.add(seal(execution, several.signers["bob"]))
        book.add(grant)
        return book.entries

    assert hasty(executed_after(61_000), keysets) is None
    found = hasty(executed_after(40_000), keysets)
    assert found is not None
    assert found[1] == "V11"


# -- V12: heads in receipts --------------------------------------------------------------------------


def receipts_of(book: Book, *heads: str | None, by: str = "hb-1", **fields: Any) -> list[bytes]:
    stop = next(
        item.envelope
        for item in reversed(book.entries)
        if decode(item.envelope).payload_type == Revocation.payload_type()
    )
    fields = {"heartbeat": "hb-1", "worker": None, "by": by} | fields
    return [SIGNERS.receipt(stop, head=head, **fields) for head in heads]


def with_receipts(book: Book, raws: list[bytes], entries: list[Entry] | None = None) -> Verdict:
    heads = claimed_heads(raws, KEYSETS)
    return judged(Judge(KEYSETS, heads=heads), [entries or book.entries], KEYSETS)


def test_v12_every_head_that_a_receipt_has_seen_is_one_of_the_ledger() -> None:
    book = day(SIGNERS)
    good = [entry.head for entry in book.entries]
    assert with_receipts(book, receipts_of(book, *good, GENESIS, None)).broken is None
    found = with_receipts(book, receipts_of(book, good[3], "e" * 64)).broken
    assert found is not None
    assert (found.index, found.rule) == (13, "V12")
    assert "by the word of heartbeat hb-1, in its receipt for directive 2," in found.message


def test_v12_an_end_that_was_cut_off_is_seen_by_the_receipts_of_a_stop() -> None:
    book = day(SIGNERS)
    raws = receipts_of(book, book.entries[11].head)
    cut = [*book.entries[:11]]
    found = with_receipts(book, raws, cut).broken
    assert found is not None
    assert (found.index, found.rule) == (11, "V12")
    whole_anew = chained([*book.entries[:2], *book.entries[3:]])
    assert with_receipts(book, raws, whole_anew).broken is not None


def test_v12_what_no_pod_has_signed_claims_nothing() -> None:
    """Whoever may write receipts could else make a good ledger a bad one."""
    book = day(SIGNERS)
    bogus = "e" * 64
    planted = [
        *receipts_of(book, bogus, by="rita", heartbeat="rita"),
        receipts_of(book, bogus)[0].replace(b'"sig":"', b'"sig":"A', 1),
        b"?",
        *of_version(2, book, bogus),
    ]
    assert with_receipts(book, planted).broken is None
    assert with_receipts(book, [*planted, *receipts_of(book, bogus)]).broken is not None


def of_version(version: int, book: Book, head: str) -> list[bytes]:
    stop = book.entries[5].envelope
    other = Signers(version=version)
    return [other.receipt(stop, head=head, heartbeat="hb-1", worker=None, by="hb-1")]


# -- from keyset to keyset -------------------------------------------------------------------------

ROOTED = EVERYBODY | {"ruth": ("root",)}
FIRST, SECOND, THIRD = (
    Signers({k: v for k, v in ROOTED.items() if k != gone}, version=version)
    for version, gone in ((1, ""), (2, "alice"), (3, "alice"))
)
THREE = Keysets.of([each.keyset for each in (FIRST, SECOND, THIRD)], "golive", "test")


def step(book: Book, old: Signers, new: Signers, by: str = "ruth") -> None:
    """The entry of a step; the next ones are signed under the new keyset."""
    record = draft(old.keyset, new.keyset, **old.trust.heading(by, book.at_ms))
    book.add(seal(record, old.signers[by]))
    book.signers = new


def succession() -> Book:
    book = Book(FIRST)
    book.activate()
    book.revoke()
    step(book, FIRST, SECOND)
    book.activate(by="bob")
    book.revoke()
    step(book, SECOND, THIRD)
    book.activate(by="bob")
    return book


def test_a_ledger_with_steps_from_keyset_to_keyset_is_good() -> None:
    found = verdict(succession().entries, THREE)
    assert (found.broken, found.keysets, found.terms) == (None, (1, 3), 3)


def test_a_step_that_is_skipped_is_named() -> None:
    entries = succession().entries
    at = [peek_kind(entry) for entry in entries].index("keyset", 4)
    without = chained([entry for n, entry in enumerate(entries) if n != at])
    found = verdict(without, THREE).broken
    assert found is not None
    assert (found.index, found.rule) == (at, "V3")
    assert "names keyset 3, and the step to keyset 3 is not here" in found.message


def test_a_step_out_of_its_turn_or_told_again_is_named() -> None:
    book = Book(FIRST)
    step(book, FIRST, SECOND)
    again = draft(FIRST.keyset, SECOND.keyset, **FIRST.trust.heading("ruth", book.at_ms))
    book.add(seal(again, FIRST.signers["ruth"]))
    found = verdict(book.entries, THREE).broken
    assert found is not None
    assert "leads to keyset 2, and keyset 2 was in use before it" in found.message


def test_a_step_that_no_root_has_signed_is_refused_at_its_place() -> None:
    book = Book(FIRST)
    step(book, FIRST, SECOND, by="alice")
    assert broken(book.entries, THREE) == (0, "V3")


def test_after_a_step_nobody_grants_who_is_not_in_the_keyset_any_more() -> None:
    book = succession()
    book.revoke()
    book.signers = FIRST
    book.activate(by="alice")
    found = verdict(book.entries, THREE).broken
    assert found is not None
    assert found.rule == "V3"
    assert "names keyset 1, and keyset 3 was in use" in found.message


def test_a_step_to_a_keyset_that_is_not_at_hand_asks_for_its_file() -> None:
    book = Book(FIRST)
    step(book, FIRST, SECOND)
    found = verdict(book.entries, Keysets.of([FIRST.keyset], "golive", "test")).broken
    assert found is not None
    assert found.hint == "add --keyset FILE, the keyset of version 2"


def peek_kind(entry: Entry) -> str:
    return decode(entry.envelope).payload_type.removeprefix("application/vnd.golive.").split(".")[0]
