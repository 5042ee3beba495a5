"""What `--json` prints, one type per result; `docs/reference/json.md` is compared with these."""

from __future__ import annotations

import msgspec


class KeyFile(msgspec.Struct):
    """A private key that was made, and whose it is."""

    principal: str
    roles: list[str]
    file: str
    keyid: str
    public: str


class InitResult(msgspec.Struct):
    """`golive init`."""

    config: str
    keyset: str
    keys: list[KeyFile]


class KeysNewResult(msgspec.Struct):
    """`golive keys new`; `keyset` is the file that the principal was added to."""

    key: KeyFile
    keyset: str | None
    lines: list[str]


class PublicKey(msgspec.Struct):
    """A key of a principal."""

    keyid: str
    public: str


class Principal(msgspec.Struct):
    """A principal of the keyset."""

    name: str
    roles: list[str]
    keys: list[PublicKey]


class PrivateKey(msgspec.Struct):
    """A key file that the configuration names; `problem` says why it cannot be used."""

    setting: str
    file: str
    keyid: str | None
    principal: str | None
    problem: str | None


class KeysListResult(msgspec.Struct):
    """`golive keys list`."""

    keyset: str
    version: int
    thresholds: dict[str, int]
    principals: list[Principal]
    private: list[PrivateKey]


class KeysShowResult(msgspec.Struct):
    """`golive keys show`; `principal` is null when no keyset was found or it lacks the key."""

    file: str
    keyid: str
    public: str
    principal: str | None
    roles: list[str]


class HeartbeatLine(msgspec.Struct):
    """One line of `golive heartbeat --json`."""

    at_ms: int
    heartbeat: str
    text: str


class RevokedHeartbeat(msgspec.Struct):
    """A heartbeat's row of `golive revoke`; `latched_ms` counts from the call."""

    name: str
    latched_ms: float | None
    durable: str | None


class RevokedWorker(msgspec.Struct):
    """A worker's row of `golive revoke`; `off_by_ms` is Unix ms, for those that did not answer."""

    id: str
    instance: str
    latched_ms: float | None
    in_flight: int | None
    drained_ms: float | None
    left: int | None
    durable: str | None
    off_by_ms: int | None


class RevokeResult(msgspec.Struct):
    """`golive revoke`. `result`: COMPLETE, STOPPED or NOT CONFIRMED; `by`: receipts or time."""

    result: str
    by: str | None
    epoch: int
    term: int
    in_redis_ms: float | None
    ledger: str
    heartbeats: list[RevokedHeartbeat]
    workers: list[RevokedWorker]


class FindingResult(msgspec.Struct):
    """One check of a preflight."""

    check: str
    outcome: str
    explain: str
    facts: dict[str, str]
    took_ms: int
    value: str
    expected: str
    warning: bool


class PreflightResult(msgspec.Struct):
    """`golive preflight`."""

    passed: bool
    findings: list[FindingResult]


class Armed(msgspec.Struct):
    """A worker after an activation; `reason` says why it is not armed."""

    id: str
    instance: str
    armed: bool
    reason: str


class ActivateResult(msgspec.Struct):
    """`golive activate`: in force; `armed` is true when every worker alive is."""

    term: int
    epoch: int
    profile: str
    by: list[str]
    not_after_ms: int
    armed: bool
    workers: list[Armed]
    findings: list[FindingResult]


class Applied(msgspec.Struct):
    """A worker's answer to a restriction; `applied_ms` is null when none came within 2 s."""

    id: str
    instance: str
    applied_ms: float | None


class RestrictResult(msgspec.Struct):
    """`golive halt`, `golive reduce` and `golive demote`; `profile` is of the last."""

    kind: str
    epoch: int
    term: int
    labels: dict[str, str]
    profile: str | None
    ledger: str
    workers: list[Applied]


class LoosenResult(msgspec.Struct):
    """`golive resume`, `golive restore` and `golive extend`."""

    kind: str
    epoch: int
    term: int
    by: list[str]
    keeps: int
    not_after_ms: int


class PromoteResult(msgspec.Struct):
    """`golive promote`; with `--plan`, or when a criterion does not pass, `epoch` is null."""

    promoted: bool
    before: str
    after: str
    passed: bool
    findings: list[FindingResult]
    epoch: int | None
    by: list[str]
