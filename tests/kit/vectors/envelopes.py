"""Vectors of the strict JSON, of base64, of envelopes and of what records make together."""

from __future__ import annotations

import json
from typing import Any

from . import samples
from .form import (
    EVERYBODY,
    START_MS,
    WHERE,
    File,
    Vector,
    b64,
    canonical,
    digest,
    envelope,
    given_bytes,
    identity,
    keyid,
    keyset,
    parts,
    payload_of,
    principal,
    private,
    refused,
    signature,
)

KEYSETS = {
    "one": canonical(keyset()),
    "two": canonical(keyset(thresholds={"approver": 2, "extend": 1, "root": 2, "resume": 3})),
    "expired": canonical({**keyset(), "expires": "2025-10-08"}),
    "the last day": canonical({**keyset(), "expires": "2025-10-09"}),
    "pod-1 is an auditor": canonical(
        keyset(principals=EVERYBODY | {"pod-1": principal("pod-1", "auditor")})
    ),
}


def accepted(kind: str, record: Any, *signers: str) -> dict[str, Any]:
    names = sorted(signers or (record["by"],))
    return {
        "accept": {
            "kind": kind,
            "identity": identity(kind, record),
            "by": record["by"],
            "signers": names,
        }
    }


def case(
    name: str, raw: bytes, expect: dict[str, Any], why: str, *, keys: str = "one", **more: Any
) -> Vector:
    given = {"envelope": given_bytes(raw), "keyset": keys, **WHERE, **more}
    return Vector(name, "envelope", given, expect, why)


# -- JSON and base64 -------------------------------------------------------------------------------

GOOD_JSON: list[tuple[str, Any]] = [
    ("{}", {}),
    (" \t\r\n[1, 2]\n", [1, 2]),
    ('{"a":{"b":[true,false,null]}}', {"a": {"b": [True, False, None]}}),
    ("9007199254740991", 2**53 - 1),
    ("-9007199254740991", 1 - 2**53),
    ("-0", 0),
    ('"\\u00e9\\n\\/"', "\u00e9\n/"),
    ('"\\ud83d\\uded1"', "\N{OCTAGONAL SIGN}"),
    ('"\N{OCTAGONAL SIGN}"', "\N{OCTAGONAL SIGN}"),
    ('{"__proto__":1,"constructor":2}', {"__proto__": 1, "constructor": 2}),
    ("[[[[[[[1]]]]]]]", [[[[[[[1]]]]]]]),
    ("[[[[[[[[]]]]]]]]", [[[[[[[[]]]]]]]]),
    ('"\x7f\u2028"', "\x7f\u2028"),
    (" " * 8190 + "{}", {}),
]
BAD_JSON: list[tuple[str, bytes]] = [
    ("a key is there twice", b'{"a":1,"a":1}'),
    ("a key is there twice, once as an escape", b'{"a":1,"\\u0061":2}'),
    ("a key is there twice, deep inside", b'[{"x":{"a":1,"b":2,"a":3}}]'),
    ("1.0 is not an integer", b"1.0"),
    ("1e2 is not an integer", b"1e2"),
    ("-0.0 is not an integer", b"-0.0"),
    ("1E2 is not an integer", b"[1E2]"),
    ("2^53 is beyond 2^53-1", b"9007199254740992"),
    ("2^53+1 is beyond 2^53-1", b"9007199254740993"),
    ("-2^53 is beyond it, too", b"-9007199254740992"),
    ("2^64 is beyond 2^53-1", b"18446744073709551616"),
    ("four thousand digits", b"1" * 4000),
    ("a leading zero", b"01"),
    ("a plus", b"+1"),
    ("a minus alone", b"-"),
    ("a hexadecimal number", b"0x10"),
    ("NaN", b"NaN"),
    ("Infinity", b"[Infinity]"),
    ("-Infinity", b"[-Infinity]"),
    ("nothing", b""),
    ("blanks only", b"  "),
    ("something after the end", b"{} {}"),
    ("a comma at the end", b"[1,]"),
    ("a comma at the end of an object", b'{"a":1,}'),
    ("a comment", b"{}//x"),
    ("single quotes", b"{'a':1}"),
    ("a name without quotes", b"{a:1}"),
    ("an array that does not end", b"[1"),
    ("a string that does not end", b'"x'),
    ("a control character in a string", b'"\x01"'),
    ("a newline in a string", b'"a\nb"'),
    ("an unknown escape", b'"\\x41"'),
    ("an escape with three digits", b'"\\u123"'),
    ("an escape with a sign", b'"\\u+123"'),
    ("a lone high surrogate", b'"\\ud83d"'),
    ("a lone low surrogate", b'"\\uded1"'),
    ("surrogates in the wrong order", b'"\\uded1\\ud83d"'),
    ("a lone surrogate as a name", b'{"\\ud800":1}'),
    ("a surrogate as UTF-8", b'"\xed\xa0\x80"'),
    ("not UTF-8", b'"\xff"'),
    ("UTF-8 that is longer than it has to be", b'"\xc0\xaf"'),
    ("a byte order mark", b"\xef\xbb\xbf{}"),
    ("UTF-16", '{"a":1}'.encode("utf-16-le")),
    ("a blank that JSON does not know", b"\xc2\xa0{}"),
    ("a form feed", b"\x0c{}"),
    ("true with a capital", b"True"),
    ("nested eight deep with something inside", b"[" * 8 + b"1" + b"]" * 8),
    ("nested nine deep", b"[" * 9 + b"]" * 9),
    ("nested thousands deep", b"[" * 4000 + b"]" * 4000),
    ("one byte too many", b" " * 8191 + b"{}"),
]


def json_file() -> File:
    vectors = [
        Vector(
            f"good {number}: {text.strip()[:40]}",
            "json",
            {"json": given_bytes(text.encode())},
            {"accept": {"value": value}},
            "It is strict JSON.",
        )
        for number, (text, value) in enumerate(GOOD_JSON)
    ]
    vectors += [
        Vector(
            name,
            "json",
            {"json": given_bytes(raw)},
            refused("envelope-1"),
            "It is not strict JSON.",
        )
        for name, raw in BAD_JSON
    ]
    return File("Strict JSON of at most 8192 bytes: the value, or a refusal.", vectors)


GOOD_BASE64 = ["", "AA==", "AAA=", "AAAA", "+/+/", "AQIDBAU="]
BAD_BASE64 = [
    ("no padding", "AA"),
    ("half of the padding", "AA="),
    ("too much padding", "AAAA===="),
    ("padding in the middle", "AA==AAAA"),
    ("only padding", "===="),
    ("one character", "A"),
    ("the URL alphabet", "-_-_"),
    ("a newline at the end", "AAAA\n"),
    ("a blank inside", "AA AA"),
    ("bits behind the last byte", "AB=="),
    ("bits behind the last two bytes", "AAB="),
    ("a letter that is not ASCII", "AAA\u00e4"),
    ("a null", "AAA\x00"),
]


def base64_file() -> File:
    import base64  # noqa: PLC0415

    vectors = [
        Vector(
            f"good {number}",
            "base64",
            {"text": text},
            {"accept": {"hex": base64.b64decode(text).hex()}},
            "The standard alphabet with padding.",
        )
        for number, text in enumerate(GOOD_BASE64)
    ]
    vectors += [
        Vector(
            name,
            "base64",
            {"text": text},
            refused("envelope-3"),
            "It is another text than its bytes encode to.",
        )
        for name, text in BAD_BASE64
    ]
    return File("Base64 as payload and signatures have it: the bytes, or a refusal.", vectors)


# -- envelopes -------------------------------------------------------------------------------------


def changed(value: Any) -> bytes:
    return canonical(value).encode()


def _structure() -> list[Vector]:
    record = samples.note()
    good = parts("note", record)
    sig = good["signatures"][0]
    many = [{"keyid": f"stranger {n}", "sig": b64(b"0" * 64)} for n in range(16)]
    text = changed(good)
    texts = ("x", "xx", "xxx")
    (padded, *_) = (
        value
        for value in (parts("note", samples.note(text=word)) for word in texts)
        if value["payload"].endswith("=")
    )
    refusals: list[tuple[str, bytes, str, str]] = [
        ("a member that is not known", changed({**good, "alg": "none"}), "1", "Three, no more."),
        (
            "no payload",
            changed({k: v for k, v in good.items() if k != "payload"}),
            "1",
            "All three.",
        ),
        (
            "no signatures",
            changed({k: v for k, v in good.items() if k != "signatures"}),
            "1",
            "All three.",
        ),
        ("payload is no text", changed({**good, "payload": 1}), "1", "Base64 is text."),
        ("payload is null", changed({**good, "payload": None}), "1", "Base64 is text."),
        ("signatures is an object", changed({**good, "signatures": sig}), "1", "It is a list."),
        (
            "a signature with one more member",
            changed({**good, "signatures": [{**sig, "alg": "none"}]}),
            "1",
            "Nothing in the envelope chooses an algorithm.",
        ),
        (
            "a signature without a key id",
            changed({**good, "signatures": [{"sig": sig["sig"]}]}),
            "1",
            "Both members are there.",
        ),
        (
            "an empty key id",
            changed({**good, "signatures": [{**sig, "keyid": ""}, sig]}),
            "1",
            "A key id has 1 to 128 characters.",
        ),
        (
            "a key id of 129 characters",
            changed({**good, "signatures": [{**sig, "keyid": "x" * 129}, sig]}),
            "1",
            "A key id has 1 to 128 characters.",
        ),
        (
            "a signature of 129 characters",
            changed({**good, "signatures": [{"keyid": "x", "sig": "A" * 129}, sig]}),
            "1",
            "A signature has at most 128 characters.",
        ),
        ("it is a list", changed([good]), "1", "An envelope is an object."),
        ("it is a text", changed("x"), "1", "An envelope is an object."),
        (
            "payloadType is there twice",
            text[:-1] + b',"payloadType":"x"}',
            "1",
            "Two readers could take one each.",
        ),
        ("8193 bytes", text + b" " * (8193 - len(text)), "1", "8192 bytes are the most."),
        ("it begins with a byte order mark", b"\xef\xbb\xbf" + text, "1", "That is no JSON."),
        ("no signature", changed({**good, "signatures": []}), "4", "One at least."),
        ("17 signatures", changed({**good, "signatures": [*many, sig]}), "4", "16 at most."),
        (
            "one key id twice",
            changed({**good, "signatures": [sig, sig]}),
            "4",
            "One key would count twice.",
        ),
        (
            "one unknown key id twice",
            changed({**good, "signatures": [sig, many[0], many[0]]}),
            "4",
            "Also where nobody knows it.",
        ),
        (
            "base64 of the payload without padding",
            changed({**padded, "payload": padded["payload"].rstrip("=")}),
            "3",
            "Two texts would be one payload.",
        ),
        (
            "base64 of an unknown signature that is bad",
            changed({**good, "signatures": [sig, {"keyid": "x", "sig": "AB=="}]}),
            "3",
            "The envelope is refused as a whole.",
        ),
    ]
    vectors = [case(name, raw, refused(f"envelope-{n}"), why) for name, raw, n, why in refusals]
    fine = accepted("note", record)
    pretty = json.dumps(good, indent=1).encode()
    vectors += [
        case("in another form of JSON", pretty, fine, "The envelope is read, not compared."),
        case(
            "exactly 8192 bytes", text + b" " * (8192 - len(text)), fine, "8192 bytes are the most."
        ),
        case(
            "15 strangers have signed, too",
            changed({**good, "signatures": [*many[:15], sig]}),
            fine,
            "A signature by a key that is not listed is ignored.",
        ),
    ]
    return vectors


def _types() -> list[Vector]:
    record = samples.note()
    payload = payload_of(record)
    names = [
        "application/vnd.golive.note.v2+json",
        "application/vnd.golive.checkpoint.v1+json",
        "application/json",
        "application/vnd.golive.toString.v1+json",
        "",
    ]
    vectors = [
        case(
            f"payload type {name!r}",
            envelope(name, record, "hb-1")
            if "/" in name
            else changed({**parts("note", record), "payloadType": name}),
            refused("envelope-2"),
            "That is no kind of ours.",
        )
        for name in names
    ]
    moved = {
        **parts("grant", payload, "hb-1"),
        "payloadType": "application/vnd.golive.note.v1+json",
    }
    return [
        *vectors,
        case(
            "a note where a grant is expected",
            envelope("note", record),
            refused("envelope-2"),
            "A record counts only at its own place.",
            kind="grant",
        ),
        case(
            "a note where a note is expected",
            envelope("note", record),
            accepted("note", record),
            "It is of that kind.",
            kind="note",
        ),
        case(
            "signed under another type",
            changed(moved),
            refused("envelope-5"),
            "The type is part of what is signed.",
        ),
    ]


def _signatures() -> list[Vector]:
    record = samples.grant()
    good = parts("grant", record)
    sig = good["signatures"][0]
    bad = {"keyid": keyid("bob"), "sig": sig["sig"]}
    bare = b64(private("alice").sign(payload_of(record)))
    edited = payload_of(record).replace(b'"open"', b'"opem"')
    both = ("alice", "bob")
    again = signature("grant", payload_of(record), "alice-2")

    def with_(*signatures: Any) -> bytes:
        return changed({**good, "signatures": list(signatures)})

    return [
        case(
            "a bad signature of a known key beside a good one",
            with_(sig, bad),
            refused("envelope-5"),
            "Somebody has changed it, so it is refused although one is enough.",
        ),
        case(
            "a bad signature of a known key in another role",
            with_(sig, {"keyid": keyid("audrey"), "sig": sig["sig"]}),
            refused("envelope-5"),
            "Whatever its role is.",
        ),
        case(
            "a signature over the payload alone",
            with_({"keyid": keyid("alice"), "sig": bare}),
            refused("envelope-5"),
            "The PAE is signed.",
        ),
        case(
            "an empty signature",
            with_({"keyid": keyid("alice"), "sig": ""}),
            refused("envelope-5"),
            "It has 64 bytes.",
        ),
        case(
            "a signature of 65 bytes",
            with_({"keyid": keyid("alice"), "sig": b64(b"0" * 65)}),
            refused("envelope-5"),
            "It has 64 bytes.",
        ),
        case(
            "S is not below the order of the group",
            with_({"keyid": keyid("alice"), "sig": _unreduced(sig["sig"])}),
            refused("envelope-5"),
            "RFC 8032 section 5.1.7: a second signature could be made of each.",
        ),
        case(
            "the payload was changed",
            changed({**good, "payload": b64(edited)}),
            refused("envelope-5"),
            "Another byte than what was signed.",
        ),
        case(
            "nobody known has signed",
            with_({"keyid": "00" * 32, "sig": sig["sig"]}),
            refused("envelope-6"),
            "Strangers count for nothing.",
        ),
        case(
            "a key id with capitals",
            with_({"keyid": keyid("alice").upper(), "sig": sig["sig"]}),
            refused("envelope-6"),
            "It is another key id, of nobody.",
        ),
        case(
            "two have signed where one is enough",
            envelope("grant", record, *both),
            accepted("grant", record, *both),
            "Both count.",
        ),
        case(
            "one key of one principal where two are needed",
            envelope("grant", record),
            refused("envelope-6"),
            "The threshold is two.",
            keys="two",
        ),
        case(
            "two keys of one principal where two are needed",
            with_(sig, again),
            refused("envelope-6"),
            "Distinct principals are counted, too.",
            keys="two",
        ),
        case(
            "two principals where two are needed",
            envelope("grant", record, *both),
            accepted("grant", record, *both),
            "The threshold is two.",
            keys="two",
        ),
        case(
            "an approver and a revoker where two approvers are needed",
            envelope("grant", record, "alice", "rita"),
            refused("envelope-6"),
            "Only the role that the record needs is counted.",
            keys="two",
        ),
        case(
            "one signs an `extend`, for which one is enough",
            envelope("grant", samples.grant(5, term=4, kind="extend")),
            accepted("grant", samples.grant(5, term=4, kind="extend")),
            "A kind of grant has a threshold of its own.",
            keys="two",
        ),
        case(
            "two sign a `resume`, for which three are needed",
            envelope("grant", samples.grant(5, term=4), *both),
            refused("envelope-6"),
            "A kind of grant has a threshold of its own.",
            keys="two",
        ),
        case(
            "three sign a `resume`",
            envelope("grant", samples.grant(5, term=4), *both, "carol"),
            accepted("grant", samples.grant(5, term=4), *both, "carol"),
            "A kind of grant has a threshold of its own.",
            keys="two",
        ),
        case(
            "`by` has not signed",
            envelope("grant", record, "bob"),
            refused("envelope-7"),
            "Whoever issues it signs it.",
        ),
        case(
            "`by` has signed in another role",
            envelope("grant", samples.grant(by="rita"), "alice", "rita"),
            refused("envelope-7"),
            "A revoker issues no grant.",
        ),
    ]


def _unreduced(sig: str) -> str:
    import base64  # noqa: PLC0415

    raw = base64.b64decode(sig)
    order = 2**252 + 27742317777372353535851937790883648493
    return b64(raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little"))


def _roles() -> list[Vector]:
    refusals: list[tuple[str, str, Any, str]] = [
        ("a revoker signs a grant", "grant", samples.grant(by="rita"), "rita"),
        ("a heartbeat signs a restriction", "restriction", samples.restriction(by="hb-1"), "hb-1"),
        ("a worker signs a revocation", "revocation", samples.revocation(by="pod-1"), "pod-1"),
        (
            "an approver signs a beat",
            "beat",
            samples.beat(by="alice", heartbeat="alice"),
            "alice",
        ),
        ("a revoker signs a report", "report", samples.report(by="rita"), "rita"),
        ("a heartbeat notes a confirmed stop", "note", samples.note("stop-confirmed"), "hb-1"),
        ("a revoker notes a goodbye", "note", samples.note("goodbye", by="rita"), "rita"),
        ("a revoker answers a proposal", "answer", samples.answer(by="rita"), "rita"),
        ("an auditor executes", "execution", samples.execution(by="audrey"), "audrey"),
        ("an approver rotates keysets", "keyset", samples.rotation(by="alice"), "alice"),
        ("one root of two", "keyset", samples.rotation(), "omar"),
        (
            "a heartbeat answers as a worker",
            "receipt",
            samples.receipt(by="hb-1"),
            "hb-1",
        ),
        (
            "a worker answers as a heartbeat",
            "receipt",
            samples.receipt(by="pod-1", worker=None, heartbeat="pod-1"),
            "pod-1",
        ),
    ]
    fine: list[tuple[str, str, Any]] = [
        ("an approver restricts", "restriction", samples.restriction(by="alice")),
        ("an approver stops", "revocation", samples.revocation(by="bob")),
        (
            "an approver notes a confirmed stop",
            "note",
            samples.note("stop-confirmed", by="alice"),
        ),
        ("a revoker was refused", "refusal", samples.refusal(by="rita")),
        ("an auditor was refused", "refusal", samples.refusal(by="audrey")),
    ]
    unknown = samples.note("weather")
    vectors = [
        case(name, envelope(kind, record, who), refused("envelope-6"), "Not in that role.")
        for name, kind, record, who in refusals
    ]
    vectors += [
        case(name, envelope(kind, record), accepted(kind, record), "That role may.")
        for name, kind, record in fine
    ]
    vectors.append(
        case(
            "a note on a topic that is not known",
            envelope("note", unknown),
            refused("envelope-13"),
            "A reader cannot tell who may write it.",
        )
    )
    return vectors


def _places() -> list[Vector]:
    newer = {"keyset_version": 4}
    refusals = [
        ("another namespace", "grant", samples.grant(namespace="other"), 8),
        ("another environment", "grant", samples.grant(environment="prod"), 8),
        ("a namespace with braces", "grant", samples.grant(namespace="{golive}"), 8),
        ("another fleet", "grant", samples.grant(fleet="e" * 32), 8),
        ("a stop of another fleet", "revocation", samples.revocation(fleet="e" * 32), 8),
        ("a grant under a newer keyset", "grant", samples.grant(**newer), 9),
        ("a beat under a newer keyset", "beat", samples.beat(**newer), 9),
        ("an answer under a newer keyset", "answer", samples.answer(**newer), 9),
        ("an execution under a newer keyset", "execution", samples.execution(**newer), 9),
        ("a worker answers for another", "receipt", samples.receipt(worker="pods"), 10),
        (
            "a shared key answers for a worker that has its own",
            "receipt",
            samples.receipt(by="pods"),
            10,
        ),
        (
            "a key that is not shared answers for a stranger",
            "receipt",
            samples.receipt(worker="pod-9"),
            10,
        ),
        ("a grant by a key that had expired", "grant", samples.grant(by="eve"), 11),
        ("a report by a key that had expired", "report", samples.report(by="eve"), 11),
        ("an answer by a key that had expired", "answer", samples.answer(by="eve"), 11),
        ("an execution by a key that had expired", "execution", samples.execution(by="eve"), 11),
        (
            "in the ms in which a key expires",
            "grant",
            samples.grant(by="frank", issued_at_ms=EXPIRES_MS),
            11,
        ),
    ]
    fine = [
        ("a grant under an older keyset", "grant", samples.grant(keyset_version=2)),
        ("a restriction under a newer keyset", "restriction", samples.restriction(**newer)),
        ("a stop under a newer keyset", "revocation", samples.revocation(**newer)),
        ("a report under a newer keyset", "report", samples.report(**newer)),
        (
            "a shared key answers for a stranger",
            "receipt",
            samples.receipt(by="pods", worker="p-9"),
        ),
        (
            "a heartbeat answers for itself",
            "receipt",
            samples.receipt(by="hb-1", worker=None, heartbeat="hb-1", beat_on=["a" * 40]),
        ),
        ("a stop by a key that had expired", "revocation", samples.revocation(by="eve")),
        (
            "a halt by a key that had expired",
            "restriction",
            samples.restriction(by="eve"),
        ),
        ("on the last day of a key", "grant", samples.grant(by="frank")),
        (
            "in the last ms of a key",
            "grant",
            samples.grant(by="frank", issued_at_ms=EXPIRES_MS - 1),
        ),
    ]
    vectors = [
        case(name, envelope(kind, record), refused(f"envelope-{rule}"), "It is not for this place.")
        for name, kind, record, rule in refusals
    ]
    vectors += [
        case(name, envelope(kind, record), accepted(kind, record), "It holds here.")
        for name, kind, record in fine
    ]
    new = [
        ("grant", samples.grant()),
        ("report", samples.report()),
        ("answer", samples.answer()),
        ("execution", samples.execution()),
        ("note", samples.note("generation", by="alice")),
    ]
    old = [
        ("restriction", samples.restriction()),
        ("revocation", samples.revocation()),
        ("beat", samples.beat()),
        ("receipt", samples.receipt()),
        ("note", samples.note()),
        ("refusal", samples.refusal()),
    ]
    vectors += [
        case(
            f"{record.get('topic', kind)}: the keyset had expired",
            envelope(kind, record),
            refused("envelope-11"),
            "Nothing new is taken under it.",
            keys="expired",
        )
        for kind, record in new
    ]
    vectors += [
        case(
            f"{record.get('topic', kind)}: on the last day of the keyset",
            envelope(kind, record),
            accepted(kind, record),
            "It is good until the end of that day.",
            keys="the last day",
        )
        for kind, record in new
    ]
    vectors += [
        case(
            f"{record.get('topic', kind)}: under a keyset that had expired",
            envelope(kind, record),
            accepted(kind, record),
            "What takes away, tells or keeps a running term never expires.",
            keys="expired",
        )
        for kind, record in old
    ]
    anew = samples.note("generation", by="alice")
    vectors += [
        case(
            "generation: one approver where two are needed",
            envelope("note", anew),
            refused("envelope-6"),
            "No single person says that what was remembered counts no more.",
            keys="two",
        ),
        case(
            "generation: two approvers",
            envelope("note", anew, "alice", "bob"),
            accepted("note", anew, "alice", "bob"),
            "As many as a grant takes.",
            keys="two",
        ),
        case(
            "generation: under a newer keyset",
            envelope("note", {**anew, **newer}),
            refused("envelope-9"),
            "As a grant.",
        ),
        case(
            "generation: by a key that had expired",
            envelope("note", samples.note("generation", by="eve")),
            refused("envelope-11"),
            "As a grant.",
        ),
    ]
    lapsed = envelope("grant", samples.grant(), "alice", "eve")
    other = samples.receipt()
    return [
        *vectors,
        case(
            "one good key and one that had expired where two are needed",
            lapsed,
            refused("envelope-11"),
            "A key that had expired does not count for the threshold.",
            keys="two",
        ),
        case(
            "one good key and one that had expired where one is enough",
            lapsed,
            accepted("grant", samples.grant(), "alice"),
            "It is not a bad signature, it does not count.",
        ),
        case(
            "a worker whose own principal is none",
            envelope("receipt", samples.receipt(by="pods")),
            refused("envelope-10"),
            "A principal of that name that is no worker leaves nobody.",
            keys="pod-1 is an auditor",
        ),
        case(
            "in the namespace with braces",
            envelope("receipt", {**other, "namespace": "{golive}"}),
            accepted("receipt", {**other, "namespace": "{golive}"}),
            "Braces are part of a namespace.",
            namespace="{golive}",
        ),
    ]


EXPIRES_MS = 1_760_054_400_000  # 2025-10-10 00:00 UTC, the end of 2025-10-09

# -- what records make together --------------------------------------------------------------------


def _covers() -> list[Vector]:
    seen = {"issued_at_ms": START_MS, "epoch": 5, "blind": False}
    blind = {**seen, "blind": True}
    late = START_MS + 1_000_000
    card = {**seen, "until_ms": START_MS + 10}
    cases: list[tuple[str, Any, int, int, int, bool]] = [
        ("a term under its epoch", seen, 4, START_MS + 5, late, True),
        ("a term at its epoch", seen, 5, START_MS + 5, late, True),
        ("a later term", seen, 6, START_MS - 5, late, False),
        ("a stop card: a term that began before its end", card, 5, START_MS + 9, late, True),
        ("a stop card: a term that began at its end", card, 5, START_MS + 10, late, False),
        ("a stop card: a term above its epoch", card, 6, START_MS + 9, late, False),
        ("blind: a later term that was activated before it", blind, 6, START_MS - 1, late, True),
        ("blind: a term of the same ms", blind, 6, START_MS, late, True),
        ("blind: a term that was activated after it", blind, 6, START_MS + 1, late, False),
        (
            "blind, by a clock that is fast: activated 30 s after it came",
            {**blind, "issued_at_ms": START_MS + 86_400_000},
            6,
            START_MS + 30_000,
            START_MS,
            True,
        ),
        (
            "blind, by a clock that is fast: activated later than that",
            {**blind, "issued_at_ms": START_MS + 86_400_000},
            6,
            START_MS + 30_001,
            START_MS,
            False,
        ),
    ]
    card = {**seen, "until_ms": START_MS + 60_000}
    cases += [
        (
            "a card: a term under its epoch, begun before its end",
            card,
            4,
            START_MS + 59_999,
            late,
            True,
        ),
        ("a card: begun at its end", card, 4, START_MS + 60_000, late, False),
        ("a card: begun after its end", card, 4, START_MS + 60_001, late, False),
        ("a card: a term above its epoch", card, 6, START_MS - 1, late, False),
    ]
    return [
        Vector(
            f"covers: {name}",
            "covers",
            {"revocation": record, "term": term, "activated_at_ms": at, "arrived_ms": arrived},
            {"accept": {"covers": expected}},
            "The rule is in the table of `revocation`.",
        )
        for name, record, term, at, arrived, expected in cases
    ]


def _states() -> list[Vector]:
    halt, reduce, demote, other = (
        samples.restriction(2),
        samples.restriction(3, "reduce", labels={}),
        samples.restriction(4, "demote"),
        samples.restriction(5, "halt", labels={}, term=2),
    )
    every = [halt, reduce, demote, other]
    names = {id(each): identity("restriction", each) for each in every}

    def state(
        name: str, grant: Any, held: list[Any], given: list[Any], mode: str, profile: str
    ) -> Vector:
        ids = [names[id(each)] for each in held]
        joined = "\n".join(sorted([identity("grant", grant), *ids]))
        found = {
            "in_force": sorted(ids),
            "digest": digest(joined),
            "mode": mode,
            "profile": profile,
        }
        return Vector(
            name, "state", _given(grant, given), {"accept": found}, "From records to a state."
        )

    first = samples.grant(profile="large")
    drops = samples.grant(6, term=1, profile="large", drops=[names[id(reduce)]])
    up_to = samples.grant(6, term=1, profile="small", drops_up_to=4, keeps=[names[id(halt)]])
    return [
        state("a grant alone", first, [], [], "live", "large"),
        state("a halt with labels", first, [halt], [halt], "live", "large"),
        state("all that is of the term", first, every[:3], every, "reduce_only", "micro"),
        state("one is let go by name", drops, [halt, demote], every, "live", "micro"),
        state("all up to a number are let go but one", up_to, [halt], every, "live", "small"),
        Vector(
            "one that it keeps is missing",
            "state",
            _given(up_to, [reduce]),
            refused("state"),
            "Something was lost, so there is no state.",
        ),
    ]


def _given(grant: Any, restrictions: list[Any]) -> dict[str, Any]:
    return {
        "grant": given_bytes(envelope("grant", grant)),
        "restrictions": [given_bytes(envelope("restriction", each)) for each in restrictions],
        "keyset": "one",
        **WHERE,
    }


def envelopes_file() -> File:
    vectors = [*_structure(), *_types(), *_signatures(), *_roles(), *_places()]
    return File("Envelopes: who has signed what, and for which place.", vectors, KEYSETS)


def states_file() -> File:
    return File("What records make together.", [*_covers(), *_states()], {"one": KEYSETS["one"]})
