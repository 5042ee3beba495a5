"""The figures of a report: what `report.json` holds, and all that its page can show.

Instants are Unix ms; days are of UTC. Null means that the ledger does not say, never zero.
"""

from __future__ import annotations

import msgspec

FORMAT = "golive-audit-report-v1"


class ReportVerdict(msgspec.Struct, frozen=True):
    """What `golive audit verify` says of the ledger; `counted` entries are in the figures."""

    result: str
    entries: int
    good: int
    counted: int
    anchored: int | None
    remembered_by: str
    head: str
    broken: int | None
    rule: str
    why: str


class ReportTotals(msgspec.Struct, frozen=True):
    """Counted over the period."""

    entries: int
    late: int
    live_ms: int
    reduced_ms: int
    halted_ms: int
    activations: int
    stops: int
    restrictions: int
    refusals: int
    preflights: int
    preflights_failed: int
    triggers: int


class ReportDay(msgspec.Struct, frozen=True):
    """A day. `live_ms` has `reduced_ms` and `halted_ms` in it; `keyset` is the one in use at its end."""

    day: str
    live_ms: int
    reduced_ms: int
    halted_ms: int
    activations: int
    stops: int
    restrictions: int
    refusals: int
    preflights_failed: int
    triggers: int
    keyset: int | None


class ReportTerm(msgspec.Struct, frozen=True):
    """A term that was in force within the period; `ended_ms` is null while it runs."""

    term: int
    entry: int
    began_ms: int
    ended_ms: int | None
    ended_by: str
    signers: list[str]
    profile: str
    reason: str
    ticket: str


class ReportStop(msgspec.Struct, frozen=True):
    """A revocation or a restriction.

    `issued_ms` is by its signer's clock, `entered_ms` by the server's. `first_ms` and `last_ms` are the
    first and the last receipt, by the clocks of those who answered, and `confirmed_ms` the first note
    that says COMPLETE; they are counted from `issued_ms`, or of a stop card, signed long before, from
    `entered_ms`. `times_from`: `ledger`, `receipts`, or empty where neither says.
    """

    epoch: int
    entry: int
    identity: str
    kind: str
    labels: dict[str, str]
    issued_ms: int
    entered_ms: int
    card: bool
    late: bool
    term: int | None
    signers: list[str]
    reason: str
    ticket: str
    times_from: str
    answers: int | None
    first_ms: int | None
    last_ms: int | None
    result: str
    confirmed_by: str
    confirmed_ms: int | None


class ReportPerson(msgspec.Struct, frozen=True):
    """How often somebody has signed what; by the words of `golive audit list --kind`."""

    name: str
    acts: dict[str, int]


class ReportRefused(msgspec.Struct, frozen=True):
    """Attempts that were refused for one reason; `checks` counts the first check that did not pass."""

    why: str
    count: int
    attempts: dict[str, int]
    checks: dict[str, int]


class ReportCheck(msgspec.Struct, frozen=True):
    """What preflights have found with one check."""

    check: str
    passed: int
    failed: int
    unknown: int


class ReportTriggered(msgspec.Struct, frozen=True):
    """A trigger that fired, by the note of its heartbeat."""

    entry: int
    at_ms: int
    heartbeat: str
    text: str


class ReportPrincipal(msgspec.Struct, frozen=True):
    """Who holds what under a keyset; `expires` is the earliest last day of a key, if one has one."""

    name: str
    roles: list[str]
    authority: str | None
    shared: bool
    keys: int
    expires: str | None


class ReportKeyset(msgspec.Struct, frozen=True):
    """A keyset and the days on which it was the newest in use; `principals` is null when not at hand."""

    version: int
    first_day: str
    last_day: str
    thresholds: dict[str, int]
    principals: list[ReportPrincipal] | None


class ReportRule(msgspec.Struct, frozen=True):
    """What a rule book asks, what the ledger shows of it, and what is left to the firm."""

    number: str
    asked: str
    by: str
    shown: str
    missing: str


class ReportMoment(msgspec.Struct, frozen=True):
    """A line of an incident; `entry` is null for a receipt. `after_ms` counts from the stop's issue."""

    at_ms: int
    after_ms: int
    entry: int | None
    what: str
    by: str
    why: str


class ReportDeadline(msgspec.Struct, frozen=True):
    """A time limit of DORA; `latest_ms` is null where the ledger has not the instant it counts from."""

    what: str
    within: str
    counted_from: str
    proved: str
    latest_ms: int | None


class ReportIncident(msgspec.Struct, frozen=True):
    """One stop, minute by minute; `moments` end at `until_ms`."""

    epoch: int
    what: str
    issued_ms: int
    since_ms: int
    until_ms: int
    left_out: int
    moments: list[ReportMoment]
    deadlines: list[ReportDeadline]


class AuditReport(msgspec.Struct, frozen=True):
    """`report.json`; the period is from `from_ms` to before `to_ms`."""

    format: str
    version: str
    made_at_ms: int
    environment: str
    namespace: str
    fleet: str
    source: str
    from_ms: int
    to_ms: int
    verdict: ReportVerdict
    totals: ReportTotals
    days: list[ReportDay]
    terms: list[ReportTerm]
    stops: list[ReportStop]
    restrictions: list[ReportStop]
    people: list[ReportPerson]
    refusals: list[ReportRefused]
    checks: list[ReportCheck]
    triggers: list[ReportTriggered]
    keysets: list[ReportKeyset]
    rules: list[ReportRule]
    incident: ReportIncident | None
