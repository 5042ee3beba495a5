"""Runs checks, each with a deadline; whatever goes wrong in one is `unknown` and concerns no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import msgspec

from golive_redis import clock
from golive_redis.core.finding import Finding, Outcome
from golive_redis.core.policy import Policy

DEADLINE_MS = 5_000.0

Check = Callable[[], Finding]


def run(checks: Mapping[str, Check], required: Sequence[str]) -> list[Finding]:
    """Run the required checks at the same time, in the order of `required`.

    A name that nobody provides, a check that raises, and one that takes over 5 s are `unknown`,
    which counts as a failure.
    """
    runs = [_Run(name, checks.get(name)) for name in required]
    return [item.finding() for item in runs]


def gates(policy: Policy) -> list[Finding]:
    """Return a finding for each gate the policy demands and this version has no source for."""
    wanted = {
        "require_risk_state": policy.require_risk_state is not None,
        "require_ess_inactive": policy.require_ess_inactive,
        "require_testnet_history": policy.require_testnet_history,
    }
    return [
        Finding(
            check=name,
            outcome=Outcome.UNKNOWN,
            explain=f"{name} is set, and no source for it is configured: unknown counts as failed",
        )
        for name, is_wanted in wanted.items()
        if is_wanted
    ]


class _Run:
    def __init__(self, name: str, check: Check | None) -> None:
        self._name = name
        self._started = clock.now_ms()
        self._finding: Finding | None = None
        self._thread: threading.Thread | None = None
        if check is None:
            self._finding = self._unknown("no check of that name exists in this version")
            return
        self._thread = threading.Thread(
            target=self._work, args=(check,), name=f"golive-check-{name}", daemon=True
        )
        self._thread.start()

    def _work(self, check: Check) -> None:
        try:
            found = check()
            took_ms = int(clock.now_ms() - self._started)
            self._finding = msgspec.structs.replace(found, check=self._name, took_ms=took_ms)
        except Exception as error:  # noqa: BLE001  (a check may fail in any way; all are unknown)
            self._finding = self._unknown(f"{type(error).__name__}: {error}"[:400])

    def finding(self) -> Finding:
        if self._thread is not None:
            self._thread.join(max(0.0, DEADLINE_MS - (clock.now_ms() - self._started)) / 1000)
        return self._finding or self._unknown(f"no answer within {DEADLINE_MS / 1000:.0f} s")

    def _unknown(self, text: str) -> Finding:
        return Finding(check=self._name, outcome=Outcome.UNKNOWN, explain=text)
