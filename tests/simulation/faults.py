"""What goes wrong: single faults over the whole run, and storms of several around a stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import fibers
from .model import Data

if TYPE_CHECKING:
    from .nodes import HeartbeatHost, Node
    from .world import World

FAULT_EVERY_MS = 10_000.0
WEATHER_EVERY_MS = 20_000.0


def plan(world: World) -> None:
    """Draw faults over the whole run: at least one in each minute."""
    random = world.random
    for minute in range(int(world.end // 60_000)):
        world.at(minute * 60_000 + random.uniform(2_000, 18_000), one, world)
        world.at(minute * 60_000 + random.uniform(18_000, 20_000), at_least_one, world)
    at = 3_000.0
    while at < world.calm_from:
        world.at(at, one, world)
        at += random.expovariate(world.severity / FAULT_EVERY_MS)
    at = random.uniform(0, WEATHER_EVERY_MS)
    while at < world.calm_from:
        world.at(at, weather, world)
        at += random.uniform(0.3, 1.7) * WEATHER_EVERY_MS


def one(world: World) -> None:
    """One fault."""
    if not world.calm:
        world.random.choice(KINDS)(world)


def at_least_one(world: World) -> None:
    """A fault that always has something to break, should this minute have had none yet."""
    if not world.calm and world.minute not in world.fault_minutes:
        cut(world)


def until(world: World, least: float, most: float) -> float:
    """Return an instant that many ms ahead, but not in the calm."""
    return min(world.now + world.random.uniform(least, most), world.calm_from)


def weather(world: World) -> None:
    """The network changes."""
    from .world import FINE, Weather  # noqa: PLC0415  (it imports this module)

    pick = world.random.choice
    if world.calm or world.random.random() < 0.4 / world.severity:
        world.weather = FINE
        return
    world.weather = Weather(
        loss=pick((0.0, 0.0, 0.01, 0.1, 0.3)),
        max_delay=pick((5.0, 30.0, 110.0, 240.0, 900.0)),
        push_loss=pick((0.0, 0.2, 1.0)),
        swaps=pick((0.0, 0.0, 0.02)),
        repeats=pick((0.0, 0.02)),
        slow_back=pick((0.0, 0.0, 180.0)),
    )
    world.fault("weather", str(world.weather))


# -- one at a time -------------------------------------------------------------------------------


def cut(world: World, who: str = "", least: float = 300, most: float = 9_000) -> None:
    """Cut one node, or everybody, from the store for a while."""
    names = [node.name for node in (*world.pods, *world.people)]
    who = who or world.random.choice([*names, "all"])
    end = until(world, least, most)
    world.cuts = [each for each in world.cuts if each[1] > world.now]
    world.cuts.append((world.now, end, who))
    world.fault("cut", f"{who} until {end / 1000:.3f}")


def failover(world: World, split: bool | None = None) -> None:
    """A replica takes over; what it lacks is lost. The old primary may not know it for a while."""
    random = world.random
    lag = random.choice((0.0, random.uniform(1, 100), random.uniform(100, 3_000)))
    split = random.random() < 0.35 if split is None else split
    world.take_over(world.copy_of(lag), split=split)
    if split:
        world.at(until(world, 500, 9_000) - world.now, world.heal)
    world.fault("split" if split else "failover", f"lost {lag:.0f} ms")


def old_data(world: World) -> None:
    """Old data is back: the old primary won, or a backup was restored."""
    put_back(world, world.copy_of(world.random.uniform(1_000, 40_000)))


def put_back(world: World, data: Data) -> None:
    """Old data is back, often with a life that was computed by another clock."""
    random = world.random
    data = data.copy()
    if data.active is not None and data.active.expires_ms is not None and random.random() < 0.6:
        wall = world.now + world.primary.wall_off_ms
        data.active.expires_ms = max(data.active.expires_ms, wall + 20_000)
        data.beats_until_ms = max(data.beats_until_ms, wall + 20_000)
    world.take_over(data, split=False)
    world.fault("old data back")


def restore(world: World) -> None:
    """Somebody restores the key alone, in place: tombstone, beats and everything else stay."""
    random, server = world.random, world.primary
    active = world.copy_of(random.uniform(1_000, 40_000)).active
    if active is not None:
        active.expires_ms = world.now + server.wall_off_ms + 20_000
        server.data.active = active
        server.touched += 1
        world.checker.moved()
        world.invalidate(server)
        world.fault("RESTORE")


def empty(world: World) -> None:
    """The server restarts empty."""
    world.take_over(Data(), split=False)
    world.fault("server restarted empty")


def pause(world: World, node: Node | None = None, most: float = 10_000) -> None:
    """SIGSTOP one process for a while."""
    node = node or world.random.choice((*world.pods, *world.people))
    node.paused_until = until(world, 200, most)
    world.fault("pause", f"{node.name} until {node.paused_until / 1000:.3f}")


def suspend(world: World) -> None:
    """A host sleeps and wakes."""
    worker = world.random.choice(world.workers)
    if worker.paused_until <= world.now:
        worker.paused_until = until(world, 1_000, 20_000)
        worker.slept(worker.paused_until - world.now)
        world.fault("suspend", worker.name)


def replace_worker(world: World) -> None:
    """A worker is started anew on another host."""
    restart_worker(world, share=1.0)


def restart_worker(world: World, share: float = 0.3) -> None:
    """A worker dies and starts again, with what is on its disk, or on another host with an empty one."""
    worker = world.random.choice(world.workers)
    worker.kill()
    if world.random.random() < share:
        worker.disk = None
        world.fault("worker replaced", worker.name)
    if not worker.keeps:
        worker.disk = None
    worker.start()
    world.subscribe(worker)
    world.fault("worker restart", worker.name)


def restart_heartbeat(world: World, host: HeartbeatHost | None = None) -> None:
    """A heartbeat dies and starts again, sometimes with an empty disk."""
    host = host or world.random.choice(world.heartbeats)
    if host.dead:
        return
    host.kill()
    if world.random.random() < 0.3 and not host.disk_broken:
        host.disk = None
        world.fault("heartbeat's disk emptied", host.name)
    host.start()
    world.subscribe(host)
    world.fault("heartbeat restart", host.name)


def kill_heartbeat(world: World) -> None:
    """A heartbeat dies for good, or so it seems."""
    host = world.random.choice(world.heartbeats)
    if host.dead or any(each.dead for each in world.heartbeats):
        return
    host.kill()
    host.dead = True
    life = host.life
    world.at(until(world, 8_000, 40_000) - world.now, lambda: host.life == life and revive(host))
    world.fault("heartbeat killed", host.name)


def goodbye(world: World) -> None:
    """A heartbeat is told to stop, says goodbye, and comes back after a while, as in a rollout."""
    host = world.random.choice(world.heartbeats)
    if host.dead or host.daemon is None:
        return
    with fibers.acting(host):
        host.daemon.stop()
    life = host.life
    world.at(until(world, 100, 15_000) - world.now, lambda: host.life == life and back(host))
    world.fault("heartbeat leaves", host.name)


def back(host: HeartbeatHost) -> None:
    """It is started again."""
    host.kill()
    host.start()
    host.world.subscribe(host)


def revive(host: HeartbeatHost) -> None:
    """It is started again; once attested to be dead, then as a new one."""
    if host.attested:
        host.disk = None
    host.attested = False
    back(host)


def server_clock(world: World) -> None:
    """The server's wall clock steps, and the TTLs with it."""
    step = world.random.choice((-3_600_000.0, -5_000.0, 5_000.0, 3_600_000.0))
    for server in world.serving():
        server.wall_off_ms += step
    world.fault("server clock", f"{step:+.0f}")


def wall_step(world: World) -> None:
    """A pod's wall clock steps."""
    node = world.random.choice(world.pods)
    step = world.random.choice((-3_000.0, 3_000.0))
    if abs(node.wall_off_ms + step) < 8_000:
        node.wall_off_ms += step
        world.fault("wall step", node.name)


def slew(world: World) -> None:
    """A worker's steady clock is slewed far beyond what the timers allow for."""
    worker = world.random.choice(world.workers)
    rates = ((0.7, 0.88), (1.12, 1.3))
    worker.slew(worker.raw_rate * world.random.uniform(*world.random.choice(rates)))
    world.at(until(world, 2_000, 9_000) - world.now, lambda: worker.slew(worker.raw_rate))
    world.fault("slew", worker.name)
    if world.random.random() < 0.6:
        soon(world, 0, 2_000, cut, worker.name, 3_000, 5_000)


def disk(world: World, node: Node | None = None) -> None:
    """A state file cannot be read or written for a while."""
    broken = node or world.random.choice(world.pods)
    broken.disk_broken = True

    def mend() -> None:
        broken.disk_broken = False

    world.at(world.random.uniform(2_000, 20_000), mend)
    world.fault("disk", broken.name)


def tamper(world: World, what: str = "") -> None:
    """Somebody with access changes keys: DEL, PERSIST, PEXPIRE, HDEL of a halt."""
    server, random = world.primary, world.random
    active = server.live(world.now)
    if active is None:
        return
    wall = world.now + server.wall_off_ms
    what = what or random.choice(("DEL", "PERSIST", "PEXPIRE long", "PEXPIRE", "PEXPIRE", "HDEL"))
    if what == "DEL":
        server.data.active = None
    elif what == "PERSIST":
        active.expires_ms = None
    elif what == "PEXPIRE long":
        active.expires_ms = wall + 10_000_000
    elif what == "PEXPIRE":
        active.expires_ms = wall + random.uniform(200, 3_000)
    elif active.restrictions:
        active.restrictions.pop(random.choice(sorted(active.restrictions)))
    else:
        return
    server.touched += 1
    world.checker.moved()
    world.fault(what)
    world.invalidate(server)


def roster(world: World) -> None:
    """Somebody deletes the rosters and the presence of everybody."""
    data = world.primary.data
    data.fleet, data.heartbeats, data.presence = {}, {}, {}
    world.fault("rosters deleted")


def replay(world: World) -> None:
    """Old directives are published again."""
    old = world.checker.published
    if old:
        world.publish(world.primary, world.random.choice(old))
        world.fault("replayed push")


def old_beat(world: World) -> None:
    """A recorded beat is written back, always the same: who can write several in order

    owns Redis, and against an owner the bounds are 30 s longer.
    """
    beats = world.primary.data.beats
    if beats:
        name = world.random.choice(sorted(beats))
        beats[name] = world.recorded.setdefault(name, beats[name])
        world.fault("replayed beat", name)


KINDS: tuple[Callable[..., Any], ...] = (
    cut,
    cut,
    cut,
    failover,
    failover,
    old_data,
    restore,
    pause,
    pause,
    suspend,
    restart_worker,
    restart_heartbeat,
    kill_heartbeat,
    goodbye,
    server_clock,
    wall_step,
    slew,
    disk,
    tamper,
    tamper,
    roster,
    replay,
    old_beat,
    empty,
    lambda world: storm(world, ANYTIME),
    lambda world: storm(world, ANYTIME),
)


# -- storms --------------------------------------------------------------------------------------


def storm(world: World, kinds: tuple[Callable[[World], None], ...]) -> None:
    """Faults that belong together, right around what has just been ordered."""
    kind = world.random.choice(kinds)
    world.count(f"storms: {kind.__name__}")
    kind(world)


def soon(world: World, least: float, most: float, step: Callable[..., Any], *args: Any) -> None:
    """Do it between so many ms from now, unless the calm has come by then."""

    def do() -> None:
        if not world.calm:
            step(world, *args)

    world.at(world.random.uniform(least, most), do)


def cut_off_workers(world: World) -> None:
    """Some workers cannot be reached while the stop happens, and their last answer came late."""
    world.weather = replace(world.weather, push_loss=1.0, slow_back=200.0)
    for worker in world.workers:
        if world.random.random() < 0.8:
            soon(world, 0, 700, cut, worker.name, 2_500, 12_000)


def lost_in_failover(world: World) -> None:
    """The stop reaches some, and then a failover loses it."""
    random = world.random
    missed = random.choice(world.heartbeats)
    if random.random() < 0.7:
        cut(world, missed.name, 300, 2_500)
    for worker in world.workers:
        if random.random() < 0.4:
            cut(world, worker.name, 300, 4_000)
    soon(world, 0, 900, failover, False)
    for host in world.heartbeats:
        if host is not missed and random.random() < 0.7:
            soon(world, 0, 1_200, pause, host, 14_000)
    if random.random() < 0.5:
        soon(world, 0, 2_500, restart_worker)
    if random.random() < 0.3:
        soon(world, 0, 2_500, restart_worker)


def split_brain(world: World) -> None:
    """Two primaries; the heartbeats find the new one and fall silent, workers go over late."""
    failover(world, True)
    for host in world.heartbeats:
        host.side = int(world.random.random() < 0.2)
        if world.random.random() < 0.8:
            soon(world, 1_000, 4_000, pause, host, 12_000)
    for worker in world.workers:
        worker.side = int(world.random.random() < 0.8)
    if world.random.random() < 0.3:
        soon(world, 0, 4_000, restart_worker)


def silence(world: World) -> None:
    """Nobody beats any more, while Redis and the workers are well."""
    for host in world.heartbeats:
        if world.random.random() < 0.5:
            pause(world, host, 14_000)
        else:
            cut(world, host.name, 4_000, 14_000)
    if world.random.random() < 0.5:
        soon(world, 0, 3_000, tamper, "PEXPIRE")
    if world.random.random() < 0.5:
        soon(world, 0, 5_000, restart_worker)


def disks(world: World) -> None:
    """Nobody can write, and then everybody restarts."""
    for node in world.pods:
        if world.random.random() < 0.5:
            disk(world, node)
    if world.random.random() < 0.5:
        soon(world, 0, 2_000, restart_worker)
        soon(world, 0, 2_000, restart_heartbeat)


def backup(world: World) -> None:
    """The stop is complete, or nearly, when yesterday's data comes back."""
    soon(world, 0, 9_000, old_data)
    if world.random.random() < 0.5:
        soon(world, 0, 9_000, restart_worker)
    if world.random.random() < 0.4:
        soon(world, 0, 2_000, cut, world.random.choice(world.heartbeats).name, 500, 12_000)


def flushed(world: World) -> None:
    """The server restarts empty during the stop, and then its old data is back."""
    soon(world, 0, 800, cut, world.random.choice(world.heartbeats).name, 2_000, 12_000)
    soon(world, 0, 1_500, empty)
    soon(world, 0, 9_000, old_data)


def unheard(world: World) -> None:
    """One heartbeat never hears of the stop; it is back with old data, when the other is away."""
    random = world.random
    missed, other = random.sample(world.heartbeats, 2)
    cut(world, missed.name, 7_800, 8_800)
    for worker in world.workers:
        if random.random() < 0.4:
            cut(world, worker.name, 7_800, 9_000)
    before = world.copy_of(300)
    soon(world, 7_600, 7_700, pause, other, 12_000)
    soon(world, 7_700, 7_800, put_back, before)
    soon(world, 7_700, 8_000, replace_worker)


def off_by_one(world: World) -> None:
    """Answers come one late over the same connection, and then none at all."""
    before = world.weather
    world.weather = replace(before, push_loss=1.0, swaps=0.7)

    def over() -> None:
        if not world.calm:
            world.weather = before

    world.at(1_500.0, over)
    for worker in world.workers:
        soon(world, 300, 1_300, cut, worker.name, 2_500, 4_000)


def halt_lost(world: World) -> None:
    """Some workers miss a halt that the heartbeats see, and a failover loses it."""
    before = world.copy_of(50)
    for worker in world.workers:
        if world.random.random() < 0.6:
            cut(world, worker.name, 400, 1_500)
    if world.random.random() < 0.5:
        world.weather = replace(world.weather, push_loss=1.0)
    soon(world, 300, 1_500, put_back, before)


AROUND_STOPS: tuple[Callable[[Any], None], ...] = (
    cut_off_workers,
    lost_in_failover,
    lost_in_failover,
    split_brain,
    silence,
    disks,
    backup,
    flushed,
    unheard,
    unheard,
    off_by_one,
)
AROUND_HALTS: tuple[Callable[[Any], None], ...] = (
    halt_lost,
    halt_lost,
    halt_lost,
    lost_in_failover,
    cut_off_workers,
    split_brain,
)
ANYTIME: tuple[Callable[[Any], None], ...] = (
    silence,
    silence,
    split_brain,
    split_brain,
    cut_off_workers,
)
