"""What people see of a proposal: its line, who may sign it, and what it would change."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from golive_cli.output import Output, Painted, place, when
from golive_cli.results import ApproveResult, Proposed

if TYPE_CHECKING:
    from golive_redis.operator.proposals import Proposal
    from golive_redis.operator.session import Operator, Reading
    from golive_redis.records.directive import Grant


def title(operator: Operator) -> str:
    """Return the headline over its checks."""
    return f"PREFLIGHT RESULTS in {place(operator.trust.environment, operator.trust.namespace)}"


def proposed(proposal: Proposal) -> Proposed:
    """Return it as `--json` has it."""
    record = proposal.grant.record
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.not_after_ms / 1000))
    what = str(record.kind)
    if record.kind in {"activate", "promote", "extend"}:
        what += f", profile {record.profile}, until {until}"
    return Proposed(
        proposal.id,
        proposal.grant.identity,
        str(record.kind),
        what,
        sorted(proposal.grant.signers),
        proposal.needed,
        proposal.until_ms,
        record.epoch,
        record.reason,
        record.ticket,
    )


def show_waiting(out: Output, operator: Operator, proposal: Proposal) -> None:
    """Print that it waits, and for whom; also as the result of the command."""
    trust = operator.trust
    out.result(
        ApproveResult(trust.environment, trust.namespace, proposed(proposal), False, None, None)
    )
    say_waiting(out, operator, proposal)


def say_waiting(out: Output, operator: Operator, proposal: Proposal) -> None:
    """Print that it waits, and for whom."""
    from golive_redis.records.keyset import Role

    trust, item = operator.trust, proposed(proposal)
    others = sorted(set(trust.keyset.principals(Role.APPROVER)) - proposal.grant.signers)
    risk = _missing(operator, proposal, operator.read())
    # The last signature has to be one of risk: that of anybody else would be refused.
    who = risk if risk and len(item.signed) + 1 >= item.needed else " or ".join(others)
    out.line(
        Painted("PROPOSED", "yellow"),
        f" {item.id} in {place(trust.environment, trust.namespace)}: {item.what}; signed by "
        f"{', '.join(item.signed)} ({len(item.signed)} of {item.needed})"
        + (f"; {risk} (risk) has to sign" if risk else ""),
    )
    out.line(f"by {when(item.until_ms)}, {who}: golive approve {item.id}")


def difference(operator: Operator, proposal: Proposal, reading: Reading) -> list[str]:
    """Return a proposal as the difference that it makes to now."""
    from golive_redis import clock
    from golive_redis.operator.proposals import stale
    from golive_redis.operator.session import described

    record, trust = proposal.grant.record, operator.trust
    before = reading.state.grant.record if reading.state is not None else None
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.not_after_ms / 1000))
    lines = [
        (
            f"proposal {proposal.id} by {proposal.proposer} in "
            f"{place(trust.environment, trust.namespace)}, waits until {when(proposal.until_ms)}; "
            f"signed by {', '.join(sorted(proposal.grant.signers))} "
            f"({len(proposal.grant.signers)} of {proposal.needed})"
        ),
        f"  what      {record.kind}: {record.reason}"
        + (f" ({record.ticket})" if record.ticket else ""),
        f"  now       {'off' if before is None else f'term {before.term}, {before.profile}'}",
        f"  profile   {record.profile}" + _was(before, "profile", record.profile),
        f"  window    until {end}, whenever it is approved",
        f"  limits    {_limits(record)}",
        f"  lifts     {_lifted(record, reading)}",
        f"  policy    {record.policy[:12]}, keyset {record.keyset_version}",
    ]
    if record.report is not None:
        age_s = max(0, clock.wall_ms() - record.issued_at_ms) // 1000
        lines.append(f"  checks    passed {age_s} s ago; they run again before it takes effect")
    if reading.revocation is not None:
        lines.append(
            f"  last stop {described(reading.revocation)}{_risk(operator, proposal, reading)}"
        )
    if why := stale(operator, proposal, reading):
        lines.append(f"  OUT OF DATE: {why}")
    return lines


def _risk(operator: Operator, proposal: Proposal, reading: Reading) -> str:
    """Return that somebody with the authority of risk has to sign, where that is so (D4)."""
    missing = _missing(operator, proposal, reading)
    return f"; so {missing} (risk) has to sign" if missing else ""


def _missing(operator: Operator, proposal: Proposal, reading: Reading) -> str:
    from golive_redis.operator.activation import risk_missing
    from golive_redis.records.directive import GrantKind

    if proposal.grant.record.kind is not GrantKind.ACTIVATE:
        return ""
    return risk_missing(operator, reading, proposal.grant.signers)


def _lifted(record: Grant, reading: Reading) -> str:
    """Return what of that which is in force now a grant does not keep, in words."""
    from golive_cli.meeting import named
    from golive_redis.operator.session import described

    held = reading.state.restrictions if reading.state is not None else ()
    gone = [item for item in held if item.identity not in record.keeps]
    return (
        "; ".join(
            f"{described(i)}: {named({str(k): v for k, v in i.record.labels.items()})}"
            for i in gone
        )
        or "nothing"
    )


def _was(before: Any, field: str, now: object) -> str:
    was = getattr(before, field, None)
    return "" if was is None or was == now else f" (was {was})"


def _limits(record: Grant) -> str:
    limits = record.limits
    return (
        f"{limits.max_order_notional} {limits.currency} an order, "
        f"{limits.max_position_notional} a position, {limits.max_daily_loss} a day, "
        f"{limits.max_orders_per_minute}/min"
    )
