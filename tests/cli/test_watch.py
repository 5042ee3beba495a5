"""`golive watch` follows for as long as somebody reads it."""

from __future__ import annotations

import json
import re
import threading

import pytest

from golive_cli.exits import Exit
from golive_redis.testing.server import EmbeddedServer


def test_it_ends_when_its_reader_goes_away(made, shared_server: EmbeddedServer):
    watching = made.start("watch", "--json", "--every", "0.2", GOLIVE_REDIS_URL=shared_server.url)
    assert watching.stdout
    assert json.loads(watching.stdout.readline())["state"] == "off"
    watching.stdout.close()
    assert watching.wait(120) == 0
    assert watching.stderr
    assert watching.stderr.read() == ""
    watching.stderr.close()


def plant(server: EmbeddedServer, **fields: str) -> None:
    """Put pods on both rosters whose presence is written by nobody of ours."""
    with server.client() as client:
        client.zadd("golive:fleet", {"pod-1:" + "a" * 32: 1})
        client.hset("golive:heartbeats", "hb-1", "b" * 32)
        for key in ("worker:pod-1:" + "a" * 32, "heartbeat:hb-1:" + "b" * 32):
            client.hset(f"golive:{key}", mapping={"state": "armed", **fields})
            client.pexpire(f"golive:{key}", 9_000)


@pytest.mark.parametrize("value", ["²", "9" * 5_000, "\x1b[2J\ud800".encode("utf-8", "replace")])
@pytest.mark.parametrize("field", ["term", "pid", "labels", "state", "reason"])
def test_no_field_of_a_foreign_presence_ends_a_command(made, server: EmbeddedServer, field, value):
    """Row 73."""
    at = {"GOLIVE_REDIS_URL": server.url}
    plant(server, **{field: value})
    for command in ("status", "workers"):
        done = made(command, **at)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "\x1b" not in done.stdout
        made.json(command, **at)
    assert made("halt", "--reason", "r", **at).returncode == Exit.REFUSED  # nothing is active
    watching = made.start("watch", "--json", "--every", "0.2", **at)
    assert watching.stdout
    assert json.loads(watching.stdout.readline())["workers"][0]["id"] == "pod-1"
    watching.stdout.close()
    assert watching.wait(120) == 0
    assert watching.stderr
    watching.stderr.close()


def test_when_redis_goes_away_the_last_known_state_stays_with_its_age(made):
    with EmbeddedServer() as own:
        watching = made.start("watch", "--every", "0.2", GOLIVE_REDIS_URL=own.url)
        impatience = threading.Timer(120, watching.kill)
        impatience.start()
        assert watching.stdout
        lines = iter(watching.stdout)
        assert any(line == "OFF: nothing is active\n" for line in lines)
        own.kill()
        assert any(line.startswith("UNKNOWN: no answer from Redis for ") for line in lines)
        place, bound, known = next(lines), next(lines), next(lines)
        impatience.cancel()
    assert place.startswith("testnet (golive) at ")
    assert bound == "A worker that cannot reach Redis either is off within 2.5 s, by itself.\n"
    assert re.fullmatch(r"Known \S+ s ago, at \S+: OFF: nothing is active\n", known)
    watching.kill()
    watching.communicate()
