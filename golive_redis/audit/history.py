"""The rules of the ledger, from its first entry to its last: the one place where they are judged.

Pure: entries go in one after the other, in the order of the ledger, and the first that breaks a rule is
named. What is kept between two entries is small and does not grow with the ledger, but for eight bytes
an entry (V5), so that a ledger of any length can be judged, and gone on with later.

| rule | an entry |
| --- | --- |
| V1 | has exactly the fields `r` and `h` |
| V2 | has the head that follows from the one before it; its id is higher |
| V3 | is signed as its kind demands, under the keyset whose version it names, to which a step leads |
| V4 | is of a kind, or a note on a topic, that its signer may write |
| V5 | is there once |
| V6 | names as the directive before it one that is in the ledger |
| V7 | has a higher epoch than all before it, or came late and takes something away |
| V8 | grants nothing at or under the epoch of a revocation, and within a term changes the running one |
| V9 | rests, when it activates or promotes, on a passed report before it, of the same policy |
| V10 | that several have to sign has their answers and an execution before it, once the ledger has one |
| V11 | keeps, when it activates, cool-down and daily limit, and is signed by risk after a stop by risk |
| V12 | is there for each head that a receipt has seen |
| V13 | is there for each directive that is in force in Redis |
| V14 | is still there when somebody has seen it there |
"""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from collections.abc import Mapping

from golive_redis.audit.haste import Hasty, Starts
from golive_redis.audit.opening import Keysets, Opened, opened
from golive_redis.core.timing import Haste
from golive_redis.errors import RecordError
from golive_redis.records.approval import Answer, Execution, Said
from golive_redis.records.directive import Grant, GrantKind, Restriction, Revocation
from golive_redis.records.ledger import GENERATION, GENESIS, Entry, Note, extend
from golive_redis.records.record import MAX_INT, Count, Epoch, Ms, Record, Strict, decodable
from golive_redis.records.report import Report
from golive_redis.records.rotation import Rotation

CLOCKS_MS = 600_000
"""By so much the clock of a signer may differ from the server's."""

LATE_MS = 1_000
"""A restriction that was overtaken by a later directive was entered at least so long after its issue."""

KEPT = 256  # directives and reports that later entries may name
WINDOW_MS = 2 * CLOCKS_MS
PRUNE_EACH = 1_024
_FRESH_ON_A_REPORT = {GrantKind.ACTIVATE, GrantKind.PROMOTE}

_CONSENT = {Said.PROPOSE, Said.APPROVE}
NO_POLICIES: Mapping[str, Haste] = {}

Directive = Grant | Restriction | Revocation


class BrokenLedgerError(RecordError):
    """An entry breaks a rule; all before it are good.

    Attributes:
        index: Of the entry, counted from 0 at the beginning of the ledger.
        rule: Of the table above, e.g. `V2`.
        why: The rest of the sentence that begins with the entry.
    """

    reason = "ledger-broken"

    def __init__(self, index: int, rule: str, why: str, *, hint: str = "") -> None:
        super().__init__(f"entry {index} {why} ({rule})", hint=hint)
        self.index = index
        self.rule = rule
        self.why = why


@decodable
class Carry(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is known after some entries, to go on from there; what was seen (V5) is kept beside it.

    Attributes:
        generation: Of the ledger, from 1; a higher one has indices of its own.
        first: The index of the first entry of which it is known that it was there (V5).
        count: How many entries there were, with those before the first.
        head: After the last of them.
        last_id: Of that entry in the stream, "" when there was none.
        epoch: The highest of a directive.
        revoked: The highest of a revocation.
        term: The one that began last.
        keyset: The highest version under which a grant was signed, or to which a step has led.
        step: The number to which the last step has led; 0 before the first.
        late: How many came late.
        unjudged: The first that was not judged under the keyset that it names, and the version of that;
            None when all were.
        directives: Identities of the last ones.
        reports: Identity and policy of the last that passed.
        missing: Identities that directives name and that have not come, with the entry that names it.
        answers: Identity, proposal and issuer of the last consents.
        executions: By directive, issuer and answers of the last ones.
        ahead: Of those that were entered long before they were issued, by their signers' clocks: eight
            bytes in hex, and when they were issued.
        window: At which of those seen the last 20 minutes begin.
        hasty: Of stops and starts (V11).
    """

    generation: Count = 1
    first: Count = 0
    count: Count = 0
    head: str = GENESIS
    last_id: str = ""
    epoch: Count = 0
    revoked: Count = 0
    term: Count = 0
    keyset: Count = 0
    step: Count = 0
    late: Count = 0
    unjudged: tuple[int, Epoch] | None = None
    directives: list[str] = []
    reports: list[tuple[str, str]] = []
    missing: dict[str, int] = {}
    answers: list[tuple[str, str, str]] = []
    executions: dict[str, tuple[str, list[str]]] = {}
    ahead: dict[str, Ms] = {}
    window: Count = 0
    hasty: Hasty = Hasty()


class History:
    """Judges a ledger entry by entry.

    Args:
        keysets: Those at hand; for grants that were signed under an older one than a grant before.
        carry: Where to go on; from the first entry by default.
        seen: What belongs to it.
        policies: What is allowed by which policy, by digest (V11).
    """

    def __init__(
        self,
        keysets: Keysets,
        carry: Carry | None = None,
        seen: bytes = b"",
        policies: Mapping[str, Haste] = NO_POLICIES,
    ) -> None:
        state = carry or Carry()
        self._keysets = keysets
        self.generation = state.generation
        self._first = state.first
        self.count = state.count
        self.head = state.head
        self.last_id = state.last_id
        self.late = state.late
        self.unjudged = state.unjudged
        self._epoch = state.epoch
        self._revoked = state.revoked
        self.term = state.term
        self._keyset = state.keyset
        self._step = state.step
        self._directives = deque(state.directives, KEPT)
        self._reports = deque(state.reports, KEPT)
        self._missing = dict(state.missing)
        self._answers = deque(state.answers, KEPT)
        self._executions = dict(state.executions)
        self._seen = Seen(seen, state.window, _id_ms(state.last_id), state.ahead)
        self._starts = Starts(keysets, policies, state.hasty)

    def carry(self) -> tuple[Carry, bytes]:
        """Return what is known now, and what was seen."""
        seen, window = self._seen.kept()
        state = Carry(
            generation=self.generation,
            first=self._first,
            count=self.count,
            head=self.head,
            last_id=self.last_id,
            epoch=self._epoch,
            revoked=self._revoked,
            term=self.term,
            keyset=self._keyset,
            step=self._step,
            late=self.late,
            unjudged=self.unjudged,
            directives=list(self._directives),
            reports=list(self._reports),
            missing=dict(self._missing),
            answers=list(self._answers),
            executions=dict(self._executions),
            ahead=self._seen.ahead(),
            window=window,
            hasty=self._starts.known(),
        )
        return state, seen

    def take(self, entry: Entry, found: Opened | str) -> bool:
        """Judge the next entry.

        Args:
            entry: As stored.
            found: What it says, or why it is refused.

        Returns:
            Whether it came late.

        Raises:
            BrokenLedgerError: It breaks a rule; nothing after it can be judged.
        """
        self._chain(entry)
        if isinstance(found, str):
            raise self._broken("V3", f"is refused: {found}")
        self._once(entry, found)
        if (not found.judged or found.borrowed) and self.unjudged is None:
            self.unjudged = self.count, found.record.keyset_version
        if found.lacks and self.unjudged is None:
            self.unjudged = self.count, found.lacks
        record = found.record
        late = False
        self._begins(record)
        self._in_succession(record)
        if isinstance(record, Grant | Restriction | Revocation):
            late = self._directive(entry, found, record)
        else:
            self._ahead_of_a_grant(found)
        self.count += 1
        self.late += late
        return late

    def end(self) -> None:
        """Judge that nothing is missing that a directive names.

        Raises:
            BrokenLedgerError: With the first entry that names what is not there (V6).
        """
        if self._missing:
            identity, index = min(self._missing.items(), key=lambda item: item[1])
            raise BrokenLedgerError(
                index, "V6", f"names a directive before it that is not here ({identity[:8]}...)"
            )

    @property
    def doubtful(self) -> int:
        """From which entry on it is not known that all is good: one that was not judged, or a gap."""
        unjudged = self.count if self.unjudged is None else self.unjudged[0]
        return min([self.count, unjudged, *self._missing.values()])

    def _ahead_of_a_grant(self, found: Opened) -> None:
        """Keep what a later grant may rest on."""
        match found.record:
            case Report() as report if report.passed:
                self._reports.append((found.identity, report.policy))
            case Answer() as answer if answer.answer in _CONSENT:
                self._answers.append((found.identity, answer.proposal, answer.by))
            case Execution() as execution:
                while len(self._executions) >= KEPT:
                    del self._executions[next(iter(self._executions))]
                self._executions[execution.directive] = execution.by, list(execution.answers)
                self._starts.executed(execution.directive, execution.by, execution.issued_at_ms)
            case _:
                pass

    # -- the rules ---------------------------------------------------------------------------------

    def _chain(self, entry: Entry) -> None:
        if entry.others or not entry.envelope or not entry.head:
            other = ", ".join(entry.others) or "neither"
            raise self._broken("V1", f"has other fields than r and h: {other[:80]}")
        head = extend(self.head, entry.envelope)
        if head != entry.head and not self.count:
            raise self._broken("V2", "does not begin a ledger: what stood before it is not here")
        if head != entry.head:
            raise self._broken("V2", "does not follow the entry before it")
        if _place(entry.id) <= _place(self.last_id) and self.last_id:
            raise self._broken("V2", "has an id that is not higher than the one before it")
        if entry.at_ms > MAX_INT:  # no clock says so, and no memory could hold it
            raise self._broken("V2", "has an id that is no time")
        self.head, self.last_id = head, entry.id

    def _begins(self, record: Record) -> None:
        """A note that begins the ledger anew is the first of its generation, and no other entry is."""
        anew = isinstance(record, Note) and record.topic == GENERATION
        if anew and (self.count or self.generation == 1):
            raise self._broken(
                "V2", "begins the ledger anew, and stands within one that was not begun there"
            )
        if self.generation > 1 and not self.count and not anew:
            raise self._broken("V2", f"is none that begins generation {self.generation}")

    def _once(self, entry: Entry, found: Opened) -> None:
        if self._seen.add(found.identity, entry.at_ms, found.record.issued_at_ms):
            raise self._broken("V5", f"was there before: {found.identity[:8]}...")

    def _directive(self, entry: Entry, found: Opened, record: Directive) -> bool:
        self._follows(found.identity, record)
        late = record.epoch <= self._epoch
        match record:
            case Grant():
                self._grant(entry, found, record)
            case Restriction() if late and entry.at_ms - record.issued_at_ms < LATE_MS:
                raise self._broken(
                    "V7",
                    f"(restriction {record.epoch}) stands after directive {self._epoch}, and was "
                    "entered when it was issued: it was moved",
                )
            case Revocation():
                self._revoked = max(self._revoked, record.epoch)
                self._starts.stopped(entry, found, record)
            case _:
                pass
        self._epoch = max(self._epoch, record.epoch)
        return late

    def _in_succession(self, record: Record) -> None:
        """Hold an entry against the steps before it: none is skipped, and none taken back (V3)."""
        if isinstance(record, Rotation):
            last = self._step or self._keyset
            if record.number <= last:
                raise self._broken(
                    "V3", f"leads to keyset {record.number}, and keyset {last} was in use before it"
                )
            if self._step and record.number != self._step + 1:
                raise self._broken(
                    "V3",
                    f"leads to keyset {record.number}, and the step to keyset {self._step + 1} "
                    "is not here",
                )
            self._step = record.number
            self._keyset = max(self._keyset, record.number)
        elif self._step and record.keyset_version > self._step:
            raise self._broken(
                "V3",
                f"names keyset {record.keyset_version}, and the step to keyset {self._step + 1} "
                "is not here",
            )

    def _follows(self, identity: str, record: Directive) -> None:
        self._missing.pop(identity, None)
        prev = None if isinstance(record, Revocation) else record.prev
        if prev is not None and prev not in self._directives:
            self._missing.setdefault(prev, self.count)
        self._directives.append(identity)

    def _grant(self, entry: Entry, found: Opened, record: Grant) -> None:
        if record.epoch <= self._revoked:
            raise self._broken(
                "V8", f"grants epoch {record.epoch}, at or under revocation {self._revoked}"
            )
        if record.epoch <= self._epoch:
            raise self._broken("V7", f"grants epoch {record.epoch} after epoch {self._epoch}")
        if abs(entry.at_ms - record.issued_at_ms) > CLOCKS_MS:
            minutes = (entry.at_ms - record.issued_at_ms) // 60_000
            raise self._broken(
                "V7", f"(grant {record.epoch}) was entered {minutes} min after it was issued"
            )
        if record.kind is GrantKind.ACTIVATE:
            self.term = record.term
        elif record.term != self.term:
            raise self._broken(
                "V8",
                f"(grant {record.epoch}) changes term {record.term}; term {self.term} ran then",
            )
        if record.kind in _FRESH_ON_A_REPORT:
            self._rests(record)
        self._consented(found, record)
        if found.judged and record.keyset_version < self._keyset:
            self._still_good(entry, record)
        self._keyset = max(self._keyset, record.keyset_version)
        if record.kind is GrantKind.ACTIVATE and (
            hasty := self._starts.refused(entry, found, record)
        ):
            raise self._broken(
                "V11", f"(grant {record.epoch}) activates against the rules: {hasty}"
            )

    def _rests(self, record: Grant) -> None:
        policy = dict(self._reports).get(record.report or "")
        if policy is None:
            raise self._broken(
                "V9", f"(grant {record.epoch}) rests on no report that passed before it"
            )
        if policy != record.policy:
            raise self._broken(
                "V9", f"(grant {record.epoch}) rests on a report of another policy than its own"
            )

    def _consented(self, found: Opened, record: Grant) -> None:
        trust = self._keysets.trust(record.keyset_version)
        if trust is None or (needed := trust.keyset.approvals(record.kind)) == 1:
            return
        if not self._executions:  # golive 0.1 wrote none: it is asked for once there has been one
            return
        by, named = self._executions.get(found.identity, ("", []))
        if by not in found.signers:
            raise self._broken(
                "V10", f"(grant {record.epoch}) has no execution by one of those who signed it"
            )
        said = {
            who
            for identity, proposal, who in self._answers
            if identity in named and proposal == found.identity and who in found.signers
        }
        if len(said) < needed:
            raise self._broken(
                "V10", f"(grant {record.epoch}) has {len(said)} of {needed} answers before it"
            )

    def _still_good(self, entry: Entry, record: Grant) -> None:
        """Hold a grant of a host with an old keyset to the newest one too, as the fleet did (V3)."""
        trust = self._keysets.trust(self._keyset)
        if trust is None:
            return
        try:
            trust.grant(entry.envelope)
        except RecordError as error:
            raise self._broken(
                "V3",
                f"(grant {record.epoch}) names keyset {record.keyset_version}, and keyset "
                f"{self._keyset} was in use: {error.message}",
            ) from error

    def _broken(self, rule: str, why: str) -> BrokenLedgerError:
        return BrokenLedgerError(self.count, rule, why)


class Seen:
    """The identities so far, eight bytes of each (V5).

    A copy is either entered when its record was issued, as far as clocks agree, and then the first one
    stands within the last minutes, which are a set, or was entered long before its issue, and is one of
    the few of which that is known; or it is not, and then all are looked through. Two records that agree
    in eight bytes by chance are expected after 2^32 entries.

    Args:
        kept: As from `kept`.
        window: Likewise.
        at_ms: When the last of them was entered.
        ahead: As from `ahead`.
    """

    def __init__(self, kept: bytes, window: int, at_ms: int, ahead: Mapping[str, int]) -> None:
        self._all = array("Q")
        self._all.frombytes(kept)
        self._recent = deque((at_ms, item) for item in self._all[window:])
        self._near = {item for _, item in self._recent}
        self._ahead = {int(item, 16): issued_ms for item, issued_ms in ahead.items()}

    def kept(self) -> tuple[bytes, int]:
        """Return all of them, and where the last minutes begin."""
        return self._all.tobytes(), len(self._all) - len(self._recent)

    def ahead(self) -> dict[str, int]:
        """Return those that were entered long before they were issued, and when that was."""
        return {f"{item:016x}": issued_ms for item, issued_ms in self._ahead.items()}

    def add(self, identity: str, at_ms: int, issued_ms: int) -> bool:
        """Note one, and tell whether it was there before.

        Args:
            identity: Of a record.
            at_ms: When it was entered, Unix ms of the server's clock.
            issued_ms: When it was issued, Unix ms of its signer's.
        """
        item = int(identity[:16], 16)
        while self._recent and self._recent[0][0] < at_ms - WINDOW_MS:
            self._near.discard(self._recent.popleft()[1])
        odd = abs(at_ms - issued_ms) > CLOCKS_MS
        known = item in (self._all if odd else self._near) or item in self._ahead
        if issued_ms - at_ms > CLOCKS_MS:
            self._ahead[item] = issued_ms
            if not len(self._ahead) % PRUNE_EACH:  # later, a copy of them is looked for everywhere
                self._ahead = {k: ms for k, ms in self._ahead.items() if ms + CLOCKS_MS >= at_ms}
        self._all.append(item)
        self._recent.append((at_ms, item))
        self._near.add(item)
        return known


def seen_digest(seen: bytes) -> str:
    """Return by what a carry knows what was seen."""
    return hashlib.sha256(seen).hexdigest()


def _id_ms(name: str) -> int:
    return int(name.partition("-")[0] or 0)


def _place(name: str) -> tuple[int, int]:
    """Return an id of a stream as numbers.

    Raises:
        RecordError: It is none.
    """
    first, _, second = name.partition("-")
    try:
        return int(first or 0), int(second or 0)
    except ValueError:
        raise RecordError(f"{name[:40]!r} is no id of a stream") from None


def open_all(raws: list[bytes], keysets: Keysets) -> list[Opened | str]:
    """Open a page of entries; what is refused becomes the reason."""
    out: list[Opened | str] = []
    for raw in raws:
        try:
            out.append(opened(raw, keysets))
        except RecordError as error:
            out.append(error.message)
    return out
