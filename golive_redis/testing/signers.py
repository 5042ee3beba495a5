"""Principals, their keys, and the records they sign."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from golive_redis.core.state import State, assemble
from golive_redis.records.beat import Beat
from golive_redis.records.directive import (
    Grant,
    GrantKind,
    Mode,
    Profile,
    Restriction,
    RestrictionKind,
    Revocation,
)
from golive_redis.records.envelope import KeySigner, Signer, decode, seal
from golive_redis.records.keyset import Keyset, Role, encode_public, parse_keyset
from golive_redis.records.limits import Limits
from golive_redis.records.receipt import Durable, Receipt, Stage
from golive_redis.records.trust import Trust
from golive_redis.testing.clock import START_MS

EVERYBODY = {
    "alice": ("approver",),
    "bob": ("approver",),
    "rita": ("revoker",),
    "hb-1": ("heartbeat",),
    "hb-2": ("heartbeat",),
    "pod-1": ("worker",),
}
"""The principals of a default `Signers`, with their roles."""

FLEET = "f1ee7" + "0" * 27
"""Id of the fleet of a default `Signers`; a real one is random."""

LIMITS = Limits(
    currency="USD",
    max_order_notional="25",
    max_position_notional="100",
    max_daily_loss="50",
    max_orders_per_minute=600,
)
_DIRECTIVE: dict[str, Any] = {"reason": "test", "ticket": "", "prev": None}


By = str | tuple[str, ...]
"""Who signs: a principal, or several."""


class Signers:
    """Principals with their keys, a keyset that trusts them, and the records they sign.

    Keys are derived from the names, so that a failing test replays byte for byte: never use them
    for anything but tests. Every builder returns a sealed envelope and takes `by`, who signs (the
    first one is named in the record); other keywords replace the record's fields.

    Args:
        roles: Roles by principal.
        shared: Principals whose key answers for every worker without one.
        approvals: How many approvers a grant needs.
        version: Version of the keyset, and the one that records claim.
        fleet: Id of the fleet, likewise.
        namespace: Of the trust and of the records.
        environment: Likewise.
    """

    def __init__(
        self,
        roles: Mapping[str, Iterable[str]] = EVERYBODY,
        *,
        shared: Sequence[str] = (),
        approvals: int = 1,
        version: int = 1,
        fleet: str = FLEET,
        namespace: str = "golive",
        environment: str = "test",
    ) -> None:
        self.signers = {
            name: KeySigner(
                name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
            )
            for name in roles
        }
        self.approvals = approvals
        self.keyset_file: dict[str, Any] = {
            "version": version,
            "fleet": fleet,
            "thresholds": {"approver": approvals} if approvals > 1 else {},
            "principals": {
                name: {
                    "roles": list(held),
                    "keys": [encode_public(self.signers[name].public)],
                    "shared": name in shared,
                }
                for name, held in roles.items()
            },
        }
        self.keyset: Keyset = parse_keyset(self.keyset_file)
        self.trust = Trust(self.keyset, namespace, environment)
        self._common = {
            "namespace": namespace,
            "environment": environment,
            "fleet": fleet,
            "keyset_version": version,
            "issued_at_ms": START_MS,
        }

    def _fields(self, by: By, *layers: Mapping[str, Any]) -> dict[str, Any]:
        fields: dict[str, Any] = {**self._common, "by": _names(by)[0]}
        for layer in layers:
            fields.update(layer)
        return fields

    def _signers(self, by: By) -> list[Signer]:
        return [self.signers[name] for name in _names(by)]

    def grant(self, epoch: int = 1, *, by: By | None = None, **fields: Any) -> bytes:
        """Sign a grant: an activation, or a resumption when `term` is another one than `epoch`.

        Such a resumption lets go of every restriction before it; `drops_up_to=0` leaves that to
        `drops`.
        """
        by = by or ("alice", "bob")[: self.approvals]
        term = fields.setdefault("term", epoch)
        issued = fields.get("issued_at_ms", START_MS)
        defaults: dict[str, Any] = {
            "kind": GrantKind.ACTIVATE if term == epoch else GrantKind.RESUME,
            "epoch": epoch,
            "mode": Mode.LIVE,
            "profile": Profile.MICRO,
            "limits": LIMITS,
            "activated_at_ms": issued if term == epoch else min(issued, START_MS),
            "not_before_ms": START_MS - 60_000,
            "not_after_ms": START_MS + 12 * 3_600_000,
            "heartbeats": self.keyset.principals(Role.HEARTBEAT) or ["hb-1"],
            "max_ttl_ms": 25_000,
            "keeps": [],
            "drops": [],
            "drops_up_to": epoch - 1,
            "report": None,
            "policy": "0" * 64,
        }
        return seal(Grant(**self._fields(by, _DIRECTIVE, defaults, fields)), *self._signers(by))

    def restriction(
        self,
        epoch: int = 2,
        kind: str = "halt",
        *,
        by: By = "rita",
        **fields: Any,
    ) -> bytes:
        """Sign a `halt` (of everything, unless `labels` are given), a `reduce` or a `demote`."""
        mode = {"halt": Mode.HALTED, "reduce": Mode.REDUCE_ONLY}.get(kind)
        defaults: dict[str, Any] = {
            "kind": RestrictionKind(kind),
            "epoch": epoch,
            "term": 1,
            "labels": {},
            "mode": mode,
            "profile": None if mode else Profile.MICRO,
            "limits": None if mode else LIMITS,
        }
        return seal(
            Restriction(**self._fields(by, _DIRECTIVE, defaults, fields)), *self._signers(by)
        )

    def revocation(self, epoch: int = 2, *, by: By = "rita", **fields: Any) -> bytes:
        """Sign the end of every term up to `epoch`."""
        defaults = {"epoch": epoch, "reason": "test", "ticket": "", "blind": False}
        return seal(Revocation(**self._fields(by, defaults, fields)), *self._signers(by))

    def beat(
        self,
        n: int = 1,
        name: str = "hb-1",
        *,
        state: State | None = None,
        by: By = (),
        **fields: Any,
    ) -> bytes:
        """Sign a beat of `name` for `state` (by default for the grant that `grant()` makes)."""
        by, state = by or name, state or self.state(self.grant())
        defaults = {
            "by": name,
            "heartbeat": name,
            "term": state.term,
            "epoch": state.epoch,
            "set": state.digest,
            "n": n,
        }
        return seal(Beat(**self._fields(by, defaults, fields)), *self._signers(by))

    def receipt(
        self,
        directive: bytes,
        stage: str = "latched",
        *,
        by: By = "pod-1",
        **fields: Any,
    ) -> bytes:
        """Sign a worker's answer; give `worker=None, heartbeat=...` for a heartbeat's.

        A goodbye (`stage="left"`) answers no directive.
        """
        goodbye = stage == "left"
        defaults: dict[str, Any] = {
            "worker": _names(by)[0],
            "heartbeat": None,
            "instance": "0" * 32,
            "directive": None if goodbye else identity(directive),
            "epoch": None if goodbye else 2,
            "term": None if goodbye else 1,
            "stage": Stage(stage),
            "at_ms": START_MS,
            "in_flight": 0,
            "left": 0 if stage == "drained" else None,
            "durable": Durable.YES,
            "head": None,
            "beat_on": [] if fields.get("heartbeat") else None,
        }
        return seal(Receipt(**self._fields(by, defaults, fields)), *self._signers(by))

    def state(self, grant: bytes, *restrictions: bytes) -> State:
        """Verify directives and return the state they make."""
        trust = self.trust
        return assemble(trust.grant(grant), [trust.restriction(raw) for raw in restrictions])


def _names(by: By) -> tuple[str, ...]:
    return (by,) if isinstance(by, str) else by


def identity(raw: bytes) -> str:
    """Return the identity of the record in an envelope."""
    return decode(raw).identity
