"""Forgetting workers: an operator attests that processes are dead, and no stop waits for them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from golive_redis import clock
from golive_redis.core.barrier import Attested, Pod
from golive_redis.errors import MaybeAppliedError, RefusedError, StoreError
from golive_redis.operator.lookalikes import near
from golive_redis.operator.session import Operator
from golive_redis.records.keyset import Role
from golive_redis.stop.attestation import attest
from golive_redis.stop.roster import goodbyes
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.presence import listed


class Forgotten(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        by: Whose word it is.
        dead: Processes that are attested dead now, and off the roster.
        back: Of those, who has registered again since: it lives, and the word does not count.
    """

    by: str
    dead: tuple[Pod, ...]
    back: tuple[Pod, ...]


def forget(operator: Operator, names: Sequence[str], *, reason: str, ticket: str = "") -> Forgotten:
    """Attest, with the operator's signature, that processes are dead, and take them off the roster.

    Args:
        operator: At work.
        names: Worker ids, each meaning every process of it that is silent and has not left; or one
            process, as `ID:` and the first characters of its instance.
        reason: Why; goes into the ledger.
        ticket: Reference for the ledger.

    Raises:
        RefusedError: A name stands for nobody, or for nobody who is silent, or the store belongs to
            another fleet, or Redis refuses the first note. Nothing was changed.
        ConfigError: There is no usable key, or it may not sign a stop. Nothing was changed.
        MaybeAppliedError: An answer is missing. Who is attested is said, and of whom it is not known.

    Fails closed: one that lives is on the roster again with its next read, and is asked at a stop.
    """
    keyset = operator.trust.keyset
    signer = operator.config.stop_signer(keyset)
    if signer.principal not in keyset.principals(Role.REVOKER):
        raise RefusedError(
            f"{signer.principal} may not attest that a worker is dead: whoever may stop, may",
            hint=f"keys of {', '.join(keyset.principals(Role.REVOKER)) or 'nobody'}",
        )
    reading = operator.read()
    if another := operator.another_fleet(reading.snapshot.fleet):
        raise RefusedError(another)
    pods = _silent(operator, names)
    done: list[Pod] = []
    try:
        for some in attest(
            operator.store, operator.trust, signer, pods, reason=reason, ticket=ticket
        ):
            operator.store.strike([f"{pod.worker}:{pod.instance}" for pod in some])
            done += some
        clock.pause_ms(2 * operator.timing.read_every_ms)  # one that lives has read by then
        there = {Pod(*pod) for pod in operator.store.fleet()[0]}
    except StoreError as error:
        if isinstance(error, StoreRefusedError) and not done:
            raise RefusedError(f"Redis refuses it: {error.message}", hint=error.hint) from error
        rest = _named(pod for pod in pods if pod not in done)
        raise MaybeAppliedError(
            f"{error.message}; attested dead: {_named(done) or 'nobody'}"
            + (f"; not known of {rest}" if rest else "; who lives all the same is not known"),
            hint="run it again: to attest twice is to attest once",
        ) from error
    return Forgotten(signer.principal, tuple(done), tuple(pod for pod in done if pod in there))


def _silent(operator: Operator, names: Sequence[str]) -> list[Pod]:
    """Return the silent processes that are meant: of the roster, and of whom this host remembers."""
    alive: dict[Pod, int] = {}
    found = operator.store.workers()
    here = operator.memory.newest
    silent = {Pod(*pod) for pod in here.workers} if here.term else set()
    silent |= {Pod(item.name, item.instance) for item in found if not item.alive}
    for item in found:
        if item.alive:
            alive[Pod(item.name, item.instance)] = item.heard_ms or 0
    silent -= alive.keys()
    left = goodbyes(operator.store, operator.trust, silent)
    meant: set[Pod] = set()
    for name in names:
        word = Attested(workers=frozenset({name}))
        of_name = {pod for pod in silent - left if word.worker(pod)}
        if not of_name:
            raise RefusedError(*_nobody(name, word, silent | alive.keys(), alive, left))
        meant |= of_name
    return sorted(meant)


def _nobody(
    name: str, word: Attested, known: Iterable[Pod], alive: dict[Pod, int], left: frozenset[Pod]
) -> tuple[str]:
    """Say why a name stands for nobody who could be attested dead."""
    living = sorted(pod for pod in alive if word.worker(pod))
    if living:
        heard = ", ".join(f"{pod.short} {alive[pod] / 1000:.1f} s ago" for pod in living)
        return (f"{name!r} lives: heard {heard}; end the process first",)
    if any(word.worker(pod) for pod in left):
        return (f"{name!r} has said goodbye: no stop waits for it",)
    meant = near(name, {pod.worker for pod in known}, missed=True)
    close = f"; did you mean {' or '.join(meant)}?" if meant else ""
    return (f"no worker {name!r} is known here{close}",)


def _named(pods: Iterable[Pod]) -> str:
    return listed(pod.short for pod in pods)
