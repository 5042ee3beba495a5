"""Several operators at once, and somebody who owns Redis but no key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest

from golive_redis import clock, config
from golive_redis.config import keyfile
from golive_redis.errors import (
    ConfigError,
    ConflictError,
    MaybeAppliedError,
    RefusedError,
    StoreError,
    StoreUnavailableError,
)
from golive_redis.operator import grants, restrictions
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, GrantKind, Label, Restriction, RestrictionKind
from golive_redis.records.envelope import KeySigner, Signer, identity_of, peek, seal
from golive_redis.statefile import StateFileError
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.replies import Status, Step
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer

MS = clock.NS_PER_MS


@pytest.fixture
def one_server() -> Iterator[EmbeddedServer]:
    """For what no server has a part in."""
    with EmbeddedServer() as server:
        yield server


def config_of(live: Any, name: str) -> Any:
    """The same setup with another operator's key."""
    own = {**live.settings["keys"], "operator": f"{name}.pem"}
    return config.load(live.write_config(keys=own, state_dir=f"state-{name}"), environ={})


def signer_of(live: Any, name: str) -> Signer:
    return KeySigner(name, keyfile.read(live.folder / f"{name}.pem", {}))


def at_once(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all of them at the same time; return what each returned or raised."""
    results: list[Any] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def run(number: int) -> None:
        start.wait(60)
        try:
            results[number] = acts[number]()
        except Exception as error:  # noqa: BLE001  (judged by the test)
            results[number] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return results


def test_of_two_activations_at_once_one_wins_and_the_other_is_told_by_whom(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 51."""
    live = fleet(own_server)
    live.start_heartbeat()
    with Operator(live.config) as alice, Operator(config_of(live, "bob")) as bob:
        for number in range(2):
            if number:
                live.revoke()
            tries = [
                Activation(who, reason=f"{name}'s, {number}")
                for who, name in ((alice, "alice"), (bob, "bob"))
            ]
            readings = [each.prepare() for each in tries]
            results = at_once(
                [
                    lambda t=t, r=r: t.commit(r)  # type: ignore[misc]
                    for t, r in zip(tries, readings, strict=True)
                ]
            )
            lost = next(item for item in results if isinstance(item, ConflictError))
            won = next(item for item in results if item is not lost)
            assert f"activate {won.record.epoch} by {won.record.by}" in lost.message
            assert won.record.reason in lost.message
            assert live.raw.hget("golive:active", "grant") == won.raw
    assert len(live.records("grant")) == 2


def test_of_many_halts_at_once_none_is_lost(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 51: each is signed again on top of what came first. A resume in between drops its own."""
    live = fleet(own_server)
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    symbols = ["AAA", "BBB", "CCC", "DDD", "EEE"]
    results = at_once([lambda s=s: live.halt(f"halt {s}", symbol=s) for s in symbols])  # type: ignore[misc]
    assert all(isinstance(item, restrictions.Restricted) for item in results), results
    assert sorted(item.restriction.record.epoch for item in results) == [2, 3, 4, 5, 6]
    in_force = live.status().active.restrictions
    assert sorted(item.labels["symbol"] for item in in_force) == symbols
    assert len(live.records("restriction")) == len(symbols)
    for symbol in symbols:
        assert worker.check(symbol=symbol)["reason"] == "halted"
    worker.wait_permit(symbol="FFF")

    def resume() -> Any:
        for _ in range(20):
            try:
                return live.resume(symbol="AAA")
            except ConflictError:
                continue  # a grant is not signed again by itself
        raise AssertionError("a resume that never gets through")

    resumed, *halted = at_once(
        [resume, *(lambda s=s: live.halt("more", symbol=s) for s in ("GGG", "HHH"))]  # type: ignore[misc]
    )
    assert resumed is None and all(isinstance(item, restrictions.Restricted) for item in halted)
    wait_for(lambda: worker.check(symbol="AAA")["permit"], what="the resume")
    for symbol in [*symbols[1:], "GGG", "HHH"]:
        assert worker.check(symbol=symbol)["reason"] == "halted"


def test_an_activation_that_cannot_be_written_down_or_kept_alive_does_not_happen(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 19; and without a heartbeat nothing could stay armed."""
    live = fleet(own_server)
    with pytest.raises(RefusedError, match="no heartbeat is registered"):
        live.activate()
    heartbeat = live.start_heartbeat()
    live.raw.set("golive:audit", "what?")
    with pytest.raises((RefusedError, StoreError)):
        live.activate()
    assert live.raw.exists("golive:active") == 0
    live.raw.delete("golive:audit", "golive:head")
    live.raw.config_set("maxmemory", 1)
    with pytest.raises((RefusedError, StoreError)):
        live.activate()
    live.raw.config_set("maxmemory", 0)
    assert live.raw.exists("golive:active") == 0 and live.records("grant") == []
    heartbeat.kill()
    live.raw.delete(*live.raw.keys("golive:heartbeat:*"))  # as after 10 s
    with pytest.raises(RefusedError, match="hb-1 fell silent without a goodbye"):
        live.activate()


def test_a_halt_waits_neither_for_this_hosts_memory_nor_for_the_answers(
    fleet: Callable[..., Any],
    one_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
) -> None:
    """What comes after a restriction cannot make it look as if there had been none."""
    live = fleet(one_server)
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    torn = live.state_dir / "operator.0.json"
    whole = torn.read_bytes()
    torn.write_bytes(b"{ torn")
    said: list[str] = []
    with Operator(live.config) as operator:
        restrictions.restrict(
            operator, RestrictionKind.HALT, reason="r", labels={Label.SYMBOL: "AAA"}
        )
        with pytest.raises(ConfigError, match=r"operator\.0\.json"):
            grants.loosen(operator, GrantKind.RESUME, reason="r", every=True)
    assert worker.check(symbol="AAA")["reason"] == "halted"
    torn.write_bytes(whole)

    def broken(*_: object) -> Any:
        raise StoreUnavailableError("broken on purpose")

    monkeypatch.setattr(restrictions.Receipts, "listen", broken)
    with Operator(live.config) as operator:
        monkeypatch.setattr(operator.memory, "_file", _FullDisk())
        done = restrictions.restrict(
            operator,
            RestrictionKind.HALT,
            reason="r",
            labels={Label.SYMBOL: "BBB"},
            say=said.append,
        )
    assert done.ledger == "written" and len(said) == 2
    wait_for(lambda: worker.check(symbol="BBB").get("reason") == "halted", what="the halt")
    monkeypatch.undo()
    live.resume(symbol=" aaa")  # as its author means it, however it is typed
    assert worker.check(symbol="bbb")["reason"] == "halted"


@pytest.mark.parametrize("kind", [RestrictionKind.HALT, RestrictionKind.REDUCE])
def test_the_time_that_a_key_takes_is_not_taken_from_those_who_answer(
    fleet: Callable[..., Any],
    one_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    kind: RestrictionKind,
) -> None:
    """A key in a device or behind a program may take longer than the fleet has to answer."""
    live = fleet(one_server)
    live.go_live("pod-1")
    real, asked = clock.now_ms, [0.0]
    monkeypatch.setattr(clock, "now_ms", lambda: real() + asked[0])
    monkeypatch.setattr(restrictions, "APPLIED_WAIT_MS", 20_000.0)  # as long as this machine takes
    sealed = restrictions.seal

    def slowly(record: Restriction, signer: Signer) -> bytes:
        asked[0] += 60_000.0
        return sealed(record, signer)

    monkeypatch.setattr(restrictions, "seal", slowly)
    with Operator(live.config) as operator:
        done = restrictions.restrict(operator, kind, reason="r")
    assert asked == [60_000.0]
    assert [pod.worker for pod in done.applied] == ["pod-1"] and not done.silent
    assert all(0 <= after_ms < 60_000 for after_ms in done.applied.values())


@pytest.mark.parametrize(
    ("then", "told"),
    [
        (StoreRefusedError("NOPERM", "no permission"), "no permission"),
        (Step(Status.REFUSED, "absent"), "absent|nothing is active"),
        (Step(Status.CONFLICT, "another"), "came first"),
    ],
)
def test_what_followed_a_try_without_an_answer_is_not_told_as_refused(
    fleet: Callable[..., Any],
    one_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    wait_for: Callable[..., None],
    then: StoreRefusedError | Step,
    told: str,
) -> None:
    """Row 7: the first try was carried out, and its answer lost; then another thing went wrong."""
    live = fleet(one_server)
    live.go_live("pod-1")

    def lose_the_answer_of(name: str) -> None:
        real, tries = getattr(Store, name), []

        def step(store: Store, *args: Any, **kwargs: Any) -> Step:
            tries.append(name)
            if len(tries) == 1:
                real(store, *args, **kwargs)
                raise MaybeAppliedError("no answer")
            if isinstance(then, Exception):
                raise then
            return then

        monkeypatch.setattr(Store, name, step)

    lose_the_answer_of("restrict")
    after = f"an earlier try got no answer, and then.*({told})"
    with pytest.raises(MaybeAppliedError, match=after) as halted:
        live.halt(symbol="BTC")
    assert "its audit entry is saved on this host" in (halted.value.hint or "")
    assert live.spooled(), "the ledger gets it later"
    check = live.workers["pod-1"].check
    wait_for(lambda: check(symbol="BTC").get("reason") == "halted", what="the halt, in force")
    lose_the_answer_of("grant")
    with pytest.raises(MaybeAppliedError, match=after):
        live.resume(symbol="BTC")
    assert live.raw.hget("golive:active", "r:2") is None, "it is in force"


class _FullDisk:
    def write(self, _: object) -> None:
        raise StateFileError("no space left on device")

    def release(self) -> None:
        """Nothing to give back."""


def test_it_takes_as_many_approvers_as_the_keyset_says(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 37: one person is one person, however often and from wherever the key is named."""
    live = fleet(one_server, approvals=2)
    live.start_heartbeat()
    live.start_worker("pod-1")
    alice, bob = str(live.folder / "alice.pem"), str(live.folder / "bob.pem")
    for given in ([], [alice], [alice, alice]):
        with pytest.raises(RefusedError, match=r"2 approver.*missing: 1 of bob"):
            live.activate(keys=given)
    live.activate(keys=[alice, bob])
    live.workers["pod-1"].wait_allowed()
    live.halt(symbol="BTC")
    with pytest.raises(RefusedError, match="bob"):
        live.resume(symbol="BTC")
    assert live.workers["pod-1"].check(symbol="BTC")["reason"] == "halted"
    assert live.revoke().outcome.result == "COMPLETE", "a stop takes one"


def test_what_is_written_into_redis_without_the_right_keys_has_no_effect_but_to_stop(
    fleet: Callable[..., Any], one_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Rows 37 and 55: a lone approver's or a revoker's grant; somebody's halt dropped."""
    live = fleet(one_server, approvals=2)
    live.add_principal("rita", "revoker")
    live.write_keyset()
    live.start_heartbeat()
    worker = live.start_worker("pod-1")
    live.activate(keys=[str(live.folder / "bob.pem")])
    worker.wait_allowed()
    unhalted = live.raw.hgetall("golive:active")
    live.halt(symbol="BTC")
    held = live.raw.hgetall("golive:active")
    grant = peek(held[b"grant"], Grant)
    assert worker.check(symbol="BTC")["reason"] == "halted"

    heartbeat = live.heartbeats["hb-1"]
    wait_for(lambda: peek(live.raw.hget("golive:beat", "hb-1"), Beat).epoch == 2, what="its beat")
    heartbeat.pause()
    with live.raw.pipeline(transaction=True) as pipe:  # the halt is gone, and no grant drops it
        pipe.hdel("golive:active", "r:2")
        pipe.hset("golive:active", mapping=unhalted)
        pipe.execute()
    new = live.start_worker("pod-2")
    wait_for(lambda: new.check()["reason"] == "state-behind", what="somebody new to notice")
    assert not worker.check(symbol="BTC")["permit"]
    heartbeat.resume()
    heartbeat.wait_said("the store lost halt 2; re-asserted")
    wait_for(lambda: live.raw.hget("golive:active", "r:2") == held[b"r:2"], what="the halt")
    wait_for(lambda: worker.check(symbol="ETH")["permit"], what="an answer with all of it")
    assert worker.check(symbol="BTC")["reason"] == "halted"

    wider = msgspec.structs.replace(
        grant, kind=GrantKind.EXTEND, epoch=9, not_after_ms=grant.not_after_ms + 1_000, keeps=[]
    )
    before = worker.health()["security_events"]
    restored = (b"grant", b"epoch", b"last", b"set")
    for signer in ("alice", "rita", "hb-1", "workers"):
        forged = msgspec.structs.replace(wider, by=signer)
        raw = seal(forged, signer_of(live, signer))
        fields = {"grant": raw, "epoch": 9, "last": identity_of(forged), "set": signer}
        live.raw.hset("golive:active", mapping=fields)
        wait_for(
            lambda: worker.check(symbol="ETH").get("reason") == "record-refused",
            what=f"{signer}'s grant refused",
        )
        live.raw.hset("golive:active", mapping={k: held[k] for k in restored})
        wait_for(lambda: worker.check(symbol="ETH")["permit"], what="the real one")
    assert worker.health()["security_events"] > before
    assert worker.check(symbol="BTC")["reason"] == "halted"
    loosened = msgspec.structs.replace(peek(held[b"r:2"], Restriction), labels={}, epoch=8)
    raw = seal(msgspec.structs.replace(loosened, by="workers"), signer_of(live, "workers"))
    live.raw.publish("golive:events", raw)
    wait_for(lambda: worker.check(symbol="ETH")["permit"], what="a stranger's halt refused")
    assert live.revoke().outcome.result == "COMPLETE"


def test_a_replay_of_an_old_activation_and_of_old_beats_arms_nobody(
    fleet: Callable[..., Any], one_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 36: to those who were there, to one that restarted, and to one that is new."""
    live = fleet(one_server)
    live.go_live("pod-1", "pod-2")
    recorded, ttl_ms = live.raw.hgetall("golive:active"), live.raw.pttl("golive:active")
    beat = peek(live.raw.hget("golive:beat", "hb-1"), Beat)
    live.revoke()
    live.heartbeats["hb-1"].kill()  # it would put the tombstone back at once
    live.workers["pod-2"].kill()
    live.raw.delete("golive:revoked")
    hb = signer_of(live, "hb-1")
    # What was recorded 40 s ago; waiting for it would take as long.
    old = [
        msgspec.structs.replace(beat, issued_at_ms=beat.issued_at_ms - 40_000, n=n) for n in (1, 2)
    ]
    live.raw.hset("golive:active", mapping=recorded)
    live.raw.pexpire("golive:active", ttl_ms)
    live.raw.hset("golive:beat", "hb-1", seal(old[0], hb))
    restarted, new = live.start_workers("pod-2", "pod-3")
    wait_for(lambda: new.health()["security_events"] >= 1, what="the first old beat refused")
    live.raw.hset("golive:beat", "hb-1", seal(old[1], hb))
    wait_for(lambda: new.health()["security_events"] >= 2, what="the second old beat refused")
    assert live.raw.exists("golive:active"), "all this while it stood there"
    assert live.workers["pod-1"].check()["reason"] == "revoked"
    wait_for(lambda: restarted.check()["reason"] == "revoked", what="its remembered latch")
    assert restarted.health()["security_events"] >= 1
    assert new.check()["reason"] == "not-armed"
    new.wait_logged("over 30 s off")
    restarted.wait_logged("was revoked and is back")
    assert restarted.last_permit_ns() == new.last_permit_ns() == 0
    live.start_heartbeat("hb-1")
    wait_for(lambda: not live.raw.exists("golive:active"), what="the stop re-asserted")


def test_a_stop_that_could_not_be_signed_keeps_its_host_from_activating(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """The key is gone and nothing tells of it: the stop must be finished with a signature."""
    live = fleet(one_server)
    live.go_live("pod-1")
    key = live.config.resolve(live.config.policy.keys.operator)
    key.chmod(0o644)
    assert live.revoke(wait_ms=100).epoch == 0
    key.chmod(0o600)
    with Operator(live.config) as operator:
        with pytest.raises(RefusedError, match="could not be signed"):
            Activation(operator, reason="again").prepare()
        Activation(operator, reason="again", over_unconfirmed=True).prepare()
    # The key went without a signature, and with it the word on which server the term had lived.
    assert live.revoke(dead=frozenset({"hb-2", "hb-3"})).outcome.settled
    with Operator(live.config) as operator:
        Activation(operator, reason="again").prepare()


def test_a_worker_that_died_armed_is_not_shown_as_armed_after_the_stop(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Its last word is up to 10 s old; nobody reading OFF should have to know that."""
    live = fleet(one_server)
    live.go_live("pod-1")
    live.workers["pod-1"].kill()
    assert live.revoke().outcome.by == "time"
    assert [item.state for item in live.status().workers if item.state == "armed"] == []
    live.revoke(dead_workers=frozenset({"pod-1"}))
    assert live.status().workers == [], "who is attested dead is struck off"


def test_an_operator_whose_clock_is_behind_the_activation_is_refused_and_can_stop(
    fleet: Callable[..., Any], one_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 28: a change of the term would be older than the term; a stop has no such order."""
    live = fleet(one_server)
    live.go_live("pod-1")
    live.halt(symbol="BTC")
    behind = clock.wall_ms() - 300_000
    monkeypatch.setattr(clock, "wall_ms", lambda: behind)
    with Operator(live.config) as operator, pytest.raises(RefusedError, match="clocks is wrong"):
        grants.loosen(operator, GrantKind.RESUME, reason="r", every=True)
    assert live.workers["pod-1"].check(symbol="BTC")["reason"] == "halted"
    assert live.revoke().outcome.result == "COMPLETE"
