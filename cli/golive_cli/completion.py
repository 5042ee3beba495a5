"""What a shell completes when somebody presses Tab: profiles, checks, names and labels known here.

A shell waits meanwhile, and somebody types. So nothing here says anything, writes anything or takes
longer than `WITHIN_S` for Redis: what cannot be found out is not offered.

Names and labels come from Redis, and what is offered lands on a command line. So only what a shell takes
as it stands is offered: of a value such as `$(...)` it would run a part.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from golive_redis.records.directive import Label, Profile

if TYPE_CHECKING:
    from golive_redis.config import Config
    from golive_redis.store.store import Store

WITHIN_S = 0.3
# A word that begins so is an option, a job, a home, or in zsh the path of a command.
MEANS_MORE = ("-", "=", "%", "~")
# At these bash breaks a word in two, and completes what is behind the last.
BREAKS = ("=", ":")


def profiles(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the profiles that the configuration allows; without one all there are."""
    found = [str(profile) for profile in Profile]
    with suppress(Exception):
        found = [str(profile) for profile in _setup(ctx).policy.allowed_profiles]
    return [name for name in found if name.startswith(incomplete)]


def checks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the checks."""
    with suppress(Exception):
        from golive_redis.operator.preflight import known

        return _offered(known(_setup(ctx)), incomplete)
    return []


def beating(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the heartbeats that the keyset knows."""
    with suppress(Exception):
        return _offered(_trusted(_setup(ctx), "heartbeat"), incomplete)
    return []


def heartbeats(config: Path | None, incomplete: str) -> list[str]:
    """Return the heartbeats that the keyset knows or that are on the roster."""
    with suppress(Exception):
        setup = _loaded(config)
        there = _asked(setup, lambda store: [item.name for item in store.heartbeats()])
        return _offered([*_trusted(setup, "heartbeat"), *there], incomplete)
    return []


def workers(config: Path | None, incomplete: str) -> list[str]:
    """Return the ids of the workers on the roster."""
    with suppress(Exception):
        found = _asked(_loaded(config), lambda store: [name for name, _ in store.fleet()[0]])
        return _offered(found, incomplete)
    return []


def silent(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of the workers that have gone silent."""
    with suppress(Exception):
        found = _asked(
            _setup(ctx), lambda store: [item.name for item in store.workers() if not item.alive]
        )
        return _offered(found, incomplete)
    return []


def stated(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the labels that workers have, and those that their orders have stated lately."""
    found: list[str] = []
    with suppress(Exception):
        found = _asked(_setup(ctx), _stated)
    return _pairs(ctx, found, incomplete)


def restricted(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the labels of what is in force, and may be lifted by this command."""
    found: list[str] = []
    with suppress(Exception):
        setup, kind = _setup(ctx), {"resume": "halt", "restore": "reduce"}[ctx.info_name or ""]
        found = _asked(setup, lambda store: _restricted(store, setup, kind))
    return _pairs(ctx, found, incomplete)


def _setup(ctx: typer.Context) -> Config:
    return _loaded(ctx.params.get("config"))


def _loaded(path: Path | None) -> Config:
    from golive_redis import config as configuration

    return configuration.load(path)


def _trusted(setup: Config, role: str) -> list[str]:
    from golive_redis.records.keyset import Role

    return setup.keyset().principals(Role(role))


def _asked(setup: Config, question: Callable[[Store], Iterable[str]]) -> list[str]:
    """Return the answer of Redis, or nothing when it has not come within `WITHIN_S`."""
    from golive_redis.store.store import Store

    answers: list[list[str]] = []

    def ask() -> None:
        with suppress(Exception):
            address = setup.address()
            with closing(
                address.link(timeout_ms=WITHIN_S * 1000, name="golive-completion")
            ) as link:
                answers.append(list(question(Store(link, address.keyspace))))

    # A thread: nothing else ends the wait for a name server, and this one ends with the process.
    asking = threading.Thread(target=ask, name="golive-completion", daemon=True)
    asking.start()
    asking.join(WITHIN_S)
    return answers[0] if answers else []


def _stated(store: Store) -> list[str]:
    from golive_redis.operator import matching

    found = []
    for item in store.workers():
        found.append(f"worker={item.name}")
        found += [f"{name}={value}" for name, value in matching.own(item).items()]
        told = matching.stated(item) or {}
        found += [f"{name}={value}" for name, values in told.items() for value in values]
    return found


def _restricted(store: Store, setup: Config, kind: str) -> list[str]:
    from golive_redis.errors import RecordError

    trust, found = setup.trust(), []
    for raw in store.snapshot().restrictions.values():
        with suppress(RecordError):  # status says what does not verify; nobody can name it
            record = trust.restriction(raw).record
            if record.kind == kind:
                found += [f"{name}={value}" for name, value in record.labels.items()]
    return found


def _offered(values: Iterable[str], incomplete: str) -> list[str]:
    """Return what begins so and a shell takes as it stands, each once."""
    fit = {value for value in values if value.startswith(incomplete)}
    return sorted(
        value for value in fit if shlex.quote(value) == value and not value.startswith(MEANS_MORE)
    )


def _pairs(ctx: typer.Context, known: list[str], incomplete: str) -> list[str]:
    """Return the labels that go on as what was typed; of those with no known value the names."""
    if incomplete in BREAKS:  # bash puts what is offered behind it, and Typer in its place
        return []
    typed = _rejoined(list(ctx.params.get("labels") or []), incomplete)
    found = _offered(known, typed)
    if "=" not in typed:
        named = {pair.partition("=")[0] for pair in found}
        found += [f"{name}=" for name in Label if name.startswith(typed) and name not in named]
        # A shell puts a space behind the only one, and a label without a value is an error.
        if len(found) == 1 and found[0].endswith("="):
            return []
    return [pair[len(typed) - len(incomplete) :] for pair in found]


def _rejoined(words: list[str], incomplete: str) -> str:
    """Return the word that is being typed as it stands on the command line.

    bash hands `symbol=BTC/USDT:U` over as five words. Typer has taken an `=` under the cursor away.
    """
    typed = incomplete
    while words:
        if words[-1] in list(Label) and not typed.startswith("="):
            return f"{words[-1]}={typed}"
        if words[-1] not in BREAKS and not typed.startswith(BREAKS):
            break
        typed = words.pop() + typed
    return typed
