"""A guard's state machine without the guard: asked, answered and looked at by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from golive_redis.core.answer import Answer, Latch
from golive_redis.core.decision import decide
from golive_redis.core.events import Event
from golive_redis.core.permit import Denial, Permit, Phase
from golive_redis.core.timing import TIMINGS, Timing
from golive_redis.core.view import View
from golive_redis.testing.clock import FakeClock
from golive_redis.testing.signers import Signers, identity


def answer(nonce: str, grant: bytes | None = None, *restrictions: bytes, **fields: Any) -> Answer:
    """Build the answer of a healthy store that holds these directives.

    Args:
        nonce: Of the question.
        grant: The grant in force; None says that nothing is active.
        restrictions: Those in force.
        fields: Other fields of `Answer`, or replacements.
    """
    if grant is not None and "last" not in fields:
        fields["last"] = identity((grant, *restrictions)[-1])
    values: dict[str, Any] = {
        "nonce": nonce,
        "corrupt": None,
        "last": None,
        "pttl_ms": 24_000 if grant is not None else -2,
        "grant": grant,
        "restrictions": restrictions,
        "unchanged": False,
        "beats": {},
        "revoked": None,
        "revoked_unchanged": False,
    }
    return Answer(**{**values, **fields})


class Harness:
    """One guard's state machine, asked and answered by hand on a `FakeClock`.

    Args:
        signers: Whose records the guard trusts, and who signs the beats.
        timing: The timers.
        labels: The guard's own labels.
        latch: What its state file remembered.
    """

    def __init__(
        self,
        signers: Signers | None = None,
        *,
        timing: Timing = TIMINGS["standard"],
        labels: Mapping[str, str] | None = None,
        latch: Latch | None = None,
    ) -> None:
        self.signers = signers or Signers()
        self.clock = FakeClock()
        self.view = View(self.signers.trust, timing, labels or {}, latch)
        self.asked = 0

    def ask(self) -> str:
        """Send the next question; return its nonce."""
        self.asked += 1
        nonce = f"{self.asked:032x}"
        self.view.ask(nonce, now_ns=self.clock.now_ns(), wall_ms=self.clock.wall)
        return nonce

    def attend(
        self,
        grant: bytes | None = None,
        *restrictions: bytes,
        beats: Mapping[str, int | bytes] | None = None,
        latency_ms: float = 1.0,
        **fields: Any,
    ) -> list[Event]:
        """Ask, let `latency_ms` pass, and take in the answer of a healthy store.

        Args:
            grant: See `answer`, also for `restrictions` and `fields`.
            restrictions: In force.
            beats: By heartbeat: its count, for a beat of just now for this state, or an envelope.
            latency_ms: How long the answer takes.
            fields: Other fields of the answer.
        """
        nonce = self.ask()
        issued = round(self.clock.wall)
        made = {
            name: self.signers.beat(
                n, name, state=self.signers.state(grant, *restrictions), issued_at_ms=issued
            )
            if isinstance(n, int) and grant is not None
            else n
            for name, n in (beats or {}).items()
        }
        self.clock.advance(latency_ms)
        values = {"beats": made, **fields}
        return self.view.answer(
            answer(values.pop("nonce", nonce), grant, *restrictions, **values),
            now_ns=self.clock.now_ns(),
        )

    def arm(self, grant: bytes, *restrictions: bytes, n: int = 1) -> None:
        """Let it see `hb-1` advance from `n` to `n + 1`, half a second apart."""
        self.attend(grant, *restrictions, beats={"hb-1": n})
        self.clock.advance(500)
        self.attend(grant, *restrictions, beats={"hb-1": n + 1})
        if self.view.phase is not Phase.ARMED:
            raise AssertionError(f"not armed: {self.view.verdict.reason}")

    def decide(self, intent: str = "open", **labels: str) -> Permit | Denial:
        """Return the guard's answer at the present instant."""
        return decide(self.view.verdict, intent, labels, self.clock.now_ns(), self)

    def still(self, permit: Permit) -> bool:
        """Tell whether `permit` would be given again now."""
        again = self.decide(permit.intent, **permit.labels)
        return isinstance(again, Permit) and again.term == permit.term

    def saw_float(self, value: float) -> None:
        """Say nothing: the test sees that it does not fit."""

    @property
    def reason(self) -> str:
        """Why an `open` order is denied now, or "" when it is permitted."""
        match self.decide():
            case Denial(reason=reason):
                return reason.value
            case Permit():
                return ""
