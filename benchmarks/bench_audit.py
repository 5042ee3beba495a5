"""What it costs to judge a ledger: entries a second on one core, memory, and what came since.

The floor of the first rows is the signatures alone: `cryptography`'s Ed25519 over the bytes of the same
ledger, with the keys at hand. That of two processes is one: on a machine whose cores are taken by others
the row says nothing. Memory is of a process that reads a real server; its floor is one that has
judged 1,000 entries, and what a million would take follows from two sizes.

    python benchmarks/bench_audit.py [--json] [--sizes 30000,90000]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time

import lab
import msgspec

from golive_redis.audit.export import Form, write
from golive_redis.audit.memory import LedgerMemory
from golive_redis.audit.opening import Keysets
from golive_redis.audit.stream import Stream
from golive_redis.audit.verifying import Judge, judged
from golive_redis.records.envelope import decode, pae, seal
from golive_redis.records.ledger import GENESIS, Entry, Note, extend
from golive_redis.records.report import Finding, Outcome, Report
from golive_redis.store.connect import Address
from golive_redis.store.ledgersteps import PAGE
from golive_redis.store.store import Store
from golive_redis.testing import Signers, identity
from golive_redis.testing.server import EmbeddedServer
from golive_redis.testing.signers import START_MS

ROUNDS = 21
TERMS = 20  # of each ledger whose time is taken: 260 entries
LIMIT = 1.6  # performance.md says why
OWN = 0.35  # of the time of the signatures
TWO_JOBS = 1 / 1.6  # of the time of one, where two cores are free
SHARED = 20_000  # entries that two processes share, beside which their start is small
MEMORY_MIB = 150.0  # of a million entries
NEW_S = 2.0
NEW = 1_000
SIZES = "30000,90000"
MILLION = 1_000_000
EVERY_MS = 1_000
POLICY = "0" * 64
SIGNERS = Signers(approvals=2)
KEYSETS = Keysets.of([SIGNERS.keyset], "golive", "test")
NAMESPACE = "golive"


def records() -> Iterator[tuple[int, bytes]]:
    """Yield what a fleet writes, and when: of 13 entries eight are notes, two restrict, one stops."""
    times = count(START_MS, EVERY_MS)
    stop: bytes | None = None
    for term in count(1, 4):
        report = passed(at_ms := next(times))
        yield at_ms, report
        prev = identity(stop) if stop else None
        at_ms = next(times)
        grant = SIGNERS.grant(
            term, term=term, report=identity(report), policy=POLICY, prev=prev, issued_at_ms=at_ms,
            not_before_ms=at_ms, not_after_ms=at_ms + 3_600_000,
        )  # fmt: skip
        yield at_ms, grant
        prev = identity(grant)
        for epoch in (term + 1, term + 2):
            yield from ((at_ms, note(at_ms)) for at_ms in islice(times, 3))
            at_ms = next(times)
            halt = SIGNERS.restriction(epoch, term=term, prev=prev, issued_at_ms=at_ms)
            yield at_ms, halt
            prev = identity(halt)
        yield from ((at_ms, note(at_ms)) for at_ms in islice(times, 2))
        at_ms = next(times)
        stop = SIGNERS.revocation(term + 3, issued_at_ms=at_ms)
        yield at_ms, stop


def passed(at_ms: int) -> bytes:
    """Return the report of a preflight."""
    heading = SIGNERS.trust.heading("alice", at_ms)
    finding = Finding(check="redis", outcome=Outcome.PASS, explain="as seen")
    report = Report(**heading, policy=POLICY, findings=[finding])
    return seal(report, SIGNERS.signers["alice"])


def note(at_ms: int) -> bytes:
    """Return what a heartbeat tells."""
    heading = SIGNERS.trust.heading("hb-1", at_ms)
    told = Note(**heading, topic="goodbye", text="as told", facts={"term": "7"})
    return seal(told, SIGNERS.signers["hb-1"])


def entries() -> Iterator[Entry]:
    """Yield a ledger without end."""
    head = GENESIS
    for at_ms, raw in records():
        head = extend(head, raw)
        yield Entry(raw, head, f"{at_ms + 5}-0")


def signatures(ledger: list[Entry]) -> Callable[[], float]:
    """Return the floor, in us of CPU time per entry."""
    work = []
    for entry in ledger:
        envelope = decode(entry.envelope)
        message = pae(envelope.payload_type, envelope.payload)
        for keyid, signature in envelope.signatures:
            work.append((SIGNERS.keyset.keys[keyid].public, signature, message))

    def measure() -> float:
        started = thread_time()
        for public, signature, message in work:
            public.verify(signature, message)
        return (thread_time() - started) / len(ledger) * 1e6

    return measure


class Silent:
    """A key that takes every signature: what is left is our own code."""

    def verify(self, signature: bytes, message: bytes) -> None:
        """Take it."""


def silent() -> Keysets:
    """Return the keysets with such keys."""
    keyset = SIGNERS.keyset
    keys = {
        keyid: msgspec.structs.replace(key, public=Silent()) for keyid, key in keyset.keys.items()
    }
    return Keysets.of([msgspec.structs.replace(keyset, keys=keys)], "golive", "test")


def sharing(ledger: list[Entry], jobs: int) -> float:
    """Return how long a ledger takes so many processes, in s."""
    pages = [ledger[at : at + PAGE] for at in range(0, len(ledger), PAGE)]
    started = perf_counter()
    verdict = judged(Judge(KEYSETS), pages, KEYSETS, jobs)
    assert verdict.broken is None, verdict.broken
    return perf_counter() - started


def judging(ledger: list[Entry], keysets: Keysets = KEYSETS) -> Callable[[], float]:
    """Return ours: the whole verdict."""

    def measure() -> float:
        started = thread_time()
        verdict = judged(Judge(keysets), [ledger], keysets)
        took = thread_time() - started
        assert verdict.broken is None, verdict.broken
        return took / len(ledger) * 1e6

    return measure


def child(role: str, url: str, folder: str) -> None:
    """Do one thing in this process, and print what it took: MiB at most, and seconds."""
    address = Address(url)
    link = address.connect(timeout_ms=10_000, name="golive-bench")
    store = Store(link, address.keyspace)
    stream = Stream(store, KEYSETS, LedgerMemory(Path(folder), SIGNERS.trust))
    started = perf_counter()
    if role == "export":
        done, _ = write(Path(folder, f"{os.getpid()}.jsonl"), Form.JSONL, store.ledger(), KEYSETS)
    else:
        verdict = stream.what_is_new() if role == "new" else stream.whole_ledger()
        assert verdict.broken is None, verdict.broken
        done = verdict.entries - verdict.first
    took = perf_counter() - started
    link.close()
    print(json.dumps({"mib": most_mib(), "s": took, "entries": done}))


def most_mib() -> float:
    """Return the most memory that this process has had. getrusage would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def in_child(role: str, url: str, folder: str) -> dict[str, float]:
    """Run a role in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", role, url, folder],
        env=lab.environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def grow(server: EmbeddedServer, ledger: Iterator[Entry], thousands: int) -> None:
    """Write so many thousand further entries into the server."""
    with server.client() as client:
        for _ in range(thousands):
            pipe = client.pipeline(transaction=False)
            last = GENESIS
            for entry in islice(ledger, 1_000):
                pipe.xadd(f"{NAMESPACE}:audit", {"r": entry.envelope, "h": entry.head}, id=entry.id)
                last = entry.head
            pipe.set(f"{NAMESPACE}:head", last)
            pipe.execute()


def memory(sizes: list[int]) -> list[lab.Row]:
    """Return the rows of processes that read a real server."""
    found: dict[str, list[float]] = {"verify": [], "export": []}
    floor: dict[str, float] = {}
    ledger = entries()
    with EmbeddedServer() as server, TemporaryDirectory(prefix="golive-bench-") as folder:
        have = 0
        for size in (1_000, *sizes):
            grow(server, ledger, (size - have) // 1_000)
            have = size
            for role, mib in found.items():
                most = in_child(role, server.url, folder)["mib"]
                if size == 1_000:
                    floor[role] = most
                else:
                    mib.append(most)
            for file in Path(folder).glob("*.jsonl"):
                file.unlink()
        grow(server, ledger, NEW // 1_000)
        new = in_child("new", server.url, folder)
    assert new["entries"] == NEW
    rows = []
    small, large = sizes
    for role, (first, second) in found.items():
        whole = second + (second - first) / (large - small) * (MILLION - large)
        rows.append(
            row(f"{role}, a million entries (from {large:,})", floor[role], whole, MEMORY_MIB)
        )
    floor_s = (
        signatures([entry for entry, _ in zip(entries(), range(NEW), strict=False)])() * NEW / 1e6
    )
    rows.append(row(f"verify --new, {NEW:,} entries", floor_s, new["s"], NEW_S, "s"))
    return rows


def row(what: str, floor: float, ours: float, limit: float, unit: str = "MiB") -> lab.Row:
    """Make a row whose limit is about our own figure."""
    return lab.Row(what, unit, floor, ours, ours / floor, limit, 0.0, "ours")


def main() -> None:
    ledger = list(islice(entries(), 13 * TERMS))
    pairs = lab.interleaved(signatures(ledger), judging(ledger), ROUNDS)
    whole = lab.compared("an entry judged", pairs, LIMIT, "us")
    own = lab.interleaved(signatures(ledger), judging(ledger, silent()), ROUNDS)
    rows = [whole, lab.compared("of that, all but the signatures", own, OWN, "us")]
    notes = [f"{1e6 / whole.ours:,.0f} entries a second on one core"]
    long = list(islice(entries(), SHARED))
    shared = [(sharing(long, 1), sharing(long, 2)) for _ in range(3)]
    rows.append(lab.compared(f"{SHARED:,} entries by two processes", shared, TWO_JOBS, "s"))
    sizes = [int(size) for size in (lab.option("--sizes") or SIZES).split(",")]
    more = lab.tried(notes, "memory and what is new", lambda: memory(sizes))
    lab.report("judging a ledger (floor: its signatures alone)", [*rows, *(more or [])], notes)


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(*sys.argv[2:])
    else:
        main()
