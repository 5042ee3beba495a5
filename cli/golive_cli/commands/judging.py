"""Judging a ledger, wherever it is: what `golive audit verify` and `golive audit report` share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from golive_cli.commands import ledger as shared
from golive_cli.exits import UsageError
from golive_cli.output import Output, place
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
KeptHead = Annotated[
    str,
    typer.Option(
        "--head",
        metavar="HEAD",
        help="A head that you have kept: the ledger has to have it.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=256,
        metavar="N",
        help="Processes that check signatures; else one for each core.",
        show_default=False,
    ),
]


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
