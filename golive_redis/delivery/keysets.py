"""Following the roots: take the signed keysets that Redis has beyond the one in use, one by one.

Nothing that Redis says is believed but by the signatures in it. What is taken is on the disk before it
is used, so that a restart goes back to nothing older.

Source: The Update Framework 1.0.34, section 5.3 (update the root role).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from golive_redis.errors import RecordError
from golive_redis.records.keyset import Keyset
from golive_redis.records.rotation import (
    MAX_STEPS,
    Step,
    came_from,
    digest_of,
    next_keyset,
    parse_payload,
    unpack,
)
from golive_redis.records.trust import Trust
from golive_redis.store.keysets import MAX_KEPT
from golive_redis.store.store import Store

Keep = Callable[[Sequence[Step]], None]


class Followed(msgspec.Struct, frozen=True):
    """How far the steps in Redis lead.

    Attributes:
        trust: Under the newest keyset that could be taken.
        steps: Which were taken, the first one in front.
        problem: Why what stands there next was not taken; "" when nothing does.
    """

    trust: Trust
    steps: tuple[Step, ...] = ()
    problem: str = ""


def past(store: Store, keyset: Keyset) -> list[Keyset]:
    """Return the keysets before one, the newest in front, as far as Redis keeps them.

    Each is vouched for by the roots of the one after it, and so in the end by the roots of `keyset`.

    Raises:
        StoreError: Redis cannot be asked.
    """
    found: list[Keyset] = []
    current = keyset
    while len(found) < MAX_KEPT:
        try:
            raw, earlier = (
                store.keyset_step(current.version),
                store.keyset_step(current.version - 1),
            )
            if raw is None or earlier is None:
                break
            digest, payload = came_from(unpack(raw), current), unpack(earlier).payload
            if digest_of(payload) != digest:  # planted, or of another history
                break
            current = parse_payload(payload)
        except RecordError:
            break
        found.append(current)
    return found


def follow(store: Store, trust: Trust, keep: Keep) -> Followed:
    """Take what comes after a keyset, as far as its roots have signed it.

    Args:
        store: Where the steps are.
        trust: The keyset in use.
        keep: Writes steps down; what it raises is raised, and then nothing was taken.

    Raises:
        StoreError: Redis cannot be asked.
        StateFileError: What follows cannot be kept, and so is not used.

    Fails closed: a step that does not verify is not taken, and none after it is looked at.
    """
    if not trust.keyset.is_signed:
        return Followed(trust)
    current, steps, problem = trust.keyset, list[Step](), ""
    while len(steps) < MAX_STEPS:
        number = current.version + 1
        try:
            raw = store.keyset_step(number)
            if raw is None:
                break
            step = unpack(raw)
            current = next_keyset(
                current, step, namespace=trust.namespace, environment=trust.environment
            )
        except RecordError as error:
            problem = f"keyset {number} in Redis is refused: {error.message}"
            break
        steps.append(step)
    if steps:
        keep(steps)  # before use: a restart must not go back
    return Followed(msgspec.structs.replace(trust, keyset=current), tuple(steps), problem)
