"""Vectors of envelopes: their form, their types, and who has signed them."""

from __future__ import annotations

import json
from typing import Any

from . import samples
from .form import (
    EVERYBODY,
    WHERE,
    Vector,
    b64,
    canonical,
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


def changed(value: Any) -> bytes:
    return canonical(value).encode()


def structure() -> list[Vector]:
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


def types() -> list[Vector]:
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


def signatures() -> list[Vector]:
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
