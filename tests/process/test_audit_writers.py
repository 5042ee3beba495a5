"""Many write to the ledger at once and are killed in the middle: nothing is lost or there twice."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from golive_redis.errors import RecordError
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import decode, peek
from golive_redis.records.ledger import Note
from golive_redis.testing.server import EmbeddedServer
from kit import zygote
from kit.program import PROGRAM

WRITERS, EACH = 8, 125
KILL_EACH = 40  # entries: while some thousand are written, two dozen writers are killed
ROUNDS = 2_000_000
APPENDER, OPERATING = "kit.programs.appender:main", "kit.programs.operating:main"
TAKES_AWAY = {Restriction.payload_type(), Revocation.payload_type()}


def start(program: str, live: Any, name: str, *words: str) -> zygote.Forked:
    return zygote.start(
        program, str(live.path), name, *words, env=dict(os.environ),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(
    live: Any, wanted: Mapping[str, Callable[[], zygote.Forked]], kill_each: int, watch: Any = None
) -> int:
    """Run programs to their ends, and kill one after each so many entries; how many were killed."""
    running = {name: begin() for name, begin in wanted.items()}
    kills, threshold = 0, live.raw.xlen("golive:audit") + kill_each
    for _ in range(ROUNDS):
        for name, process in list(running.items()):
            if process.poll() is not None:
                assert process.stderr is not None
                assert process.returncode == 0, process.stderr.read()
                process.stderr.close()
                del running[name]
        if not running:
            break
        if watch is not None:
            watch()
        if live.raw.xlen("golive:audit") >= threshold:
            threshold += kill_each
            victim = sorted(running)[kills % len(running)]
            process = running[victim]
            process.kill()
            process.wait(60)
            assert process.stderr is not None
            process.stderr.close()
            running[victim] = wanted[victim]()
            kills += 1
    assert not running
    return kills


def envelopes(live: Any) -> list[bytes]:
    return [fields[b"r"] for _, fields in live.raw.xrange("golive:audit")]


def verify(live: Any) -> dict[str, Any]:
    done = zygote.run(
        PROGRAM, "audit", "verify", "--json", "--config", str(live.path), "--jobs", "1",
        env=dict(os.environ), text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("each", "kill_each"),
    [(EACH, KILL_EACH), pytest.param(1_000, 400, marks=pytest.mark.session)],
)
def test_eight_writers_that_are_killed_lose_nothing_and_write_nothing_twice(
    each: int, kill_each: int, fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    live = fleet(own_server)
    names = [f"writer-{number}" for number in range(WRITERS)]
    wanted = {name: lambda n=name: start(APPENDER, live, n, str(each)) for name in names}
    assert run(live, wanted, kill_each) >= WRITERS
    texts = Counter(peek(raw, Note).text for raw in envelopes(live))
    assert texts == Counter(f"{name} {number}" for name in names for number in range(each))
    found = verify(live)
    assert (found["result"], found["entries"], found["good"]) == (
        "CONSISTENT", WRITERS * each, WRITERS * each,
    )  # fmt: skip


class Heard:
    """What was pushed: whoever puts a stop or a halt in force publishes it in the same step."""

    def __init__(self, live: Any) -> None:
        self.identities: set[str] = set()
        self._channel = live.raw.pubsub(ignore_subscribe_messages=True)
        self._channel.subscribe("golive:events")

    def take(self) -> None:
        """Take in what has come since."""
        while (message := self._channel.get_message(timeout=0.001)) is not None:
            try:
                envelope = decode(message["data"])
            except RecordError:
                continue
            if envelope.payload_type in TAKES_AWAY:
                self.identities.add(envelope.identity)


def two_approvers(live: Any) -> Path:
    """Two sign an activation, one a resume; returns the configuration of the second."""
    path = live.folder / "keyset.yaml"
    keyset = yaml.safe_load(path.read_text())
    keyset["thresholds"] = {"approver": 1, "activate": 2}
    path.write_text(yaml.safe_dump(keyset))
    keys = {**live.settings["keys"], "operator": "bob.pem"}
    found: Path = live.write_config("bob.yaml", keys=keys, state_dir="state-bob")
    return found


@pytest.mark.parametrize(
    ("appends", "halts", "terms", "kill_each"),
    [
        pytest.param(40, 6, 3, 40, id="few"),
        pytest.param(1_000, 120, 41, 150, marks=pytest.mark.session, id="many"),
    ],
)
def test_halts_resumes_stops_and_approvals_that_are_killed_are_in_the_ledger_once(
    appends: int,
    halts: int,
    terms: int,
    kill_each: int,
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
) -> None:
    """Row 120: eight commands at once, killed wherever they are, and heartbeats that see to the rest."""
    live = fleet(own_server)
    other = two_approvers(live)
    for name in ("hb-1", "hb-2"):
        live.start_heartbeat(name)
    heard = Heard(live)
    writers = [f"writer-{number}" for number in range(4)]
    wanted = {name: lambda n=name: start(APPENDER, live, n, str(appends)) for name in writers}
    for name, count in [
        ("halts-1", halts),
        ("halts-2", halts),
        ("halts-3", halts),
        ("terms", terms),
    ]:
        wanted[name] = lambda n=name, c=count: start(OPERATING, live, n, str(c), str(other))
    kills = run(live, wanted, kill_each, heard.take)
    assert kills >= 4

    def entered() -> bool:
        heard.take()
        found = {item.identity for item in map(decode, envelopes(live))}
        return heard.identities <= found

    wait_for(entered, what="all that was in force to be in the ledger")
    assert len(heard.identities) > terms // 2
    twice = {
        identity: number
        for identity, number in Counter(decode(raw).identity for raw in envelopes(live)).items()
        if number > 1
    }
    assert twice == {}
    texts = Counter(note.text for note in live.notes() if note.topic == "worker-dead")
    assert texts == Counter(f"{name} {number}" for name in writers for number in range(appends))
    assert verify(live)["result"] in {"CONSISTENT", "VERIFIED"}
