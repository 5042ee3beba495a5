"""`golive keys publish`, `status`, `rotate` and `remove`: the next keyset, from one host to all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from golive_cli.commands import keyset as drafts
from golive_cli.commands import stopcard
from golive_cli.exits import UsageError
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted, Piece, place, when, write
from golive_cli.results import KeyHolder, KeysPublishResult, KeysStatusResult
from golive_redis.errors import RefusedError

if TYPE_CHECKING:
    from golive_redis.operator.keystatus import Holder, KeyStatus
    from golive_redis.operator.publishing import Effect

DRAFT_FILE = Annotated[
    Path | None,
    typer.Option("--out", metavar="DRAFT", help="Else keyset-NUMBER.json.", show_default=False),
]
BY = Annotated[
    str | None,
    typer.Option(
        "--by", metavar="NAME", help="A root who will sign; else the first by name who is not NAME."
    ),
]
SHORT = 12


def publish(
    file: Annotated[
        Path, typer.Argument(metavar="DRAFT", help="A draft that enough roots have signed.")
    ],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for the number of the keyset.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Publish a signed keyset, for every host to take.

    It goes into Redis and into the ledger. Says first what it ends: hosts judge the running term
    under the new keyset.
    """
    from golive_redis import config as configuration
    from golive_redis.operator import keysets, publishing
    from golive_redis.operator.refusals import told
    from golive_redis.operator.session import Operator, send_spool
    from golive_redis.records.refusal import Attempt

    out = Output(as_json=as_json)
    setup = configuration.load(config)
    setup.pinned()
    item = keysets.read(file)
    number, step = item.new.version, item.step()
    with Operator(setup) as operator:
        send_spool(operator, out.note)
        where = place(operator.trust.environment, operator.trust.namespace)
        before = operator.trust.keyset
        with told(operator, Attempt.KEYSET):
            new = publishing.verified(operator, step, number)
            lines = keysets.differences(before, new)
            effect = publishing.effect(operator, operator.read(), new)
            for line in (*lines, *effect.lines):
                out.note(line)
            if not yes:
                _ask(number, where, effect)
            done = publishing.publish(operator, step, new)
        trust = operator.trust
    out.result(
        KeysPublishResult(
            trust.environment,
            trust.namespace,
            number,
            before.version,
            lines,
            effect.lines,
            effect.ends,
            done.again,
            done.unkept,
        )
    )
    stood = " stood there already" if done.again else " is published"
    out.line(
        f"{where}: keyset {number}{stood}; heartbeats take it within seconds, workers after them"
    )
    if done.unkept:
        out.line(Painted(f"this host has not taken it: {done.unkept}", "yellow"))


def _ask(number: int, where: str, effect: Effect) -> None:
    ends = f", which ends term {effect.ends}" if effect.ends is not None else ""
    try:
        typed = typer.prompt(f"Type {number} to publish keyset {number} in {where}{ends}", err=True)
    except typer.Abort as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        write(sys.stderr, "\n")  # end of input: what is said next has a line of its own
        raise
    if typed.strip() != str(number):
        raise RefusedError(f"{typed!r} is not {number}; nothing was published")


def status(
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="DAY",
            help="As on the evening of 2026-11-26, UTC.",
            show_default=False,
        ),
    ] = None,
    review: Annotated[
        bool, typer.Option("--review", help="Only what somebody should look into.")
    ] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show who holds which key, since when, and when it signed last."""
    from golive_redis import config as configuration
    from golive_redis.operator import cards, keystatus
    from golive_redis.operator.session import Operator, send_spool

    out = Output(as_json=as_json)
    evening = _evening(as_of)
    with Operator(configuration.load(config)) as operator:
        send_spool(operator, out.note)
        found = keystatus.status(operator, as_of_ms=evening)
        issued = cards.issued(operator)
        trust = operator.trust
    values = msgspec.structs.asdict(found) | {
        "holders": [KeyHolder(**msgspec.structs.asdict(each)) for each in found.holders],
        "cards": [stopcard.row(card) for card in issued],
    }
    out.result(KeysStatusResult(trust.environment, trust.namespace, **values))
    out.line(f"{place(trust.environment, trust.namespace)}: ", *_head(found))
    if not review:
        out.table(
            ["principal", "roles", "key", "since", "last use", "days left"],
            [_row(each, found) for each in found.holders],
        )
        stopcard.show(out, issued)
        return
    for line in found.review or ["nothing to look into"]:
        out.line(line)


def _evening(day: str | None) -> int | None:
    """Return the end of a day, Unix ms UTC."""
    import datetime as dt

    if day is None:
        return None
    try:
        at = dt.datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=dt.UTC) + dt.timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--as-of {day[:40]!r} is no day", hint="write it as 2026-11-26"
        ) from error
    return int(at.timestamp() * 1000)


def _head(found: KeyStatus) -> list[Piece]:
    signed: Piece = "its roots sign what follows" if found.signed else Painted("unsigned", "yellow")
    since = f", published {when(found.published_ms)}" if found.published_ms is not None else ""
    ends = f", until {found.expires}" if found.expires is not None else ""
    return [f"keyset {found.version}, ", signed, f"{since}{ends}"]


def _row(holder: Holder, found: KeyStatus) -> list[Piece]:
    used = "never" if found.whole else f"not in {found.looked:,} entries"
    if holder.last_used_ms is not None:
        used = f"{when(holder.last_used_ms)}, {holder.last_use}"
    left: Piece = "" if holder.days_left is None else str(holder.days_left)
    if holder.days_left is not None and holder.days_left < 0:
        left = Painted("expired", "red")
    roles = [*holder.roles, *(["shared"] if holder.shared else [])]
    roles += [f"authority {holder.authority}"] if holder.authority else []
    since = f"{holder.since}{' or before' if holder.first else ''}"
    return [holder.name, ", ".join(roles), holder.keyid[:SHORT], since, used, left]


def rotate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")],
    public: Annotated[
        str,
        typer.Option(
            "--new",
            metavar="PUBLIC",
            help="A key as `keys show` prints it, a line of a .pub file, or that file.",
        ),
    ],
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="DAY", help="Its last day; else as before.", show_default=False
        ),
    ] = None,
    out_file: DRAFT_FILE = None,
    by: BY = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Draft the keyset in which NAME has another key."""
    from golive_redis import clock
    from golive_redis import config as configuration
    from golive_redis.operator import keysets

    trust = configuration.load(config).trust()
    new = keysets.rotated(trust.keyset, name, keysets.public_of(public), expires)
    by = by or keysets.another_root(trust.keyset, name)
    item = keysets.new_draft(trust, new, by=by, now_ms=clock.wall_ms())
    drafts.save(item, out_file, trust.keyset, Output(as_json=as_json))


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who goes.")],
    out_file: DRAFT_FILE = None,
    by: BY = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Draft the keyset in which NAME is not."""
    from golive_redis import clock
    from golive_redis import config as configuration
    from golive_redis.operator import keysets

    trust = configuration.load(config).trust()
    new = keysets.removed(trust.keyset, name)
    by = by or keysets.another_root(trust.keyset, name)
    item = keysets.new_draft(trust, new, by=by, now_ms=clock.wall_ms())
    drafts.save(item, out_file, trust.keyset, Output(as_json=as_json))
