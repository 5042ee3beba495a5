"""How the demo is run, and the error for when it cannot be."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from golive_cli.demo.children import PATIENCE_S, ChildError


class DemoError(ChildError):
    """The demo could not be run to its end; nothing of it is left running."""

    reason: ClassVar[str] = "demo"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How the demo is run.

    Attributes:
        server: Server program; None takes the Valkey of the wheel.
        timing: As in the configuration.
        pods: How many guarded workers trade.
        rate_per_s: Orders that each worker wants to send.
        sabotage: One of the workers ignores its guard; the verdict must notice.
        trade_ms: How long the fleet trades before a stop, at least.
        after_ms: How long it goes on trying after the bound, at least.
        patience_s: Longest wait for anything that has to come up.
    """

    server: str | None = None
    timing: str | dict[str, float] = "standard"
    pods: int = 6
    rate_per_s: float = 50.0
    sabotage: bool = False
    trade_ms: float = 1_200.0
    after_ms: float = 1_000.0
    patience_s: float = PATIENCE_S

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of the guarded workers."""
        return tuple(f"pod-{number}" for number in range(1, self.pods + 1))

    @property
    def saboteur(self) -> str | None:
        """The worker that ignores its guard, if one does."""
        return self.names[len(self.names) // 2] if self.sabotage else None
