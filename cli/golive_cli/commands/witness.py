"""`golive audit witness`: remember the checkpoints of other ledgers, and cosign what continues them.

A witness is one folder with a key and a database. It needs no configuration and no Redis.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.exits import Exit, UsageError
from golive_cli.options import AsJson
from golive_cli.output import Output, Painted, when
from golive_cli.results import (
    WitnessAddLogResult,
    WitnessEvidence,
    WitnessInitResult,
    WitnessLine,
    WitnessLog,
    WitnessStatusResult,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from golive_cli.writer import Writer
    from golive_redis.witness.database import Database, Known
    from golive_redis.witness.server import WitnessServer

KEY_FILE, DATABASE_FILE = "witness.pem", "witness.db"
TICK_S = 0.1
_MS_PER_S = 1000

app = typer.Typer(
    rich_markup_mode=None,
    help="Remember other ledgers, and sign what continues them.",
)

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Where the witness keeps its key and its memory.")
]


@app.command("init")
def init(
    folder: Folder,
    name: Annotated[
        str,
        typer.Option(
            "--name",
            metavar="NAME",
            help="By which others know it, such as witness.example.org/w1; a new key, a new name.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Make a new witness: its key and its memory. Prints the key that others are given.

    A witness that lost its memory starts here, with another folder and another name:
    its old key must never sign again. $GOLIVE_KEY_PASSPHRASE protects the key, if it is set.
    """
    from golive_redis.config import keyfile
    from golive_redis.errors import GoliveError, RecordError, RefusedError
    from golive_redis.records.signednote import KeyType, VerifierKey, require_name
    from golive_redis.witness.database import Database

    try:
        require_name(name)
    except RecordError as error:
        raise UsageError(error.message, hint="such as --name witness.example.org/w1") from error
    for each in (KEY_FILE, DATABASE_FILE):
        if os.path.lexists(folder / each):
            raise RefusedError(
                f"{folder / each} exists: there is, or was, a witness in this folder",
                hint="a new witness takes a folder of its own; this one is: "
                f"golive audit witness status {folder}",
            )
    private = keyfile.generate()
    key = VerifierKey(name, KeyType.COSIGNATURE, private.public_key().public_bytes_raw())
    # The key first: without a database of its own it is never used.
    keyfile.write(folder / KEY_FILE, private, os.environ.get(keyfile.PASSPHRASE_VARIABLE))
    try:
        Database.create(folder / DATABASE_FILE, key).close()
    except GoliveError:
        (folder / KEY_FILE).unlink()
        raise
    out = Output(as_json=as_json)
    out.result(WitnessInitResult(str(folder), name, key.text))
    out.line(f"Wrote {folder / KEY_FILE} (mode 0600) and {folder / DATABASE_FILE}")
    out.line("This is the key of the witness, for those whose logs it signs:")
    out.line(f"  {key.text}")


@app.command("add-log")
def add_log(
    folder: Folder,
    vkey: Annotated[
        str, typer.Argument(metavar="VKEY", help="A verifier key of the log: NAME+ID+BASE64.")
    ],
    origin: Annotated[
        str | None,
        typer.Option(
            "--origin",
            metavar="ORIGIN",
            help="First line of its checkpoints; else the name of the key.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Trust one more key for a log. A witness that runs takes it at once."""
    from golive_redis.errors import RecordError
    from golive_redis.records.signednote import parse_vkey

    try:
        key = parse_vkey(vkey)
    except RecordError as error:
        raise UsageError(
            error.message, hint=error.hint or "give it as the log prints it"
        ) from error
    database, _ = _open(folder)
    try:
        added = database.add_log(origin or key.name, key)
    finally:
        database.close()
    out = Output(as_json=as_json)
    out.result(WitnessAddLogResult(origin or key.name, key.text, added))
    out.line(f"{'Added' if added else 'Known already:'} {key.text}")
    out.line(f"checkpoints of {origin or key.name} are cosigned from now on")


@app.command("serve")
def serve(
    folder: Folder,
    listen: Annotated[
        str,
        typer.Option("--listen", metavar="HOST:PORT", help="Where it is asked."),
    ] = "127.0.0.1:7380",
    as_json: AsJson = False,
) -> None:
    """Answer requests for cosignatures until SIGTERM.

    It takes POST /add-checkpoint and GET /SHA256-OF-ORIGIN/checkpoint (C2SP tlog-witness). It
    never starts without the memory that its key belongs to, and never signs a time before its
    last.
    """
    from golive_cli.sdnotify import Systemd
    from golive_cli.writer import Writer
    from golive_redis.witness.server import WitnessServer

    database, private = _open(folder)
    out = Output(as_json=as_json)

    def write(at_ms: int, text: str) -> None:
        out.result(WitnessLine(at_ms, database.key.name, text))
        out.line(time.strftime("%H:%M:%S ", time.localtime(at_ms / _MS_PER_S)), text)

    writer = Writer(write)
    systemd = Systemd(os.environ)
    try:
        server = WitnessServer(listen, database, private.sign, say=writer.say)
        writer.say(f"{database.key.name} listens on {server.url}, {_known(database)}")
        writer.say(f"its key: {database.key.text}")
        systemd.tell("READY=1")
        _until_told(server, writer)
        systemd.tell("STOPPING=1")
    finally:
        database.close()
        writer.close()
        systemd.close()


def _known(database: Database) -> str:
    count = len(database.logs())
    return f"{count} log{'' if count == 1 else 's'}" if count else "no logs yet"


def _until_told(server: WitnessServer, writer: Writer) -> None:
    """Serve on a thread of its own, and wait here for signals: a handler takes no lock."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        del number, frame
        asked = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    thread = threading.Thread(target=server.serve, name="golive-witness", daemon=True)
    thread.start()
    while thread.is_alive() and not asked:
        thread.join(TICK_S)
    if asked:
        writer.say("asked to stop")
    server.close()


@app.command("status")
def status(
    folder: Folder,
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence",
            metavar="FILE",
            help="Write every refused checkpoint that was kept to this file, one JSON object a line.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show what the witness remembers of each log.

    Exits 5 when a log has signed two histories.
    """
    import base64

    from golive_redis.witness.protocol import checkpoint_path

    database, _ = _open(folder)
    try:
        logs = database.logs()
        if evidence is not None:
            _write_evidence(evidence, database)
    finally:
        database.close()
    key = database.key
    rows = [
        WitnessLog(
            origin=log.origin,
            vkeys=[each.text for each in log.keys],
            size=log.newest.size if log.newest else None,
            root=base64.b64encode(log.newest.root).decode() if log.newest else None,
            cosigned_at_ms=log.time_s * _MS_PER_S if log.newest else None,
            path=checkpoint_path(log.origin),
            forks=log.forks,
            unproven=log.unproven,
        )
        for log in logs
    ]
    out = Output(as_json=as_json)
    out.result(WitnessStatusResult(str(folder), key.name, key.text, rows))
    out.line(f"witness {key.name}, key {key.text}")
    if not logs:
        out.line(f"no logs yet: golive audit witness add-log {folder} VKEY")
    else:
        out.table(["log", "entries", "cosigned", "keys", "finding"], [_row(log) for log in logs])
    return Exit.VERIFICATION if any(log.forks for log in logs) else Exit.DONE


def _row(log: Known) -> list[str | Painted]:
    finding: str | Painted = ""
    if log.forks:
        finding = Painted(f"FORKED: {log.forks} checkpoint(s) of another history", "red")
    elif log.unproven:
        finding = Painted(f"{log.unproven} refused: no valid proof", "yellow")
    size = str(log.newest.size) if log.newest else "none"
    at = when(log.time_s * _MS_PER_S) if log.newest else "never"
    return [log.origin, size, at, str(len(log.keys)), finding]


def _write_evidence(path: Path, database: Database) -> None:
    import msgspec

    from golive_redis.errors import ConfigError

    lines = [
        msgspec.json.encode(
            WitnessEvidence(
                origin=each.origin,
                kind=each.kind,
                received_at_ms=each.received_s * _MS_PER_S,
                why=each.why,
                refused=each.refused.decode(),
                known=each.known.decode() if each.known is not None else None,
                request=each.request.decode(errors="replace"),
            )
        )
        for each in database.evidence()
    ]
    try:
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}", hint="name another --evidence FILE"
        ) from error


def _open(folder: Path) -> tuple[Database, Ed25519PrivateKey]:
    """Return the database of a witness and its key, which belong together.

    Raises:
        ConfigError: One of them is missing, or they do not.
    """
    from golive_redis.config import keyfile
    from golive_redis.errors import ConfigError
    from golive_redis.witness.database import Database

    if not os.path.lexists(folder / KEY_FILE):
        raise ConfigError(
            f"{folder} has no witness: there is no {KEY_FILE}",
            hint=f"golive audit witness init {folder} --name NAME",
        )
    private = keyfile.read(folder / KEY_FILE, os.environ)
    return Database(folder / DATABASE_FILE, private.public_key().public_bytes_raw()), private
