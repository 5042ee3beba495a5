"""`golive audit verify` and `golive audit export`: the whole ledger, judged, or in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.commands import checkpoints, judging
from golive_cli.commands import ledger as shared
from golive_cli.exits import Exit, UsageError
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted, place
from golive_cli.results import (
    AuditBroken,
    AuditExportResult,
    AuditVerifyResult,
)
from golive_redis import clock

if TYPE_CHECKING:
    from golive_cli.commands.judging import Judged
    from golive_redis.audit.checkpoints import Held
    from golive_redis.audit.verifying import Verdict


def verify(
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Judge an export, with the keyset files only: no Redis, no configuration.",
            show_default=False,
        ),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="DIR",
            help="Judge an archive, with every file of it: no Redis.",
            show_default=False,
        ),
    ] = None,
    keysets: shared.KeysetFiles = None,
    head: judging.KeptHead = "",
    policy: shared.PolicyFile = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="The checkpoint of that export; else FILE.checkpoint beside it, with --policy.",
            show_default=False,
        ),
    ] = None,
    require_witness: Annotated[
        bool,
        typer.Option("--require-witness", help="Exit 5 unless enough witnesses have cosigned it."),
    ] = False,
    new: Annotated[
        bool, typer.Option("--new", help="Only what came since this host has judged it last.")
    ] = False,
    receipts: Annotated[
        Path | None,
        typer.Option(
            "--receipts",
            metavar="FILE",
            help="With --file: its receipts, as `export --receipts` writes them.",
            show_default=False,
        ),
    ] = None,
    jobs: judging.Jobs = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Judge the whole ledger, and name the first bad entry.

    Exits 5 when it does not verify. CONSISTENT means that all of it is good, and that
    nobody remembers its end: a tail that was cut off would not be seen. A checkpoint
    that enough witnesses have cosigned protects all that it counts.
    """
    judging.require_head(head)
    if file is not None and file.exists() and not file.is_file():
        raise UsageError(f"{file} is no regular file", hint="it is read twice: save it first")
    _require_together(
        [
            (
                file is not None and (new or config is not None),
                "--file goes without --new and --config: a file is judged whole, by its keysets alone",
            ),
            (
                archive is not None and (new or file is not None),
                "--archive goes without --new and --file: it is judged whole",
            ),
            (
                bool(head) and new,
                "--head goes without --new, which looks at nothing that this host has judged before",
            ),
            (
                receipts is not None and file is None,
                "--receipts goes with --file: without it they are read from Redis",
            ),
            (
                checkpoint is not None and (file is None or policy is None),
                "--checkpoint goes with --file and --policy, which says whose signatures count",
            ),
            (
                require_witness and file is not None and policy is None,
                "--require-witness takes --policy, which says who the witnesses are",
            ),
        ]
    )
    out = Output(as_json=as_json)
    given = keysets or []
    if file is not None:
        log = checkpoints.kept(file, policy, checkpoint, given)
        found = judging.judged_file(out, file, given, head, jobs, receipts, log=log)
    elif archive is not None:
        found = judging.judged_archive(out, archive, given, head, jobs, config, policy_file=policy)
    else:
        found = judging.judged_live(out, given, head, jobs, new=new, config=config, policy=policy)
    verdict = found.verdict
    out.result(_result(found))
    _show(out, found)
    missing = require_witness and verdict.broken is None and verdict.witnessed is None
    if missing:
        out.line(Painted("NOT WITNESSED", "red"), ": not enough witnesses have cosigned it")
    return Exit.VERIFICATION if missing or verdict.broken is not None else Exit.DONE


def _require_together(rules: list[tuple[bool, str]]) -> None:
    for broken, why in rules:
        if broken:
            raise UsageError(why)


def _result(found: Judged) -> AuditVerifyResult:
    verdict, keysets = found.verdict, found.keysets
    broken = verdict.broken
    return AuditVerifyResult(
        keysets.environment,
        keysets.namespace,
        _word(verdict),
        verdict.entries,
        verdict.entries - verdict.first,
        verdict.good,
        verdict.anchored,
        verdict.by,
        list(verdict.keysets or ()),
        verdict.terms,
        verdict.late,
        verdict.head,
        None
        if broken is None
        else AuditBroken(broken.index, broken.rule, verdict.named, broken.why, broken.hint),
        found.forgotten,
        found.generation,
        found.begins,
        checkpoints.result_of(verdict.checkpoint),
        verdict.witnessed.size if verdict.witnessed is not None else None,
        found.strange,
    )


def _word(verdict: Verdict) -> str:
    if verdict.broken is not None:
        return "NOT VERIFIED"
    return "VERIFIED" if verdict.verified else "CONSISTENT"


def _show(out: Output, found: Judged) -> None:
    verdict, where = found.verdict, found.where
    broken, count = verdict.broken, verdict.entries
    if broken is not None:
        named = f" ({verdict.named})" if verdict.named else ""
        out.line(f"entry {broken.index}{named} {broken.why} ({broken.rule})")
        out.line(Painted("NOT VERIFIED", "red"), f" {where}: {_good(verdict.good)}")
        if broken.hint:
            out.note(f"hint: {broken.hint}")
        return
    out.line(_counted(verdict, new=found.new))
    for text in found.begun:
        out.line(text)
    if verdict.witnessed is not None:
        _show_witnessed(out, where, count, verdict.witnessed)
    elif verdict.anchored is None:
        after = (
            ""
            if found.forgotten or found.from_file or not count
            else "; this host does from now on"
        )
        out.line(
            Painted("CONSISTENT", "yellow"),
            f" {where}, not protected: nobody remembers its end{after}",
        )
    else:
        newer = count - verdict.anchored
        more = f"; {newer} newer: chained and signed" if newer else ""
        last = f"up to entry {verdict.anchored - 1}" if verdict.anchored else "from the beginning"
        out.line(
            Painted("VERIFIED", "green"), f" {where} {last}, which {verdict.by} remembers{more}"
        )
    if count:
        apart = "apart from the file" if found.from_file else "outside of Redis"
        out.line(f"keep this head {apart}: {verdict.head}")
    if found.forgotten:
        out.note(f"this host does not remember it: {found.forgotten}")
    if found.strange:
        out.note(f"what stands in Redis as a checkpoint is none: {found.strange}")


def _show_witnessed(out: Output, where: str, count: int, held: Held) -> None:
    newer = count - held.size
    more = ""
    if newer:
        are = "newer one is" if newer == 1 else "newer ones are"
        more = f"; {newer:,} {are} chained and signed, not yet witnessed"
    last = f"up to entry {held.size - 1:,}" if held.size else "from the beginning"
    out.line(Painted("VERIFIED", "green"), f" {where} {last}{more}")


def _counted(verdict: Verdict, *, new: bool) -> str:
    """Say what was judged."""
    count, judged = verdict.entries, verdict.entries - verdict.first
    if not count:
        return "the ledger is empty"
    held = verdict.checkpoint
    cosigned = f" · {checkpoints.cosigned(held)}" if held is not None else ""
    if not judged:
        return f"nothing new: this host has judged all {count:,} entries before{cosigned}"
    low, high = verdict.keysets or (0, 0)
    keysets = f"keysets {low} to {high}" if low != high else f"keyset {low}"
    late = f" · {verdict.late} came late" if verdict.late else ""
    what = f"{_many(judged, 'new entry', 'new entries')} of {count:,}"
    if not new or not verdict.first:
        what = _many(count, "entry", "entries")
    return f"{what} · {keysets} · {_many(verdict.terms, 'term', 'terms')}{late}{cosigned}"


def _many(count: int, one: str, several: str) -> str:
    return f"{count:,} {one if count == 1 else several}"


def _good(count: int) -> str:
    if count == 0:
        return "no entry is known to be good"
    return "entry 0 is good" if count == 1 else f"entries 0 to {count - 1} are good"


def export(
    path: Annotated[
        Path,
        typer.Option("--out", metavar="FILE", help="A new file; one that exists is not replaced."),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl, which `verify --file` judges; csv or parquet for tables.",
        ),
    ] = "jsonl",
    receipts: Annotated[
        Path | None,
        typer.Option(
            "--receipts",
            metavar="FILE",
            help="Write the receipts that Redis still keeps into a second new file.",
            show_default=False,
        ),
    ] = None,
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Write the whole ledger into a file.

    Every entry is there as it was signed, and in clear.
    """
    from golive_redis.audit.export import Form, write, write_receipts
    from golive_redis.audit.receipts import kept_receipts, recent_directives
    from golive_redis.audit.selection import begun_at
    from golive_redis.config.yamlfile import in_full

    if form not in list(Form):
        raise UsageError(f"{form!r} is no format", hint=f"they are {', '.join(Form)}")
    out, whole, answers = Output(as_json=as_json), in_full(path), 0
    with shared.ledger(config, keysets or []) as ledger:
        note = ledger.store.checkpoint()  # first: what it counts is in the file then
        with judging.progress(out, ledger.store.ledger_length()) as told:
            if receipts is not None:  # before the ledger, which then has every head that they name
                names = recent_directives(ledger.store, clock.wall_ms())
                raws = (raw for name in names for raw in kept_receipts(ledger.store, name))
                answers = write_receipts(in_full(receipts), raws)
            begun = begun_at(ledger.store, ledger.keysets)
            pages = ledger.store.ledger(begun.start)
            count, head = write(whole, Form(form), pages, ledger.keysets, told, first=begun.count)
        trust = ledger.trust
    beside = checkpoints.beside(whole) if note and form == Form.JSONL else None
    if beside is not None:
        checkpoints.write_new(beside, note)
    name = str(beside) if beside is not None else None
    out.result(
        AuditExportResult(
            trust.environment, trust.namespace, str(whole), form, count, head, answers, name
        )
    )
    where = place(trust.environment, trust.namespace)
    what = f"{_many(count, 'entry', 'entries')} of" if count else "the empty ledger of"
    out.line(Painted("EXPORTED", "green"), f" {what} {where} to {path}")
    if receipts is not None:
        out.line(f"{_many(answers, 'receipt', 'receipts')} to {receipts}")
    if count:
        out.line(f"keep this head apart from the file: {head}")
    if beside:
        out.line(f"its checkpoint: {checkpoints.beside(path)}")
    return Exit.DONE
