"""SIGHUP: `golive heartbeat` takes over what is on disk, all of it or nothing, and beats meanwhile.

Row 113.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from golive_redis import config as configuration
from golive_redis.operator import grants, restrictions
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind, RestrictionKind
from golive_redis.testing.server import EmbeddedServer
from kit.program import Program, Wait

REFUSED = "NOT reloaded, the old keyset and configuration stay in use: "
KEYS = {
    "keyset": "keyset.yaml",
    "operator": "alice.pem",
    "heartbeat": "{name}.pem",
    "worker": "workers.pem",
}


@pytest.fixture
def live(fleet: Callable[..., Any], any_server: EmbeddedServer) -> Any:
    """A fleet without processes."""
    return fleet(any_server)


def write_keyset(live: Any, version: int, *, without: tuple[str, ...] = (), **changes: Any) -> None:
    """Write the fleet's keyset in that version."""
    live.write_keyset(without=without)
    path = live.folder / "keyset.yaml"
    path.write_text(
        yaml.safe_dump({**yaml.safe_load(path.read_text()), "version": version, **changes})
    )


def as_operator(live: Any, name: str) -> configuration.Config:
    """The configuration of the host of somebody else."""
    path = live.write_config(keys={**KEYS, "operator": f"{name}.pem"})
    return configuration.load(path, environ={})


def test_after_a_reload_it_follows_the_people_who_are_new(
    live: Any, program: Callable[..., Program], wait_for: Wait
) -> None:
    heartbeat = program(live)
    live.go_live("w-1", heartbeats=())
    live.add_principal("carol", "approver")
    live.add_principal("rita", "revoker")
    write_keyset(live, 2, without=("bob",))
    live.workers["w-1"].quit()  # workers first: they refuse beats under a newer keyset
    live.start_worker("w-2")
    assert heartbeat.reload(wait_for).startswith("reloaded: keyset version 2, configuration ")
    assert heartbeat.await_beats(wait_for).keyset_version == 2
    live.wait_all_armed()

    with Operator(as_operator(live, "rita")) as operator:
        halt = restrictions.restrict(operator, RestrictionKind.HALT, reason="by rita")
    wait_for(lambda: heartbeat.beat().epoch == halt.restriction.record.epoch, what="the halt")
    with Operator(as_operator(live, "carol")) as operator:
        grants.loosen(operator, GrantKind.RESUME, reason="by carol", every=True)
    live.wait_all_armed()
    live.revoke_until(
        lambda report: all(row.latched_ms is not None for row in report.outcome.heartbeats),
        config=as_operator(live, "rita"),
        reason="by rita",
    )
    assert any(line.startswith("revoked by rita") for line in heartbeat.lines())


def other_fleet(live: Any) -> None:
    write_keyset(live, 6, fleet="f" * 32)


def other_heartbeat_key(live: Any) -> None:
    keys = live.principals["hb-2"]["keys"]
    others = {name: item for name, item in live.principals.items() if name not in {"hb-1", "hb-2"}}
    write_keyset(live, 6, principals={**others, "hb-1": {"roles": ["heartbeat"], "keys": keys}})


def folder_for_a_file(live: Any) -> None:
    (live.folder / "keyset.yaml").unlink()
    (live.folder / "keyset.yaml").mkdir()


def setting(**changes: Any) -> Callable[[Any], None]:
    return lambda live: live.write_config(live.path.name, **changes)


def text(name: str, content: str) -> Callable[[Any], None]:
    return lambda live: (live.folder / name).write_text(content)


REFUSALS: list[tuple[Callable[[Any], Any], str]] = [
    (text("keyset.yaml", '{"version": 6, "fleet'), "keyset.yaml:1: not YAML"),
    (text("keyset.yaml", ""), "keyset.yaml: empty"),
    (text("keyset.yaml", "version: 6\n"), "the id of the fleet is missing"),
    (lambda live: (live.folder / "keyset.yaml").unlink(), "No such file or directory"),
    (folder_for_a_file, "Is a directory"),
    (lambda live: write_keyset(live, 4), "the keyset has version 4, the one in use has version 5"),
    (
        lambda live: write_keyset(live, 5, without=("bob", "hb-3")),
        "the keyset takes away or changes keys of bob, hb-3, and still has version 5",
    ),
    (other_fleet, "the keyset is of fleet ffffffff, this heartbeat is of fleet "),
    (
        lambda live: write_keyset(live, 6, without=("hb-1",)),
        "'hb-1' is not a heartbeat in the keyset",
    ),
    (other_heartbeat_key, "hb-1.pem: the keyset does not list this key"),
    (
        lambda live: write_keyset(live, 6, without=("alice",)),
        "what is in force is refused under keyset version 6: ",
    ),
    (text("go_live.yaml", "environment: ["), "go_live.yaml:"),
    (setting(surprise=1), "surprise"),
    (setting(keys={**KEYS, "heartbeat": "away.pem"}), "away.pem: No such file or directory"),
    (setting(environment="other"), "environment cannot change while a heartbeat runs"),
    (setting(namespace="other"), "namespace cannot change while a heartbeat runs"),
    (setting(state_dir="elsewhere"), "state_dir cannot change while a heartbeat runs"),
    (setting(url="redis://127.0.0.1:1/0"), "store cannot change while a heartbeat runs"),
    (setting(timing="standard"), "timing cannot change while a heartbeat runs"),
    (setting(triggers={"versions": {"preset": "mismatch"}}), "triggers need keys.revoker"),
    (setting(windows={"day": {"calendar": "NOWHERE"}}), "NOWHERE"),
]


def test_what_it_cannot_take_over_is_refused_by_name_and_the_beats_go_on(
    live: Any, program: Callable[..., Program], wait_for: Wait
) -> None:
    write_keyset(live, 5)
    good = {name: (live.folder / name).read_text() for name in ("keyset.yaml", "go_live.yaml")}
    heartbeat = program(live)
    live.go_live("w-1", heartbeats=())
    term = heartbeat.beat().term
    for change, why in REFUSALS:
        change(live)
        said = heartbeat.reload(wait_for)
        assert said.startswith(REFUSED)
        assert why in said
        beat = heartbeat.await_beats(wait_for)
        assert (beat.term, beat.keyset_version) == (term, 5)
        if (live.folder / "keyset.yaml").is_dir():
            (live.folder / "keyset.yaml").rmdir()
        for name, content in good.items():
            (live.folder / name).write_text(content)
    assert heartbeat.reload(wait_for).startswith("reloaded: keyset version 5, ")
    assert heartbeat.await_beats(wait_for).term == term
    since = heartbeat.lines()[heartbeat.lines().index("beating") :]
    assert not [line for line in since if line.startswith("silent")]


def test_triggers_are_replaced_and_act_with_the_key_of_the_reload(
    fleet: Callable[..., Any],
    any_server: EmbeddedServer,
    program: Callable[..., Program],
    wait_for: Wait,
) -> None:
    def watching(then: str) -> dict[str, Any]:
        question = {"file": {"path": "flag.txt"}, "equals": "fine"}
        return {"question": question, "every": "200ms", "for": "1 of 1", "then": then}

    live = fleet(
        any_server, keys={**KEYS, "revoker": "rita.pem"}, triggers={"kept": watching("revoke")}
    )
    for name in ("rita", "rob"):
        live.add_principal(name, "revoker")
    live.write_keyset(without=("rob",))
    (live.folder / "flag.txt").write_text("fine")
    (live.folder / "late.txt").write_text("fine")
    heartbeat = program(live)
    live.go_live("w-1", heartbeats=())

    live.write_keyset()  # adds rob in the same version, as `golive keys new --add` does
    late = {**watching("halted"), "question": {"file": {"path": "late.txt"}, "equals": "fine"}}
    live.write_config(
        live.path.name,
        keys={**KEYS, "revoker": "rob.pem"},
        triggers={"kept": watching("revoke"), "late": late},
    )
    assert heartbeat.reload(wait_for).endswith("; triggers: kept, late")
    (live.folder / "late.txt").write_text("bad")
    wait_for(lambda: [x for x in heartbeat.lines() if x.startswith("halt ")], what="the new one")
    (live.folder / "flag.txt").write_text("bad")
    wait_for(lambda: live.raw.exists("golive:revoked"), what="the one that was kept")
    wait_for(
        lambda: [x for x in heartbeat.lines() if x.startswith("revoked by rob")],
        what="the stop, signed with the key that the reload brought",
    )


def test_signals_while_it_starts_and_stops_do_no_harm(live: Any, wait_for: Wait) -> None:
    heartbeat = Program(live)
    wait_for(heartbeat.lines, what="its first line")
    for _ in range(20):
        heartbeat.process.send_signal(signal.SIGHUP)
    wait_for(lambda: any(x.startswith("reloaded: ") for x in heartbeat.lines()), what="a reload")
    heartbeat.process.send_signal(signal.SIGHUP)
    heartbeat.process.send_signal(signal.SIGTERM)

    def ended() -> bool:
        heartbeat.process.send_signal(signal.SIGHUP)
        return heartbeat.process.poll() is not None

    wait_for(ended, what="its end")
    assert heartbeat.process.wait() == 0
    assert not live.raw.hkeys("golive:heartbeats")


def test_a_file_that_hangs_holds_up_neither_the_beats_nor_the_end(
    live: Any, program: Callable[..., Program], wait_for: Wait
) -> None:
    heartbeat = program(live)
    live.go_live("w-1", heartbeats=())
    path = live.folder / "keyset.yaml"
    content = path.read_bytes()
    path.unlink()
    os.mkfifo(path)  # opening it waits for a writer
    heartbeat.process.send_signal(signal.SIGHUP)
    writer = os.open(path, os.O_WRONLY)  # waits for the reader: the reload is under way
    assert heartbeat.await_beats(wait_for)
    os.write(writer, content)
    os.close(writer)
    wait_for(lambda: any(x.startswith("reloaded: ") for x in heartbeat.lines()), what="the reload")

    heartbeat.process.send_signal(signal.SIGHUP)
    writer = os.open(path, os.O_WRONLY)
    heartbeat.process.send_signal(signal.SIGTERM)
    assert heartbeat.process.wait(60) == 0
    os.close(writer)


def test_under_nohup_it_stays_ignored(live: Any, wait_for: Wait) -> None:
    log: Path = live.folder / "nohup.log"
    start = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from golive_cli.main import main; raise SystemExit(main())"
    )
    words = ["heartbeat", "--name", "hb-1", "--config", str(live.path)]
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", start, *words], stdout=file, stderr=file)
    try:
        wait_for(lambda: "nothing is active" in log.read_text(), what="its first reading")
        process.send_signal(signal.SIGHUP)
        for _ in range(3):  # turns of its loop, in each of which a reload would have been taken up
            (presence,) = live.raw.keys("golive:heartbeat:hb-1:*")
            live.raw.delete(presence)
            wait_for(lambda key=presence: live.raw.exists(key), what="it registers itself anew")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert "reloaded" not in log.read_text()


def test_systemd_hears_that_it_reloads_and_is_ready_again(
    live: Any, program: Callable[..., Program], wait_for: Wait, tmp_path: Path
) -> None:
    path = tmp_path / "n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(60)
        heartbeat = program(live, NOTIFY_SOCKET=str(path))
        heard: list[str] = []

        def hear(what: str) -> None:
            while not (heard and heard[-1].startswith(what)):
                heard.append(manager.recv(4096).decode())

        hear("READY=1")
        heartbeat.reload(wait_for)
        hear("RELOADING=1\nMONOTONIC_USEC=")
        hear("READY=1")
