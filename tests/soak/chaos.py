"""The faults of the soak: seeded, each with its end, and what each of them forbids."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import redis

from golive_redis.core.timing import Timing
from kit.fleet import Fleet
from kit.processes import Proxy
from kit.sentinels import SERVICE, SentinelSet

from .judge import Ban
from .processes import Child

MS = 1_000_000
EVERY_S = (1.0, 3.0)
PATIENCE_MS = 60_000  # fifty workers may leave a proxy little of a small machine
DEPOSED_NS = 20 * 1_000_000_000
REJOIN_S = 5.0  # after the kill of a primary; Sentinel promotes within three
# Until a heartbeat that was killed runs again, and a roster is whole.
RECOVER_NS = 5 * 1_000_000_000
NEVER_NS = 2**62


class Chaos:
    """Brings faults about and takes them back; call `turn` often.

    Args:
        random: Decides what and when.
        timing: The timers of the fleet.
        servers: The Sentinel set.
        fleet: Its heartbeats.
        workers: By name.
        networks: Proxies, each with the names of the workers behind it.

    Attributes:
        counts: Faults by kind.
        bans: What follows from them.
        events: What happened when, in ns, to explain a late order.
        unsettled: Spans in which what a primary acknowledged may have been lost, in ns.
        troubles: Spans in which a heartbeat, or the servers, had no chance to answer in time, in ns.
    """

    def __init__(
        self,
        random: Random,
        timing: Timing,
        servers: SentinelSet,
        fleet: Fleet,
        workers: dict[str, Child],
        networks: Sequence[tuple[Proxy, frozenset[str]]],
    ) -> None:
        self._random = random
        self._timing = timing
        self._servers = servers
        self._fleet = fleet
        self._workers = workers
        self._networks = list(networks)
        self._busy: set[object] = set()
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._next_at = 0.0
        self._led_to = servers.nodes[0]
        self.counts: Counter[str] = Counter()
        self.bans: list[Ban] = []
        self.events: list[tuple[int, str]] = []
        self.unsettled: list[tuple[int, int]] = []
        self.troubles: list[tuple[int, int]] = []
        self._kinds: list[tuple[int, Callable[[], bool]]] = [
            (4, self.freeze_workers),
            (3, self.kill_worker),
            (2, self.freeze_heartbeat),
            (2, self.kill_heartbeat),
            (1, self.freeze_heartbeats),
            (3, self.cut_network),
            (2, self.pause_clients),
            (1, self.flush),
            (2, self.freeze_primary),
            (3, self.lose_primary),
            (2, self.lose_primary_and_writes),
            (1, self.change_roles),
        ]

    # -- the clockwork -----------------------------------------------------------------------------

    def turn(self) -> None:
        """End what is due, follow the primary, and perhaps bring about one more fault."""
        self._end_due(time.monotonic())
        self.follow()
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + self._random.uniform(*EVERY_S)
        weights = [weight for weight, _ in self._kinds]
        ((_, fault),) = self._random.choices(self._kinds, weights)
        with suppress(redis.RedisError):  # the server is gone already
            if fault():
                self._note(fault.__name__)
                self.counts[fault.__name__] += 1

    def finish(self) -> None:
        """End every fault."""
        self._end_due(float("inf"))
        self.follow()

    def _note(self, text: str) -> None:
        self.events.append((time.monotonic_ns(), text))

    def _end_due(self, now: float) -> None:
        due = [item for item in self._later if item[0] <= now]
        self._later = [item for item in self._later if item[0] > now]
        for _, end in sorted(due, key=lambda item: item[0]):
            end()

    def _after(self, seconds: float, end: Callable[[], None], *held: object) -> None:
        """Do that later; until then no other fault touches what is held."""
        self._busy.update(held)
        who = {self._servers, *self._fleet.heartbeats}
        trouble = self._trouble() if who.intersection(held) else lambda: None

        def done() -> None:
            end()
            self._busy.difference_update(held)
            trouble()

        self._later.append((time.monotonic() + seconds, done))

    def _trouble(self) -> Callable[[], None]:
        """Note that nobody can count on an answer from now on, until what this returns is called."""
        number, began_ns = len(self.troubles), time.monotonic_ns()
        self.troubles.append((began_ns, NEVER_NS))

        def over() -> None:
            self.troubles[number] = (began_ns, time.monotonic_ns() + RECOVER_NS)

        return over

    def _free(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self._busy]

    def follow(self) -> None:
        """Lead the proxies to the primary, as a load balancer would."""
        for sentinel in self._servers.sentinels:
            with suppress(redis.RedisError), sentinel.client() as client:
                port = int(client.sentinel_get_master_addr_by_name(SERVICE)[1])
                (primary,) = (node for node in self._servers.nodes if node.port == port)
                if primary is not self._led_to:
                    self._led_to = primary
                    self._promoted(port)
                    for network, _ in self._networks:
                        network.begin("lead", port=port)
                return

    def _promoted(self, port: int) -> None:
        """Whoever caused it: a paused or a busy primary is deposed as well as a dead one.

        Sentinel tells a deposed primary that is alive only after some 8 s, and until then it serves
        everybody who is still connected: there is no common truth so long.
        """
        self._note(f"{port} is the primary")
        now_ns = time.monotonic_ns()
        self.unsettled.append((now_ns - DEPOSED_NS // 2, now_ns + DEPOSED_NS))
        self.troubles.append((now_ns - RECOVER_NS, now_ns + 2 * RECOVER_NS))

    # -- workers and heartbeats --------------------------------------------------------------------

    def freeze_workers(self) -> bool:
        free = self._free(list(self._workers))
        for name in self._random.sample(free, min(len(free), self._random.randint(1, 5))):
            worker = self._workers[name]
            worker.pause()
            self._after(self._random.uniform(1, 8), worker.resume, name)
        return bool(free)

    def kill_worker(self) -> bool:
        free = self._free(list(self._workers))
        if not free:
            return False
        name = self._random.choice(free)
        self._workers[name].kill()
        self._after(self._random.uniform(0, 2), self._workers[name].start, name)
        return True

    def freeze_heartbeat(self) -> bool:
        free = self._free(list(self._fleet.heartbeats))
        if not free:
            return False
        name = self._random.choice(free)
        beating = self._fleet.heartbeats[name]
        beating.pause()
        self._after(self._random.uniform(1, 8), beating.resume, name)
        return True

    def kill_heartbeat(self) -> bool:
        free = self._free(list(self._fleet.heartbeats))
        if not free:
            return False
        name = self._random.choice(free)
        self._fleet.heartbeats[name].kill()

        def again() -> None:
            self._fleet.start_heartbeat(name, wait=False)

        self._after(self._random.uniform(0.2, 2), again, name)
        return True

    def freeze_heartbeats(self) -> bool:
        """All of them, for longer than the fleet lives without a beat."""
        names = list(self._fleet.heartbeats)
        if self._free(names) != names:
            return False
        for name in names:
            self._fleet.heartbeats[name].pause()
        frozen_ns = time.monotonic_ns()

        def resume() -> None:
            bound_ns = frozen_ns + self._timing.beat_ms * MS
            self.bans.append(Ban("no beat", bound_ns, time.monotonic_ns()))
            for name in names:
                self._fleet.heartbeats[name].resume()

        self._after(self._timing.beat_ms / 1000 + self._random.uniform(1, 3), resume, *names)
        return True

    # -- the network -------------------------------------------------------------------------------

    def cut_network(self) -> bool:
        free = [item for item in self._networks if item[0] not in self._busy]
        if not free:
            return False
        network, behind = self._random.choice(free)
        self._set(network, self._random.choice(("blackhole", "cut")))
        cut_ns = time.monotonic_ns()

        def mend() -> None:
            bound_ns = cut_ns + self._timing.lease_ms * MS
            self.bans.append(Ban("cut off", bound_ns, time.monotonic_ns(), behind))
            self._set(network, "pass")

        self._after(self._random.uniform(1, 8), mend, network)
        return True

    @staticmethod
    def _set(network: Proxy, mode: str) -> None:
        network.ask("set", within_ms=PATIENCE_MS, mode=mode, delay_ms=0)

    # -- the servers -------------------------------------------------------------------------------

    def pause_clients(self) -> bool:
        """CLIENT PAUSE: it takes questions and answers them later."""
        pause_ms = self._random.randint(300, 2_000)
        with self._servers.primary.client() as client:
            client.client_pause(pause_ms)
        self._later.append((time.monotonic() + pause_ms / 1000, self._trouble()))
        return True

    def flush(self) -> bool:
        with self._servers.primary.client() as client:
            client.flushall()
        self._trouble()()
        return True

    def freeze_primary(self) -> bool:
        """Sometimes for longer than Sentinel looks on."""
        if self._servers in self._busy or not self._settled():
            return False
        primary = self._servers.primary
        primary.pause()
        self._unsettle(REJOIN_S, primary.resume, self._random.uniform(0.3, 3))
        return True

    def lose_primary(self) -> bool:
        """SIGKILL it; its replica has nearly everything."""
        if self._servers in self._busy or not self._settled():
            return False
        primary = self._servers.primary
        primary.kill()
        self._unsettle(0, primary.restart, REJOIN_S)
        return True

    def lose_primary_and_writes(self) -> bool:
        """Freeze the replica, cut its link, and kill the primary a moment later."""
        if self._servers in self._busy or not self._settled():
            return False
        primary, replica = self._servers.primary, self._servers.replica
        self._servers.part()
        lag_s = self._random.uniform(0.2, 1.5)

        def lose() -> None:
            primary.kill()
            replica.resume()

        self._after(lag_s, lose)
        self._unsettle(0, primary.restart, lag_s + REJOIN_S)
        return True

    def change_roles(self) -> bool:
        """By command, with both well."""
        if self._servers in self._busy or not self._settled():
            return False
        with self._servers.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)
        self._unsettle(REJOIN_S, lambda: None, 0.1)
        return True

    def _settled(self) -> bool:
        """Tell whether a failover can succeed: the other server has everything and follows live."""
        return self._servers.follows(self._servers.primary)

    def _unsettle(self, more_s: float, end: Callable[[], Any], after_s: float) -> None:
        """From now on a write may be lost, until well after the end of this fault."""
        began_ns = time.monotonic_ns()

        def ended() -> None:
            end()
            spare_ns = int((more_s + REJOIN_S) * 1000 * MS)
            self.unsettled.append((began_ns, time.monotonic_ns() + spare_ns))

        self._after(after_s, ended, self._servers)
