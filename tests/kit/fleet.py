"""A configuration on disk, and the processes and operators that work with it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.config import keyfile
from golive_redis.core.state import assemble
from golive_redis.core.timing import Timing
from golive_redis.errors import GoliveError
from golive_redis.operator import grants, restrictions, status
from golive_redis.operator.activation import Activated, Activation
from golive_redis.operator.session import Operator
from golive_redis.records.beat import Beat
from golive_redis.records.directive import GrantKind, RestrictionKind
from golive_redis.records.envelope import decode, peek, seal
from golive_redis.records.keyset import encode_public
from golive_redis.records.ledger import Entry, Note, first_break
from golive_redis.stop.progress import StopReport
from golive_redis.stop.revoke import Revoke
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing import FLEET
from golive_redis.testing.server import EmbeddedServer
from kit.processes import PATIENCE_MS, Beating, Process, Span, Worker

# A fifth of `standard`, but for what a busy machine needs: the longest time-out that the lease and
# 100 ms more of `beat_ms` leave room for, and a term that outlives a minute without a turn.
FIFTH = {
    "beat_every_ms": 200,
    "read_every_ms": 100,
    "timeout_ms": 95,
    "rho": 0.10,
    "lease_ms": 500,
    "beat_ms": 1200,
    "failover_ms": 30_000,
    "ttl_ms": 60_000,
    "drain_ms": 1000,
}
LIMITS = {
    "currency": "USD",
    "max_order_notional": "25",
    "max_position_notional": "100",
    "max_daily_loss": "10",
    "max_orders_per_minute": 60,
}


class Fleet:
    """A configuration on disk and the processes that a test has started on it.

    Args:
        server: Which it runs on; nothing of it is stopped or configured here.
        folder: Of its files.
        timing: `fifth` (of `standard`), a name that the configuration knows, or what differs
            from the fifth.
        approvals: How many approvers a grant needs.
        settings: Further settings of the configuration file.
    """

    def __init__(
        self,
        server: EmbeddedServer,
        folder: Path,
        *,
        timing: str | Mapping[str, Any] = "fifth",
        approvals: int = 1,
        **settings: Any,
    ) -> None:
        self.server = server
        self.folder = folder
        self.raw: redis.Redis = server.client()
        self.processes: list[Process] = []
        self.workers: dict[str, Worker] = {}
        self.heartbeats: dict[str, Beating] = {}
        self._made = 0
        folder.mkdir(exist_ok=True)
        self.principals: dict[str, Any] = {}
        for name, role in [
            ("alice", "approver"),
            ("bob", "approver"),
            ("hb-1", "heartbeat"),
            ("hb-2", "heartbeat"),
            ("hb-3", "heartbeat"),
            ("workers", "worker"),
        ]:
            self.add_principal(name, role)
        self._approvals = approvals
        self.fleet_id = FLEET
        self.write_keyset()
        self.settings: dict[str, Any] = {
            "environment": "test",
            "activation_enabled": True,
            "profiles": {"micro": LIMITS},
            "store": {"url": server.url},
            "keys": {
                "keyset": "keyset.yaml",
                "operator": "alice.pem",
                "heartbeat": "{name}.pem",
                "worker": "workers.pem",
            },
            "state_dir": "state",
            "timing": _timing(timing),
            # Tests stop and start all the time; those that are about haste say so.
            "cool_down": "0s",
            "activations_per_day": 0,
            **settings,
        }
        self.path = self.write_config("go_live.yaml")
        self.config = configuration.load(self.path, environ={})

    # -- files -----------------------------------------------------------------------------------

    @property
    def timers(self) -> Timing:
        return self.config.policy.timers

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    def add_principal(self, name: str, *roles: str) -> None:
        """Make a key for a principal; `write_keyset` tells the others."""
        private = keyfile.generate()
        keyfile.write(self.folder / f"{name}.pem", private)
        public = encode_public(private.public_key())
        self.principals[name] = {"roles": list(roles), "keys": [public]}
        if name == "workers":  # one key for all of them
            self.principals[name]["shared"] = True

    def write_keyset(self, name: str = "keyset.yaml", *, without: Sequence[str] = ()) -> None:
        known = {k: v for k, v in self.principals.items() if k not in without}
        keyset = {
            "version": 1,
            "fleet": self.fleet_id,
            "principals": known,
            "thresholds": {"approver": self._approvals},
        }
        (self.folder / name).write_text(yaml.safe_dump(keyset))

    def write_config(self, name: str = "", **changes: Any) -> Path:
        """Write the settings with changes; `url`, `keyset` and dotted names reach inside."""
        settings = json.loads(json.dumps(self.settings))
        for key, value in changes.items():
            match key:
                case "url":
                    settings["store"]["url"] = value
                case "keyset":
                    settings["keys"]["keyset"] = value
                case _:
                    settings[key] = value
        self._made += 1
        path = self.folder / (name or f"go_live-{self._made}.yaml")
        path.write_text(yaml.safe_dump(settings))
        return path

    # -- processes -------------------------------------------------------------------------------

    def start_worker(
        self,
        name: str,
        *,
        wait: bool = True,
        config: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Worker:
        """Start a worker.

        Args:
            name: Its id; several processes may share one, `workers` holds the newest.
            wait: Return only when it has opened its guard.
            config: Changes of the settings for this one: `url`, `state_dir`, `environment` ...
            options: See programs/worker.py.
        """
        path = self.write_config(**config) if config else self.path
        log = self._log(name)
        worker = Worker(name, "worker", str(path), name, json.dumps(options), log=log)
        self.workers[name] = worker
        self.processes.append(worker)
        if wait:
            worker.wait_ready()
        return worker

    def start_workers(self, *names: str, **options: Any) -> list[Worker]:
        """Start several at once."""
        workers = [self.start_worker(name, wait=False, **options) for name in names]
        for worker in workers:
            worker.wait_ready()
        return workers

    def start_heartbeat(
        self,
        name: str = "hb-1",
        *,
        wait: bool = True,
        config: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Beating:
        """Start a heartbeat and return when it has registered."""
        path = self.write_config(**config) if config else self.path
        log = self._log(name)
        beating = Beating(name, "heartbeat", str(path), name, json.dumps(options), log=log)
        beating.environment = {**self.settings, **(config or {})}["environment"]
        self.heartbeats[name] = beating
        self.processes.append(beating)
        if wait:
            beating.wait_ready()
        return beating

    def _log(self, name: str) -> Path:
        return self.folder / f"{len(self.processes)}-{name}.stderr"

    def wait_all_armed(self, *, within_ms: float = PATIENCE_MS) -> None:
        """Wait until every worker that lives permits orders now."""
        deadline = time.monotonic() + within_ms / 1000
        for worker in [p for p in self.processes if isinstance(p, Worker) and p.alive]:
            # Asked, because a closure of just now may not have been told yet; and told, because
            # a test goes on to read `states()`.
            while not (worker.ask("status")["allowed"] and worker.allowed):
                if time.monotonic() > deadline:
                    pytest.fail(f"{worker.name} not armed: {worker.states()}\n{worker.stderr()}")
                time.sleep(0.02)

    # -- the operator ----------------------------------------------------------------------------

    def activate(
        self, reason: str = "test", *, wait_s: float = 10, config: Any = None, **options: Any
    ) -> Activated:
        """Activate and wait until everybody is armed, as `golive activate` does.

        Other than the command, first until each process has said and seen what that takes.
        """
        with Operator(config or self.config) as operator:
            activation = Activation(operator, reason=reason, **options)
            self._wait_reported(operator)
            reading = activation.prepare()
            self._wait_seen_off(operator.config.policy.environment)
            return activation.wait_armed(activation.commit(reading), wait_s)

    @staticmethod
    def _wait_reported(operator: Operator) -> None:
        """Give every worker time to say what it runs, without which the preflight refuses it."""
        deadline = time.monotonic() + 10
        with suppress(GoliveError):  # told by what comes after
            while time.monotonic() < deadline:
                if all(item.version for item in status.read(operator).workers if item.alive):
                    break
                time.sleep(0.02)

    def _wait_seen_off(self, environment: str) -> None:
        """Give its heartbeats time to see that nothing is active, without which S13 keeps them silent.

        On a busy machine a stop and the next activation may fit between two of its reads.
        """
        deadline = time.monotonic() + 10
        for beating in self.heartbeats.values():
            if beating.environment != environment:
                continue
            while beating.alive and not beating.stopped and time.monotonic() < deadline:
                if beating.ask("status")["waiting_for"] == "nothing is active":
                    break
                time.sleep(0.02)

    def go_live(self, *workers: str, heartbeats: Sequence[str] = ("hb-1",), **options: Any) -> None:
        """Start heartbeats and workers, activate, and wait until all are armed."""
        for name in heartbeats:
            self.start_heartbeat(name, wait=False)
        self.start_workers(*workers, **options)
        for process in self.processes:
            process.wait_ready()
        self._wait_registered()
        self.activate()
        self.wait_all_armed()

    def _wait_registered(self) -> None:
        """Give everybody time to be on the rosters: only then does an activation know of them."""
        names = Keyspace(self.config.policy.namespace)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            have = self.raw.zcard(names.fleet), self.raw.hlen(names.heartbeats)
            if have[0] >= len(self.workers) and have[1] >= len(self.heartbeats):
                break
            time.sleep(0.02)

    @property
    def patient(self) -> Any:
        """A configuration for whose operator no stop is over by time: it waits for the receipts."""
        timing = {**self.settings["timing"], "beat_ms": 60_000, "ttl_ms": 150_000}
        return configuration.load(self.write_config(timing=timing), environ={})

    def revoke(self, reason: str = "test", *, config: Any = None, **options: Any) -> StopReport:
        """Revoke, and collect until it is settled, however long this machine takes for it."""
        options.setdefault("wait_ms", PATIENCE_MS)
        return Revoke(config or self.config, reason=reason, **options).run()

    def revoke_until(self, true: Callable[[StopReport], object], **options: Any) -> StopReport:
        """Revoke, which repeats the same stop, until its report is as the test needs it.

        For a stop that cannot be settled: it would be collected for as long as it may take.
        """
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not true(report := self.revoke(**options)):
            assert time.monotonic() < deadline, report
        return report

    def halt(self, reason: str = "test", **labels: str) -> restrictions.Restricted:
        with Operator(self.config) as operator:
            return restrictions.restrict(
                operator, RestrictionKind.HALT, reason=reason, labels=labels
            )

    def resume(self, reason: str = "test", **labels: str) -> None:
        with Operator(self.config) as operator:
            grants.loosen(operator, GrantKind.RESUME, reason=reason, labels=labels)

    def status(self) -> Any:
        with Operator(self.config) as operator:
            return status.read(operator)

    def records(self, kind: str) -> list[str]:
        """Identities of the ledger's records of one kind, after a look at the chain."""
        names = Keyspace(self.config.policy.namespace)
        entries = [fields for _, fields in self.raw.xrange(names.audit)]
        assert first_break(Entry(e[b"r"], e[b"h"].decode()) for e in entries) is None
        items = [decode(entry[b"r"]) for entry in entries]
        return [item.identity for item in items if item.payload_type.split(".")[-2] == kind]

    def notes(self) -> list[Note]:
        """The ledger's notes, in their order."""
        entries = [fields[b"r"] for _, fields in self.raw.xrange("golive:audit")]
        found = [raw for raw in entries if decode(raw).payload_type == Note.payload_type()]
        return [peek(raw, Note) for raw in found]

    def spooled(self) -> list[str]:
        """Names of the records that wait in the operator's spool."""
        return sorted(path.name for path in (self.state_dir / "spool").glob("*.dsse.json"))

    @staticmethod
    def timed(act: Callable[[], Any]) -> Span:
        """Do it, and return when it began and was done."""
        began_ns = clock.now_ns()
        result = act()
        return Span(began_ns, clock.now_ns(), result)

    def timed_revoke(self, *, config: Any = None) -> Span:
        """Revoke; the span ends when the store had it, the result is the report."""
        began_ns = clock.now_ns()
        report = self.revoke(config=config)
        assert report.in_redis_ms is not None, report.problems
        return Span(began_ns, began_ns + int(report.in_redis_ms * clock.NS_PER_MS), report)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        self.raw.close()

    def defects(self) -> list[str]:
        """What a process has logged as a defect of ours, or died of."""
        marks = ("a defect in", "Traceback (most recent")
        return [
            f"{process.name}:\n{process.stderr()}"
            for process in self.processes
            if any(mark in process.stderr() for mark in marks)
        ]


def _timing(timing: str | Mapping[str, Any]) -> str | dict[str, Any]:
    if isinstance(timing, str) and timing != "fifth":
        return timing
    return FIFTH if isinstance(timing, str) else {**FIFTH, **timing}


@contextmanager
def forging(live: Fleet, name: str) -> Iterator[None]:
    """Beat for whatever is active with the key of `name`, as a heartbeat without memory would."""
    trust, timers = live.config.trust(), live.timers
    signer = live.config.signer("heartbeat", trust.keyset, name=name)
    state = assemble(trust.grant(live.raw.hget("golive:active", "grant")), ())
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(timers.beat_every_ms / 1000):
            now = clock.wall_ms()
            record = Beat(
                **trust.heading(name, now),
                heartbeat=name,
                term=state.term,
                epoch=state.epoch,
                set=state.digest,
                n=now,
            )
            live.raw.hset("golive:beat", name, seal(record, signer))
            live.raw.pexpire("golive:active", timers.ttl_ms)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def fleets(folder: Path) -> Iterator[Callable[..., Fleet]]:
    """Make fleets, end them all, and fail when one of their processes had a defect."""
    made: list[tuple[Fleet, bool]] = []

    def make(server: EmbeddedServer, *, defects: bool = False, **settings: Any) -> Fleet:
        out = Fleet(server, folder / f"fleet-{len(made)}", **settings)
        made.append((out, defects))
        return out

    try:
        yield make
    finally:
        for item, _ in made:
            item.close()
    for item, defects in made:
        assert defects or not item.defects(), "\n".join(item.defects())
