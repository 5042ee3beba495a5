"""Operators: people who run the product's own commands, sometimes both at once, sometimes giving up.

Activating, halting, resuming, revoking and collecting receipts is the code of `operator/`,
`revoke.py`, `fleet.py`, `ledger.py`, `numbering.py` and the barrier; only the connections are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from golive_redis.config.policy import Policy
from golive_redis.core.barrier import Outcome
from golive_redis.delivery import append as ledger
from golive_redis.delivery.tombstone import reassert
from golive_redis.errors import GoliveError, StoreError
from golive_redis.operator import forgetting, grants, restrictions
from golive_redis.operator.activation import Activation
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind, RestrictionKind, Revocation
from golive_redis.records.envelope import Signer, Verified, decode, seal
from golive_redis.records.epoch import newest
from golive_redis.records.report import Finding
from golive_redis.records.report import Outcome as Passed
from golive_redis.records.trust import Trust
from golive_redis.stop.confirmation import Confirmation
from golive_redis.stop.memory import Memory
from golive_redis.stop.revoke import Revoke
from golive_redis.store.keyspace import Keyspace
from golive_redis.store.store import Store

from . import faults, fibers
from .nodes import Node
from .trust import NAMESPACE
from .wire import Conn

if TYPE_CHECKING:
    from .world import World

LABELS = ({"symbol": "BTC"}, {"symbol": "ETH"}, {"worker": "w1"}, {})
GIVES_UP = 0.05
PLAYS = 0.06
CARDS_IN = 4  # of so many worlds one has stop cards
FORGETS = 0.05


class SimSpool:
    """`Spool` in memory; an operator's host never loses it."""

    def __init__(self, folder: Path) -> None:
        self._kept = fibers.node().spooled

    def keep(self, record: bytes) -> Path:
        if record not in self._kept:
            self._kept.append(record)
        return Path("spool")

    def drop(self, record: bytes) -> None:
        if record in self._kept:
            self._kept.remove(record)

    def waiting(self) -> list[bytes]:
        return list(self._kept)

    def send(self, store: Store, trust: Trust, say: Any, *, limit: int = 0) -> int:
        for record in list(self._kept):
            try:
                if decode(record).payload_type == Revocation.payload_type():
                    item = trust.revocation(record)
                    reassert(store, trust, item, reach_ms=item.record.reach_ms())
                ledger.append_once(store, record)
            except StoreError:
                break
            self.drop(record)
        return 0


class SimAddress:
    """`Address` of the one simulated store."""

    keyspace = Keyspace(NAMESPACE)
    shown = "redis://simulated"

    def link(self, *, timeout_ms: float, **_: Any) -> Conn:
        return Conn(fibers.node(), timeout_ms)


def remembered(_: Path) -> Memory:
    """`Memory`: what this operator's host holds between commands."""
    return fibers.node().memory


class SimConfig:
    """`Config` of an operator."""

    path = "go_live.yaml"
    policy_digest = "0" * 64
    lines: ClassVar[dict[str, int]] = {}

    def __init__(self, person: Person) -> None:
        self._person = person
        self.policy = POLICY
        self.state_dir = Path("state")

    def trust(self) -> Trust:
        return self._person.world.principals.trust

    def stop_trust(self) -> Trust:
        return self.trust()

    def address(self) -> SimAddress:
        return SimAddress()

    def stop_may_wait(self, key: str | None = None) -> bool:
        return False

    def stop_signer(self, keyset: Any, key: str | None = None, ask: Any = None) -> Signer:
        return self.signer("operator", keyset)

    def signer(self, role: str, keyset: Any) -> Signer:
        return self._person.world.principals.signers[self._person.name]


POLICY = msgspec.convert(
    {
        "environment": "simulation",
        "activation_enabled": True,
        "required_preflight": [],
        "window_minutes": 60,
        # Its people stop and start all the time; docs/model/Adoption.tla is about haste.
        "cool_down": "0s",
        "activations_per_day": 0,
        "keys": {"operator": "operator.pem"},
        "profiles": {
            "micro": {
                "currency": "USD",
                "max_order_notional": "25",
                "max_position_notional": "100",
                "max_daily_loss": "10",
                "max_orders_per_minute": 600,
            }
        },
    },
    Policy,
)


class SimRevoke(Revoke):
    """The product's, and the checkers are told what it does."""

    def __init__(self, person: Person, **options: Any) -> None:
        self._person = person
        super().__init__(SimConfig(person), reason="drill", **options)  # type: ignore[arg-type]

    def _sign(self, epoch: int, *, blind: bool) -> bool:
        signed = super()._sign(epoch, blind=blind)
        assert signed, "these people have their keys in memory"
        self._person.world.checker.signed(self._progress.newest)
        return signed

    def _send(self) -> None:
        self._person.world.storm(faults.AROUND_STOPS)
        super()._send()

    def _confirm(self, confirmation: Confirmation) -> Outcome:
        outcome = super()._confirm(confirmation)
        self._person.world.checker.judged(self._progress.signed, outcome)
        return outcome


class Person(Node):
    """An operator at a host of their own, whose wall clock is kept by NTP."""

    def __init__(self, world: World, name: str, *, busy: bool) -> None:
        super().__init__(world, name)
        self.wall_off_ms = world.random.uniform(-50, 50)
        self.busy = busy
        self.memory = Memory(None)
        self.tidying = Random(name)
        self.cards = Random(f"{name} {world.seed}")
        self.card: Verified[Revocation] | None = None
        self.start()

    def start(self) -> None:
        """Sit down."""
        self.doing = ""
        self.known = 0
        self.unconfirmed = False
        self.stopping: SimRevoke | None = None
        self.bell = fibers.SimEvent()
        fibers.spawn(self, self.live)

    def live(self) -> None:
        """Do something every now and then."""
        random = self.world.random
        while True:
            self.bell.wait(random.uniform(0.6, 1.4))
            self.bell.clear()
            what = self.choose() or self.tidy() or self.consider_card()
            if not what:
                continue
            self.doing = what
            found = newest(self.memory.directives(), self.world.principals.trust)
            self.known = found.record.epoch if found is not None else 0
            self.world.count(f"commands: {what}")
            try:
                getattr(self, what)()
            except GoliveError as error:
                self.world.count(f"refused: {what}: {type(error).__name__}")
                self.world.note(f"{self.name}: {what}: {error.message}")
                self.unconfirmed = "not confirmed" in error.message
            self.doing = ""
            self.memory.states = [self.memory.newest]

    def choose(self) -> str:
        """Return what to do next; looking at the screen costs nothing."""
        world, draw = self.world, self.world.random.random()
        term = world.primary.live(world.now)
        active = term is not None
        if world.calm:
            if term is None or term.term != world.fresh_term:
                world.fresh_term = 0  # a command of before the calm has ended it
            return self.choose_calm(active=active)
        if world.revoke_is_due():
            return "revoke"
        if not self.busy:
            draw *= 4.0  # the second operator does a quarter of the work, often at the same moment
        if not active:
            again = self.unconfirmed and world.random.random() < 0.3
            return "" if draw > 0.5 else "revoke" if again else "activate"
        table = (
            ("revoke", 0.03),
            ("halt", 0.05),
            ("reduce", 0.02),
            ("loosen", 0.06),
            ("extend", 0.01),
        )
        for what, share in table:
            if draw < share:
                return what
            draw -= share
        return ""

    def tidy(self) -> str:
        """With nothing else to do, look after workers that are gone; by dice of their own."""
        return "forget" if self.tidying.random() < FORGETS and self.silent() else ""

    def consider_card(self) -> str:
        """With nothing else to do, issue a stop card, or play the one in hand: in time, late, or again."""
        world = self.world
        if world.seed % CARDS_IN != CARDS_IN - 1 or world.calm or self.cards.random() >= PLAYS:
            return ""
        if self.card is None or self.cards.random() < 0.3:
            return "issue_card"
        return "play_card"

    def silent(self) -> list[str]:
        """Return the processes on the roster that are dead, or are silent and hold no order.

        Of the others an operator's word would be wrong about what they may still send.
        """
        world = self.world
        lives = {f"{worker.name}:{worker.instance}": worker for worker in world.workers}
        fields = world.primary.pods("worker", world.now)
        return [
            f"{item.name}:{item.instance}"
            for item in fields
            if not item.fields
            and ((it := lives.get(f"{item.name}:{item.instance}")) is None or not it.holds)
        ]

    def choose_calm(self, *, active: bool) -> str:
        """When the faults are over one of them starts anew."""
        world = self.world
        if not self.busy or any(person.doing for person in world.people if person is not self):
            return ""
        if world.revoke_is_due():
            return "revoke"
        return "" if world.fresh_term else "revoke" if active else "activate"

    # -- commands --------------------------------------------------------------------------------

    def revoke(self) -> None:
        """`golive revoke`, now and then with a word about a heartbeat that is dead, or in a hurry."""
        world = self.world
        dead = frozenset(h.name for h in world.heartbeats if h.dead and world.random.random() < 0.7)
        # Processes whose worker runs as another by now are dead, and people see that on the host.
        gone = world.primary.data.fleet if world.random.random() < 0.5 else ()
        live = {f"{worker.name}:{worker.instance}" for worker in world.workers}
        for host in world.heartbeats:
            host.attested |= host.name in dead
        world.revoking(self)
        if world.random.random() < GIVES_UP and not world.calm:
            self.later(world.random.uniform(0, 3_000), self.give_up)
        self.stopping = SimRevoke(self, dead=dead, dead_workers=frozenset(gone) - live)
        report = self.stopping.run()
        self.stopping = None
        world.count(
            f"result: {report.outcome.result}"
            + (f" by {report.outcome.by}" if report.outcome.by else "")
        )
        world.count(f"ledger: {report.ledger}")
        world.note(
            f"{self.name}: revoked {report.epoch}: {report.outcome.result} {report.outcome.by}"
        )

    def forget(self) -> None:
        """`golive workers forget`."""
        found = forgetting.forget(Operator(SimConfig(self)), self.silent(), reason="drill")
        lives = {worker.instance for worker in self.world.workers}
        for pod in found.dead:
            self.world.count("forgotten: " + ("lives" if pod.instance in lives else "dead"))
        self.world.note(f"{self.name}: forgot {[pod.short for pod in found.dead]}")

    def issue_card(self) -> None:
        """`golive stop-card`: a number above what is known, and an end that may come before it is played."""
        trust, dice = self.world.principals.trust, self.cards
        now = int(self.wall())
        record = Revocation(
            **trust.heading(self.name, now),
            epoch=Operator(SimConfig(self)).read().snapshot.epoch_hint + dice.randint(1, 6),
            reason="card",
            ticket="",
            blind=False,
            until_ms=now + dice.randint(1_000, 120_000),
        )
        self.card = trust.revocation(seal(record, self.world.principals.signers[self.name]))
        self.world.checker.issued(self.card)

    def play_card(self) -> None:
        """`redis-cli < card.redis`, or PUBLISH alone."""
        card = self.card
        assert card is not None
        store: Any = Operator(SimConfig(self)).store
        self.world.checker.played(card)
        store.publish(SimAddress.keyspace.events, card.raw)
        if self.cards.random() < 0.7:
            store.play(card)
        self.world.count("cards played")
        late = "late" if self.wall() >= card.record.before_ms else "in time"
        self.world.note(f"{self.name}: played card {card.record.epoch}, {late}")

    def revocations(self) -> list[bytes]:
        """Return what the revoke at work has signed."""
        return (
            [item.raw for item in self.stopping._progress.signed]
            if self.stopping is not None
            else []
        )

    def give_up(self) -> None:
        """Ctrl-C, and begin again later."""
        if self.doing == "revoke":
            self.world.count("faults: operator gave up")
            self.kill()
            self.memory.states = [self.memory.newest]
            self.start()

    def activate(self) -> None:
        """`golive activate`."""
        world = self.world
        operator = Operator(SimConfig(self))
        over = world.calm or self.unconfirmed
        self.unconfirmed = False
        activation = Activation(operator, reason="drill", over_unconfirmed=over)
        grant = activation.commit(activation.prepare())
        world.count("activations")
        world.note(f"{self.name}: activated {grant.record.epoch}")
        if world.calm:
            world.fresh_term = grant.record.term

    def halt(self) -> None:
        """`golive halt` for some labels."""
        self._restrict(RestrictionKind.HALT)

    def reduce(self) -> None:
        """`golive reduce` for some labels."""
        self._restrict(RestrictionKind.REDUCE)

    def _restrict(self, kind: RestrictionKind) -> None:
        world = self.world
        labels = world.random.choice(LABELS)
        world.storm(faults.AROUND_HALTS)
        done = restrictions.restrict(Operator(SimConfig(self)), kind, reason="drill", labels=labels)
        world.count(f"restrictions: {kind}")
        world.note(f"{self.name}: {kind} {done.restriction.record.epoch} {labels}")

    def loosen(self) -> None:
        """`golive resume` or `golive restore`."""
        world = self.world
        kind = world.random.choice((GrantKind.RESUME, GrantKind.RESTORE))
        every = world.random.random() < 0.3
        labels = world.random.choice(LABELS)
        done = grants.loosen(
            Operator(SimConfig(self)), kind, reason="drill", labels=labels, every=every
        )
        world.count("resumes")
        world.note(f"{self.name}: {kind} {done.grant.record.epoch}")

    def extend(self) -> None:
        """`golive extend`."""
        done = grants.loosen(
            Operator(SimConfig(self)), GrantKind.EXTEND, reason="drill", minutes=90
        )
        self.world.note(f"{self.name}: extend {done.grant.record.epoch}")


def no_checks(*_: Any, **__: Any) -> list[Finding]:
    """Everything is well: there is no server to look at."""
    return [Finding(check="simulated", outcome=Passed.PASS, explain="")]


def tried_again(step: Callable[[], Any], *, again: type[Exception], tries: int) -> Any:
    """`retried`, in simulated time and with the world's own dice."""
    for left in reversed(range(tries)):
        try:
            return step()
        except again:
            if not left:
                raise
        fibers.sleep(fibers.node().world.random.uniform(1, 20))
    raise AssertionError("no try at all")
