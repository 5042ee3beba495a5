"""Commands against whoever answers slowly or not at all: they end, and say what is known (A9)."""

from __future__ import annotations

import signal
import subprocess

from kit import zygote
from kit.dripping import DrippingServer

NAMELESS = "kit.programs.nameless:main"
NOT_CONFIRMED = 3


def test_a_stop_ends_although_every_answer_drips(made):
    """Row 92: it was held for 40 s before it had signed."""
    with DrippingServer(lambda _: (b"+", b"x")) as server:
        done = made(
            "revoke", "--reason", "test", "--wait", "0", GOLIVE_REDIS_URL=f"redis://{server.where}"
        )
    assert done.returncode == NOT_CONFIRMED, done.stderr
    assert "NOT CONFIRMED" in done.stdout


def test_a_stop_ends_although_its_nameserver_hangs(made):
    """Row 93: it took 75 s."""
    done = zygote.run(
        NAMELESS,
        *("revoke", "--reason", "test", "--wait", "0"),
        cwd=made.folder,
        env={**made.environ, "GOLIVE_REDIS_URL": "redis://redis.test"},
        text=True,
        timeout=120,
    )
    assert done.returncode == NOT_CONFIRMED, done.stderr
    assert "no answer within 1000 ms for the name redis.test" in done.stdout + done.stderr


def test_a_heartbeat_ends_when_it_is_asked_to_although_its_nameserver_hangs(made):
    """Row 93: it left 38 s after SIGTERM."""
    process = zygote.start(
        NAMELESS,
        *("heartbeat", "--name", "hb-1"),
        cwd=made.folder,
        env={**made.environ, "GOLIVE_REDIS_URL": "redis://redis.test"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "hb-1 started" in process.stdout.readline()
    assert "silent: cannot reach Redis" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
