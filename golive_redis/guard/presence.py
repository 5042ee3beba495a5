"""What a guard tells of itself with each question, and what of it is worth writing again."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping

from golive_redis import clock
from golive_redis.guard.gate import Gate
from golive_redis.guard.incidents import GuardIncidents
from golive_redis.records.receipt import Durable
from golive_redis.store.presence import MAX_LACKS
from golive_redis.store.push import Pushes
from golive_redis.store.replies import Caller
from golive_redis.version import VERSION

COUNTS_EVERY_MS = 2_000.0
_COUNTS = frozenset({"in_flight", "permits", "sent", "rejected", "skipped", "stated"})

Fields = dict[str, str | bytes]


class Presence:
    """The fields of one guard's presence.

    Args:
        caller: Worker and instance.
        gate: Whose verdict and counts are told.
        labels: Of the guard.
        policy: Digest of its policy.

    Attributes:
        caller: Likewise.
        incidents: What it states for the ledger.
        push: What is pushed to it.
        lacks: What its login may not do; "" for nothing.
    """

    def __init__(self, caller: Caller, gate: Gate, labels: Mapping[str, str], policy: str) -> None:
        self.caller = caller
        self.push = Pushes.NONE
        self.lacks = ""
        self.incidents = GuardIncidents(gate)
        self._gate = gate
        self._who: Fields = {
            "labels": json.dumps(labels, sort_keys=True),
            "version": VERSION,
            "policy": policy,
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
        }
        self._told: Fields = {}
        self._counts_at_ms = 0.0

    def forget(self) -> None:
        """Tell everything anew: another connection may lead to another server."""
        self._told = {}

    def told(self, fields: Mapping[str, str | bytes]) -> None:
        """Note that those fields were written."""
        self._told.update(fields)

    def all(self, durable: Durable, newest: bytes | None) -> Fields:
        """Return every field.

        Args:
            durable: Whether a stop would survive a restart.
            newest: Envelope of the newest directive that was verified, or None.
        """
        gate = self._gate
        verdict, outcomes = gate.verdict, gate.outcomes.total()
        fields: Fields = {
            "state": verdict.phase,
            "reason": "" if verdict.deadline_ns else verdict.reason,
            "term": str(verdict.term),
            "epoch": str(verdict.epoch),
            "in_flight": str(gate.in_flight()),
            "permits": str(gate.permits.total()),
            "sent": str(outcomes.get("sent", 0)),
            "rejected": str(outcomes.get("rejected", 0)),
            "skipped": str(sum(gate.skips.counts.total().values())),
            "forked": str(gate.skips.children.number()),
            "stated": gate.stated.told,
            "incidents": self.incidents.told,
            "durable": durable,
            "push": self.push,
            "lacks": self.lacks[:MAX_LACKS],
            "directive": newest or b"",
        }
        return fields | self._who

    def changed(self, durable: Durable, newest: bytes | None) -> Fields:
        """Return what to write: state changes at once, counts every two seconds, else nothing."""
        fields = self.all(durable, newest)
        changed = {name: value for name, value in fields.items() if self._told.get(name) != value}
        now = clock.now_ms()
        if set(changed) <= _COUNTS:
            if now - self._counts_at_ms < COUNTS_EVERY_MS:
                return {}
            self._counts_at_ms = now
            return changed
        # Whole with every change of state: after a pause or a FLUSHALL the presence is gone, and the
        # changes alone would make one that has no labels and no version.
        return fields if "state" in changed else changed
