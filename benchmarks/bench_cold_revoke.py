"""From the start of `golive revoke` to its effect in Redis, and to COMPLETE.

To the effect against a bare `DEL` by redis-py. A subscriber to the server's own notice of the DEL
tells the instant, so that nobody polls while the command starts. To COMPLETE, with 10 and 100
workers, against a bare redis-py process that publishes once and counts as many answers. Also looked
at: what the command has imported at the instant of the effect.

    python benchmarks/bench_cold_revoke.py [--json] [--rounds N]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import lab
import redis
from layout import fleet, timing

from golive_redis.store.keyspace import Keyspace

LIMIT = 1.3
ROUNDS = 40
FLEETS = {10: 15, 100: 8}  # workers: rounds
FORBIDDEN = ("pydantic", "tenacity", "rich", "typer", "click")
KEY = Keyspace("golive").active
BARE_KEY = "floor:key"

# The command with one line more, at the instant at which the script has removed the key.
SPY = f"""
import sys
from golive_cli.main import main
from golive_redis.stop.revoke import Revoke
told = Revoke._effect
def effect(self, *words):
    told(self, *words)
    found = sorted(set({FORBIDDEN!r}) & set(sys.modules))
    print("AT THE STOP", len(sys.modules), *found, file=sys.stderr)
Revoke._effect = effect
sys.exit(main())
"""
# The least that a stop with answers can do: delete, tell, and count who answers.
ASK = """
import redis
client = redis.Redis(port={port})
ear = client.pubsub()
ear.subscribe("answers")
ear.get_message(timeout=5)
client.delete({key!r})
client.publish("call", b"x" * 700)
left = {count}
while left:
    message = ear.get_message(timeout=5)
    left -= message is not None and message["type"] == "message"
"""


def command() -> list[str]:
    """Return the console script; without one (not installed) what it would run."""
    script = Path(sys.executable).with_name("golive")
    if script.exists():
        return [str(script)]
    return [sys.executable, "-c", "import sys; from golive_cli.main import main; sys.exit(main())"]


class Stopwatch:
    """Starts a command and waits for the server's notice that a key is gone."""

    def __init__(self, switch: lab.Switch) -> None:
        self.client = switch.server.client()
        self.client.config_set("notify-keyspace-events", "Eg")
        self._notices = switch.server.client(socket_timeout=30).pubsub()
        self._notices.subscribe("__keyevent@0__:del")
        self._notices.get_message(timeout=10)

    def ms(self, words: list[str], key: str = KEY) -> tuple[float, float]:
        """Return the ms from the start of the process to the removal, and to its end."""
        while self._notices.get_message(timeout=0.01) is not None:
            pass
        started = time.perf_counter()
        with subprocess.Popen(
            words, env=lab.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while self._message() != key.encode():
                pass
            gone = time.perf_counter()
            code = process.wait()
            ended = time.perf_counter()
        if code:
            raise lab.NotMeasuredError(f"{words[0]} exited with {code}")
        return (gone - started) * 1000, (ended - started) * 1000

    def alone(self, words: list[str], key: str = KEY) -> float:
        """The same for a key that nobody else cares about."""
        self.client.delete("golive:revoked", "golive:last")  # or the command would adopt them
        self.client.hset(key, "term", "1")
        return self.ms(words, key)[0]

    def _message(self) -> bytes:
        message = self._notices.get_message(timeout=30)
        if message is None:
            raise lab.NotMeasuredError("the key was not deleted within 30 s")
        return message["data"]


def to_the_effect(rounds: int) -> tuple[lab.Row, str]:
    """Nobody is there: the time that the command itself takes, and what it has imported."""
    with lab.switch(beating=False) as switch:  # a heartbeat would put the tombstone back
        port = switch.server.port
        bare = [sys.executable, "-c", f"import redis; redis.Redis(port={port}).delete({KEY!r})"]
        options = ["revoke", "--reason", "bench", "--json", "--config", str(switch.path)]
        # Its exit code says that nothing was confirmed, as is right with nobody there.
        shrug = ["/bin/sh", "-c", '"$@"; exit 0', "sh"]
        ours = [*command(), *options, "--wait", "0"]
        watch = Stopwatch(switch)
        pairs = lab.interleaved(
            lambda: watch.alone([*shrug, *bare]), lambda: watch.alone([*shrug, *ours]), rounds
        )
        switch.server.client().hset(KEY, "term", "1")
        spied = subprocess.run(
            [sys.executable, "-c", SPY, *options, "--wait", "0"],
            env=lab.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    line = next(line for line in spied.stderr.splitlines() if line.startswith("AT THE STOP"))
    count, *found = line.split()[3:]
    note = f"{count} modules at the stop; of {', '.join(FORBIDDEN)}: {', '.join(found) or 'none'}"
    return lab.compared("process start -> effect, nobody there", pairs, LIMIT, "ms"), note


def to_complete(count: int, rounds: int) -> list[lab.Row]:
    """With workers that trade, a heartbeat, and a command that says COMPLETE."""
    with lab.switch(timing(count)) as switch:
        port, watch = switch.server.port, Stopwatch(switch)
        ask = [sys.executable, "-c", ASK.format(port=port, key=BARE_KEY, count=count)]
        options = ["--reason", "bench", "--json", "--wait", "30", "--config", str(switch.path)]
        revoke = [*command(), "revoke", *options]
        pairs = []
        with (
            fleet("subscribers", count, str(port), "call", "answers"),
            fleet("guards", count, str(switch.path)),
        ):
            for _ in range(rounds + 1):
                switch.activate()
                watch.client.set(BARE_KEY, "1")
                pairs.append((watch.ms(ask, BARE_KEY), watch.ms(revoke)))
    effect = [(floor[0], ours[0]) for floor, ours in pairs[1:]]
    whole = [(floor[1], ours[1]) for floor, ours in pairs[1:]]
    return [
        lab.compared(f"process start -> effect, {count} workers", effect, LIMIT, "ms"),
        lab.compared(f"process start -> COMPLETE and exit, {count} workers", whole, None, "ms"),
    ]


def main() -> None:
    asked = lab.option("--rounds")
    table, notes = [], []
    found = lab.tried(notes, "nobody there", lambda: to_the_effect(int(asked or ROUNDS)))
    if found is not None:
        table.append(found[0])
        notes.append(found[1])
    for count, rounds in FLEETS.items():
        table += (
            lab.tried(
                notes, f"{count} workers", lambda n=count, r=rounds: to_complete(n, int(asked or r))
            )
            or []
        )
    title = f"golive revoke from a cold start (floor: redis-py {redis.__version__})"
    lab.report(title, table, notes)


if __name__ == "__main__":
    main()
