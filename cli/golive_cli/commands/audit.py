"""`golive audit`: who turned trading on and off, and whether the ledger says all of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from golive_cli.commands import ledger as shared
from golive_cli.commands import witness
from golive_cli.commands.archive import archive, generation, restore, trim
from golive_cli.commands.auditfiles import export, verify
from golive_cli.commands.auditreport import report
from golive_cli.commands.checkpoints import policy, prove
from golive_cli.exits import Exit, UsageError
from golive_cli.options import AsJson, ConfigFile, LabelArguments
from golive_cli.output import Output, Painted, Piece
from golive_cli.results import (
    AuditEntry,
    AuditListResult,
    AuditShowResult,
    AuditSignature,
    AuditTailLine,
)
from golive_redis import clock
from golive_redis.errors import RefusedError

if TYPE_CHECKING:
    from golive_redis.audit.selection import Found
    from golive_redis.records.trust import Trust

NEWEST = 20
EVERY_MS = 1_000.0

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="90m, 1d, today, yesterday, 2026-11-26 or 2026-11-26T13:38 (UTC).",
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Likewise; before it.", show_default=False),
]
Actor = Annotated[
    str, typer.Option("--actor", metavar="NAME", help="Signed by NAME.", show_default=False)
]
Kind = Annotated[
    str,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="grant, restriction, revocation, report, note, refusal, answer, execution or keyset; "
        "or halt, say.",
        show_default=False,
    ),
]
Topic = Annotated[
    str, typer.Option("--topic", metavar="TOPIC", help="Of a note.", show_default=False)
]
Refused = Annotated[bool, typer.Option("--refused", help="Attempts that were refused.")]


@app.command("list")
def list_(
    labels: LabelArguments = None,
    since: Since = None,
    until: Until = None,
    actor: Actor = "",
    kind: Kind = "",
    topic: Topic = "",
    refused: Refused = False,
    keysets: shared.KeysetFiles = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last",
            "-n",
            min=1,
            metavar="N",
            help=f"The newest N; without it {NEWEST}, or all with --since.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Show what was done, by whom and why; the newest last. Times are in UTC.

    Each signature is checked; that nothing is missing says `golive audit verify`.
    """
    from golive_cli.commands import change
    from golive_redis.audit.selection import Wanted, known_kinds, selected
    from golive_redis.records.ledger import TOPICS

    _require(kind, "kind of entry", known_kinds())
    _require(topic, "topic of a note", sorted(TOPICS))
    wanted = Wanted(
        since_ms=_instant("--since", since),
        until_ms=_instant("--until", until),
        actor=actor,
        kind=kind,
        topic=topic,
        labels=change.parsed(labels, restricts=False),
        refused=refused,
    )
    limit = last or (None if since else NEWEST)
    out = Output(as_json=as_json)
    with shared.ledger(config, keysets or ()) as ledger:
        found = selected(ledger.store, ledger.keysets, wanted, limit)
    trust = ledger.trust
    entries = [_entry(item) for item in found]
    out.result(AuditListResult(trust.environment, trust.namespace, entries))
    _table(out, found)
    return Exit.VERIFICATION if any(item.opened is None for item in found) else Exit.DONE


def _require(word: str, what: str, known: list[str]) -> None:
    if word and word not in known:
        raise UsageError(f"{word[:40]!r} is no {what}", hint=f"they are {', '.join(known)}")


def _instant(option: str, text: str | None) -> int | None:
    from golive_redis.audit.selection import instant

    if text is None:
        return None
    try:
        return instant(text, clock.wall_ms())
    except RefusedError as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error


@app.command("tail")
def tail(
    last: Annotated[
        int, typer.Option("--last", "-n", min=0, metavar="N", help="Begin with the newest N.")
    ] = 10,
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show entries as they come, until Ctrl-C."""
    from golive_redis.audit.beginning import entries_now
    from golive_redis.audit.selection import Wanted, begun_at, found, selected

    out = Output(as_json=as_json)
    with contextlib.suppress(KeyboardInterrupt), shared.ledger(config, keysets or ()) as ledger:
        items = selected(ledger.store, ledger.keysets, Wanted(), max(1, last))
        after = items[-1].entry.id if items else ""
        index = items[-1].index + 1 if items else begun_at(ledger.store, ledger.keysets).count
        _lines(out, ledger.trust, items[-last:] if last else [])
        while not shared.reader_is_gone():
            # Not a blocking read: one that waits there makes whoever writes wait for it.
            page = ledger.store.ledger_from(f"({after}" if after else "-")
            for entry in page:
                _lines(out, ledger.trust, [found(index, entry, ledger.keysets)])
                after, index = entry.id, index + 1
            if page:
                continue
            begun = begun_at(ledger.store, ledger.keysets)  # it may have been trimmed since
            if (length := entries_now(ledger.store, begun)) < index:
                out.note(
                    f"the ledger is shorter than it was: {length} entries, and {index} were there; "
                    "`golive audit verify` says more"
                )
                index = length
            clock.pause_ms(EVERY_MS)


@app.command("show")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ENTRY",
            help="An index, an epoch (e7), or the first characters of an identity.",
        ),
    ],
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Show one entry: its fields, its signers, its place.

    Of each signature it says whose it is, by the keyset that the entry names.
    """
    from golive_redis.audit.selection import named

    out = Output(as_json=as_json)
    with shared.ledger(config, keysets or ()) as ledger:
        found = named(ledger.store, ledger.keysets, name)
    opened = found.opened
    signatures = [AuditSignature(*item) for item in shared.signatures(found, ledger.keysets)]
    record = msgspec.to_builtins(opened.record) if opened else None
    out.result(
        AuditShowResult(
            ledger.trust.environment,
            ledger.trust.namespace,
            _entry(found),
            record,
            signatures,
            found.entry.head,
        )
    )
    for key, value in _facts(found, signatures):
        out.line(Painted(f"{key:<16}", "dim"), value)
    return Exit.VERIFICATION if opened is None else Exit.DONE


app.command("verify")(verify)
app.command("export")(export)
app.command("archive")(archive)
app.command("trim")(trim)
app.command("report")(report)
app.command("restore")(restore)
app.command("generation")(generation)
app.command("policy")(policy)
app.command("prove")(prove)
app.add_typer(witness.app, name="witness")


def _entry(found: Found) -> AuditEntry:
    from golive_redis.audit import words

    opened, entry = found.opened, found.entry
    if opened is None:
        return AuditEntry(
            found.index, entry.id, entry.at_ms, "", "", [], "", "", False, found.refused
        )
    line, record = words.line(opened), opened.record
    return AuditEntry(
        found.index,
        entry.id,
        entry.at_ms,
        record.KIND,
        line.what,
        list(opened.signers),
        line.why,
        opened.identity,
        opened.judged,
        "",
    )


def _row(found: Found) -> list[Piece]:
    from golive_redis.audit import words

    at = words.utc(found.entry.at_ms)
    if found.opened is None:
        return [
            str(found.index), at, Painted("NOT GOOD", "red"), "", found.refused
        ]  # fmt: skip
    line = words.line(found.opened)
    return [str(found.index), at, line.what, line.by, line.why]


def _table(out: Output, found: list[Found]) -> None:
    if not found:
        out.line("no entry fits")
        return
    out.table(("n", "when (UTC)", "what", "by", "why"), [_row(item) for item in found])


def _lines(out: Output, trust: Trust, found: list[Found]) -> None:
    for item in found:
        out.result(AuditTailLine(trust.environment, trust.namespace, _entry(item)))
        index, at, *rest = _row(item)
        out.line(index, "  ", at, *(piece for part in rest if part for piece in ("  ", part)))


def _facts(found: Found, signatures: list[AuditSignature]) -> Iterator[tuple[str, Piece]]:
    from golive_redis.audit import words

    entry, opened = found.entry, found.opened
    yield "entry", f"{found.index}, id {entry.id}"
    yield "entered", f"{words.utc(entry.at_ms)} UTC"
    yield "head after it", entry.head
    if opened is None:
        yield "NOT GOOD", Painted(found.refused, "red")
        return
    line = words.line(opened)
    yield "what", line.what
    yield "identity", opened.identity
    for item in signatures:
        yield "signed by", f"{item.principal or 'nobody of this keyset'}, key {item.keyid[:16]}..."
    if not opened.judged:
        version = opened.record.keyset_version
        yield "NOT VERIFIED", Painted(f"keyset version {version} is not at hand", "yellow")
    for key, value in msgspec.to_builtins(opened.record).items():
        yield key, _shown(key, value)


def _shown(key: str, value: object) -> str:
    from golive_redis.audit import words

    if key.endswith("_ms") and isinstance(value, int) and value > shared.YEAR_MS:
        return f"{words.utc(value)} UTC"
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()
