"""Many write to the ledger at once and are killed in the middle: nothing is lost or there twice."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import Any

from golive_redis.records.envelope import peek
from golive_redis.records.ledger import Note
from golive_redis.testing.server import EmbeddedServer
from kit import zygote
from kit.program import PROGRAM

WRITERS, EACH = 8, 125
KILL_EACH = 40  # entries: while some thousand are written, two dozen writers are killed
ROUNDS = 200_000


def test_eight_writers_that_are_killed_lose_nothing_and_write_nothing_twice(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    live = fleet(own_server)

    def start(name: str) -> zygote.Forked:
        return zygote.start(
            "kit.programs.appender:main", str(live.path), name, str(EACH), env=dict(os.environ),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    names = [f"writer-{number}" for number in range(WRITERS)]
    running = {name: start(name) for name in names}
    kills, threshold = 0, KILL_EACH
    for _ in range(ROUNDS):
        for name, process in list(running.items()):
            if process.poll() is not None:
                assert process.stderr is not None
                assert process.returncode == 0, process.stderr.read()
                process.stderr.close()
                del running[name]
        if not running:
            break
        if live.raw.xlen("golive:audit") >= threshold:
            threshold += KILL_EACH
            victim = sorted(running)[kills % len(running)]
            process = running[victim]
            process.kill()
            process.wait(60)
            assert process.stderr is not None
            process.stderr.close()
            running[victim] = start(victim)
            kills += 1
    assert not running
    assert kills >= WRITERS

    texts = Counter(peek(fields[b"r"], Note).text for _, fields in live.raw.xrange("golive:audit"))
    assert texts == Counter(f"{name} {number}" for name in names for number in range(EACH))
    done = zygote.run(
        PROGRAM, "audit", "verify", "--json", "--config", str(live.path), "--jobs", "1",
        env=dict(os.environ), text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["result"], found["entries"], found["good"]) == (
        "CONSISTENT", WRITERS * EACH, WRITERS * EACH,
    )  # fmt: skip
