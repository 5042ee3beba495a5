"""Two approvers on two hosts: real heartbeats and workers, and a state folder for each host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from golive_cli.commands.status import show
from golive_cli.output import Output, when
from golive_cli.proposalview import say_waiting
from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.audit.memory import LedgerMemory
from golive_redis.audit.opening import Keysets
from golive_redis.audit.stream import Stream
from golive_redis.config import Config
from golive_redis.errors import ConflictError, GoliveError, RefusedError
from golive_redis.operator import preflight, proposals
from golive_redis.operator.activation import Activation, HasteError
from golive_redis.operator.proposals import Decided, Proposal
from golive_redis.operator.session import Operator
from golive_redis.records.approval import APPROVE_WITHIN_MS, Said
from golive_redis.records.directive import GrantKind
from golive_redis.records.report import Finding, Outcome
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet

MakeFleet = Callable[..., Fleet]


class Desk:
    """An approver at a host of their own: their key, their state folder."""

    def __init__(self, fleet: Fleet, name: str, **changes: Any) -> None:
        self.name = name
        keys = {**fleet.settings["keys"], "operator": f"{name}.pem"}
        path = fleet.write_config(
            f"{name}-{len(changes)}.yaml", keys=keys, state_dir=f"state-{name}", **changes
        )
        self.config: Config = configuration.load(path, environ={})

    def propose(self, **options: Any) -> Proposal:
        with Operator(self.config) as operator:
            activation = Activation(operator, reason="open", others=True, **options)
            return proposals.propose_activation(operator, activation)

    def change(self, kind: str, **options: Any) -> Proposal:
        with Operator(self.config) as operator:
            return proposals.propose_change(operator, GrantKind(kind), reason="on", **options)

    def waiting(self) -> list[str]:
        with Operator(self.config) as operator:
            return [item.id for item in proposals.waiting(operator)]

    def approve(self, name: str, *, armed: bool = True, **options: Any) -> Decided:
        with Operator(self.config) as operator:
            decided = proposals.approve(operator, proposals.named(operator, name), **options)
            if decided.activation is not None and decided.grant is not None and armed:
                done = decided.activation.wait_armed(decided.grant, 10)
                assert done.armed
                assert not done.not_armed
            return decided


@contextmanager
def minutes_ago(monkeypatch: pytest.MonkeyPatch, minutes: float) -> Iterator[None]:
    """What is done here is done so long ago, by the clock of the one who does it."""
    real = clock.wall_ms
    with monkeypatch.context() as patch:
        patch.setattr(clock, "wall_ms", lambda: real() - round(minutes * 60_000))
        # What compares clocks would tell.
        patch.setattr(proposals, "_require_clock", lambda _: None)
        passed = Finding(check="redis", outcome=Outcome.PASS, explain="as seen")
        patch.setattr(preflight, "run", lambda *_, **__: [passed])
        yield


@pytest.fixture
def two(fleet: MakeFleet, own_server: EmbeddedServer) -> Fleet:
    """A fleet that takes two approvers, with a heartbeat and two workers, off."""
    live = fleet(own_server, approvals=2)
    live.start_heartbeat("hb-1")
    live.start_workers("pod-1", "pod-2")
    live._wait_registered()
    return live


def judged(live: Fleet) -> str:
    """What `golive audit verify` says of its ledger."""
    with Operator(live.config) as operator:
        trust = operator.trust
        keysets = Keysets.of([trust.keyset], trust.namespace, trust.environment)
        verdict = Stream(operator.store, keysets, LedgerMemory(None, trust)).whole_ledger()
    return "" if verdict.broken is None else verdict.broken.message


def test_a_grant_that_two_have_signed_on_two_hosts_arms_everybody(two: Fleet) -> None:
    alice, bob = Desk(two, "alice"), Desk(two, "bob")
    proposal = alice.propose()
    assert (len(proposal.id), proposal.proposer) == (9, "alice")
    assert bob.waiting() == [proposal.id]
    assert not two.workers["pod-1"].ask("status")["allowed"]
    decided = bob.approve(proposal.id[:4])
    assert decided.grant is not None
    assert decided.grant.signers == {"alice", "bob"}
    two.wait_all_armed()
    assert bob.waiting() == []
    assert judged(two) == ""


@pytest.mark.parametrize("minutes", [61 / 60, 9.5])
def test_a_grant_that_has_waited_arms_everybody_once_it_is_executed(
    two: Fleet, monkeypatch: pytest.MonkeyPatch, minutes: float
) -> None:
    """Without the execution a heartbeat would not adopt what was signed over a minute ago (S13)."""
    with minutes_ago(monkeypatch, minutes):
        proposal = Desk(two, "alice").propose()
    Desk(two, "bob").approve(proposal.id)
    two.wait_all_armed()
    assert judged(two) == ""


def test_a_proposal_that_has_waited_too_long_is_gone(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with minutes_ago(monkeypatch, 10.1):
        proposal = Desk(two, "alice").propose()
        assert proposal.until_ms - proposal.grant.record.issued_at_ms == APPROVE_WITHIN_MS
    assert Desk(two, "bob").waiting() == []
    with pytest.raises(RefusedError, match="no proposal waits"):
        Desk(two, "bob").approve(proposal.id)


def test_whoever_has_signed_cannot_sign_again_and_one_alone_starts_nothing(two: Fleet) -> None:
    alice = Desk(two, "alice")
    proposal = alice.propose()
    with pytest.raises(RefusedError, match="alice has signed it already"):
        alice.approve(proposal.id)
    with pytest.raises(RefusedError, match=r"2 approver signature\(s\) needed, 1 given") as found:
        two.activate()
    assert "golive propose activate" in found.value.hint
    assert two.raw.hgetall("golive:active") == {}


def test_a_refusal_is_entered_at_home_and_in_no_ledger_of_another_fleet(two: Fleet) -> None:
    with pytest.raises(RefusedError, match="1 given"):
        two.activate()
    assert two.raw.xlen("golive:audit") == 1
    two.raw.set("golive:fleet-id", "f" * 32)
    for tried in (two.activate, Desk(two, "alice").propose):
        with pytest.raises(RefusedError):
            tried()
    assert two.raw.xlen("golive:audit") == 1


def test_a_refusal_under_another_keyset_than_the_fleets_is_told_and_not_entered(two: Fleet) -> None:
    """One wrong file on one host would make `audit verify` fail on every other for good."""
    alice, bob = Desk(two, "alice"), Desk(two, "bob")
    bob.approve(alice.propose().id)
    proposal = alice.change("extend", minutes=900)
    keyset = two.folder / "keyset.yaml"
    right = keyset.read_text()
    keyset.write_text(right.replace("version: 1", "version: 2"))
    before = two.raw.xlen("golive:audit")
    try:
        with pytest.raises(ConflictError, match="made under keyset 1; this host has 2"):
            bob.approve(proposal.id)
    finally:
        keyset.write_text(right)
    refused = [raw for _, raw in two.raw.xrange("golive:audit")][before:]
    assert not [entry for entry in refused if b"refusal" in b"".join(entry.values())]
    assert judged(two) == ""
    with pytest.raises(RefusedError, match="alice has signed it already"):
        alice.approve(proposal.id)
    assert two.raw.xlen("golive:audit") > before  # at home it is entered


def test_a_stop_or_a_halt_in_between_makes_a_proposal_stale(two: Fleet) -> None:
    alice, bob = Desk(two, "alice"), Desk(two, "bob")
    bob.approve(alice.propose().id)
    two.wait_all_armed()
    two.halt(symbol="BTCUSDT")
    lifted = alice.change("resume", labels={"symbol": "BTCUSDT"})
    two.halt(symbol="ETHUSDT")
    with pytest.raises(ConflictError, match="out of date: halt"):
        bob.approve(lifted.id)
    decided = bob.approve(alice.change("resume", every=True).id)
    assert decided.grant is not None
    assert len(decided.grant.record.drops) == 2
    assert judged(two) == ""
    two.revoke("for today")
    proposal = alice.propose()
    two.revoke("no, not again")  # it repeats the one that stands, and means what is about to start
    with pytest.raises(RefusedError, match="no proposal waits"):
        bob.approve(proposal.id)
    assert judged(two) == ""


def test_what_has_every_signature_and_was_not_executed_is_executed_by_one_of_them(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last command was killed between its signature and the step that puts it in force."""
    alice, bob = Desk(two, "alice"), Desk(two, "bob")
    proposal = alice.propose()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Activation, "take_effect", killed)
        with pytest.raises(KeyboardInterrupt):
            bob.approve(proposal.id)
    assert two.raw.hgetall("golive:active") == {}
    decided = alice.approve(proposal.id)
    assert decided.grant is not None
    assert decided.grant.signers == {"alice", "bob"}
    two.wait_all_armed()
    assert judged(two) == ""


def test_of_two_last_signatures_at_once_one_executes(
    fleet: MakeFleet, own_server: EmbeddedServer
) -> None:
    two = fleet(own_server, approvals=2)
    two.add_principal("carol", "approver")
    two.write_keyset()
    two.start_heartbeat("hb-1")
    two.start_workers("pod-1")
    two._wait_registered()
    alice, bob, carol = (Desk(two, name) for name in ("alice", "bob", "carol"))
    proposal = alice.propose()

    def sign(desk: Desk) -> str:
        try:
            desk.approve(proposal.id, armed=False)
        except GoliveError as error:
            return type(error).__name__
        return "in force"

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(sign, (bob, carol)))
    assert said.count("in force") == 1, said
    two.wait_all_armed()
    assert judged(two) == ""


def test_what_was_rejected_or_withdrawn_waits_no_longer_and_is_in_the_ledger(two: Fleet) -> None:
    alice, bob = Desk(two, "alice"), Desk(two, "bob")
    first, second = alice.propose(), alice.propose(ticket="OPS-2")
    with Operator(bob.config) as operator:
        with pytest.raises(RefusedError, match="it is alice's proposal"):
            proposals.decline(operator, first, Said.WITHDRAW, "")
        proposals.decline(operator, first, Said.REJECT, "not now")
    with Operator(alice.config) as operator:
        proposals.decline(operator, second, Said.WITHDRAW, "")
    assert bob.waiting() == []
    for proposal in (first, second):
        with pytest.raises(RefusedError, match="no proposal waits"):
            bob.approve(proposal.id)
    assert judged(two) == ""


def test_what_was_rejected_and_is_put_back_into_redis_is_signed_by_nobody(two: Fleet) -> None:
    """Its maker's signature is good for ten minutes; the ledger knows that somebody said no."""
    alice, bob = Desk(two, "alice"), Desk(two, "bob")
    proposal = alice.propose()
    key = f"golive:proposal:{proposal.grant.identity}"
    fields = two.raw.hgetall(key)
    with Operator(bob.config) as operator:
        proposals.decline(operator, proposal, Said.REJECT, "not now")
    two.raw.hset(key, mapping=fields)
    two.raw.zadd("golive:proposals", {proposal.grant.identity: proposal.until_ms})
    assert bob.waiting() == [proposal.id]
    with pytest.raises(ConflictError, match="bob rejected this proposal: not now"):
        bob.approve(proposal.id)
    assert not two.raw.exists("golive:active")


def test_more_than_twenty_wait_for_nobody_and_those_that_wait_are_all_shown(two: Fleet) -> None:
    alice = Desk(two, "alice")
    with Operator(alice.config) as operator:
        until_ms = clock.wall_ms() + 60_000
        for number in range(19):
            operator.store.propose(f"{number:064x}", until_ms, clock.wall_ms())
    proposal = alice.propose()
    with pytest.raises(RefusedError, match="20 proposals are open"):
        alice.propose(ticket="OPS-2")
    assert alice.waiting() == [proposal.id]
    assert two.raw.zcard("golive:proposals") == 20


def test_a_host_with_another_policy_does_not_sign(two: Fleet) -> None:
    proposal = Desk(two, "alice").propose()
    with pytest.raises(ConflictError, match="another policy"):
        Desk(two, "bob", window_minutes=60).approve(proposal.id)


def test_what_was_planted_is_no_proposal(two: Fleet) -> None:
    """Whoever owns Redis can put anything there; what counts is signed, by those whom it names."""
    alice, bob = Desk(two, "alice"), Desk(two, "bob")
    proposal = alice.propose()
    key = f"golive:proposal:{proposal.grant.identity}"
    grant = two.raw.hget(key, "grant:alice")
    two.raw.hset(key, "grant:bob", grant)  # alice's again, in the name of bob
    two.raw.hset(key, "answer:bob", b"nothing")
    two.raw.zadd("golive:proposals", {"f" * 64: 9e15, b"\xff\xfe": 9e15})
    two.raw.hset("golive:proposal:" + "f" * 64, "grant:alice", grant)
    assert bob.waiting() == [proposal.id]
    assert bob.approve(proposal.id).grant is not None


def test_a_finished_proposal_that_somebody_plays_back_arms_nobody(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of Redis puts grant and execution back, after the minute in which they were fresh."""
    alice, bob = Desk(two, "alice"), Desk(two, "bob")
    with minutes_ago(monkeypatch, 5):
        proposal = alice.propose()
    with minutes_ago(monkeypatch, 3):  # three minutes ago it was executed, and ended without a stop
        decided = bob.approve(proposal.id, armed=False)
    assert decided.grant is not None
    fields = two.raw.hgetall("golive:active")
    assert fields[b"execution"]
    two.raw.delete("golive:active")
    two._wait_seen_off("test")
    two.raw.hset("golive:active", mapping=fields)
    two.raw.pexpire("golive:active", 20_000)
    beating = two.heartbeats["hb-1"]
    told = "was active before this heartbeat knew of it"
    assert told in _waits_for(beating, told)
    assert not two.workers["pod-1"].ask("status")["allowed"]


def test_the_time_of_a_change_is_that_of_its_last_signature_and_not_of_the_proposal(
    two: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = Desk(two, "alice"), Desk(two, "bob")

    def shown() -> str:
        show(Output(), two.status())
        return capsys.readouterr().out

    with minutes_ago(monkeypatch, 5):
        proposal = alice.propose()
    before_ms = clock.wall_ms()
    bob.approve(proposal.id)
    active = two.status().active
    assert active.activated_at_ms < before_ms - 200_000 < before_ms <= active.since_ms
    assert f"term {active.term} by alice, bob since {when(active.since_ms)}" in shown()
    two.halt(symbol="AAA")
    resume = alice.change("resume", every=True)
    clock.pause_ms(5)
    before_ms = clock.wall_ms()
    bob.approve(resume.id)
    active = two.status().active
    assert active.issued_at_ms < before_ms <= active.changed_ms and active.since_ms is None
    said = shown()
    assert f"resume by alice, bob at {when(active.changed_ms)}: on" in said
    assert f"term {active.term} by alice, bob proposed at {when(active.activated_at_ms)}" in said


def test_haste_and_risk_are_asked_here_and_by_the_heartbeat(
    fleet: MakeFleet, own_server: EmbeddedServer
) -> None:
    live = fleet(own_server, approvals=2, cool_down="1h", activations_per_day=0)
    live.add_principal("carol", "approver")
    live.add_principal("rita", "approver")
    live.principals["rita"]["authority"] = "risk"
    live.write_keyset()
    live.start_heartbeat("hb-1")
    live.start_workers("pod-1")
    live._wait_registered()
    alice, bob, carol, rita = (Desk(live, name) for name in ("alice", "bob", "carol", "rita"))
    bob.approve(alice.propose().id)
    live.revoke("latency", config=rita.config)
    proposal = alice.propose()
    with pytest.raises(HasteError, match="cool-down"):
        bob.approve(proposal.id)
    # A client that does not ask gains nothing: no heartbeat adopts it.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Activation, "_refuse_haste", lambda *_: None)
        bob.approve(alice.propose().id, armed=False)
    assert "cool-down" in _waits_for(live.heartbeats["hb-1"], "cool-down")
    assert not live.workers["pod-1"].ask("status")["allowed"]
    live.revoke("again", config=rita.config)
    # One signature more lifts the cool-down, and not the word of risk.
    both = [str(live.folder / "bob.pem")]
    with pytest.raises(HasteError, match=r"rita \(risk\), so rita has to sign"):
        carol.approve(alice.propose().id, keys=both)
    decided = rita.approve(alice.propose().id, keys=both)
    assert decided.grant is not None
    assert decided.grant.signers == {"alice", "bob", "rita"}
    live.wait_all_armed()


def test_after_a_stop_by_risk_one_signature_is_proposed_to_risk_and_what_is_hinted_works(
    fleet: MakeFleet, own_server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    live = fleet(own_server, approvals=1, cool_down="0s", activations_per_day=0)
    live.add_principal("carol", "approver")
    live.principals["bob"]["authority"] = "risk"
    live.write_keyset()
    live.start_heartbeat("hb-1")
    live.start_workers("pod-1")
    live._wait_registered()
    alice, bob, carol = (Desk(live, name) for name in ("alice", "bob", "carol"))
    with pytest.raises(RefusedError, match="nobody else has to be asked"):
        alice.propose()
    live.revoke("limit breach", config=bob.config)
    with Operator(alice.config) as operator, pytest.raises(HasteError) as alone:
        Activation(operator, reason="open", over_unconfirmed=True).prepare()
    assert "bob (risk), so bob has to sign" in alone.value.message
    assert alone.value.hint.startswith("golive propose activate --reason TEXT, then bob: ")
    assert "wait" not in alone.value.hint
    proposal = alice.propose(over_unconfirmed=True)
    with Operator(alice.config) as operator:
        say_waiting(Output(), operator, proposal)
    said = capsys.readouterr().out
    assert "signed by alice (1 of 1); bob (risk) has to sign" in said
    assert f", bob: golive approve {proposal.id}" in said
    with pytest.raises(HasteError) as other:
        carol.approve(proposal.id, over_unconfirmed=True)
    assert other.value.hint.startswith(f"bob: golive approve {proposal.id}")
    decided = bob.approve(proposal.id, over_unconfirmed=True)
    assert decided.grant is not None
    assert decided.grant.signers == {"alice", "bob"}
    live.wait_all_armed()
    assert judged(live) == ""


def _waits_for(beating: Any, text: str) -> str:
    until = clock.now_ms() + 10_000
    while clock.now_ms() < until:
        said = str(beating.ask("status")["waiting_for"])
        if text in said:
            break
        clock.pause_ms(20)
    return said
