"""What an operator is told when Redis gives no answer: in force, not in force, or not known.

One operator on a server, and no other process. Answers are lost above the link, by a store of which a
test says how its next steps go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from golive_cli.exits import Exit
from golive_cli.main import main
from golive_redis import clock
from golive_redis.delivery.append import append
from golive_redis.errors import (
    ConfigError,
    GoliveError,
    MaybeAppliedError,
    StoreError,
    StoreUnavailableError,
)
from golive_redis.operator import grants, preflight, restrictions
from golive_redis.operator.activation import Activation
from golive_redis.operator.grants import put_grant, put_successor, successor
from golive_redis.operator.session import Operator
from golive_redis.records.directive import (
    Grant,
    GrantKind,
    Label,
    Mode,
    Profile,
    RestrictionKind,
)
from golive_redis.records.envelope import Verified, seal
from golive_redis.store import scripts
from golive_redis.store.link import Reply
from golive_redis.store.replies import Status, Step
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer


def interrupted(*_: Any) -> Any:
    """Ctrl-C, just there."""
    raise KeyboardInterrupt


LOST = "carried out, and its answer lost"
GONE = "not carried out, and no answer"


class Losing(Store):
    """A store whose next steps go as `plan` says: LOST, GONE, an error, or an answer of its own.

    Attributes:
        plan: By step, what happens to its next calls; None lets one through.
        sent: Records that were sent, by step.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store.link, store.keys)
        self.plan: dict[str, list[Any]] = {}
        self.sent: dict[str, list[bytes]] = {"restrict": [], "grant": [], "snapshot": []}

    def _take(self, name: str, raw: bytes, step: Callable[[], Any]) -> Any:
        self.sent[name].append(raw)
        plan = self.plan.get(name)
        what = plan.pop(0) if plan else None
        if callable(what):
            what()
            what = None
        if isinstance(what, Exception):
            raise what
        if what == GONE:
            raise MaybeAppliedError("no answer")
        if isinstance(what, Step):
            return what
        done = step()
        if what == LOST:
            raise MaybeAppliedError("no answer")
        return done

    def restrict(self, item: Any, **options: Any) -> Step:
        step = super().restrict
        return self._take("restrict", item.raw, lambda: step(item, **options))

    def grant(self, item: Any, **options: Any) -> Step:
        step = super().grant
        return self._take("grant", item.raw, lambda: step(item, **options))

    def snapshot(self) -> Any:
        return self._take("snapshot", b"", super().snapshot)


def activation(operator: Operator) -> Verified[Grant]:
    """A signed activation, without the preflight that comes before one."""
    now = clock.wall_ms()
    signer = operator.signers(())[0]
    record = Grant(
        **operator.trust.heading(signer.principal, now),
        kind=GrantKind.ACTIVATE,
        epoch=1,
        term=1,
        mode=Mode.LIVE,
        profile=Profile("micro"),
        limits=operator.policy.profiles[Profile("micro")],
        activated_at_ms=now,
        not_before_ms=now,
        not_after_ms=now + 600_000,
        max_ttl_ms=operator.timing.max_ttl_ms,
        heartbeats=["hb-1"],
        keeps=[],
        drops=[],
        drops_up_to=0,
        reason="test",
        ticket="",
        report=None,
        policy=operator.config.policy_digest,
        prev=None,
    )
    return operator.trust.grant(seal(record, signer))


class Acting:
    """An operator at work in an active term."""

    def __init__(self, live: Any, operator: Operator) -> None:
        self.live = live
        self.operator = operator
        self.said: list[str] = []
        put_grant(operator, activation(operator))
        self.store = operator.store = Losing(operator.store)

    def halt(self, symbol: str = "BTC") -> restrictions.Restricted:
        return restrictions.restrict(
            self.operator,
            RestrictionKind.HALT,
            reason="r",
            labels={Label.SYMBOL: symbol},
            say=self.said.append,
        )

    def extend(self) -> Verified[Grant]:
        operator = self.operator
        reading = operator.read()
        assert reading.state is not None
        kept = reading.state.restrictions
        signers = operator.signers(())
        draft = successor(operator, reading, signers[0], kept, kind=GrantKind.EXTEND)
        grant = operator.trust.grant(seal(draft, *signers))
        put_successor(operator, reading, grant, b"", say=self.said.append)
        return grant

    def another_halt(self, symbol: str = "ETH") -> Callable[[], Any]:
        """Another operator's halt, as a step of a plan."""
        return lambda: self.live.halt(symbol=symbol)

    @property
    def halts(self) -> int:
        """How many are in force."""
        return len([key for key in self.live.raw.hkeys("golive:active") if key.startswith(b"r:")])

    @property
    def newest(self) -> bytes:
        """Identity of what was put in force last."""
        return self.live.raw.hget("golive:active", "last")

    @property
    def entered(self) -> int:
        """How many halts the ledger has."""
        return len(self.live.records("restriction"))


@pytest.fixture
def acting(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Iterator[Acting]:
    live = fleet(any_server)
    with Operator(live.config) as operator:
        yield Acting(live, operator)


# -- before a directive is sent --------------------------------------------------------------------


def test_a_question_without_an_answer_leaves_no_doubt_that_nothing_was_put_in_force(
    acting: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 7: nothing was sent yet, so nothing may have been applied."""

    def silent(*_: object) -> Reply:
        raise MaybeAppliedError("no answer from Redis: timeout")

    with monkeypatch.context() as broken:
        broken.setattr(acting.store.link, "call", silent)
        broken.setattr(acting.store.link, "pipeline", silent)
        for act in (acting.halt, lambda: put_grant(acting.operator, activation(acting.operator))):
            with pytest.raises(StoreUnavailableError, match="no answer from Redis: timeout"):
                act()
        report: Any = activation(acting.operator)  # only its bytes matter
        broken.setattr(Store, "head", lambda _: "0" * 64)
        with pytest.raises(StoreError, match="nothing was put in force") as told:
            preflight.enter(acting.operator, report)
        assert not isinstance(told.value, MaybeAppliedError)
    assert acting.live.spooled() == [] and acting.halts == 0


def test_a_halt_is_signed_again_also_when_it_cannot_be_told_who_came_first(acting: Acting) -> None:
    """Row 51: which directive it was is wording, and holds up nothing."""
    acting.store.plan = {
        "restrict": [acting.another_halt()],
        "snapshot": [None, StoreUnavailableError("no answer")],
    }
    acting.halt()
    assert acting.said[0] == "another directive came first; signing on top of it"
    assert acting.halts == 2


# -- a halt ----------------------------------------------------------------------------------------


def test_a_halt_is_put_in_force_when_the_answers_cannot_be_listened_for(
    acting: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 7: the connection for receipts is refused, or its first answer lost."""
    for error in (
        StoreUnavailableError("cannot reach Redis: max number of clients reached"),
        MaybeAppliedError("no answer from Redis: timeout"),
    ):

        def refused(*_: object, why: StoreError = error) -> None:
            raise why

        link = acting.operator.address.link(timeout_ms=100)
        monkeypatch.setattr(link, "send", refused)
        with monkeypatch.context() as broken:
            broken.setattr(type(acting.operator.address), "link", lambda *_, link=link, **__: link)
            done = acting.halt()
        assert (done.ledger, dict(done.applied)) == ("written", {})
        why = f"cannot listen for receipts: {error.message}"
        assert acting.said.pop() == f"who has applied it is not known: {why}"
    assert acting.halts == 2


def test_a_halt_without_an_answer_is_put_again_and_entered_once(acting: Acting) -> None:
    """Row 7: whether the first try was carried out or not, it is one halt with one entry."""
    for number, lost in enumerate((LOST, GONE), 1):
        acting.store.plan = {"restrict": [lost]}
        with suppress(MaybeAppliedError):  # told by what was sent
            done = acting.halt(f"S{number}")
            assert (done.ledger, acting.said) == ("written", [])
        sent = acting.store.sent["restrict"]
        assert len(sent) == 2 * number and sent[-1] == sent[-2]
        assert (acting.halts, acting.entered, acting.live.spooled()) == (number, number, [])


def test_an_entry_that_a_recognised_repeat_finds_missing_is_written(acting: Acting) -> None:
    """Row 7: SAME says that it is in force, and nothing of the ledger."""
    head, audit = acting.store.keys.head, acting.store.keys.audit
    before = acting.live.raw.dump(head), acting.live.raw.dump(audit)

    def lose_the_entry() -> None:
        for key, value in zip((head, audit), before, strict=True):
            acting.live.raw.restore(key, 0, value, replace=True)

    acting.store.plan = {"restrict": [LOST, lose_the_entry]}
    assert (acting.halt().ledger, acting.entered) == ("written", 1)


def test_an_earlier_try_that_something_came_before_is_told_and_kept_for_the_ledger(
    acting: Acting,
) -> None:
    """Row 7: no answer, another came first, signed again: two may be or have been in force."""
    acting.store.plan = {"restrict": [LOST, Step(Status.CONFLICT, "another")]}
    done = acting.halt()
    assert done.restriction.record.epoch == 3 and acting.halts == 2
    told = "a try without an answer (epoch 2) may be or have been in force"
    assert acting.said[1:] == [f"{told}; its audit entry is saved on this host and sent later"]
    assert len(acting.live.spooled()) == 1


def test_an_earlier_try_whose_entry_cannot_be_kept_is_not_lost_without_a_word(
    acting: Acting,
) -> None:
    """Row 7: the hint says it where the command ends with an error, and a line where it does not."""
    acting.live.state_dir.mkdir(exist_ok=True)
    (acting.live.state_dir / "spool").write_text("no folder")
    told = "a try without an answer (epoch 2) may be or have been in force"
    told += "; its audit entry could NOT be kept"
    acting.store.plan = {"restrict": [GONE, GONE]}
    with pytest.raises(MaybeAppliedError, match="an earlier try got no answer") as error:
        acting.halt()
    assert error.value.hint == f"{told}; look at `golive status` before you run it again"
    acting.store.plan = {"restrict": [GONE, Step(Status.CONFLICT, "another")]}
    acting.halt()
    assert acting.said[1:] == [told]


def test_a_broken_counter_does_not_hold_up_a_halt(acting: Acting) -> None:
    """Row 6: only the term matters to it."""
    acting.live.raw.delete("golive:epoch")
    acting.live.raw.hset("golive:epoch", "a", "hash")
    assert acting.operator.read().refused
    with suppress(GoliveError):  # told by what is in force
        acting.halt()
    assert acting.halts == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_while_a_halt_waits_for_answers_says_that_it_is_in_force(
    acting: Acting,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    """Row 7: who interrupts the wait has not taken it back."""
    monkeypatch.setattr(Store, "workers", interrupted)
    words = ["halt", "--reason", "r", "--config", str(acting.live.path), *["--json"] * as_json]
    assert main(words) == Exit.INTERRUPTED == 130
    out, err = capsys.readouterr()
    assert "in force: halt 2 by alice (r)" in (out if as_json else err)
    assert acting.halts == 1


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("restrict", ["halt"]),
        ("restrict", ["reduce", "symbol=ETH"]),
        ("grant", ["resume", "--all"]),
        ("grant", ["extend", "--minutes", "90"]),
    ],
)
def test_ctrl_c_says_what_is_known_of_what_has_left(
    acting: Acting,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: str,
    words: list[str],
) -> None:
    """Row 7: before the answer nobody knows, and after it everybody does; the ledger gets its entry."""
    acting.halt("BTC")
    words = [*words, "--reason", "r", "--config", str(acting.live.path)]
    put, before = getattr(Store, step), acting.newest
    with monkeypatch.context() as cut:
        cut.setattr(Store, step, lambda *given, **named: put(*given, **named) and interrupted())
        assert main(words) == Exit.INTERRUPTED
    assert acting.newest != before, "it is in force, and nobody could know"
    err = capsys.readouterr().err
    assert "may be" in err and "in force" in err and "look at `golive status`" in err
    assert len(acting.live.spooled()) == (step == "restrict"), "a grant is entered by its script"
    before = acting.newest
    acting.halt("BTC")
    with monkeypatch.context() as cut:
        for module in (restrictions, grants):
            cut.setattr(module, "tell_unpushed", interrupted)
        assert main(words) == Exit.INTERRUPTED
    assert acting.newest != before
    assert f"in force: {words[0]} " in capsys.readouterr().err


def test_ctrl_c_after_a_second_try_says_that_this_one_is_in_force(
    acting: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 7: what was in doubt before has been told by then, and is kept once."""
    monkeypatch.setattr(restrictions, "tell_unpushed", interrupted)
    acting.store.plan = {"restrict": [LOST, Step(Status.CONFLICT, "another")]}
    with (
        pytest.raises(KeyboardInterrupt, match=r"in force: halt 3 by alice \(r\)"),
        acting.operator,
    ):
        acting.halt()
    assert "a try without an answer (epoch 2) may be or have been in force" in acting.said[1]
    assert len(acting.live.spooled()) == 1
    assert acting.operator.memory.newest.directive is not None


def test_ctrl_c_while_an_entry_is_written_leaves_it_for_later(
    acting: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 7: the halt was recognised as its own repeat, and its entry is missing."""
    monkeypatch.setattr(restrictions, "append_once", interrupted)
    acting.store.plan = {"restrict": [LOST]}
    with pytest.raises(KeyboardInterrupt):
        acting.halt()
    assert len(acting.live.spooled()) == 1


# -- a grant ---------------------------------------------------------------------------------------


def test_a_grant_without_an_answer_is_put_again_once(acting: Acting) -> None:
    """Row 7: recognised; and without an answer again it is unknown, at once."""
    acting.store.plan = {"grant": [LOST]}
    grant = acting.extend()
    assert acting.store.sent["grant"] == [grant.raw] * 2
    acting.store.plan = {"grant": [GONE] * 9}
    with pytest.raises(MaybeAppliedError):
        acting.extend()
    assert len(acting.store.sent["grant"]) == 4


def test_a_grant_follows_a_ledger_head_that_moves(acting: Acting) -> None:
    """Row 51: another entry comes between reading and putting, and the grant is entered after it."""

    def enter() -> None:
        append(Store(acting.store.link, acting.store.keys), activation(acting.operator).raw)

    acting.store.plan = {"grant": [enter]}
    with suppress(StoreError):  # told by the ledger
        acting.extend()
    assert len(acting.store.sent["grant"]) == 2
    assert len(acting.live.records("grant")) == 3


# -- in force, and known to be ---------------------------------------------------------------------


def test_what_is_in_force_is_never_told_as_a_failure(
    acting: Acting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 7: a full disk on this host, and a server that dies while the fleet arms."""

    def full(*_: object, **__: object) -> None:
        raise ConfigError("no space left on device")

    def gone(_: object) -> Any:
        raise StoreUnavailableError("cannot reach Redis: refused")

    monkeypatch.setattr(acting.operator.memory, "save", full)
    told = "in force, and not remembered on this host: no space left on device"
    grant = None
    with suppress(GoliveError):  # told by what is said
        grant = acting.extend()
    assert grant is not None and acting.said == [told]
    waiting = Activation(acting.operator, reason="r", say=acting.said.append)
    monkeypatch.setattr(Store, "workers", gone)
    armed = None
    with suppress(GoliveError):
        armed = waiting.wait_armed(grant, 0.2)
    assert armed is not None and armed.armed == ()
    assert acting.said[1:] == [
        "in force, and who is armed is not known: cannot reach Redis: refused"
    ]


@pytest.mark.parametrize("answer", [[b"WHAT"], [], None, 7, [b"OK", b"", b"", b"", b"", b""]])
def test_an_unusable_answer_to_what_writes_is_not_told_as_not_done(
    acting: Acting, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """Row 7: a proxy or a foreign server answered; the script may have run."""
    usable = isinstance(answer, list) and answer[:1] == [b"OK"]
    steps = {
        "restrict": acting.halt,
        "grant": acting.extend,
        "append": lambda: append(acting.store, activation(acting.operator).raw),
    }
    for name, act in steps.items():
        real = scripts.run

        def run(link: Any, script: str, *args: Any, name: str = name, real: Any = real) -> Reply:
            done = real(link, script, *args)
            return answer if script == name else done

        with monkeypatch.context() as foreign:
            foreign.setattr(scripts, "run", run)
            if usable:
                act()
                continue
            with pytest.raises(MaybeAppliedError, match="unusable reply of a script"):
                act()
