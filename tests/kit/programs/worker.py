"""A worker as an operating-system process: asks its guard before each order, and tells what it saw.

    kit.programs.worker:main CONFIG ID OPTIONS

OPTIONS is a JSON object: `labels` of the guard and `order_labels`; `rate_hz` of orders; `hold_ms`
keeps one order in flight at a time for that long; `left` makes an `on_stop` hook that says how many
orders it could not withdraw, `hook` says how it fails instead: "raise" or "hang"; `venue` is the port
of a paper venue that the orders go to. Commands come as JSON lines on stdin and are answered on
stdout, between the lines that tell each change from permitted to denied. All instants are
CLOCK_BOOTTIME in ns.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from golive_redis import Denial, Guard, Permit, clock
from golive_redis.clock import now_ns
from golive_redis.guard import attending
from golive_redis.testing.venue_client import VenueClient, VenueError

SWITCH_S = sys.getswitchinterval()


class Worker:
    def __init__(self, config: str, name: str, options: dict[str, Any]) -> None:
        self.options = options
        self.order_labels = options.get("order_labels", {})
        self.guard = Guard.open(config, worker=name, labels=options.get("labels"))
        if "left" in options or "hook" in options:
            self.guard.on_stop(self.on_stop)
        self.kept: dict[str, Permit | Denial] = {}
        self.stops: list[int] = []
        self.last_permit_ns = 0
        self.permits = 0
        self.tries_ns: list[int] = []
        self.name = name
        self.venue = VenueClient(options["venue"]) if "venue" in options else None
        self.ended = threading.Event()
        self.descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)

    def on_stop(self) -> int:
        self.stops.append(now_ns())
        match self.options.get("hook"):
            case "raise":
                raise RuntimeError("the hook was told to fail")
            case "hang":
                time.sleep(3600)
        return int(self.options.get("left", 0))

    def trade(self) -> None:
        """Send orders for ever, and tell of each change."""
        pause_s = 1 / self.options.get("rate_hz", 200)
        before: tuple[bool, str] | None = None
        while not self.ended.is_set():
            at_ns = now_ns()  # before the decision: a permit's instant is never told too late
            self.tries_ns.append(at_ns)
            with self.guard.order(what="BUY BTC", **self.order_labels) as answer:
                allowed = isinstance(answer, Permit)
                if isinstance(answer, Permit) and self.venue and answer.valid():
                    self.send(self.venue, answer)
            if isinstance(answer, Permit):
                self.last_permit_ns = at_ns
                self.permits += 1
            state = (allowed, "" if isinstance(answer, Permit) else answer.reason.value)
            if state != before:
                before = state
                tell(
                    event="state",
                    at_ns=at_ns,
                    allowed=allowed,
                    reason=state[1],
                    last_permit_ns=self.last_permit_ns,
                )
            time.sleep(pause_s)

    def send(self, venue: VenueClient, permit: Permit) -> None:
        """Send one order; without an answer the venue's journal tells whether it counts."""
        order = {"worker": self.name, "symbol": "BTC", "side": "BUY", "qty": "1", "price": "1"}
        with suppress(VenueError):
            venue.place(**order, fence=permit.fence, until_ms=permit.until_ms)

    def hold(self, ms: float) -> bool:
        """Keep one order in flight for that long; False when it was denied."""
        with self.guard.order(what="HOLD BTC", **self.order_labels) as answer:
            if isinstance(answer, Denial):
                return False
            time.sleep(ms / 1000)
            tell(event="held", until_ns=now_ns())
        return True

    def keep_holding(self, ms: float) -> None:
        while not self.ended.is_set():
            if not self.hold(ms):
                time.sleep(0.005)

    def step_wall(self, ms: float) -> None:
        """Make every reader of the wall clock in this process wrong by that much."""
        clock.wall_ms = lambda: time.time_ns() // 1_000_000 + round(ms)  # type: ignore[assignment]
        attending.time = SteppedTime(ms)  # type: ignore[assignment]
        real = clock.sample
        self.guard._attending._watch._read = lambda: msgspec.structs.replace(
            sampled := real(), wall=sampled.wall + ms
        )

    # -- commands --------------------------------------------------------------------------------

    def do_check(self, intent: str = "open", keep: str = "", **labels: str) -> dict[str, Any]:
        answer = self.guard.check(intent, **labels)
        self.kept[keep] = answer
        return told(answer)

    def do_profile(self) -> dict[str, Any]:
        guard, permit = self.guard, self.guard.check("reduce")
        assert guard.limits is not None
        return {
            "profile": guard.profile,
            "max_order_notional": guard.limits.max_order_notional,
            "mode": guard.health().mode,
            "fits_1": isinstance(permit, Permit) and permit.fits(notional=1),
            "fits_26": isinstance(permit, Permit) and permit.fits(notional="26"),
        }

    def do_valid(self, keep: str = "") -> dict[str, Any]:
        permit = self.kept[keep]
        return {"valid": isinstance(permit, Permit) and permit.valid()}

    def do_stall(self, ms: int) -> dict[str, Any]:
        """Take a permit, stop every thread of this process for a while, and look at it again."""
        answer = self.permit()
        ctypes.PyDLL(None).usleep(ms * 1000)  # a PyDLL call keeps the GIL
        found = {"valid": answer.valid(), "after": told(self.guard.check())}
        sys.setswitchinterval(SWITCH_S)
        return {"before": told(answer), **found}

    def permit(self) -> Permit:
        """Return a permit; no other thread gets a turn after it before this one blocks.

        Else a thread of the guard could find everything well again before the permit is looked at.
        """
        sys.setswitchinterval(3600)
        time.sleep(0.05)  # a wait for a turn by the old interval gets it here
        while isinstance(answer := self.guard.check(), Denial):
            time.sleep(0.005)
        return answer

    def do_health(self) -> dict[str, Any]:
        return dict(msgspec.to_builtins(self.guard.health()))

    def do_status(self) -> dict[str, Any]:
        return {
            "allowed": self.guard.allows(**self.order_labels),
            "last_permit_ns": self.last_permit_ns,
            "permits": self.permits,
            "stops": self.stops,
            "pid": os.getpid(),
        }

    def do_tries(self, since_ns: int) -> dict[str, Any]:
        """Say how often it wanted to trade since then, permitted or not."""
        return {"tries": len(self.tries_ns) - bisect_left(self.tries_ns, since_ns)}

    def do_hold(self, ms: float) -> dict[str, Any]:
        threading.Thread(target=self.hold, args=(ms,), daemon=True).start()
        return {}

    def do_kill(self, reason: str = "asked") -> dict[str, Any]:
        self.guard.kill(reason)
        return {}

    def do_lame(self, thread: str) -> dict[str, Any]:
        """Let one thread of the guard die of a defect."""

        def broken(*_: object) -> None:
            raise SystemExit  # ends a thread without a word

        owner = self.guard._attending
        loops = {"attend": owner._loop, "push": owner.listener.loop}
        loops |= {"outbox": owner._outbox.loop, "stop": owner.stopping.loop}
        loops[thread]._turn = broken
        if thread == "outbox":
            owner._outbox._waiting.put(None)
        if thread == "stop":
            owner.stopping._asked.put(None)
        return {}

    def do_use_up(self) -> dict[str, Any]:
        """Have no file descriptor left, as after a leak; nor one that somebody closes from now on."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, self.descriptors[1]))
        with suppress(OSError):
            os.close(os.open(os.devnull, os.O_RDONLY))
            return {"error": "there are some left"}
        return {}

    def do_let_go(self) -> dict[str, Any]:
        """Have descriptors again."""
        resource.setrlimit(resource.RLIMIT_NOFILE, self.descriptors)
        return {}

    def do_freeze(self) -> dict[str, Any]:
        """SIGSTOP itself between a check and the send; say what holds once it runs again."""
        before = self.permit()
        # At this thread and not at the process: it may not run one line further.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        found = {"valid": before.valid(), "after": told(self.guard.check())}
        sys.setswitchinterval(SWITCH_S)
        return {"before": told(before), **found}

    def do_step(self, ms: float) -> dict[str, Any]:
        self.step_wall(ms)
        return {}

    def do_fork(self, open_own: bool = False) -> dict[str, Any]:
        """Fork; the child says what its guard is, and may open one of its own."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os.write(writer, json.dumps(self.in_child(open_own)).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            raw = pipe.read()
        os.waitpid(pid, 0)
        return {"child": json.loads(raw)}

    def in_child(self, open_own: bool) -> dict[str, Any]:
        out: dict[str, Any] = {"answer": told(self.guard.check()), "pid": os.getpid()}
        out["sockets"] = [fd.name for fd in Path("/proc/self/fd").iterdir() if is_socket(fd)]
        out["health"] = self.do_health()
        if open_own:
            own = Guard.open(sys.argv[1], worker=sys.argv[2])
            out["armed"], out["instance"] = own.wait_armed(5), own.instance
            own.close()
        self.guard.close()  # must leave the parent alone
        return out

    def do_spawn(self) -> dict[str, Any]:
        """Fork a child that has a guard of its own and lives as long as its parent."""
        pid = os.fork()
        if pid == 0:
            try:
                self.live_in_child()
            finally:
                os._exit(0)
        return {"child": pid}

    def live_in_child(self) -> None:
        parent, until_ns = os.getppid(), now_ns() + 30_000_000_000
        own = Guard.open(sys.argv[1], worker=sys.argv[2])
        tell(event="child", armed=own.wait_armed(10), instance=own.instance)
        while os.getppid() == parent and now_ns() < until_ns:
            time.sleep(0.005)

    def do_quit(self) -> dict[str, Any]:
        self.ended.set()
        return {}


class SteppedTime:
    """The module `time` with a wall clock that is wrong."""

    def __init__(self, ms: float) -> None:
        self.off_ns = round(ms * 1_000_000)

    def time_ns(self) -> int:
        return time.time_ns() + self.off_ns

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def is_socket(fd: Path) -> bool:
    try:
        return str(fd.readlink()).startswith("socket:")
    except OSError:
        return False


def told(answer: Permit | Denial) -> dict[str, Any]:
    if isinstance(answer, Denial):
        return {"permit": False, "reason": answer.reason.value, "explain": answer.explain()}
    return {
        "permit": True,
        "fence": answer.fence,
        "until_ms": answer.until_ms,
        "mode": answer.mode.value,
        "term": answer.term,
    }


def tell(**line: Any) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")  # one write, so that lines stay whole


def obey(worker: Worker) -> None:
    for line in sys.stdin:
        ask = json.loads(line)
        number, command = ask.pop("id"), ask.pop("do")
        try:
            tell(event="reply", id=number, **getattr(worker, f"do_{command}")(**ask))
        except Exception as error:  # noqa: BLE001  (told to the asker)
            tell(event="reply", id=number, error=repr(error))
    worker.ended.set()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    worker = Worker(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
    tell(event="ready", pid=os.getpid(), instance=worker.guard.instance)
    threading.Thread(target=obey, args=(worker,), daemon=True).start()
    if "hold_ms" in worker.options:
        args = (worker.options["hold_ms"],)
        threading.Thread(target=worker.keep_holding, args=args, daemon=True).start()
    worker.trade()
    worker.guard.close()
