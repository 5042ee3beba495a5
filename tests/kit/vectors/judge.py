"""How our Python decides a vector, in the words of the vectors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from golive_redis.audit.opening import KINDS as LEDGER_KINDS
from golive_redis.audit.opening import Keysets, verifier
from golive_redis.audit.reading import entries_of_file
from golive_redis.audit.verifying import Anchor, Judge, judged
from golive_redis.core.state import assemble
from golive_redis.errors import GoliveError
from golive_redis.records.beat import Beat
from golive_redis.records.checkpoint import open_checkpoint, parse_proof, parse_text
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import MAX_ENVELOPE_BYTES, decode, peek, verify
from golive_redis.records.keyset import Role, parse_keyset
from golive_redis.records.ledger import Entry
from golive_redis.records.logpolicy import parse_policy
from golive_redis.records.merkle import EMPTY, leaf, verify_consistency, verify_inclusion
from golive_redis.records.receipt import Receipt
from golive_redis.records.record import convert, parse_json
from golive_redis.records.rotation import (
    Rotation,
    Step,
    digest_of,
    next_keyset,
    parse_payload,
    payload_of,
)
from golive_redis.records.signednote import Signed, opened, parse, parse_vkey
from golive_redis.records.trust import Trust

from .form import b64
from .form import payload_type as type_of
from .samples import common

Given = Mapping[str, Any]

# A refusal has a sentence for people and no number: this is where the two are held together.
RULES: list[tuple[str, str]] = [
    (r"expired: |with a key that was good then|^keyset \d+ was good until", "envelope-11"),
    (r"Expected `array` of length .* at `\$\.signatures`|signed the envelope twice", "envelope-4"),
    (r"^_json: ", "envelope-1"),
    (r"payload type ", "envelope-2"),
    (r"base64", "envelope-3"),
    (
        r"exceed the limit|not strict JSON|one key twice|an integer|beyond 2\^53|nested",
        "envelope-1",
    ),
    (r"^bad signature by", "envelope-5"),
    (r"\d of \d \w+ signatures", "envelope-6"),
    (r"did not sign it as", "envelope-7"),
    (r"^keyset: .*(of small order|canonically)", "keyset-unsound"),
    (r"^keyset: the key of .* already|is not an Ed25519 key", "keyset-key"),
    (r"^keyset: .* is shared and no worker", "keyset-shared"),
    (r"^keyset: .* the authority of risk", "keyset-risk"),
    (r"^keyset: (a threshold for \w|\w+ needs)", "keyset-threshold"),
    (r"^keyset: ", "keyset-shape"),
    (r"not written in its one form", "keyset-form"),
    (r"has no root", "step-roots"),
    (r"of another fleet \(.*\) than keyset", "step-fleet"),
    (r"does not follow keyset|the record is for keyset|the record follows keyset", "step-number"),
    (r"the record names another keyset|made to follow another", "step-digest"),
    (r"is for .*, not for|of another fleet", "envelope-8"),
    (r"^signed under keyset version", "envelope-9"),
    (r"may not answer for", "envelope-10"),
    (r"a note on .* is not known", "envelope-13"),
    (r"^\w+: Object (missing required|contains unknown) field `\w+`$", "envelope-1"),
    (r"^\w+: Expected `object`, got `\w+`$", "envelope-1"),
    (r"^(?!note of)\w+: ", "envelope-12"),
]
NOTE_RULES = [
    (r"exceeds the limit|not UTF-8|control character|64 are the most", "note-1"),
    (r"signature line|base64|empty line|end with a newline|is no name", "note-2"),
    (r"^bad signature by", "note-3"),
    (r"no trusted key|has no log of the origin", "note-4"),
    (r"the quorum .* is not met", "quorum"),
]
TREE_RULES = [(r"there is no entry|is no size|does not continue", "tree-size"), (r"", "tree-proof")]


class UnnamedRuleError(AssertionError):
    """The product has refused something in words that no rule is known by."""


class RefusedError(Exception):
    """What Python has refused, by its rule."""

    def __init__(self, rule: str, index: int | None = None) -> None:
        super().__init__(rule)
        self.rule, self.index = rule, index


def rule_of(error: GoliveError, rules: list[tuple[str, str]], default: str | None = None) -> str:
    for pattern, rule in rules:
        if re.search(pattern, error.message):
            return rule
    if default is None:
        raise UnnamedRuleError(error.message) from error
    return default


def asked(
    rules: list[tuple[str, str]], default: str | None, ask: Callable[..., Any], *args: Any
) -> Any:
    """Ask the product, and name the rule when it refuses."""
    try:
        return ask(*args)
    except GoliveError as error:
        raise RefusedError(rule_of(error, rules, default)) from error


def raw_of(given: Given) -> bytes:
    import base64  # noqa: PLC0415

    return given["text"].encode() if "text" in given else base64.b64decode(given["base64"])


# -- records ---------------------------------------------------------------------------------------

ALL_KINDS = {**LEDGER_KINDS, **{kind.payload_type(): kind for kind in (Beat, Receipt, Rotation)}}


def _verified(raw: bytes, trust: Trust, kind: str | None) -> Any:
    name = decode(raw).payload_type
    wanted = ALL_KINDS.get(type_of(kind) if kind else name)
    if wanted is None:
        return trust.grant(raw)  # which refuses its type
    if wanted is Rotation:
        keyset = trust.keyset
        where = {"namespace": trust.namespace, "environment": trust.environment}
        return verify(raw, Rotation, keyset, Role.ROOT, needed=keyset.threshold(Role.ROOT), **where)
    if wanted is Beat:
        return trust.beat(raw)
    if wanted is Receipt:
        return trust.receipt(raw)
    return verifier(peek(raw, wanted), trust)(raw)


def _envelope(given: Given, shared: Given) -> Any:
    keyset = parse_payload(shared["keysets"][given["keyset"]].encode())
    trust = Trust(keyset, given["namespace"], given["environment"])
    raw = raw_of(given["envelope"])
    found = asked(RULES, None, _verified, raw, trust, given.get("kind"))
    return {
        "kind": found.record.KIND,
        "identity": found.identity,
        "by": found.record.by,
        "signers": sorted(found.signers),
    }


def _base64(given: Given, _: Given) -> Any:
    signature = {"keyid": "k", "sig": b64(b"0" * 64)}
    value = {"payload": given["text"], "payloadType": type_of("note"), "signatures": [signature]}
    found = asked(RULES, None, decode, json.dumps(value).encode())
    return {"hex": found.payload.hex()}


def _covers(given: Given, _: Given) -> Any:
    record = convert(
        {**common("rita"), "reason": "", "ticket": "", **given["revocation"]}, Revocation
    )
    return {"covers": record.covers(given["term"], given["activated_at_ms"], given["arrived_ms"])}


def _state(given: Given, shared: Given) -> Any:
    keyset = parse_payload(shared["keysets"][given["keyset"]].encode())
    trust = Trust(keyset, given["namespace"], given["environment"])
    grant = trust.grant(raw_of(given["grant"]))
    restrictions = [trust.restriction(raw_of(each)) for each in given["restrictions"]]
    found = asked([(r"", "state")], None, assemble, grant, restrictions)
    return {
        "in_force": sorted(item.identity for item in found.restrictions),
        "digest": found.digest,
        "mode": str(found.mode),
        "profile": str(found.profile),
    }


# -- keysets ---------------------------------------------------------------------------------------


def _keyset(given: Given, _: Given) -> Any:
    value = asked([], "keyset-shape", parse_json, raw_of(given["keyset"]), 1 << 20)
    found = asked(RULES, None, parse_keyset, value)
    return {"version": found.version, "fleet": found.fleet, "keys": sorted(found.keys)}


def _payload(given: Given, _: Given) -> Any:
    raw = raw_of(given["payload"])
    found = asked(RULES, None, parse_payload, raw)
    return {"version": found.version, "digest": digest_of(raw)}


def _steps(given: Given, shared: Given) -> Any:
    current = parse_payload(shared["keysets"][given["current"]].encode())
    where = {"namespace": given["namespace"], "environment": given["environment"]}
    for each in given["steps"]:
        step = Step(raw_of(each["payload"]), raw_of(each["record"]))
        current = asked(RULES, None, lambda now=current, at=step: next_keyset(now, at, **where))
    return {"version": current.version, "digest": digest_of(payload_of(current))}


# -- ledgers ---------------------------------------------------------------------------------------


def _ledger(given: Given, shared: Given) -> Any:
    read = [parse_payload(shared["keysets"][name].encode()) for name in given["keysets"]]
    keysets = Keysets.of(read, given["namespace"], given["environment"])
    kept = given.get("kept")
    judge = Judge(keysets, anchors=[Anchor(kept, None, "the auditor")] if kept else [])
    verdict = judged(judge, _pages(given, shared), keysets)
    if verdict.broken is not None:
        raise RefusedError(verdict.broken.rule, verdict.broken.index)
    word = "VERIFIED" if verdict.verified else "CONSISTENT"
    return {
        "verdict": word,
        "entries": verdict.entries,
        "head": verdict.head,
        "remembered": verdict.anchored,
    }


def _pages(given: Given, shared: Given) -> Any:
    if "export" in given:
        return entries_of_file(Path(given["file"]))
    return [
        [
            Entry(raw_of(shared["envelopes"][name]), head, at, tuple(others))
            for at, name, head, *others in given["entries"]
        ]
    ]


# -- logs ------------------------------------------------------------------------------------------


def _hashes(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def _root(given: Given, _: Given) -> Any:
    return {"root": EMPTY.extend([leaf(raw_of(each)) for each in given["entries"]]).root().hex()}


def _inclusion(given: Given, _: Given) -> Any:
    one, top = _hashes([given["leaf"], given["root"]])
    index, size, proof = int(given["index"]), int(given["size"]), _hashes(given["proof"])
    asked(TREE_RULES, None, verify_inclusion, one, index, size, proof, top)
    return {"holds": True}


def _consistency(given: Given, _: Given) -> Any:
    one, two = _hashes([given["old_root"], given["new_root"]])
    old, new, proof = int(given["old"]), int(given["new"]), _hashes(given["proof"])
    asked(TREE_RULES, None, verify_consistency, old, new, one, two, proof)
    return {"holds": True}


def _vkey(given: Given, _: Given) -> Any:
    key = asked([], "note-5", parse_vkey, given["vkey"])
    return {"name": key.name, "type": int(key.kind), "key": key.public.hex()}


def _signed(found: tuple[Signed, ...]) -> list[Any]:
    time = {True: None}
    return [
        {"name": one.verifier.name, "time": time.get(one.time_s is None, str(one.time_s))}
        for one in found
    ]


def _note(given: Given, _: Given) -> Any:
    keys = [parse_vkey(text) for text in given["vkeys"]]
    note, found = asked(NOTE_RULES, None, opened, raw_of(given["note"]), keys)
    return {"text": note.text, "signed": _signed(found)}


def _checkpoint(given: Given, _: Given) -> Any:
    raw = raw_of(given["note"])
    logs, witnesses = ([parse_vkey(text) for text in given[x]] for x in ("logs", "witnesses"))
    note = asked(NOTE_RULES, None, parse, raw)
    head = asked([], "checkpoint", parse_text, note.text)
    own = [key for key in logs if key.name == head.origin]
    found = asked(NOTE_RULES, "checkpoint", open_checkpoint, raw, own, witnesses)
    order = [line.key_id for line in found.note.signatures]
    both = sorted((*found.logs, *found.witnesses), key=lambda one: order.index(one.line.key_id))
    return {
        "origin": head.origin,
        "size": str(head.size),
        "root": head.root.hex(),
        "signed": _signed(tuple(both)),
    }


def _policy(given: Given, _: Given) -> Any:
    policy = asked([], "policy", parse_policy, raw_of(given["policy"]))
    if "checkpoint" not in given:
        return {"logs": len(policy.logs), "witnesses": len(policy.witnesses)}
    raw = raw_of(given["checkpoint"])
    note = asked(NOTE_RULES, None, parse, raw)
    asked([], "checkpoint", parse_text, note.text)
    head = asked(NOTE_RULES, None, policy.judge, raw).checkpoint
    return {"origin": head.origin, "size": str(head.size)}


def _proof(given: Given, _: Given) -> Any:
    policy = parse_policy(raw_of(given["policy"]))
    proof = asked([], "proof", parse_proof, raw_of(given["proof"]))
    asked(NOTE_RULES, None, policy.judge, proof.checkpoint)
    entry = leaf(raw_of(given["entry"]))
    found = asked(TREE_RULES, None, policy.verify_entry, proof, entry)
    return {"index": str(proof.index), "size": str(found.checkpoint.size)}


OPS: dict[str, Callable[[Given, Given], Any]] = {
    "json": lambda given, _: {
        "value": asked(RULES, None, parse_json, raw_of(given["json"]), MAX_ENVELOPE_BYTES)
    },
    "base64": _base64,
    "envelope": _envelope,
    "covers": _covers,
    "state": _state,
    "keyset": _keyset,
    "payload": _payload,
    "steps": _steps,
    "ledger": _ledger,
    "root": _root,
    "inclusion": _inclusion,
    "consistency": _consistency,
    "vkey": _vkey,
    "note": _note,
    "checkpoint": _checkpoint,
    "policy": _policy,
    "proof": _proof,
}


def decide(vector: Given, shared: Given) -> dict[str, Any]:
    """Return the product's verdict on a vector, as `expect` has it."""
    try:
        return {"accept": OPS[vector["op"]](vector["given"], shared)}
    except RefusedError as error:
        found: dict[str, Any] = {"refuse": error.rule}
        return found if error.index is None else {**found, "index": error.index}
