"""Forgetting workers: an operator attests that processes are dead, and no stop waits for them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from golive_redis import clock
from golive_redis.config import keyfile
from golive_redis.config.signing import on_terminal
from golive_redis.core.barrier import Attested, Pod
from golive_redis.errors import MaybeAppliedError, RefusedError, StoreError
from golive_redis.operator.lookalikes import near
from golive_redis.operator.session import Operator, Say, quiet
from golive_redis.records.keyset import Role
from golive_redis.records.record import wording
from golive_redis.stop.attestation import attest
from golive_redis.stop.roster import goodbyes
from golive_redis.store.keyspace import PRESENCE_MS
from golive_redis.store.link import StoreRefusedError
from golive_redis.store.presence import Presence, listed

POLL_MS = 250.0


class Forgotten(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        by: Whose word it is.
        dead: Processes that are attested dead now, and off the roster.
        back: Of those that were meant, who has been heard meanwhile: it lives, and no word counts.
    """

    by: str
    dead: tuple[Pod, ...]
    back: tuple[Pod, ...]


def forget(
    operator: Operator,
    names: Sequence[str],
    *,
    reason: str,
    ticket: str = "",
    say: Say = quiet,
) -> Forgotten:
    """Attest, with the operator's signature, that processes are dead, and take them off the roster.

    It watches them first for as long as a permission lasts, so that none that is only cut off can
    still have one when nobody asks it any more.

    Args:
        operator: At work.
        names: Worker ids, each meaning every process of it that is silent and has not left; or one
            process, as `ID:` and the first characters of its instance.
        reason: Why; goes into the ledger.
        ticket: Reference for the ledger.
        say: Told in a sentence what happens.

    Raises:
        RefusedError: A name stands for nobody, or for nobody who is silent, or the store belongs to
            another fleet, or Redis refuses the first note. Nothing was changed.
        ConfigError: There is no usable key, or it may not sign a stop. Nothing was changed.
        MaybeAppliedError: An answer is missing. Who is attested is said, and of whom it is not known.

    Fails closed: one that lives is on the roster again with its next read, and is asked at a stop.
    """
    keyset = operator.trust.keyset
    signer = operator.config.stop_signer(keyset, ask=on_terminal)
    keyfile.forbid_core_dumps()
    if signer.principal not in keyset.principals(Role.REVOKER):
        raise RefusedError(
            f"{signer.principal} may not attest that a worker is dead: that takes the role revoker "
            "or approver",
            hint=f"keys of {', '.join(keyset.principals(Role.REVOKER)) or 'nobody'}",
        )
    reading = operator.read()
    if another := operator.another_fleet(reading.snapshot.fleet):
        raise RefusedError(another)
    meant = _silent(operator, names)
    pods = _watched(operator, meant, say)
    done: list[Pod] = []
    try:
        for some in attest(
            operator.store,
            operator.trust,
            signer,
            pods,
            reason=wording(reason),
            ticket=wording(ticket),
        ):
            done += some
    except StoreError as error:
        if isinstance(error, StoreRefusedError) and not done:
            raise RefusedError(f"Redis refuses it: {error.message}", hint=error.hint) from error
        rest = _named(pod for pod in pods if pod not in done)
        raise MaybeAppliedError(
            f"{error.message}; attested dead: {_named(done) or 'nobody'}; not known of {rest}",
            hint="run it again: to attest twice is to attest once",
        ) from error
    return Forgotten(signer.principal, tuple(done), tuple(sorted(set(meant) - set(done))))


def _watched(operator: Operator, pods: Sequence[Pod], say: Say) -> list[Pod]:
    """Return those that are not heard for as long as a permission lasts, from now on (A5).

    That they were silent when it began rests on the life of a key, which anybody may delete and a clock
    that is set may end.
    """
    wait_ms = operator.timing.lease_over_ms
    say(f"watching {_named(pods)} for {wait_ms / 1000:.1f} s: so long a permission lasts")
    left, until = list(pods), clock.now_ms() + wait_ms
    while left and clock.now_ms() < until:
        clock.pause_ms(POLL_MS)
        heard = {Pod(item.name, item.instance) for item in operator.store.workers() if item.alive}
        left = [pod for pod in left if pod not in heard]
    return left


def _silent(operator: Operator, names: Sequence[str]) -> list[Pod]:
    """Return the silent processes that are meant: of the roster, and of whom this host remembers."""
    found = operator.store.workers()
    here = operator.memory.newest
    alive = {Pod(item.name, item.instance): item for item in found if item.alive}
    silent = {Pod(*pod) for pod in here.workers} if here.term else set()
    silent |= {Pod(item.name, item.instance) for item in found if not item.alive}
    silent -= alive.keys()
    left = goodbyes(operator.store, operator.trust, silent)
    meant: set[Pod] = set()
    for name in names:
        word = Attested(workers=frozenset({name}))
        of_name = {pod for pod in silent - left if word.worker(pod)}
        if not of_name:
            raise _nobody(name, word, silent - left, alive, left)
        meant |= of_name
    return sorted(meant)


def _nobody(
    name: str,
    word: Attested,
    silent: Iterable[Pod],
    alive: dict[Pod, Presence],
    left: frozenset[Pod],
) -> RefusedError:
    """Say why a name stands for nobody who could be attested dead."""
    living = sorted(pod for pod in alive if word.worker(pod))
    if living:
        heard = ", ".join(
            f"{pod.short} {(alive[pod].heard_ms or 0) / 1000:.1f} s ago" for pod in living
        )
        return RefusedError(
            f"heard too lately: {heard}",
            hint=f"end the process, and run this again when it has been silent for "
            f"{PRESENCE_MS // 1000} s",
        )
    if any(word.worker(pod) for pod in left):
        return RefusedError(f"{name!r} has said goodbye: no stop waits for it")
    meant = near(name, {pod.worker for pod in silent}, missed=True)
    close = f"; did you mean {' or '.join(meant)}?" if meant else ""
    return RefusedError(
        f"no silent worker {name!r} is on the roster{close}",
        hint="one that has left, or was forgotten before, is on it no more: see `golive workers`",
    )


def _named(pods: Iterable[Pod]) -> str:
    return listed(pod.short for pod in pods)
