"""The switch in a real Redis Cluster: all its keys in one slot, on whichever node owns that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from golive_cli.main import main
from golive_redis import clock, config
from golive_redis.errors import ConfigError, StoreUnavailableError
from golive_redis.operator import logins
from golive_redis.store import acl
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import StoreRefusedError
from kit.clusters import NAMESPACE, Cluster, cluster_of

ACTIVE, REVOKED = f"{NAMESPACE}:active", f"{NAMESPACE}:revoked"


@pytest.fixture
def cluster(server_binary: str | None) -> Iterator[Cluster]:
    with cluster_of(server_binary) as made:
        yield made


def test_a_whole_term_in_a_cluster(
    fleet: Callable[..., Any], cluster: Cluster, wait_for: Callable[..., None]
) -> None:
    """Activate, halt, resume, revoke to COMPLETE by receipts; pushes, ledger and preflight."""
    live = fleet(cluster, namespace=NAMESPACE)
    live.go_live("pod-1", "pod-2")
    assert all(worker.health()["pushed"] for worker in live.workers.values())

    live.halt(symbol="BTC")
    worker = live.workers["pod-1"]
    wait_for(lambda: not worker.check(symbol="BTC")["permit"], what="the halt")
    worker.wait_permit(symbol="ETH")
    live.resume(symbol="BTC")

    span = live.timed_revoke(config=live.patient)
    for worker in live.workers.values():
        worker.closed_within(live.timers.lease_ms, span)
    outcome = span.result.outcome
    assert (outcome.result, outcome.by) == ("COMPLETE", "receipts")
    assert len(live.records("grant")) == 2 and len(live.records("revocation")) == 1
    keys = [key for node in cluster.nodes[:3] for key in cluster.ask(node, "KEYS", "*")]
    assert all(key.startswith(NAMESPACE.encode()) for key in keys)
    assert not [key for node in cluster.others for key in cluster.ask(node, "KEYS", "*")]


def test_a_whole_term_in_a_cluster_by_functions(
    fleet: Callable[..., Any], cluster: Cluster
) -> None:
    """The library is on the node that owns the slot, and each key that a function takes is there."""
    store = {"url": cluster.url, "scripts": "function"}
    live = fleet(cluster, namespace=NAMESPACE, store=store)
    assert main(["store", "install", "--config", str(live.path)]) == 0
    assert cluster.ask(cluster.owner, "FUNCTION LIST")
    live.go_live("pod-1")
    live.halt(symbol="BTC")
    live.resume(symbol="BTC")
    outcome = live.revoke(config=live.patient).outcome
    assert (outcome.result, outcome.by) == ("COMPLETE", "receipts")
    with cluster.owner.client() as client:
        assert not {"cmdstat_eval", "cmdstat_evalsha"} & client.info("commandstats").keys()


def test_the_push_is_the_owners_and_a_bare_del_is_felt_at_once(
    fleet: Callable[..., Any], cluster: Cluster
) -> None:
    """Row 23: tracking is on the node that owns the slot; the events come from any node."""
    live = fleet(cluster, namespace=NAMESPACE, timing="standard")
    live.go_live("pod-1")
    with cluster.owner.client() as client:
        subscribers = [each for each in client.client_list() if "P" in each["flags"]]
        assert len(subscribers) == 2, "the worker's and the heartbeat's"
        span = live.timed(lambda: client.delete(ACTIVE))
    worker = live.workers["pod-1"]
    denied = worker.wait_denied(after_ns=span.began_ns)
    assert denied["at_ns"] - span.done_ns < live.timers.read_every_ms * clock.NS_PER_MS
    live.heartbeats["hb-1"].wait_said("was removed without a stop")


def test_a_cluster_failover_is_followed_and_the_term_heals(
    fleet: Callable[..., Any], cluster: Cluster, wait_for: Callable[..., None]
) -> None:
    """Rows 20 and 58: closed in time while nobody owns the slot, armed again at the new owner."""
    live = fleet(cluster, namespace=NAMESPACE)
    live.write_keyset(without=("hb-2", "hb-3"))  # on another primary each of them has to answer
    live.go_live("pod-1", "pod-2")
    span = live.timed(cluster.owner.kill)
    for worker in live.workers.values():
        worker.closed_within(live.timers.beat_ms, span)
    cluster.wait_promoted()
    promoted_ns = clock.now_ns()
    for worker in live.workers.values():
        worker.wait_allowed(after_ns=span.done_ns)
    live.wait_all_armed()
    assert live.raw.hget(ACTIVE, "term") == b"1", "the same term"
    wait_for(lambda: all(w.health()["pushed"] for w in live.workers.values()), what="pushes")
    assert clock.now_ns() - promoted_ns < 20_000 * clock.NS_PER_MS
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "time"), "another primary"
    assert live.raw.hget(REVOKED, "epoch") == b"2"


def test_an_owner_that_gave_its_slot_away_is_left_and_push_follows(
    fleet: Callable[..., Any], cluster: Cluster, wait_for: Callable[..., None]
) -> None:
    """A planned change of roles: the old owner goes on answering pings, and says MOVED."""
    live = fleet(cluster, namespace=NAMESPACE)
    live.go_live("pod-1")
    worker = live.workers["pod-1"]
    gaps = worker.health()["push_gaps"]
    link = Address(cluster.url, namespace=NAMESPACE).link(timeout_ms=1_000)
    link.call("PTTL", ACTIVE)
    cluster.ask(cluster.replica, "CLUSTER FAILOVER")
    cluster.wait_promoted()
    with pytest.raises(StoreRefusedError) as moved:
        link.call("PTTL", ACTIVE)
    assert moved.value.code == "MOVED"
    assert link.call("PTTL", ACTIVE) > 0, "and the next question goes to the new owner"
    link.close()
    live.wait_all_armed()
    wait_for(lambda: worker.health()["push_gaps"] > gaps, what="the old subscription is left")
    wait_for(lambda: worker.health()["pushed"], what="a new one")
    with cluster.replica.client() as client:
        span = live.timed(lambda: client.delete(ACTIVE))
    worker.closed_within(live.timers.lease_ms, span)


def test_what_a_cluster_needs_is_said(
    fleet: Callable[..., Any], cluster: Cluster, wait_for: Callable[..., None]
) -> None:
    """A namespace without braces, the URL of one node, a cluster without an owner, nobody there."""
    with pytest.raises(ConfigError) as refused:
        fleet(cluster).activate()
    assert 'namespace: "{golive}"' in refused.value.hint

    one = Address(cluster.others[0].url, namespace=NAMESPACE).link(timeout_ms=1_000)
    with pytest.raises(StoreRefusedError) as moved:
        one.call("PTTL", Keyspace(NAMESPACE).active)
    assert "redis+cluster://" in moved.value.hint
    one.close()

    address = Address(cluster.url, namespace=NAMESPACE)

    def refused() -> bool:
        cluster.disown()
        link = address.link(timeout_ms=1_000)
        try:
            link.open()
        except StoreUnavailableError as error:
            return "no node owns slot" in error.message
        finally:
            link.close()
        return False

    wait_for(refused, what="no owner")
    for node in cluster.nodes:
        node.kill()
    with pytest.raises(StoreUnavailableError, match="the primary was not found"):
        address.link(timeout_ms=1_000).open()


def test_the_documented_users_serve_in_a_cluster(
    fleet: Callable[..., Any], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `golive acl` prints them here: with leave to ask who owns the slot."""
    live = fleet(cluster, namespace=NAMESPACE)
    for role in acl.Role:
        made, server = logins.line_for(live.config, role)
        assert server.cluster
        assert ("+cluster|slots" in made.rules) and f"~{NAMESPACE}:" in made.line.replace("%R", "")
        for node in cluster.nodes:
            cluster.ask(node, "ACL SETUSER", made.user, *made.rules, f">{made.user}")

    def as_user(role: str) -> dict[str, Any]:
        user, variable = f"golive-{role}", f"PASSWORD_OF_{role.upper()}"
        monkeypatch.setenv(variable, user)
        return {"store": {"url": cluster.url, "username": user, "password_env": variable}}

    live.start_heartbeat(config=as_user("heartbeat"))
    worker = live.start_worker("pod-1", config=as_user("worker"))
    # By the URL: a user of `store` makes the preflight ask for `default` to be off, whom the tests use.
    url = cluster.url.replace("://", "://golive-operator:golive-operator@")
    operator = config.load(live.write_config(), environ={"GOLIVE_REDIS_URL": url})
    live.activate(config=operator)
    live.wait_all_armed()
    assert worker.health()["pushed"]
    timing = {**live.settings["timing"], "beat_ms": 60_000, "ttl_ms": 150_000}
    patient = config.load(live.write_config(timing=timing), environ={"GOLIVE_REDIS_URL": url})
    outcome = live.revoke(config=patient).outcome
    assert (outcome.result, outcome.by) == ("COMPLETE", "receipts")


def test_a_wrong_password_is_said_wherever_it_is_refused(cluster: Cluster) -> None:
    for node in cluster.nodes:
        cluster.ask(node, "ACL SETUSER", "op", "on", ">pw", "+acl|whoami", "+client|setname")
    address = Address(cluster.url, "op", "wrong", namespace=NAMESPACE)
    with pytest.raises(StoreUnavailableError) as refused:
        address.link(timeout_ms=1_000).open()
    assert "store.username" in refused.value.hint
    with pytest.raises(StoreUnavailableError, match=r"cluster\|slots") as refused:
        msgspec.structs.replace(address, password="pw").link(timeout_ms=1_000).open()
    assert "store.username" in refused.value.hint
