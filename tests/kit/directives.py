"""Directives for tests of the store, which compares numbers and identities and verifies nothing."""

from __future__ import annotations

from copy import copy
from typing import Any

import msgspec

from golive_redis.records.directive import Grant, GrantKind, Restriction, Revocation
from golive_redis.records.envelope import Verified, peek
from golive_redis.testing import EVERYBODY, Signers

_SIGNERS = Signers(EVERYBODY)
_GRANT = peek(_SIGNERS.grant(), Grant)
_RESTRICTION = peek(_SIGNERS.restriction(), Restriction)
_REVOCATION = peek(_SIGNERS.revocation(), Revocation)


def _as(record: Any, raw: bytes, identity: str, changes: dict[str, Any]) -> Verified[Any]:
    record = copy(record)
    for name, value in changes.items():
        # Past the checks of the record: the scripts have to refuse numbers that no honest client sends.
        msgspec.structs.force_setattr(record, name, value)
    return Verified(record, identity, raw, frozenset())


def grant(raw: bytes, identity: str, *, activates: bool, **changes: Any) -> Verified[Grant]:
    """A grant with that envelope; `changes` are its numbers and the directive before."""
    kind = GrantKind.ACTIVATE if activates else GrantKind.RESUME
    return _as(_GRANT, raw, identity, {"kind": kind, **changes})


def restriction(raw: bytes, identity: str, **changes: Any) -> Verified[Restriction]:
    """A restriction with that envelope."""
    return _as(_RESTRICTION, raw, identity, dict(changes))


def revocation(raw: bytes, identity: str, **changes: Any) -> Verified[Revocation]:
    """A revocation with that envelope."""
    return _as(_REVOCATION, raw, identity, dict(changes))
