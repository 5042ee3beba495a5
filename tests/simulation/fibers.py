"""Fibers: the product's own blocking code, run in simulated time.

Operators, heartbeats and the stopping of workers are written as straight code that waits. Each such
run is a greenlet: one that waits hands over to the event loop, which hands back when the simulated
wait is over. So the product's code stands still while the world moves, and a seed replays exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet

if TYPE_CHECKING:
    from .nodes import Node

LOST = object()


class Killed(GreenletExit):
    """Raised in a fiber whose process was killed; `except Exception` does not catch it."""


class _Now:
    """Who is running: a fiber, or an event that acts for a node."""

    fiber: Fiber | None = None
    node: Node | None = None


class Fiber:
    """One run of blocking code on a node."""

    def __init__(self, node: Node, body: Callable[..., None], *args: Any) -> None:
        self.node = node
        self._turn = 0
        self._greenlet = greenlet(lambda: body(*args))

    @property
    def done(self) -> bool:
        """True when it has come to its end."""
        return self._greenlet.dead

    def resume(self) -> None:
        """Let it run until it waits again. Called by the event loop only."""
        self._enter(self._greenlet.switch)

    def kill(self) -> None:
        """End it where it stands, as SIGKILL does."""
        self._enter(lambda: self._greenlet.throw(Killed))

    def _enter(self, switch: Callable[[], Any]) -> None:
        if self.done:
            return
        self._greenlet.parent = getcurrent()
        before = (_Now.fiber, _Now.node)
        _Now.fiber, _Now.node = self, self.node
        try:
            switch()
        finally:
            _Now.fiber, _Now.node = before

    def pause(self) -> None:
        """Hand over to the event loop. Called by the fiber itself only."""
        self._greenlet.parent.switch()
        self._turn += 1

    def waker(self) -> Callable[[], None]:
        """Return what resumes the wait that begins now, and no later one."""
        turn = self._turn

        def wake() -> None:
            if self._turn == turn:
                self.resume()

        return wake


def node() -> Node:
    """Return on whose host the running code is."""
    assert _Now.node is not None, "nobody acts"
    return _Now.node


@contextmanager
def acting(who: Node) -> Iterator[None]:
    """Let an event act for a node: clocks and threads are that node's."""
    before, _Now.node = _Now.node, who
    try:
        yield
    finally:
        _Now.node = before


def spawn(who: Node, body: Callable[..., None], *args: Any) -> Fiber:
    """Start a fiber on a node."""
    fiber = Fiber(who, body, *args)
    who.fibers = [item for item in who.fibers if not item.done]
    who.fibers.append(fiber)
    who.later(0.0, fiber.resume)
    return fiber


def sleep(local_ms: float) -> None:
    """Wait that long on the node's own clock."""
    fiber = _Now.fiber
    assert fiber is not None, "only a fiber waits"
    fiber.node.later(max(0.0, local_ms) / fiber.node.rate, fiber.waker())
    fiber.pause()


def wait_for(start: Callable[[Callable[[Any], None]], None]) -> Any:
    """Start something that answers later, with its answer or with `LOST`; return that."""
    fiber = _Now.fiber
    assert fiber is not None, "only a fiber waits"
    wake = fiber.waker()
    box: list[Any] = []

    def answered(reply: Any) -> None:
        if not box:
            box.append(reply)
            wake()

    start(answered)
    fiber.pause()
    return box[0]


class SimEvent:
    """`threading.Event` of the simulation."""

    def __init__(self) -> None:
        self._set = False
        self._wake: Callable[[], None] | None = None

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        if self._wake is not None:
            wake, self._wake = self._wake, None
            self._who.later(0.0, wake)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float) -> bool:
        if not self._set:
            fiber = _Now.fiber
            assert fiber is not None, "only a fiber waits"
            self._wake, self._who = fiber.waker(), fiber.node
            fiber.node.later(max(0.0, timeout) * 1000 / fiber.node.rate, self._wake)
            fiber.pause()
            self._wake = None
        return self._set


class SimLock:
    """`threading.Lock` of the simulation: a fiber that waits for it lets the world go on."""

    def __init__(self) -> None:
        self._held = False

    def __enter__(self) -> None:
        while self._held:
            sleep(1.0)
        self._held = True

    def __exit__(self, *_: object) -> None:
        self._held = False


class SimQueue:
    """`queue.SimpleQueue` of the simulation, for one fiber that takes."""

    def __init__(self) -> None:
        self._items: list[Any] = []
        self._filled = SimEvent()

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._filled.set()

    def get(self, timeout: float) -> Any:
        if not self._items:
            self._filled.clear()
            self._filled.wait(timeout)
        if not self._items:
            raise Empty
        return self._items.pop(0)

    def empty(self) -> bool:
        return not self._items


class SimThread:
    """`threading.Thread` of the simulation."""

    def __init__(
        self, *, target: Callable[..., None], args: tuple[Any, ...] = (), **_: Any
    ) -> None:
        self._target, self._args = target, args

    def start(self) -> None:
        self._fiber = spawn(node(), self._target, *self._args)

    def is_alive(self) -> bool:
        return not self._fiber.done

    def join(self, timeout: float | None = None) -> None:
        return


class SimThreading:
    """What the product uses of `threading`."""

    Event, Lock, Thread = SimEvent, SimLock, SimThread

    @staticmethod
    def current_thread() -> Fiber | None:
        return _Now.fiber


class SimTime:
    """What the product uses of `time`, on the clock of the node that runs."""

    @staticmethod
    def sleep(seconds: float) -> None:
        sleep(seconds * 1000)

    @staticmethod
    def monotonic() -> float:
        return node().local() / 1000

    @staticmethod
    def strftime(*_: object) -> str:
        return ""

    @staticmethod
    def localtime(*_: object) -> None:
        return None


class SimClock:
    """`golive_redis.clock`, on the clock of the node that runs."""

    NS_PER_MS = 1_000_000

    @staticmethod
    def now_ms() -> float:
        return node().local()

    @staticmethod
    def now_ns() -> int:
        return int(node().local() * 1_000_000)

    @staticmethod
    def wall_ms() -> int:
        return int(node().wall())

    @staticmethod
    def pause_ms(duration_ms: float) -> None:
        sleep(duration_ms)


class SimLoop:
    """`Loop` of a thread that the world stands in for."""

    def start(self) -> bool:
        return True

    def is_alive(self) -> bool:
        return True


class SimAside:
    """`golive_redis.logs.ASIDE`: what the product leaves aside is not part of the world."""

    @staticmethod
    def start() -> bool:
        return True

    @staticmethod
    def flush(_: float) -> bool:
        return True


class SimSecrets:
    """`secrets` from the seed."""

    @staticmethod
    def token_hex(size: int) -> str:
        return f"{node().world.random.getrandbits(8 * size):0{2 * size}x}"
