"""How a heartbeat goes over to the next signed keyset, on a thread beside its beats.

It looks into Redis each second, by a connection of its own: no beat waits for a disk or a key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from golive_redis.clock import Throttle
from golive_redis.config import Config
from golive_redis.delivery.keysets import follow
from golive_redis.errors import ConfigError, GoliveError
from golive_redis.heartbeat.setup import Setup
from golive_redis.records.rotation import Step
from golive_redis.records.trust import Trust
from golive_redis.store.reconnect import Reconnecting
from golive_redis.threads import Backoff, Loop

EVERY_S = 1.0
CLOSE_S = 2.0


class Following:
    """Follows the roots for one heartbeat.

    Args:
        name: Of the heartbeat.
        connection: Its own, used by its thread alone.
        setup: Returns what the heartbeat uses now.
        succeed: Told the keyset to go over to, with all that is used under it, or with why the heartbeat
            cannot sign under it; returns when that is done.
        say: Told in a sentence what an operator should know.

    Attributes:
        loop: Its thread.
    """

    def __init__(
        self,
        name: str,
        connection: Reconnecting,
        setup: Callable[[], Setup],
        succeed: Callable[[Trust, Setup | str], None],
        say: Callable[[str], None],
    ) -> None:
        self._name = name
        self._connection = connection
        self._setup = setup
        self._succeed = succeed
        self._say = say
        self._told = Throttle()
        self._unable: Trust | None = None
        self.loop = Loop(
            "keyset",
            self._turn,
            failed=self._failed,
            ended=connection.drop,
            backoff=Backoff(EVERY_S, EVERY_S),
        )

    def close(self) -> None:
        """End the thread."""
        self.loop.end(CLOSE_S)

    def _turn(self) -> None:
        self.loop.closing.wait(EVERY_S)
        self.loop.check()
        if self.loop.closing.is_set():
            return
        setup = self._setup()
        used, unable = setup.trust, self._unable
        if unable is not None and unable.keyset.version <= used.keyset.version:
            unable = self._unable = None  # told to reload meanwhile, with a key that it can use
        followed = follow(self._connection.store(), unable or used, partial(_keep, setup.config))
        if followed.problem and self._told.due(followed.problem):
            self._say(followed.problem)
        if followed.steps or unable is not None:
            self._go_over(followed.trust, setup, told=not followed.steps)

    def _go_over(self, trust: Trust, setup: Setup, *, told: bool) -> None:
        """Go over to a keyset; where nothing can be signed under it, say so once and try again."""
        try:
            new: Setup | str = Setup.of(setup.config, self._name, self._say, trust)
        except ConfigError as error:
            new = error.message
        if isinstance(new, Setup) or not told:
            self._succeed(trust, new)
        self._unable = trust if isinstance(new, str) else None

    def _failed(self, error: Exception) -> None:
        self._connection.drop()
        text = f"a defect in golive-redis: {error!r}"
        if isinstance(error, GoliveError):
            text = f"the next keyset: {error.message}"
        if self._told.due(text):
            self._say(text)


def _keep(config: Config, steps: Sequence[Step]) -> None:
    """Keep what was taken; only then is the file read, for the steps that are kept begin at it."""
    config.succession(config.pinned()).keep(steps)
