"""Attempts that were refused, in the ledger: who tried what, and which rule said no."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from golive_redis import clock
from golive_redis.delivery.append import append
from golive_redis.delivery.spool import Spool
from golive_redis.errors import GoliveError, RecordError, RefusedError, StoreError
from golive_redis.operator.session import Operator
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import peek, seal
from golive_redis.records.record import wording
from golive_redis.records.refusal import Attempt, Refusal
from golive_redis.records.report import Outcome
from golive_redis.store.replies import Snapshot


@contextmanager
def told(operator: Operator, attempt: Attempt, proposal: str | None = None) -> Iterator[None]:
    """Within, a refusal is entered before it is raised.

    It costs the attempt nothing: where it cannot be signed or entered, only the error is told; where
    Redis does not take it, it waits in the spool. Nothing is written where another fleet is at home.

    Args:
        operator: At work.
        attempt: What is tried.
        proposal: Identity of the proposed grant that it is about, or None.
    """
    try:
        yield
    except RefusedError as error:
        with suppress(GoliveError, OSError):
            _enter(operator, attempt, error, proposal)
        raise


def _newest_keyset(found: Snapshot) -> int | None:
    """Return the newest keyset version under which something in Redis was signed; None for nothing.

    Nobody's signature is looked at: whoever writes there can keep a note out of the ledger anyway.
    """
    versions = []
    for kind, raws in (
        (Grant, [found.grant]),
        (Revocation, [found.revoked]),
        (Restriction, found.restrictions.values()),
        (Beat, found.beats.values()),
    ):
        for raw in raws:
            with suppress(RecordError):
                versions += [peek(raw, kind).keyset_version] if raw else []
    return max(versions, default=None)


def _enter(operator: Operator, attempt: Attempt, error: RefusedError, proposal: str | None) -> None:
    found = operator.store.snapshot()
    if operator.another_fleet(found.fleet):  # A12: its ledger is not ours to write
        return
    # Who has that keyset alone could judge the note: one mistake here would spoil the ledger for all.
    if _newest_keyset(found) not in {None, operator.trust.keyset.version}:
        return
    signer = operator.signers(())[0]
    findings = getattr(error, "findings", ())
    failed = [item.check for item in findings if item.outcome is not Outcome.PASS]
    record = Refusal(
        **operator.trust.heading(signer.principal, clock.wall_ms()),
        attempt=attempt,
        why=error.reason,
        check=failed[0] if failed else None,
        report=None,
        proposal=proposal,
        text=wording(error.message),
    )
    raw = seal(record, signer)
    try:
        append(operator.store, raw)
    except StoreError:
        folder = operator.config.state_dir
        if folder is not None:
            Spool(folder).keep(raw)
