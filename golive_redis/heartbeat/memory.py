"""What a heartbeat remembers over a restart, and how it claims the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from golive_redis import clock
from golive_redis.core.answer import Latch
from golive_redis.core.pulse import Pulse
from golive_redis.core.state import State, assemble
from golive_redis.core.timing import Haste, Timing
from golive_redis.errors import RecordError
from golive_redis.logs import Log
from golive_redis.records.receipt import Durable
from golive_redis.records.record import Epoch, Ms, Strict, decodable
from golive_redis.records.trust import Trust
from golive_redis.statefile import StateFile, StateFileError

logger = Log("golive_redis.heartbeat")


@decodable
class HeartbeatState(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a heartbeat remembers.

    Attributes:
        latch: No term it covers gets another beat.
        term: Term for which it may go on beating after a restart (S13), or None.
        revocation: The revocation it re-asserts where a store has lost it.
        grant: The newest of `term` that it has verified, or None: it beats on none that is older.
        restrictions: Those in force beside it, which it re-asserts likewise.
        beat_on: Run ids of the servers on which it may have beaten for `term`; None when unknown.
        stopped_ms: When it heard of `revocation`, Unix ms of this host.
        adopted_ms: When it has adopted activations in the last 24 hours, likewise.
        paused_ms: When the stops before `revocation` were, the latest since a term was adopted.
        risk: The last of them by somebody with the authority of risk.
    """

    latch: Latch = Latch()
    term: Epoch | None = None
    revocation: str | None = None
    grant: str | None = None
    restrictions: list[str] = []
    beat_on: list[str] | None = None
    stopped_ms: Ms | None = None
    adopted_ms: list[Ms] = []
    paused_ms: Ms | None = None
    risk: str | None = None


class HeartbeatMemory:
    """The state file of one heartbeat, held until `release`.

    Args:
        folder: The state folder; None remembers nothing.
        name: Of the heartbeat.
        say: Told in a sentence what an operator should know.

    Attributes:
        durable: Whether a latch would survive a restart: `yes`, `none` without a folder, `failed`
            since a write that failed, until one succeeds.
        is_empty: It began with nothing: new here, or its disk was lost.

    Raises:
        StateFileError: The file is held by a live process or cannot be read. Fails closed: the
            heartbeat does not start.
    """

    def __init__(self, folder: Path | None, name: str, say: Callable[[str], None]) -> None:
        self._name = name
        self._say = say
        self._file = StateFile(folder, f"heartbeat-{name}") if folder else None
        self.durable = Durable.NONE if self._file is None else Durable.YES
        self._problem = ""
        try:
            states = self._file.read_all(HeartbeatState) if self._file else []
        except StateFileError:
            self.release()
            raise
        self._state = states[0] if states else HeartbeatState()
        self.is_empty = not states

    def pulse(self, trust: Trust, timing: Timing, haste: Haste) -> Pulse:
        """Return the state machine as it was left."""
        state = self._state
        term, held = state.term, None
        try:
            held = _verified(state, trust)
        except RecordError as error:
            # S13: on what it can no longer verify it cannot beat, and on less it must not.
            self._say(f"what it remembers of term {term} is refused: {error.message}")
            term = None
        pulse = Pulse(
            trust,
            timing,
            self._name,
            state.latch,
            term,
            held,
            state.beat_on,
            started_ms=clock.wall_ms(),
            haste=haste,
            stopped_ms=state.stopped_ms,
            adopted_ms=state.adopted_ms,
        )
        pulse.paused_ms = state.paused_ms
        if state.revocation is not None:
            try:
                pulse.revocation = trust.revocation(state.revocation.encode())
                if state.risk is not None:
                    pulse.risk = trust.revocation(state.risk.encode())
            except RecordError as error:
                self._say(f"the remembered revocation is refused: {error.message}")
        return pulse

    def keep(self, pulse: Pulse) -> None:
        """Write down what is known now, and note in `durable` whether that worked; never raises."""
        if self._file is None:
            return
        held = pulse.state
        try:
            value = HeartbeatState(
                latch=pulse.latch,
                term=pulse.term,
                revocation=pulse.revocation.raw.decode() if pulse.revocation is not None else None,
                grant=held.grant.raw.decode() if held is not None else None,
                restrictions=[item.raw.decode() for item in held.restrictions] if held else [],
                beat_on=list(pulse.beat_on) if pulse.beat_on is not None else None,
                stopped_ms=pulse.stopped_ms,
                adopted_ms=pulse.adopted_ms,
                paused_ms=pulse.paused_ms,
                risk=pulse.risk.raw.decode() if pulse.risk is not None else None,
            )
            self._file.write(value)
            self.durable, self._problem = Durable.YES, ""
        except StateFileError as error:
            # S12: silent until a write succeeds, for a latch that a restart forgets is none.
            self.durable, self._problem = Durable.FAILED, error.message
            self._say(error.message)
        except Exception as error:
            self.durable, self._problem = Durable.FAILED, repr(error)
            logger.exception("a defect in golive-redis; this heartbeat stays silent")

    def cannot_keep(self) -> str:
        """Return why the next stop could not be written down, "" when it can (S12, A15)."""
        if self.durable is not Durable.FAILED and self._file is not None:
            problem = self._file.prepare()
            self._problem = problem.message if problem is not None else ""
        return f"a stop could not be kept: {self._problem}" if self._problem else ""

    def release(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.release()


def _verified(state: HeartbeatState, trust: Trust) -> State | None:
    if state.grant is None:
        return None
    restrictions = [trust.restriction(raw.encode()) for raw in state.restrictions]
    return assemble(trust.grant(state.grant.encode()), restrictions)
