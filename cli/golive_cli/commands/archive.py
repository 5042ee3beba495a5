"""`golive audit archive`, `trim`, `restore` and `generation`: the ledger in files, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.commands import ledger as shared
from golive_cli.exits import Exit, UsageError
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted, place
from golive_cli.results import AuditArchiveResult

if TYPE_CHECKING:
    from golive_redis.audit.archiving import Archived
    from golive_redis.audit.opening import Keysets
    from golive_redis.config.auditing import LogSettings

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
    """Bring an archive up to the ledger: a folder of files that never change.

    It needs no private key. Run it again for what is new; killed, it goes on.
    """
    from golive_cli.commands.auditfiles import progress
    from golive_redis.audit import archiving
    from golive_redis.audit.beginning import of_stream
    from golive_redis.audit.writing import Writer
    from golive_redis.config.yamlfile import in_full

    out, path = Output(as_json=as_json), in_full(folder)
    with shared.ledger(config, keysets or ()) as ledger:
        settings = shared.log_settings(ledger)
        settled_ms = duration("--settled", settled) if settled else settings.lag_ms
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
