"""From a bare `DEL golive:active` to guards that are closed, in other processes.

Nobody signs or publishes anything: the server's invalidation tells the guards that the key changed,
and a guard closes on what it then reads. The floor is bare redis-py clients in the same layout that
track a key of their own, and read it once when the invalidation comes.

    python benchmarks/bench_raw_removal.py [--json] [--rounds N]
"""

from __future__ import annotations

import time

import lab
from layout import Rounds, fleet, rows, timing

from golive_redis.store.keyspace import Keyspace

ROUNDS = {1: 40, 10: 40, 100: 30}
BARE = "floor:key"
LIMIT = 2.0  # performance.md says why


def measure(count: int, rounds: int) -> tuple[Rounds, Rounds]:
    floor: Rounds = []
    ours: Rounds = []
    active = Keyspace("golive").active
    with lab.switch(timing(count)) as switch:
        client = switch.server.client()
        port = str(switch.server.port)
        with (
            fleet("trackers", count, port, BARE) as bare,
            fleet("guards", count, str(switch.path)) as guards,
        ):
            for number in range(rounds + 1):
                switch.activate()
                guards.noted(0, 0)
                client.set(BARE, "1")
                bare.noted(0, 0)
                time.sleep(0.1 + number % 10 * 0.01)  # not in step with the reads
                sent = time.monotonic_ns()
                client.delete(BARE)
                floor.append(bare.noted(sent, count))
                sent = time.monotonic_ns()
                client.delete(active)
                ours.append(guards.noted(sent, count))
    return floor[1:], ours[1:]


def main() -> None:
    asked = lab.option("--rounds")
    table: list[lab.Row] = []
    notes: list[str] = []
    for count, times in ROUNDS.items():
        found = lab.tried(notes, str(count), lambda n=count, r=times: measure(n, int(asked or r)))
        if found is not None:
            table += rows("closed", count, *found, LIMIT)
    lab.report("DEL golive:active -> guard closed, other processes", table, notes)


if __name__ == "__main__":
    main()
