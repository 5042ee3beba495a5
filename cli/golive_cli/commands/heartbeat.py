"""`golive heartbeat`: the daemon in the foreground. Knows no Typer: a restart is in a hurry, too.

SIGTERM and SIGINT end it, and SIGHUP has it read its keyset and configuration again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from golive_cli.output import Output
from golive_cli.results import HeartbeatLine
from golive_redis.masking import printable

if TYPE_CHECKING:
    from golive_cli.sdnotify import Systemd
    from golive_cli.writer import Writer
    from golive_redis.config import Config
    from golive_redis.heartbeat.daemon import Heartbeat
    from golive_redis.heartbeat.probes import Probes

TICK_S = 0.1


def heartbeat(
    name: str, config: Path | None = None, listen: str | None = None, *, as_json: bool = False
) -> None:
    """Keep the fleet alive: beat for the term in force until SIGTERM."""
    hangups = _Hangups()  # first: what it does without us is to end the process
    from golive_cli.sdnotify import Systemd
    from golive_cli.writer import Writer
    from golive_redis import config as configuration

    setup = configuration.load(config)
    policy = setup.policy
    out = Output(as_json=as_json)

    def write(at_ms: int, text: str) -> None:
        out.result(HeartbeatLine(policy.environment, policy.namespace, at_ms, name, text))
        out.line(time.strftime("%H:%M:%S ", time.localtime(at_ms / 1000)), text)

    writer = Writer(write)
    systemd = Systemd(os.environ)
    probes: Probes | None = None
    try:
        # Before the state file is claimed: a port that is taken leaves nothing behind.
        probes = _listen(listen) if listen is not None else None
        beating = _prepare(setup, name, writer)
        if probes is not None:
            _answer(probes, beating, writer)
        reload = _Reload(beating, config, writer)
        _Foreground(beating, writer, systemd, hangups, reload).run()
    finally:
        if probes is not None:
            probes.close()
        writer.close()
        systemd.close()


def _listen(where: str) -> Probes:
    from golive_redis.heartbeat.probes import Probes

    return Probes(where)


def _answer(probes: Probes, beating: Heartbeat, writer: Writer) -> None:
    from golive_redis.heartbeat.probes import pages

    found = pages(beating.health)
    probes.start(found)
    writer.say(f"probes: {' and '.join(f'{probes.url}{path}' for path in found)}")


def _prepare(setup: Config, name: str, writer: Writer) -> Heartbeat:
    from golive_redis.heartbeat.daemon import Heartbeat

    beating = Heartbeat.open(setup, name=name, say=writer.say)
    where = f"{setup.policy.namespace} on {setup.address().shown}"
    writer.say(f"{name} started: {setup.policy.environment}, {where}")
    if setup.state_dir is None:
        writer.say("no state_dir: after a restart it is silent until it sees an activation")
    return beating


class _Hangups:
    """Notes SIGHUP; one that was ignored at the start, as under nohup, stays ignored.

    Attributes:
        came: Whether one came that nobody has acted on.
    """

    def __init__(self) -> None:
        self.came = False
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, self._note)

    def _note(self, number: int, frame: object) -> None:
        del number, frame
        self.came = True


class _Reload:
    """Reads keyset and configuration again, on a thread of its own, and says what came of it.

    A disk that hangs then keeps neither the watchdog from being told nor the heartbeat from stopping.
    """

    def __init__(self, beating: Heartbeat, config: Path | None, writer: Writer) -> None:
        self._beating = beating
        self._config = config
        self._say = writer.say
        self._thread: threading.Thread | None = None

    @property
    def under_way(self) -> bool:
        """Whether the last one has not ended yet."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin; what cannot begin is refused like what cannot be read."""
        self._thread = threading.Thread(target=self._run, name="golive-reload", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._refused(str(error))

    def _run(self) -> None:
        from golive_redis.errors import GoliveError

        try:
            said = self._beating.reload(self._config)
        except GoliveError as error:
            self._refused(f"{error.message} ({error.hint})" if error.hint else error.message)
        except Exception as error:  # noqa: BLE001  (the old ones stay in use, whatever it was)
            self._refused(f"a defect in golive-redis: {error!r}")
        else:
            self._say(f"reloaded: {said}")

    def _refused(self, why: str) -> None:
        self._say(f"NOT reloaded, the old keyset and configuration stay in use: {why}")


class _Foreground:
    """Runs the heartbeat in a thread, and waits here for signals and for the service manager.

    Not the other way round: a signal handler runs between two steps of this thread, and setting an
    event there deadlocks when it interrupts a wait on that very event.
    """

    def __init__(
        self,
        beating: Heartbeat,
        writer: Writer,
        systemd: Systemd,
        hangups: _Hangups,
        reload: _Reload,
    ) -> None:
        self._beating = beating
        self._writer = writer
        self._systemd = systemd
        self._hangups = hangups
        self._reload = reload
        self._stop_asked = False
        self._ready = False
        self._reloading = False
        self._status = ""
        self._pinged_ms = 0.0
        self._error: BaseException | None = None

    def run(self) -> None:
        """Return after a clean goodbye, or raise what ended the loop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        thread = threading.Thread(target=self._beat, name="golive-heartbeat", daemon=True)
        thread.start()
        told_to_stop = False
        while thread.is_alive():
            if self._stop_asked and not told_to_stop:
                told_to_stop = True
                self._writer.say("asked to stop")
                self._systemd.tell("STOPPING=1")
                self._beating.stop()
            if self._hangups.came and not told_to_stop and not self._reload.under_way:
                self._hangups.came = False  # before it reads: one that comes meanwhile counts again
                self._reload.start()
            self._tell_systemd()
            thread.join(TICK_S)
        if self._error is not None:
            raise self._error

    def _ask_to_stop(self, number: int, frame: object) -> None:
        del number, frame
        self._stop_asked = True

    def _beat(self) -> None:
        try:
            self._beating.run()
        except BaseException as error:  # noqa: BLE001  (raised again by `run`)
            self._error = error

    def _tell_systemd(self) -> None:
        from golive_redis import clock

        systemd = self._systemd
        if not self._ready and self._beating.ready.is_set():
            self._ready = True
            systemd.tell("READY=1")
        if self._ready and self._reload.under_way is not self._reloading:
            self._reloading = not self._reloading
            now_us = time.monotonic_ns() // 1000  # by which a manager tells it from an earlier one
            systemd.tell(
                *(["RELOADING=1", f"MONOTONIC_USEC={now_us}"] if self._reloading else ["READY=1"])
            )
        if self._writer.last != self._status:
            self._status = self._writer.last
            systemd.tell(f"STATUS={printable(self._status)}")
        now = clock.now_ms()
        every = systemd.ping_every_ms
        if every is None or now - self._pinged_ms < every:
            return
        # Not merely because this thread lives: the loop that beats must have turned.
        if self._beating.health().turns(every):
            self._pinged_ms = now
            systemd.tell("WATCHDOG=1")
