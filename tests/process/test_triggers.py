"""Triggers: a real service says that something is wrong, and the fleet stops or takes no new risk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind
from golive_redis.records.envelope import decode
from golive_redis.testing.server import EmbeddedServer

MS = clock.NS_PER_MS


class Service:
    """An HTTP service whose answer the test sets; None hangs."""

    def __init__(self) -> None:
        self.answer: object = {"active": False}
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if service.answer is None:
                    time.sleep(3)
                body = json.dumps(service.answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/state"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def watched(
    fleet: Callable[..., Any], own_server: EmbeddedServer, service: Service
) -> Callable[..., Any]:
    """A fleet whose heartbeat watches the service: `watched(then="revoke", ...)`."""

    def make(others: dict[str, Any] | None = None, **trigger: Any) -> Any:
        question = {"http": {"url": service.url, "json": "/active"}, "equals": False}
        live = fleet(
            own_server,
            triggers={
                "ess": {"question": question | {"deadline": "1s"}, "every": "200ms"} | trigger
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


def wait_until(true: Callable[[], bool], within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_the_emergency_stop_goes_active_and_the_whole_fleet_is_off(
    watched: Callable[..., Any], service: Service
) -> None:
    """Within `every` x k + 1 s, and the ledger says why."""
    live = watched(**{"for": "2 of 2", "then": "revoke"})
    live.go_live("w-1", "w-2", heartbeats=("hb-1", "hb-2"))
    service.answer = {"active": True}
    wait_until(
        lambda: not any(worker.allowed for worker in live.workers.values()),
        (200 * 2 + 1000) / 1000,
        "still trading",
    )
    wait_until(lambda: bool(notes(live, "trigger")), 10, "no note in the ledger")
    stops = [decode(f[b"r"]) for _, f in live.raw.xrange("golive:audit")]
    reasons = [
        json.loads(item.payload)["reason"] for item in stops if "revocation" in item.payload_type
    ]
    assert len(reasons) == 1  # of two heartbeats that saw it
    assert reasons[0].startswith("trigger ess: ")
    assert "true, wanted false" in reasons[0]
    assert notes(live, "trigger")[0]["text"].startswith("ess fired (revoke): ")


def test_a_single_bad_sample_does_nothing(watched: Callable[..., Any], service: Service) -> None:
    live = watched(**{"for": "5 of 5", "then": "revoke"})
    live.go_live("w-1")
    service.answer = {"active": True}
    time.sleep(0.5)
    service.answer = {"active": False}
    time.sleep(1)
    assert live.workers["w-1"].ask("status")["allowed"]


def test_a_service_that_hangs_is_unknown_and_unknown_fires(
    watched: Callable[..., Any], service: Service
) -> None:
    live = watched(then="halted", on_unknown="after 2")
    live.go_live("w-1")
    service.answer = None
    wait_until(lambda: not live.workers["w-1"].allowed, 8, "still trading")
    wait_until(lambda: bool(notes(live, "trigger")), 10, "no note in the ledger")
    assert notes(live, "trigger")[0]["text"].startswith("ess fired (halted): ")
    state = live.status().active
    assert [item.reason for item in state.restrictions] == [
        "trigger ess: unknown: "
        + notes(live, "trigger")[0]["text"].removeprefix("ess fired (halted): ")
    ]
    assert live.raw.exists("golive:active")  # halted, not revoked


def test_people_restore_and_what_still_fails_fires_again(
    watched: Callable[..., Any], service: Service
) -> None:
    live = watched(then="reduce_only")
    live.go_live("w-1")
    service.answer = {"active": True}
    restrictions = lambda: [k for k in live.raw.hkeys("golive:active") if k.startswith(b"r:")]  # noqa: E731
    wait_until(lambda: len(restrictions()) == 1, 5, "no restriction")
    time.sleep(0.6)
    assert len(restrictions()) == 1  # in force, so it is not issued again
    first = restrictions()
    from golive_redis.operator import control  # noqa: PLC0415

    with Operator(live.config) as operator:
        control.loosen(operator, GrantKind.RESTORE, reason="I think it is over", every=True)
    wait_until(lambda: bool(restrictions()) and restrictions() != first, 5, "nothing again")
    service.answer = {"active": False}
    time.sleep(0.5)
    assert len(restrictions()) == 1  # it takes nothing back


def test_a_heartbeat_with_triggers_needs_a_revoker_key(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    live = fleet(
        any_server,
        triggers={"versions": {"preset": "mismatch"}},
        defects=True,
    )
    beating = live.start_heartbeat(wait=False)
    wait_until(lambda: not beating.alive, 10, "it started")
    assert "triggers need keys.revoker" in beating.stderr()


def test_a_trigger_acts_on_the_files_of_its_start(
    watched: Callable[..., Any], service: Service
) -> None:
    """A keyset and a key that are gone when it fires keep it from nothing; it signs all the same."""
    live = watched(**{"for": "1 of 1", "then": "revoke"})
    live.go_live("w-1")
    for name in ("keyset.yaml", "rita.pem"):
        (live.folder / name).rename(live.folder / f"{name}.away")
    service.answer = {"active": True}
    wait_until(lambda: not live.workers["w-1"].allowed, 3, "still trading")
    wait_until(lambda: bool(notes(live, "trigger")), 10, "no note in the ledger")
    for name in ("keyset.yaml", "rita.pem"):
        (live.folder / f"{name}.away").rename(live.folder / name)
    assert live.raw.exists("golive:revoked")


def test_a_revocation_waits_for_no_restriction(
    watched: Callable[..., Any], service: Service
) -> None:
    """A silent worker makes each restriction take two seconds; the revocation comes at once."""
    question = {"http": {"url": service.url, "json": "/active"}, "equals": False}
    halts = {
        f"venue-{at}": {
            "question": question,
            "every": "200ms",
            "then": "halted",
            "labels": {"venue": str(at)},
        }
        for at in range(4)
    }
    last = {"for": "3 of 3", "then": "revoke"}
    live = watched(**last, others=halts)
    live.go_live("w-1", "w-2")
    live.workers["w-2"].pause()
    service.answer = {"active": True}
    wait_until(lambda: not live.raw.exists("golive:active"), 2, "still active")
    live.workers["w-2"].resume()
    wait_until(lambda: len(notes(live, "trigger")) >= 1, 15, "no note in the ledger")
