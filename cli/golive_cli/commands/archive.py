"""`golive audit archive`, `trim`, `restore` and `generation`: the ledger in files, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.commands import ledger as shared
from golive_cli.exits import Exit, UsageError, require_reason
from golive_cli.options import AsJson, ConfigFile, KeyFiles, Reason
from golive_cli.output import Output, Painted, place
from golive_cli.results import (
    AuditArchiveResult,
    AuditGenerationResult,
    AuditRestoreResult,
    AuditTrimResult,
)

if TYPE_CHECKING:
    from golive_redis.audit.archiving import Archived
    from golive_redis.audit.opening import Keysets
    from golive_redis.config.auditing import LogSettings

LEAST_KEPT_MS = 14 * 86_400_000  # twice as long as receipts are kept

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The archive; made when it is missing.")
]


def duration(option: str, text: str) -> int:
    """Return a duration that an option gives, in ms.

    Raises:
        UsageError: It is none.
    """
    import re

    from golive_redis.records.record import duration_ms

    if not re.fullmatch(r"[0-9]{1,6}(ms|s|m|h|d)", text):
        raise UsageError(f"{option}: {text[:40]!r} is no duration", hint="write 90d, 12h or 30s")
    return duration_ms(text)


def archive(
    folder: Folder,
    settled: Annotated[
        str,
        typer.Option(
            "--settled",
            metavar="DURATION",
            help="Leave younger entries for the next run: a failover may lose them. "
            "Else audit.checkpoint_lag.",
            show_default=False,
        ),
    ] = "",
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Copy the ledger into a folder of files that never change.

    It needs no private key. Run it again for what is new; killed, it goes on.
    """
    from golive_cli.commands.judging import progress
    from golive_redis.audit import archiving
    from golive_redis.audit.beginning import of_stream
    from golive_redis.audit.writing import Writer
    from golive_redis.config.yamlfile import in_full

    out, path = Output(as_json=as_json), in_full(folder)
    with shared.ledger(config, keysets or ()) as ledger:
        settings = shared.log_settings(ledger)
        settled_ms = duration("--settled", settled) if settled else settings.lag_ms
        if settled_ms > settings.lag_ms:
            raise UsageError(
                f"--settled {settled} is longer than audit.checkpoint_lag, {settings.lag_ms // 1000} s: "
                "a checkpoint counts what would wait"
            )
        archiving.require_ours(ledger.store, ledger.keysets)
        begun = of_stream(ledger.store, ledger.keysets)
        if begun is None:
            raise shared.no_beginning()
        anew = begun.generation > 1
        with (
            Writer(
                path,
                ledger.trust,
                generation=begun.generation,
                start=begun.head if anew else None,
                last_id=begun.last_id if anew else "",
            ) as writer,
            progress(out, ledger.store.ledger_length()) as told,
        ):
            done = archiving.archive(
                ledger.store,
                ledger.keysets,
                writer,
                begun,
                policy=shared.log_policy(settings, begun.generation, ledger.keysets),
                settled_ms=settled_ms,
                told=told,
            )
        trust = ledger.trust
    said = done.checkpoint
    out.result(
        AuditArchiveResult(
            trust.environment,
            trust.namespace,
            str(path),
            begun.generation,
            done.size,
            done.new,
            done.waiting,
            done.root.hex(),
            None if said is None else said.size,
            _cosigned(done),
            done.receipts,
        )
    )
    _show(out, done, place(trust.environment, trust.namespace), folder, ledger.keysets, settings)
    return Exit.DONE


def _cosigned(done: Archived) -> list[str]:
    return sorted(done.judged.witnesses) if done.judged is not None else []


def _show(
    out: Output, done: Archived, where: str, folder: Path, keysets: Keysets, settings: LogSettings
) -> None:
    from golive_redis.audit.archived import signers

    last = f"entries 0 to {done.size - 1}" if done.size else "nothing: the ledger is empty"
    out.line(Painted("ARCHIVED", "green"), f" {where} in {folder}: {last}, {done.new} of them new")
    if done.waiting:
        out.line(f"{done.waiting} younger ones wait for the next run")
    if done.judged is None or done.checkpoint is None:
        out.line(
            Painted("not protected", "yellow"),
            ": there is no checkpoint, so nobody has signed where it ends",
        )
    else:
        by = ", ".join(signers(done.judged, keysets))
        many, names = len(done.judged.witnesses), ", ".join(sorted(done.judged.witnesses))
        asked = f"{many} of {len(settings.witnesses)} witnesses" if settings.witnesses else ""
        cosigned = (
            f", cosigned by {names or 'nobody'} ({asked})" if asked else ", no witness is asked"
        )
        out.line(
            f"checkpoint {done.checkpoint.size} by {by}{cosigned}: the same tree as in the archive"
        )
    if done.size:
        out.line(f"root of the {done.size} entries, read back: {done.root.hex()}")


def trim(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The archive that has what is removed.")
    ],
    keep: Annotated[
        str, typer.Option("--keep", metavar="DURATION", help="What is younger stays; 14d at least.")
    ] = "90d",
    unwitnessed: Annotated[
        bool,
        typer.Option(
            "--unwitnessed",
            help="Where no witnesses are configured: the archive alone vouches for what is removed.",
        ),
    ] = False,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="An approver's key that signs the note, else keys.operator; repeat it up to the "
            "threshold.",
            show_default=False,
        ),
    ] = None,
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Remove from Redis what is old and archived.

    It has to be read back and witnessed. The note `trimmed` is entered first:
    with it the ledger is judged from there on.
    """
    from golive_cli.commands.judging import cores, progress
    from golive_redis.audit.archive import Archive
    from golive_redis.audit.trimming import covered
    from golive_redis.config.yamlfile import in_full
    from golive_redis.errors import RefusedError
    from golive_redis.operator import recovery, trims

    keep_ms = duration("--keep", keep)
    if keep_ms < LEAST_KEPT_MS:
        raise UsageError(
            f"--keep {keep} is less than 14 days",
            hint="receipts of that time name entries, and heartbeats count the starts of a day in it",
        )
    out, path = Output(as_json=as_json), in_full(folder)
    with shared.ledger(config, keysets or ()) as ledger:
        settings, trust = shared.log_settings(ledger), ledger.trust
        if settings.witnesses and unwitnessed:
            raise UsageError("--unwitnessed goes only where audit.witnesses names nobody")
        if not settings.witnesses and not unwitnessed:
            raise RefusedError(
                "no witnesses are configured, so nobody else vouches for what would be removed",
                hint="name some under audit.witnesses; or --unwitnessed, and keep a second copy "
                f"of {folder} where this host cannot write",
            )
        held = Archive(path)
        held.require_of(trust)
        policy = shared.log_policy(settings, held.reach.generation, ledger.keysets)
        vouched = covered(held, policy, witnessed=not unwitnessed)
        opened = [ledger.config.signer_from(each, trust.keyset) for each in key or ()]
        signers = recovery.approvers(
            trust.keyset, opened or [ledger.config.signer("operator", trust.keyset)]
        )
        length = ledger.store.ledger_length()
        with progress(out, length) as told:
            done = trims.trim(
                ledger.store,
                trust,
                ledger.keysets,
                held,
                signers,
                keep_ms=keep_ms,
                vouched=vouched,
                jobs=cores() if length > shared.SEVERAL_FROM else 1,
                told=told,
            )
    out.result(
        AuditTrimResult(
            trust.environment,
            trust.namespace,
            str(path),
            done.first,
            done.removed,
            done.left,
            done.note,
        )
    )
    where = place(trust.environment, trust.namespace)
    if done.removed and not done.note:
        out.line(
            Painted("TRIMMED", "green"),
            f" {where}: {done.removed} entries removed that an earlier run had left, each of them in "
            f"{folder}; {done.left} left",
        )
    elif not done.note:
        out.line(f"nothing to trim in {where}: no full bundle of the archive is older than {keep}")
    else:
        out.line(
            Painted("TRIMMED", "green"),
            f" {where}: {done.removed} entries removed, {done.left} left; the ledger in Redis begins "
            f"with entry {done.first}",
        )
        by = " and ".join(each.principal for each in signers)
        out.line(f"note {done.note[:8]}... by {by} says so; {folder} has all of it")
    return Exit.DONE


Held = Annotated[Path, typer.Argument(metavar="DIR", help="The archive of the ledger.")]


def restore(
    folder: Held,
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Put back into Redis what it has lost of the ledger.

    Only where nothing was written since. Afterwards the ledger is the one that everybody remembers.
    """
    from golive_cli.commands.judging import cores, progress
    from golive_redis.audit.archive import Archive
    from golive_redis.audit.archived import judge_archive
    from golive_redis.config.yamlfile import in_full
    from golive_redis.operator import recovery

    out, path = Output(as_json=as_json), in_full(folder)
    with shared.ledger(config, keysets or ()) as ledger:
        trust, held = ledger.trust, Archive(path)
        held.require_of(trust)
        size = held.reach.size
        jobs = cores() if size > shared.SEVERAL_FROM else 1
        with progress(out, size) as told:
            verdict = judge_archive(held, ledger.keysets, jobs=jobs, told=told)
        if verdict.broken is not None:
            raise verdict.broken
        with progress(out, size) as told:
            done = recovery.restore(ledger.store, ledger.keysets, held, told)
    out.result(
        AuditRestoreResult(
            trust.environment, trust.namespace, str(path), done.first, done.entries, done.size
        )
    )
    where = place(trust.environment, trust.namespace)
    if not done.entries:
        out.line(f"nothing to restore in {where}: Redis has all {done.size} entries of {folder}")
    else:
        out.line(
            Painted("RESTORED", "green"),
            f" {where}: entries {done.first} to {done.first + done.entries - 1}, from {folder}",
        )
        out.line("restored is the ledger alone: `golive status` says what is in force")
    return Exit.DONE


def generation(
    reason: Reason,
    archive: Annotated[
        Path,
        typer.Option("--archive", metavar="DIR", help="The archive of the generation before."),
    ],
    keys: KeyFiles = None,
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Begin the ledger anew, where what was lost cannot be put back.

    Entries were lost, and others were written since. It takes as many approvers
    as an activation. Its first entry says what is known of
    the ledger before; hosts take it up when they have verified that.
    """
    from golive_redis import config as configuration
    from golive_redis.audit.archive import Archive
    from golive_redis.audit.opening import Keysets
    from golive_redis.config.yamlfile import in_full
    from golive_redis.operator import recovery
    from golive_redis.operator.session import Operator

    require_reason(reason)
    out, path = Output(as_json=as_json), in_full(archive)
    with Operator(configuration.load(config)) as operator:
        trust, held = operator.trust, Archive(path)
        held.require_of(trust)
        found = [trust.keyset, *shared.read_keysets(keysets or ())]
        known = Keysets.of(found, trust.namespace, trust.environment)
        signers = recovery.approvers(trust.keyset, operator.signers(keys or ()))
        done = recovery.begin_anew(operator, known, held, signers, reason=reason)
    out.result(
        AuditGenerationResult(
            trust.environment,
            trust.namespace,
            done.generation,
            done.identity,
            list(done.signers),
            done.before,
            done.common,
        )
    )
    out.line(
        Painted(f"GENERATION {done.generation}", "green"),
        f" of the ledger of {place(trust.environment, trust.namespace)} begins here, signed by "
        f"{' and '.join(done.signers)}",
    )
    out.line(
        f"of the {done.before} entries before, Redis had kept the first {done.common}; {archive} has "
        "all of them, and a new archive takes what was written since: golive audit archive NEWDIR"
    )
    return Exit.DONE
