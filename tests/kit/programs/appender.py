"""Writes notes into the ledger, one after the other, and goes on where it was killed.

    kit.programs.appender:main CONFIG NAME COUNT

Which note is next stands in a file beside the configuration. It is written after the append: so the
first note of a process may be in the ledger already, and only that one is looked for.
"""

from __future__ import annotations

import sys
from pathlib import Path

from golive_redis import clock, config
from golive_redis.delivery.append import append, append_once
from golive_redis.errors import StoreError
from golive_redis.records.envelope import seal
from golive_redis.records.ledger import Note
from golive_redis.store.store import Store


def main() -> None:
    """Append what is left to do."""
    path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    loaded = config.load(path, environ={})
    trust, address = loaded.trust(), loaded.address()
    signer = loaded.signer("operator", trust.keyset)
    done = path.parent / f"{name}.done"
    next_one = int(done.read_text()) if done.exists() else 0
    issued_ms = path.parent / f"{name}.issued"  # the same note must be signed again, to the ms
    link = address.connect(timeout_ms=5_000, name=name)
    store = Store(link, address.keyspace)
    once = True
    while next_one < count:
        if not once or not issued_ms.exists():
            _replace(issued_ms, str(clock.wall_ms()))
        heading = trust.heading(signer.principal, int(issued_ms.read_text()))
        note = seal(
            Note(**heading, topic="worker-dead", text=f"{name} {next_one}", facts={}), signer
        )
        try:
            if once:
                append_once(store, note)
            else:
                append(store, note)
        except StoreError:  # others came first, too often
            once = True
            continue
        next_one, once = next_one + 1, False
        _replace(done, str(next_one))
    link.close()


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)
