"""The spool: what Redis would not take yet, sent once, by the first process that can."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from golive_cli.main import main
from golive_redis import clock, config
from golive_redis.config import keyfile
from golive_redis.delivery.append import append_once
from golive_redis.delivery.spool import Spool
from golive_redis.errors import RefusedError
from golive_redis.operator import session
from golive_redis.operator.session import Operator
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import KeySigner, peek, seal
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.store import Store
from golive_redis.testing.server import EmbeddedServer

MS = clock.NS_PER_MS

# A server that was started anew may not be the only one on which the term has lived: then everybody in
# the keyset has to answer.
NEVER_RAN = frozenset({"hb-2", "hb-3"})


@pytest.fixture
def one_server() -> Iterator[EmbeddedServer]:
    """For what no server has a part in."""
    with EmbeddedServer() as server:
        yield server


def send_spool(live: Any, settings: Any = None) -> list[str]:
    """What every command of an operator does first; returns what it said."""
    said: list[str] = []
    with Operator(settings or live.config) as operator:
        session.send_spool(operator, said.append)
    return said


def wait_healed(live: Any, wait_for: Callable[..., None]) -> None:
    """Wait until everybody is back from an outage, subscribed, and trading."""

    def healed() -> bool:
        states = [worker.health() for worker in live.workers.values()]
        beaten = "golive-heartbeat-hb-1" in str(live.raw.client_list(_type="pubsub"))
        return beaten and all(state["armed"] and state["pushed"] for state in states)

    wait_for(healed, what="the fleet to heal")


def sign_revocation(live: Any, epoch: int, **fields: Any) -> bytes:
    """A revocation as alice would have signed it."""
    trust = live.config.trust()
    values = {
        **trust.heading("alice", clock.wall_ms()),
        "epoch": epoch,
        "reason": "yesterday's",
        "ticket": "",
        "blind": False,
    }
    signer = live.config.signer("operator", trust.keyset)
    return seal(Revocation(**{**values, **fields}), signer)


def test_a_heartbeat_sends_a_stop_that_redis_missed_before_it_beats_again(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 16: signed blind while Redis was down, in force as soon as it is back."""
    live = fleet(own_server)
    live.go_live("pod-1")
    heartbeat, worker = live.heartbeats["hb-1"], live.workers["pod-1"]
    own_server.kill()
    report = live.revoke(wait_ms=200)
    assert report.outcome.result == "NOT CONFIRMED" and len(live.spooled()) == 1
    own_server.restart()
    heartbeat.wait_said("sent now, kept on this host until then: the stop of epoch")
    back_ns = clock.now_ns()
    heartbeat.wait_said("beat refused")
    said = heartbeat.said()
    sent = next(
        n
        for n, text in enumerate(said)
        if "sent now, kept on this host until then: the stop of epoch" in text
    )
    assert said[sent:].index("beat refused: absent") > 0, "its next beat found the stop in force"
    assert live.raw.exists("golive:active") == 0 and not live.spooled()
    wait_for(lambda: worker.check().get("reason") == "revoked", what="its latch")
    assert worker.last_permit_ns() <= back_ns + live.timers.lease_ms * MS
    assert peek(live.raw.hget("golive:revoked", "record"), Revocation).blind
    assert len(live.records("revocation")) == 1
    again = live.revoke(dead=NEVER_RAN)
    assert (again.outcome.result, again.epoch) == ("COMPLETE", report.epoch)
    assert len(live.records("revocation")) == 1


def test_the_next_command_sends_it_and_refuses_to_activate_over_it(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 16, where no heartbeat shares the operator's folder: the fleet heals until then."""
    live = fleet(own_server)
    live.start_heartbeat("hb-1", config={"state_dir": "hb-state"})
    worker = live.start_worker("pod-1")
    live.activate()
    live.revoke()  # the newest that this host will know of: yesterday's stop
    bob = {**live.settings["keys"], "operator": "bob.pem"}
    bobs = config.load(live.write_config(keys=bob, state_dir="state-bob"), environ={})
    live.activate(config=bobs)
    wait_for(lambda: worker.check()["permit"], what="a term that another host began")
    own_server.kill()
    report = live.revoke(wait_ms=200)
    assert report.epoch == 3, "a stop of its own, not yesterday's again"
    own_server.restart()
    wait_healed(live, wait_for)  # nobody has told it yet
    with pytest.raises(RefusedError, match="not confirmed"):
        live.activate()
    sent_ns = clock.now_ns()
    wait_for(lambda: not worker.check()["permit"], what="the stop")
    assert worker.last_permit_ns() <= sent_ns + live.timers.lease_ms * MS
    assert live.raw.exists("golive:active") == 0 and not live.spooled()
    assert live.revoke(dead=NEVER_RAN).outcome.result == "COMPLETE"
    live.activate()
    worker.wait_allowed(after_ns=sent_ns)
    assert len(live.records("revocation")) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["workers"],
        ["doctor"],
        ["halt", "symbol=X", "--reason", "test"],
        ["revoke", "--reason", "test", "--heartbeat-dead", "hb-2"],
    ],
    ids=lambda words: words[0],
)
def test_each_command_sends_a_stop_that_redis_missed_and_says_so(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    """Row 16: whoever looks after an outage must not read LIVE while his stop lies on this host."""
    live = fleet(own_server)
    live.start_heartbeat("hb-1", config={"state_dir": "hb-state"})
    worker = live.start_worker("pod-1")
    live.activate()
    live.wait_all_armed()
    own_server.kill()
    live.revoke(wait_ms=200)
    own_server.restart()
    wait_healed(live, wait_for)
    # Of a stop that went through by itself in the meantime, an older one that waits is sent, too.
    kept = Spool(live.state_dir).waiting()
    assert len(kept) == 1
    main([*words, "--config", str(live.path)])
    assert "the stop of epoch 2 by alice (test)" in capsys.readouterr().err
    assert Spool(live.state_dir).waiting() == []
    wait_for(lambda: not worker.check()["permit"], what="the stop")
    assert len(live.records("revocation")) == (2 if words[0] == "revoke" else 1)


@pytest.mark.parametrize("words", [["status"], ["revoke", "--reason", "test", "--wait", "1"]])
def test_another_redis_takes_no_stop_from_this_host(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
) -> None:
    """Row 110: the stop that waits here would leave this host, and reach nobody."""
    live = fleet(own_server)
    live.start_heartbeat("hb-1", config={"state_dir": "hb-state"})
    live.start_worker("pod-1")
    live.activate()
    own_server.kill()
    live.revoke(wait_ms=200)
    own_server.restart()
    waited = Spool(live.state_dir).waiting()
    assert len(waited) == 1
    monkeypatch.setenv("GOLIVE_REDIS_URL", f"{live.config.url}/1")
    main([*words, "--config", str(live.path)])
    main(["status", "--config", str(live.path)])
    assert waited[0].exists()
    assert "is not sent: redis://" in capsys.readouterr().err
    monkeypatch.delenv("GOLIVE_REDIS_URL")
    main(["status", "--config", str(live.path)])
    assert not waited[0].exists()
    assert live.status().state != "live"


def test_a_blind_stop_covers_a_later_numbered_older_activation_and_no_newer_one(
    fleet: Callable[..., Any], one_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """S2: signed on a host that knew of nothing, while Redis was down."""
    live = fleet(one_server)
    live.go_live("pod-1")
    live.revoke()
    live.activate()  # term 3
    worker = live.workers["pod-1"]
    stranger = config.load(live.write_config(state_dir="elsewhere"), environ={})
    one_server.kill()
    report = live.revoke(config=stranger, wait_ms=200)
    assert report.epoch == 1 and report.outcome.result == "NOT CONFIRMED"
    one_server.restart()
    wait_healed(live, wait_for)
    assert any("sent" in text for text in send_spool(live, stranger))
    sent_ns = clock.now_ns()
    assert live.raw.exists("golive:active") == 0
    live.heartbeats["hb-1"].wait_said("revoked by alice (epoch 1)")
    assert live.heartbeats["hb-1"].ask("status")["latch"] == 3
    wait_for(lambda: worker.check().get("reason") == "revoked", what="its latch")
    assert worker.last_permit_ns() <= sent_ns + live.timers.lease_ms * MS
    newer_ns = clock.now_ns()
    live.activate(over_unconfirmed=True)
    worker.wait_allowed(after_ns=newer_ns)


def test_yesterdays_spool_leaves_a_new_term_alone(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Row 63: by a command or a heartbeat, signed blind or not."""
    live = fleet(one_server)
    live.start_heartbeat("hb-1", config={"state_dir": "hb-state"})
    worker = live.start_worker("pod-1")
    live.activate()
    live.revoke()
    stale = [sign_revocation(live, 2), sign_revocation(live, 1, blind=True)]
    live.activate()
    worker.wait_allowed()
    armed_ns = worker.states()[-1]["at_ns"]
    for raw in [*stale, live.raw.hget("golive:revoked", "record")]:
        Spool(live.state_dir).keep(raw)
    assert sum("sent" in text for text in send_spool(live)) == 3
    assert live.raw.hget("golive:active", "term") == b"3"
    assert worker.check()["permit"] and worker.states()[-1]["at_ns"] == armed_ns
    assert not live.spooled() and len(live.records("revocation")) == 3
    assert live.revoke().outcome.result == "COMPLETE"


def test_a_bad_file_in_the_spool_holds_up_neither_the_others_nor_the_heartbeat(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Garbage is set aside, what cannot be read is left, a stranger's signature is refused."""
    live = fleet(one_server)
    folder = live.state_dir / "spool"
    folder.mkdir(parents=True)
    (folder / "a.dsse.json").write_bytes(b"{ torn")
    (folder / "b.dsse.json").mkdir()
    live.add_principal("mallory", "revoker")  # the keyset on disk does not know her
    forged = msgspec.structs.replace(peek(sign_revocation(live, 9), Revocation), by="mallory")
    signer = KeySigner("mallory", keyfile.read(live.folder / "mallory.pem", {}))
    Spool(live.state_dir).keep(seal(forged, signer))
    good = Spool(live.state_dir).keep(sign_revocation(live, 1))
    heartbeat = live.start_heartbeat()
    heartbeat.wait_said("the stop of epoch 1 by")
    assert not good.exists()
    endings = [path.name.partition(".")[2] for path in folder.glob("*.dsse.*")]
    assert sorted(endings) == ["dsse.json", "dsse.refused", "dsse.refused"]
    assert live.raw.hget("golive:revoked", "epoch") == b"1"
    live.activate(wait_s=0, over_unconfirmed=True)
    heartbeat.wait_said("beating for term 2")


def test_what_several_write_at_once_is_in_the_ledger_once(
    fleet: Callable[..., Any], one_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly once: everybody looks for it before anybody writes it."""
    live = fleet(one_server)
    record = sign_revocation(live, 1)
    looked, real = threading.Barrier(4), Store.recorded
    done: list[bool] = []

    def recorded(store: Store, raw: bytes, *since: int) -> bool:
        found = real(store, raw, *since)
        if not looked.broken and looked.n_waiting < 4:
            with contextlib.suppress(threading.BrokenBarrierError):
                looked.wait(2)
            looked.abort()
        return found

    monkeypatch.setattr(Store, "recorded", recorded)

    def write() -> None:
        link = live.config.address().link(timeout_ms=30_000)
        done.append(append_once(Store(link, Keyspace("golive")), record))
        link.close()

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(done) == [False, False, False, True]
    assert len(live.records("revocation")) == 1


def test_without_a_folder_to_keep_it_in_the_stop_stands_and_says_so(
    fleet: Callable[..., Any], one_server: EmbeddedServer
) -> None:
    """Neither a state folder that is none nor a ledger of a wrong type keeps a fleet on."""
    live = fleet(one_server)
    live.go_live("pod-1")
    (live.folder / "blocked").write_text("a file where the folder should be")
    blocked = config.load(live.write_config(state_dir="blocked"), environ={})
    live.raw.delete("golive:audit")
    live.raw.set("golive:audit", "what?")
    report = live.revoke(config=blocked)
    assert report.outcome.result == "COMPLETE" and report.outcome.by == "receipts"
    assert report.ledger == "failed"
    assert any("blocked" in problem for problem in report.problems)
    assert any("cannot be saved on this host" in problem for problem in report.problems)
