"""Our programs as processes of the operating system, told what to do and asked what they saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from golive_redis import clock
from golive_redis.testing.freeze import freeze, frozen
from golive_redis.testing.server import EmbeddedServer
from kit import zygote

# For what must come in the end. How soon depends on the machine; where the product promises a bound,
# the test compares instants with it.
PATIENCE_MS = 60_000
# Nothing new for so long, and the state of before stands.
STANDS_MS = 5_000


class Span(NamedTuple):
    """When something was begun, and when it was done for certain."""

    began_ns: int
    done_ns: int
    result: Any = None


class Process:
    """One of our programs, running; what it tells is kept in `events`."""

    def __init__(self, name: str, program: str, *args: str, log: Path) -> None:
        self.name = name
        self.events: list[dict[str, Any]] = []
        self.log = log
        self._changed = threading.Condition()
        self._asked = 0
        environ = {k: v for k, v in os.environ.items() if not k.startswith("GOLIVE_")}
        with log.open("ab") as stderr:
            self._child = zygote.start(
                f"kit.programs.{program}:main",
                *args,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environ,
                process_group=True,
            )
        self.pid = self._child.pid
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()

    def wait_event(
        self,
        matches: Callable[[dict[str, Any]], object],
        *,
        within_ms: float = PATIENCE_MS,
        what: str = "",
    ) -> dict[str, Any]:
        """Return the first event that matches, past or to come."""
        found = self.find_event(matches, within_ms=within_ms)
        if found is None:
            pytest.fail(f"{self.name}: no {what} within {within_ms} ms\n{self.stderr()}")
        return found

    def find_event(
        self, matches: Callable[[dict[str, Any]], object], *, within_ms: float
    ) -> dict[str, Any] | None:
        """Return the first event that matches, past or to come; None when none comes in time."""
        deadline = time.monotonic() + within_ms / 1000
        seen = 0
        with self._changed:
            while True:
                ended = not self._reader.is_alive()  # asked before looking: nothing can follow
                for event in self.events[seen:]:
                    if matches(event):
                        return event
                seen = len(self.events)
                left = deadline - time.monotonic()
                if left <= 0 or ended:
                    return None
                self._changed.wait(min(left, 0.5))

    def wait_ready(self) -> dict[str, Any]:
        return self.wait_event(lambda e: e["event"] == "ready", within_ms=PATIENCE_MS, what="ready")

    def begin(self, do: str, **args: Any) -> int:
        """Send a command; `reply` returns its answer."""
        assert self._child.stdin is not None
        self._asked += 1
        line = json.dumps({"id": self._asked, "do": do, **args})
        self._child.stdin.write(line.encode() + b"\n")
        self._child.stdin.flush()
        return self._asked

    def reply(self, number: int, *, within_ms: float = PATIENCE_MS) -> dict[str, Any]:
        """Wait for the answer to that command."""
        reply = self.wait_event(
            lambda e: e["event"] == "reply" and e["id"] == number,
            within_ms=within_ms,
            what=f"answer to command {number}",
        )
        assert "error" not in reply, reply
        return reply

    def ask(self, do: str, *, within_ms: float = PATIENCE_MS, **args: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        return self.reply(self.begin(do, **args), within_ms=within_ms)

    def wait_logged(self, part: str) -> None:
        """Return when that is in its log: written after the fact that a test may have seen already."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while part not in self.stderr():
            assert time.monotonic() < deadline, f"{self.name}: no {part!r} in\n{self.stderr()}"
            time.sleep(0.02)

    def stderr(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def pause(self) -> None:
        """SIGSTOP, and return once it has stopped."""
        freeze(self.pid)

    @property
    def stopped(self) -> bool:
        """True when SIGSTOP is in force."""
        return frozen(self.pid)

    def resume(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL; safe to repeat."""
        self._child.kill()
        self._child.wait(PATIENCE_MS / 1000)
        self._reader.join(PATIENCE_MS / 1000)
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # a command that it did not live to read
                    pipe.close()

    def quit(self, *, within_ms: float = PATIENCE_MS) -> None:
        """Let it end in its own way: goodbye and all."""
        self.ask("quit")
        self._child.wait(within_ms / 1000)
        self.kill()


class Worker(Process):
    """A process with a guard; see programs/worker.py."""

    @property
    def instance(self) -> str:
        return str(self.wait_ready()["instance"])

    def states(self) -> list[dict[str, Any]]:
        """Every change so far: `at_ns`, `allowed`, `reason`, `last_permit_ns`."""
        return [event for event in list(self.events) if event["event"] == "state"]

    def last_permit_ns(self) -> int:
        """Instant of the newest permit, 0 when there was none."""
        return int(self.ask("status")["last_permit_ns"])

    def check(self, intent: str = "open", **labels: str) -> dict[str, Any]:
        """Ask the guard once: `permit`, `fence`, `until_ms`, or `reason`."""
        return self.ask("check", intent=intent, **labels)

    def wait_permit(self, intent: str = "open", *, keep: str = "", **labels: str) -> dict[str, Any]:
        """Ask the guard until it permits: on a busy machine it lapses and is back."""
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not (answer := self.ask("check", intent=intent, keep=keep, **labels))["permit"]:
            assert time.monotonic() < deadline, f"{self.name}: {answer}\n{self.stderr()}"
            time.sleep(0.005)
        return answer

    def health(self) -> dict[str, Any]:
        return self.ask("health")

    def wait_read(self, within_ms: float) -> None:
        """Wait until it has read what stands in Redis now.

        Args:
            within_ms: Its time-out: an answer that came this much later was asked for later.
        """
        since = clock.now_ms() + within_ms
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while True:
            before = clock.now_ms()
            age = self.health()["answer_age_ms"]
            if age is not None and before - age > since:
                return
            assert time.monotonic() < deadline, f"{self.name}: no answer\n{self.stderr()}"
            time.sleep(0.005)

    @property
    def allowed(self) -> bool:
        states = self.states()
        return bool(states) and bool(states[-1]["allowed"])

    def wait_allowed(self, *, after_ns: int = 0, within_ms: float = PATIENCE_MS) -> dict[str, Any]:
        """Wait until it permits, at `after_ns` or later; return the change to that."""
        return self._wait_state(True, after_ns, within_ms)

    def wait_denied(self, *, after_ns: int = 0, within_ms: float = PATIENCE_MS) -> dict[str, Any]:
        """Wait until it denies, at `after_ns` or later; return the change to that, of any reason."""
        return self._wait_state(False, after_ns, within_ms)

    def closed_within(
        self, bound_ms: float, span: Span, *, wait_ms: float = PATIENCE_MS
    ) -> dict[str, Any]:
        """Return its denial; fail when it permitted an order later than the bound.

        Args:
            bound_ms: Of the protocol, counted from the end of the span.
            span: Of whatever should close it; the denial is younger than its beginning.
            wait_ms: How much longer than the bound to wait for the denial to be told.
        """
        denied = self.wait_denied(after_ns=span.began_ns, within_ms=bound_ms + wait_ms)
        late_ms = (self.last_permit_ns() - span.done_ns) / clock.NS_PER_MS
        assert late_ms <= bound_ms, f"{self.name} permitted {late_ms:.0f} ms after the event"
        return denied

    def _wait_state(self, allowed: bool, after_ns: int, within_ms: float) -> dict[str, Any]:
        what = "permit" if allowed else "denial"
        stands_at = time.monotonic() + STANDS_MS / 1000

        def matches(event: dict[str, Any]) -> bool:
            return (
                event["event"] == "state"
                and event["allowed"] == allowed
                and event["at_ns"] >= after_ns
            )

        deadline = time.monotonic() + within_ms / 1000
        while True:
            left_ms = max(0.0, min(STANDS_MS, (deadline - time.monotonic()) * 1000))
            found = self.find_event(matches, within_ms=left_ms)
            if found is not None:
                return found
            # On a busy machine it may have lapsed, or be back, before the test looked at the clock.
            states = self.states()
            stands = bool(states) and states[-1]["allowed"] == allowed
            if time.monotonic() >= stands_at and stands and self.alive and not self.stopped:
                return states[-1]
            if time.monotonic() >= deadline or not self.alive:
                pytest.fail(f"{self.name}: no {what} within {within_ms} ms\n{self.stderr()}")


class Beating(Process):
    """A process with a heartbeat; see programs/heartbeat.py."""

    environment = ""

    def said(self) -> list[str]:
        return [event["text"] for event in list(self.events) if event["event"] == "say"]

    def wait_said(self, part: str, *, within_ms: float = PATIENCE_MS) -> dict[str, Any]:
        return self.wait_event(
            lambda e: e["event"] == "say" and part in e["text"],
            within_ms=within_ms,
            what=f"word of {part!r}, only {self.said()}",
        )


class Proxy(Process):
    """A faulty network; see programs/proxy.py."""

    tls = False

    @property
    def url(self) -> str:
        return f"redis{'s' if self.tls else ''}://127.0.0.1:{self.wait_ready()['port']}"

    def set(self, mode: str, *, delay_ms: float = 0) -> None:
        """Switch a fault on (programs/proxy.py lists them); `pass` switches it off."""
        self.ask("set", mode=mode, delay_ms=delay_ms)

    def shift(self) -> None:
        """Let one reply arrive twice at the process that attends next."""
        self.ask("shift")

    def certify(self, cert: str, key: str) -> None:
        """Show new connections this certificate."""
        self.ask("certify", cert=cert, key=key)

    def lead_to(self, server: EmbeddedServer) -> None:
        """Cut everybody, and connect them to another server from now on."""
        self.ask("lead", port=server.port)

    def counts(self) -> dict[str, int]:
        """Return how often it did what: `accepted`, `swallowed`, `refused`, `held`, `lost` ..."""
        return dict(self.ask("counts")["counts"])


@contextmanager
def proxies(folder: Path) -> Iterator[Callable[..., Proxy]]:
    """Make proxies, and end them all."""
    made: list[Proxy] = []

    def make(server: EmbeddedServer, *certificate: str) -> Proxy:
        log = folder / f"proxy-{len(made)}.stderr"
        out = Proxy(f"proxy-{len(made)}", "proxy", str(server.port), *certificate, log=log)
        out.tls = bool(certificate)
        made.append(out)
        out.wait_ready()
        return out

    try:
        yield make
    finally:
        for item in made:
            item.kill()
