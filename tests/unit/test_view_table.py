"""The table of phases and events in `core.view` says what the code does, cell by cell."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from golive_redis.core import view
from golive_redis.core.permit import Permit, Phase, Reason
from golive_redis.core.timing import TIMINGS
from golive_redis.testing import START_MS, Harness, Signers, answer
from golive_redis.testing.signers import EVERYBODY

ROOTED = EVERYBODY | {"ruth": ("root",)}
SIGNERS = Signers(ROOTED)
NEXT = Signers(ROOTED, version=2)
OTHERS = Signers({name: roles for name, roles in ROOTED.items() if name != "bob"}, version=2)
ENDS_MS = START_MS + 60_000
GRANT = SIGNERS.grant(5, by="bob", not_after_ms=ENDS_MS)
HALT = SIGNERS.restriction(6, term=5, labels={"symbol": "DOGE"})
STOP = SIGNERS.revocation(6)
FORGED = Signers({"eve": ["revoker"]}).revocation(6, by="eve")
TIMING = TIMINGS["standard"]


def rows() -> dict[str, list[str]]:
    """The table, by event, with a cell for each phase."""
    lines = [line for line in inspect.getdoc(view).splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *body = cells
    assert head == ["event", *PHASES]
    return {event: phases for event, *phases in body}


# -- how a guard gets into each phase: it has seen beat 1, and beat 2 where that is an advance ----


def cold() -> Harness:
    guard = Harness(SIGNERS)
    guard.attend(GRANT, beats={"hb-1": 1})
    guard.clock.advance(500)
    return guard


def armed() -> Harness:
    guard = Harness(SIGNERS)
    guard.arm(GRANT)
    guard.clock.advance(500)
    return guard


def lapsed() -> Harness:
    guard = armed()
    guard.clock.advance(0.9 * TIMING.lease_ms - 500)
    guard.view.lapsed(guard.clock.now_ns())
    return guard


def latched() -> Harness:
    guard = armed()
    guard.view.push(STOP)
    return guard


def drained() -> Harness:
    guard = latched()
    guard.view.drained()
    return guard


PHASES: dict[str, Callable[[], Harness]] = {
    each.__name__: each for each in (cold, armed, lapsed, latched, drained)
}

# -- the events ----------------------------------------------------------------------------------


def beats(guard: Harness, n: int) -> dict[str, bytes]:
    return {
        "hb-1": SIGNERS.beat(n, state=SIGNERS.state(GRANT), issued_at_ms=round(guard.clock.wall))
    }


def good(guard: Harness, n: int, **fields: object) -> None:
    guard.attend(GRANT, beats=beats(guard, n), **fields)


def long_after(guard: Harness) -> None:
    guard.clock.advance(0.9 * TIMING.beat_ms)
    good(guard, 2)


def never_advanced(guard: Harness) -> None:
    good(guard, 1)


def outside(guard: Harness) -> None:
    guard.clock.advance(ENDS_MS - guard.clock.wall)
    good(guard, 3)


def behind(guard: Harness) -> None:
    knows = SIGNERS.beat(3, state=SIGNERS.state(GRANT, HALT), issued_at_ms=round(guard.clock.wall))
    guard.attend(GRANT, beats={"hb-1": knows})


def older_grant(guard: Harness) -> None:
    guard.attend(SIGNERS.grant(8, term=5, not_after_ms=ENDS_MS), beats={})
    good(guard, 3)


def revoked_term(guard: Harness) -> None:
    """It has learned of the end of an older term, which then comes back."""
    if guard.view.phase is not Phase.LATCHED:
        guard.view.push(SIGNERS.revocation(4))
    guard.attend(SIGNERS.grant(3), beats={})


def after_the_deadline(guard: Harness) -> None:
    guard.clock.advance(TIMING.lease_ms)
    guard.view.lapsed(guard.clock.now_ns())


def newer_keyset(guard: Harness) -> None:
    now = round(guard.clock.wall)
    beat = NEXT.beat(3, state=SIGNERS.state(GRANT), issued_at_ms=now)
    guard.attend(GRANT, beats={"hb-1": beat})


def refused(guard: Harness) -> None:
    guard.view.push(FORGED, suspected=guard.view.suspect(FORGED))


def another_question(guard: Harness) -> None:
    guard.ask()
    guard.view.answer(answer("x", GRANT), now_ns=guard.clock.now_ns())


EVENTS: dict[str, Callable[[Harness], object]] = {
    "good answer, a beat has advanced": lambda g: good(g, 3),
    "good answer, last advance under `beat_ms` ago": lambda g: good(g, 2),
    "good answer, last advance `beat_ms` ago": long_after,
    "good answer, no beat was seen to advance": never_advanced,
    "good answer, a later term": lambda g: g.attend(SIGNERS.grant(9), beats=beats(g, 3)),
    "answer: the key is absent": lambda g: g.attend(None),
    "answer: a key has a wrong type": lambda g: good(g, 3, corrupt="beat"),
    "answer: a newer keyset is in use": newer_keyset,
    "answer: a record is refused": lambda g: g.attend(
        SIGNERS.grant(5, by="rita"), beats=beats(g, 3)
    ),
    "answer: the TTL is invalid": lambda g: good(g, 3, pttl_ms=-1),
    "answer: outside the window of its grant": outside,
    "answer: less than a beat vouches for": behind,
    "answer: an older grant of the term": older_grant,
    "answer: a term that was revoked": revoked_term,
    "answer to another question": another_question,
    "answer after `timeout_ms`": lambda g: good(g, 3, latency_ms=TIMING.timeout_ms + 1),
    "tombstone in an answer, of this term": lambda g: good(g, 3, revoked=SIGNERS.revocation(7)),
    "pushed revocation of this term": lambda g: g.view.push(SIGNERS.revocation(7)),
    "pushed revocation of an older term": lambda g: g.view.push(SIGNERS.revocation(4)),
    "the same revocation again": lambda g: g.view.push(STOP),
    "pushed revocation, not verified yet": lambda g: g.view.suspect(FORGED),
    "pushed revocation that is refused": refused,
    "pushed restriction": lambda g: g.view.push(HALT),
    "pushed grant": lambda g: g.view.push(SIGNERS.grant(9)),
    "the connection is replaced": lambda g: g.view.reconnected(),
    "the deadline is over": after_the_deadline,
    "no answer: the store cannot be reached": lambda g: g.view.unanswered(g.clock.now_ns()),
    "the clocks disagree": lambda g: g.view.clock_anomaly(),
    "a defect": lambda g: g.view.defect(),
    "a keyset under which the term is refused": lambda g: g.view.succeed(OTHERS.trust),
    "the stop is drained": lambda g: g.view.drained(),
    "sealed": lambda g: g.view.seal(Reason.KILLED),
}
ROWS = rows()


def phase_of(guard: Harness) -> str:
    """The phase in the words of the table."""
    phase, permitted = guard.view.phase, isinstance(guard.decide(symbol="BTC"), Permit)
    if phase is Phase.ARMED:
        return "armed" if permitted else "armed*"
    assert not permitted
    if phase is not Phase.LATCHED:
        return phase.value
    # Whether the stop is behind a latched guard shows in what an activation does to it.
    guard.clock.advance(500)
    guard.attend(SIGNERS.grant(99), beats={})
    return "latched" if guard.view.phase is Phase.LATCHED else "drained"


def test_the_table_has_a_row_for_each_event_that_is_played_and_no_other() -> None:
    assert list(ROWS) == list(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("phase", PHASES)
def test_each_cell_of_the_table_is_what_the_code_does(phase: str, event: str) -> None:
    said = ROWS[event][list(PHASES).index(phase)]
    if said == "-":
        return
    assert phase_of(PHASES[phase]()) == phase
    guard = PHASES[phase]()
    EVENTS[event](guard)
    assert phase_of(guard) == said


def test_only_what_cannot_happen_has_no_cell() -> None:
    """A cold guard has seen no beat advance, for that would have armed it; others have. Only a
    latched one knows a revocation of its term."""
    impossible = {
        (event, phase)
        for event, cells in ROWS.items()
        for phase, said in zip(PHASES, cells, strict=True)
        if said == "-"
    }
    assert impossible == {
        ("good answer, last advance under `beat_ms` ago", "cold"),
        ("good answer, last advance `beat_ms` ago", "cold"),
        ("good answer, no beat was seen to advance", "armed"),
        ("good answer, no beat was seen to advance", "lapsed"),
        *(("the same revocation again", phase) for phase in ("cold", "armed", "lapsed")),
    }
