"""What a guard costs the server (CPU, commands, memory) and its own process (memory).

N guards at the timers of `standard` ask one server, over a connection each (crowd.py); the floor is
the same crowd that sends a bare PEXPIRE each time. Some also take pushes.

    python benchmarks/bench_server_cost.py [--json] [--seconds S] [--sizes 1000,2000,5000,10000]
"""

from __future__ import annotations

import resource
import statistics
import time
from contextlib import ExitStack
from typing import Any, NamedTuple

import lab
from crowd import Crowd, load_script
from layout import fleet

from golive_redis import Guard

SIZES = "1000,2000,5000,10000"
PUSHED = 1_000
SPARE = 500  # file descriptors of this process and of the server
GUARDS = 50  # opened in a worker, to see what they weigh there
LIMIT = 3.0  # of a crowd of bare PEXPIREs; performance.md says why
RATE = 1 / (0.95 * 0.5)  # questions a second of one guard, with its jitter


class Cost(NamedTuple):
    """What the server spent while a crowd asked."""

    cpu: float  # per cent of one core
    commands: float  # a second
    bytes: float  # a guard


def spent(client: Any) -> float:
    cpu = client.info("cpu")
    return cpu["used_cpu_user"] + cpu["used_cpu_sys"]


def cost(client: Any, crowd: Crowd, seconds: float, size: int, memory: int) -> Cost:
    crowd.run(1.0)
    asked, cpu, started = crowd.sent, spent(client), time.perf_counter()
    crowd.run(seconds)
    took = time.perf_counter() - started
    used = client.info("memory")["used_memory"] - memory
    return Cost((spent(client) - cpu) / took * 100, (crowd.sent - asked) / took, used / size)


def at_nominal(cost: Cost, commands: float) -> float:
    """Return the CPU at the rate that the timers ask for: the crowd may fall behind a little."""
    return cost.cpu * commands / cost.commands


def measure(size: int, seconds: float, *, pushed: int = 0, bare: bool = False) -> Cost:
    with lab.switch() as switch:
        client = switch.server.client()
        client.config_set("maxclients", size + pushed + 100)
        with Guard.open(switch.config, worker="pod-7") as guard:
            switch.activate()
            view = guard._attending._view
            known = (view.known.last, view.known.revoked)
            load_script(client)
            memory = client.info("memory")["used_memory"]
            read_every = switch.config.policy.timers.read_every_ms
            crowd = Crowd(switch.server.port, size, known, read_every, bare=bare)
            try:
                if pushed:
                    crowd.take_pushes(pushed)
                return cost(client, crowd, seconds, size, memory)
            finally:
                crowd.close()


def weight(role: str, where: str) -> float:
    """Return what one more member of a role adds to its process, in KiB."""
    with ExitStack() as stack:
        sizes = []
        for count in (1, GUARDS):
            crew = stack.enter_context(fleet(role, 1, where, str(count)))
            time.sleep(1.5)
            sizes.append(crew.ask()[0][0])
    return (sizes[1] - sizes[0]) / (GUARDS - 1) / 1024


def main() -> None:
    seconds = float(lab.option("--seconds") or 6)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    room = hard - SPARE
    wanted = [int(size) for size in (lab.option("--sizes") or SIZES).split(",")]
    sizes = [size for size in wanted if size + PUSHED <= room] or [room - PUSHED]
    table: list[lab.Row] = []
    notes: list[str] = []
    line: list[tuple[int, float]] = []
    for size in sizes:
        lab.tried(
            notes, f"{size:,}", lambda n=size: table.extend(crowd_of(n, seconds, notes, line))
        )
    largest = sizes[-1]
    lab.tried(notes, "with pushes", lambda: table.extend(with_pushes(largest, seconds)))
    if line[1:]:
        slope, start = statistics.linear_regression(*zip(*line, strict=True))
        notes.append(f"line over N: {start:.1f} % + {slope * 1000:.2f} % per 1,000 guards")
    lab.tried(notes, "worker memory", lambda: table.append(worker_memory()))
    notes.append("worker memory: floor is one more redis-py subscriber with its thread")
    lab.report("what a guard costs (floor: the same crowd with a bare PEXPIRE)", table, notes)


def crowd_of(
    size: int, seconds: float, notes: list[str], line: list[tuple[int, float]]
) -> list[lab.Row]:
    """Compare so many guards with as many bare PEXPIREs."""
    floor, ours = measure(size, seconds, bare=True), measure(size, seconds)
    low, high = (at_nominal(cost, size * RATE) for cost in (floor, ours))
    line.append((size, high))
    micro = high / size / RATE * 1e4
    notes.append(
        f"{size:,}: {ours.commands:,.0f} of {size * RATE:,.0f} questions a second sent, "
        f"{micro:.1f} us of server CPU each"
    )
    memory = (floor.bytes / 1024, ours.bytes / 1024)
    return [
        # Against the floor and not as a share of a core: the same load is 47 % of one core and
        # all of another.
        lab.Row(f"server CPU, {size:,} guards", "%", low, high, high / low, LIMIT, 0.0),
        lab.Row(
            f"server memory a guard, {size:,}", "KiB", *memory, memory[1] / memory[0], None, 0.0
        ),
    ]


def with_pushes(size: int, seconds: float) -> list[lab.Row]:
    """Let some of the largest crowd take pushes: a PING as often, on a connection of its own."""
    floor = at_nominal(measure(size, seconds, bare=True), size * RATE)
    cost = measure(size, seconds, pushed=PUSHED)
    cpu = at_nominal(cost, RATE * (size + PUSHED))
    what = f"server CPU, {size:,} guards, {PUSHED:,} with pushes"
    return [lab.Row(what, "%", floor, cpu, cpu / floor, None, 0.0)]


def worker_memory() -> lab.Row:
    with lab.switch() as switch:
        bare = weight("weigh_subscribers", str(switch.server.port))
        ours = weight("weigh_guards", str(switch.path))
    return lab.Row("worker memory, one more guard", "KiB", bare, ours, ours / bare, None, 0.0)


if __name__ == "__main__":
    main()
