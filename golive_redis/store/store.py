"""The typed store: one method per atomic step. Verified directives and bytes in, frozen values out.

Every method raises the errors of `golive_redis.store.link.RedisLink`; `MaybeAppliedError` means
that the step may have happened, and that repeating it is safe: each step recognises its own repeat.
What only reads never raises it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from golive_redis.core.answer import Answer, Ask
from golive_redis.errors import StoreError
from golive_redis.records.directive import Grant, GrantKind, Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import digest, extend
from golive_redis.store import scripts
from golive_redis.store.keysets import KeysetSteps
from golive_redis.store.keyspace import MAX_RECEIPTS, PRESENCE_MS, RECEIPTS_MS, Keyspace
from golive_redis.store.ledgersteps import LedgerSteps
from golive_redis.store.link import StoreRefusedError, usable
from golive_redis.store.proposals import Proposals
from golive_redis.store.replies import (
    Caller,
    Server,
    Snapshot,
    Status,
    Step,
    Stop,
    pairs,
    parse_attend,
    parse_server,
    parse_snapshot,
    parse_step,
    parse_stop,
    text,
)
from golive_redis.store.rosters import Rosters

MAX_POD_READ = 10_000
POD_PAGE = 500  # pods that are asked at once

_HOW = {(False, False): "", (True, False): "1", (False, True): "card"}
"""How the `revoke` script is run, by whether it is a repeat, and whether a card is played."""
_SPARE = "spare"


def revoke_words(
    keys: Keyspace, item: Verified[Revocation], *, entry: bool = True, how: str = "card"
) -> tuple[tuple[str, ...], tuple[str | bytes, ...]]:
    """Return keys and arguments of the `revoke` script.

    Args:
        keys: Of the switch.
        item: The revocation.
        entry: Write the ledger entry.
        how: "" for a stop, `1` for its repeat, `card` for a stop card, `spare` in another fleet's store.
    """
    names = (keys.active, keys.beat, keys.revoked, keys.epoch, keys.last, keys.head, keys.audit)
    args = (
        str(item.record.epoch),
        item.raw,
        item.identity,
        keys.events,
        digest(item.raw) if entry else "",
        how,
    )
    return ((*names, keys.fleet_id), (*args, item.record.fleet)) if how == "card" else (names, args)


class Store(Rosters, LedgerSteps, Proposals, KeysetSteps):
    """The steps, over one link.

    What may go wrong with each that writes, and what a caller may do then:

    | step | atomic | its repeat | where writes are refused | called by |
    | --- | --- | --- | --- | --- |
    | `attend` | script | renews | refused, but not on OOM | guards, heartbeats |
    | `beat` | script | renews | refused, but not on OOM | heartbeats |
    | `grant` | script, compare-and-set | says SAME | refused: no audit, no loosening | operators |
    | `restrict` | script, compare-and-set | says SAME | refused, but not on OOM | revokers |
    | `revoke` | script | says SAME | refused, but not on OOM | revokers, heartbeats |
    | `publish` | one command | reaches them twice | works | all who sign |
    | `delete_active` | one command | finds nothing | refused, but not on OOM | stops |
    | `append` | script, compare-and-set | says SAME or HEAD | refused, but not on OOM | all but guards |
    | `replace_checkpoint` | script, compare-and-set | says SAME or CONFLICT | refused | heartbeats |
    | `append_all` | as `append` | as `append` | as `append` | heartbeats |
    | `publish_keyset` | script, compare-and-set | says SAME | refused, but not on OOM | operators |
    | `deliver` | three commands | reaches twice, writes the same | published is enough | outboxes |
    | `confirm` | two commands | writes the same | refused | stops |
    | `strike`, `leave` | one command, two | finds nothing | refused, but not on OOM | operators |
    | `keep_goodbye` | two commands | writes the same | refused; published is enough | guards |
    """

    # -- workers and heartbeats ------------------------------------------------------------------

    def attend(
        self, ask: Ask, caller: Caller, fields: Mapping[str, str | bytes]
    ) -> tuple[Status, Answer, str]:
        """Register presence and read the state, in one script.

        Args:
            ask: The question; its nonce comes back in the answer.
            caller: Who asks.
            fields: Presence fields to write; empty only renews what is there.

        Returns:
            `REGISTER` when presence or roster entry is gone (ask again with all fields), else `OK`;
            the answer; and for a heartbeat the ledger head, else "".

        Raises:
            StoreError: Also for a reply of another shape. Fails closed: no answer.
        """
        keys = self.keys
        if caller.role == "worker":
            names = (keys.worker(caller.name, caller.instance), keys.fleet)
        else:
            names = (keys.heartbeat(caller.name, caller.instance), keys.heartbeats)
        flat = [item for pair in fields.items() for item in pair]
        reply = scripts.run(
            self.link,
            "attend",
            names,
            keys.namespace,
            ask.nonce,
            ask.known_last,
            ask.known_revoked,
            caller.member,
            PRESENCE_MS,
            caller.role,
            caller.instance,
            *flat,
        )
        with usable("attend"):
            return parse_attend(reply)

    def beat(self, name: str, record: bytes, *, term: int, ttl_ms: int) -> Step:
        """Record a beat; renews the key's TTL, never creates the key."""
        reply = scripts.run(
            self.link,
            "beat",
            (self.keys.beat, self.keys.active),
            self.keys.namespace,
            name,
            record,
            term,
            ttl_ms,
        )
        return parse_step(reply)

    @usable("publish", wrote=True)
    def publish(self, channel: str, raw: bytes) -> int:
        """Publish; works when writes are refused. Returns how many subscribers it reached."""
        return int(self.link.call("PUBLISH", channel, raw))

    def deliver(self, directive: str, field: str, raw: bytes) -> tuple[bool, str]:
        """Publish a receipt and keep it beside its directive, in one go; either suffices.

        What is kept goes `RECEIPTS_MS` after the last of them: by then people have read it, or never do.

        Returns:
            Whether it is kept, and which of the two was refused, in words; "" when neither was.

        Raises:
            StoreError: Both were refused, or no answer came.
        """
        key = self.keys.receipt(directive)
        published, kept, _ = self.link.pipeline(
            [
                ("PUBLISH", self.keys.receipts, raw),
                ("HSET", key, field, raw),
                ("PEXPIRE", key, RECEIPTS_MS),
            ]
        )
        if isinstance(kept, StoreError):
            if isinstance(published, StoreError):
                raise kept
            return False, f"published, and not stored: {kept}"
        if isinstance(published, StoreError):
            return True, f"stored, and not published: {published}"
        return True, ""

    def ping(self) -> None:
        """Ask for a sign of life: a connection that waits for work shows its loss by nothing else."""
        self.link.call("PING")

    @usable("receipts")
    def receipts(self, directive: str) -> tuple[list[bytes], bool]:
        """Return the stored receipts for a directive, and whether that is all of them.

        Of more than `MAX_RECEIPTS` none is read: somebody plants them, and what pods publish counts.
        Nor is a key of another type, which somebody has put in their place.
        """
        key = self.keys.receipt(directive)
        try:
            if int(self.link.call("HLEN", key)) > MAX_RECEIPTS:
                return [], False
            return list(pairs(self.link.call("HGETALL", key)).values()), True
        except StoreRefusedError as error:
            if error.code != "WRONGTYPE":
                raise
            return [], False

    @usable("receipts_kept")
    def receipts_kept(self, directive: str) -> int:
        """Return how many receipts for a directive are stored: none under a key of another type."""
        try:
            return int(self.link.call("HLEN", self.keys.receipt(directive)))
        except StoreRefusedError as error:
            if error.code != "WRONGTYPE":
                raise
            return 0

    # -- directives ------------------------------------------------------------------------------

    def grant(
        self,
        item: Verified[Grant],
        *,
        ttl_ms: int,
        head: str,
        origin: str = "",
        keeps: Sequence[str] = (),
        execution: bytes = b"",
    ) -> Step:
        """Put a grant in force, together with its ledger entry, or refuse both.

        Args:
            item: The grant.
            ttl_ms: How long the key lives without a beat.
            head: Ledger head as last read.
            origin: Run id of the primary, for an activation.
            keeps: Fields of the restrictions that stay; all others go.
            execution: The word that it takes effect now, which is entered before it; empty for none.
        """
        begun = extend(head, execution) if execution else head
        keys, record = self.keys, item.record
        names = (keys.active, keys.beat, keys.revoked, keys.epoch, keys.last, keys.head, keys.audit)
        reply = scripts.run(
            self.link,
            "grant",
            (*names, keys.fleet_id, keys.keyset),
            "activate" if record.kind is GrantKind.ACTIVATE else "change",
            record.term,
            record.epoch,
            item.raw,
            item.identity,
            record.prev or "",
            ttl_ms,
            origin,
            head,
            extend(begun, item.raw),
            keys.events,
            record.fleet,
            execution,
            begun,
            record.keyset_version + 1,
            *keeps,
        )
        return parse_step(reply)

    def restrict(self, item: Verified[Restriction], *, again: bool = False) -> Step:
        """Put a restriction in force; its ledger entry comes last and cannot hold it up.

        Args:
            item: The restriction.
            again: Re-assert one that the store lost: whatever came last, and without a ledger entry.
        """
        keys, record = self.keys, item.record
        reply = scripts.run(
            self.link,
            "restrict",
            (keys.active, keys.epoch, keys.last, keys.head, keys.audit),
            record.term,
            record.epoch,
            item.raw,
            item.identity,
            record.prev or "",
            keys.events,
            digest(item.raw),
            "1" if again else "",
        )
        return parse_step(reply)

    def revoke(
        self,
        item: Verified[Revocation],
        *,
        entry: bool = True,
        again: bool = False,
        spare: bool = False,
    ) -> Stop:
        """End the term: key, tombstone, push, and the ledger entry last. Sent as full text.

        Args:
            item: The revocation.
            entry: Write the ledger entry, if this puts up the tombstone. False for one that was
                executed before: it may have an entry already, which the caller has to look for.
            again: A repeat: a later term is left alone, and no ledger entry is written.
            spare: The store is another fleet's: what is active ends all the same, but its ledger, its
                numbers, and a tombstone under which nothing is active are left to it (A12).
        """
        played = item.record.is_card and entry and not again
        how = _SPARE if spare and not played else _HOW[again, played]
        names, args = revoke_words(self.keys, item, entry=entry, how=how)
        # The kill path depends on no script cache: the full text, whatever the server has forgotten.
        reply = scripts.run_text(self.link, "revoke", names, *args)
        with usable("revoke", wrote=True):
            return parse_stop(reply)

    @usable("delete_active", wrote=True)
    def delete_active(self) -> int:
        """Delete the key without any record: the last resort, and it works without a signing key."""
        return int(self.link.call("DEL", self.keys.active))

    def drop_tombstone(self) -> None:
        """Delete a tombstone that does not verify; nothing but a new one may come of it."""
        self.link.call("DEL", self.keys.revoked)

    # -- reading ---------------------------------------------------------------------------------

    @usable("snapshot")
    def snapshot(self) -> Snapshot:
        """Read everything about the switch; keys of a wrong type are named, not fatal."""
        keys = self.keys
        commands = [
            ("HGETALL", keys.active),
            ("PTTL", keys.active),
            ("HGETALL", keys.beat),
            ("HGETALL", keys.revoked),
            ("GET", keys.epoch),
            ("GET", keys.last),
            ("GET", keys.head),
            ("GET", keys.fleet_id),
        ]
        return parse_snapshot([str(name) for _, name in commands], self.link.pipeline(commands))

    @usable("taking_away")
    def taking_away(self) -> list[bytes]:
        """Return what takes permission away now, unverified: the restrictions and the tombstone.

        Of a key of another type than ours nothing: pods name it, and `golive revoke` mends it.
        """
        active, stone = self.link.pipeline(
            [("HGETALL", self.keys.active), ("HGET", self.keys.revoked, "record")]
        )
        for reply in (active, stone):
            if isinstance(reply, StoreRefusedError) and reply.code != "WRONGTYPE":
                raise reply
        fields = pairs(active) if isinstance(active, list) else {}
        found = [raw for name, raw in fields.items() if name.startswith("r:")]
        return [*found, stone] if isinstance(stone, bytes) else found

    @usable("told_directives")
    def told_directives(self, in_time: Callable[[], bool] = lambda: True) -> list[bytes]:
        """Return the newest directive that each pod on a roster says it has verified.

        Args:
            in_time: Asked before each page of pods; what it leaves no time for is left out.
        """
        told: list[bytes] = []
        for names in self._pods(in_time):
            if not in_time():
                break
            replies = self.link.pipeline([("HGET", name, "directive") for name in names])
            told += [raw for raw in replies if isinstance(raw, bytes) and raw]
        return told

    def _pods(self, in_time: Callable[[], bool]) -> Iterator[list[str]]:
        """Yield the presence keys of the pods on both rosters, a page at a time.

        Heartbeats first: they are few, and nobody verifies more than they do.
        """
        if not in_time():
            return
        roster = pairs(self.link.call("HGETALL", self.keys.heartbeats))
        found = [self.keys.heartbeat(name, text(raw)) for name, raw in roster.items()]
        for start in range(0, min(len(found), MAX_POD_READ), POD_PAGE):
            yield found[start : start + POD_PAGE]
        for start in range(0, MAX_POD_READ, POD_PAGE):
            if not in_time():
                return
            page = self.fleet_page(start, start + POD_PAGE - 1)
            pods = [text(member).rpartition(":")[::2] for member in page]
            if not pods:
                return
            yield [self.keys.worker(*pod) for pod in pods]

    def confirm(self, directive: str, note: bytes) -> bool:
        """Put the signed word that a stop is complete beside its tombstone, if that still stands."""
        if self.link.call("HGET", self.keys.revoked, "id") != directive.encode():
            return False
        self.link.call("HSET", self.keys.revoked, "confirmed", note)
        return True

    @usable("server")
    def server(self) -> Server:
        """Return who answers, and how many replicas it has."""
        return parse_server(self.link.call("INFO", "server", "replication"))

    @usable("replicated")
    def replicated(self, replicas: int, within_ms: int) -> int:
        """Return how many replicas acknowledged everything this link wrote, within that time."""
        return int(self.link.call("WAIT", replicas, within_ms))
