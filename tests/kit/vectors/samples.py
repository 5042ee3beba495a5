"""A good record of every kind: one place to add a kind, and its fields that are wrong."""

from __future__ import annotations

from typing import Any

from .form import FLEET, START_MS, WHERE

IDENTITY = "ab" * 32
LIMITS = {
    "currency": "USD",
    "max_daily_loss": "50",
    "max_order_notional": "25",
    "max_orders_per_minute": 600,
    "max_position_notional": "100.5",
}


def common(by: str, **fields: Any) -> dict[str, Any]:
    """The fields that every record has."""
    heading = {"fleet": FLEET, "keyset_version": 3, "issued_at_ms": START_MS, "by": by}
    return {**WHERE, **heading, **fields}


def grant(epoch: int = 1, *, by: str = "alice", **fields: Any) -> dict[str, Any]:
    term = fields.get("term", epoch)
    own = {
        "kind": "activate" if term == epoch else "resume",
        "epoch": epoch,
        "term": term,
        "mode": "live",
        "profile": "micro",
        "limits": LIMITS,
        "activated_at_ms": START_MS,
        "not_before_ms": START_MS - 60_000,
        "not_after_ms": START_MS + 43_200_000,
        "heartbeats": ["hb-1", "hb-2"],
        "max_ttl_ms": 25_000,
        "keeps": [],
        "drops": [],
        "drops_up_to": 0,
        "reason": "open",
        "ticket": "",
        "report": None,
        "policy": "0" * 64,
        "prev": None,
    }
    return common(by, **{**own, **fields})


def restriction(
    epoch: int = 2, kind: str = "halt", *, by: str = "rita", **fields: Any
) -> dict[str, Any]:
    demotes = kind == "demote"
    own = {
        "kind": kind,
        "epoch": epoch,
        "term": 1,
        "labels": {} if demotes else {"symbol": "BTCUSDT"},
        "mode": {"halt": "halted", "reduce": "reduce_only"}.get(kind),
        "profile": "micro" if demotes else None,
        "limits": LIMITS if demotes else None,
        "reason": "spread",
        "ticket": "OPS-4711",
        "prev": None,
    }
    return common(by, **{**own, **fields})


def revocation(epoch: int = 3, *, by: str = "rita", **fields: Any) -> dict[str, Any]:
    own = {"epoch": epoch, "reason": "enough", "ticket": "", "blind": False}
    return common(by, **{**own, **fields})


def beat(**fields: Any) -> dict[str, Any]:
    own = {"heartbeat": "hb-1", "term": 1, "epoch": 2, "set": IDENTITY, "n": 7}
    return common(fields.pop("by", "hb-1"), **{**own, **fields})


def receipt(stage: str = "latched", *, by: str = "pod-1", **fields: Any) -> dict[str, Any]:
    goodbye = stage == "left"
    own = {
        "worker": "pod-1",
        "heartbeat": None,
        "instance": "0" * 32,
        "directive": None if goodbye else IDENTITY,
        "epoch": None if goodbye else 3,
        "term": None if goodbye else 1,
        "stage": stage,
        "at_ms": START_MS,
        "in_flight": 0,
        "left": 0 if stage == "drained" else None,
        "durable": "yes",
        "head": None,
        "beat_on": None,
    }
    return common(by, **{**own, **fields})


def report(outcome: str = "pass", *, by: str = "alice", **fields: Any) -> dict[str, Any]:
    finding = {"check": "redis", "outcome": outcome, "explain": "as seen"}
    return common(by, **{"policy": "0" * 64, "findings": [finding], **fields})


def note(topic: str = "goodbye", *, by: str = "hb-1", **fields: Any) -> dict[str, Any]:
    return common(by, **{"topic": topic, "text": "as told", "facts": {"term": "1"}, **fields})


def answer(said: str = "approve", *, by: str = "bob", **fields: Any) -> dict[str, Any]:
    own = {"proposal": IDENTITY, "answer": said, "approve_by_ms": START_MS + 600_000, "reason": ""}
    return common(by, **{**own, **fields})


def execution(*, by: str = "bob", **fields: Any) -> dict[str, Any]:
    return common(by, **{"directive": IDENTITY, "report": None, "answers": [IDENTITY], **fields})


def refusal(*, by: str = "alice", **fields: Any) -> dict[str, Any]:
    own = {
        "attempt": "activate",
        "why": "cool-down",
        "check": None,
        "report": None,
        "proposal": None,
        "text": "41 s left",
    }
    return common(by, **{**own, **fields})


def rotation(*, by: str = "omar", **fields: Any) -> dict[str, Any]:
    own = {"number": 4, "digest": IDENTITY, "before": "cd" * 32}
    return common(by, **{**own, **fields})


TOPICS = {
    "stop-confirmed": "revoker",
    "stop-repeated": "revoker",
    "heartbeat-dead": "revoker",
    "worker-dead": "revoker",
    "card": "revoker",
    "goodbye": "heartbeat",
    "joined": "heartbeat",
    "out-of-band": "heartbeat",
    "window": "heartbeat",
    "trigger": "heartbeat",
    "early-warning": "heartbeat",
    "local-kill": "heartbeat",
    "lapse": "heartbeat",
    "heal": "heartbeat",
    "skips": "heartbeat",
    "security": "heartbeat",
    "receipts": "heartbeat",
    "repaired": "heartbeat",
    "trimmed": "approver",
    "generation": "approver",
}
"""Who writes a note on what; a new topic gets its vectors from its line here."""

# -- what is wrong in each type ----------------------------------------------------------------------

COUNT = ["1", None, True, -1]
EPOCH = ["1", None, False, 0]
NAME = ["", "-x", "a b", "x" * 65, 1, None, "\u00e4"]
IDENTITIES = ["", "AB" * 32, "ab" * 31, "ab" * 32 + "\n", None]
TEXT = ["x" * 501, None, 1]
DECIMAL = ["", "-1", "01", "1e2", "1.", ".5", "1" * 19, "0.1234567890123", 1]
OR_NULL = ["", "AB" * 32, 1]
LIMITS_WRONG = [
    {**LIMITS, "max_daily_loss": "-1"},
    {**LIMITS, "currency": "usd"},
    {**LIMITS, "max_orders_per_minute": 0},
    {**LIMITS, "extra": {"x": 1}},
    {**LIMITS, "extra": {str(n): "1" for n in range(17)}},
    {**LIMITS, "more": "1"},
    {k: v for k, v in LIMITS.items() if k != "currency"},
]
FINDING = {"check": "redis", "outcome": "pass", "explain": "as seen"}
FINDINGS_WRONG = [
    [],
    [FINDING] * 65,
    [{**FINDING, "outcome": "warn"}],
    [{**FINDING, "facts": {"x" * 65: ""}}],
    [{**FINDING, "facts": {"x": "y" * 257}}],
    [{**FINDING, "took_ms": -1}],
    [{**FINDING, "value": "x" * 81}],
    [{**FINDING, "warning": None}],
    [{**FINDING, "more": 1}],
]
FACTS_WRONG = [{"x": 1}, {"x" * 65: ""}, {"x": "y" * 513}, {str(n): "" for n in range(33)}, None]

COMMON_WRONG: dict[str, list[Any]] = {
    "namespace": ["", "GOLIVE", "{golive", "x" * 33, None],
    "environment": NAME[:3],
    "fleet": ["F" * 32, "f" * 31, None],
    "keyset_version": EPOCH,
    "issued_at_ms": COUNT,
    "by": NAME[:3],
}
"""Fields of the common ones, and values that are none: rule 12."""

KINDS: dict[str, tuple[Any, tuple[str, ...], dict[str, list[Any]]]] = {
    "grant": (
        grant,
        ("alice", "bob"),
        {
            "kind": ["start", None],
            "epoch": EPOCH,
            "term": EPOCH,
            "mode": ["on", None],
            "profile": ["tiny", None],
            "limits": [*LIMITS_WRONG, *({**LIMITS, "max_order_notional": d} for d in DECIMAL)],
            "activated_at_ms": COUNT,
            "not_before_ms": COUNT,
            "not_after_ms": COUNT,
            "heartbeats": [[], ["hb-1", "hb-1"], [f"hb-{n}" for n in range(17)], ["a b"], "hb-1"],
            "max_ttl_ms": [0, 3_600_001],
            "keeps": [["x"], [f"{n:064x}" for n in range(65)], None],
            "drops": [["x"], None],
            "drops_up_to": [-1, None],
            "reason": TEXT,
            "ticket": TEXT[:1],
            "report": OR_NULL,
            "policy": IDENTITIES,
            "prev": OR_NULL[:1],
        },
    ),
    "restriction": (
        restriction,
        ("rita",),
        {
            "kind": ["stop"],
            "epoch": EPOCH[:2],
            "term": EPOCH[:2],
            "labels": [{"colour": "x"}, {"symbol": ""}, {"symbol": "x" * 129}, {"symbol": 1}, None],
            "mode": ["reduce_only", None, "off"],
            "profile": ["micro"],
            "limits": [LIMITS],
            "reason": TEXT[:1],
            "ticket": TEXT[:1],
            "prev": OR_NULL[:2],
        },
    ),
    "revocation": (
        revocation,
        ("rita",),
        {
            "epoch": EPOCH,
            "reason": TEXT[:2],
            "ticket": TEXT[:1],
            "blind": [0, "true", None],
            "until_ms": [START_MS, START_MS - 1, -1, "1", True, None],
        },
    ),
    "beat": (
        beat,
        ("hb-1",),
        {
            "heartbeat": ["hb-2", *NAME[:2]],
            "term": [0, 3],
            "epoch": [0],
            "set": IDENTITIES[:2],
            "n": COUNT,
        },
    ),
    "receipt": (
        receipt,
        ("pod-1",),
        {
            "worker": [None, "a b"],
            "heartbeat": ["hb-1", ""],
            "instance": ["0" * 31, None],
            "directive": [None, "x"],
            "epoch": [None, 0],
            "term": [0],
            "stage": ["done", "left", "drained"],
            "at_ms": [-1],
            "in_flight": [-1, None],
            "left": [0],
            "durable": ["no"],
            "head": OR_NULL[:2],
            "beat_on": [[], ["x"]],
        },
    ),
    "report": (
        report,
        ("alice",),
        {"policy": IDENTITIES[:2], "findings": FINDINGS_WRONG},
    ),
    "note": (
        note,
        ("hb-1",),
        {
            "topic": ["", "x", "Goodbye", "-x", "x" * 42, None],
            "text": TEXT,
            "facts": FACTS_WRONG,
        },
    ),
    "answer": (
        answer,
        ("bob",),
        {
            "proposal": IDENTITIES[:2],
            "answer": ["yes"],
            "approve_by_ms": COUNT,
            "reason": TEXT[:1],
        },
    ),
    "execution": (
        execution,
        ("bob",),
        {
            "directive": IDENTITIES[:2],
            "report": OR_NULL[:1],
            "answers": [["x"], [IDENTITY] * 17, None],
        },
    ),
    "refusal": (
        refusal,
        ("alice",),
        {
            "attempt": ["halt"],
            "why": ["", "Cool", "-x", "x" * 65],
            "check": ["", 1],
            "report": OR_NULL[:1],
            "proposal": OR_NULL[:1],
            "text": TEXT[:2],
        },
    ),
    "keyset": (
        rotation,
        ("omar", "ruth"),
        {"number": EPOCH, "digest": IDENTITIES[:2], "before": IDENTITIES[:2]},
    ),
}
"""By kind: what makes a good one, who signs it, and wrong values of its own fields."""
