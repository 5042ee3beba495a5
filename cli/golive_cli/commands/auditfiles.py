"""`golive audit verify` and `golive audit export`: the whole ledger, judged, or in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from golive_cli.commands import checkpoints
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
    from golive_redis.audit.beginning import Beginning
    from golive_redis.audit.checkpoints import Held
    from golive_redis.audit.history import Carry
    from golive_redis.audit.opening import Keysets
    from golive_redis.audit.verifying import Taken, Verdict

BAR = 24
DRAW_EVERY_MS = 200.0
HEAD = r"^[0-9a-f]{64}$"


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
    head: Annotated[
        str,
        typer.Option(
            "--head",
            metavar="HEAD",
            help="A head that you have kept: the ledger has to have it.",
            show_default=False,
        ),
    ] = "",
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
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            max=256,
            metavar="N",
            help="Processes that check signatures; else one for each core.",
            show_default=False,
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Judge the whole ledger, and name the first bad entry.

    Exits 5 when it does not verify. CONSISTENT means that all of it is good, and that
    nobody remembers its end: a tail that was cut off would not be seen. A checkpoint
    that enough witnesses have cosigned protects all that it counts.
    """
    require_head(head)
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
    if file is not None:
        log = checkpoints.kept(file, policy, checkpoint, keysets or [])
        found = judged_file(out, file, keysets or [], head, jobs, receipts, log=log)
    elif archive is not None:
        found = judged_archive(out, archive, keysets or [], head, jobs, config, policy_file=policy)
    else:
        found = judged_live(out, keysets or [], head, jobs, new=new, config=config, policy=policy)
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


def require_head(head: str) -> None:
    """Require that a head which somebody has kept protects something; "" for none.

    Raises:
        UsageError: It is none, or every ledger has it.
    """
    import re

    if head and not re.fullmatch(HEAD, head):
        raise UsageError("--head is no head", hint="it has 64 hex digits, as `verify` prints them")
    if head and not int(head, 16):
        raise UsageError("--head is that of an empty ledger: every ledger has it")


class Judged(NamedTuple):
    """A verdict and what it is about.

    Attributes:
        verdict: The verdict.
        keysets: By which it came about.
        where: Which ledger, for people.
        from_file: And not from Redis.
        new: Only what is new was asked for.
        forgotten: Why this host does not remember it; "" when it does, and for a file.
        begun: Where it begins, and what follows from that, in sentences; none for the first entry.
        generation: Of the ledger.
        begins: The index of its first entry.
        strange: Why what stands in Redis as a checkpoint is none; "" when it is one.
    """

    verdict: Verdict
    keysets: Keysets
    where: str
    from_file: bool = True
    new: bool = False
    forgotten: str = ""
    begun: tuple[str, ...] = ()
    generation: int = 1
    begins: int = 0
    strange: str = ""


def judged_file(
    out: Output,
    file: Path,
    keyset_files: list[Path],
    head: str,
    jobs: int | None,
    receipts: Path | None,
    taken: Taken | None = None,
    *,
    log: Sequence[Held] = (),
) -> Judged:
    """Judge an export by its keysets alone.

    Raises:
        UsageError: There is no keyset.
        ConfigError: A file cannot be read.
        RecordError: It is no export, or its receipts are none.
    """
    from golive_redis.audit.beginning import Beginning, of_pages
    from golive_redis.audit.checkpoints import TreeState, TreeWatch
    from golive_redis.audit.opening import Keysets
    from golive_redis.audit.reading import entries_of_file, first_claim
    from golive_redis.audit.receipts import claimed_heads, receipts_of_file
    from golive_redis.audit.verifying import Anchor, Judge, judged
    from golive_redis.config.yamlfile import in_full

    if not keyset_files:
        raise UsageError(
            "--file takes the keysets, too", hint="--keyset FILE, from somebody whom you trust"
        )
    path = in_full(file)
    namespace, environment = first_claim(path)
    keysets = Keysets.of(shared.read_keysets(keyset_files), namespace, environment)
    anchors = [Anchor(head, None, "the head that you kept")] if head else []
    raws = receipts_of_file(in_full(receipts)) if receipts is not None else []
    # One that begins behind the first entry says why, somewhere in it. It is read to its end for that.
    begun = of_pages(entries_of_file(path), keysets) or Beginning()
    with progress(out, None) as told:
        judge = Judge(
            keysets,
            start=(begun.carry, b""),
            anchors=anchors,
            heads=claimed_heads(raws, keysets, above=begun.carry.epoch),
            told=told,
            taken=taken,
            log=TreeWatch(log, start=TreeState(begun.tree)),
        )
        several = jobs or (cores() if file.stat().st_size > shared.SEVERAL_FROM * 1_000 else 1)
        verdict = judged(judge, entries_of_file(path), keysets, several)
    return Judged(
        verdict,
        keysets,
        f"{place(environment, namespace)}, from {file}",
        begun=_begun(begun, None),
        generation=begun.generation,
        begins=begun.count,
    )


def judged_archive(
    out: Output,
    folder: Path,
    keyset_files: list[Path],
    head: str,
    jobs: int | None,
    config: Path | None,
    taken: Taken | None = None,
    *,
    policy_file: Path | None = None,
) -> Judged:
    """Judge an archive, with every file of it.

    Raises:
        ArchiveChangedError: A file of it is not what was written.
        ConfigError: The configuration, a keyset or a file cannot be read.
        RecordError: Its checkpoint is not accepted.
    """
    from golive_redis import config as configuration
    from golive_redis.audit.archive import Archive
    from golive_redis.audit.archived import any_policy, judge_archive
    from golive_redis.audit.checkpoints import LogReader, TreeWatch
    from golive_redis.audit.opening import Keysets
    from golive_redis.audit.verifying import Anchor
    from golive_redis.config.auditing import LogSettings
    from golive_redis.config.yamlfile import in_full

    held = Archive(in_full(folder))
    reach, policy = held.reach, None
    if keyset_files and config is None:  # like an export: with the keyset files only
        found = shared.read_keysets(keyset_files)
        keysets = Keysets.of(found, reach.namespace, reach.environment)
    else:
        loaded = configuration.load(config)
        trust = loaded.trust()
        held.require_of(trust)
        found = [trust.keyset, *shared.read_keysets(keyset_files)]
        keysets = Keysets.of(found, trust.namespace, trust.environment)
        policy = shared.log_policy(LogSettings.of(loaded), reach.generation, keysets)
    if policy_file is not None:
        policy = shared.read_policy(policy_file)
    note = held.checkpoint()
    log = TreeWatch()
    if note is not None:
        known = keysets.by_version.values()
        log = TreeWatch([LogReader.by(policy or any_policy(note, keysets), known).read(note)])
    anchors = [Anchor(head, None, "the head that you kept")] if head else []
    several = jobs or (cores() if reach.size > shared.SEVERAL_FROM else 1)
    with progress(out, reach.size) as told:
        verdict = judge_archive(
            held,
            keysets,
            policy=policy,
            anchors=anchors,
            jobs=several,
            told=told,
            taken=taken,
            log=log,
        )
    return Judged(
        verdict,
        keysets,
        f"{place(reach.environment, reach.namespace)}, from {folder}",
        generation=reach.generation,
    )


def judged_live(
    out: Output,
    keyset_files: list[Path],
    head: str,
    jobs: int | None,
    *,
    new: bool,
    config: Path | None,
    taken: Taken | None = None,
    policy: Path | None = None,
) -> Judged:
    """Judge the ledger in Redis, and remember how far on this host.

    Raises:
        ConfigError: The configuration or a keyset cannot be used.
        StoreError: Redis cannot be asked.
    """
    from golive_redis.audit.memory import LedgerMemory
    from golive_redis.audit.stream import Stream

    with shared.ledger(config, keyset_files) as ledger:
        length = ledger.store.ledger_length()
        several = jobs or (cores() if length > shared.SEVERAL_FROM and not new else 1)
        memory, log = LedgerMemory(ledger.state_dir, ledger.trust), ledger.log(policy)
        with progress(out, length) as told:
            stream = Stream(
                ledger.store,
                ledger.keysets,
                memory,
                jobs=several,
                told=told,
                policies=ledger.policies,
                taken=taken,
                log=log,
            )
            verdict = stream.what_is_new() if new else stream.whole_ledger(head)
        forgotten = "" if ledger.state_dir else "no state_dir is configured"
        if stream.unremembered is not None:
            forgotten = stream.unremembered.message
        where = place(ledger.trust.environment, ledger.trust.namespace)
        begun = stream.beginning
        return Judged(
            verdict,
            ledger.keysets,
            where,
            False,
            new,
            forgotten,
            _begun(begun, stream.overtaken, unshown=stream.unshown),
            begun.generation,
            begun.count,
            stream.strange,
        )


def _begun(begun: Beginning, overtaken: Carry | None, *, unshown: bool = False) -> tuple[str, ...]:
    """Say where a ledger begins that does not begin with the first of all entries."""
    from golive_redis.audit import words

    by = f"{' and '.join(begun.by)}, {words.utc(begun.at_ms)} UTC"
    said = []
    if begun.generation > 1:
        said.append(f"generation {begun.generation} of the ledger, begun anew by {by}")
    if begun.count:
        said.append(f"entries 0 to {begun.count - 1} were trimmed, says {by}: an archive has them")
    if overtaken is not None and overtaken.generation < begun.generation:
        said.append(
            f"this host had judged {overtaken.count} entries of generation {overtaken.generation}, "
            "and takes up the new one"
        )
    elif overtaken is not None:
        said.append(
            f"this host had judged entries up to {overtaken.count - 1}; those up to {begun.count - 1} "
            "are only in the archive: `golive audit verify --archive DIR` judges them"
        )
    if unshown:
        said.append(
            "nothing shows that it continues what was known here before it was trimmed, so this host "
            "does not remember it: --head HEAD, kept elsewhere, or a checkpoint after the cut shows that"
        )
    return tuple(said)


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
        with progress(out, ledger.store.ledger_length()) as told:
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


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def progress(out: Output, total: int | None) -> Iterator[Callable[[int], None]]:
    """Draw how far it is, on a terminal, once it takes longer than an instant."""
    began = drawn = clock.now_ms()
    shown = False

    def told(count: int) -> None:
        nonlocal drawn, shown
        now = clock.now_ms()
        if now - drawn < DRAW_EVERY_MS or out.as_json or not sys.stderr.isatty():
            return
        drawn, shown = now, True
        rate = f"{count / (now - began) * 1000:,.0f}/s"
        full = round(BAR * min(1.0, count / total)) if total else 0
        bar = f"  [{'#' * full}{' ' * (BAR - full)}]" if total else ""
        sys.stderr.write(f"\r\x1b[K{count:,} entries{bar}  {rate}")
        sys.stderr.flush()

    try:
        yield told
    finally:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
