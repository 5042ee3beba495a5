"""Triggers: a real service says that something is wrong, and the fleet stops or takes no new risk."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from golive_redis.checks.conditions import Conditions
from golive_redis.checks.trigger import Action
from golive_redis.heartbeat import triggers
from golive_redis.operator import grants, restrictions
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind
from golive_redis.records.envelope import decode
from golive_redis.records.report import Finding, Outcome
from golive_redis.testing.server import EmbeddedServer

FINE, BAD = {"active": False}, {"active": True}


class Service:
    """An HTTP service whose answer the test sets; None hangs.

    Attributes:
        answer: To all further questions, once `first` is used up.
        first: Answers that come before, each once.
        asked: How often it was asked.
    """

    def __init__(self) -> None:
        self.answer: object = FINE
        self.first: list[object] = []
        self.asked = 0
        self.closing = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = service.first.pop(0) if service.first else service.answer
                service.asked += 1
                if answer is None:
                    service.closing.wait()
                body = json.dumps(answer).encode()
                with suppress(OSError):  # the asker has given up
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/state"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def await_samples(self, count: int, wait_for: Callable[..., None]) -> None:
        """Return when it was asked so many times more; all but the last have been judged by then."""
        enough = self.asked + count
        wait_for(lambda: self.asked >= enough, what=f"{count} samples")


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.closing.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def watched(
    fleet: Callable[..., Any], own_server: EmbeddedServer, service: Service
) -> Callable[..., Any]:
    """A fleet whose heartbeat watches the service: `watched(then="revoke", ...)`."""

    def make(others: dict[str, Any] | None = None, deadline: str = "30s", **trigger: Any) -> Any:
        question = {"http": {"url": service.url, "json": "/active"}, "equals": False}
        live = fleet(
            own_server,
            triggers={
                "ess": {"question": question | {"deadline": deadline}, "every": "200ms"} | trigger
            }
            | (others or {}),
            keys={
                "keyset": "keyset.yaml",
                "operator": "alice.pem",
                "heartbeat": "{name}.pem",
                "worker": "workers.pem",
                "revoker": "rita.pem",
            },
        )
        live.add_principal("rita", "revoker")
        live.write_keyset()
        return live

    return make


def notes(live: Any, topic: str) -> list[dict[str, Any]]:
    """The notes of one topic in the ledger."""
    found = []
    for _, fields in live.raw.xrange("golive:audit"):
        item = decode(fields[b"r"])
        record = json.loads(item.payload)
        if record.get("topic") == topic:
            found.append(record)
    return found


def wait_all_off(live: Any, wait_for: Callable[..., None]) -> None:
    """Return when no worker permits anything; when that is depends on how soon a sample is taken."""
    wait_for(lambda: not any(w.allowed for w in live.workers.values()), what="all are off")


def wait_noted(live: Any, wait_for: Callable[..., None]) -> str:
    """Return the first note of a trigger in the ledger; it is written after the stop."""
    wait_for(lambda: notes(live, "trigger"), what="a note in the ledger")
    return str(notes(live, "trigger")[0]["text"])


def test_the_emergency_stop_goes_active_and_the_whole_fleet_is_off(
    watched: Callable[..., Any], service: Service, wait_for: Callable[..., None]
) -> None:
    """And the ledger says why. Each of two heartbeats sees it, and each may be the first to revoke."""
    live = watched(**{"for": "2 of 2", "then": "revoke"})
    live.go_live("w-1", "w-2", heartbeats=("hb-1", "hb-2"))
    service.answer = BAD
    wait_all_off(live, wait_for)
    assert wait_noted(live, wait_for).startswith("ess fired (revoke): ")
    stops = [decode(f[b"r"]) for _, f in live.raw.xrange("golive:audit")]
    reasons = [
        json.loads(item.payload)["reason"] for item in stops if "revocation" in item.payload_type
    ]
    assert 1 <= len(reasons) <= 2
    for reason in reasons:
        assert reason.startswith("trigger ess: ")
        assert "true, wanted false" in reason
    assert not live.raw.exists("golive:active")


def test_a_single_bad_sample_does_nothing(
    watched: Callable[..., Any], service: Service, wait_for: Callable[..., None]
) -> None:
    """Nor do four of five."""
    live = watched(**{"for": "5 of 5", "then": "revoke"})
    live.go_live("w-1")
    service.first = [BAD, FINE, BAD, BAD, BAD, BAD]
    service.await_samples(12, wait_for)
    assert not live.records("revocation")
    live.workers["w-1"].wait_permit()


def test_a_service_that_hangs_is_unknown_and_unknown_fires(
    watched: Callable[..., Any], service: Service, wait_for: Callable[..., None]
) -> None:
    live = watched(then="halted", on_unknown="after 2", deadline="2s")
    live.go_live("w-1")
    service.answer = None
    said = wait_noted(live, wait_for)
    wait_all_off(live, wait_for)
    assert said.startswith("ess fired (halted): ")
    state = live.status().active
    assert [item.reason for item in state.restrictions] == [
        "trigger ess: unknown: " + said.removeprefix("ess fired (halted): ")
    ]
    assert live.raw.exists("golive:active")  # halted, not revoked


def test_people_restore_and_what_still_fails_fires_again(
    watched: Callable[..., Any], service: Service, wait_for: Callable[..., None]
) -> None:
    live = watched(then="reduce_only")
    live.go_live("w-1")
    service.answer = BAD

    def in_store() -> list[bytes]:
        return [field for field in live.raw.hkeys("golive:active") if field.startswith(b"r:")]

    wait_for(in_store, what="a restriction")
    service.await_samples(4, wait_for)
    first = in_store()
    assert len(first) == 1  # in force, so it is not issued again

    with Operator(live.config) as operator:
        grants.loosen(operator, GrantKind.RESTORE, reason="I think it is over", every=True)
    wait_for(lambda: in_store() and in_store() != first, what="one more")
    service.answer = FINE
    service.await_samples(4, wait_for)
    assert len(in_store()) == 1  # it takes nothing back


def test_a_heartbeat_with_triggers_needs_a_revoker_key(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    live = fleet(
        any_server,
        triggers={"versions": {"preset": "mismatch"}},
        defects=True,
    )
    beating = live.start_heartbeat(wait=False)
    wait_for(lambda: not beating.alive, what="its end")
    assert "triggers need keys.revoker" in beating.stderr()


def test_a_trigger_acts_on_the_files_of_its_start(
    watched: Callable[..., Any], service: Service, wait_for: Callable[..., None]
) -> None:
    """A keyset and a key that are gone when it fires keep it from nothing; it signs all the same."""
    live = watched(**{"for": "1 of 1", "then": "revoke"})
    live.go_live("w-1")
    for name in ("keyset.yaml", "rita.pem"):
        (live.folder / name).rename(live.folder / f"{name}.away")
    service.answer = BAD
    wait_all_off(live, wait_for)
    wait_noted(live, wait_for)
    for name in ("keyset.yaml", "rita.pem"):
        (live.folder / f"{name}.away").rename(live.folder / name)
    assert live.raw.exists("golive:revoked")


def test_a_revocation_waits_for_no_restriction(
    watched: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restriction collects answers for seconds when a worker is silent; here, for ever."""
    live = watched(then="revoke")
    live.go_live("w-1")
    keyset = live.config.keyset()
    signer = live.config.signer("heartbeat", keyset, name="hb-1")
    actions = triggers._TriggerActions(live.config, keyset, signer, print)
    found = Finding(check="ess", outcome=Outcome.FAIL, explain="true, wanted false", took_ms=1)
    wanted = Conditions.of(live.config).triggers["ess"].trigger()
    halts = msgspec.structs.replace(wanted, then=Action.HALTED, labels={"venue": "1"})
    begun, released = threading.Event(), threading.Event()
    restrict = restrictions.restrict

    def held_up(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert released.wait(60)
        return restrict(*args, **kwargs)

    monkeypatch.setattr(restrictions, "restrict", held_up)
    halting = threading.Thread(target=actions.act, args=("halts", halts, found))
    halting.start()
    try:
        assert begun.wait(60)
        actions.act("ess", wanted, found)
        assert not live.raw.exists("golive:active")
        assert halting.is_alive()
    finally:
        released.set()
        halting.join(60)
    assert not halting.is_alive()
