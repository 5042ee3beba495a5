"""The real `golive heartbeat` as a process on a fleet's configuration."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from golive_redis.records.beat import Beat
from golive_redis.records.envelope import peek
from kit import zygote
from kit.zygote import Forked

PROGRAM = "golive_cli.main:main"

Wait = Callable[..., None]


class Program:
    """`golive heartbeat --name hb-1`, the real one, with its lines in a file.

    Args:
        live: The fleet that it belongs to.
        words: Further options.
        environ: Further variables of its environment.
    """

    def __init__(self, live: Any, *words: str, **environ: str) -> None:
        self.live = live
        self.log = live.folder / "golive-heartbeat.log"
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GOLIVE_")}
        words = ("heartbeat", "--name", "hb-1", "--config", str(live.path), *words)
        with self.log.open("wb") as file:
            self.process: Forked = zygote.start(
                PROGRAM, *words, env={**kept, **environ}, stdout=file, stderr=file
            )

    def lines(self) -> list[str]:
        """What it said, without the times."""
        return [line.partition(" ")[2] for line in self.log.read_text().splitlines()]

    def reload(self, wait_for: Wait) -> str:
        """Send SIGHUP, and return what it said of it."""

        def answers() -> list[str]:
            return [line for line in self.lines() if line.startswith(("reloaded: ", "NOT rel"))]

        before = len(answers())
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(answers()) > before, what="an answer to SIGHUP")
        return answers()[before]

    def beat(self) -> Beat:
        return peek(self.live.raw.hget("golive:beat", "hb-1"), Beat)

    def await_beats(self, wait_for: Wait) -> Beat:
        """Return when it has beaten twice more: the second one began after this."""
        for _ in range(2):
            n = self.beat().n
            wait_for(lambda n=n: self.beat().n > n, what="the next beat")
        return self.beat()
