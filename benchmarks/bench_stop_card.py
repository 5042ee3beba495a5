"""From the start of redis-cli with a stop card to its effect: in Redis, and at the last worker.

Beside `golive revoke` and a bare `redis-cli DEL` of the same run, in turn. The effect in Redis is told
by the server's own notice of the DEL, as for the cold revoke; that at the workers by when the receipt
`latched` of the last of them arrives, which leaves after it has closed. A bare DEL has no receipts.

    python benchmarks/bench_stop_card.py [--json] [--rounds N]
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

import lab
from bench_cold_revoke import KEY, Stopwatch, command
from layout import fleet, timing

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.operator import cardfiles, cards
from golive_redis.operator.session import Operator
from golive_redis.records.envelope import peek
from golive_redis.records.receipt import Receipt, Stage

LIMIT = 3.0  # of a bare `redis-cli DEL`
ROUNDS = 20
WORKERS = 10
DAY_MS = 86_400_000
MAX_MS = 30_000


def issued(path: Path, folder: Path, *, epochs: int = 50) -> Path:
    """Issue a card into a new folder; return its file."""
    setup = configuration.load(path)
    with Operator(setup) as operator:
        item = cards.issue(
            operator,
            setup.stop_signer(operator.trust.keyset),
            epochs=epochs,
            until_ms=clock.wall_ms() + DAY_MS,
            holder="bench",
            reason="bench",
        )
        return cardfiles.write(folder, operator.address, item, "bench")[-1]


def shell(port: int, words: str) -> list[str]:
    """Return redis-cli with these words, which it may take from a file."""
    return ["/bin/sh", "-c", f"exec redis-cli -p {port} {words}"]


def to_the_effect(rounds: int) -> list[lab.Row]:
    """Nobody is there: what the commands take by themselves."""
    with lab.switch(beating=False) as switch, tempfile.TemporaryDirectory() as name:
        watch, port = Stopwatch(switch), switch.server.port
        file = issued(switch.path, Path(name) / "card")
        bare, card = shell(port, f"DEL {KEY}"), shell(port, f"--pipe < {file}")
        options = ["revoke", "--reason", "bench", "--json", "--wait", "0"]
        shrug = ["/bin/sh", "-c", '"$@"; exit 0', "sh"]
        revoke = [*shrug, *command(), *options, "--config", str(switch.path)]
        pairs = lab.interleaved(lambda: watch.alone(bare), lambda: watch.alone(card), rounds)
        slow = lab.interleaved(lambda: watch.alone(bare), lambda: watch.alone(revoke), rounds)
    return [
        lab.compared("redis-cli --pipe < card.redis: start -> effect", pairs, LIMIT, "ms"),
        lab.compared("golive revoke: start -> effect", slow, None, "ms"),
    ]


class LastWorker:
    """Hears when workers say that they have closed."""

    def __init__(self, switch: lab.Switch) -> None:
        self._ear = switch.server.client(socket_timeout=30).pubsub()
        self._ear.subscribe("golive:receipts")
        self._ear.get_message(timeout=10)

    def ms(self, words: list[str], count: int) -> float:
        """Return the ms from the start of the process to the last worker's receipt."""
        while self._ear.get_message(timeout=0.01) is not None:
            pass
        started, heard = time.perf_counter(), set()
        with subprocess.Popen(
            words, env=lab.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ):
            while len(heard) < count:
                message = self._ear.get_message(timeout=MAX_MS / 1000)
                if message is None:
                    raise lab.NotMeasuredError(f"{len(heard)} of {count} workers have answered")
                receipt = peek(message["data"], Receipt)
                if receipt.worker is not None and receipt.stage is Stage.LATCHED:
                    heard.add(receipt.worker)
            return (time.perf_counter() - started) * 1000


def to_the_last_worker(rounds: int) -> lab.Row:
    """With workers that trade: a card beside `golive revoke`, which is the floor here."""
    with lab.switch(timing(WORKERS)) as switch, tempfile.TemporaryDirectory() as name:
        last, port = LastWorker(switch), switch.server.port
        revoke = ["revoke", "--reason", "bench", "--json", "--wait", "30"]
        revoke += ["--config", str(switch.path)]
        pairs = []
        with fleet("guards", WORKERS, str(switch.path)):
            for number in range(rounds + 1):
                switch.activate()
                ours = last.ms([*command(), *revoke], WORKERS)
                switch.activate()
                file = issued(switch.path, Path(name) / str(number))
                played = last.ms(shell(port, f"--pipe < {file}"), WORKERS)
                subprocess.run(
                    [*command(), *revoke], env=lab.environment(), capture_output=True, check=False
                )
                pairs.append((ours, played))
    return lab.compared(
        f"start -> last of {WORKERS} workers (floor: golive revoke)", pairs[1:], 1.0, "ms"
    )


def main() -> None:
    rounds = int(lab.option("--rounds") or ROUNDS)
    notes: list[str] = []
    table = lab.tried(notes, "nobody there", lambda: to_the_effect(rounds)) or []
    last = lab.tried(notes, f"{WORKERS} workers", lambda: to_the_last_worker(rounds))
    table += [last] if last is not None else []
    lab.report("a stop card from a cold start (floor: redis-cli DEL)", table, notes)


if __name__ == "__main__":
    main()
