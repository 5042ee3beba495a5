"""The word of an operator that a worker process is dead: a signed note, kept where its goodbye would be.

A process that was killed said no goodbye, so each host that knows of it waits for it at the next stop.
Whoever may stop may also attest that it is dead. The note goes into the ledger, stands beside the
rosters for every host to read, and the process goes off the roster.

The word counts while the process is off the roster. It goes off only when it has not been heard, and
each read of a worker registers it, so one that lives is on the roster again before its next permit, and
is asked. Registering also ends the word, for good: a word that was wrong does not count when somebody
hides the entry later. A failover may lose that, so the word does not count for a term that has met one,
and its stop names the worker (A5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from golive_redis import clock
from golive_redis.core.barrier import Pod
from golive_redis.errors import RecordError
from golive_redis.records.envelope import Signer, seal
from golive_redis.records.keyset import Role
from golive_redis.records.ledger import Note
from golive_redis.records.trust import Trust
from golive_redis.store.store import Store

INSTANCES_NAMED = 15
"""As many as fit in one fact of a note."""


def attest(
    store: Store,
    trust: Trust,
    signer: Signer,
    pods: Iterable[Pod],
    *,
    reason: str = "",
    ticket: str = "",
) -> Iterator[list[Pod]]:
    """Attest that these processes are dead: one note for each 15 processes of a worker.

    Args:
        store: A connected store.
        trust: Heading of the notes.
        signer: A revoker.
        pods: Which.
        reason: In the words of the operator; "" where it is that of the stop.
        ticket: Reference for the ledger.

    Yields:
        Those of one note, once it is in the ledger: who is off the roster now. The others have been
        heard lately, and the word does not count for them.

    Raises:
        StoreRefusedError: Redis refused a note, or its place; those yielded are attested.
        StoreError: No answer came. The ledger may have a note that counts for nobody yet; attesting
            again is harmless.
    """
    # A stop reads such words before its effect, and writes none until it is over.
    from golive_redis.delivery.append import append  # noqa: PLC0415

    for worker, group in groupby(sorted(pods), key=lambda pod: pod.worker):
        named = list(group)
        for first in range(0, len(named), INSTANCES_NAMED):
            some = named[first : first + INSTANCES_NAMED]
            facts = {"worker": worker, "instances": " ".join(pod.instance for pod in some)}
            facts |= {"reason": reason} if reason else {}
            facts |= {"ticket": ticket} if ticket else {}
            note = Note(
                **trust.heading(signer.principal, clock.wall_ms()),
                topic="worker-dead",
                text=f"{signer.principal} attests that worker {worker} is dead",
                facts=facts,
            )
            raw = seal(note, signer)
            append(store, raw)  # first: nothing counts that the ledger does not have
            yield [pod for pod in some if store.forget(pod.worker, pod.instance, raw)]


def attested(trust: Trust, raw: bytes) -> frozenset[Pod]:
    """Return which processes a stored envelope attests to be dead.

    Fails closed: nobody, when it is something else, or is not signed by a revoker.
    """
    try:
        note = trust.note(raw, Role.REVOKER).record
    except RecordError:
        return frozenset()
    if note.topic != "worker-dead":
        return frozenset()
    worker = note.facts.get("worker", "")
    return frozenset(Pod(worker, name) for name in note.facts.get("instances", "").split())
