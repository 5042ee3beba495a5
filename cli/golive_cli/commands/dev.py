"""`golive dev`: a server, a heartbeat and a setup in one folder, to write and try a worker against."""

from __future__ import annotations

import fcntl
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.exits import UsageError
from golive_cli.options import AsJson
from golive_cli.output import Output, place
from golive_cli.results import DevResult
from golive_redis.errors import ConfigError, GoliveError, RefusedError

if TYPE_CHECKING:
    from golive_cli.demo.children import Children
    from golive_redis.config import Config
    from golive_redis.operator.fleet import FleetStatus

ENVIRONMENT = "dev"
HEARTBEAT = "hb-1"
DATA = "redis"
LOOK_S = 0.2
ACTIVATE = 'golive activate --reason "try it"'
REVOKE = 'golive revoke --reason "enough"'
WORKER = """\
import signal, sys, time
from golive_redis import Guard

signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # leaves with a goodbye
with Guard.open({path!r}, worker="pod-1") as guard:
    while True:
        with guard.order(symbol="BTCUSDT") as permit:
            if permit:
                print("sent", flush=True)  # your gateway goes here
        time.sleep(1)
"""
# Where one of these is set in a shell, a command or a worker there leaves the folder's own setup.
ELSEWHERE = (
    "GOLIVE_CONFIG",
    "GOLIVE_REDIS_URL",
    "GOLIVE_KEY_FD",
    "GOLIVE_KEY",
    "GOLIVE_KEY_PASSPHRASE",
)


def dev(
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where to keep it.")
    ] = Path(),
    server: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Server program; else the Valkey of golive-redis[demo]."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a server and a heartbeat for writing a worker, until Ctrl-C.

    Makes a setup for the environment dev in the folder, and goes on with it the next time. The
    server listens on this machine only and keeps its data in the folder. A new setup is off until
    you activate. A term that is in force when this command is killed goes on if it is started again
    within seconds. If the server or the heartbeat ends, everything is stopped.
    """
    from golive_cli.demo import interrupts
    from golive_cli.demo.children import ChildError, Children
    from golive_redis.core.timing import bound_in_words
    from golive_redis.testing.server import EmbeddedServer

    out = Output(as_json=as_json)
    folder = folder.expanduser().resolve()
    if os.path.lexists(folder) and not folder.is_dir():
        raise UsageError(f"--dir {folder} is no folder", hint="golive dev --dir NEW_FOLDER")
    config = folder / "config" / "go_live.yaml"
    setup = _own(config)
    new = setup is None
    port = setup.address().place().nodes[0][1] if setup else None
    embedded = EmbeddedServer(server, port=port, data=folder / DATA)
    with _alone(folder):
        interrupts.listen()
        try:
            with Children(embedded, folder) as children:
                try:
                    children.start_server()
                    setup = setup or _made(folder, embedded.url)
                    found = _beat(children, setup)
                    _tell(out, folder, setup, found, new=new)
                    while True:
                        children.check()
                        time.sleep(LOOK_S)
                except KeyboardInterrupt:
                    children.end(HEARTBEAT)  # with a goodbye
        except ChildError as error:
            error.show_log(out)
            out.note("Everything that was started is stopped.")
            raise
        except KeyboardInterrupt:  # a second one: the goodbye was not waited for
            pass
    # A worker that is still running has lost its server, and a guard sees that by itself.
    within = setup and bound_in_words(setup.policy.timers.lease_ms)
    out.line(
        "Stopped." + (f" A worker that is still running is off within {within}." if within else "")
    )


def _own(path: Path) -> Config | None:
    """Return the setup that is there, or None; refuse any that this command would not have made.

    Raises:
        RefusedError: It is for another environment, or its server is not one of this machine.
        ConfigError: It cannot be used.
    """
    from golive_redis.config import load
    from golive_redis.testing.server import LOOPBACK

    if not os.path.lexists(path):
        return None
    # Not this shell's variables: they may be about a real fleet.
    setup = load(path, environ={})
    found = setup.address().place()
    if setup.policy.environment != ENVIRONMENT or not (
        len(found.nodes) == 1 and found.nodes[0][0] == LOOPBACK and not found.is_located
    ):
        raise RefusedError(
            f"{path} is for {setup.policy.environment} on {setup.address().shown}, "
            "and was not made by golive dev",
            hint="golive dev --dir NEW_FOLDER",
        )
    return setup


def folder_of(config: Path) -> Path | None:
    """Return the folder whose server this command runs, by its configuration; None for any other."""
    folder = config.parent.parent
    try:
        ours = config == folder / "config" / "go_live.yaml" and _own(config) is not None
    except GoliveError:
        return None
    return folder if ours and (folder / DATA).is_dir() else None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made if it is not there, for this process alone.

    Raises:
        RefusedError: Another process holds it.
        ConfigError: It cannot be made.
    """
    data = folder / DATA
    try:
        data.mkdir(parents=True, exist_ok=True)
        held = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    try:
        _lock(held, folder)
        yield
    finally:
        os.close(held)


def _lock(held: int, folder: Path) -> None:
    try:
        # The kernel lets go of it however this process ends.
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RefusedError(
            f"golive dev is already running in {folder}",
            hint=f"use it: cd {shlex.quote(str(folder))} && golive status; "
            "or take another folder: golive dev --dir NEW_FOLDER",
        ) from error
    except OSError as error:
        raise ConfigError(f"{folder / DATA}: cannot be locked: {error.strerror}") from error


def _made(folder: Path, url: str) -> Config:
    """Make a setup that may be activated: its server is on this machine, and nobody trades there."""
    from golive_cli.commands.init import Names, create, login_name
    from golive_cli.demo.setup import enable
    from golive_redis.config import load

    setup, _ = create(folder, Names(ENVIRONMENT, login_name(), HEARTBEAT, "workers"), url)
    enable(setup.path)
    return load(setup.path, environ={})


def _beat(children: Children, setup: Config) -> FleetStatus:
    """Start the heartbeat, wait until it is on the roster, and return what is in force then.

    A term of before goes on only if the heartbeat beats for it; it is given the time of two beats.
    """
    from golive_redis.operator import outlook
    from golive_redis.operator import status as reading
    from golive_redis.operator.session import Operator

    args = ["heartbeat", "--name", HEARTBEAT, "--config", str(setup.path)]
    pid = str(children.start(HEARTBEAT, "golive_cli.main", args))
    with Operator(setup) as operator:
        children.wait(
            "the heartbeat is not on the roster",
            lambda: any(
                item.alive and item.fields.get("pid") == pid for item in operator.store.heartbeats()
            ),
            about=HEARTBEAT,
        )
        until = time.monotonic() + outlook.late_ms(operator.timing) / 1000
        found = reading.read(operator)
        while found.active is not None and not _beats(found) and time.monotonic() < until:
            children.check()
            time.sleep(LOOK_S)
            found = reading.read(operator)
        return found


def _beats(found: FleetStatus) -> bool:
    return any(item.state == "beating" for item in found.heartbeats)


def _tell(out: Output, folder: Path, setup: Config, found: FleetStatus, *, new: bool) -> None:
    policy, path = setup.policy, str(setup.path)
    out.result(
        DevResult(
            policy.environment,
            policy.namespace,
            path,
            setup.url,
            HEARTBEAT,
            new,
            found.state,
            found.headline,
        )
    )
    out.line(f"{place(policy.environment, policy.namespace)} runs in {folder}; Ctrl-C stops it")
    out.line(f"  {'new setup in' if new else 'goes on with the setup in'} {setup.path.parent}")
    out.line(f"  server {setup.url}, heartbeat {HEARTBEAT} (its log: {HEARTBEAT}.log)")
    out.line()
    out.line("A worker:")
    for line in WORKER.format(path=path).splitlines():
        out.line(f"  {line}" if line else "")
    out.line()
    said, commands = _next(found)
    out.line(f"{found.headline}. {said}, in another terminal:")
    if set_here := [name for name in ELSEWHERE if name in os.environ]:
        out.line(f"  unset {' '.join(set_here)}  # set in this shell, for something else")
    out.line(f"  cd {shlex.quote(str(folder))}")
    for command in commands:
        out.line(f"  {command}")


def _next(found: FleetStatus) -> tuple[str, list[str]]:
    """Say what can be done about what is in force, and with which commands."""
    active, stop = found.active, found.revoked
    if found.state in {"refused", "unknown"}:
        return "See what is wrong", ["golive status"]
    if active is None and (stop is None or stop.confirmed):
        return "Turn it on", [ACTIVATE]
    if active is None:
        return "The last stop is not confirmed: finish it, then turn it on", [REVOKE, ACTIVATE]
    if found.state == "off" or not _beats(found):
        ended = f"No heartbeat beats for term {active.term}: stop it, then turn it on"
        return ended, [REVOKE, ACTIVATE]
    return f"Term {active.term} of before goes on. Stop it", [REVOKE]
