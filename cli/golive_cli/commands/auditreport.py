"""`golive audit report`: a page for people who judge the firm, and the same numbers for programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.commands import ledger as shared
from golive_cli.commands.judging import (
    Jobs,
    KeptHead,
    judged_archive,
    judged_file,
    judged_live,
    require_head,
)
from golive_cli.exits import Exit, UsageError
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted
from golive_cli.results import AuditBroken, AuditReportResult
from golive_redis import clock
from golive_redis.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from golive_cli.commands.judging import Judged
    from golive_redis.audit.report.figures import AuditReport
    from golive_redis.audit.report.tally import Tally
    from golive_redis.records.envelope import Verified
    from golive_redis.records.receipt import Receipt

DAY_MS = 86_400_000
PAGE, FIGURES = "report.html", "report.json"
_WHOLE_DAY = re.compile(r"today|yesterday|[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COLOURS = {"VERIFIED": "green", "CONSISTENT": "yellow", "NOT VERIFIED": "red"}


def report(
    folder: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help=f"Folder for {PAGE} and {FIGURES}, both new."),
    ],
    begin: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="2026-11-26, 2026-11-26T13:38 (UTC), 30d, today; else the first entry.",
            show_default=False,
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TIME",
            help="Likewise. Before that time; a day is in the report as a whole. Else now.",
            show_default=False,
        ),
    ] = None,
    incident: Annotated[
        int | None,
        typer.Option(
            "--incident",
            min=1,
            metavar="EPOCH",
            help="Tell this stop or restriction minute by minute.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Of an export, with the keyset files only: no Redis, no configuration.",
            show_default=False,
        ),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="DIR",
            help="Of an archive, with its receipts: no Redis.",
            show_default=False,
        ),
    ] = None,
    receipts: Annotated[
        Path | None,
        typer.Option(
            "--receipts",
            metavar="FILE",
            help="With --file: its receipts, as `export --receipts` writes them.",
            show_default=False,
        ),
    ] = None,
    keysets: shared.KeysetFiles = None,
    head: KeptHead = "",
    jobs: Jobs = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Write one page for auditors, and its numbers as JSON.

    The page is HTML without script. The ledger is judged first, as by `verify`. Of one that
    does not verify the page says so on top and counts only what is good; the exit code is 5.
    """
    from golive_redis.audit.report.tally import Tally
    from golive_redis.config.yamlfile import in_full

    now_ms = clock.wall_ms()
    from_ms, to_ms = _instant("--from", begin, now_ms), _instant("--to", end, now_ms, whole=True)
    tally = Tally(from_ms, now_ms if to_ms is None else to_ms, incident)
    if from_ms is not None and from_ms >= tally.to_ms:
        raise UsageError("--from is not before --to")
    _require(head, file, archive, receipts, config)
    whole = in_full(folder)
    page, figures = whole / PAGE, whole / FIGURES
    _require_new(whole, page, figures)
    out, given = Output(as_json=as_json), keysets or []
    if file is not None:
        found = judged_file(out, file, given, head, jobs, receipts, tally.take)
        answers, source = _of_file(receipts), f"the file {file.name}"
    elif archive is not None:
        found = judged_archive(out, archive, given, head, jobs, config, tally.take)
        answers, source = _of_archive(archive), f"the archive {archive.name}"
    else:
        found = judged_live(out, given, head, jobs, new=False, config=config, taken=tally.take)
        answers, source = _of_redis(config, given), "Redis"
    made = _made(tally, found, answers, source, now_ms)
    if incident is not None and made.incident is None:
        raise RefusedError(
            f"no stop and no restriction in the ledger has the epoch {incident}",
            hint="`golive audit list --kind revocation` and `--kind restriction` show them",
        )
    _write(made, page, figures)
    return _said(out, made, found, page, figures)


def _instant(option: str, text: str | None, now_ms: int, *, whole: bool = False) -> int | None:
    from golive_redis.audit.selection import instant

    if text is None:
        return None
    try:
        at_ms = instant(text, now_ms)
    except RefusedError as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error
    if at_ms < 0:
        raise UsageError(f"{option} is before 1970")
    return at_ms + DAY_MS if whole and _WHOLE_DAY.fullmatch(text) else at_ms


def _require(
    head: str,
    file: Path | None,
    archive: Path | None,
    receipts: Path | None,
    config: Path | None,
) -> None:
    require_head(head)
    if file is not None and archive is not None:
        raise UsageError("--file goes without --archive: a report is on one of them")
    if file is not None and config is not None:
        raise UsageError("--file goes without --config: a file is judged by its keysets alone")
    if file is not None and file.exists() and not file.is_file():
        raise UsageError(f"{file} is no regular file", hint="it is read twice: save it first")
    if receipts is not None and file is None:
        raise UsageError("--receipts goes with --file: Redis and an archive have them")


def _require_new(folder: Path, *paths: Path) -> None:
    """Ask before the work is done what would end it."""
    for path in paths:
        if path.exists():
            raise RefusedError(
                f"{path} exists; a report replaces nothing", hint="name another folder"
            )
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", hint="name a folder, which may be new")


def _of_file(receipts: Path | None) -> list[bytes]:
    from golive_redis.audit.receipts import receipts_of_file
    from golive_redis.config.yamlfile import in_full

    return [] if receipts is None else receipts_of_file(in_full(receipts))


def _of_archive(folder: Path) -> list[bytes]:
    from golive_redis.audit.archive import Archive
    from golive_redis.audit.archived import receipts_in
    from golive_redis.config.yamlfile import in_full

    return receipts_in(Archive(in_full(folder)))


def _of_redis(config: Path | None, keyset_files: list[Path]) -> list[bytes]:
    from golive_redis.audit.receipts import kept_receipts, recent_directives

    with shared.ledger(config, keyset_files) as ledger:
        names = recent_directives(ledger.store, clock.wall_ms())
        return [raw for name in names for raw in kept_receipts(ledger.store, name)]


def _made(
    tally: Tally, found: Judged, answers: list[bytes], source: str, now_ms: int
) -> AuditReport:
    from golive_redis.audit.receipts import verified_receipts
    from golive_redis.audit.report.reported import Made, reported

    keysets = found.keysets
    by_directive: dict[str, list[Verified[Receipt]]] = {}
    for item in verified_receipts(answers, keysets):
        by_directive.setdefault(item.record.directive or "", []).append(item)
    fleet = keysets.by_version[keysets.newest].fleet
    return reported(tally, found.verdict, keysets, Made(now_ms, fleet, source), by_directive)


def _write(made: AuditReport, page: Path, figures: Path) -> None:
    import msgspec

    from golive_redis.audit.export import written
    from golive_redis.audit.report.page import page as drawn

    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{page.parent}: {error.strerror or error}") from error
    text = msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"
    written(figures, lambda file: file.write(text))
    written(page, lambda file: file.write(drawn(made).encode()))


def _said(out: Output, made: AuditReport, found: Judged, page: Path, figures: Path) -> int:
    verdict, broken = made.verdict, found.verdict.broken
    out.result(
        AuditReportResult(
            made.environment,
            made.namespace,
            verdict.result,
            None
            if broken is None
            else AuditBroken(
                broken.index, broken.rule, found.verdict.named, broken.why, broken.hint
            ),
            made.from_ms,
            made.to_ms,
            verdict.counted,
            str(page),
            str(figures),
        )
    )
    if broken is not None:
        out.line(f"entry {broken.index} {broken.why} ({broken.rule})")
    out.line(Painted(verdict.result, _COLOURS[verdict.result]), f" {found.where}: {page}")
    out.line(f"the same numbers: {figures}")
    if broken is not None and broken.hint:
        out.note(f"hint: {broken.hint}")
    return Exit.DONE if broken is None else Exit.VERIFICATION
