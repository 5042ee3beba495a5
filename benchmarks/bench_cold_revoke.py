"""From the start of `golive revoke` to its effect in Redis, against a bare `DEL` by redis-py.

A subscriber to the server's own notice of the DEL tells the instant of the effect, so that nobody
polls while the command starts. Also looked at: what the command has imported at that instant.

    python benchmarks/bench_cold_revoke.py [--json] [--rounds N]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import lab
import redis

from golive_redis.store.keyspace import Keyspace

TARGET = 1.3
ROUNDS = 30
FORBIDDEN = ("pydantic", "tenacity", "rich", "typer", "click")
KEY = Keyspace("golive").active
NOTICE = "__keyevent@0__:del"

# The command with one line more, at the instant at which the script has removed the key.
SPY = f"""
import sys
from golive_cli.main import main
from golive_redis.revoke import Revoke
told = Revoke._effect
def effect(self):
    told(self)
    found = sorted(set({FORBIDDEN!r}) & set(sys.modules))
    print("AT THE STOP", len(sys.modules), *found, file=sys.stderr)
Revoke._effect = effect
sys.exit(main())
"""


def command() -> list[str]:
    """Return the console script; without one (not installed) what it would run."""
    script = Path(sys.executable).with_name("golive")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "import sys; from golive_cli.main import main; sys.exit(main())"]


class Stopwatch:
    """Starts a command and waits for the server's notice that the key is gone."""

    def __init__(self, switch: lab.Switch) -> None:
        self._client = switch.server.client()
        self._client.config_set("notify-keyspace-events", "Eg")
        self._notices = switch.server.client(socket_timeout=30).pubsub()
        self._notices.subscribe(NOTICE)
        self._notices.get_message(timeout=10)

    def ms(self, words: list[str]) -> float:
        self._client.delete("golive:revoked", "golive:last")  # or the command would adopt them
        self._client.hset(KEY, "term", "1")
        while self._notices.get_message(timeout=0.01) is not None:
            pass
        started = time.perf_counter()
        with subprocess.Popen(
            words,
            env=lab.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while self._message() != KEY.encode():
                pass
            took = (time.perf_counter() - started) * 1000
            process.wait()
        return took

    def _message(self) -> bytes:
        message = self._notices.get_message(timeout=30)
        if message is None:
            raise SystemExit("the key was not deleted within 30 s")
        return message["data"]


def main(words: list[str]) -> None:
    rounds = int(words[words.index("--rounds") + 1]) if "--rounds" in words else ROUNDS
    with lab.switch(beating=False) as switch:  # a heartbeat would put the tombstone back
        port = switch.server.port
        bare = [sys.executable, "-c", f"import redis; redis.Redis(port={port}).delete({KEY!r})"]
        options = ["--reason", "bench", "--json", "--wait", "0", "--config", str(switch.path)]
        ours = [*command(), "revoke", *options]
        watch = Stopwatch(switch)
        pairs = lab.interleaved(lambda: watch.ms(bare), lambda: watch.ms(ours), rounds)
        switch.server.client().hset(KEY, "term", "1")
        spied = subprocess.run(
            [sys.executable, "-c", SPY, "revoke", *options],
            env=lab.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    line = next(line for line in spied.stderr.splitlines() if line.startswith("AT THE STOP"))
    count, *found = line.split()[3:]
    lab.report(
        f"golive revoke, process start -> key gone (redis-py {redis.__version__})",
        [lab.compared("golive revoke vs import redis; delete", pairs, TARGET, "ms")],
        [f"{count} modules at the stop; of {', '.join(FORBIDDEN)}: {', '.join(found) or 'none'}"],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
