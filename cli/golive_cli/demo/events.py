"""What happens in the demo, as values; how it is worded is the story's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from golive_cli.demo.result import DemoResult, OutageAct, RevokeAct
from golive_cli.demo.verdict import Figures, Timeline
from golive_redis.records.report import Finding
from golive_redis.stop.progress import StopReport


class FleetStarted(msgspec.Struct, frozen=True):
    """All processes run."""

    server: str
    server_port: int
    venue_port: int
    heartbeat: str
    beat_every_ms: int
    pods: tuple[str, ...]
    control: str
    rate_per_s: float
    saboteur: str | None


class DefaultOff(msgspec.Struct, frozen=True):
    """What came of trading before anybody activated anything."""

    attempts: int
    denied: int
    accepted: int
    control_accepted: int
    reasons: Mapping[str, int]


class Act(StrEnum):
    """The acts, by their names in the result."""

    REVOKE = "revoke"
    HEARTBEAT_KILLED = "heartbeat-killed"
    SERVER_FROZEN = "server-frozen"


class ActStarted(msgspec.Struct, frozen=True):
    """An act begins."""

    act: Act


class ActivationRefused(msgspec.Struct, frozen=True):
    """An activation was refused because the configuration says so."""

    config: Path
    message: str


class Edited(msgspec.Struct, frozen=True):
    """Somebody edited that line of the configuration."""

    config: Path
    before: str
    after: str


class Activated(msgspec.Struct, frozen=True):
    """The fleet is armed."""

    term: int
    by: str
    findings: tuple[Finding, ...]
    armed: int
    took_ms: float


class Traded(msgspec.Struct, frozen=True):
    """The fleet has traded for a while, by the venue's count."""

    accepted: int


class Revoked(msgspec.Struct, frozen=True):
    """A revoke has ended."""

    report: StopReport
    took_ms: float


class Killed(msgspec.Struct, frozen=True):
    """A part of the machinery was taken away."""

    act: Act
    pid: int
    bound_ms: int


class Judged(msgspec.Struct, frozen=True):
    """An act is over, and this is what it proved."""

    act: RevokeAct | OutageAct
    figures: Figures
    timeline: Timeline
    faults: tuple[str, ...]


class Repaired(msgspec.Struct, frozen=True):
    """The dead heartbeat's term was revoked, and the heartbeat runs again."""

    report: StopReport
    heartbeat: str
    pid: int


class Finished(msgspec.Struct, frozen=True):
    """The demo is over; everything is stopped and removed."""

    result: DemoResult
    took_ms: float


Event = (
    FleetStarted
    | DefaultOff
    | ActStarted
    | ActivationRefused
    | Edited
    | Activated
    | Traded
    | Revoked
    | Killed
    | Judged
    | Repaired
    | Finished
)
Tell = Callable[[Event], None]
