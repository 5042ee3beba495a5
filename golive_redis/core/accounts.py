"""The notes that a heartbeat writes for others: what they say, and by what each is recognised later.

A fact that several heartbeats know of is written by one of them. So a note names the facts that it is
about, by keys that do not depend on who writes it, and whoever is about to write looks for them in the
ledger first.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from golive_redis.core.incidents import Incident, What
from golive_redis.records.directive import Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Receipt, Stage
from golive_redis.records.record import wording

TOLD_IN_ONE = 16
"""Incidents in one note: with `MAX_LINE` bytes each they leave room for the rest within 8 KiB."""
MAX_LINE = 240
NAMED = 5
SLOWEST = 8
MAX_KEY = 64

_WORDS = {
    What.LAPSE: "closed without a stop",
    What.HEAL: "armed again",
    What.LOCAL_KILL: "stopped locally",
    What.SKIPS: "skipped orders",
    What.SECURITY: "refused",
    What.EARLY_WARNING: "close to its limit",
}
_TOPICS = {str(what) for what in What}


class Told(msgspec.Struct, frozen=True):
    """An incident and whose it is.

    Attributes:
        name: Of the worker or heartbeat.
        instance: Which process.
        incident: What it states.
    """

    name: str
    instance: str
    incident: Incident

    @property
    def key(self) -> str:
        """What it is recognised by."""
        return f"{self.name} {self.instance} {self.incident.n}"

    @property
    def fact(self) -> str:
        """It in one line: name, process, number, Unix ms, reason, term, then its text."""
        item = self.incident
        line = f"{self.key} {item.at_ms} {item.why} {item.term} {item.text}".strip()
        # What JSON would write as two characters or six is written as one: the bound holds for the note.
        shown = "".join(char if char.isprintable() else " " for char in line)
        plain = shown.replace("\\", "/").replace('"', "'").encode(errors="replace")
        return plain[:MAX_LINE].decode(errors="ignore")


class Account(msgspec.Struct, frozen=True):
    """What a note says, before anybody has signed it.

    Attributes:
        topic: Of the note.
        text: A sentence.
        facts: Likewise.
        keys: What it is about.
    """

    topic: str
    text: str
    facts: dict[str, str]
    keys: tuple[str, ...]


def key_of(identity: str, topic: str) -> str:
    """Return what the one note on a directive is recognised by."""
    return f"{topic} {identity}"


def keys_in(note: Note) -> list[str]:
    """Return what a note in the ledger is about; nothing for a topic that is not written so."""
    if note.topic in {"receipts", "repaired"}:
        return [key_of(note.facts.get("directive", ""), note.topic)]
    if note.topic not in _TOPICS:
        return []
    lines = (note.facts.get(str(number), "") for number in range(1, TOLD_IN_ONE + 1))
    return [" ".join(line.split(" ")[:3]) for line in lines if line]


# -- incidents -----------------------------------------------------------------------------------


def of_incidents(told: Iterable[Told]) -> list[Account]:
    """Return the notes on incidents.

    Of lapses, heals, local kills and early warnings up to 16 go into one note; a burst of skipped
    orders has one of its own. Of what was refused there is one note of each kind, which counts those
    that it does not name.
    """
    by_what: defaultdict[What, list[Told]] = defaultdict(list)
    for item in sorted(told, key=lambda item: (item.incident.at_ms, item.key)):
        by_what[item.incident.what].append(item)
    accounts: list[Account] = []
    for what, items in sorted(by_what.items()):
        if what is What.SECURITY:
            accounts += _security(items)
        elif what is What.SKIPS:
            accounts += [_skips(item) for item in items]
        else:
            accounts += [
                _several(what, items[at : at + TOLD_IN_ONE])
                for at in range(0, len(items), TOLD_IN_ONE)
            ]
    return accounts


def _several(what: What, items: Sequence[Told]) -> Account:
    names = sorted({item.name for item in items})
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    whys = ", ".join(sorted({item.incident.why for item in items}))
    text = f"{', '.join(names[:NAMED])}{more}: {_WORDS[what]} ({whys})"
    return Account(what, wording(text), _facts(items), tuple(item.key for item in items))


def _skips(item: Told) -> Account:
    counts = item.incident.counts
    total = sum(counts.values())
    text = f"{item.name}: skipped {total} orders ({', '.join(sorted(counts))})"
    facts = {"count": str(total), "from_ms": str(item.incident.from_ms), "1": item.fact}
    facts["to_ms"] = str(item.incident.at_ms)
    facts |= {f"skipped {why}"[:MAX_KEY]: str(number) for why, number in sorted(counts.items())}
    return Account(What.SKIPS, wording(text), facts, (item.key,))


def _security(items: Sequence[Told]) -> list[Account]:
    by_kind: defaultdict[str, list[Told]] = defaultdict(list)
    for item in items:
        by_kind[item.incident.why].append(item)
    accounts = []
    for kind, some in sorted(by_kind.items()):
        named = some[:TOLD_IN_ONE]
        total = sum(item.incident.counts.get("count", 1) for item in some)
        facts = _facts(named)
        facts |= {"kind": kind, "count": str(total), "processes": str(len({i.key for i in some}))}
        facts["last_ms"] = str(max(item.incident.at_ms for item in some))
        first = named[0]
        text = f"{kind}: {total} refused; {first.name}: {first.incident.text}"
        keys = tuple(item.key for item in some)
        accounts.append(Account(What.SECURITY, wording(text), facts, keys))
    return accounts


def _facts(items: Sequence[Told]) -> dict[str, str]:
    times = [item.incident.at_ms for item in items]
    begun = [item.incident.from_ms or item.incident.at_ms for item in items]
    facts = {
        "count": str(len(items)),
        "first_ms": str(min(begun if items[0].incident.what is What.SECURITY else times)),
        "last_ms": str(max(times)),
    }
    return facts | {str(number): item.fact for number, item in enumerate(items, 1)}


# -- directives ----------------------------------------------------------------------------------


def of_repair(directive: Verified[Revocation] | Verified[Restriction], waited_ms: float) -> Account:
    """Return the note on a directive that took effect and was not in the ledger."""
    record = directive.record
    kind = record.kind if isinstance(record, Restriction) else record.KIND
    text = f"{kind} {record.epoch} by {record.by} took effect and was not in the ledger: entered"
    facts = {
        "directive": directive.identity,
        "epoch": str(record.epoch),
        "kind": kind,
        "waited_ms": str(int(waited_ms)),
    }
    return Account("repaired", text, facts, (key_of(directive.identity, "repaired"),))


def of_receipts(
    directive: Verified[Revocation] | Verified[Restriction],
    receipts: Sequence[Verified[Receipt]],
    refused: int,
) -> Account:
    """Return the note on the receipts for a directive.

    Args:
        directive: What is answered.
        receipts: Those that verify.
        refused: How many do not.
    """
    record = directive.record
    kind = record.kind if isinstance(record, Restriction) else record.KIND
    stages = Counter(str(item.record.stage) for item in receipts)
    workers = {(i.record.worker, i.record.instance) for i in receipts if i.record.worker}
    beating = {i.record.heartbeat for i in receipts if i.record.heartbeat}
    text = (
        f"{kind} {record.epoch}: receipts of {len(workers)} workers and {len(beating)} heartbeats"
    )
    facts = {
        "directive": directive.identity,
        "epoch": str(record.epoch),
        "kind": kind,
        "issued_ms": str(record.issued_at_ms),
        "count": str(len(receipts)),
        "workers": str(len(workers)),
        "heartbeats": str(len(beating)),
        "refused": str(refused),
        "sha256": digest([item.raw for item in receipts]),
    }
    facts |= {str(stage): str(stages[stage]) for stage in Stage if stages[stage]}
    slow = sorted(receipts, key=lambda item: (-item.record.at_ms, item.record.by, item.raw))
    if slow:
        facts["first_ms"], facts["last_ms"] = str(slow[-1].record.at_ms), str(slow[0].record.at_ms)
    for number, item in enumerate(slow[:SLOWEST], 1):
        said = item.record
        pod = said.worker or said.heartbeat
        facts[f"slowest {number}"] = f"{pod} {said.instance} {said.stage} {said.at_ms}"
    return Account("receipts", text, facts, (key_of(directive.identity, "receipts"),))


def digest(receipts: Iterable[bytes]) -> str:
    """Return the SHA-256 of receipts: of the hex SHA-256 of each envelope, sorted, a line each."""
    lines = sorted(hashlib.sha256(raw).hexdigest() for raw in receipts)
    return hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
