"""Use cases of people: activate, halt, reduce, resume, restore, extend. Revoking has its own module.

Every directive is made from what was just read and verified, and put in force by compare-and-set: of
two operators at once, one wins and the other is told who and what. A restriction is signed again on
top of what came first, because no halt may be lost; a grant is not, because it may no longer be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from golive_redis import clock, ledger
from golive_redis.checks import runner
from golive_redis.checks.redis import NAME as REDIS_CHECK
from golive_redis.checks.redis import check_database_redis
from golive_redis.core.barrier import Arrived, Pod
from golive_redis.core.beat import ISSUED_TOLERANCE_MS
from golive_redis.core.directive import (
    Grant,
    GrantKind,
    Label,
    Mode,
    Profile,
    Restriction,
    RestrictionKind,
    State,
)
from golive_redis.core.envelope import Signer, Verified, seal
from golive_redis.core.finding import Finding, Outcome, Report
from golive_redis.core.ledger import extend as next_head
from golive_redis.core.record import MAX_INT, wording
from golive_redis.errors import (
    ConfigError,
    ConflictError,
    GoliveError,
    MaybeAppliedError,
    RecordError,
    RefusedError,
    StoreError,
)
from golive_redis.fleet import Receipts, read_rosters
from golive_redis.numbering import next_epoch
from golive_redis.operator import Operator, Reading, described
from golive_redis.spool import Spool
from golive_redis.store.store import Presence, Status, Step
from golive_redis.tombstone import is_confirmed

MAX_TRIES = 10
APPLIED_WAIT_MS = 2_000.0
POLL_MS = 100.0

Say = Callable[[str], None]


class Activated(msgspec.Struct, frozen=True):
    """An activation in force, and who is armed."""

    grant: Verified[Grant]
    findings: tuple[Finding, ...]
    armed: tuple[Presence, ...]
    not_armed: tuple[Presence, ...]


class Restricted(msgspec.Struct, frozen=True):
    """A restriction in force, and who has said that it applied it."""

    restriction: Verified[Restriction]
    ledger: str
    applied: Mapping[Pod, float]
    silent: tuple[Pod, ...]


def quiet(_: str) -> None:
    """Say nothing."""


# -- preflight -----------------------------------------------------------------------------------


def preflight(operator: Operator) -> list[Finding]:
    """Run the checks that the policy requires, then its gates."""
    checks = {REDIS_CHECK: lambda: check_database_redis(operator.address, operator.keyspace)}
    return runner.run(checks, operator.policy.required_preflight) + runner.gates(operator.policy)


def _report(operator: Operator, signer: Signer, findings: Sequence[Finding]) -> Verified[Report]:
    record = Report(
        namespace=operator.trust.namespace,
        environment=operator.trust.environment,
        keyset_version=operator.trust.keyset.version,
        issued_at_ms=clock.wall_ms(),
        by=signer.principal,
        findings=list(findings),
    )
    return operator.trust.report(seal(record, signer))


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
        over_unconfirmed: Activate although the last stop was never confirmed.
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
        say: Say = quiet,
    ) -> None:
        self._operator = operator
        self._reason = wording(reason)
        self._ticket = wording(ticket)
        self._profile = _allowed_profile(operator, profile)
        self._keys = keys
        self._minutes = minutes or operator.policy.window_minutes
        self._over_unconfirmed = over_unconfirmed
        self._say = say
        self.findings: list[Finding] = []
        self.signers: list[Signer] = []

    def prepare(self) -> Reading:
        """Check everything that can refuse an activation, cheapest first.

        Raises:
            RefusedError: With what to do about it.
        """
        operator = self._operator
        if not operator.policy.activation_enabled:
            raise RefusedError(
                f"activation_enabled is false in {operator.config.path}",
                hint="set it to true there, when this environment is meant to trade",
            )
        self.signers = operator.approvers(self._keys)
        send_spool(operator, self._say)
        reading = operator.read()
        self._refuse_active(reading)
        self._refuse_unconfirmed(reading)
        self._refuse_without_heartbeat()
        self.findings = preflight(operator)
        failed = [item for item in self.findings if item.outcome is not Outcome.PASS]
        if failed:
            raise RefusedError(
                "preflight failed: " + "; ".join(f"{f.check}: {f.explain}" for f in failed),
                hint="`golive preflight` runs the checks alone",
            )
        return reading

    def _refuse_active(self, reading: Reading) -> None:
        if reading.refused:
            raise RefusedError(
                "; ".join(reading.refused),
                hint="`golive revoke` repairs the store; then find out who wrote there",
            )
        if reading.state is not None:
            raise RefusedError(
                f"already active: {described(reading.state.grant)}",
                hint="`golive status` shows it; `golive revoke` ends it",
            )

    def _refuse_unconfirmed(self, reading: Reading) -> None:
        operator = self._operator
        if operator.memory.newest.unsigned_at_ms and not self._over_unconfirmed:
            raise RefusedError(
                "the last stop from this host could not be signed, so nobody confirmed it",
                hint="run `golive revoke` with a usable key, or add --over-unconfirmed",
            )
        unconfirmed = operator.memory.newest.unconfirmed
        item = reading.revocation
        if item is None and unconfirmed is not None:
            item = operator.trust.revocation(unconfirmed.encode())
        if item is None or self._over_unconfirmed or confirmed(operator, reading, item.identity):
            return
        raise RefusedError(
            f"the last stop was never confirmed: {described(item)}",
            hint="run `golive revoke` again until it says COMPLETE, or add --over-unconfirmed",
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

    def commit(self, reading: Reading) -> Verified[Grant]:
        """Sign the grant and put it in force together with its ledger entry.

        Raises:
            ConflictError: Somebody else's directive came first.
            MaybeAppliedError: It is unknown whether it is in force.
            RefusedError: The store refused it.
        """
        operator = self._operator
        report = _report(operator, self.signers[0], self.findings)
        ledger.append(operator.store, report.raw)
        epoch = next_epoch(reading.newest, hint=reading.snapshot.epoch_hint)
        now = clock.wall_ms()
        record = Grant(
            namespace=operator.trust.namespace,
            environment=operator.trust.environment,
            keyset_version=operator.trust.keyset.version,
            issued_at_ms=now,
            by=self.signers[0].principal,
            kind=GrantKind.ACTIVATE,
            epoch=epoch,
            term=epoch,
            mode=Mode.LIVE,
            profile=self._profile,
            limits=operator.policy.profiles[self._profile],
            # A worker whose clock is a little behind may not find the window closed.
            not_before_ms=now - ISSUED_TOLERANCE_MS,
            not_after_ms=min(now + self._minutes * 60_000, MAX_INT),
            max_ttl_ms=operator.timing.max_ttl_ms,
            keeps=[],
            reason=self._reason,
            ticket=self._ticket,
            report=report.identity,
            prev=reading.snapshot.last or None,
        )
        grant = operator.trust.grant(seal(record, *self.signers))
        rosters = read_rosters(operator.store)
        put_grant(operator, grant, origin=operator.store.server().run_id)
        operator.remember(
            grant,
            term=epoch,
            activated_at_ms=now,
            not_after_ms=record.not_after_ms,
            workers=[(pod.worker, pod.instance) for pod in sorted(rosters.workers)],
            heartbeats=sorted(rosters.heartbeats),
            unconfirmed=None,
            unsigned_at_ms=0,
        )
        return grant

    def wait_armed(self, grant: Verified[Grant], wait_s: float) -> Activated:
        """Wait until every worker alive is armed for this grant, at most `wait_s` seconds."""
        until = clock.now_ms() + wait_s * 1000
        while True:
            alive = [item for item in self._operator.store.workers() if item.alive]
            armed = [item for item in alive if _armed_for(item, grant.record.term)]
            if (alive and len(armed) == len(alive)) or clock.now_ms() >= until:
                rest = tuple(item for item in alive if item not in armed)
                return Activated(grant, tuple(self.findings), tuple(armed), rest)
            clock.pause_ms(POLL_MS)


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


def confirmed(operator: Operator, reading: Reading, identity: str) -> bool:
    """Tell whether a revoker has signed that this stop is complete."""
    return is_confirmed(operator.trust, reading.snapshot.confirmed, identity)


def send_spool(operator: Operator, say: Say) -> None:
    """Send what an earlier command could not, before anything new is done."""
    folder = operator.config.state_dir
    if folder is not None:
        Spool(folder).send(operator.store, operator.trust, say)


# -- grants --------------------------------------------------------------------------------------


def put_grant(
    operator: Operator, grant: Verified[Grant], *, origin: str = "", keeps: Sequence[str] = ()
) -> None:
    """Put a signed grant in force, following the ledger head while others write.

    Raises:
        ConflictError: Another directive came first; it is named.
        RefusedError: The store refused it; nothing was changed.
        MaybeAppliedError: No answer, twice: it is unknown whether it is in force.
    """
    record, store = grant.record, operator.store
    head, unknown = store.head(), False
    for _ in range(MAX_TRIES):
        try:
            step = store.grant(
                activates=record.kind is GrantKind.ACTIVATE,
                term=record.term,
                epoch=record.epoch,
                record=grant.raw,
                identity=grant.identity,
                prev=record.prev or "",
                ttl_ms=operator.timing.ttl_ms,
                origin=origin,
                head=head,
                head_after=next_head(head, grant.raw),
                keeps=keeps,
            )
        except MaybeAppliedError:
            if unknown:
                raise
            unknown = True  # the very same grant is recognised, so asking again is safe
            continue
        if step.status is not Status.HEAD:
            _refuse_grant(operator, step)
            return
        head = step.why
    raise StoreError(f"the ledger head moved {MAX_TRIES} times; nothing was changed, try again")


def _refuse_grant(operator: Operator, step: Step) -> None:
    if step.status in {Status.OK, Status.SAME}:
        return
    if step.status is Status.CONFLICT:
        raise ConflictError(
            f"somebody came first: {operator.who(step.why)}",
            hint="look at `golive status`, and run the command again if it is still meant",
        )
    if step.why == "active":
        reading = operator.read()
        what = described(reading.state.grant) if reading.state else "another activation"
        raise ConflictError(f"somebody came first: {what}", hint="`golive status` shows it")
    texts = {
        "revoked": f"a revocation with epoch {step.detail} stands",
        "used": f"epoch {step.detail} is used already",
        "absent": "nothing is active",
        "term": f"term {step.detail} is active by now",
        "corrupt": f"{step.detail} has a wrong type",
    }
    raise RefusedError(
        f"the store refused the grant: {texts.get(step.why, step.why)}",
        hint="`golive revoke` repairs keys of a wrong type" if step.why == "corrupt" else "",
    )


def loosen(
    operator: Operator,
    kind: GrantKind,
    *,
    reason: str,
    ticket: str = "",
    labels: Mapping[str, str] | None = None,
    every: bool = False,
    keys: Sequence[str] = (),
    minutes: int | None = None,
) -> Verified[Grant]:
    """Issue a grant within the term: `resume` drops halts, `restore` reductions, `extend` none.

    Args:
        operator: At work.
        kind: Which.
        reason: For the record.
        ticket: For the record.
        labels: Drops the restrictions with exactly these labels.
        every: Drops all of that kind, whatever their labels.
        keys: Further key files, up to the threshold.
        minutes: For `extend`: new length of the window, from now.

    Raises:
        RefusedError: Nothing is active, nothing matches, or too few approvers signed.
        ConflictError: Another directive came first.
    """
    signers = operator.approvers(keys)
    send_spool(operator, quiet)
    reading = operator.read()
    state = _active(reading)
    dropped = _dropped(state, kind, dict(labels or {}), every=every)
    kept = [item for item in state.restrictions if item not in dropped]
    now = clock.wall_ms()
    before = state.grant.record
    not_after = before.not_after_ms if minutes is None else now + minutes * 60_000
    if not_after < before.not_after_ms:
        raise RefusedError(
            "the window would end earlier than it does now",
            hint="`golive revoke` ends it; a longer --minutes extends it",
        )
    record = msgspec.structs.replace(
        before,
        kind=kind,
        epoch=next_epoch(reading.newest, hint=reading.snapshot.epoch_hint),
        keyset_version=operator.trust.keyset.version,
        issued_at_ms=now,
        by=signers[0].principal,
        not_after_ms=not_after,
        keeps=[item.identity for item in kept],
        reason=wording(reason),
        ticket=wording(ticket),
        report=None,
        prev=reading.snapshot.last or None,
    )
    grant = operator.trust.grant(seal(record, *signers))
    held = {item.raw for item in kept}
    fields = [name for name, raw in reading.snapshot.restrictions.items() if raw in held]
    put_grant(operator, grant, keeps=fields)
    operator.remember(grant, not_after_ms=not_after)
    return grant


def _dropped(
    state: State, kind: GrantKind, labels: dict[str, str], *, every: bool
) -> list[Verified[Restriction]]:
    drops = {
        GrantKind.RESUME: RestrictionKind.HALT,
        GrantKind.RESTORE: RestrictionKind.REDUCE,
    }.get(kind)
    if drops is None:
        return []
    held = [item for item in state.restrictions if item.record.kind is drops]
    found = [item for item in held if every or dict(item.record.labels) == labels]
    if not found:
        listed = "; ".join(f"{described(item)} for {_words(item.record.labels)}" for item in held)
        raise RefusedError(
            f"no {drops} with these labels is in force ({listed or 'none at all'})",
            hint=f"name the labels of one of them, or --all to {kind} from every {drops}",
        )
    return found


def _words(labels: Mapping[Label, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in labels.items()) or "all orders"


def _active(reading: Reading) -> State:
    if reading.refused:
        raise RecordError("; ".join(reading.refused), hint="`golive revoke` stops everything")
    if reading.state is None:
        raise RefusedError("nothing is active", hint="`golive status` shows what was last")
    return reading.state


# -- restrictions --------------------------------------------------------------------------------


def restrict(
    operator: Operator,
    kind: RestrictionKind,
    *,
    reason: str,
    ticket: str = "",
    labels: Mapping[str, str] | None = None,
    profile: Profile | None = None,
    say: Say = quiet,
) -> Restricted:
    """Issue a restriction with one key, at once, and collect who applied it for at most 2 s.

    Raises:
        RefusedError: Nothing is active, or a label is unknown.
        StoreError: The store did not take it.
    """
    signer = operator.signers(())[0]
    known = _labels(labels or {})
    receipts = Receipts(operator.trust, clock.now_ms)
    channel = operator.address.link(timeout_ms=APPLIED_WAIT_MS, name="golive-operator")
    try:
        channel.send("SUBSCRIBE", operator.keyspace.receipts)
        called_at = clock.now_ms()
        item, audit = _put_restriction(
            operator, signer, kind, known, reason=reason, ticket=ticket, profile=profile, say=say
        )
        pods: set[Pod] = set()
        applied: dict[Pod, Arrived] = {}
        try:
            pods = {
                Pod(p.name, p.instance)
                for p in operator.store.workers()
                if p.alive and p.fields.get("term") == str(item.record.term)
            }
            while clock.now_ms() - called_at < APPLIED_WAIT_MS and not pods <= set(applied):
                receipts.listen(channel, POLL_MS)
                applied = receipts.collected([item.identity]).latched
        except StoreError as error:  # in force all the same
            say(f"who has applied it is not known: {error.message}")
    finally:
        channel.close()
    try:
        operator.remember(item)
    except ConfigError as error:
        say(f"in force, and not remembered on this host: {error.message}")
    times = {pod: arrived.at - called_at for pod, arrived in applied.items()}
    return Restricted(item, audit, times, tuple(sorted(pods - set(applied))))


def _put_restriction(
    operator: Operator,
    signer: Signer,
    kind: RestrictionKind,
    labels: dict[Label, str],
    *,
    reason: str,
    ticket: str,
    profile: Profile | None,
    say: Say,
) -> tuple[Verified[Restriction], str]:
    mode = {RestrictionKind.HALT: Mode.HALTED, RestrictionKind.REDUCE: Mode.REDUCE_ONLY}.get(kind)
    for _ in range(MAX_TRIES):
        reading = operator.read()
        # Only the term matters here: a broken ledger or counter must not hold up a halt.
        state = reading.state or _active(reading)
        record = Restriction(
            namespace=operator.trust.namespace,
            environment=operator.trust.environment,
            keyset_version=operator.trust.keyset.version,
            issued_at_ms=clock.wall_ms(),
            by=signer.principal,
            kind=kind,
            epoch=next_epoch(reading.newest),
            term=state.term,
            labels=labels,
            mode=mode,
            profile=profile,
            reason=wording(reason),
            ticket=wording(ticket),
            prev=reading.snapshot.active_last or None,
        )
        item = operator.trust.restriction(seal(record, signer))
        head = reading.snapshot.head
        try:
            step = _until_known(
                partial(
                    operator.store.restrict,
                    term=record.term,
                    epoch=record.epoch,
                    record=item.raw,
                    identity=item.identity,
                    prev=record.prev or "",
                    head=head,
                    head_after=next_head(head, item.raw),
                )
            )
        except MaybeAppliedError:
            _spooled(operator, item.raw)  # it may be in force, and then the ledger must have it
            raise
        if step.status is not Status.CONFLICT:
            return item, _restricted(operator, item, step)
        say(f"{operator.who(step.why)} came first; signing on top of it")
    raise ConflictError(f"others came first {MAX_TRIES} times; nothing was restricted")


def _until_known(step: Callable[[], Step]) -> Step:
    """Take a step, and again when no answer came: each step recognises its own repeat."""
    try:
        return step()
    except MaybeAppliedError:
        return step()


def _restricted(operator: Operator, item: Verified[Restriction], step: Step) -> str:
    if step.status is Status.REFUSED:
        raise RefusedError(f"the store refused the restriction: {step.why} {step.detail}".strip())
    if step.why == "AUDITED":
        return "written"
    # Also for a repeat that was recognised: the first try may have found the head moved.
    try:
        ledger.append_once(operator.store, item.raw)
    except GoliveError:
        return _spooled(operator, item.raw)
    return "written"


def _spooled(operator: Operator, record: bytes) -> str:
    folder = operator.config.state_dir
    if folder is None:
        return "failed"
    try:
        Spool(folder).keep(record)
    except OSError:
        return "failed"
    return "spooled"


def _labels(labels: Mapping[str, str]) -> dict[Label, str]:
    try:
        return {Label(name): value for name, value in labels.items()}
    except ValueError as error:
        raise RefusedError(str(error), hint=f"labels are {', '.join(Label)}") from error
