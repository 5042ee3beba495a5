"""A heartbeat as an operating-system process: its sentences are JSON lines on stdout.

    kit.programs.heartbeat:main CONFIG NAME OPTIONS

OPTIONS is a JSON object: `wall_off_ms` makes its wall clock wrong by that much.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
from typing import Any

from golive_redis import clock, config
from golive_redis.heartbeat.daemon import Heartbeat

DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)


def tell(**line: Any) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def look_ahead(heartbeat: Heartbeat, ms: int) -> None:
    """Have it find its trading windows as they will be so much later; no other clock changes."""
    hours = heartbeat._hours
    open_until = hours._open_until
    hours._open_until = lambda at_ms: open_until(at_ms + ms)
    hours._open = (0, 0)  # what it has found before


def obey(heartbeat: Heartbeat) -> None:
    for line in sys.stdin:
        ask = json.loads(line)
        pulse = heartbeat._pulse
        match ask["do"]:
            case "quit":
                heartbeat.stop()
            case "use_up":  # no file descriptor is left, nor one that somebody closes from now on
                resource.setrlimit(resource.RLIMIT_NOFILE, (3, DESCRIPTORS[1]))
            case "let_go":
                resource.setrlimit(resource.RLIMIT_NOFILE, DESCRIPTORS)
            case "hours":
                look_ahead(heartbeat, ask["ms"])
        tell(
            event="reply",
            id=ask["id"],
            term=pulse.term,
            latch=pulse.latch.epoch,
            waiting_for=pulse.waiting_for,
        )
    heartbeat.stop()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    loaded, name, options = config.load(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    if "wall_off_ms" in options:
        right, off_ms = clock.wall_ms, options["wall_off_ms"]
        clock.wall_ms = lambda: right() + off_ms

    def say(text: str) -> None:
        tell(event="say", at_ns=clock.now_ns(), text=text)

    heartbeat = Heartbeat.open(loaded, name=name, say=say)
    signal.signal(signal.SIGTERM, lambda *_: heartbeat.stop())
    threading.Thread(target=obey, args=(heartbeat,), daemon=True).start()
    threading.Thread(
        target=lambda: heartbeat.ready.wait() and tell(event="ready", pid=os.getpid()), daemon=True
    ).start()
    heartbeat.run()
