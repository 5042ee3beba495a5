"""What is fuzzed: each parser at the edge, the good inputs to start from, and what must hold.

A target takes a mutator and returns whether its parser accepted what it was given. Any exception but
ours comes out of it, and so does an assertion when something strange was accepted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from golive_redis.config import config
from golive_redis.core.answer import Ask
from golive_redis.core.permit import Permit
from golive_redis.errors import ConfigError, RecordError, StoreError
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import MAX_ENVELOPE_BYTES, decode
from golive_redis.records.ledger import Note
from golive_redis.records.receipt import Receipt
from golive_redis.records.record import encode_record, parse_record
from golive_redis.records.report import Finding, Outcome, Report
from golive_redis.stop.inbox import Receipts
from golive_redis.store.connect import Address
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.presence import FIELDS
from golive_redis.store.push import Push
from golive_redis.store.replies import Caller
from golive_redis.store.store import Store
from golive_redis.testing import START_MS, Harness, Signers, identity
from kit import directives

from . import logs
from .mutator import Mutator

EXAMPLES = Path(__file__).parents[2] / "config"
SIGNERS = Signers(approvals=2)
TRUST = SIGNERS.trust
GRANT = SIGNERS.grant()
HALT = SIGNERS.restriction(2, labels={"symbol": "BTC"})
REVOCATION = SIGNERS.revocation(3, blind=True)
BEAT = SIGNERS.beat(7, state=SIGNERS.state(GRANT))
RECEIPTS = [SIGNERS.receipt(REVOCATION), SIGNERS.receipt(REVOCATION, "drained")]
HEADING = TRUST.heading("alice", START_MS)
REPORT = Report(
    **HEADING,
    policy="0" * 64,
    findings=[Finding(check="x", outcome=Outcome.PASS, explain="", facts={"a": "b"})],
)
NOTE = Note(**HEADING, topic="goodbye", text="it leaves", facts={"a": "b"})
ENVELOPES = [GRANT, HALT, REVOCATION, BEAT, *RECEIPTS]
PAYLOADS: list[tuple[type[Any], bytes]] = [
    *((Grant, decode(GRANT).payload), (Restriction, decode(HALT).payload)),
    *((Revocation, decode(REVOCATION).payload), (Beat, decode(BEAT).payload)),
    *((Receipt, decode(raw).payload) for raw in RECEIPTS),
    *((Report, encode_record(REPORT)), (Note, encode_record(NOTE))),
]
DOCUMENTS = [(kind, raw, msgspec.json.decode(raw)) for kind, raw in PAYLOADS]
READERS: dict[bytes, Callable[[bytes], Any]] = {
    GRANT: TRUST.grant,
    HALT: TRUST.restriction,
    REVOCATION: TRUST.revocation,
    BEAT: TRUST.beat,
    **dict.fromkeys(RECEIPTS, TRUST.receipt),
}
RECORDS = {raw: read(raw).record for raw, read in READERS.items()}

Target = Callable[[Mutator], bool]


# -- records -------------------------------------------------------------------------------------


def payload(mutate: Mutator) -> bool:
    """A record that is accepted can be written, and is then read as the same."""
    kind, raw, document = mutate.random.choice(DOCUMENTS)
    bytewise = mutate.random.random() < 0.5
    strange = mutate.bent(raw, [r for _, r, _ in DOCUMENTS]) if bytewise else mutate.json(document)
    try:
        record = parse_record(strange, kind, MAX_ENVELOPE_BYTES)
    except RecordError:
        return False
    assert parse_record(encode_record(record), kind, MAX_ENVELOPE_BYTES) == record, strange
    return True


def envelope(mutate: Mutator) -> bool:
    """An envelope that decodes has signatures of somebody over some bytes; nothing more is said."""
    raw = mutate.random.choice(ENVELOPES)
    bytewise = mutate.random.random() < 0.5
    strange = mutate.bent(raw, ENVELOPES) if bytewise else mutate.json(msgspec.json.decode(raw))
    try:
        found = decode(strange)
    except RecordError:
        return False
    assert 1 <= len(found.signatures) <= 16
    return True


def signed(mutate: Mutator) -> bool:
    """Whatever is done to a signed envelope, it says what was signed, or nothing."""
    raw = mutate.random.choice(ENVELOPES)
    spaced = mutate.random.random() < 0.05  # the one freedom there is
    strange = msgspec.json.format(raw) if spaced else mutate.bent(raw, ENVELOPES)
    try:
        found = READERS[raw](strange).record
    except RecordError:
        return False
    assert found in RECORDS.values(), strange
    return True


# -- replies -------------------------------------------------------------------------------------


class Replies:
    """A link on which Redis says whatever it is told to."""

    functions = False

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)

    def call(self, *_: Any) -> Any:
        return self.replies.pop(0) if self.replies else None

    def send(self, *_: Any) -> None:
        """Nothing is waiting for it."""

    def pipeline(self, commands: Sequence[Any]) -> list[Any]:
        return [self.call() for _ in commands]

    def receive(self, _: float) -> Any:
        return self.call()

    def close(self) -> None:
        """Nothing is open."""


KEYS = Keyspace("golive")
CALLER = Caller("worker", "pod-1", "0" * 32)
ATTEND = [
    *(b"%032x" % 1, b"OK", None, identity(HALT).encode(), 24_000, GRANT, [HALT]),
    *([b"hb-1", BEAT], REVOCATION, b"0" * 64, GRANT),
]
HASH = [b"term", b"1", b"grant", GRANT, b"r:2", HALT, b"origin", b"0" * 40, b"last", b"1" * 64]
TOMBSTONE = [b"epoch", b"3", b"record", REVOCATION, b"id", b"0" * 64]
INFO = b"# Server\r\nrun_id:0123\r\nconnected_slaves:1\r\nmaster_replid:4567\r\n"
NOTE_RAW = encode_record(NOTE)
QUESTIONS: list[tuple[Callable[[Store], Any], list[Any]]] = [
    (Store.snapshot, [HASH, 24_000, [b"hb-1", BEAT], TOMBSTONE, b"3", b"1" * 64, b"2" * 64]),
    (Store.workers, [[b"pod-1:" + b"0" * 32], [b"7" if f == "term" else None for f in FIELDS], 9]),
    (Store.heartbeats, [[b"hb-1", b"0" * 32], [b"x" if f == "host" else None for f in FIELDS], 9]),
    (Store.told_directives, [[b"pod-1:" + b"0" * 32], [b"hb-1", b"0" * 32], GRANT, HALT]),
    (Store.server, [INFO]),
    (Store.head, [b"0" * 64]),
    (lambda s: s.receipts("0" * 64), [2, [b"a:latched", RECEIPTS[0], b"a:drained", RECEIPTS[1]]]),
    (lambda s: s.recorded(NOTE_RAW, 64), [[[b"1-1", [b"r", NOTE_RAW, b"h", b"0" * 64]]]]),
    (lambda s: s.entries(9), [[[b"1-1", [b"r", NOTE_RAW, b"h", b"0" * 64]]]]),
    (lambda s: s.beat("hb-1", BEAT, term=1, ttl_ms=24_000), [[b"OK", 24_000]]),
    (lambda s: s.append(NOTE_RAW, head="0", head_after="1"), [[b"HEAD", b"0" * 64]]),
    (
        lambda s: s.revoke(directives.revocation(REVOCATION, "0", epoch=3)),
        [[b"OK", GRANT, HALT, b"0" * 40, b"AUDITED", b""]],
    ),
    (lambda s: s.publish("golive:events", HALT), [3]),
    (Store.delete_active, [1]),
    (lambda s: s.replicated(1, 50), [1]),
    (lambda s: s.confirm("0" * 64, NOTE_RAW), [b"0" * 64, 1]),
]


def answer(mutate: Mutator) -> bool:
    """However a store answers one question, the guard raises nothing and permits nothing.

    It is one beat that it was shown, and never saw one advance.
    """
    guard = Harness(SIGNERS)
    nonce = guard.ask()
    strange = mutate.reply(ATTEND)
    try:
        _, found, _ = Store(Replies(strange), KEYS).attend(Ask(nonce, "", ""), CALLER, {})
    except StoreError:
        return False
    guard.view.answer(found, now_ns=guard.clock.now_ns() + 1_000_000)
    assert not isinstance(guard.decide(), Permit), strange
    return True


def reply(mutate: Mutator) -> bool:
    """Every other reply is a value of ours, or a StoreError."""
    ask, good = mutate.random.choice(QUESTIONS)
    strange = list(good)
    which = mutate.random.randrange(len(strange))
    strange[which] = mutate.reply(strange[which])
    try:
        ask(Store(Replies(*strange), KEYS))
    except StoreError:
        return False
    return True


def message(mutate: Mutator) -> bool:
    """What arrives on a channel is a push, a receipt, or nothing."""
    channel, raw = mutate.random.choice(
        [
            (b"golive:events", HALT),
            (b"golive:receipts", RECEIPTS[0]),
            (b"__redis__:invalidate", [b"golive:active"]),
        ]
    )
    data = mutate.bent(raw, ENVELOPES) if isinstance(raw, bytes) else raw
    strange = mutate.reply([b"message", channel, data])
    receipts = Receipts(TRUST, lambda: 0.0)
    push = Push(lambda: Replies(1, 1), KEYS, lambda: 0.0, 500)
    push.open()
    push._subscriber = Replies(strange)
    try:
        pushed = push.wait(1)
        receipts.listen(Replies(strange), 1)
    except StoreError:
        return False
    return pushed is not None or bool(receipts.by_directive)


# -- files and addresses -------------------------------------------------------------------------

CONFIG = (EXAMPLES / "go_live.yaml").read_bytes()
KEYSET = (EXAMPLES / "keyset.yaml").read_bytes()
FOLDER = tempfile.TemporaryDirectory(prefix="golive-fuzz-")


def file(mutate: Mutator) -> bool:
    """A configuration with its keyset is whole, or refused with the place."""
    path = Path(FOLDER.name) / "go_live.yaml"
    which = mutate.random.random() < 0.5
    path.write_bytes(mutate.bent(CONFIG, [KEYSET]) if which else CONFIG)
    keyset = path.with_name("keyset.yaml")
    keyset.write_bytes(KEYSET if which else mutate.bent(KEYSET, [CONFIG]))
    try:
        loaded = config.load(path, environ={})
        if not which:
            loaded.keyset()
    except ConfigError as error:
        refused = error.message
    else:
        return True
    assert str(path.parent) in refused, refused
    return False


URLS = [
    b"redis://op:pw@127.0.0.1:6379/0",
    b"rediss://localhost:6380/1?ssl_check_hostname=true",
    b"unix:///run/redis.sock?db=3",
    b"redis+sentinel://op:pw@a:26379,b:26379,[::1]:26379/fleet/2?ssl=true",
    b"redis+cluster://op:pw@a:6379,b:6379,[::1]:6379?ssl=true",
]


def url(mutate: Mutator) -> bool:
    """An address that cannot be used is refused at once; none is connected to here."""
    strange = mutate.bent(mutate.random.choice(URLS), URLS).decode("utf-8", "surrogateescape")
    try:
        Address(strange).link(timeout_ms=100)
    except ConfigError:
        return False
    return True


TARGETS: dict[str, tuple[Target, int]] = {
    "payload": (payload, 34),
    "envelope": (envelope, 25),
    "reply": (reply, 12),
    "message": (message, 6),
    "url": (url, 6),
    "signed": (signed, 5),
    "answer": (answer, 5),
    "log format": (logs.format_, 3),
    "log note": (logs.note, 3),
    "file": (file, 1),
}
"""Every target with its share of the inputs in per cent: the slow ones get fewer."""

assert sum(share for _, share in TARGETS.values()) == 100
