"""`golive store`: the function library on the server, and whether it is there."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.exits import Exit
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted, place
from golive_cli.results import StoreInstallResult, StoreStatusResult

if TYPE_CHECKING:
    from golive_redis.config import Config
    from golive_redis.store.link import RedisLink

TIMEOUT_MS = (
    5_000.0  # to load the library takes a few milliseconds; an administrator may be far away
)

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def store() -> None:
    """Install golive's scripts as a function library, so that workers need no EVAL."""


@app.command("install")
def install(
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Delete the libraries of other versions; who uses them closes."
        ),
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Load the library of this version, as an administrator.

    Those of other versions stay beside it. Log in as one who may FUNCTION LOAD, in
    $GOLIVE_REDIS_URL. In a Redis Cluster it is loaded on the node that owns the slot of the
    namespace.
    """
    from golive_redis.store import library

    setup, link = _connected(config)
    with closing(link):
        before = library.look(link)
        if not before.usable:
            library.install(link)
        removed = list(before.others) if prune else []
        for name in removed:
            library.remove(link, name)
    policy, out = setup.policy, Output(as_json=as_json)
    new = not before.usable
    out.result(
        StoreInstallResult(policy.environment, policy.namespace, before.library, new, removed)
    )
    out.line(
        Painted("INSTALLED" if new else "ALREADY THERE", "green"),
        f" {before.library} for {place(policy.environment, policy.namespace)}",
    )
    for name in removed:
        out.line(f"deleted {name}")
    if before.others and not prune:
        out.line(
            f"also there: {', '.join(before.others)}; --prune deletes what no worker uses any more"
        )
    if policy.store.scripts != "function":
        out.note("it is used where the configuration says `scripts: function` under `store`")


@app.command("status")
def status(config: ConfigFile = None, as_json: AsJson = False) -> int:
    """Show whether the library of this version is there.

    Exits 1 where the configuration uses it and it is missing, or has other code.
    """
    from golive_redis.store import library

    setup, link = _connected(config)
    with closing(link):
        found = library.look(link)
    policy, out = setup.policy, Output(as_json=as_json)
    state = "differs" if found.differs else "installed" if found.present else "missing"
    used = policy.store.scripts == "function"
    out.result(
        StoreStatusResult(
            policy.environment,
            policy.namespace,
            policy.store.scripts,
            found.library,
            state,
            list(found.others),
        )
    )
    colour = "green" if found.usable else "red" if used else "yellow"
    where = place(policy.environment, policy.namespace)
    out.line(Painted(state.upper(), colour), f" {found.library} in {where}")
    out.line(f"store.scripts is {policy.store.scripts}")
    if found.others:
        out.line(f"other versions: {', '.join(found.others)}")
    if not found.usable:
        out.line("`golive store install` puts it there")
    return Exit.REFUSED if used and not found.usable else Exit.DONE


def _connected(config: ConfigFile) -> tuple[Config, RedisLink]:
    from golive_redis import config as configuration

    setup = configuration.load(config)
    # As whoever: an administrator is no user of golive.
    return setup, setup.address().link(timeout_ms=TIMEOUT_MS, name="golive-store", any_user=True)
