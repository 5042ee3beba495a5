"""The spool: signed records that Redis would not take yet, kept on disk until it does.

They are sent by the operator's next command or by a heartbeat that shares the
`state_dir`. A record is on disk under the hash of its bytes, is sent under a lock, and is looked for
in the ledger before it is appended: exactly once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from golive_redis import clock
from golive_redis.delivery.append import append_once
from golive_redis.delivery.tombstone import put_back
from golive_redis.errors import RecordError, StoreError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import decode
from golive_redis.records.record import MAX_INT
from golive_redis.records.trust import Trust
from golive_redis.statefile import write_durably
from golive_redis.store.store import Store

MAX_FILES = 1_000


class Spool:
    """The spool of a state folder.

    Args:
        state_dir: The folder from the configuration.
    """

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir / "spool"

    def keep(self, record: bytes) -> Path:
        """Write a signed record to the spool, durably.

        Raises:
            OSError: It cannot be kept; the caller has to say so.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{hashlib.sha256(record).hexdigest()}.dsse.json"
        write_durably(path, record)
        return path

    def drop(self, record: bytes) -> None:
        """Take a record out of the spool that has found another way; never raises."""
        path = self.folder / f"{hashlib.sha256(record).hexdigest()}.dsse.json"
        try:
            path.unlink(missing_ok=True)
        except OSError:
            return  # sent once more later, and then found in the ledger

    def waiting(self) -> list[Path]:
        """Return the records that wait, oldest first; empty when there is no spool."""
        try:
            files = [p for p in self.folder.iterdir() if p.name.endswith(".dsse.json")]
            return sorted(files, key=lambda path: path.stat().st_mtime)[:MAX_FILES]
        except OSError:
            return []

    def send(
        self, store: Store, trust: Trust, say: Callable[[str], None], *, limit: int = MAX_INT
    ) -> int:
        """Send what waits: stops are re-asserted, then everything is appended to the ledger.

        Args:
            store: A connected store.
            trust: A revocation that does not verify is set aside, not sent.
            say: Told in a sentence what was sent or refused.
            limit: As for `append_once`: what needs a longer look waits for an operator's command.

        Returns:
            How many records were sent.
        """
        sent = 0
        with self._locked() as mine:
            ours = mine and not self._another_fleet(store, trust, say)
            for path in self.waiting() if ours else []:
                try:
                    what = self._send_one(path, store, trust, limit)
                except RecordError as error:
                    path.replace(path.with_suffix(".refused"))
                    say(f"{path.name}, kept on this host, is refused: {error.message}")
                    continue
                except StoreError as error:
                    say(f"what is kept on this host is not sent yet: {error.message}")
                    break
                except OSError as error:
                    say(f"{path.name}, kept on this host, stays there: {error.strerror}")
                    continue
                sent += 1
                say(f"sent now, kept on this host until then: {what}")
        return sent

    @staticmethod
    def _another_fleet(store: Store, trust: Trust, say: Callable[[str], None]) -> bool:
        """Tell whether what waits is not for that store (A12); a stop does not wait for a name."""
        try:
            another = trust.another_fleet(store.fleet_id())
        except StoreError:
            return False  # told by the first that is sent, where it still matters
        if another:
            say(f"what is kept on this host is not sent: {another}")
        return bool(another)

    def _send_one(self, path: Path, store: Store, trust: Trust, limit: int) -> str:
        record, what = path.read_bytes(), f"the ledger entry {path.name}"
        if decode(record).payload_type == Revocation.payload_type():
            item = trust.revocation(record)
            put_back(store, trust, item, reach_ms=item.record.reach_ms(clock.wall_ms()))
            what = (
                f"the stop of epoch {item.record.epoch} by {item.record.by} ({item.record.reason})"
            )
        append_once(store, record, limit=limit)
        path.unlink()
        return what

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        if not self.waiting():
            yield False
            return
        try:
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield False  # another user's folder, or a disk that is gone
            return
        try:
            yield _flocked(handle)
        finally:
            os.close(handle)


def _flocked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
