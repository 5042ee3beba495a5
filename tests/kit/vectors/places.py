"""Vectors of envelopes: in which role, for which place and until when."""

from __future__ import annotations

from typing import Any

from . import samples
from .envelopes import KEYSETS, accepted, case, signatures, structure, types
from .form import (
    File,
    Vector,
    envelope,
    refused,
)


def roles() -> list[Vector]:
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


def places() -> list[Vector]:
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


def envelopes_file() -> File:
    vectors = [*structure(), *types(), *signatures(), *roles(), *places()]
    return File("Envelopes: who has signed what, and for which place.", vectors, KEYSETS)
