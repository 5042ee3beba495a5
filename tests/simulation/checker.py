"""The checkers: what must never happen, watched from outside by somebody who knows the real time.

Every order that the venue accepts is held against these, with the bounds of the `standard` timers:

- the lease: an answer that showed the term was executed for this worker at most `lease_ms` ago;
- the beats: the newest beat it was shown took effect at most `beat_ms` ago;
- the key: what the last answer said of the key's life is not over;
- the revoke: at most `lease_ms` since the script ran, unless a failover lost it or there are two primaries;
- COMPLETE: nothing that a stop covers, once it was said, and nobody who was asked holds such an order;
- the latch: nothing that a durable receipt covers, on that disk; nothing that the process has stopped;
- restrictions: nothing that a restriction denies which this process has applied, or which its last
  answer showed or warned of by a beat (S4); nothing after `lease_ms` where it was not lost;
- the window, and a fence that never goes back.

Besides: epochs are never reused, no receipt claims a disk that does not hold it, no stop is COMPLETE
with nobody to ask; at the end the ledger is whole, tombstones stand, and everybody is armed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from golive_redis.core.answer import Answer
from golive_redis.core.barrier import Outcome, Result
from golive_redis.core.permit import Denial, Permit
from golive_redis.core.state import State, in_force
from golive_redis.records.beat import Beat
from golive_redis.records.directive import Grant, Mode, Restriction, Revocation
from golive_redis.records.envelope import Verified
from golive_redis.records.receipt import Durable, Receipt, Stage
from golive_redis.store.replies import Status, Step
from golive_redis.store.replies import Stop as StopReply

from .model import Server

if TYPE_CHECKING:
    from .nodes import HeartbeatHost, Node, Worker
    from .world import World

FRESH_MS = 20_000.0
MISSING_READS = 4
SLEWED_MS = 400.0
SLEW_SEEN_MS = 8_000.0
WINDOW_SLACK_MS = 15_000.0
NEVER = float("-inf")


@dataclass
class Stop:
    """One revocation as it really happened."""

    item: Verified[Revocation]
    executed_at: float | None = None
    lost: bool = False
    complete_at: float | None = None


@dataclass
class Limit:
    """One restriction as it really happened."""

    item: Verified[Restriction]
    executed_at: float
    lost: bool = False

    def denies(self, permit: Permit, worker: str) -> bool:
        """Tell whether it forbids that order."""
        record = self.item.record
        have = {**permit.labels, "worker": worker}
        if record.term != permit.term or any(have.get(k) != v for k, v in record.labels.items()):
            return False
        return record.mode is Mode.HALTED or permit.intent == "open"


@dataclass
class MadeBeat:
    """A beat as it really was; `at` is when it took effect, a little later than it was made."""

    at: float
    record: Beat
    knows: frozenset[str]


@dataclass
class Shown:
    """What an answer showed when it was executed."""

    at: float
    ends_at: float
    warns: frozenset[str]


@dataclass
class Life:
    """What one process of a worker was shown and has said."""

    shown_at: dict[int, float] = field(default_factory=dict)
    beat_at: dict[int, float] = field(default_factory=dict)
    highest: dict[tuple[str, int], int] = field(default_factory=dict)
    told: Shown | None = None
    applied: dict[str, Verified[Restriction]] = field(default_factory=dict)
    stopped: list[Verified[Revocation]] = field(default_factory=list)
    fence: int = 0


class Checker:
    """Collects violations; the simulation ends at the first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[str] = []
        self.stops: dict[str, Stop] = {}
        self.limits: dict[str, Limit] = {}
        self.grants: dict[int, list[Verified[Grant]]] = {}
        self.beats: dict[bytes, MadeBeat] = {}
        self.epochs: dict[bytes, int] = {}
        self.lives: dict[str, Life] = {}
        self.published: list[bytes] = []
        self.unwritten: set[bytes] = set()
        self.missing: dict[str, int] = {}
        self.accepts = self.tries = self.permits = 0
        self.armed_samples = self.samples = 0
        self.armed_after_ms: float | None = None

    def fail(self, rule: str, text: str) -> None:
        """Note a violation."""
        self.world.note(f"VIOLATION of {rule}: {text}")
        self.violations.append(f"{rule}: at {self.world.now / 1000:.3f} s: {text}")

    # -- what happens at the servers -------------------------------------------------------------

    def beaten(self, raw: bytes, state: State | None) -> None:
        """Note a beat that takes effect just now, and which directives its maker knew when it beat."""
        if raw not in self.beats:
            record = self.world.principals.trust.beat(raw).record
            knows = (
                frozenset(item.identity for item in state.restrictions) if state else frozenset()
            )
            self.beats[raw] = MadeBeat(self.world.now, record, knows)

    def granted(self, server: Server, asked: dict[str, Any], step: Step) -> Step:
        """Note a grant that is in force."""
        if step.status is Status.OK:
            grant = self.world.principals.trust.grant(asked["record"])
            self._number(server, grant)
            self.grants.setdefault(grant.record.term, []).append(grant)
            self.moved()
        return step

    def restricted(self, server: Server, asked: dict[str, Any], step: Step) -> Step:
        """Note a restriction that is in force."""
        if step.status is Status.OK:
            item = self.world.principals.trust.restriction(asked["record"])
            if item.identity not in self.limits:
                self._number(server, item)
                self.limits[item.identity] = Limit(item, self.world.now)
                self.published.append(item.raw)
            else:
                self.world.count("restrictions re-asserted")
            self.moved()
        return step

    def signed(self, item: Verified[Revocation]) -> None:
        """Note a revocation that was signed."""
        self.stops[item.identity] = Stop(item)
        self.published.append(item.raw)

    def issued(self, item: Verified[Revocation]) -> None:
        """Note a card that was signed, and is nowhere yet."""
        self.stops[item.identity] = Stop(item)

    def played(self, item: Verified[Revocation]) -> None:
        """Note a card that is pushed from now on."""
        if item.raw not in self.published:
            self.published.append(item.raw)

    def revoked(self, server: Server, asked: dict[str, Any], stop: StopReply) -> StopReply:
        """Note a revocation that was executed."""
        known = self.stops[asked["identity"]]
        self.epochs[asked["record"]] = asked["epoch"]
        if stop.status is not Status.LATER:
            if known.executed_at is None:
                known.executed_at = self.world.now
            elif stop.status is Status.OK:
                self.world.count("tombstones re-asserted")
            self.moved()
        return stop

    def _number(self, server: Server, item: Verified[Any]) -> None:
        """A number is used once on a history, as far as a restriction can see it.

        Restrictions number on from what is signed and in sight, so that nobody who only changes the
        hint in `golive:epoch` can hold them up; grants also go by the hint.
        """
        epoch = item.record.epoch
        self.epochs[item.raw] = epoch
        data = server.data
        sight = set(data.forced)
        if isinstance(item.record, Restriction) and data.active is not None:
            sight &= {data.active.grant, *data.active.restrictions.values()}
        highest = max((self.epochs[raw] for raw in sight - {item.raw}), default=0)
        if epoch <= highest:
            self.fail("epochs", f"epoch {epoch} was put in force after {highest}")
        signer = next(person for person in self.world.people if person.name == item.record.by)
        if epoch <= signer.known:
            self.fail("epochs", f"{signer.name} numbered {epoch} and knew of {signer.known}")

    def attended(self, host: HeartbeatHost, server: Server) -> None:
        """A tombstone that a heartbeat knows and the store has lost is soon back, in fine weather."""
        world, item = self.world, host.pulse.revocation
        active, stone = server.live(world.now), server.data.revoked
        stands = max(stone.epoch if stone else 0, active.term if active else 0)
        lacks = item is not None and item.record.epoch > stands and world.fine
        if lacks and item is not None and item.record.is_card and active is not None:
            # It would delete a term that it spares, whose number may be below its own.
            grant = world.principals.trust.grant(active.grant).record
            lacks = item.record.covers(grant.term, grant.activated_at_ms)
        self.missing[host.name] = self.missing.get(host.name, 0) + 1 if lacks else 0
        if self.missing[host.name] >= MISSING_READS:
            self.fail("tombstone", f"{host.name} knows {item.record.epoch}, the store has {stands}")

    def moved(self) -> None:
        """A server changed: find out which stops and restrictions that lost."""
        world = self.world
        self.missing.clear()
        live = [(s, active) for s in world.serving() if (active := s.live(world.now)) is not None]
        for _, active in live:
            grant = world.principals.trust.grant(active.grant)
            for stop in self.stops.values():
                if stop.executed_at is not None and not stop.lost:
                    record = grant.record
                    stop.lost = stop.item.record.covers(record.term, record.activated_at_ms)
            held = set(active.restrictions.values())
            for limit in self.limits.values():
                if limit.item.raw not in held and in_force(limit.item, grant):
                    limit.lost = True

    def took_over(self, server: Server) -> None:
        """Find out which ledger entries a failover lost when nobody was there to write them again.

        A stop's entry that could not be written with the stop follows it as a step of its own, and a
        failover may keep the one and lose the other. The command that is still at it writes it again.
        """
        at_work = {raw for person in self.world.people for raw in person.revocations()}
        data = server.data
        self.unwritten |= {raw for raw in data.forced if raw not in data.ledger} - at_work

    # -- what workers see ------------------------------------------------------------------------

    def born(self, worker: Worker) -> None:
        """A process began."""
        self.lives[worker.name] = Life()

    def shown(self, worker: Worker, answer: Answer, server: Server) -> Shown:
        """Note what an answer shows, at the moment it is executed."""
        world, life = self.world, self.lives[worker.name]
        now = world.now
        nothing = Shown(now, now + answer.pttl_ms, frozenset())
        active = server.live(now)
        if not answer.active or active is None:
            return nothing
        grant = world.principals.trust.grant(active.grant)
        term = grant.record.term
        life.shown_at[term] = now
        knows: set[str] = {
            world.principals.trust.restriction(raw).identity for raw in active.restrictions.values()
        }
        for name, raw in answer.beats.items():
            made = self.beats.get(raw)
            if made is None or made.record.term != term or now - made.at > FRESH_MS:
                continue
            life.beat_at[term] = max(life.beat_at.get(term, NEVER), made.at)
            if made.record.n >= life.highest.get((name, term), 0):
                life.highest[name, term] = made.record.n
                if made.record.epoch >= grant.record.epoch:
                    knows |= (
                        made.knows
                    )  # one of before the grant cannot warn: its maker's next one does
        warns = frozenset(i for i in knows if in_force(self.limits[i].item, grant))
        return Shown(now, nothing.ends_at, warns)

    def taken(self, worker: Worker, answer: Answer, shown: Shown) -> None:
        """Note which answer a worker goes by."""
        life = self.lives[worker.name]
        life.told = shown
        if not answer.active:
            life.applied.clear()

    def applied(self, worker: Worker, item: Verified[Restriction]) -> None:
        """Note that a worker has a restriction in force."""
        self.lives[worker.name].applied[item.identity] = item

    def stopped(self, worker: Worker, item: Verified[Revocation]) -> None:
        """Note that a worker has stopped."""
        life = self.lives[worker.name]
        life.stopped.append(item)
        life.applied.clear()

    def receipted(self, node: Node, receipt: Receipt) -> None:
        """A receipt that claims a disk is true of that disk."""
        if receipt.stage is Stage.APPLIED or receipt.durable is not Durable.YES:
            return
        latch = node.disk.latch if node.disk is not None else None
        numbers = [latch.epoch, *(n for n, _ in latch.cards)] if latch is not None else [0]
        if max(numbers) < (receipt.epoch or 0):
            self.fail(
                "durable receipt", f"{node.name} receipts {receipt.epoch}, its disk has {latch}"
            )

    # -- what the venue sees ---------------------------------------------------------------------

    def tried(self, worker: Worker, answer: Permit | Denial) -> None:
        """Count a decision. On one history no later permit has a lower fence."""
        self.tries += 1
        if isinstance(answer, Permit):
            self.permits += 1
            life = self.lives[worker.name]
            if answer.fence < life.fence and self._known(life.fence):
                text = f"{worker.name} has fence {answer.fence} after {life.fence}"
                self.fail("fence", f"{text} in term {answer.term}")
            life.fence = answer.fence

    def _known(self, epoch: int) -> bool:
        """Tell whether a primary still has the directive of that number; a failover may lose it."""
        raws = (raw for server in self.world.serving() for raw in server.data.forced)
        return any(self.epochs.get(raw) == epoch for raw in raws)

    def accepted(self, worker: Worker, permit: Permit) -> None:
        """Judge an order that the venue accepts just now."""
        self.accepts += 1
        world, now, term = self.world, self.world.now, permit.term
        life, timing = self.lives[worker.name], world.timing
        who = f"{worker.name} traded term {term}"
        # A slewed clock is found out at the next read, and runs wrong until then.
        slack = SLEWED_MS if now - worker.slewed_at < SLEW_SEEN_MS else 0.0
        since = now - life.shown_at.get(term, NEVER)
        if since > timing.lease_ms + slack:
            self.fail("lease", f"{who} {since:.0f} ms after it was last shown")
        since = now - life.beat_at.get(term, NEVER)
        if since > timing.beat_ms + slack:
            self.fail(
                "beats", f"{who} {since:.0f} ms after the newest beat it was shown took effect"
            )
        if life.told is None or now > life.told.ends_at + slack:
            self.fail("key", f"{who} after the end of the key that it was told of")
        self._stops(worker, term, who, slack)
        self._limits(worker, permit, who, slack)

    def _stops(self, worker: Worker, term: int, who: str, slack: float) -> None:
        now, life = self.world.now, self.lives[worker.name]
        lease = self.world.timing.lease_ms + slack
        grants = self.grants[term]
        # After a split two terms can have one number.
        began = max(grant.record.activated_at_ms for grant in grants)
        if now + self.world.EPOCH_MS > grants[-1].record.not_after_ms + WINDOW_SLACK_MS:
            self.fail("window", f"{who} after its window")
        for item in life.stopped:
            if item.record.covers(term, began):
                self.fail("latch", f"{who} after it had stopped for {item.record.epoch}")
        disk = worker.disk
        if disk is not None and disk.latch.covers(term, began):
            self.fail("latch", f"{who} although its disk has {disk.latch}")
        for stop in self.stops.values():
            if not stop.item.record.covers(term, began):
                continue
            epoch = stop.item.record.epoch
            if stop.complete_at is not None:
                self.fail(
                    "COMPLETE", f"{who} {now - stop.complete_at:.0f} ms after COMPLETE of {epoch}"
                )
            executed = stop.executed_at
            if executed is not None and not stop.lost and now > executed + lease:
                self.fail("revoke", f"{who} {now - executed:.0f} ms after the revoke {epoch}")

    def _limits(self, worker: Worker, permit: Permit, who: str, slack: float) -> None:
        life, now = self.lives[worker.name], self.world.now
        told = life.told.warns if life.told is not None else frozenset()
        order = f"{who}, {permit.intent} {permit.labels['symbol']}"
        for identity, limit in self.limits.items():
            if not limit.denies(permit, worker.name) or self._void(limit.item):
                continue
            epoch = limit.item.record.epoch
            if identity in life.applied:
                self.fail("restriction", f"{order} after it had applied {epoch}")
            if identity in told:
                self.fail("restriction", f"{order} although its last answer warned of {epoch}")
            if not limit.lost and now > limit.executed_at + self.world.timing.lease_ms + slack:
                self.fail("restriction", f"{order} long after {epoch}")

    def _void(self, item: Verified[Restriction]) -> bool:
        """Tell whether a newer grant of the term, anywhere, does not keep it."""
        return any(not in_force(item, grant) for grant in self.grants[item.record.term])

    # -- what operators are told -----------------------------------------------------------------

    def judged(self, signed: list[Verified[Revocation]], outcome: Outcome) -> None:
        """Note what a revoke said."""
        if outcome.result is not Result.COMPLETE:
            return
        if not outcome.heartbeats:
            self.fail("COMPLETE", "said without a heartbeat to ask")
        if not outcome.workers:
            self.fail("COMPLETE", "said without a worker to ask")
        instances = {row.pod.instance for row in outcome.workers}
        for worker in self.world.workers:
            held = {permit.term for permit in worker.holds}
            if worker.instance in instances and any(self._covered(signed, term) for term in held):
                self.fail("drained", f"COMPLETE while {worker.name} holds an order of {held}")
        for item in signed:
            stop = self.stops[item.identity]
            if stop.complete_at is None:
                stop.complete_at = self.world.now

    def _covered(self, signed: list[Verified[Revocation]], term: int) -> bool:
        began = max(grant.record.activated_at_ms for grant in self.grants[term])
        return any(item.record.covers(term, began) for item in signed)

    # -- the end ---------------------------------------------------------------------------------

    def sample(self) -> None:
        """Measure how much of the fleet is armed while a term is in force."""
        world = self.world
        if world.primary.live(world.now) is None:
            return
        self._bounded()
        armed = [worker.armed for worker in world.workers]
        self.samples += len(armed)
        self.armed_samples += sum(armed)
        if world.fresh_term and all(armed) and self.armed_after_ms is None:
            self.armed_after_ms = world.now - world.calm_from

    def _bounded(self) -> None:
        """What is over for a worker for good was ended by something that covers it: cards are bounded."""
        active = self.world.primary.live(self.world.now)
        grants = self.grants.get(active.term, []) if active is not None else []
        began = {grant.record.activated_at_ms for grant in grants}
        if active is None or len(began) != 1:  # after a split two terms can have one number
            return
        at_ms = began.pop()
        covered = any(s.item.record.covers(active.term, at_ms) for s in self.stops.values())
        for worker in self.world.workers:
            if worker.view.latch.covers(active.term, at_ms) and not covered:
                self.fail(
                    "bounded", f"{worker.name} has latched for term {active.term}: nothing ends it"
                )

    def finish(self) -> None:
        """Judge what must be true in the end."""
        world = self.world
        data = world.primary.data
        idle = {w.name: w.view.verdict.reason.value for w in world.workers if not w.armed}
        if idle or not world.fresh_term:
            said = {host.name: host.last_said for host in world.heartbeats}
            self.fail("liveness", f"not armed when faults had long stopped: {idle} {said}")
        spooled = {raw for person in world.people for raw in person.spooled}
        # Who plays a card goes away: what its script did not enter is for the heartbeats.
        cards = {stop.item.raw for stop in self.stops.values() if stop.item.record.is_card}
        excused = spooled | self.unwritten | cards
        missing = [raw for raw in data.forced if raw not in data.ledger and raw not in excused]
        if missing:
            epochs = [self.epochs.get(raw) for raw in missing]
            self.fail("ledger", f"epochs {epochs} are in force and in no ledger")
        minutes = set(range(int(world.end // 60_000)))
        if minutes - world.fault_minutes:
            self.fail("idle", f"no fault in minutes {sorted(minutes - world.fault_minutes)}")
        if minutes - world.revoke_minutes:
            self.fail("idle", f"no revoke in minutes {sorted(minutes - world.revoke_minutes)}")
