"""What every operator's command starts with: configuration, trust, a connected store, a memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

import msgspec

from golive_redis import clock
from golive_redis.config import Config
from golive_redis.core.barrier import Result
from golive_redis.core.confirmed import confirmed_as
from golive_redis.core.state import State, assemble
from golive_redis.delivery.spool import Spool
from golive_redis.errors import (
    ConfigError,
    GoliveError,
    RecordError,
    RefusedError,
    StoreError,
    StoreUnavailableError,
)
from golive_redis.records.directive import Grant, GrantKind, Restriction, Revocation
from golive_redis.records.envelope import Signer, Verified
from golive_redis.records.epoch import Directive, newest, verify_directive
from golive_redis.records.keyset import Role
from golive_redis.stop.before import is_stranger, knows_less
from golive_redis.stop.memory import Lack, Memory
from golive_redis.store.place import WHICH_STORE
from golive_redis.store.replies import Snapshot, Step
from golive_redis.store.store import Store

TIMEOUT_MS = 2_000.0


Say = Callable[[str], None]
"""Told what happens, one sentence at a time, while it happens."""


def quiet(_: str) -> None:
    """Say nothing."""


class Reading(msgspec.Struct, frozen=True):
    """The switch as read and verified.

    Attributes:
        snapshot: As read.
        state: The term in force, or None when nothing is active or what is does not verify.
        revocation: The tombstone, or None.
        newest: The directive with the highest epoch anywhere in sight.
        refused: What did not verify, in sentences.
        behind: What this store lacks that this host knows; None when that is nothing.
    """

    snapshot: Snapshot
    state: State | None
    revocation: Verified[Revocation] | None
    newest: Directive | None
    refused: tuple[str, ...]
    behind: Lack | None


class Operator:
    """An operator at work; use as a context manager.

    Whoever interrupts it takes back nothing that has left: the interrupt that comes out says what is
    known of it (A7).

    Args:
        config: Of this host.
        takes_away: It only restricts. Then being logged in as the Redis user `default` is no reason to
            refuse it, as it is none to refuse a stop; and it waits for no newer keyset.
        follows: Take what Redis has of signed keysets. A trigger stays with its heartbeat's.

    Raises:
        StoreUnavailableError: Redis cannot be reached, or we are somebody there who we may not be.
        ConfigError: The keyset cannot be used.
        KeyboardInterrupt: At the end, with that as its message.

    Attributes:
        untaken: Why a keyset that is in Redis was not taken; "" when there is none.
    """

    def __init__(self, config: Config, *, takes_away: bool = False, follows: bool = True) -> None:
        self.config = config
        self.policy = config.policy
        self.timing = config.policy.timers
        self.trust = config.stop_trust() if takes_away else config.trust()
        self.address = config.address()
        self._follows = follows and not takes_away
        self.untaken = ""
        if takes_away:
            self.address = msgspec.structs.replace(self.address, default_user=True)
        self.keyspace = self.address.keyspace
        self.memory, self._forgetful = _remembered(config)
        self.link = self.address.link(timeout_ms=TIMEOUT_MS, name="golive-operator")
        self.store = Store(self.link, self.keyspace)
        self._known = ""
        self._place = f"{self.trust.environment} ({self.trust.namespace})"

    def __enter__(self) -> Operator:
        try:
            self.link.open()
            if self._follows:
                self.follow()
        except BaseException:
            self.memory.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.link.close()
        self.memory.close()
        if kind is KeyboardInterrupt and self._known and not str(error):
            raise KeyboardInterrupt(self._known) from None

    def follow(self, *, keep: bool = True) -> None:
        """Take the signed keysets that Redis has beyond the one of this host, and use the newest.

        What stands there and cannot be taken is kept in `untaken`: then nothing is turned on from here,
        and everything else goes on with the keyset that this host has.

        Args:
            keep: Write down what was taken; else it is used for this command alone.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        if not self.trust.keyset.is_signed:
            return
        from golive_redis.delivery.keysets import follow  # noqa: PLC0415  (not on the way to a halt)

        try:
            kept = self.config.succession(self.config.pinned()).keep if keep else _keep_nothing
            followed = follow(self.store, self.trust, kept)
        except StoreUnavailableError:
            raise
        except GoliveError as error:
            self.untaken = error.message
            return
        self.trust, self.untaken = followed.trust, followed.problem

    @contextmanager
    def sending(self, item: Directive) -> Iterator[None]:
        """Put a directive in force within; whoever interrupts is told that it may be."""
        what = f"{described(item)} may be in force in {self._place}"
        self._known = f"interrupted, and no answer came: {what}; look at `golive status`"
        try:
            yield
        except GoliveError:
            self._known = ""  # the error says what is known
            raise

    def sent(self, item: Directive | None) -> None:
        """Note the answer: this directive is in force, or the one that was sent is not."""
        done = "" if item is None else f"interrupted; in force: {described(item)}, in {self._place}"
        self._known = done

    def read(self) -> Reading:
        """Read and verify everything about the switch."""
        snapshot = self.store.snapshot()
        refused: list[str] = []
        state = revocation = None
        if snapshot.grant is not None:
            try:
                state = self._state(snapshot)
            except RecordError as error:
                refused.append(f"the active record is refused: {error.message}")
        if snapshot.revoked is not None:
            try:
                revocation = self.trust.revocation(snapshot.revoked)
            except RecordError as error:
                refused.append(f"the tombstone is refused: {error.message}")
        stored = [raw for raw in (snapshot.grant, snapshot.revoked) if raw is not None]
        stored += snapshot.restrictions.values()
        raws = [*stored, *self.store.told_directives(), *self.memory.directives()]
        found = newest(raws, self.trust)
        where = self.address.shown
        before = self.memory.newest.behind if state is None else None
        behind = knows_less(where, found, snapshot.epoch_hint, stored, before)
        refused += [f"{key} has a wrong type" for key in snapshot.corrupt]
        if another := self.another_fleet(snapshot.fleet):
            refused.append(another)
        return Reading(snapshot, state, revocation, found, tuple(refused), behind)

    def another_fleet(self, fleet: str) -> str:
        """Say that the store belongs to another fleet; "" when it is ours or nobody's."""
        return self.trust.another_fleet(fleet)

    def _state(self, snapshot: Snapshot) -> State:
        assert snapshot.grant is not None  # noqa: S101  (checked by the only caller)
        return assemble(
            self.trust.grant(snapshot.grant),
            [self.trust.restriction(raw) for raw in snapshot.restrictions.values()],
        )

    def signers(self, extra: Sequence[str]) -> list[Signer]:
        """Return the operator's signer and those of further key files, each principal once."""
        keyset = self.trust.keyset
        signers = [self.config.signer("operator", keyset)]
        signers += [self.config.signer_from(key, keyset) for key in extra]
        return list({signer.principal: signer for signer in signers}.values())

    def require_enabled(self) -> None:
        """Refuse while the configuration of this host has activation switched off.

        Raises:
            RefusedError: `activation_enabled` is false.
        """
        if not self.policy.activation_enabled:
            raise RefusedError(
                f"activation_enabled is false in {self.config.path}",
                hint="set it to true there, when this environment is meant to trade",
            )

    def approvers(
        self, extra: Sequence[str], kind: GrantKind, *, others: bool = False
    ) -> list[Signer]:
        """Return enough approvers to sign a grant: whatever turns trading on comes through here.

        Args:
            extra: Further key files.
            kind: Of the grant.
            others: Others sign on their own hosts, so one is enough here.

        Raises:
            RefusedError: Activation is not enabled on this host, or the threshold is not met; it names
                who could still sign.
            ConfigError: This host's memory cannot be used. A restriction does not wait for that.
        """
        self.require_enabled()
        if self._forgetful is not None:
            raise self._forgetful
        self._require_current()
        keyset = self.trust.keyset
        able = keyset.principals(Role.APPROVER)
        signers = [signer for signer in self.signers(extra) if signer.principal in able]
        have = [signer.principal for signer in signers]
        needed = 1 if others else keyset.approvals(kind)
        if len(have) < needed:
            missing = [name for name in able if name not in have]
            raise RefusedError(
                f"{needed} approver signature(s) needed, {len(have)} given "
                f"({', '.join(have) or 'none'}); missing: {needed - len(have)} of "
                f"{', '.join(missing) or 'nobody'}",
                hint=f"`golive propose {kind}` lets them sign on their own hosts; "
                "or add their keys with --key FILE, once for each",
            )
        return signers

    def _require_current(self) -> None:
        """Refuse to turn anything on under a keyset that has expired, or that is not the newest."""
        keyset = self.trust.keyset
        if self.untaken:
            raise RefusedError(
                f"this host may be behind: {self.untaken}",
                hint="golive keys status shows which keysets there are; ask the roots",
            )
        if keyset.expired(clock.wall_ms()):
            raise RefusedError(
                f"keyset {keyset.version} was good until {keyset.expires}: nothing new begins under it",
                hint="its roots sign the next one: golive keys draft",
            )

    def remember(self, directive: Directive, say: Say, **changes: object) -> None:
        """Keep the newest directive on this host; a disk that does not take it changes nothing (A7)."""
        try:
            self.memory.save(clock.wall_ms(), directive=directive.raw.decode(), **changes)
        except ConfigError as error:
            say(f"in force, and not remembered on this host: {error.message}")

    def who(self, identity: str) -> str:
        """Say in words which directive has that identity, if it can still be read; never raises."""
        try:
            raws = self._candidates()
        except StoreError:
            raws = []  # it is wording: what is known already is told without it
        for raw in raws:
            try:
                item = verify_directive(raw, self.trust)
            except RecordError:
                continue
            if item.identity == identity:
                return described(item)
        return "another directive"

    def _candidates(self) -> list[bytes]:
        snapshot = self.store.snapshot()
        raws = [*snapshot.restrictions.values(), snapshot.grant, snapshot.revoked]
        return [raw for raw in raws if raw is not None]


def _keep_nothing(_: object) -> None:
    return


def _remembered(config: Config) -> tuple[Memory, ConfigError | None]:
    try:
        return Memory(config.state_dir), None
    except ConfigError as error:
        return Memory(None), error


def described(item: Directive) -> str:
    """Say in words what a directive is: kind, epoch, who, why."""
    record = item.record
    kind = record.kind if isinstance(record, Grant | Restriction) else "revocation"
    signers = ", ".join(sorted(item.signers))
    return f"{kind} {record.epoch} by {signers} ({record.reason})"


def active(reading: Reading) -> State:
    """Return the term in force.

    Raises:
        RecordError: Something in the store is refused.
        RefusedError: Nothing is active.
    """
    if reading.refused:
        raise RecordError("; ".join(reading.refused), hint="`golive revoke` stops everything")
    if reading.state is None:
        if reading.behind is not None:
            lacks = reading.behind.in_words()
            raise RefusedError(f"nothing is active there, and {lacks}", hint=WHICH_STORE)
        raise RefusedError("nothing is active", hint="`golive status` shows what was last")
    return reading.state


def confirmed(operator: Operator, reading: Reading, identity: str) -> Result:
    """Return what a revoker has signed that this stop came to."""
    said = confirmed_as(operator.trust, reading.snapshot.confirmed, identity)
    return Result.NOT_CONFIRMED if said is None else said


def tell_unpushed(operator: Operator, step: Step, say: Say) -> None:
    """Say so when a directive is in force and could not be pushed (A7)."""
    if step.unpushed:
        within_ms = operator.timing.read_every_ms
        say(
            f"in force, but not pushed: Redis refused: {step.unpushed}; "
            f"workers and heartbeats read it within {within_ms} ms"
        )


def send_spool(operator: Operator, say: Say) -> None:
    """Send what an earlier command could not, before anything new is done.

    Fails closed: to a Redis that does not know the term of this host nothing is sent, for what is
    sent leaves this host, and a stop that another Redis has taken would reach nobody.
    """
    folder = operator.config.state_dir
    if folder is None or not Spool(folder).waiting():
        return
    here, where = operator.memory.newest, operator.address.shown
    if is_stranger(here, where, operator.store.snapshot().epoch_hint):
        say(f"what is kept on this host is not sent: {where} does not know term {here.term}")
        return
    Spool(folder).send(operator.store, operator.trust, say)
