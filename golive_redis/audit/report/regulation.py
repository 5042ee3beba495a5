"""What rule books ask (R1 to R21), what a ledger shows of it, and what is left to the firm.

It is a help for whoever writes the self-assessment, and no legal advice. A rule that we cannot show
anything for says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from golive_redis.audit.opening import Keysets
from golive_redis.audit.report.figures import ReportRule, ReportStop, ReportTotals
from golive_redis.core.barrier import Result
from golive_redis.records.keyset import Authority, Keyset, Role

_NOTHING = "Nothing: it is outside of golive."


def rules(
    totals: ReportTotals, stops: Sequence[ReportStop], keysets: Keysets, now_ms: int
) -> list[ReportRule]:
    """Return the table, with the figures of this report in it."""
    keyset = keysets.by_version[keysets.newest]
    complete = sum(stop.result == Result.COMPLETE for stop in stops)
    said = {
        "stops": _many(totals.stops, "stop", "stops"),
        "complete": str(complete),
        "restrictions": _many(totals.restrictions, "restriction", "restrictions"),
        "activations": _many(totals.activations, "activation", "activations"),
        "refusals": _many(totals.refusals, "refused attempt", "refused attempts"),
        "preflights": _many(totals.preflights, "preflight", "preflights"),
        "failed": str(totals.preflights_failed),
        "triggers": _many(totals.triggers, "trigger", "triggers"),
        "late": _many(totals.late, "entry that came late", "entries that came late"),
        "who": _who(keyset, now_ms),
        "thresholds": _thresholds(keyset),
    }
    return [
        ReportRule(number, asked, by, shown.format(**said), missing)
        for number, asked, by, shown, missing in TABLE
    ]


def _many(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _who(keyset: Keyset, now_ms: int) -> str:
    """Say who may stop by the newest keyset at hand, and who of them is of risk."""
    good = {key.principal for key in keyset.keys.values() if not key.expired(now_ms)}
    stoppers = sorted(good & set(keyset.principals(Role.REVOKER)))
    risk = sorted(good & keyset.with_authority(Authority.RISK))
    of_risk = len(set(risk) & set(stoppers))
    return f"{len(stoppers)} may stop, of them with the authority of risk: {of_risk}"


def _thresholds(keyset: Keyset) -> str:
    needed = keyset.threshold(Role.APPROVER)
    kinds = {str(k): n for k, n in keyset.thresholds.items() if not isinstance(k, Role)}
    more = "".join(f", {kind}: {count}" for kind, count in sorted(kinds.items()))
    return f"approvers that a grant takes: {needed}{more}"


TABLE: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "R1",
        "Any or all unexecuted orders can be cancelled at once",
        "RTS 6 Art. 12(1)",
        (
            "{stops} in the period, {complete} confirmed as COMPLETE: every worker closed and drained. "
            "See Stops for how long each took."
        ),
        (
            "Cancelling the orders that rest at a venue is not done by golive: show your order system's "
            "or the venue's mass cancel."
        ),
    ),
    (
        "R2",
        "By trader, desk, client, algorithm, venue",
        "RTS 6 Art. 12(2)",
        "{restrictions}, each with the labels that it was signed for.",
        "That the labels which the firm uses are the ones by which it has to be able to stop.",
    ),
    (
        "R3",
        "Each order can be attributed to an algorithm and a trader, desk or client",
        "RTS 6 Art. 12(3)",
        _NOTHING + " Order numbers are not in the ledger.",
        "The order records, with the term and labels that each order was allowed under.",
    ),
    (
        "R4",
        "Compliance reaches the switch, risk does so independently of trading, and who may is listed",
        "RTS 6 Art. 2(2), 16(2)",
        "The newest keyset: {who}. See Who may do what.",
        "Which of these people are compliance and risk, and their contact with those who operate it.",
    ),
    (
        "R5",
        "Automatic stop at pre-set limits; only designated staff lift it",
        "RTS 6 Art. 15(3)",
        "{triggers} fired. To turn it on again takes signatures; {thresholds}.",
        (
            "The limits themselves with their approval (`config/go_live.yaml`), and pre-trade limits of "
            "the order system."
        ),
    ),
    (
        "R6",
        "Business continuity: use of the switch, shutdown, arrangements for orders and positions",
        "RTS 6 Art. 14",
        "{stops} as they were carried out.",
        "The policy, its yearly review with a date, and what becomes of open orders and positions.",
    ),
    (
        "R7",
        "Stopped without disorder",
        "RTS 6 Art. 14(3)",
        "Restrictions before stops show whether it was reduced first: {restrictions}.",
        "The order in which to reduce, cancel and close, and how it was decided.",
    ),
    (
        "R8",
        "Alerts within five seconds, staff that can be reached, escalation",
        "RTS 6 Art. 16",
        "When each stop was answered, under Stops.",
        "The alerts, the roster of those on call, and how they were reached.",
    ),
    (
        "R9",
        "Reconciliation with venues; exposure is known",
        "RTS 6 Art. 17(3)",
        _NOTHING + " Receipts say how many orders were in flight and left at a stop.",
        "The reconciliation.",
    ),
    (
        "R10",
        "Tested, stress-tested, results are documented",
        "RTS 6 Art. 5 to 10",
        (
            "{preflights}, {failed} of them did not pass. Stops that were drills are not told apart "
            "unless their reason says so."
        ),
        "Conformance tests, the yearly stress test, and the plan of drills.",
    ),
    (
        "R11",
        "Yearly self-assessment and validation report, audited, with links to evidence",
        "RTS 6 Art. 9; FCA review 2025",
        "This report, and `golive audit verify` for each of its numbers.",
        "The assessment itself, its approval by senior management, the inventory of algorithms.",
    ),
    (
        "R12",
        "Order and control records are kept for five years, durable and ordered",
        "RTS 6 Art. 28; 17a-4(b); NYDFS 500.6",
        "The ledger is chained and signed from its first entry: see Verdict. {late}.",
        "Storage that lasts: an export or archive with a lock, and its restore test. Order records.",
    ),
    (
        "R13",
        "Direct and exclusive control; persons with critical rights are few, known and traceable",
        "15c3-5(d); RTS 6 Art. 18",
        "Each entry by name; {refusals}. See Who may do what.",
        "That a key is held by that person alone, and who may write to Redis (`golive acl check`).",
    ),
    (
        "R14",
        "Incident procedures in writing",
        "SEC order on Knight Capital, 2013",
        _NOTHING,
        "The procedure and its sign-off. The rollback page of golive is one to begin with.",
    ),
    (
        "R15",
        "The venue's kill functionality as a fall-back",
        "RTS 7 Art. 18(2)",
        _NOTHING,
        "Contacts and authorisation at each venue, and a test call.",
    ),
    (
        "R16",
        "Electronic records: WORM, or a complete time-stamped trail, re-creatable, readable on demand",
        "17a-4(f)(2)",
        (
            "A trail that shows each change with who and when, whose integrity anybody can judge "
            "offline with an export and the keysets."
        ),
        "Somebody outside who remembers its end (a head that was kept, or a witness), and the storage.",
    ),
    (
        "R17",
        "Clocks traceable to UTC",
        "RTS 25 Art. 4",
        "Instants in ms by the server's clock and by each signer's. The class of 100 µs is not claimed.",
        "Traceability of these clocks to UTC and its yearly review.",
    ),
    (
        "R18",
        "Incidents are reported within 4 h, 24 h, 72 h and a month",
        "DORA Art. 17, 19",
        "`--incident EPOCH` tells one stop minute by minute, with what is proved of each time limit.",
        "The classification, the notifications and their times.",
    ),
    (
        "R19",
        "Yearly review of effectiveness, certified by the CEO",
        "15c3-5(e)",
        "{stops}, {refusals}, {failed} preflights that did not pass.",
        "The review and the certificate.",
    ),
    (
        "R20",
        "Least privilege, yearly review of rights, dual control, separate duties",
        "NYDFS 500.7; MAS TRM; FINRA 15-09",
        "Rights on each day under Who may do what; {thresholds}.",
        "The review of rights with a date, and the rights in Redis (`golive acl check`).",
    ),
    (
        "R21",
        "Exchanges: pre-trade controls and notices",
        "17 CFR 38.251(e) to (g)",
        "Nothing: it binds exchanges.",
        "Nothing, unless the firm is an exchange.",
    ),
)
