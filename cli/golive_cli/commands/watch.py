"""`golive watch`: the fleet live, on one screen, or as one text or object after another.

When Redis goes away the last known state stays, with its age: what it says is over is said, what it says
is not said to be so now.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from golive_cli import fleetboard
from golive_cli.commands.status import show
from golive_cli.output import Output, Painted, gone, when
from golive_redis import clock
from golive_redis.masking import printable

if TYPE_CHECKING:
    from rich.text import Text

    from golive_redis.config import Config
    from golive_redis.errors import StoreError
    from golive_redis.operator.fleet import FleetStatus


class _View(Protocol):
    def seen(self, found: FleetStatus) -> None: ...

    def lost(self, error: StoreError, lost: _Lost) -> None: ...


class _Lost:
    """What is known while Redis does not answer.

    Args:
        setup: The configuration.

    Attributes:
        last: The newest status that was read, or None.
    """

    def __init__(self, setup: Config) -> None:
        self.last: FleetStatus | None = None
        self._place = f"{setup.policy.environment} ({setup.policy.namespace})"
        self._lease_ms = setup.policy.timers.lease_ms
        self._answered_ms = clock.now_ms()

    def read(self, found: FleetStatus) -> None:
        """Note that Redis has answered."""
        self.last, self._answered_ms = found, clock.now_ms()

    def lines(self, error: StoreError) -> list[fleetboard.Line]:
        """Say what is known now, and how old it is."""
        from golive_redis.core.timing import bound_in_words, in_words

        age, lease = in_words(clock.now_ms() - self._answered_ms), bound_in_words(self._lease_ms)
        out: list[fleetboard.Line] = [
            [Painted(f"UNKNOWN: no answer from Redis for {age}", "red")],
            [f"{self._place} at {when(clock.wall_ms())}; {error.message}"],
            [f"A worker that cannot reach Redis either is off within {lease}, by itself."],
        ]
        if self.last is not None:
            then = when(self.last.at_ms)
            out.append([Painted(f"Known {age} ago, at {then}: {self.last.headline}", "bold")])
        return out


def watch(every: float = 1.0, config: Path | None = None, *, as_json: bool = False) -> None:
    """Show the fleet live until Ctrl-C; with --json one object per look."""
    from golive_redis import config as configuration

    setup = configuration.load(config)
    out = Output(as_json=as_json)
    try:
        if out.terminal and not as_json:
            with _Screen() as view:
                _look(view, setup, every)
        else:
            _look(_Text(out), setup, every)
    except KeyboardInterrupt:
        return


def _look(view: _View, setup: Config, every: float) -> None:
    """Show one look after another; a lost connection is shown, and tried again."""
    from golive_redis.errors import StoreError
    from golive_redis.operator import status as reading
    from golive_redis.operator.session import Operator, quiet, send_spool

    lost = _Lost(setup)
    while not gone:
        try:
            with Operator(setup) as operator:
                send_spool(operator, quiet)  # the screen shows what became of it
                while not gone:
                    found = reading.read(operator)
                    lost.read(found)
                    view.seen(found)
                    time.sleep(every)
        except StoreError as error:
            view.lost(error, lost)
            time.sleep(every)


class _Text:
    """One status after another."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def seen(self, found: FleetStatus) -> None:
        self._out.result(found)
        show(self._out, found)

    def lost(self, error: StoreError, lost: _Lost) -> None:
        self._out.fail(error.reason, error.message, error.hint)
        for line in lost.lines(error):
            self._out.line(*line)


class _Screen:
    """A screen of its own, which changes all at once and is gone afterwards."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(), screen=True, auto_refresh=False)

    def __enter__(self) -> _Screen:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def seen(self, found: FleetStatus) -> None:
        self._draw(fleetboard.screen(found, _size()))

    def lost(self, error: StoreError, lost: _Lost) -> None:
        above = lost.lines(error)
        if lost.last is None:
            self._draw(above)
        else:
            self._draw(fleetboard.screen(lost.last, _size(), above))

    def _draw(self, lines: list[fleetboard.Line]) -> None:
        self._live.update(_styled(lines), refresh=True)


def _size() -> fleetboard.Size:
    return fleetboard.Size(*shutil.get_terminal_size())


def _styled(lines: Sequence[fleetboard.Line]) -> Text:
    """Return lines as a text that rich shows, in their colours."""
    from rich.text import Text

    out = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(lines):
        out.append("\n" if number else "")
        for piece in line:
            text, colour = piece if isinstance(piece, Painted) else (piece, "")
            out.append(printable(text), colour)
    return out
