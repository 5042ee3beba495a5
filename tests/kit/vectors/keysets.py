"""Vectors of keysets: files, public keys that nobody may trust, and the steps from one to the next."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from typing import Any

from kit.curve import PRIME, encoded, small_order_points

from . import samples
from .form import (
    EVERYBODY,
    FLEET,
    WHERE,
    File,
    Vector,
    b64,
    canonical,
    digest,
    envelope,
    given_bytes,
    key_text,
    keyid,
    keyset,
    principal,
    public,
    refused,
)

GOOD = keyset()


def _ids(value: Any) -> list[str]:
    """The ids of the keys of our principals, whose names are those of their keys."""
    names = [*value["principals"], *(["alice-2"] if "alice" in value["principals"] else [])]
    return sorted(map(keyid, names))


def _accepted(value: Any) -> dict[str, Any]:
    found = {"version": value["version"], "fleet": value["fleet"], "keys": _ids(value)}
    return {"accept": found}


def _file(name: str, value: Any, expect: dict[str, Any], why: str) -> Vector:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Vector(name, "keyset", {"keyset": given_bytes(raw)}, expect, why)


def _with(name: str, **fields: Any) -> dict[str, Any]:
    """The good keyset with fields of a principal changed; None takes one away."""
    entry = {k: v for k, v in {**EVERYBODY[name], **fields}.items() if fields.get(k, 0) != "gone"}
    return keyset(principals=EVERYBODY | {name: entry})


def _with_key(text: Any) -> dict[str, Any]:
    return _with("bob", keys=[text])


def _ssh(raw: bytes, algorithm: bytes = b"ssh-ed25519") -> str:
    blob = len(algorithm).to_bytes(4, "big") + algorithm + len(raw).to_bytes(4, "big") + raw
    return f"ssh-ed25519 {b64(blob)}"


BOB = public("bob")
ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
# The last letter of 32 bytes has two bits that mean nothing: the same key in another spelling.
ODD = key_text(BOB)[:-2] + ALPHABET[ALPHABET.index(key_text(BOB)[-2]) + 1] + "="
LESS = {name: EVERYBODY[name] for name in ("alice", "rita")}

SHAPES: list[tuple[str, Any]] = [
    ("no fleet", {k: v for k, v in GOOD.items() if k != "fleet"}),
    ("no version", {k: v for k, v in GOOD.items() if k != "version"}),
    ("no principals", {k: v for k, v in GOOD.items() if k != "principals"}),
    ("an unknown setting", {**GOOD, "expire": None}),
    ("version 0", {**GOOD, "version": 0}),
    ("version as text", {**GOOD, "version": "3"}),
    ("a fleet with capitals", {**GOOD, "fleet": "F" * 32}),
    ("principals is a list", {**GOOD, "principals": []}),
    ("nobody", {**GOOD, "principals": {}}),
    ("a principal that is null", {**GOOD, "principals": {"x": None}}),
    ("a name with a blank", {**GOOD, "principals": {"a b": EVERYBODY["alice"]}}),
    ("no roles", _with("bob", roles="gone")),
    ("an empty list of roles", _with("bob", roles=[])),
    ("an unknown role", _with("bob", roles=["admin"])),
    ("no keys", _with("bob", keys=[])),
    ("nine keys", _with("bob", keys=[key_text(public(f"bob-{n}")) for n in range(9)])),
    ("a key that is no text", _with_key(1)),
    ("shared is no truth value", _with("pods", shared=1)),
    ("an unknown authority", _with("carol", authority="law")),
    ("an unknown setting of a principal", _with("bob", until=None)),
    ("expires on 31 February", _with("bob", expires="2027-02-31")),
    ("expires on 29 February 2027", _with("bob", expires="2027-02-29")),
    ("expires in a month 13", _with("bob", expires="2027-13-01")),
    ("the keyset expires on 31 February", {**GOOD, "expires": "2027-02-31"}),
    ("the keyset expires in words", {**GOOD, "expires": "never"}),
    ("expires before 1970", _with("bob", expires="1969-12-31")),
    ("expires with a time", _with("bob", expires="2027-01-31T00:00:00")),
    ("expires in two digits", _with("bob", expires="27-01-31")),
    ("expires as a number", _with("bob", expires=20270131)),
    ("a threshold of 0", keyset(thresholds={"approver": 0})),
    ("a threshold of 9", keyset(thresholds={"approver": 9})),
    ("a threshold as text", keyset(thresholds={"approver": "2"})),
    ("a threshold of something unknown", keyset(thresholds={"stop": 1})),
    ("a last day of the keyset that there is not", {**GOOD, "expires": "2027-02-29"}),
    ("a last day of the keyset as a number", {**GOOD, "expires": 20270228}),
    ("it is a list", [GOOD]),
    ("a principal twice", canonical(GOOD).replace('"bob":', '"alice":', 1).encode()),
]

THRESHOLDS: list[tuple[str, Any]] = [
    ("two revokers are needed", keyset(thresholds={"revoker": 2})),
    ("two heartbeats are needed", keyset(thresholds={"heartbeat": 2})),
    ("more approvers than there are", keyset(thresholds={"approver": 6})),
    ("more signers of an `extend` than there are", keyset(thresholds={"extend": 6})),
    ("two roots of one", keyset(principals=LESS, thresholds={"root": 2})),
    ("a worker is needed, and there is none", keyset(principals=LESS, thresholds={"worker": 1})),
]

KEYS: list[tuple[str, Any]] = [
    ("another algorithm", _with_key(f"rsa:{b64(BOB)}")),
    ("no algorithm", _with_key(b64(BOB))),
    ("31 bytes", _with_key(key_text(BOB[:31]))),
    ("33 bytes", _with_key(key_text(BOB + b"\x00"))),
    ("no base64", _with_key("ed25519:!")),
    ("base64 without padding", _with_key(key_text(BOB).rstrip("="))),
    ("an OpenSSH key of another type", _with_key("ssh-rsa AAAA")),
    ("an OpenSSH key that names another type inside", _with_key(_ssh(BOB, b"ssh-ed25518"))),
    ("an OpenSSH key of 31 bytes", _with_key(_ssh(BOB[:31]))),
    ("an OpenSSH key with something after it", _with_key(_ssh(BOB + b"\x00"))),
    ("an OpenSSH line without its key", _with_key("ssh-ed25519")),
    ("one key of two principals", _with_key(key_text(public("alice")))),
    ("one key twice of one principal", _with("bob", keys=[key_text(BOB)] * 2)),
    ("one key in two spellings", _with("bob", keys=[key_text(BOB), ODD])),
    ("one key in both forms", _with("bob", keys=[key_text(BOB), _ssh(BOB)])),
]


def _unsound() -> list[tuple[str, bytes]]:
    points = sorted(encoded(point) for point in small_order_points())
    found = [(f"small order: {raw.hex()}", raw) for raw in points]
    # x = 0 with the sign of a negative x: another encoding of the same two points.
    for y in (1, PRIME - 1):
        raw = (y | 1 << 255).to_bytes(32, "little")
        found.append((f"small order, the other sign: {raw.hex()}", raw))
    for y in (PRIME, PRIME + 1, PRIME + 2, 2**255 - 1):
        for sign in (0, 1):
            raw = (y | sign << 255).to_bytes(32, "little")
            found.append((f"not canonical: {raw.hex()}", raw))
    return found


def _files() -> list[Vector]:
    plain = {**GOOD, "principals": {n: dict(p) for n, p in EVERYBODY.items()}}
    for each in plain["principals"].values():
        for name, usual in (("authority", None), ("expires", None), ("shared", False)):
            if each[name] == usual:
                del each[name]
    ssh = _with_key(f"{_ssh(BOB)} bob@desk 7")
    good = [
        ("with every setting", GOOD, "Nothing is left out."),
        ("without what is usual", plain, "What is not there is what is usual."),
        ("a key as OpenSSH writes it", ssh, "It is the same key with the same id."),
        ("without thresholds", {k: v for k, v in GOOD.items() if k != "thresholds"}, "All are 1."),
        ("bits behind the last byte of a key", _with_key(ODD), "It is the same key with the same id."),
        ("with a last day", {**GOOD, "expires": "2027-01-31"}, "Nothing new begins after it."),
        ("with no last day", {**GOOD, "expires": None}, "It has no end."),
        ("a role twice", _with("bob", roles=["approver", "approver"]), "It is one role."),
        ("one approver is both", _with("bob", roles=["approver", "root"]), "Roles add up."),
        ("29 February 2028", _with("bob", expires="2028-02-29"), "There is such a day."),
        ("a last day of the keyset", {**GOOD, "expires": "2027-06-30"}, "Nothing new begins after it."),
        ("a last day of the keyset that is null", {**GOOD, "expires": None}, "It has no end."),
        ("a threshold of 1 of a revoker", keyset(principals=LESS, thresholds={"revoker": 1}), "It is usual."),
        ("the approver is the only revoker", keyset(
            principals={"alice": EVERYBODY["alice"]}, thresholds={"revoker": 1}), "An approver may stop."),
    ]  # fmt: skip
    vectors = [_file(f"good: {name}", value, _accepted(value), why) for name, value, why in good]
    vectors += [
        _file(n, v, refused("keyset-shape"), "It is not as its table says.") for n, v in SHAPES
    ]
    vectors += [
        _file(
            n, v, refused("keyset-threshold"), "One person can always stop, and enough can start."
        )
        for n, v in THRESHOLDS
    ]
    vectors += [
        _file(n, v, refused("keyset-key"), "Each key is of Ed25519 and listed once.")
        for n, v in KEYS
    ]
    vectors += [
        _file(
            n, _with_key(key_text(raw)), refused("keyset-unsound"), "Anybody could sign under it."
        )
        for n, raw in _unsound()
    ]
    one = small_order_points().pop()
    vectors.append(
        _file(
            "small order, as OpenSSH writes it",
            _with_key(_ssh(encoded(one))),
            refused("keyset-unsound"),
            "The form of a key changes nothing.",
        )
    )
    vectors.append(
        _file(
            "shared, and no worker",
            _with("bob", shared=True),
            refused("keyset-shared"),
            "It would answer for workers.",
        )
    )
    no_risk = {**EVERYBODY, "carol": principal("carol", "auditor", authority="risk")}
    vectors.append(
        _file(
            "the authority of risk, and no approver has it",
            keyset(principals=no_risk),
            refused("keyset-risk"),
            "After a stop by risk nobody could start.",
        )
    )
    return vectors


# -- payloads --------------------------------------------------------------------------------------


def _payloads() -> list[Vector]:
    text = canonical(GOOD)
    numbers = keyset(
        principals={
            **EVERYBODY,
            **{name: principal(name, "auditor") for name in ("10", "9", "2x", "B")},
        }
    )

    def one(name: str, raw: str, expect: dict[str, Any], why: str) -> Vector:
        return Vector(name, "payload", {"payload": {"text": raw}}, expect, why)

    def good(name: str, value: Any, why: str) -> Vector:
        raw = canonical(value)
        return one(name, raw, {"accept": {"version": value["version"], "digest": digest(raw)}}, why)

    two = {"approver": 2, "extend": 1, "root": 2}
    form = refused("keyset-form")
    bob = canonical(EVERYBODY["bob"])
    alice = EVERYBODY["alice"]
    turned = canonical({**alice, "keys": alice["keys"][::-1]})
    return [
        good("payload: good", GOOD, "Sorted keys, no spaces."),
        good("payload: with a last day", {**GOOD, "expires": "2027-01-31"}, "It is written."),
        one("payload: without a last day, and written", canonical({**GOOD, "expires": None}), form,
            "It is left out."),
        good("payload: names that are numbers", numbers, "Names are sorted as text."),
        good("payload: an `extend` by one", keyset(thresholds=two), "It differs from the approvers'."),
        one("payload: a space", text.replace(":", ": ", 1), form, "One form, one digest."),
        one("payload: a newline at the end", text + "\n", form, "One form, one digest."),
        one("payload: an escape", text.replace("alice", "\\u0061lice"), form, "One form, one digest."),
        one("payload: keys in another order", text.replace(canonical(alice), turned), form, "Sorted."),
        one("payload: a member that is usual is left out", text.replace(bob, bob.replace(
            '"shared":false', "").replace(",}", "}")), form, "Everything is written."),
        one("payload: names in another order", json.dumps(
            {**GOOD, "principals": dict(reversed(EVERYBODY.items()))}, separators=(",", ":")),
            form, "Sorted."),
        one("payload: a threshold that is usual", canonical(
            keyset(thresholds={"approver": 1, "root": 2})), form, "Those of 1 are left out."),
        one("payload: an `extend` as the approvers", canonical(
            keyset(thresholds={"approver": 2, "extend": 2})), form, "It is left out."),
        one("payload: a key as OpenSSH writes it", canonical(_with_key(_ssh(BOB))), form,
            "Keys are written as ed25519:<base64>."),
        one("payload: bits behind the last byte of a key", canonical(_with_key(ODD)), form,
            "One spelling."),
        one("payload: a role twice", canonical(_with("bob", roles=["approver"] * 2)), form, "Once."),
        one("payload: a key of small order", canonical(_with_key(key_text(
            encoded(min(small_order_points()))))), refused("keyset-unsound"), "As in every keyset."),
    ]  # fmt: skip


# -- steps -----------------------------------------------------------------------------------------

ZOE = principal("zoe", "root")
NEXT = keyset(4, EVERYBODY | {"zoe": ZOE})
WITHOUT_OMAR = keyset(
    4, {n: p for n, p in EVERYBODY.items() if n != "omar"} | {"zoe": ZOE}, {"root": 2}
)
ROOTS = ("omar", "ruth")


def _record(before: Any, new: Any, **fields: Any) -> dict[str, Any]:
    own = {
        "number": new["version"],
        "digest": digest(canonical(new)),
        "before": digest(canonical(before)),
        "keyset_version": before["version"],
    }
    return samples.rotation(**{**own, **fields})


def _step(
    before: Any, new: Any, *names: str, raw: str | None = None, **fields: Any
) -> dict[str, Any]:
    record = envelope("keyset", _record(before, new, **fields), *(names or ROOTS))
    return {"payload": {"text": raw or canonical(new)}, "record": given_bytes(record)}


def _steps() -> list[Vector]:
    fifth = keyset(5, NEXT["principals"], {})
    sixth = keyset(6, NEXT["principals"], {"root": 3})
    plain = keyset(principals=LESS, thresholds={})

    def one(
        name: str, steps: list[Any], expect: dict[str, Any], why: str, current: str = "one"
    ) -> Vector:
        return Vector(name, "steps", {"current": current, "steps": steps, **WHERE}, expect, why)

    def taken(name: str, last: Any, *steps: Any, why: str = "Enough roots of both.") -> Vector:
        found = {"version": last["version"], "digest": digest(canonical(last))}
        return one(name, list(steps), {"accept": found}, why)

    def no(name: str, rule: str, why: str, *steps: Any, current: str = "one") -> Vector:
        return one(name, list(steps), refused(rule), why, current)

    step: Callable[..., Any] = _step
    no_roots = keyset(4, {n: p for n, p in EVERYBODY.items() if "root" not in p["roles"]}, {})
    elsewhere = keyset(4, fleet="e" * 32)
    few = "Its own roots are too few."
    return [
        taken("step: 3 to 4", NEXT, step(GOOD, NEXT)),
        taken("step: a root is replaced", WITHOUT_OMAR, step(GOOD, WITHOUT_OMAR, *ROOTS, "zoe")),
        taken("step: 3 to 6", sixth, step(GOOD, NEXT), step(NEXT, fifth), step(fifth, sixth, *ROOTS, "zoe"),
              why="Several steps are taken one by one."),
        taken("step: by the other root", NEXT, step(GOOD, NEXT, by="ruth"), why="One of N's roots."),
        no("step: one root of N", "envelope-6", "N's threshold is two.", step(GOOD, NEXT, "omar")),
        no("step: one root of N and one of N+1 only", "envelope-6", "N's threshold is two.",
           step(GOOD, NEXT, "omar", "zoe")),
        no("step: N's roots, of whom one is left", "envelope-6", few, step(GOOD, WITHOUT_OMAR)),
        no("step: three of N+1 are needed", "envelope-6", few, step(GOOD, keyset(4, NEXT["principals"], {"root": 3}))),
        no("step: approvers have signed", "envelope-6", "Only roots.",
           step(GOOD, NEXT, "alice", "bob", by="alice")),
        no("step: `by` is a root of N+1 only", "envelope-7", "`by` is one of N's roots.",
           step(GOOD, NEXT, *ROOTS, "zoe", by="zoe")),
        no("step: a bad signature", "envelope-5", "Of a known key.", _bad(step(GOOD, NEXT))),
        no("step: a bad signature of a root of N+1", "envelope-5", "Known to the new keyset.",
           _bad(step(GOOD, WITHOUT_OMAR, *ROOTS, "zoe"), keyid("zoe"))),
        no("step: another environment", "envelope-8", "For another place.", step(GOOD, NEXT, environment="prod")),
        no("step: a record of another fleet", "envelope-8", "For another place.", step(GOOD, NEXT, fleet="e" * 32)),
        no("step: a grant is no step", "envelope-2", "Of another kind.", {
            "payload": {"text": canonical(NEXT)},
            "record": given_bytes(envelope("grant", samples.grant(by="omar"), *ROOTS))}),
        no("rollback: to the same version", "step-number", "Lower numbers are refused for ever.",
           step(GOOD, keyset(3, NEXT["principals"]))),
        no("rollback: to a lower version", "step-number", "Lower numbers are refused for ever.",
           step(GOOD, keyset(2, NEXT["principals"]))),
        no("gap: to a version after the next", "step-number", "Exactly one more.", step(GOOD, fifth)),
        no("gap: the second of two steps alone", "step-number", "Exactly one more.", step(NEXT, fifth)),
        no("rollback: the same step twice", "step-number", "It was taken.", step(GOOD, NEXT), step(GOOD, NEXT)),
        no("step: the record has another number", "step-number", "Both say N+1.", step(GOOD, NEXT, number=5)),
        no("step: the record names another version before it", "step-number", "`keyset_version` is N.",
           step(GOOD, NEXT, keyset_version=2)),
        no("step: the payload of another keyset", "step-digest", "The digest is of another.",
           step(GOOD, NEXT, raw=canonical(keyset(4)))),
        no("step: from another keyset 3", "step-digest", "Made to follow another keyset.",
           step(keyset(thresholds={"approver": 2, "root": 2}), NEXT)),
        no("step: to a keyset of another fleet", "step-fleet", "One fleet.", step(GOOD, elsewhere)),
        no("step: to a keyset without roots", "step-roots", "Nothing could ever follow it.", step(GOOD, no_roots)),
        no("step: from a keyset without roots", "envelope-6", "Nobody can sign what follows it.",
           step(plain, NEXT), current="plain"),
        no("step: the payload in another form", "keyset-form", "One form, one digest.",
           step(GOOD, NEXT, raw=canonical(NEXT) + " ")),
        no("step: to a keyset with a key of small order", "keyset-unsound", "As in every keyset.",
           step(GOOD, keyset(4, EVERYBODY | {"bob": {**EVERYBODY["bob"], "keys": [
               key_text(encoded(min(small_order_points())))]}}))),
    ]  # fmt: skip


def _bad(step: dict[str, Any], which: str = "") -> dict[str, Any]:
    """A step in which one signature is another's."""
    value = json.loads(step["record"]["text"])
    signatures = value["signatures"]
    at = next((n for n, each in enumerate(signatures) if each["keyid"] == which), 0)
    signatures[at]["sig"] = signatures[at - 1]["sig"]
    return {**step, "record": {"text": canonical(value)}}


def keysets_file() -> File:
    return File("Keysets: files and their payloads.", [*_files(), *_payloads()])


def steps_file() -> File:
    shared = {"one": canonical(GOOD), "plain": canonical(keyset(principals=LESS, thresholds={}))}
    about = f"Steps from keyset to keyset, of the fleet {FLEET}."
    return File(about, _steps(), shared)


FILES = {"keysets": keysets_file, "steps": steps_file}
