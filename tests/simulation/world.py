"""The world: one seeded event queue, a network that fails, one Redis that fails over, and its people.

Real time is `now`, in ms; nobody but the checkers sees it. Every host has clocks of its own.
"""

from __future__ import annotations

import gc
import heapq
import logging
import random
import sys
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

from golive_redis import threads
from golive_redis.core.timing import TIMINGS
from golive_redis.delivery import receipts, spool
from golive_redis.guard import hooks, stopping
from golive_redis.heartbeat import daemon, duties, memory
from golive_redis.operator import activation, forgetting, grants, preflight, restrictions, session
from golive_redis.stop import attestation, confirmation, connections, journal, revoke
from golive_redis.store import reconnect

from . import faults, fibers
from .checker import Checker
from .model import Data, Server
from .nodes import HeartbeatHost, Node, SimFile, SimListener, Worker
from .people import Person, SimSpool, no_checks, remembered, tried_again
from .trust import HEARTBEATS, OPERATORS, PRINCIPALS, seal_known
from .wire import Conn, SimOutbox, SimStore


class Defect(BaseException):
    """What the product survives and logs as a defect ends the run; no `except Exception` takes it."""


class Loud(logging.Logger):
    """A logger that does not let a defect pass."""

    def _log(self, level: int, msg: object, args: Any, exc_info: Any = None, **_: Any) -> None:
        if exc_info:
            error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
            raise Defect(msg) from error


LOUD = Loud("golive_redis.simulated")


class SimRecorder:
    """Notes nothing: no beat, no stop and no latch waits for what a heartbeat enters for others.

    The ledger of this world has no times, by which the real one looks; it has tests of its own.
    """

    def __init__(self, *_: object) -> None:
        self.loop = SimpleNamespace(start=lambda: True, end=lambda _: None)

    def heard(self, raw: bytes) -> None:
        """Whatever was pushed."""

    def sign_as(self, trust: object, signer: object) -> None:
        """Whatever the keyset is."""

    def mute(self) -> None:
        """Whatever it may sign."""


# The modules that wait, and what they find in place of the machine they would run on.
BLOCKING = (
    activation,
    journal,
    grants,
    restrictions,
    confirmation,
    attestation,
    forgetting,
    daemon,
    duties,
    memory,
    receipts,
    reconnect,
    session,
    preflight,
    revoke,
    spool,
    hooks,
    stopping,
    threads,
    connections,
)
SIMULATED: dict[str, Any] = {
    "Outbox": lambda _, __, retry_s, ___: SimOutbox(fibers.node(), retry_s * 1_000),
    "ASIDE": fibers.SimAside,
    "PushListener": SimListener,
    "Recorder": SimRecorder,
    "SimpleQueue": fibers.SimQueue,
    "aside": lambda say: say,
    "Memory": remembered,
    "POLL_S": 0.05,
    "Spool": SimSpool,
    "StateFile": SimFile,
    "Store": SimStore,
    "clock": fibers.SimClock,
    "retried": tried_again,
    "run": no_checks,  # of the preflight
    "seal": seal_known,
    "secrets": fibers.SimSecrets,
    "threading": fibers.SimThreading,
    "time": fibers.SimTime,
}
CALM_MS = 38_000.0
COPY_EVERY_MS = 1_000.0
MAX_COPIES = 90
DUE_MS = 15_000.0


class _Call:
    """A command on its way."""

    __slots__ = (
        "_life",
        "answered",
        "conn",
        "execute",
        "late",
        "node",
        "number",
        "server",
        "until",
    )

    def __init__(
        self,
        conn: Conn,
        execute: Callable[[Server], Any],
        answered: Callable[..., Any],
        until: float,
        late: Callable[..., Any] | None,
    ) -> None:
        self.conn, self.node, self.server, self.number = conn, conn.node, conn.server, conn.number
        self._life = conn.node.life
        self.execute, self.answered, self.until, self.late = execute, answered, until, late

    @property
    def dropped(self) -> bool:
        """True once its connection is not the one it was sent on."""
        return not self.conn.alive or self.conn.number != self.number

    def give_up(self) -> None:
        """No answer comes in time: the node notices when its patience is over."""
        node, late = self.node, self.late
        if late is not None and node.life == self._life:
            node.later(self.until - node.world.now, late)

    def bring(self, reply: Any) -> None:
        """The answer arrives."""
        if not self.dropped:
            self.answered(reply)


@dataclass(frozen=True)
class Weather:
    """How bad the network is for a while.

    Attributes:
        loss: Share of messages that vanish.
        max_delay: Ms that a message takes at most.
        push_loss: Share of pushes that vanish.
        swaps: Share of answers in whose place an older one comes.
        repeats: Share of commands that are executed twice.
        slow_back: Ms by which answers, and only they, may be slower.
    """

    loss: float = 0.0
    max_delay: float = 5.0
    push_loss: float = 0.0
    swaps: float = 0.0
    repeats: float = 0.0
    slow_back: float = 0.0


FINE = Weather()


class World:
    """One run of one seed.

    Args:
        seed: Decides everything.
        minutes: Simulated length; the last 38 s of it are without faults.
        workers: How many workers there are, at least 3.
    """

    EPOCH_MS = 1_800_000_000_000.0
    checkers: type[Checker] = Checker
    persons: type[Person] = Person

    def __init__(self, seed: int, *, minutes: float = 5.0, workers: int = 3) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.end = minutes * 60_000
        self.calm_from = self.end - CALM_MS
        self.calm = False
        self.now = 0.0
        self.queue: list[Any] = []
        self.number = 0
        self.digest = 0
        self.counts: Counter[str] = Counter()
        self.trace: list[str] = []
        self.timing = TIMINGS["standard"]
        self.principals = PRINCIPALS
        self.principals.trust.cache.clear()
        self.weather = FINE
        self.severity = self.random.choice((0.3, 1.0, 1.0, 1.5))
        self.cuts: list[tuple[float, float, str]] = []
        self.copies: deque[tuple[float, Data]] = deque(maxlen=MAX_COPIES)
        self.primaries = 0
        self.primary = self.new_server(Data())
        self.old: Server | None = None  # a primary that does not know yet that it is none
        self.channels: list[Conn] = []
        self.fault_minutes: set[int] = set()
        self.revoke_minutes: set[int] = set()
        self.fresh_term = 0
        self.recorded: dict[str, bytes] = {}
        self.checker = self.checkers(self)
        with self.patched():
            keeps = self.random.choice(((True,) * workers, (False,) + (True,) * (workers - 1)))
            self.heartbeats = [HeartbeatHost(self, name) for name in HEARTBEATS]
            self.workers = [Worker(self, f"w{n}", keeps=keeps[n]) for n in range(workers)]
            self.people = [
                self.persons(self, name, busy=n == 0) for n, name in enumerate(OPERATORS)
            ]
        for node in self.pods:
            self.subscribe(node)
        self.every(COPY_EVERY_MS, self.copy)
        self.every(500.0, self.checker.sample)
        self.at(self.calm_from, self.calm_down)
        self.plan()

    @property
    def pods(self) -> list[Worker | HeartbeatHost]:
        """Everybody who attends."""
        return [*self.workers, *self.heartbeats]

    # -- events ----------------------------------------------------------------------------------

    def at(
        self, delay: float, step: Callable[..., Any], *args: Any, node: Node | None = None
    ) -> None:
        """Run a step after `delay` ms of real time.

        Args:
            delay: From now.
            step: What to do.
            args: What to do it with.
            node: Who does it: not in a later life, and not before a pause is over.
        """
        self.number += 1
        at = self.now + delay if delay > 0.0 else self.now
        life = node.life if node is not None else 0
        heapq.heappush(self.queue, (at, self.number, node, life, step, args))

    def every(self, period: float, step: Callable[[], None]) -> None:
        """Run a step again and again."""

        def run() -> None:
            step()
            self.at(period, run)

        self.at(period, run)

    def run(self) -> Checker:
        """Run to the end or to the first violation."""
        queue, violations = self.queue, self.checker.violations
        collecting = gc.isenabled()
        gc.disable()  # a run is short, and a third of its time went into looking for cycles
        try:
            with self.patched():
                while queue and queue[0][0] < self.end and not violations:
                    self.now, _, node, life, step, args = heapq.heappop(queue)
                    if node is not None:
                        if life != node.life:
                            continue
                        if self.now < node.paused_until:
                            self.at(node.paused_until - self.now, step, *args, node=node)
                            continue
                    step(*args)
                if not violations:
                    self.now = self.end
                    self.checker.finish()
        finally:
            for node in (*self.pods, *self.people):
                node.kill()
            if collecting:
                gc.enable()
        return self.checker

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Put the product's blocking code on simulated clocks, threads, disks and wires."""
        with ExitStack() as stack:
            for module in BLOCKING:
                ours = {name: ours for name, ours in SIMULATED.items() if hasattr(module, name)}
                ours["logger"] = LOUD
                stack.enter_context(mock.patch.multiple(module, create=True, **ours))
            yield

    def count(self, what: str) -> None:
        """Count something for the summary."""
        self.counts[what] += 1

    def note(self, text: str) -> None:
        """Keep a line of the trace, to compare replays of the seed."""
        line = f"{self.now / 1000:9.3f} {text}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        self.trace.append(line)

    # -- network ---------------------------------------------------------------------------------

    def new_server(self, data: Data, wall_off_ms: float = 0.0) -> Server:
        """Return a new process that serves as a primary."""
        self.primaries += 1
        server = Server(f"{self.primaries:040x}", data, wall_off_ms)
        server.before = self.copy
        return server

    def serving(self) -> list[Server]:
        """Return every server that somebody takes for the primary."""
        return [self.primary, self.old] if self.old is not None else [self.primary]

    def route(self, node: Node) -> Server:
        """Return the server that a node finds when it connects now."""
        if self.old is None:
            return self.primary
        if self.random.random() < 0.1:
            node.side = 1 - node.side
        return self.old if node.side else self.primary

    def subscribe(self, node: Any) -> None:
        """Subscribe a pod to the pushes; every confirmation orders a read."""
        node.subscribed = self.route(node)
        node.later(0.0, node.ordered)

    def cut(self, name: str) -> bool:
        """Tell whether that node cannot reach the store right now."""
        now = self.now
        for begin, end, who in self.cuts:
            if begin <= now < end and (who == name or who == "all"):  # noqa: PLR1714  (quicker)
                return True
        return False

    def parted(self, node: Node, server: Server) -> bool:
        """Tell whether the network is split between that node and that server."""
        return self.old is not None and (server is self.old) != bool(node.side)

    @property
    def fine(self) -> bool:
        """True while no message is lost."""
        return not self.weather.loss and self.old is None and not self.cuts_now()

    def cuts_now(self) -> bool:
        """Tell whether anybody is cut off."""
        return any(begin <= self.now < end for begin, end, _ in self.cuts)

    def delay(self, name: str) -> float | None:
        """Return how long one message takes, or None when it is lost."""
        if self.cuts and self.cut(name):
            return None
        weather = self.weather
        if weather.loss and self.random.random() < weather.loss:
            return None
        return 0.1 + weather.max_delay * self.random.random()

    def call(
        self,
        conn: Conn,
        execute: Callable[[Server], Any],
        answered: Callable[..., Any],
        *,
        within: float = 0.0,
        late: Callable[..., Any] | None = None,
    ) -> None:
        """Send a command over a connection and bring its answer back on the same one.

        Args:
            conn: The connection.
            execute: What it does on the server.
            answered: Called with the reply.
            within: How many real ms the node waits for it.
            late: Called then, when there is no answer.
        """
        call = _Call(conn, execute, answered, self.now + within, late)
        going = self.delay(call.node.name)
        if going is None or self.parted(call.node, call.server):
            call.give_up()
        else:
            self.at(going, self._arrive, call)

    def _arrive(self, call: _Call) -> None:
        # What was sent before the connection was dropped may be executed all the same.
        if not call.server.up or (call.dropped and self.random.random() < 0.5):
            call.give_up()
            return
        reply = self.execute(call.server, call.execute)
        if self.weather.repeats and self.random.random() < self.weather.repeats:
            self.count("faults: command executed twice")
            self.execute(call.server, call.execute)
        back = self.delay(call.node.name)
        if self.parted(call.node, call.server):
            back = None
        if back is not None and self.weather.slow_back:
            back += self.random.random() * self.weather.slow_back
        if back is None or self.now + back > call.until:
            call.give_up()
        if back is not None:
            self.at(back, call.bring, reply, node=call.node)

    def execute(self, server: Server, execute: Callable[[Server], Any]) -> Any:
        """Run a command on a server, and push what follows from it."""
        touched = server.touched
        reply = execute(server)
        if server.touched != touched:
            self.invalidate(server)
        while server.published:
            self.publish(server, server.published.pop(0))
        return reply

    def _push(self, server: Server, step: Callable[[Any], tuple[Any, ...]]) -> None:
        for node in self.pods:
            if node.subscribed is not server or self.parted(node, server):
                continue
            going = self.delay(node.name)
            lost = self.weather.push_loss and self.random.random() < self.weather.push_loss
            if going is not None and not lost:
                node.later(going, *step(node))

    def publish(self, server: Server, raw: bytes) -> None:
        """Push a directive to everybody who hears that server."""
        self._push(server, lambda node: (node.pushed, raw))

    def invalidate(self, server: Server) -> None:
        """Tell everybody who hears that server that the tracked keys changed."""
        self._push(server, lambda node: (node.ordered,))

    def hear(self, server: Server, raw: bytes) -> None:
        """Bring a receipt to the operators who listen at that server."""
        self.channels = [conn for conn in self.channels if conn.alive]
        for conn in self.channels:
            going = self.delay(conn.node.name)
            if self.parted(conn.node, server):
                continue
            if conn.server is server and going is not None:
                conn.node.later(going, conn.hear, raw)

    # -- servers ---------------------------------------------------------------------------------

    def copy(self, _: Server | None = None) -> None:
        """Keep a copy of the primary's data: what a replica or a backup may have."""
        self.copies.append((self.now, self.primary.data.copy()))

    def copy_of(self, age_ms: float) -> Data:
        """Return the newest copy that is at least so old."""
        found = self.primary.data if age_ms <= 0 or not self.copies else self.copies[0][1]
        for at, data in self.copies:
            if age_ms > 0 and at <= self.now - age_ms:
                found = data
        return found.copy()

    def take_over(self, data: Data, *, split: bool) -> None:
        """Let a new process with that data be the primary; with `split` the old one does not know."""
        before = self.primary
        if self.old is not None:
            self.old.up = False
        self.old = before if split else None
        before.up = split
        self.primary = self.new_server(data, before.wall_off_ms)
        for node in (*self.pods, *self.people):
            node.side = int(split and self.random.random() < 0.5)
        self.checker.took_over(self.primary)
        self.moved()

    def heal(self) -> None:
        """The old primary learns that it is none."""
        if self.old is not None:
            self.old.up = False
            self.old = None
            self.note("the split is healed")
            self.checker.took_over(self.primary)
            self.moved()

    def moved(self) -> None:
        """Subscriptions to a server that is gone are made anew, each a while later."""
        for node in self.pods:
            server = node.subscribed
            if server is None or not server.up or self.parted(node, server):
                node.subscribed = None
                node.later(self.random.uniform(20, 1_500), self.subscribe, node)
        self.checker.moved()

    # -- the plan --------------------------------------------------------------------------------

    def plan(self) -> None:
        """Draw what goes wrong."""
        faults.plan(self)

    @property
    def minute(self) -> int:
        """The present minute."""
        return int(self.now // 60_000)

    def fault(self, kind: str, text: str = "") -> None:
        """Note a fault."""
        self.count(f"faults: {kind}")
        self.fault_minutes.add(self.minute)
        self.note(f"{kind} {text}".rstrip())

    def revoking(self, person: Person) -> None:
        """Note a revoke; often the other operator does something at the same moment."""
        self.count("revokes")
        self.revoke_minutes.add(self.minute)
        self.note(f"{person.name}: revoke")
        if self.random.random() < 0.25:
            for other in self.people:
                if other is not person:
                    other.later(self.random.uniform(0, 60), other.bell.set)

    def revoke_is_due(self) -> bool:
        """Tell whether this minute still lacks a revoke."""
        return self.now % 60_000 > DUE_MS and self.minute not in self.revoke_minutes

    def storm(self, kinds: tuple[Callable[[World], None], ...]) -> None:
        """Faults that come together, around a stop or a halt."""
        if not self.calm and self.random.random() < min(0.8, 0.7 * self.severity):
            self.at(0.0, faults.storm, self, kinds)

    def calm_down(self) -> None:
        """No more faults: from here on everybody must arm."""
        self.calm = True
        self.weather = FINE
        self.cuts = []
        self.heal()
        for node in (*self.pods, *self.people):
            node.paused_until = 0.0
            node.disk_broken = False
            node.slew(node.raw_rate)
        for host in self.heartbeats:
            if host.dead:
                faults.revive(host)
        for worker in self.workers:
            if worker.sealed:
                worker.kill()
                worker.start()
        self.note("calm")
