"""Laws of directives, deadlines and decisions, for all values and not for examples."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cache

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from golive_redis import clock
from golive_redis.core.decision import Verdict, decide
from golive_redis.core.freshness import Progress, deadline, observe
from golive_redis.core.permit import Denial, Intent, Permit, Phase, Reason
from golive_redis.core.restrictions import RestrictionIndex
from golive_redis.core.state import State
from golive_redis.guard.gate import Gate
from golive_redis.records.amount import within
from golive_redis.records.directive import Label, Mode, Profile, Restriction, strictest
from golive_redis.testing import LIMITS, Signers

SIGNERS = Signers()
MODES, PROFILES = list(Mode), list(Profile)
LABELS = [Label.VENUE, Label.SYMBOL, Label.DESK]
VALUES = ["a", "b", "7", " A\t", "Ab", "aB*", "a* ", "*", " "]
OWN = ["a", "b", "7", "B ", "ABC", " "]


class Symbol(str, Enum):  # noqa: UP042  (str() of a member is not its value: that is the point)
    A = "a"


STATED = ["a", "b", "7", "A", " b", "ab", "ABc", "*", "", " ", "z", Symbol.A, 7, None]
LABEL_SETS = st.dictionaries(st.sampled_from(LABELS), st.sampled_from(VALUES), max_size=3)
OWN_LABELS = st.dictionaries(st.sampled_from(LABELS), st.sampled_from(OWN), max_size=3)
ORDERS = st.dictionaries(
    st.sampled_from([*map(str, LABELS), "colour"]), st.sampled_from(STATED), max_size=4
)


DEMOTED = [
    msgspec.structs.replace(
        LIMITS, currency=currency, max_order_notional=one, max_daily_loss=other, extra=extra
    )
    for currency, one, other, extra in [
        ("USD", "24.999", "51", {"a": "5"}),
        ("USD", "25.0", "0", {"a": "5.0", "b": "x"}),
        ("USD", "1000000", "49.9", {"b": "y"}),
        ("EUR", "1", "1", {}),
    ]
]


@cache
def restriction(
    epoch: int, kind: str, labels: tuple[tuple[Label, str], ...], profile: Profile, limits: int
):
    demotes = kind == "demote"
    shape = {"profile": profile, "limits": DEMOTED[limits]} if demotes else {"labels": dict(labels)}
    return SIGNERS.trust.restriction(SIGNERS.restriction(epoch, kind, **shape))


@cache
def state(mode: Mode, profile: Profile) -> State:
    return SIGNERS.state(SIGNERS.grant(mode=mode, profile=profile))


RESTRICTIONS = st.builds(
    restriction,
    st.integers(2, 9),
    st.sampled_from(["halt", "reduce", "demote"]),
    LABEL_SETS.map(lambda labels: tuple(sorted(labels.items()))),
    st.sampled_from(PROFILES),
    st.integers(0, len(DEMOTED) - 1),
)
STATES = st.builds(state, st.sampled_from(MODES), st.sampled_from(PROFILES))


def meets(wanted: str, stated: object) -> bool | None:
    """Whether a value that a restriction names concerns a stated one; None when that says nothing."""
    text = stated if isinstance(stated, str) else str(stated)
    text, wanted = text.strip().casefold(), wanted.strip().casefold()
    if stated is None or not text:
        return None
    if not wanted or wanted.endswith("*"):
        return text.startswith(wanted[:-1])
    return text == wanted


def concerns(labels: Mapping[str, str], order: Mapping[str, object], fixed: Mapping[str, str]):
    """Whether a restriction matches an order: the scan that the index must agree with."""
    for key, wanted in labels.items():
        own = meets(wanted, fixed.get(key))
        if own:
            continue  # the guard's own label says so, whatever the order claims
        met = meets(wanted, order.get(key))
        if met is False or (met is None and own is False):
            return False  # known to be another value
    return True  # everything stated matches, and what is unknown may


def scan(
    base: Mode, records: list[Restriction], order: Mapping[str, object], fixed: Mapping[str, str]
) -> Mode:
    modes = [r.mode for r in records if r.mode is not None and concerns(r.labels, order, fixed)]
    return strictest([base, *modes])


@given(
    st.sampled_from(MODES),
    st.lists(RESTRICTIONS, max_size=6),
    st.lists(ORDERS, min_size=1, max_size=4),
    OWN_LABELS,
)
def test_the_index_agrees_with_a_scan(base, restrictions, orders, fixed) -> None:
    """Row 70: whatever case, blanks and beginnings."""
    records = [item.record for item in restrictions]
    index = RestrictionIndex(base, records, fixed)
    for order in orders:  # what one order leaves in the index must not mislead the next
        for _ in range(2):  # nor what it leaves for itself
            assert index.mode_for(order) is scan(base, records, order, fixed)


@given(STATES, st.lists(RESTRICTIONS, max_size=5), st.lists(RESTRICTIONS, max_size=5), ORDERS)
def test_restrictions_only_restrict(base: State, first, second, order) -> None:
    """Row 55: no restriction, in no order, loosens mode, profile or a limit for any order."""
    before = base.restricted(first)
    after = before.restricted(second)
    assert MODES.index(after.mode) >= MODES.index(before.mode) >= MODES.index(base.mode)
    assert PROFILES.index(after.profile) <= PROFILES.index(before.profile)
    for name in ("max_order_notional", "max_position_notional", "max_daily_loss"):
        assert within(getattr(before.limits, name), getattr(after.limits, name))
        assert within(getattr(base.limits, name), getattr(before.limits, name))
    assert after.limits.max_orders_per_minute <= before.limits.max_orders_per_minute
    assert after.limits.currency == base.limits.currency
    modes = [
        RestrictionIndex(s.mode, [r.record for r in s.restrictions]).mode_for(order)
        for s in (base, before, after)
    ]
    assert sorted(modes, key=MODES.index) == modes


@given(STATES, st.lists(RESTRICTIONS, max_size=5, unique_by=lambda r: r.identity), st.randoms())
def test_the_order_in_which_restrictions_arrive_changes_nothing(base, restrictions, random) -> None:
    one = base.restricted(restrictions)
    shuffled = list(restrictions)
    random.shuffle(shuffled)
    other = base
    for item in [*shuffled, *shuffled]:  # and twice is once
        other = other.restricted([item])
    assert (one.mode, one.profile, one.digest) == (other.mode, other.profile, other.digest)
    assert one.limits == other.limits
    assert one.epoch == other.epoch


INSTANTS = st.floats(0, 1e9)
BOUNDS = st.fixed_dictionaries(
    {
        "sent_at": INSTANTS,
        "wall_sent_ms": INSTANTS,
        "fresh_from": INSTANTS,
        "pttl_ms": st.integers(1, 3_600_000),
        "not_after_ms": st.integers(0, 10**9),
        "lease_ms": st.integers(1, 3_600_000),
        "beat_ms": st.integers(1, 3_600_000),
        "rho": st.floats(0.001, 0.2),
    }
)


@given(BOUNDS, st.floats(0, 1e6))
def test_a_request_that_left_earlier_never_gives_a_later_deadline(bounds, earlier: float) -> None:
    """More latency is an earlier send instant for the same answer."""
    slow = {
        **bounds,
        "sent_at": bounds["sent_at"] - earlier,
        "wall_sent_ms": bounds["wall_sent_ms"] - earlier,
    }
    assert deadline(**slow) <= deadline(**bounds) + 1e-3


@given(BOUNDS, st.sampled_from(["pttl_ms", "not_after_ms", "lease_ms", "beat_ms"]))
def test_less_of_any_bound_never_gives_a_later_deadline(bounds, name: str) -> None:
    assert deadline(**{**bounds, name: bounds[name] // 2}) <= deadline(**bounds)


@given(BOUNDS)
def test_no_deadline_is_beyond_any_of_its_bounds(bounds) -> None:
    until = deadline(**bounds)
    assert until <= bounds["sent_at"] + bounds["lease_ms"]
    assert until <= bounds["fresh_from"] + bounds["beat_ms"]
    assert until - bounds["sent_at"] + bounds["wall_sent_ms"] <= bounds["not_after_ms"] + 1e-3


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_freshness_is_never_newer_than_the_beat_that_gave_it(shown) -> None:
    """S5: `p` lies before the newest count first existed, whatever is shown and reconnected."""
    progress: Progress | None = None
    born: dict[int, float] = {}
    for at, (n, reconnect) in enumerate(shown):
        if progress is not None and reconnect:
            before = progress.fresh_from
            progress = progress.reconnected()
            assert progress.fresh_from == before
        highest = progress.n if progress else -1
        after = observe(progress, n, float(at))
        if n < highest:
            assert after is None
            continue
        assert after is not None
        # A count that was never shown before may have been made at any moment up to now.
        born.setdefault(n, at - 0.5)
        if after.fresh_from is not None:
            assert after.fresh_from <= born[n]
            assert progress is None or after.fresh_from >= (progress.fresh_from or 0.0)
        progress = after


class Nobody:
    def still(self, _permit: Permit) -> bool:
        raise AssertionError

    def saw_float(self, _value: float) -> None:
        raise AssertionError


NOBODY = Nobody()
VERDICTS = st.builds(
    Verdict,
    st.sampled_from(list(Phase)),
    st.sampled_from(list(Reason)),
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.integers(0, 9),
    st.integers(0, 9),
    st.just(Profile.MICRO),
    st.just(LIMITS),
    st.builds(
        RestrictionIndex,
        st.sampled_from(MODES),
        st.lists(RESTRICTIONS.map(lambda item: item.record), max_size=3),
        LABEL_SETS,
    ),
)
INTENTS = st.sampled_from(list(Intent)) | st.text(max_size=8)


@given(VERDICTS, INTENTS, ORDERS, st.integers(0, 1100), st.integers(0, 1100))
def test_waiting_never_turns_a_denial_into_a_permit(verdict, intent, order, now, later) -> None:
    first = decide(verdict, intent, order, now, NOBODY)
    second = decide(verdict, intent, order, now + later, NOBODY)
    if isinstance(first, Denial):
        assert isinstance(second, Denial)
    if isinstance(second, Permit):
        assert first == second


@given(VERDICTS, INTENTS, ORDERS, st.integers(0, 1100))
def test_the_laws_of_a_decision(verdict, intent, order, now) -> None:
    answer = decide(verdict, intent, order, now, NOBODY)
    if intent == "cancel":
        assert isinstance(answer, Permit)
        return
    if intent not in {"open", "reduce"}:
        assert answer == Denial(Reason.UNKNOWN_INTENT, intent)
        return
    mode = verdict.index.mode_for(order)
    permitted = mode is Mode.LIVE or (mode is Mode.REDUCE_ONLY and intent == "reduce")
    assert isinstance(answer, Permit) == (now < verdict.deadline_ns and permitted)
    if isinstance(answer, Permit):
        assert (answer.fence, answer.until_ms) == (verdict.epoch, verdict.until_ms)


@given(VERDICTS, st.lists(ORDERS, min_size=1, max_size=4), INTENTS, st.booleans(), st.booleans())
def test_the_gate_agrees_with_the_decision(verdict, orders, intent, late, noting) -> None:
    now = clock.now_ns()
    deadline_ns = 0 if verdict.deadline_ns == 0 else now + (-1 if late else 3_600 * 10**9)
    verdict = msgspec.structs.replace(verdict, deadline_ns=deadline_ns)
    gate = Gate()
    gate.stated.on = noting
    gate.publish(verdict)
    for order in orders:
        for asked in ("open", intent):
            expected = isinstance(decide(verdict, asked, order, now, NOBODY), Permit)
            assert gate.allows(asked, **order) is expected
            assert isinstance(gate.check(asked, **order), Permit) is expected
    gate.shut(Reason.KILLED)
    assert not any(gate.allows(**order) for order in orders)
