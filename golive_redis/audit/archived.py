"""Judging an archive: every file of it, the rules of the ledger, and the checkpoint that is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from golive_redis.audit.archive import Archive
from golive_redis.audit.archiving import read_receipts
from golive_redis.audit.beginning import Beginning, read
from golive_redis.audit.checkpoints import TreeWatch
from golive_redis.audit.history import CLOCKS_MS, Carry
from golive_redis.audit.layout import changed, read_file
from golive_redis.audit.opening import Keysets
from golive_redis.audit.receipts import claimed_heads
from golive_redis.audit.verifying import Anchor, Judge, Taken, Verdict, judged
from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import parse_text
from golive_redis.records.keyset import Keyset, Role, TrustedKey, raw_of
from golive_redis.records.logpolicy import MAX_LINES, NONE, Judged, Policy, TrustedLog
from golive_redis.records.rotation import digest_of, parse_payload
from golive_redis.records.signednote import KeyType, VerifierKey, parse

CHECKPOINT = "the checkpoint"


def judge_archive(
    held: Archive,
    keysets: Keysets,
    *,
    policy: Policy | None = None,
    anchors: Sequence[Anchor] = (),
    jobs: int = 1,
    told: Callable[[int], None] = lambda _: None,
    log: TreeWatch | None = None,
    taken: Taken | None = None,
) -> Verdict:
    """Read every file of an archive back, and judge its entries as those of a ledger.

    Args:
        held: The archive.
        keysets: Those at hand. The ones in the archive are not trusted: whoever wrote it wrote them.
        policy: By which its checkpoint is judged; None takes the heartbeats of the keysets, and asks
            for no witness.
        anchors: Ends that somebody remembers.
        jobs: How many processes check signatures.
        told: Told how many entries were judged, after each page.
        log: Holds it against that checkpoint, for what the verdict says of its witnesses.
        taken: As for `Judge`.

    Raises:
        ArchiveChangedError: A file is not what was written.
        RecordError: The checkpoint is not accepted, or is about another ledger.
        ConfigError: A file cannot be read.
    """
    held.check()
    files(held)
    begun = beginning_of(held, keysets)
    kept = [*anchors, *checkpoint_of(held, keysets, policy)]
    judge = Judge(
        keysets,
        start=(begun.carry, b""),
        anchors=kept,
        heads=_heads(held, keysets),
        told=told,
        taken=taken,
        log=log,
    )
    return judged(judge, held.entries(), keysets, jobs)


def receipts_in(held: Archive) -> list[bytes]:
    """Return the receipts of an archive, as they were signed.

    Raises:
        ArchiveChangedError: A file is not what was written.
        ConfigError: A file cannot be read.
    """
    paths = sorted((held.folder / "receipts").glob("*.json"))
    return [raw for path in paths for raw in read_receipts(path)]


def _heads(held: Archive, keysets: Keysets) -> dict[str, str]:
    """Return the heads that the receipts of an archive have seen, and that it has to have by now (V12).

    A later generation is asked for none: what its first receipts had seen may stand in the one before.
    """
    reach = held.reach
    if reach.generation > 1 or not reach.size:
        return {}
    last_ms = int(reach.last_id.partition("-")[0] or 0)
    return claimed_heads(receipts_in(held), keysets, until_ms=last_ms - CLOCKS_MS)


def beginning_of(held: Archive, keysets: Keysets) -> Beginning:
    """Return where the ledger of an archive begins.

    Raises:
        RecordError: It is a later generation, and its first entry does not begin one by these keysets.
    """
    if held.reach.generation == 1 or not held.reach.size:
        return Beginning(carry=Carry(generation=held.reach.generation))
    first = next(held.entries())[0]
    found = read(first.envelope, keysets)
    if found is None or not found.fits(first):
        raise RecordError(
            f"{held.folder} is of generation {held.reach.generation}, and its first entry does not "
            "begin that by the keysets at hand"
        )
    return found


def checkpoint_of(held: Archive, keysets: Keysets, policy: Policy | None) -> list[Anchor]:
    """Return the end that the checkpoint in an archive remembers; none when there is no checkpoint.

    Raises:
        RecordError: It is not accepted, or is about another ledger: a fork.
    """
    raw = held.checkpoint()
    if raw is None:
        return []
    found = (policy or any_policy(raw, keysets)).look(raw)
    said = found.checkpoint
    if held.tree_at(said.size).root() != said.root:
        raise RecordError(f"the checkpoint in {held.folder} is about another ledger: a fork")
    who = f"{CHECKPOINT} of {said.size} entries by {', '.join(signers(found, keysets))}"
    if found.witnesses:
        who += f", cosigned by {', '.join(sorted(found.witnesses))},"
    return [Anchor(held.head_at(said.size), said.size, who)] if said.size else []


def any_policy(raw: bytes, keysets: Keysets) -> Policy:
    """Return the policy that takes the heartbeats of the keysets as keys of the log a checkpoint names.

    Raises:
        RecordError: It is no checkpoint.
    """
    origin = parse_text(parse(raw).text).origin
    keys = {raw_of(key.public) for keyset in _sets(keysets) for key in _heartbeats(keyset)}
    logs = [TrustedLog(VerifierKey(origin, KeyType.ED25519, key)) for key in sorted(keys)]
    return Policy(tuple(logs[:MAX_LINES]), (), (), NONE)


def signers(found: Judged, keysets: Keysets) -> list[str]:
    """Return who has signed a checkpoint as its log, by the names in the keysets."""
    names = {
        raw_of(key.public): key.principal
        for keyset in _sets(keysets)
        for key in keyset.keys.values()
    }
    return sorted({names.get(each.verifier.public, "?") for each in found.opened.logs})


def _sets(keysets: Keysets) -> list[Keyset]:
    return [keysets.by_version[version] for version in sorted(keysets.by_version)]


def _heartbeats(keyset: Keyset) -> list[TrustedKey]:
    return [key for key in keyset.keys.values() if key.holds(Role.HEARTBEAT)]


def files(held: Archive) -> None:
    """Read back what stands beside the log: keysets and receipts.

    Raises:
        ArchiveChangedError: One is not what was written.
    """
    for path in sorted((held.folder / "keysets").glob("*.json")):
        version, _, digest = path.stem.partition("-")
        raw = read_file(path)
        try:
            good = digest_of(raw) == digest and str(parse_payload(raw).version) == version
        except RecordError:
            good = False
        if not good:
            raise changed(path, "it is not the keyset that its name says")
    for path in sorted((held.folder / "receipts").glob("*.json")):
        read_receipts(path)
