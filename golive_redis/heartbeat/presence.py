"""What a heartbeat tells of itself."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from golive_redis.core.incidents import Incidents
from golive_redis.core.pulse import Pulse
from golive_redis.records.receipt import Durable
from golive_redis.store.presence import MAX_LACKS
from golive_redis.store.push import Pushes
from golive_redis.store.replies import Caller
from golive_redis.version import VERSION


class Presence:
    """The fields of one heartbeat's presence, written whole whenever one of them is not what it was.

    Args:
        caller: Its name and instance.
        policy: Digest of its policy.
        incidents: What befell it, for the ledger.

    Attributes:
        caller: Its name and instance.
    """

    def __init__(self, caller: Caller, policy: str, incidents: Incidents) -> None:
        self.caller = caller
        self._incidents = incidents
        self._told: dict[str, str | bytes] = {}
        self._policy = policy
        self._push = Pushes.NONE
        self._lacks = ""
        self._log = ""

    def follows(self, policy: str) -> None:
        """Note by which policy it goes on."""
        self._policy = policy

    def hears(self, push: Pushes, lacks: str, log: str = "") -> None:
        """Note what is pushed to it, what its login may not do, and whether it signs checkpoints."""
        self._push, self._lacks, self._log = push, lacks, log

    def forget(self) -> None:
        """Tell everything anew: another connection may lead to another server."""
        self._told = {}

    def told(self, fields: Mapping[str, str | bytes]) -> None:
        """Note that those fields were written."""
        self._told = {**self._told, **fields}

    def changed(self, pulse: Pulse, durable: Durable) -> dict[str, str | bytes]:
        """Return every field when one of them is not what it was, none otherwise."""
        fields = self.all(pulse, durable)
        return {} if fields == self._told else fields

    def all(self, pulse: Pulse, durable: Durable) -> dict[str, str | bytes]:
        """Return every field."""
        return {
            "state": "beating" if pulse.term is not None else "silent",
            "reason": pulse.waiting_for,
            "term": str(pulse.term or 0),
            "epoch": str(pulse.state.epoch if pulse.state else 0),
            "durable": durable,
            "push": self._push,
            "lacks": self._lacks[:MAX_LACKS],
            "log": self._log[:MAX_LACKS],
            "directive": pulse.newest or b"",
            "version": VERSION,
            "policy": self._policy,
            "host": socket.gethostname(),
            "pid": str(os.getpid()),
            "incidents": self._incidents.told,
        }
