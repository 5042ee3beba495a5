"""Vectors of trees and their proofs, signed notes, checkpoints, cosignatures, policies and `.tlog-proof`."""

from __future__ import annotations

import hashlib
from typing import Any

from kit.curve import encoded, small_order_points
from kit.notary import entries, naive_consistency, naive_inclusion, naive_root

from . import samples
from .form import File, Vector, b64, envelope, given_bytes, private, public, refused

ORIGIN = "test.invalid/golive"
LOG, WITNESS = 1, 4
TIME_S = 1_760_000_100
SIZES = (1, 2, 3, 4, 7, 8, 13)


def _vector(op: str, name: str, given: dict[str, Any], expect: dict[str, Any], why: str) -> Vector:
    return Vector(name, op, given, expect, why)


# -- trees -----------------------------------------------------------------------------------------


def _roots() -> list[Vector]:
    found = []
    for size in (0, *SIZES):
        leaves = entries(size)
        given = {"entries": [{"text": f"entry {n}"} for n in range(size)]}
        expect = {"accept": {"root": naive_root(leaves).hex()}}
        found.append(_vector("root", f"root of {size}", given, expect, "RFC 6962 section 2.1."))
    return found


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """What is changed in what is given: `given_size` where `size` says for what the rest is made."""
    return {name.removeprefix("given_"): value for name, value in fields.items()}


def _inclusion(
    name: str, expect: dict[str, Any], why: str, index: int = 5, size: int = 7, **fields: Any
) -> Vector:
    leaves = entries(size)
    given = {
        "leaf": leaves[index].hex(),
        "index": str(index),
        "size": str(size),
        "proof": [each.hex() for each in naive_inclusion(index, leaves)],
        "root": naive_root(leaves).hex(),
    }
    return _vector("inclusion", name, {**given, **_plain(fields)}, expect, why)


def _consistency(
    name: str, expect: dict[str, Any], why: str, old: int = 3, new: int = 7, **fields: Any
) -> Vector:
    leaves = entries(new)
    given = {
        "old": str(old),
        "new": str(new),
        "old_root": naive_root(leaves[:old]).hex(),
        "new_root": naive_root(leaves).hex(),
        "proof": [each.hex() for each in naive_consistency(old, leaves)] if old else [],
    }
    return _vector("consistency", name, {**given, **_plain(fields)}, expect, why)


def _proofs() -> list[Vector]:
    holds = {"accept": {"holds": True}}
    other = "ab" * 32
    path = [each.hex() for each in naive_inclusion(5, entries(7))]
    steps = [each.hex() for each in naive_consistency(3, entries(7))]
    bad, size = refused("tree-proof"), refused("tree-size")
    fine = [
        _inclusion(f"entry {at} of {size}", holds, "RFC 9162 section 2.1.3.2.", at, size)
        for size in SIZES
        for at in sorted({0, size // 2, size - 1})
    ]
    fine += [
        _consistency(f"{old} to {new}", holds, "RFC 9162 section 2.1.4.2.", old, new)
        for new in SIZES
        for old in sorted({0, 1, new // 2, new - 1, new})
        if old <= new
    ]
    return [
        *fine,
        _inclusion("another leaf", bad, "It is another entry.", leaf=other),
        _inclusion("another root", bad, "It is another log.", root=other),
        _inclusion("a hash too many", bad, "Refused as a whole.", proof=[*path, other]),
        _inclusion("a hash too few", bad, "Refused as a whole.", proof=path[:-1]),
        _inclusion("no hash", bad, "Refused as a whole.", proof=[]),
        _inclusion("hashes in another order", bad, "It is another path.", proof=path[::-1]),
        _inclusion("a hash of 31 bytes", bad, "Each has 32.", proof=[path[0][:-2], *path[1:]]),
        _inclusion("a leaf of 33 bytes", bad, "It has 32.", leaf=other + "00"),
        _inclusion("another index", bad, "It is another place.", given_index="4"),
        _inclusion("an index that is not in the tree", size, "Counted from 0.", given_index="7"),
        _inclusion("a negative index", size, "Counted from 0.", given_index="-1"),
        _inclusion("an empty tree", size, "It has no entry.", given_size="0"),
        _inclusion("a size of 2^63", size, "2^63-1 is the most.", given_size=str(2**63)),
        _consistency("consistency: another old root", bad, "A fork.", old_root=other),
        _consistency("consistency: another new root", bad, "A fork.", new_root=other),
        _consistency("consistency: a hash too many", bad, "As a whole.", proof=[*steps, other]),
        _consistency("consistency: a hash too few", bad, "As a whole.", proof=steps[:-1]),
        _consistency("consistency: no hash", bad, "As a whole.", proof=[]),
        _consistency("consistency: no hash from a power of two", bad, "As a whole.", 4, proof=[]),
        _consistency("consistency: a hash of 33 bytes", bad, "Each has 32.", proof=[other + "00"]),
        _consistency(
            "consistency: equal sizes with a proof", bad, "Nothing to prove.", 7, proof=[other]
        ),
        _consistency("consistency: equal sizes, two roots", bad, "A fork.", 7, old_root=other),
        _consistency(
            "consistency: from nothing with a proof", bad, "Nothing to prove.", 0, proof=[other]
        ),
        _consistency(
            "consistency: nothing has another root", bad, "It is known.", 0, old_root=other
        ),
        _consistency("consistency: it became shorter", size, "A log only grows.", given_old="8"),
        _consistency(
            "consistency: a size of 2^63", size, "2^63-1 is the most.", given_new=str(2**63)
        ),
    ]


# -- notes -----------------------------------------------------------------------------------------


def typed(name: str, kind: int, raw: bytes) -> tuple[bytes, bytes]:
    """A key with its type in front, and its id."""
    body = bytes([kind]) + raw
    return body, hashlib.sha256(name.encode() + b"\n" + body).digest()[:4]


def vkey(name: str, kind: int, raw: bytes) -> str:
    body, key_id = typed(name, kind, raw)
    return f"{name}+{key_id.hex()}+{b64(body)}"


def line(text: str, name: str, seed: str, kind: int = LOG, time_s: int = TIME_S) -> str:
    """A signature line under a text."""
    _, key_id = typed(name, kind, public(seed))
    head, message = b"", text
    if kind == WITNESS:
        head, message = time_s.to_bytes(8, "big"), f"cosignature/v1\ntime {time_s}\n{text}"
    raw = key_id + head + private(seed).sign(message.encode())
    return f"\u2014 {name} {b64(raw)}\n"


WITNESSES = ("w1", "w2", "w3")
LOG_KEY = vkey(ORIGIN, LOG, public("hb-1"))
WITNESS_KEYS = {name: vkey(f"{name}.example", WITNESS, public(name)) for name in WITNESSES}
TEXT = f"{ORIGIN}\n7\n{b64(naive_root(entries(7)))}\n"


def by_log(text: str = TEXT) -> str:
    return line(text, ORIGIN, "hb-1")


def by_witness(name: str, text: str = TEXT, time_s: int = TIME_S) -> str:
    return line(text, f"{name}.example", name, WITNESS, time_s)


def note(*lines: str, text: str = TEXT) -> str:
    return f"{text}\n{''.join(lines)}"


def _note_case(
    name: str, raw: str | bytes, expect: dict[str, Any], why: str, vkeys: list[str] | None = None
) -> Vector:
    data = raw.encode() if isinstance(raw, str) else raw
    keys = [LOG_KEY, *WITNESS_KEYS.values()] if vkeys is None else vkeys
    return _vector("note", name, {"note": given_bytes(data), "vkeys": keys}, expect, why)


def _signed(text: str, *names: str) -> dict[str, Any]:
    found = [
        {"name": ORIGIN, "time": None}
        if name == "log"
        else {"name": f"{name}.example", "time": str(TIME_S)}
        for name in names
    ]
    return {"accept": {"text": text, "signed": found}}


def _notes() -> list[Vector]:
    stranger = line(TEXT, "stranger.example", "stranger")
    twin = line(TEXT, ORIGIN, "stranger")
    log = by_log()
    body = log.split(" ")[2]
    other = line("x\n", ORIGIN, "hb-1")
    odd = f"a\n\nb\n\u2014 {ORIGIN} AAAA\n"
    cut = by_witness("w1", time_s=2**63 - 1)
    over = line(TEXT, "w1.example", "w1", WITNESS, 2**63)
    short = f"\u2014 {ORIGIN} {b64(typed(ORIGIN, LOG, public('hb-1'))[1] + b'x')}\n"
    n1, n2, n3, n4 = (refused(f"note-{n}") for n in (1, 2, 3, 4))
    big = "x" * (256 * 1024)
    one = _note_case
    return [
        one("by its log", note(log), _signed(TEXT, "log"), "A known key has signed."),
        one("by its log and two witnesses", note(log, by_witness("w1"), by_witness("w2")),
            _signed(TEXT, "log", "w1", "w2"), "Three known keys."),
        one("by a witness alone", note(by_witness("w3")), _signed(TEXT, "w3"), "A known key has signed."),
        one("with a stranger's line", note(stranger, log), _signed(TEXT, "log"), "It is ignored."),
        one("with a line of another key of that name", note(twin, log), _signed(TEXT, "log"), "It is ignored."),
        one("a key has signed twice", note(log, log), _signed(TEXT, "log"), "It counts once."),
        one("the last empty line counts", note(by_log(odd), text=odd), _signed(odd, "log"),
            "What looks like a signature above is text."),
        one("an empty text", note(by_log("\n"), text="\n"), _signed("\n", "log"), "It ends with a newline."),
        one("64 signatures", note(*[stranger] * 63, log), _signed(TEXT, "log"), "64 are the most."),
        one("the largest time", note(cut), {"accept": {"text": TEXT, "signed": [
            {"name": "w1.example", "time": str(2**63 - 1)}]}}, "2^63-1 is the most."),
        one("65 signatures", note(*[stranger] * 64, log), n1, "64 are the most."),
        one("more than 256 KiB", note(by_log(big + "\n"), text=big + "\n"), n1, "256 KiB are the most."),
        one("a carriage return", note(by_log("a\r\n"), text="a\r\n"), n1, "A control character."),
        one("a tab", note(by_log("a\tb\n"), text="a\tb\n"), n1, "A control character."),
        one("a null", note(by_log("a\x00\n"), text="a\x00\n"), n1, "A control character."),
        one("not UTF-8", b"\xff\n\n" + log.encode(), n1, "It is UTF-8."),
        one("no empty line", TEXT + log, n2, "One separates text and signatures."),
        one("no signature", note(), n2, "One at least."),
        one("no newline at the end", note(log)[:-1], n2, "Every line ends with one."),
        one("an empty line at the end", note(log) + "\n", n2, "The last empty line is the one that counts."),
        one("a hyphen for the dash", note(log.replace("\u2014", "-")), n2, "U+2014."),
        one("two blanks", note(log.replace("\u2014 ", "\u2014  ")), n2, "One blank."),
        one("a word at the end", note(log[:-1] + " x\n"), n2, "Three words."),
        one("a name with a plus", note(log.replace(ORIGIN, "a+b")), n2, "No name of a key."),
        one("a name with a blank of Unicode", note(log.replace(ORIGIN, "a\u3000b")), n2, "No name of a key."),
        one("base64 without padding", note(f"\u2014 {ORIGIN} {body.strip().rstrip('=')}\n"), n2, "Bad base64."),
        one("a stranger's bad base64", note(f"\u2014 stranger {'AB=='}\n", log), n2, "Refused as a whole."),
        one("a key id alone", note(f"\u2014 x {b64(b'1234')}\n", log), n2, "No signature behind it."),
        one("a signature over another text", note(other), n3, "It does not verify."),
        one("one bad signature of a known key beside a good one", note(other, log), n3, "Refused as a whole."),
        one("a good one, and the same key's bad one", note(log, other), n3, "Both must verify."),
        one("a signature of one byte", note(short), n3, "It has 64 bytes."),
        one("a time of 2^63", note(over), n3, "2^63-1 is the most."),
        one("a cosignature whose time was changed", note(by_witness("w1").replace(
            *_later(by_witness("w1")))), n3, "The time is signed."),
        one("a cosignature of the text alone", note(_bare()), n3, "Its head is signed, too."),
        one("a stranger alone", note(stranger), n4, "Nobody known."),
        one("a known name and another key", note(twin), n4, "Nobody known."),
        one("nobody is known", note(log), n4, "Nobody known.", []),
    ]  # fmt: skip


def _later(text: str) -> tuple[str, str]:
    """The base64 of a cosignature, and the same a second later."""
    import base64  # noqa: PLC0415

    body = text.split(" ")[2].strip()
    raw = bytearray(base64.b64decode(body))
    raw[11] ^= 1
    return body, b64(bytes(raw))


def _bare() -> str:
    _, key_id = typed("w1.example", WITNESS, public("w1"))
    raw = key_id + TIME_S.to_bytes(8, "big") + private("w1").sign(TEXT.encode())
    return f"\u2014 w1.example {b64(raw)}\n"


def _vkeys() -> list[Vector]:
    good = LOG_KEY
    name, shown, body = good.split("+", 2)
    raw = public("hb-1")
    bad = refused("note-5")
    low = encoded(min(small_order_points()))
    refusals = [
        ("no id", f"{name}+{body}"),
        ("an id that is not its own", f"{name}+00000000+{body}"),
        ("an id with capitals", f"{name}+{shown.upper()}+{body}"),
        ("the id of another name", f"x{good}"),
        ("no name", vkey("", LOG, raw)),
        ("a name with a blank", vkey("a b", LOG, raw)),
        ("a type that is not known", vkey(name, 2, raw)),
        ("31 bytes", vkey(name, LOG, raw[:31])),
        ("33 bytes", vkey(name, LOG, raw + b"\x00")),
        ("base64 without padding", vkey(name, LOG, raw).rstrip("=") + "\n"),
        ("small order", vkey(name, LOG, low)),
        ("small order, of a witness", vkey(name, WITNESS, low)),
        ("not canonical", vkey(name, LOG, b"\xff" * 32)),
        ("nothing", ""),
    ]
    found = [
        _vector("vkey", f"vkey: {label}", {"vkey": text}, bad, "No verifier key.")
        for label, text in refusals
    ]
    for label, text, kind in (("a log's", good, LOG), ("a witness's", WITNESS_KEYS["w1"], WITNESS)):
        key = raw if kind == LOG else public("w1")
        expect = {"accept": {"name": text.split("+")[0], "type": kind, "key": key.hex()}}
        found.append(_vector("vkey", f"vkey: {label}", {"vkey": text}, expect, "It is one."))
    return found


# -- checkpoints, policies, proofs ---------------------------------------------------------------------


def _checkpoint(name: str, raw: str, expect: dict[str, Any], why: str) -> Vector:
    known = {"logs": [LOG_KEY], "witnesses": list(WITNESS_KEYS.values())}
    return _vector("checkpoint", name, {"note": given_bytes(raw.encode()), **known}, expect, why)


def _checkpoints() -> list[Vector]:
    root = naive_root(entries(7))

    def good(name: str, text: str, size: str, *lines: str) -> Vector:
        signed = [{"name": ORIGIN, "time": None}]
        signed += [{"name": "w1.example", "time": str(TIME_S)}] * (len(lines) - 1)
        found = {"origin": ORIGIN, "size": size, "root": root.hex(), "signed": signed}
        return _checkpoint(
            name, note(*lines, text=text), {"accept": found}, "Its log has signed it."
        )

    texts = [
        ("two lines", f"{ORIGIN}\n7\n"),
        ("an empty origin", f"\n7\n{b64(root)}\n"),
        ("a leading zero", f"{ORIGIN}\n07\n{b64(root)}\n"),
        ("a sign", f"{ORIGIN}\n+7\n{b64(root)}\n"),
        ("a hexadecimal size", f"{ORIGIN}\n0x7\n{b64(root)}\n"),
        ("a size of 2^63", f"{ORIGIN}\n{2**63}\n{b64(root)}\n"),
        ("a size with a blank", f"{ORIGIN}\n7 \n{b64(root)}\n"),
        ("digits that are not ASCII", f"{ORIGIN}\n\u0667\n{b64(root)}\n"),
        ("a root of 31 bytes", f"{ORIGIN}\n7\n{b64(root[:31])}\n"),
        ("a root without padding", f"{ORIGIN}\n7\n{b64(root).rstrip('=')}\n"),
        ("an empty line", f"{ORIGIN}\n7\n{b64(root)}\n\nx\n"),
    ]
    found = [
        _checkpoint(
            f"checkpoint: {name}",
            note(by_log(text), text=text),
            refused("checkpoint"),
            "No checkpoint.",
        )
        for name, text in texts
    ]
    more = TEXT + "an extension\n"
    most = f"{ORIGIN}\n{2**63 - 1}\n{b64(root)}\n"
    return [
        *found,
        good("checkpoint: good", TEXT, "7", by_log()),
        good("checkpoint: cosigned", TEXT, "7", by_log(), by_witness("w1")),
        good("checkpoint: with an extension", more, "7", by_log(more)),
        good("checkpoint: the largest size", most, str(2**63 - 1), by_log(most)),
        _checkpoint("checkpoint: a witness alone", note(by_witness("w1")), refused("note-4"),
                    "Its log has not signed it."),
        _checkpoint("checkpoint: a bad cosignature", note(by_log(), by_witness("w1", "x\n")),
                    refused("note-3"), "Of a known witness."),
        _checkpoint("checkpoint: of another origin by this log's key", _other_origin(), refused("note-4"),
                    "The key of a log has its origin as name."),
    ]  # fmt: skip


def _other_origin() -> str:
    text = TEXT.replace(ORIGIN, "other.invalid/golive")
    return note(by_log(text), text=text)


LOG_LINE = f"log {LOG_KEY}\n"
WITNESS_LINES = "".join(f"witness {name} {key}\n" for name, key in WITNESS_KEYS.items())
POLICY = f"{LOG_LINE}{WITNESS_LINES}group two 2 w1 w2 w3\nquorum two\n"


def _policy(
    name: str, raw: str | bytes, expect: dict[str, Any], why: str, checkpoint: str | None = None
) -> Vector:
    data = raw.encode() if isinstance(raw, str) else raw
    given: dict[str, Any] = {"policy": given_bytes(data)}
    if checkpoint is not None:
        given["checkpoint"] = given_bytes(checkpoint.encode())
    return _vector("policy", f"policy: {name}", given, expect, why)


def _policies() -> list[Vector]:
    bad, quorum = refused("policy"), refused("quorum")
    all_three = {"accept": {"logs": 1, "witnesses": 3}}
    accepted = {"accept": {"origin": ORIGIN, "size": "7"}}
    keys = list(WITNESS_KEYS.values())
    tail = "quorum none\n"
    many = "".join(f"witness v{n} {vkey('v', WITNESS, public(f'v{n}'))}\n" for n in range(65))
    nested = f"{LOG_LINE}{WITNESS_LINES}group a any w1 w2\ngroup b all a w3\nquorum b\n"
    second = vkey("other.invalid/golive", LOG, public("hb-2"))
    bad_other = line("x\n", "other.invalid/golive", "hb-2")
    shapes: list[tuple[str, str | bytes]] = [
        ("no newline at the end", POLICY[:-1]),
        ("nothing", ""),
        ("no quorum", LOG_LINE),
        ("a second quorum", POLICY + "quorum none\n"),
        ("an unknown quorum", f"{LOG_LINE}quorum w1\n"),
        ("a quorum of two names", f"{LOG_LINE}{WITNESS_LINES}quorum w1 w2\n"),
        ("an unknown line", f"{LOG_LINE}mirror x\n{tail}"),
        ("a line with a capital", f"Log {LOG_KEY}\n{tail}"),
        ("a log without a key", f"log\n{tail}"),
        ("a log with three words", f"log {LOG_KEY} http://x y\n{tail}"),
        ("a log with a bad key", f"log {LOG_KEY[:-4]}\n{tail}"),
        ("a witness without a key", f"witness w1\n{tail}"),
        ("a witness with a log's key", f"witness w1 {LOG_KEY}\n{tail}"),
        ("a witness with a key of small order", f"witness w1 {vkey('w', WITNESS, bytes(32))}\n{tail}"),
        ("a name that is taken", f"witness w1 {keys[0]}\nwitness w1 {keys[1]}\n{tail}"),
        ("the name none", f"witness none {keys[0]}\n{tail}"),
        ("a key under two names", f"witness a {keys[0]}\nwitness b {keys[0]}\n{tail}"),
        ("a raw key under two key names",
         f"witness a {keys[0]}\nwitness b {vkey('x', WITNESS, public('w1'))}\n{tail}"),
        ("a log twice", f"{LOG_LINE}{LOG_LINE}{tail}"),
        ("a group of nobody", f"{WITNESS_LINES}group g 1\n{tail}"),
        ("a group that is taken", f"{WITNESS_LINES}group w1 1 w2\n{tail}"),
        ("a group of itself", f"{WITNESS_LINES}group g 1 g\n{tail}"),
        ("a group of somebody later", f"group g 1 w1\n{WITNESS_LINES}{tail}"),
        ("a member of two groups", f"{WITNESS_LINES}group g 1 w1\ngroup h 1 w1\n{tail}"),
        ("a member twice", f"{WITNESS_LINES}group g 2 w1 w1\n{tail}"),
        ("a threshold of 0", f"{WITNESS_LINES}group g 0 w1\n{tail}"),
        ("a threshold of 2 of 1", f"{WITNESS_LINES}group g 2 w1\n{tail}"),
        ("a threshold of 01", f"{WITNESS_LINES}group g 01 w1\n{tail}"),
        ("a threshold with a word of JavaScript", f"{WITNESS_LINES}group g constructor w1\n{tail}"),
        ("65 witnesses", f"{LOG_LINE}{many}{tail}"),
        ("a carriage return", POLICY.replace("\n", "\r\n")),
        ("a null", POLICY.replace("quorum", "# \x00\nquorum")),
        ("a key's name that is not UTF-8", b"log \xff" + LOG_KEY.encode() + b"\n" + tail.encode()),
    ]  # fmt: skip
    found = [_policy(name, raw, bad, "It breaks a rule of its form.") for name, raw in shapes]
    log, w1, w2, w3 = by_log(), by_witness("w1"), by_witness("w2"), by_witness("w3")
    spaced = "# a comment\n\n\t" + POLICY.replace(" ", " \t")
    return [
        *found,
        _policy("good", POLICY, all_three, "It is one."),
        _policy("blanks, tabs and comments", spaced, all_three, "They mean nothing."),
        _policy("with URLs", POLICY.replace(LOG_KEY, f"{LOG_KEY} https://x/"), all_three, "One at most."),
        _policy("a name that is not UTF-8", POLICY.encode().replace(b" two", b" \xff"), all_three,
                "Names are bytes."),
        _policy("two of three", POLICY, accepted, "The quorum is met.", note(log, w1, w3)),
        _policy("three of three", POLICY, accepted, "The quorum is met.", note(log, w1, w2, w3)),
        _policy("one of three", POLICY, quorum, "The quorum is not met.", note(log, w2)),
        _policy("one twice", POLICY, quorum, "A witness counts once.", note(log, w2, w2)),
        _policy("no witness", POLICY, quorum, "The quorum is not met.", note(log)),
        _policy("no quorum is asked for", f"{LOG_LINE}{tail}", accepted, "Its log is enough.", note(log)),
        _policy("groups of groups", nested, accepted, "One of two, and the third.", note(log, w2, w3)),
        _policy("groups of groups, one is missing", nested, quorum, "All of b.", note(log, w1, w2)),
        _policy("witnesses alone", POLICY, refused("note-4"), "Its log has not signed it.", note(w1, w2)),
        _policy("a bad cosignature", POLICY, refused("note-3"), "Refused as a whole.",
                note(log, w1, w2, by_witness("w3", "x\n"))),
        _policy("of another origin", POLICY, refused("note-4"), "No log of that origin.", _other_origin()),
        _policy("a bad line of another log's key", f"log {second}\n{POLICY}", accepted,
                "The key of one log says nothing about another.", note(bad_other, log, w1, w2)),
    ]  # fmt: skip


ENTRIES = [envelope("note", samples.note(text=f"note {n}")) for n in range(7)]


def _tlog_proofs() -> list[Vector]:
    leaves = [hashlib.sha256(b"\x00" + raw).digest() for raw in ENTRIES]
    text = f"{ORIGIN}\n7\n{b64(naive_root(leaves))}\n"
    checkpoint = note(by_log(text), by_witness("w1", text), by_witness("w2", text), text=text)
    path = [b64(each) for each in naive_inclusion(5, leaves)]

    def proof(
        *, index: str = "index 5", extra: str = "", hashes: list[str] | None = None, head: str = "",
        note_: str = checkpoint,
    ) -> str:  # fmt: skip
        first = head or "c2sp.org/tlog-proof@v1"
        lines = [first, *([extra] if extra else []), index, *(path if hashes is None else hashes)]
        return "\n".join(lines) + "\n\n" + note_

    def one(
        name: str, raw: str, expect: dict[str, Any], why: str, entry: bytes = ENTRIES[5]
    ) -> Vector:
        given = {"proof": {"text": raw}, "entry": given_bytes(entry), "policy": {"text": POLICY}}
        return _vector("proof", f"proof: {name}", given, expect, why)

    good = {"accept": {"index": "5", "size": "7"}}
    bad, wrong = refused("proof"), refused("tree-proof")
    few = note(by_log(text), by_witness("w1", text), text=text)
    return [
        one("good", proof(), good, "The entry is in the log."),
        one("with extra bytes", proof(extra="extra AAAA"), good, "Nobody has signed them."),
        one("of another entry", proof(), wrong, "It is another leaf.", ENTRIES[4]),
        one("at another index", proof(index="index 4"), wrong, "It is another place."),
        one("a hash too many", proof(hashes=[*path, path[0]]), wrong, "Refused as a whole."),
        one("a hash too few", proof(hashes=path[:-1]), wrong, "Refused as a whole."),
        one(
            "an index that is not in the log",
            proof(index="index 7"),
            refused("tree-size"),
            "From 0.",
        ),
        one("too few witnesses", proof(note_=few), refused("quorum"), "The quorum is not met."),
        one("another version", proof(head="c2sp.org/tlog-proof@v2"), bad, "It is not known."),
        one("no index", proof(index=path[0]), bad, "It says which entry."),
        one("a leading zero", proof(index="index 05"), bad, "No number."),
        one("an index of 2^63", proof(index=f"index {2**63}"), bad, "No number."),
        one("bad base64 of extra bytes", proof(extra="extra AB=="), bad, "Bad base64."),
        one("bad base64 of a hash", proof(hashes=["!", *path[1:]]), bad, "Bad base64."),
        one("a hash of 31 bytes", proof(hashes=[b64(b"0" * 31), *path[1:]]), bad, "Each has 32."),
        one("64 hashes", proof(hashes=path[:1] * 64), bad, "63 are the most."),
        one("no checkpoint", proof().split("\n\n")[0] + "\n", bad, "It ends too soon."),
        one("a carriage return", proof().replace("\n", "\r\n", 1), bad, "Another first line."),
    ]


def trees_file() -> File:
    return File("Trees of RFC 6962: roots, and proofs by RFC 9162.", [*_roots(), *_proofs()])


def notes_file() -> File:
    return File("Signed notes and verifier keys, by C2SP signed-note.", [*_notes(), *_vkeys()])


def checkpoints_file() -> File:
    vectors = [*_checkpoints(), *_policies(), *_tlog_proofs()]
    return File("Checkpoints, policies and proofs of one entry, by C2SP.", vectors)


FILES = {"trees": trees_file, "notes": notes_file, "checkpoints": checkpoints_file}
