"""Activation: everything that can refuse one, the signature, and the wait until the fleet is armed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from golive_redis import clock
from golive_redis.audit.counting import activated_since
from golive_redis.checks import windows
from golive_redis.checks.conditions import Conditions
from golive_redis.core.adoption import DAY_MS, Before, haste_refused
from golive_redis.core.barrier import Pod, Result
from golive_redis.errors import RefusedError, StoreError
from golive_redis.operator import cards, preflight
from golive_redis.operator.approvals import signed
from golive_redis.operator.grants import (
    CLOSES_FIRST,
    OTHER_FLEET,
    Waiting,
    put_grant,
    waiting,
)
from golive_redis.operator.refusals import told
from golive_redis.operator.session import (
    Operator,
    Reading,
    Say,
    confirmed,
    described,
    quiet,
    send_spool,
)
from golive_redis.records.approval import short_id
from golive_redis.records.beat import ISSUED_TOLERANCE_MS
from golive_redis.records.directive import (
    BLIND_TOLERANCE_MS,
    MAX_HEARTBEATS,
    Grant,
    GrantKind,
    Mode,
    Profile,
    Revocation,
)
from golive_redis.records.envelope import Signer, Verified
from golive_redis.records.epoch import next_epoch
from golive_redis.records.keyset import Authority
from golive_redis.records.record import wording
from golive_redis.records.refusal import Attempt
from golive_redis.records.report import Finding, Outcome, Report
from golive_redis.stop.roster import goodbyes, read_rosters, strike
from golive_redis.store.keyspace import PRESENCE_MS
from golive_redis.store.presence import Presence, listed

POLL_MS = 100.0
LOOK_AT = 20_000  # entries of the last day: two seconds
HASTE = "wait, or let one approver more than it takes sign at this desk: --key FILE"


def risk_missing(operator: Operator, reading: Reading, signers: frozenset[str]) -> str:
    """Return who of risk has to sign a start besides, `bob or rita`; "" when nobody has to (D4)."""
    risk = operator.trust.keyset.with_authority(Authority.RISK)
    stop = reading.revocation
    if stop is None or not risk & stop.signers or risk & signers:
        return ""
    return " or ".join(sorted(risk))


class HasteError(RefusedError):
    """Too soon after a stop, or without whom it takes after one."""

    reason = "haste"


class Activated(msgspec.Struct, frozen=True):
    """An activation in force, and who is armed.

    Attributes:
        not_armed: Whoever should be and is not, also those that have fallen silent.
    """

    grant: Verified[Grant]
    findings: tuple[Finding, ...]
    armed: tuple[Presence, ...]
    not_armed: tuple[Presence, ...]


# -- activate ------------------------------------------------------------------------------------


class Activation:
    """One activation: `prepare` decides whether it may be, `commit` puts it in force.

    Args:
        operator: At work.
        reason: For the record.
        ticket: For the record.
        profile: Capital profile; None takes the policy's default.
        keys: Further key files, up to the threshold.
        minutes: Length of the window; None takes the policy's.
        over_unconfirmed: Activate although the last stop is not confirmed.
        report: A signed report to rest on, instead of running the checks now.
        others: Others sign on their own hosts, so one approver is enough here.
        proposal: Identity of the proposed grant that this is about, or None.
        told: Told of each finding as it comes.
        say: Told in a sentence what happens.
    """

    def __init__(
        self,
        operator: Operator,
        *,
        reason: str,
        ticket: str = "",
        profile: str | None = None,
        keys: Sequence[str] = (),
        minutes: int | None = None,
        over_unconfirmed: bool = False,
        report: bytes | None = None,
        others: bool = False,
        proposal: str | None = None,
        told: preflight.Told = preflight.nobody,
        say: Say = quiet,
    ) -> None:
        self._operator = operator
        self._others = others
        self._proposal = proposal
        self._reason = wording(reason)
        self._ticket = wording(ticket)
        self._profile = _allowed_profile(operator, profile)
        self._keys = keys
        self._minutes = minutes or operator.policy.window_minutes
        self._over_unconfirmed = over_unconfirmed
        self._report_file = report
        self._report: Verified[Report] | None = None
        self._told = told
        self._say = say
        self._windows = Conditions.of(operator.config).windows
        self.findings: list[Finding] = []
        self.left_out = Waiting((), (), ())
        self.signers: list[Signer] = []
        self._expected: frozenset[Pod] = frozenset()

    def prepare(
        self, *, by: Sequence[Signer] = (), together: frozenset[str] = frozenset()
    ) -> Reading:
        """Check everything that can refuse an activation, cheapest first.

        Args:
            by: Who signs here; the keys of this host by default.
            together: Who has signed it elsewhere.

        Raises:
            RefusedError: With what to do about it.
        """
        attempt = Attempt.PROPOSE if self._others else Attempt.ACTIVATE
        with told(self._operator, Attempt.EXECUTE if together else attempt, self._proposal):
            return self._prepare(by, together)

    def _prepare(self, by: Sequence[Signer], together: frozenset[str]) -> Reading:
        operator = self._operator
        operator.require_enabled()
        windows.require_open(self._windows, clock.wall_ms())
        self.signers = list(by) or operator.approvers(
            self._keys, GrantKind.ACTIVATE, others=self._others
        )
        send_spool(operator, self._say)
        reading = operator.read()
        self._refuse_active(reading)
        self._refuse_unconfirmed(reading)
        _refuse_covered(reading.revocation)
        if together or not self._others:
            self._refuse_haste(reading, together)
        self._refuse_without_heartbeat()
        self._heartbeats()
        if self._report_file is not None:
            self._report = preflight.accepted(operator, self._report_file)
            self.findings = list(self._report.record.findings)
            _refuse_older(self._report.record, reading, self._stopped_ms(reading))
            return reading
        self.findings = preflight.run(operator, told=self._told)
        if any(item.outcome is not Outcome.PASS for item in self.findings):
            raise preflight.PreflightFailedError(self.findings)
        # Now and not when the operator has confirmed: it says when the checks were run.
        self._report = preflight.signed(operator, self.signers[0], self.findings)
        return reading

    def _refuse_active(self, reading: Reading) -> None:
        if another := self._operator.another_fleet(reading.snapshot.fleet):
            raise RefusedError(another, hint=OTHER_FLEET.format(self._operator.keyspace.fleet_id))
        if reading.refused:
            raise RefusedError(
                "; ".join(reading.refused),
                hint="`golive revoke` repairs the store; then find out who wrote there",
            )
        if reading.state is not None:
            raise RefusedError(
                f"already active: term {reading.state.term}, {described(reading.state.grant)}",
                hint="`golive status` shows it; `golive revoke` ends it",
            )

    def _refuse_unconfirmed(self, reading: Reading) -> None:
        operator = self._operator
        if operator.memory.newest.unsigned_at_ms and not self._over_unconfirmed:
            raise RefusedError(
                "the last stop from this host could not be signed, so it is not confirmed",
                hint="run `golive revoke` with a usable key, or add --over-unconfirmed",
            )
        unconfirmed = operator.memory.newest.unconfirmed
        item = reading.revocation
        if item is None and unconfirmed is not None:
            item = operator.trust.revocation(unconfirmed.encode())
        if item is None or self._over_unconfirmed:
            return
        if confirmed(operator, reading, item.identity) is not Result.NOT_CONFIRMED:
            return
        raise RefusedError(
            f"the last stop is not confirmed: {described(item)}",
            hint="`golive revoke` finishes it, and says what is missing; or add --over-unconfirmed",
        )

    def _refuse_without_heartbeat(self) -> None:
        heartbeats = self._operator.store.heartbeats()
        if not heartbeats:
            raise RefusedError(
                "no heartbeat is registered, so nothing could stay armed",
                hint="start one: golive heartbeat --name NAME",
            )
        if not any(item.alive for item in heartbeats):
            names = ", ".join(item.name for item in heartbeats)
            raise RefusedError(
                f"no heartbeat is alive: {names} fell silent without a goodbye",
                hint="start it again, or take it off with `golive revoke --heartbeat-dead NAME`",
            )

    def _heartbeats(self) -> list[str]:
        """Return whom the grant names: the registered heartbeats of the keyset (A1).

        Raises:
            RefusedError: There are none, or too many.
        """
        operator = self._operator
        self.left_out = waiting(operator, ())
        named = sorted(self.left_out.ready)
        if not named:
            raise RefusedError(
                f"no registered heartbeat is in the keyset: {', '.join(self.left_out.strangers)}",
                hint="install the keyset that lists them on this host",
            )
        if len(named) > MAX_HEARTBEATS:
            raise RefusedError(
                f"{len(named)} heartbeats are registered; a grant names {MAX_HEARTBEATS} at most",
                hint="stop some of them; two are enough",
            )
        return named

    @property
    def report(self) -> Verified[Report]:
        """The report of `prepare`."""
        assert self._report is not None  # noqa: S101  (made by `prepare`)
        return self._report

    def _refuse_haste(self, reading: Reading, together: frozenset[str]) -> None:
        """Refuse what no heartbeat would adopt, as far as it is known here; they decide (D2 to D4)."""
        operator, now = self._operator, clock.wall_ms()
        keyset = operator.trust.keyset
        # As the judge of the ledger counts them (V11); of a day too long to look through, they decide.
        earlier = activated_since(operator.store, operator.trust, now - DAY_MS, LOOK_AT)
        last = reading.revocation
        # Of a card that is in no ledger, trimmed say, the heartbeats know when they have heard it.
        played = last is not None and last.record.is_card
        stopped_ms = cards.played_at(operator, last) if last is not None and played else None
        why = haste_refused(
            together | {signer.principal for signer in self.signers},
            keyset.approvals(GrantKind.ACTIVATE),
            keyset.with_authority(Authority.RISK),
            operator.policy.haste,
            Before(reading.revocation, stopped_ms, earlier or ()),
            now,
        )
        if not why:
            return
        missing = risk_missing(operator, reading, together | {s.principal for s in self.signers})
        hint = HASTE
        if missing and why.endswith(f"{missing} has to sign"):  # waiting does not help
            named = short_id(self._proposal) if self._proposal else None
            way = f"golive approve {named}" if named else "golive approve ID"
            first = "" if named else "golive propose activate --reason TEXT, then "
            hint = f"{first}{missing}: {way}; or with their key at this desk: --key FILE"
        raise HasteError(f"no heartbeat would adopt it: {why}", hint=hint)

    def _stopped_ms(self, reading: Reading) -> int:
        """Return when the last stop was, Unix ms; 0 for none.

        A card says when it was signed, and the ledger when it was played. Fails closed: of one that is
        not in the ledger yet it was just now.
        """
        last = reading.revocation
        if last is None or not last.record.is_card:
            return last.record.issued_at_ms if last is not None else 0
        at_ms = cards.played_at(self._operator, last)
        return clock.wall_ms() if at_ms is None else at_ms

    def draft(self, reading: Reading, waits_ms: int = 0) -> Grant:
        """Return the grant as it would be now; not signed yet. The report that it rests on is entered.

        Args:
            reading: From `prepare`.
            waits_ms: How long it may wait for others to sign it: the window begins after that.

        Raises:
            RefusedError: The windows have closed, or the checks were run longer ago than
                `preflight_max_age`.
        """
        operator = self._operator
        now = clock.wall_ms()
        # Asked again: the operator may have taken until after the close to confirm.
        closes_ms = windows.require_open(self._windows, now)
        not_after_ms = min(now + waits_ms + self._minutes * 60_000, closes_ms)
        heartbeats = self._heartbeats()
        report = self.report
        preflight.require_fresh(operator, report.record)
        preflight.enter(operator, report)
        epoch = next_epoch(reading.newest, hint=reading.snapshot.epoch_hint)
        return Grant(
            **operator.trust.heading(self.signers[0].principal, now),
            kind=GrantKind.ACTIVATE,
            epoch=epoch,
            term=epoch,
            mode=Mode.LIVE,
            profile=self._profile,
            limits=operator.policy.profiles[self._profile],
            activated_at_ms=now,
            # A worker whose clock is a little behind may not find the window closed.
            not_before_ms=now - ISSUED_TOLERANCE_MS,
            not_after_ms=not_after_ms,
            heartbeats=heartbeats,
            max_ttl_ms=operator.timing.max_ttl_ms,
            keeps=[],
            drops=[],
            drops_up_to=0,
            reason=self._reason,
            ticket=self._ticket,
            report=report.identity,
            policy=operator.config.policy_digest,
            prev=reading.snapshot.last or None,
        )

    def commit(self, reading: Reading) -> Verified[Grant]:
        """Sign the grant and put it in force together with its ledger entry.

        Raises:
            ConflictError: Another directive came first.
            MaybeAppliedError: It is unknown whether it is in force.
            RefusedError: The store refused it, or as `draft`.
        """
        grant, execution = signed(self._operator, self.draft(reading), self.signers)
        return self.take_effect(grant, execution)

    def take_effect(self, grant: Verified[Grant], execution: bytes) -> Verified[Grant]:
        """Put a signed grant in force, and remember it on this host.

        Raises:
            ConflictError: Another directive came first.
            MaybeAppliedError: It is unknown whether it is in force.
            RefusedError: The store refused it.
        """
        operator, record = self._operator, grant.record
        if record.not_after_ms == windows.require_open(self._windows, clock.wall_ms()):
            self._say(CLOSES_FIRST)
        for text in self.left_out.sentences():
            self._say(text)
        if not self._over_unconfirmed:
            self._strike_silent()
        rosters = read_rosters(operator.store)
        put_grant(
            operator,
            grant,
            origin=operator.store.server().run_id,
            execution=execution,
            say=self._say,
        )
        self._expected = rosters.workers
        operator.remember(
            grant,
            self._say,
            term=record.term,
            activated_at_ms=record.activated_at_ms,
            not_after_ms=record.not_after_ms,
            workers=[(pod.worker, pod.instance) for pod in sorted(rosters.workers)],
            heartbeats=list(record.heartbeats),
            unconfirmed=None,
            unsigned_at_ms=0,
            behind=None,
        )
        return grant

    def _strike_silent(self) -> None:
        """Take workers off the roster that were silent for longer than a lease: all is off (A4).

        Each is named that has not said goodbye, for nobody may have been told of it: a term can end
        without a stop. One that lives registers again. What no guard has written goes, too. With a lease
        that is longer than the silence only those of them go that have said goodbye.
        """
        store = self._operator.store
        with suppress(StoreError):  # they stay, hide nobody, and are struck another time
            store.strike(store.fleet().foreign)
        silent = [Pod(item.name, item.instance) for item in store.workers() if not item.alive]
        left = goodbyes(store, self._operator.trust, silent)
        if self._operator.timing.lease_over_ms > PRESENCE_MS:
            strike(store, left)
            return
        lost = sorted({pod.worker for pod in silent if pod not in left})
        if lost:
            self._say(
                f"taken off the roster, for they fell silent without a goodbye: {listed(lost)}; "
                "one that is frozen can no longer get a permit, and may send what it held"
            )
        strike(store, silent)

    def wait_armed(self, grant: Verified[Grant], wait_s: float) -> Activated:
        """Wait until every worker alive is armed for this grant, at most `wait_s` seconds.

        Returns at once where no worker is registered: an empty fleet has nobody to wait for.
        Whoever was on the roster when it began, and fell silent since without a goodbye, is not armed.
        Never raises: it is in force, whoever can be asked (A7).
        """
        until, problem = clock.now_ms() + wait_s * 1000, ""
        found: list[Presence] = []
        while True:
            try:
                found = self._expected_of(self._operator.store.workers())
                if not found:  # one that registers later arms by itself
                    return Activated(grant, tuple(self.findings), (), ())
            except StoreError as error:
                if error.message != problem:
                    problem = error.message
                    self._say(f"in force, and who is armed is not known: {problem}")
            alive = [item for item in found if item.alive]
            armed = [item for item in alive if _armed_for(item, grant.record.term)]
            if (alive and len(armed) == len(alive)) or clock.now_ms() >= until:
                rest = tuple(item for item in found if item not in armed)
                return Activated(grant, tuple(self.findings), tuple(armed), rest)
            clock.pause_ms(POLL_MS)

    def _expected_of(self, found: Sequence[Presence]) -> list[Presence]:
        """Return those that should arm: the living, and whoever fell silent and has not left."""
        silent = [Pod(item.name, item.instance) for item in found if not item.alive]
        silent = [pod for pod in silent if pod in self._expected]
        left = goodbyes(self._operator.store, self._operator.trust, silent)
        missing = {pod for pod in silent if pod not in left}
        return [item for item in found if item.alive or Pod(item.name, item.instance) in missing]


def _refuse_covered(item: Verified[Revocation] | None) -> None:
    """Refuse while a blind stop covers what is activated now: nobody would arm (A13)."""
    now = clock.wall_ms()
    if item is None or item.record.reach_ms() < now:
        return
    ahead_s = (item.record.reach_ms() - now) // 1000 + 1
    replace = item.record.reach_ms() > now + BLIND_TOLERANCE_MS
    raise RefusedError(
        f"the last stop, {described(item)}, was signed without a look at Redis and by a clock that "
        f"is {ahead_s} s ahead of this host's: it ends what is activated before that",
        hint="`golive revoke` puts another in its place; activate 30 s after that"
        if replace
        else f"try again in {ahead_s} s",
    )


def _refuse_older(report: Report, reading: Reading, stopped_ms: int) -> None:
    """Refuse a report from before the last stop: it does not know what that one was about."""
    last = reading.revocation
    if last is not None and report.issued_at_ms <= stopped_ms:
        raise RefusedError(
            f"the report is older than the last stop: {described(last)}",
            hint="run `golive preflight --out FILE` again",
        )


def _allowed_profile(operator: Operator, name: str | None) -> Profile:
    policy = operator.policy
    wanted = name or policy.default_profile
    if wanted not in policy.allowed_profiles:
        allowed = ", ".join(policy.allowed_profiles)
        raise RefusedError(
            f"profile {wanted!r} is not in allowed_profiles ({allowed})",
            hint=f"allow it in {operator.config.path}, or take --profile {policy.default_profile}",
        )
    return Profile(wanted)


def _armed_for(item: Presence, term: int) -> bool:
    return item.fields.get("state") == "armed" and item.fields.get("term") == str(term)
