"""The steps on the ledger: append, look for a record, read a page at a time, publish a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from golive_redis.errors import StoreError
from golive_redis.records.ledger import GENESIS, Entry, extend
from golive_redis.records.record import MAX_INT
from golive_redis.store import scripts
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.link import Link, Reply, StoreRefusedError, usable
from golive_redis.store.replies import Step, entries_of, or_none, parse_step, stream_ms, text

LOOK_BACK_MS = 600_000  # by so much clocks may differ when a record is looked for in the ledger
PAGE = 1_000  # entries in one answer
MAX_TOGETHER = 16
"""Entries that go in as one step: 128 KiB at most."""


class LedgerSteps:
    """What is done to the ledger, over the link of the store."""

    link: Link
    keys: Keyspace

    @usable("head")
    def head(self) -> str:
        """Return the ledger head."""
        return text(self.link.call("GET", self.keys.head)) or GENESIS

    def append(self, record: bytes, *, head: str, head_after: str) -> Step:
        """Append to the ledger, exactly once, if its head is still `head`."""
        names = (self.keys.head, self.keys.audit)
        return parse_step(scripts.run(self.link, "append", names, head, head_after, record))

    def append_all(self, records: Sequence[bytes], *, head: str) -> Step:
        """Append up to 16 records one after the other, all or none, if the head is still `head`.

        Raises:
            ValueError: There is none, or there are more.
        """
        if not 1 <= len(records) <= MAX_TOGETHER:
            raise ValueError(f"{len(records)} records cannot be appended at once")
        flat: list[str | bytes] = []
        after = head
        for record in records:
            after = extend(after, record)
            flat += [after, record]
        names = (self.keys.head, self.keys.audit)
        return parse_step(scripts.run(self.link, "append", names, head, *flat))

    @usable("recorded")
    def recorded(self, record: bytes, issued_at_ms: int, limit: int = MAX_INT) -> bool:
        """Tell whether a record is in the ledger.

        Args:
            record: The envelope.
            issued_at_ms: Unix ms at which it was issued. It is looked for in every entry since ten
                minutes before that, however many there are, and in the newest page anyway: the
                signer's clock may be wrong, and ids in the stream are the server's time.
            limit: How many entries are looked at, at most, in whole pages.

        Raises:
            StoreError: As the link's; or it was not found within the limit, and there are more.
        """
        end, looked, since_ms = b"+", 0, issued_at_ms
        while True:
            page = self.link.call("XREVRANGE", self.keys.audit, end, "-", "COUNT", PAGE)
            if any(item.get(b"r") == record for item in entries_of(page)):
                return True
            if len(page) < PAGE:
                return False
            if not looked:
                since_ms = min(issued_at_ms, stream_ms(page[0][0])) - LOOK_BACK_MS
            looked, oldest = looked + PAGE, page[-1][0]
            if stream_ms(oldest) < since_ms:
                return False
            if looked >= limit:
                raise StoreError(f"the ledger has more than {looked} entries since that record")
            end = b"(" + oldest

    @usable("entries")
    def entries(self, limit: int) -> list[Entry]:
        """Return the newest entries of the ledger, at most so many, oldest first."""
        found: list[Entry] = []
        end: bytes = b"+"
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            page = self.link.call("XREVRANGE", self.keys.audit, end, "-", "COUNT", size)
            found += _entries(page)
            if len(page) < size:
                break
            end = b"(" + page[-1][0]
        return found[::-1]

    @usable("ledger_from")
    def ledger_from(self, start: str = "-", end: str = "+") -> list[Entry]:
        """Return a page of the ledger, oldest first; an empty one is the end.

        Args:
            start: Where it begins: an id of the stream, one after `(` for what follows that entry, or
                Unix ms.
            end: The last that may be in it, likewise; Unix ms takes all of that millisecond.
        """
        return _entries(self.link.call("XRANGE", self.keys.audit, start, end, "COUNT", PAGE))

    def ledger(self, start: str = "-") -> Iterator[list[Entry]]:
        """Yield the ledger from there to its end, a page at a time; blocks no writer.

        Raises:
            StoreError: As the link's, while it is read.
        """
        while page := self.ledger_from(start):
            yield page
            start = f"({page[-1].id}"

    @usable("ledger_before")
    def ledger_before(self, end: str = "+") -> list[Entry]:
        """Return a page of the ledger, newest first; an empty one is the beginning.

        Args:
            end: Where it begins: an id of the stream, or one after `(` for what comes before that entry.
        """
        return _entries(self.link.call("XREVRANGE", self.keys.audit, end, "-", "COUNT", PAGE))

    @usable("fleet_id")
    def fleet_id(self) -> str:
        """Return whose store this is; "" when it does not say."""
        return text(self.link.call("GET", self.keys.fleet_id))

    @usable("ledger_first")
    def ledger_first(self, start: str = "-") -> Entry | None:
        """Return the first entry from there on, None for none; `start` as in `ledger_from`."""
        found = _entries(self.link.call("XRANGE", self.keys.audit, start, "+", "COUNT", 1))
        return found[0] if found else None

    @usable("ledger_last")
    def ledger_last(self) -> Entry | None:
        """Return the newest entry, or None when there is none."""
        found = _entries(self.link.call("XREVRANGE", self.keys.audit, "+", "-", "COUNT", 1))
        return found[0] if found else None

    # -- its beginning and its end, for the archivist ----------------------------------------------

    @usable("begins")
    def begins(self) -> bytes | None:
        """Return the note with which the ledger in Redis begins; None where there is none.

        It is a hint, which saves looking for the note: what it says is verified by who reads it. So a
        key of another type is none, too.
        """
        try:
            found = self.link.call("GET", self.keys.begins)
        except StoreRefusedError as error:
            if error.code != "WRONGTYPE":
                raise
            return None
        return found if isinstance(found, bytes) else None

    def set_begins(self, note: bytes) -> None:
        """Say with which note the ledger in Redis begins; its repeat writes the same."""
        self.link.call("SET", self.keys.begins, note)

    @usable("trim_ledger", wrote=True)
    def trim_ledger(self, first_id: str) -> int:
        """Remove what stands before that entry; its repeat removes nothing.

        The server answers nobody else meanwhile: 1,000 entries take some ms, 100,000 took 209 ms.

        Returns:
            How many entries were removed.
        """
        # Exactly (`=`): what stays has to begin where the note says.
        return int(self.link.call("XTRIM", self.keys.audit, "MINID", "=", first_id))

    def put_back(self, entries: Sequence[Entry], *, head: str) -> Step:
        """Append entries as they were once, with their ids, if the head is still the one that was read.

        Its repeat says HEAD: then it is looked at what is there.

        Args:
            entries: At most a page, in their order; they follow the last that is there.
            head: As it was read.

        Returns:
            OK, or HEAD with the head that is there.
        """
        names = (self.keys.head, self.keys.audit)
        flat = [part for item in entries for part in (item.id, item.envelope, item.head)]
        return parse_step(scripts.run(self.link, "putback", names, head, *flat))

    @usable("server_ms")
    def server_ms(self) -> int:
        """Return what the server's clock says, Unix ms."""
        seconds, micros = self.link.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    @usable("ledger_length")
    def ledger_length(self) -> int:
        """Return how many entries the ledger has in Redis."""
        return int(self.link.call("XLEN", self.keys.audit))

    # -- its checkpoint --------------------------------------------------------------------------

    @usable("checkpoint")
    def checkpoint(self) -> bytes:
        """Return the newest checkpoint, unverified: a signed note; b"" where none stands.

        What is no string was written by nobody of ours and counts as nothing: the next one replaces it.
        """
        try:
            return or_none(self.link.call("GET", self.keys.checkpoint)) or b""
        except StoreRefusedError as error:
            if error.code != "WRONGTYPE":
                raise
            return b""

    def replace_checkpoint(self, new: bytes, *, read: bytes) -> Step:
        """Put a checkpoint in the place of the one that was read, exactly once.

        Args:
            new: The signed note.
            read: As `checkpoint` has returned it.

        Returns:
            `OK`, `SAME` when it stands there already, or `CONFLICT` when another one does, which is then
            looked at first.
        """
        reply = scripts.run(self.link, "checkpoint", (self.keys.checkpoint,), read, new)
        return parse_step(reply)


def _entries(page: Reply) -> list[Entry]:
    ids = [text(item[0]) for item in page]
    return [
        Entry(
            fields.get(b"r", b""),
            text(fields.get(b"h")),
            name,
            tuple(sorted(text(other) for other in fields.keys() - {b"r", b"h"})),
        )
        for name, fields in zip(ids, entries_of(page), strict=True)
    ]
