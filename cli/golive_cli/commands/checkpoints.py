"""`golive audit policy` and `prove`, and how the commands of the audit show checkpoints."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from golive_cli.commands import ledger as shared
from golive_cli.exits import Exit, UsageError
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted, place
from golive_cli.results import AuditCheckpoint, AuditPolicyResult, AuditProveResult
from golive_redis import clock

if TYPE_CHECKING:
    from golive_redis.audit.checkpoints import Held
    from golive_redis.audit.proving import Proved
    from golive_redis.audit.stream import KnownLog

CHECKPOINT = ".checkpoint"
_MS_PER_S = 1000


# -- how they are shown ------------------------------------------------------------------------------


def result_of(held: Held | None) -> AuditCheckpoint | None:
    """Return a checkpoint for --json."""
    if held is None:
        return None
    return AuditCheckpoint(
        held.size, held.by, list(held.cosigned), held.witnesses, held.met, held.time_s
    )


def cosigned(held: Held) -> str:
    """Say who has signed a checkpoint."""
    said = f"checkpoint {held.size:,} by {held.by}"
    return f"{said}, {witnesses(held)}" if held.witnesses else said


def witnesses(held: Held) -> str:
    """Say which witnesses have cosigned a checkpoint, and when the last of them did."""
    from golive_redis.core.timing import in_words

    names = " and ".join(held.cosigned) or "nobody"
    said = f"cosigned by {names} ({len(held.cosigned)} of {held.witnesses})"
    if held.time_s is None:
        return said
    return f"{said} {in_words(max(0, clock.wall_ms() - held.time_s * _MS_PER_S))} ago"


# -- beside an export --------------------------------------------------------------------------------


def beside(file: Path) -> Path:
    """Return where the checkpoint of an export is."""
    return file.with_name(file.name + CHECKPOINT)


def write_new(path: Path, content: bytes) -> None:
    """Write a new file, whole or not at all.

    Raises:
        RefusedError: It exists.
        ConfigError: It cannot be written.
    """
    from golive_redis.audit.export import written

    written(path, lambda file: file.write(content))


def kept(
    file: Path, policy: Path | None, checkpoint: Path | None, keyset_files: list[Path]
) -> list[Held]:
    """Return the checkpoint that was exported beside a ledger, judged by a policy; none without one.

    Raises:
        ConfigError: A file that was named cannot be read.
        RecordError: It is no checkpoint, or nobody of the policy has signed it.
    """
    from golive_redis.audit.checkpoints import LogReader
    from golive_redis.config.yamlfile import in_full

    if policy is None:
        return []
    reader = LogReader.by(shared.read_policy(policy), shared.read_keysets(keyset_files))
    path = in_full(checkpoint or beside(file))
    if checkpoint is None and not path.exists():
        return []
    return [reader.read(shared.read_file(path))]


# -- commands ----------------------------------------------------------------------------------------


def policy(
    generation: Annotated[
        int,
        typer.Option(
            "--generation", min=1, metavar="N", help="Of the ledger; each is a log of its own."
        ),
    ] = 1,
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Print whose signatures under a checkpoint count, for auditors.

    The format is C2SP tlog-policy: a `log` line for each heartbeat, a `witness` line for
    each witness, and the quorum. It asks no Redis.
    """
    from golive_redis import config as configuration
    from golive_redis.config.auditing import LogSettings

    out = Output(as_json=as_json)
    loaded = configuration.load(config)
    trust, settings = loaded.trust(), LogSettings.of(loaded).of_generation(generation)
    found = settings.policy([trust.keyset, *shared.read_keysets(keysets or [])])
    text = found.encode().decode()
    out.result(
        AuditPolicyResult(
            trust.environment, trust.namespace, settings.origin, settings.quorum, text
        )
    )
    for line in text.splitlines():
        out.line(line)


def prove(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENTRY]",
            help="An index, an epoch (e7), or the first characters of an identity.",
            show_default=False,
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="A new file.", show_default=False),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            metavar="FILE",
            help="Read a proof, with --policy only: no Redis, no configuration.",
            show_default=False,
        ),
    ] = None,
    policy: shared.PolicyFile = None,
    entry: Annotated[
        Path | None,
        typer.Option(
            "--entry",
            metavar="FILE",
            help="The entry's bytes, for a proof by another tool that does not hold them.",
            show_default=False,
        ),
    ] = None,
    keysets: shared.KeysetFiles = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> int:
    """Prove that one entry is in the ledger, or read such a proof.

    The file is a .tlog-proof: the entry, its place and the checkpoint that witnesses have
    cosigned. Any tool for C2SP logs reads it.
    """
    out = Output(as_json=as_json)
    if check is not None:
        if name is not None or path is not None or config is not None or policy is None:
            raise UsageError(
                "--check goes with --policy, and without ENTRY, --out and --config",
                hint="golive audit prove --check FILE --policy FILE",
            )
        return _check(out, check, policy, entry, keysets or [])
    if name is None or path is None or entry is not None:
        raise UsageError(
            "say which entry, and where the proof goes", hint="golive audit prove e7 --out FILE"
        )
    return _prove(out, name, path, policy, keysets or [], config)


def _prove(
    out: Output,
    name: str,
    path: Path,
    policy: Path | None,
    keyset_files: list[Path],
    config: Path | None,
) -> int:
    from golive_redis.audit import proving
    from golive_redis.audit.selection import begun_at, named
    from golive_redis.config.yamlfile import in_full

    whole = in_full(path)
    with shared.ledger(config, keyset_files) as ledger:
        found = named(ledger.store, ledger.keysets, name)
        begun = begun_at(ledger.store, ledger.keysets)
        log = ledger.log(policy)(begun.generation)
        held = proving.covering(_at_hand(log, ledger.store.checkpoint()), found.index)
        pages = ledger.store.ledger(begun.start)
        proof = proving.proof(found.index, found.entry, held, pages, after=begun.tree)
        proved = proving.read(proof.encode(), log.reader)
        trust = ledger.trust
    write_new(whole, proof.encode())
    what, who = _said(proved, ledger.keysets)
    out.result(_proved(proved, trust.environment, trust.namespace, what, who, str(whole)))
    where = place(trust.environment, trust.namespace)
    out.line(Painted("PROVED", "green"), f" entry {proved.index:,} of {where}: {what}, in {path}")
    out.line(cosigned(held))
    return Exit.DONE


def _at_hand(log: KnownLog, note: bytes) -> list[Held]:
    """Return the checkpoints in Redis and in this host's memory."""
    from golive_redis.audit.seen import notes
    from golive_redis.errors import RecordError

    found = notes(log.memory.read(), log.reader)
    # Where nobody of the policy has signed it, what this host has seen is left.
    with suppress(RecordError):
        found += [log.reader.read(note)] if note else []
    return found


def _check(
    out: Output, file: Path, policy: Path, entry: Path | None, keyset_files: list[Path]
) -> int:
    from golive_redis.audit import proving
    from golive_redis.audit.checkpoints import LogReader
    from golive_redis.audit.opening import Keysets
    from golive_redis.config.yamlfile import in_full
    from golive_redis.records.envelope import decode
    from golive_redis.records.record import parse_json

    known = shared.read_keysets(keyset_files)
    reader = LogReader.by(shared.read_policy(policy), known)
    envelope = shared.read_file(in_full(entry)) if entry is not None else None
    proved = proving.read(shared.read_file(in_full(file)), reader, envelope)
    claims = parse_json(decode(proved.envelope).payload, shared.MAX_FILE_BYTES)
    namespace = str(claims.get("namespace", "")) if isinstance(claims, dict) else ""
    environment = str(claims.get("environment", "")) if isinstance(claims, dict) else ""
    keysets = Keysets.of(known, namespace, environment) if known else None
    what, who = _said(proved, keysets)
    out.result(_proved(proved, environment, namespace, what, who, str(in_full(file))))
    out.line(Painted("PROVED", "green"), f" entry {proved.index:,} of {proved.origin}: {what}")
    out.line(cosigned(proved.held))
    if not who:
        out.note(
            "nobody's signature under the entry itself was checked: add --keyset FILE"
            if keysets is None
            else "the keyset that the entry names is not at hand: add --keyset FILE"
        )
    return Exit.DONE


def _said(proved: Proved, keysets: object) -> tuple[str, list[str]]:
    """Return what an entry says in words, and who has signed it; nobody where that is not known.

    Raises:
        RecordError: It is signed by nobody who may.
    """
    from golive_redis.audit import words
    from golive_redis.audit.opening import KINDS, Keysets, Opened, opened
    from golive_redis.records.envelope import decode, peek

    if isinstance(keysets, Keysets):
        found = opened(proved.envelope, keysets)
    else:
        envelope = decode(proved.envelope)
        kind = KINDS.get(envelope.payload_type)
        if kind is None:
            return envelope.payload_type, []
        found = Opened(peek(proved.envelope, kind), envelope.identity, ())
    return words.name(found), list(found.signers)


def _proved(
    proved: Proved, environment: str, namespace: str, what: str, who: list[str], file: str
) -> AuditProveResult:
    checkpoint = result_of(proved.held)
    assert checkpoint is not None  # noqa: S101  (a proof has one)
    return AuditProveResult(
        environment, namespace, file, proved.origin, proved.index, what, who, checkpoint
    )
