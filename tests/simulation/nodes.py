"""Hosts of the simulation, with clocks of their own, and what runs on them.

A worker is the product's `View`, `decide`, `ClockWatch` and `Stopping` on simulated connections; a heartbeat
is the product's whole daemon.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from golive_redis.clock import ClockWatch, Sample
from golive_redis.core.answer import Answer, Latch
from golive_redis.core.decision import decide
from golive_redis.core.events import Event, Happened
from golive_redis.core.permit import Intent, Permit, Phase, Reason
from golive_redis.core.view import View
from golive_redis.delivery.receipts import Receipts
from golive_redis.guard.memory import WorkerState
from golive_redis.guard.stopping import Stopping
from golive_redis.heartbeat.daemon import Heartbeat
from golive_redis.heartbeat.memory import HeartbeatState
from golive_redis.statefile import StateFileError
from golive_redis.store.connect import Address
from golive_redis.store.push import Pushes
from golive_redis.store.replies import Caller, Status

from . import fibers
from .wire import Conn, SimOutbox

if TYPE_CHECKING:
    from .world import World

NS = 1_000_000
EDGE_MS = 0.3
AFTER_CLOSING_MS = 20.0
SYMBOLS = ("BTC", "ETH")


class Node:
    """A host with clocks of its own, which run fast or slow, can be stepped, slewed and stopped.

    Attributes:
        rate: Ms of its steady clock per real ms; moves when somebody slews it.
        raw_rate: The same for its hardware clock.
        wall_off_ms: How far its wall clock is off.
        life: A restart makes everything of an earlier life void.
        side: Which primary it finds while there are two.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        rho = world.timing.rho * 0.95
        # As far off as the timers allow for, half of the time: there the bounds are tested.
        off = world.random.choice((-rho, rho, *(world.random.uniform(-rho, rho),) * 2))
        self.raw_rate = self.rate = 1.0 + off
        self._boot = (0.0, world.random.uniform(1e6, 1e9))
        self._raw = self._boot
        self.slewed_at = float("-inf")
        self.wall_off_ms = world.random.uniform(-2_000, 2_000)
        self.paused_until = 0.0
        self.life = 0
        self.side = 0
        self.subscribed: Any = None
        self.attested = False
        self.spooled: list[bytes] = []
        self.fibers: list[fibers.Fiber] = []
        self.disk: Any = None
        self.disk_broken = False
        self.dead = False

    # -- clocks ----------------------------------------------------------------------------------

    def local(self) -> float:
        """Return its steady clock, in ms."""
        at, value = self._boot
        return value + (self.world.now - at) * self.rate

    def raw(self) -> float:
        """Return its hardware clock, in ms."""
        at, value = self._raw
        return value + (self.world.now - at) * self.raw_rate

    def wall(self) -> float:
        """Return its wall clock, in Unix ms."""
        return self.world.EPOCH_MS + self.world.now + self.wall_off_ms

    def slew(self, rate: float) -> None:
        """Let the steady clock run at another rate than the hardware clock."""
        self._boot = (self.world.now, self.local())
        self.rate = rate
        self.slewed_at = self.world.now

    def slept(self, duration_ms: float) -> None:
        """Note a suspend: the steady clock counts it, the hardware clock does not."""
        self._raw = (self.world.now, self.raw() - duration_ms * self.raw_rate)

    def sample(self) -> Sample:
        """Read all clocks, as `golive_redis.clock.sample`."""
        return Sample(self.local(), self.raw(), self.wall(), 0.01)

    # -- lives -----------------------------------------------------------------------------------

    def later(self, delay: float, step: Callable[..., Any], *args: Any) -> None:
        """Run a step of this life after `delay` real ms, or when a pause is over."""
        self.world.at(delay, step, *args, node=self)

    def kill(self) -> None:
        """End this life, as SIGKILL does: nothing that is in progress is finished."""
        self.life += 1
        for fiber in self.fibers:
            fiber.kill()
        self.fibers = []
        self.paused_until = 0.0

    def start(self) -> None:
        """Begin a life."""


class SimFile:
    """`StateFile` on the disk of a node: a write takes a while, and a kill before its end loses it."""

    def __init__(self, folder: Path, stem: str, **_: Any) -> None:
        self._node = fibers.node()
        self.folder = folder

    def read_all(self, kind: type[Any]) -> list[Any]:
        if self._node.disk_broken:
            raise StateFileError("cannot be read")
        return [self._node.disk] if self._node.disk is not None else []

    def write(self, value: Any) -> None:
        fibers.sleep(self._node.world.random.choice((0.1, 1.0, 20.0, 150.0)))
        if self._node.disk_broken:
            raise StateFileError("cannot be written")
        self._node.disk = value

    def prepare(self) -> None:
        """Nothing of a simulated process runs out of descriptors."""

    def release(self) -> None:
        return


class SimStopping(Stopping):
    """The product's, on the disk and the connections of a node."""

    def __init__(self, worker: Worker, file: SimFile | None) -> None:
        world = worker.world
        super().__init__(
            Receipts(
                world.principals.trust,
                world.principals.signers["workers"],
                SimOutbox(worker, world.timing.read_every_ms),  # type: ignore[arg-type]
                instance=worker.instance,
                worker=worker.name,
            ),
            file,  # type: ignore[arg-type]
            lambda: len(worker.holds),
            world.timing.drain_ms,
        )


class Worker(Node):
    """A worker: the real view, attending and pushed, that sends orders."""

    def __init__(self, world: World, name: str, *, keeps: bool) -> None:
        super().__init__(world, name)
        self.keeps = keeps  # whether a state file is configured
        self.start()

    def start(self) -> None:
        """Begin a life: read the state file, register by attending."""
        world, timing = self.world, self.world.timing
        self.instance = f"{world.random.getrandbits(128):032x}"
        self.caller = Caller("worker", self.name, self.instance)
        with fibers.acting(self):
            file = SimFile(Path(), "worker") if self.keeps else None
            self.stopping = SimStopping(self, file)
            self.stopping.loop.start()
        latch, unreadable = None, False
        try:
            kept = file.read_all(WorkerState) if file is not None else []
            latch = kept[0].latch if kept else None
        except StateFileError:
            unreadable = True
        self.view = View(world.principals.trust, timing, {"worker": self.name}, latch)
        self.watch = ClockWatch(timing.rho, self.sample)
        if unreadable:
            self.stopping.failed()
            self.view.seal(Reason.STATE_FILE)
        self.sealed = unreadable
        self.holds: list[Permit] = []
        self.stops = 0
        self.conn: Conn | None = None
        self.pending: str | None = None
        self.wake = False
        self.told: dict[str, str | bytes] = {}
        self.edge_at = 0.0
        self.answers: list[tuple[Answer, Any]] = []
        world.checker.born(self)
        self.later(world.random.uniform(0, timing.read_every_ms), self.read)
        self.later(world.random.uniform(0, 300), self.order)

    # -- reading ---------------------------------------------------------------------------------

    def read(self) -> None:
        """The attending thread's turn, at a fixed rate."""
        world = self.world
        every = world.timing.read_every_ms / self.rate
        self.later(every * world.random.uniform(0.9, 1.0), self.read)
        self.attend()

    def attend(self) -> None:
        """Ask, unless a question is outstanding."""
        if self.pending is not None:
            self.wake = True
            return
        self.wake = False
        if self.watch.anomaly() is not None:
            self.world.count("clock anomalies noticed")
            self.view.clock_anomaly()
        if self.conn is None:
            self.conn = Conn(self)
            self.told = {}
            self.view.reconnected()
        fields = self.fields()
        self.ask({name: raw for name, raw in fields.items() if self.told.get(name) != raw})

    def fields(self) -> dict[str, str | bytes]:
        """What presence says."""
        return {"state": self.view.phase.value, "directive": self.view.newest or b""}

    def ask(self, fields: dict[str, str | bytes]) -> None:
        """Send one question; give up and reconnect after `timeout_ms`."""
        world, conn = self.world, self.conn
        assert conn is not None
        nonce = f"{world.random.getrandbits(64):016x}"
        sent = self.local()
        question = self.view.ask(nonce, now_ns=int(sent * NS), wall_ms=self.wall())
        self.pending = nonce
        self.told |= fields

        def execute(server: Any) -> Any:
            status, answer, _ = server.attend(question, self.caller, fields, world.now)
            return status, answer, world.checker.shown(self, answer, server)

        world.call(
            conn,
            execute,
            lambda reply: self.answered(sent, *reply),
            within=world.timing.timeout_ms / self.rate,
            late=lambda: self.timed_out(nonce),
        )

    def timed_out(self, nonce: str) -> None:
        """The answer is too late to be one: drop the connection."""
        if self.pending == nonce:
            self.pending = None
            self.drop()
            self.view.unanswered(int(self.local() * NS))

    def drop(self) -> None:
        """Answers of the old connection are never read."""
        if self.conn is not None:
            self.conn.close()
        self.conn = None

    def answered(self, sent: float, status: Status, answer: Answer, shown: Any) -> None:
        """Take in an answer; now and then the wire brings an older one instead."""
        world = self.world
        if status is Status.REGISTER:
            if self.pending == answer.nonce:
                self.ask(self.fields())
            return
        self.answers = [*self.answers[-2:], (answer, shown)]
        if not world.calm and world.random.random() < world.weather.swaps:
            world.count("faults: swapped answer")
            answer, shown = self.answers[0]
        self.pending = None
        now = self.local()
        before = self.view.verdict
        events = self.view.answer(answer, now_ns=int(now * NS))
        late = now - sent > world.timing.timeout_ms
        if not late and self.view.verdict is not before:
            world.checker.taken(self, answer, shown)
        self.act(events)
        self.watch_edge()
        if self.wake:
            self.later(AFTER_CLOSING_MS if not self.open else 0.0, self.attend)

    def pushed(self, raw: bytes) -> None:
        """Take in a push: close first, judge a little later."""
        suspected = self.view.suspect(raw)
        self.later(AFTER_CLOSING_MS if suspected else 0.0, self.judge, raw, suspected)

    def judge(self, raw: bytes, suspected: bool) -> None:
        """Verify what was pushed."""
        self.act(self.view.push(raw, suspected=suspected))

    def ordered(self) -> None:
        """A tracked key changed, or the subscription is new: read now."""
        self.later(0.0 if self.open else AFTER_CLOSING_MS, self.attend)

    # -- stopping --------------------------------------------------------------------------------

    def act(self, events: list[Event]) -> None:
        """What `Attending` does."""
        checker = self.world.checker
        for event in events:
            if event.kind is Happened.STOPPED and event.revocation is not None:
                self.stops += 1
                checker.stopped(self, event.revocation)
                with fibers.acting(self):
                    self.stopping.stop(event.revocation, self.view.latch, self.stop_done)
            elif event.kind is Happened.REPEATED and event.revocation is not None:
                with fibers.acting(self):
                    self.stopping.receipts.repeat(event.revocation.identity)
            elif event.kind is Happened.RESTRICTED and event.restriction is not None:
                checker.applied(self, event.restriction)
                with fibers.acting(self):
                    self.stopping.restricted(event.restriction)
            elif event.kind is Happened.RECONNECT:
                self.drop()
            elif event.kind is Happened.SECURITY:
                self.world.count("security events")

    def stop_done(self, kept: bool) -> None:
        """As `Attending._stop_done`."""
        self.stops -= 1
        if not kept:
            self.view.seal(Reason.STATE_FILE)
            self.sealed = True
        elif self.stops == 0:
            self.view.drained()

    # -- trading ---------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """True while an order could be permitted."""
        return self.local() * NS < self.view.verdict.deadline_ns

    @property
    def armed(self) -> bool:
        """True while it is in the phase of that name and an order could be permitted."""
        return self.view.phase is Phase.ARMED and self.open

    def order(self) -> None:
        """Send orders at random, as a bot does: check, prepare, check again, send."""
        world = self.world
        self.later(world.random.expovariate(1 / 450), self.order)
        self.try_order(slow=world.random.random() < 0.03)

    def try_order(self, *, slow: bool) -> None:
        """Ask for one order and send it, perhaps after a while."""
        world = self.world
        intent = Intent.OPEN if world.random.random() < 0.7 else Intent.REDUCE
        symbol = world.random.choice(SYMBOLS)
        answer = self.decide(intent, symbol)
        world.checker.tried(self, answer)
        if not isinstance(answer, Permit):
            return
        self.holds.append(answer)
        if slow:
            self.later(world.random.choice((50.0, 500.0, 4_000.0, 9_000.0)), self.send, answer)
        else:
            self.send(answer)

    def watch_edge(self) -> None:
        """Send an order at the very last moment, too: there the bounds are tested."""
        deadline_ns = self.view.verdict.deadline_ns
        if deadline_ns and self.edge_at <= self.world.now:
            left = (deadline_ns / NS - self.local()) / self.rate - EDGE_MS
            self.edge_at = self.world.now + max(0.0, left)
            self.later(left, self.edge)

    def edge(self) -> None:
        """The last moment of a deadline; it may have moved since."""
        left = (self.view.verdict.deadline_ns / NS - self.local()) / self.rate
        if left > 2 * EDGE_MS:
            self.edge_at = 0.0
            self.watch_edge()
        elif left > 0:
            for _ in range(4):
                self.try_order(slow=False)

    def decide(self, intent: str, symbol: str) -> Any:
        """Ask as `Guard.check` does: one clock, memory, nothing else."""
        now_ns = int(self.local() * NS)
        return decide(self.view.verdict, intent, {"symbol": symbol}, now_ns, self)  # type: ignore[arg-type]

    def still(self, permit: Permit) -> bool:
        """As `Guard.still`."""
        answer = self.decide(permit.intent, permit.labels["symbol"])
        return isinstance(answer, Permit) and answer.term == permit.term

    def saw_float(self, value: float) -> None:
        """No order of the simulation has a size."""

    def send(self, permit: Permit) -> None:
        """The venue accepts what is sent with a permit that is still valid."""
        self.holds.remove(permit)
        if permit.valid():
            self.world.checker.accepted(self, permit)


class SimAddress(Address, frozen=True):
    """Where the simulated store is."""

    def link(self, **_: Any) -> Any:
        return Conn(fibers.node())


class SimListener:
    """`PushListener`: the world brings the pushes itself."""

    arrives = Pushes.TRACKING

    def __init__(self, *_: Any, **__: Any) -> None:
        self.loop = fibers.SimLoop()

    def close(self, within_s: float) -> None:
        return


class Beater(Heartbeat):
    """The product's daemon."""

    def __init__(self, host: HeartbeatHost) -> None:
        world = host.world
        super().__init__(
            name=host.name,
            trust=world.principals.trust,
            timing=world.timing,
            signer=world.principals.signers[host.name],
            address=SimAddress("redis://simulation"),
            state_dir=Path("state"),
            say=lambda text: host.said(text),
        )


class HeartbeatHost(Node):
    """Where a heartbeat runs; like a service manager, it starts it again when it could not start."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.start()

    def start(self) -> None:
        """Begin a life from the state file."""
        self.dead = False
        self.daemon: Beater | None = None
        self.last_said = ""
        try:
            with fibers.acting(self):
                self.daemon = Beater(self)
        except StateFileError:
            self.later(2_000.0, self.start)
            return
        fibers.spawn(self, self.daemon.run)

    def said(self, text: str) -> None:
        """Keep what it says for the trace."""
        self.last_said = text
        self.world.note(f"{self.name}: {text}")

    @property
    def pulse(self) -> Any:
        """Its state machine, or None while it cannot start."""
        return self.daemon._pulse if self.daemon is not None else None

    @property
    def latch(self) -> Latch:
        """What its disk remembers."""
        return self.disk.latch if isinstance(self.disk, HeartbeatState) else Latch()

    def pushed(self, raw: bytes) -> None:
        """The push thread keeps what came, and wakes the loop."""
        if self.daemon is not None:
            with fibers.acting(self):
                self.daemon._take(raw)

    def ordered(self) -> None:
        """Wake the loop."""
        if self.daemon is not None:
            with fibers.acting(self):
                self.daemon._wake.set()
