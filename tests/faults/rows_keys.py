"""Somebody changes the keys behind our back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from golive_redis import config as configuration
from golive_redis.errors import GoliveError

from .judged import JudgedFleet

StartFleet = Callable[..., AbstractContextManager[JudgedFleet]]
REMOVALS = {
    "flushall": "FLUSHALL",
    "del": "DEL golive:active",
    "rename": "RENAME golive:active golive:stolen",
    "expire": "PEXPIRE golive:active 1",
    "swapdb": "SWAPDB 0 1",
}
TTLS = {"persist": "PERSIST golive:active", "pexpire": "PEXPIRE golive:active 86400000"}


@pytest.mark.parametrize("removal", REMOVALS)
def test_removed(start_fleet: StartFleet, removal: str) -> None:
    """Row 23."""
    with start_fleet() as live:
        command = REMOVALS[removal].split()
        live.strike(lambda: live.raw.execute_command(*command), off_ms=live.timers.lease_ms)
        live.revoke("COMPLETE")


def test_deleted_with_two_heartbeats(
    start_fleet: StartFleet, wait_for: Callable[..., None]
) -> None:
    """Row 24."""
    with start_fleet(heartbeats=("hb-1", "hb-2")) as live:
        live.strike(lambda: live.raw.delete("golive:active"), off_ms=live.timers.lease_ms)
        wait_for(lambda: live.records("note"), what="a note in the ledger")
        live.revoke("COMPLETE")


@pytest.mark.parametrize("ttl", TTLS)
def test_lives_too_long(start_fleet: StartFleet, ttl: str) -> None:
    """Row 26."""
    with start_fleet() as live:
        command = TTLS[ttl].split()
        live.strike(lambda: live.raw.execute_command(*command), off_ms=live.timers.lease_ms)
        live.revoke("COMPLETE")


def test_wrong_type_of_audit(start_fleet: StartFleet) -> None:
    """Row 17."""
    with start_fleet() as live:
        live.strike(lambda: _spoil(live, "audit"))
        report = live.revoke("COMPLETE")
        assert any("the audit entry is not in Redis yet" in problem for problem in report.problems)
        assert report.ledger == "spooled" and len(live.spooled()) == 1


def test_audit_lost_at_activation(start_fleet: StartFleet) -> None:
    """Row 19."""
    with start_fleet() as live:
        live.revoke("COMPLETE")
        live.strike(lambda: _spoil(live, "audit"))
        with pytest.raises(GoliveError):
            live.activate()
        assert not live.raw.exists("golive:active")


@pytest.mark.parametrize("key", ["active", "revoked"])
def test_wrong_type_of_state(start_fleet: StartFleet, key: str) -> None:
    """Row 18."""
    with start_fleet() as live:
        live.strike(lambda: _spoil(live, key), off_ms=live.timers.lease_ms)
        live.revoke("COMPLETE")


@pytest.mark.parametrize("key", ["beat", "epoch", "last", "head"])
def test_wrong_type_of_the_rest(start_fleet: StartFleet, key: str) -> None:
    """Row 18's neighbours: they hold nothing up."""
    with start_fleet() as live:
        live.strike(lambda: _spoil(live, key))
        live.revoke("COMPLETE")


@pytest.mark.parametrize("key", ["fleet", "heartbeats"])
def test_wrong_type_of_roster(start_fleet: StartFleet, key: str) -> None:
    """Row 65. Who must answer cannot be read, so nothing is claimed until it can."""
    with start_fleet() as live:
        live.strike(lambda: _spoil(live, key))
        live.revoke("NOT CONFIRMED", wait_ms=live.timers.all_off_ms + 1_000)
        live.raw.delete(f"golive:{key}")
        live.revoke("COMPLETE")


def _spoil(live: JudgedFleet, key: str) -> None:
    """Put a value of a type there that this key never has, before anybody can write it anew."""
    live.raw.rpush("spoiled", "what?")
    live.raw.rename("spoiled", f"golive:{key}")


def test_rosters_deleted(start_fleet: StartFleet, wait_for: Callable[..., None]) -> None:
    """Row 65, for an operator who remembers nobody either."""
    with start_fleet() as live:
        stranger = configuration.load(live.write_config(state_dir="elsewhere"), environ={})
        for process in live.processes:
            process.pause()
        live.strike(lambda: _forget_everybody(live))
        live.revoke("NOT CONFIRMED", wait_ms=500, config=stranger)
        for process in live.processes:
            process.resume()
        live.frozen = set(live.workers)
        wait_for(lambda: live.raw.zcard("golive:fleet") == 2, what="the workers are back")
        wait_for(lambda: live.raw.hlen("golive:heartbeats") == 1, what="so is the heartbeat")
        live.revoke("COMPLETE", config=stranger)


def _forget_everybody(live: JudgedFleet) -> None:
    patterns = ("golive:worker:*", "golive:heartbeat:*")
    present = [key for pattern in patterns for key in live.raw.keys(pattern)]
    live.raw.delete("golive:fleet", "golive:heartbeats", *present)


def test_scripts_gone(start_fleet: StartFleet) -> None:
    """Row 64."""
    with start_fleet() as live:
        live.strike(live.raw.script_flush)
        report = live.revoke("COMPLETE")
        assert report.ledger == "written" and live.raw.exists("golive:revoked")
