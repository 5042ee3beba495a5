"""How many signed records a second one core verifies: directives, beats, and entries of the ledger.

The floor is the signature alone: `cryptography`'s Ed25519 over the same bytes, with a key at hand.

    python benchmarks/bench_verification.py [--json]
"""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

import lab

from golive_redis.records.envelope import decode, pae
from golive_redis.records.ledger import GENESIS, Entry, extend, first_break
from golive_redis.testing import Signers

ROUNDS = 31
RECORDS = 200  # different ones in each batch, so that nothing is remembered
LIMIT = 1.75  # performance.md says why

Batch = Callable[[], object]


def timed(batch: Batch) -> Callable[[], float]:
    """Return a measurement in us of CPU time per record."""

    def measure() -> float:
        started = thread_time()
        batch()
        return (thread_time() - started) / RECORDS * 1e6

    return measure


def signatures(signers: Signers, raws: list[bytes]) -> Batch:
    """Return the floor: the Ed25519 verifications that these records need, and nothing else."""
    work = []
    for raw in raws:
        envelope = decode(raw)
        message = pae(envelope.payload_type, envelope.payload)
        for keyid, signature in envelope.signatures:
            public = signers.keyset.keys[keyid].public
            work.append((public, signature, message))
    return lambda: [public.verify(signature, message) for public, signature, message in work]


def main() -> None:
    one, two = Signers(), Signers(approvals=2)
    trust, many = one.trust, two.trust
    state = one.state(one.grant())
    numbers = range(1, RECORDS + 1)
    grants = [two.grant(n) for n in numbers]
    revocations = [one.revocation(n) for n in numbers]
    beats = [one.beat(n, state=state) for n in numbers]
    entries, head = [], GENESIS
    for raw in revocations:
        head = extend(head, raw)
        entries.append(Entry(raw, head))

    def ledger() -> None:
        """What an audit does: the chain, and the signature of each entry."""
        assert first_break(entries) is None
        for entry in entries:
            trust.revocation(entry.envelope)

    cases: dict[str, tuple[Signers, list[bytes], Batch]] = {
        "grant, two signatures": (two, grants, lambda: [many.grant(raw) for raw in grants]),
        "revocation": (one, revocations, lambda: [trust.revocation(raw) for raw in revocations]),
        "beat": (one, beats, lambda: [trust.beat(raw) for raw in beats]),
        "ledger entry: its place and its signature": (one, revocations, ledger),
    }
    table, notes = [], []
    for what, (signers, raws, batch) in cases.items():
        pairs = lab.interleaved(timed(signatures(signers, raws)), timed(batch), ROUNDS)
        row = lab.compared(what, pairs, LIMIT, "us")
        table.append(row)
        notes.append(f"{what}: {1e6 / row.ours:,.0f} a second on one core")
    chain = lab.compared(
        "ledger entry: its place alone",
        lab.interleaved(
            timed(signatures(one, revocations)), timed(lambda: first_break(entries)), ROUNDS
        ),
        None,
        "us",
    )
    table.append(chain)
    notes.append(f"{chain.what}: {1e6 / chain.ours:,.0f} a second on one core")
    lab.report("verifying signed records (floor: their Ed25519 signatures alone)", table, notes)


if __name__ == "__main__":
    main()
