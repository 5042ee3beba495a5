"""`golive stop-card`: issue a stop that is signed in advance; list, check and play such cards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.exits import Exit, UsageError, require_reason
from golive_cli.options import AsJson, ConfigFile, Ticket
from golive_cli.output import Output, Painted, Piece, place, when
from golive_cli.results import (
    CardRow,
    StopCardCheckResult,
    StopCardListResult,
    StopCardResult,
)

if TYPE_CHECKING:
    from golive_redis.operator.cards import IssuedCard

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
CARD = Annotated[
    Path, typer.Argument(metavar="CARD", help="The folder of a card, or its card.redis.")
]
COLOURS = {"live": "green", "played": "yellow", "void": "red"}
DURATION = re.compile(r"[0-9]{1,4}[dh]")


@app.callback()
def stop_card(
    context: typer.Context,
    *,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", metavar="N", help="It covers the next N numbers.", show_default=False
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="DATE",
            help="And terms begun before: 2027-01-31 (to its end, UTC), 2027-01-31T18:00, 30d or 12h.",
            show_default=False,
        ),
    ] = None,
    out_folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="A new folder for it.", show_default=False),
    ] = None,
    holder: Annotated[
        str, typer.Option("--for", metavar="WHO", help="Who will have it; goes into the ledger.")
    ] = "whoever is on call",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why it stops, once it is played.")
    ] = "stop card",
    ticket: Ticket = "",
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="Sign with this key; else keys.operator.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Issue a stop card: a stop that is signed now, and played later by whoever holds it.

    It is played with redis-cli alone, and can only stop. Sign it with a key of its own, so that
    taking that key out of the keyset makes it void and costs nobody theirs.
    """
    if context.invoked_subcommand is not None:
        if epochs is not None or until is not None or out_folder is not None or config or as_json:
            raise UsageError(
                f"options of {context.invoked_subcommand} stand after it",
                hint=f"golive stop-card {context.invoked_subcommand} --help",
            )
        return
    if epochs is None or until is None or out_folder is None:
        raise UsageError(
            "a card takes --epochs, --until and --out",
            hint="golive stop-card --epochs 50 --until 30d --out card",
        )
    from golive_redis import clock
    from golive_redis import config as configuration
    from golive_redis.operator import cardfiles, cards
    from golive_redis.operator.session import Operator

    require_reason(reason)
    setup = configuration.load(config)
    until_ms = until_of(until, clock.wall_ms())
    cardfiles.require_new(out_folder)
    out = Output(as_json=as_json)
    with Operator(setup) as operator:
        signer = setup.stop_signer(operator.trust.keyset, key)
        item = cards.issue(
            operator,
            signer,
            epochs=epochs,
            until_ms=until_ms,
            holder=holder,
            reason=reason,
            ticket=ticket,
        )
        files = cardfiles.write(out_folder, operator.address, item, holder)
        trust, command = operator.trust, cardfiles.with_redis_cli(operator.address)
    record = item.record
    out.result(
        StopCardResult(
            trust.environment,
            trust.namespace,
            item.identity,
            record.epoch,
            until_ms,
            record.by,
            holder,
            [str(path) for path in files],
        )
    )
    where = place(trust.environment, trust.namespace)
    out.line(
        f"{out_folder}: stop card {item.identity[:8]} for {holder}, signed by {record.by}, in {where}"
    )
    out.line(
        f"It covers terms up to {record.epoch} that begin before {when(until_ms)}. "
        "It is in the ledger; `golive stop-card list` shows it."
    )
    out.line(f"To stop, in that folder: {command}")


@app.command("list")
def listing(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show the cards that were issued, and what each can still do."""
    from golive_redis import config as configuration
    from golive_redis.operator import cards
    from golive_redis.operator.session import Operator

    out = Output(as_json=as_json)
    with Operator(configuration.load(config), takes_away=True) as operator:
        found, trust = cards.issued(operator), operator.trust
    out.result(
        StopCardListResult(trust.environment, trust.namespace, [row(card) for card in found])
    )
    show(out, found)
    live = sum(card.state == "live" for card in found)
    out.line(f"{len(found)} card(s), {live} live, in {place(trust.environment, trust.namespace)}")


def show(out: Output, found: Sequence[IssuedCard]) -> None:
    """Print a row for each card."""
    if not found:
        return
    rows: list[list[Piece]] = [
        [
            card.identity[:8],
            card.holder,
            card.by,
            str(card.epoch),
            when(card.until_ms),
            Painted(_state(card), COLOURS.get(card.state, "")),
        ]
        for card in found
    ]
    out.table(["card", "for", "signed by", "up to", "begun before", "state"], rows)


def row(card: IssuedCard) -> CardRow:
    """Return a card in the shape of docs/reference/json.md."""
    return CardRow(
        card.identity,
        card.epoch,
        card.until_ms,
        card.by,
        card.holder,
        card.issued_at_ms,
        card.state,
        card.played_at_ms,
    )


def _state(card: IssuedCard) -> str:
    at_ms = card.played_at_ms
    return f"{card.state}, {when(at_ms)}" if at_ms is not None else card.state


@app.command("check")
def check(card: CARD, config: ConfigFile = None, as_json: AsJson = False) -> int:
    """Say what a card would do now; play nothing."""
    from golive_redis import config as configuration
    from golive_redis.operator import cards
    from golive_redis.operator.session import Operator

    out = Output(as_json=as_json)
    setup = configuration.load(config)
    item = cards.verified(setup.trust(), cards.read(card))
    with Operator(setup, takes_away=True) as operator:
        found = cards.coverage(item, operator.read())
    record, trust = item.record, setup.trust()
    out.result(
        StopCardCheckResult(
            trust.environment,
            trust.namespace,
            item.identity,
            record.epoch,
            int(record.before_ms),
            record.by,
            found.state,
            found.term,
            found.ends,
            found.why,
        )
    )
    good = found.state == "live"
    out.line(
        Painted("LIVE" if good else "ENDS NOTHING", "green" if good else "red"),
        f" in {place(trust.environment, trust.namespace)}: {found.why}",
    )
    return Exit.DONE if good else Exit.REFUSED


@app.command("play")
def play(card: CARD, config: ConfigFile = None, as_json: AsJson = False) -> int:
    """Stop with a card and collect the receipts, without a key."""
    from golive_cli.commands import revoke
    from golive_cli.waiting import WaitingLine
    from golive_redis import config as configuration
    from golive_redis.operator import cards
    from golive_redis.stop.played import PlayCard

    setup = configuration.load(config)
    item = cards.verified(setup.stop_trust(), cards.read(card))
    out = Output(as_json=as_json)
    with WaitingLine(out) as line:
        report = PlayCard(setup, item, say=line.note, waiting=line.tell).run()
    out.result(revoke.as_json(report))
    if not as_json:
        revoke.show(report, out)
    return revoke.CODES[report.outcome.result]


def until_of(text: str, now_ms: int) -> int:
    """Return the end of a card as Unix ms: a day means its end, and all is UTC where nothing is said.

    Raises:
        UsageError: It is no date.
    """
    from golive_redis.records.record import duration_ms

    if DURATION.fullmatch(text):
        return now_ms + duration_ms(text)
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            at += timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--until {text[:40]!r} is no date", hint="--until 2027-01-31, or --until 30d"
        ) from error
    return int(at.timestamp() * 1000)
