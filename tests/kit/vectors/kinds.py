"""Vectors of every kind of record: each field missing, each field wrong, and the rules between fields."""

from __future__ import annotations

from typing import Any

from . import samples
from .envelopes import KEYSETS, accepted, case
from .form import START_MS, File, Vector, canonical, envelope, refused

GOOD: list[tuple[str, str, Any]] = [
    ("a resume", "grant", samples.grant(5, term=4, kind="resume", activated_at_ms=START_MS - 9)),
    ("a promote", "grant", samples.grant(5, term=4, kind="promote", profile="small")),
    ("an activation that claims an earlier begin", "grant", samples.grant(activated_at_ms=START_MS - 1)),
    ("64 restrictions are named", "grant", samples.grant(5, keeps=[f"{n:064x}" for n in range(64)])),
    ("500 characters of four bytes", "revocation", samples.revocation(reason="\N{OCTAGONAL SIGN}" * 500)),
    ("500 characters that are combined", "revocation", samples.revocation(reason="e\u0301" * 250)),
    ("limits of one's own", "grant", samples.grant(limits={**samples.LIMITS, "extra": {"x": "any"}})),
    ("an amount of the longest form", "grant", samples.grant(
        limits={**samples.LIMITS, "max_daily_loss": "9" * 18 + "." + "9" * 12})),
    ("a reduce for every order", "restriction", samples.restriction(2, "reduce", labels={})),
    ("a demote", "restriction", samples.restriction(2, "demote")),
    ("every label", "restriction", samples.restriction(labels=dict.fromkeys(
        ("venue", "account", "desk", "strategy", "symbol", "worker", "client"), "x*"))),
    ("a blind revocation", "revocation", samples.revocation(blind=True)),
    ("a stop card", "revocation", samples.revocation(until_ms=START_MS + 1)),
    ("the largest epoch", "revocation", samples.revocation(2**53 - 1)),
    ("an applied receipt", "receipt", samples.receipt("applied")),
    ("a drained receipt", "receipt", samples.receipt("drained", left=2)),
    ("a goodbye", "receipt", samples.receipt("left")),
    ("a goodbye that has known no term", "receipt", samples.receipt("left", term=None)),
    ("a failed check", "report", samples.report("fail")),
    ("a finding with everything", "report", samples.report(findings=[
        {**samples.FINDING, "facts": {"a": "b"}, "took_ms": 3, "value": "1", "expected": "2",
         "warning": True}])),
    ("no facts", "note", samples.note(facts={})),
    ("eight facts of the longest form", "note", samples.note(
        facts={f"{n:064}": "x" * 512 for n in range(8)})),
    ("a rejection", "answer", samples.answer("reject")),
    ("an execution of a grant that rests on a report", "execution", samples.execution(
        report=samples.IDENTITY, answers=[])),
    ("a refusal by a check", "refusal", samples.refusal(
        check="redis", report=samples.IDENTITY, proposal=samples.IDENTITY)),
]  # fmt: skip

BETWEEN: list[tuple[str, str, Any]] = [
    ("an activate whose term is not its epoch", "grant", samples.grant(5, term=4, kind="activate")),
    ("a resume whose term is its epoch", "grant", samples.grant(5, term=5, kind="resume")),
    ("a term above the epoch", "grant", samples.grant(5, term=6, kind="resume")),
    ("a window that ends as it begins", "grant", samples.grant(not_after_ms=START_MS - 60_000)),
    ("activated after it was issued", "grant", samples.grant(activated_at_ms=START_MS + 1)),
    ("65 restrictions in both lists", "grant", samples.grant(
        5, keeps=[f"{n:064x}" for n in range(60)], drops=[f"{n:064x}" for n in range(5)])),
    ("lets go of itself", "grant", samples.grant(5, drops_up_to=5)),
    ("a halt with the mode of a reduce", "restriction", samples.restriction(mode="reduce_only")),
    ("a halt with a profile", "restriction", samples.restriction(profile="micro")),
    ("a demote without a profile", "restriction", samples.restriction(2, "demote", profile=None)),
    ("a demote without limits", "restriction", samples.restriction(2, "demote", limits=None)),
    ("a demote with labels", "restriction", samples.restriction(2, "demote", labels={"desk": "x"})),
    ("a restriction as old as its term", "restriction", samples.restriction(1)),
    ("a stop card that is blind", "revocation", samples.revocation(until_ms=START_MS + 1, blind=True)),
    ("a beat for another heartbeat", "beat", samples.beat(heartbeat="hb-2")),
    ("a beat whose epoch is below its term", "beat", samples.beat(term=3)),
    ("a receipt of nobody", "receipt", samples.receipt(worker=None)),
    ("a receipt of both", "receipt", samples.receipt(heartbeat="hb-1")),
    ("a heartbeat answers for another", "receipt", samples.receipt(
        by="hb-1", worker=None, heartbeat="hb-2")),
    ("drained without what is left", "receipt", samples.receipt("drained", left=None)),
    ("latched with what is left", "receipt", samples.receipt(left=0)),
    ("applied to no term", "receipt", samples.receipt("applied", term=None)),
    ("a goodbye that answers a directive", "receipt", samples.receipt(
        "left", directive=samples.IDENTITY, epoch=3)),
    ("a goodbye with an epoch", "receipt", samples.receipt("left", epoch=3)),
    ("a goodbye with orders in flight", "receipt", samples.receipt("left", in_flight=1)),
    ("a heartbeat's goodbye", "receipt", samples.receipt(
        "left", by="hb-1", worker=None, heartbeat="hb-1")),
    ("a worker that has beaten", "receipt", samples.receipt(beat_on=[])),
    ("nine servers", "receipt", samples.receipt(
        by="hb-1", worker=None, heartbeat="hb-1", beat_on=["a" * 40] * 9)),
]  # fmt: skip


def _of(kind: str) -> list[Vector]:
    make, signers, wrong = samples.KINDS[kind]
    good = make()
    who = (good["by"],) if kind != "keyset" else signers
    vectors = [
        case(
            f"{kind}: good",
            envelope(kind, good, *who),
            accepted(kind, good, *who),
            "Every field is right.",
        )
    ]
    for field in good:
        less = {name: value for name, value in good.items() if name != field}
        vectors.append(
            case(
                f"{kind}: no {field}",
                envelope(kind, less, *who),
                refused("envelope-1"),
                "Every member of its table is there.",
            )
        )
    vectors.append(
        case(
            f"{kind}: an unknown field",
            envelope(kind, {**good, "until": 1}, *who),
            refused("envelope-1"),
            "A member that is not listed means something to somebody else.",
        )
    )
    for field, values in wrong.items():
        for number, value in enumerate(values):
            vectors.append(
                case(
                    f"{kind}: {field}, wrong {number}",
                    envelope(kind, {**good, field: value}, *who),
                    refused("envelope-12"),
                    "The field is not as its table says.",
                )
            )
    return vectors


def _common() -> list[Vector]:
    return [
        case(
            f"common: {field}, wrong {number}",
            envelope("grant", {**samples.grant(), field: value}, "alice"),
            refused("envelope-12"),
            "The field is not as its table says.",
        )
        for field, values in samples.COMMON_WRONG.items()
        for number, value in enumerate(values)
    ]


def _payloads() -> list[Vector]:
    good = samples.revocation()
    text = canonical(good)
    odd = [
        ("a payload that is a list", b"[]"),
        ("a payload that is null", b"null"),
        ("a payload that is no JSON", b"{"),
        ("an empty payload", b""),
        ("a payload with a key twice", text.replace('"epoch":3', '"epoch":3,"epoch":4').encode()),
        ("a payload with a float", text.replace('"epoch":3', '"epoch":3.0').encode()),
        ("a payload with an exponent", text.replace('"epoch":3', '"epoch":3e0').encode()),
        ("a payload with 2^53", text.replace('"epoch":3', f'"epoch":{2**53}').encode()),
        ("a payload with a lone surrogate", text.replace("enough", "\\ud800").encode()),
        ("a payload that is not UTF-8", text.encode().replace(b"enough", b"\xff")),
    ]
    spaced = text.replace(",", " ,\n ").encode()
    return [
        *(
            case(
                name, envelope("revocation", raw, "rita"), refused("envelope-1"), "No strict JSON."
            )
            for name, raw in odd
        ),
        case(
            "a payload in another form of JSON",
            envelope("revocation", spaced, "rita"),
            {"accept": {**accepted("revocation", good)["accept"], "identity": _identity(spaced)}},
            "The bytes are taken as they come, and the identity is of them.",
        ),
    ]


def _identity(payload: bytes) -> str:
    from .form import identity  # noqa: PLC0415

    return identity("revocation", payload)


ROLES = {
    "approver": "alice",
    "auditor": "audrey",
    "heartbeat": "hb-1",
    "revoker": "rita",
    "root": "omar",
    "worker": "pod-1",
}


def topics_file() -> File:
    """Each topic by somebody of each role."""
    vectors = []
    for topic, writer in samples.TOPICS.items():
        for role, name in ROLES.items():
            record = samples.note(topic, by=name)
            # An approver may stop, and so may tell what revokers tell.
            may = role == writer or (writer == "revoker" and role == "approver")
            expect = accepted("note", record) if may else refused("envelope-6")
            why = f"Notes on {topic} are a {writer}'s."
            vectors.append(case(f"{topic} by {role}", envelope("note", record), expect, why))
    return File("Notes: who may write on which topic.", vectors, {"one": KEYSETS["one"]})


def kinds_file() -> File:
    vectors = [vector for kind in samples.KINDS for vector in _of(kind)]
    vectors += _common() + _payloads()
    vectors += [
        case(f"good: {name}", envelope(kind, record), accepted(kind, record), "It breaks no rule.")
        for name, kind, record in GOOD
    ]
    vectors += [
        case(f"{kind}: {name}", envelope(kind, record), refused("envelope-12"), "Fields together.")
        for name, kind, record in BETWEEN
    ]
    return File("Records of every kind: their fields.", vectors, {"one": KEYSETS["one"]})
