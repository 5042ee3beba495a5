"""Having checkpoints cosigned: one thread for each witness, so that none waits for another.

A witness that hangs, is gone or refuses costs its own cosignature and nothing else. What a witness needs
as a proof is made by the caller, who reads the ledger: a courier asks for it and is given it with the
next offer.

Source: C2SP tlog-witness v1.0.0; the client is `golive_redis.witness.submit`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import msgspec

from golive_redis import clock
from golive_redis.errors import GoliveError, RecordError
from golive_redis.records.logpolicy import TrustedWitness
from golive_redis.records.signednote import SignatureLine
from golive_redis.threads import Backoff, Loop
from golive_redis.witness.submit import Cosigned, Submitter

IDLE_S = 60.0  # a thread without work looks up so often
ENDS_S = 0.1
PAUSE_S = 1.0


class Offer(msgspec.Struct, frozen=True):
    """A checkpoint to be cosigned.

    Attributes:
        note: Signed by the log.
        size: Of it.
        proofs: By size, the proof from there to it.
    """

    note: bytes
    size: int
    proofs: Mapping[int, Sequence[bytes]]


class _NoProofError(RecordError):
    """The proof from that size is not at hand."""

    def __init__(self, old: int) -> None:
        super().__init__(f"it takes a proof from {old} entries on")
        self.old = old


class Courier:
    """Takes checkpoints to one witness.

    Args:
        witness: Its key and its URL.
        known: The size that it has cosigned last, as far as is known.
        say: Told in a sentence what an operator should know; what stays as it is, once.
        answered: Called after each submission, whatever came of it.

    Attributes:
        witness: Likewise.
        needs: The size from which the witness wants a proof that was not at hand; None for none.

    Raises:
        ConfigError: The URL cannot be a witness's.
    """

    def __init__(
        self,
        witness: TrustedWitness,
        known: int,
        say: Callable[[str], None],
        answered: Callable[[], None],
    ) -> None:
        self.witness = witness
        self.needs: int | None = None
        self._submitter = Submitter(witness.url, witness.verifier, known=known)
        self._say = say
        self._said = ""
        self._answered = answered
        self._offer: Offer | None = None
        self._cosigned: Cosigned | None = None
        self._came = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._loop = Loop(
            f"witness-{witness.name}"[:40],
            self._turn,
            failed=self._failed,
            backoff=Backoff(PAUSE_S, PAUSE_S),
        )

    @property
    def known(self) -> int:
        """The size that the witness is thought to know now."""
        return self._submitter.known

    def offer(self, offer: Offer) -> None:
        """Have a checkpoint cosigned in the background, in place of one that still waits."""
        self.needs = None
        self._offer = offer
        self._idle.clear()
        self._came.set()
        self._loop.start()  # where there is no thread now, the next offer tries again

    def wait(self, within_s: float) -> None:
        """Wait so long for what was offered to come to an end."""
        self._idle.wait(within_s)

    def lines(self, size: int) -> tuple[SignatureLine, ...]:
        """Return the cosignature of the checkpoint of that size; none where it has not come."""
        found = self._cosigned
        return found.lines if found is not None and found.size == size else ()

    def end(self) -> None:
        """End the thread; a submission that is under way ends by itself, within two seconds."""
        self._loop.closing.set()
        self._came.set()
        self._loop.end(ENDS_S)

    def _turn(self) -> None:
        if not self._came.wait(IDLE_S):
            return
        self._loop.check()
        self._came.clear()
        offer, self._offer = self._offer, None
        if offer is None or self._loop.closing.is_set():
            return
        try:
            self._submit(offer)
        finally:
            if self._offer is None:
                self._idle.set()
            self._answered()

    def _submit(self, offer: Offer) -> None:
        def prove(old: int, new: int) -> Sequence[bytes]:
            if new != offer.size or old not in offer.proofs:
                raise _NoProofError(old)
            return offer.proofs[old]

        name = self.witness.name
        try:
            found = self._submitter.submit(offer.note, prove)
        except _NoProofError as error:
            self.needs = error.old
        except GoliveError as error:
            self._tell(f"not cosigned by {name}: {error.message}")
        else:
            self._cosigned = found
            if found.fell_back is not None:
                self._say(
                    f"SECURITY: witness {name} knew {found.fell_back} entries, and has signed more "
                    "before: it has lost its memory, or somebody else holds its key"
                )
            self._tell("")

    def _tell(self, what: str) -> None:
        """Say what is wrong once, and once that it is over."""
        if what and what != self._said:
            self._say(what)
        elif self._said and not what:
            self._say(f"cosigned by {self.witness.name} again")
        self._said = what

    def _failed(self, error: Exception) -> None:
        self._tell(f"not cosigned by {self.witness.name}: a defect in golive-redis: {error!r}")


def wait_for_all(couriers: Sequence[Courier], within_s: float) -> None:
    """Wait so long, in all, for each of them to be done."""
    until_ms = clock.now_ms() + within_s * 1000
    for courier in couriers:
        courier.wait(max(0.0, (until_ms - clock.now_ms()) / 1000))
