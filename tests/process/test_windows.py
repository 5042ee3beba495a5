"""Trading windows: in the signed end of a term, in what is refused, and in the heartbeat."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.checks.conditions import Conditions
from golive_redis.errors import ConfigError, RefusedError
from golive_redis.operator import grants
from golive_redis.operator.session import Operator
from golive_redis.records.directive import GrantKind
from golive_redis.records.ledger import Note
from golive_redis.testing.server import EmbeddedServer
from kit.processes import Span

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def hours(opens: timedelta, closes: timedelta, **settings: Any) -> dict[str, Any]:
    """A window from so long before now until so long after it, in UTC."""
    now = datetime.now(UTC)
    return {
        "time_zone": "UTC",
        "from": f"{now + opens:%H:%M}",
        "to": f"{now + closes:%H:%M}",
        **settings,
    }


def test_a_heartbeat_whose_windows_close_is_silent_and_the_fleet_is_off_within_beat_ms(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Only the heartbeat knows of windows here: the grant was signed for hours to come."""
    live = fleet(own_server)
    live.start_workers("pod-1", "pod-2")
    live.start_heartbeat("hb-2")
    live.activate()
    # Not before the activation, which would be refused: this one runs on another policy.
    window = {"windows": {"day": hours(timedelta(hours=-1), timedelta(hours=2))}}
    heartbeat = live.start_heartbeat(config=window)
    with Operator(live.config) as operator:
        grants.loosen(operator, GrantKind.EXTEND, reason="a heartbeat that came later")
    heartbeat.wait_said("beating")
    live.heartbeats["hb-2"].kill()
    live.wait_all_armed()
    armed_ns = clock.now_ns()
    heartbeat.ask("hours", ms=3 * HOUR_MS)
    said = heartbeat.wait_said("every trading window is closed")
    for worker in live.workers.values():  # its last beat came before it said so
        worker.closed_within(live.timers.beat_ms, Span(armed_ns, said["at_ns"]))
    wait_for(lambda: closings(live), what="a note in the ledger")
    assert [(note.by, note.text) for note in closings(live)] == [("hb-1", said["text"])]
    # A restart forgets nothing, and its windows are open: it stays silent all the same.
    heartbeat.kill()
    again = live.start_heartbeat(config=window)
    time.sleep(live.timers.beat_ms / 1000)  # time for what must not happen
    assert again.ask("status")["term"] is None
    assert not any(worker.allowed for worker in live.workers.values())


def closings(live: Any) -> list[Note]:
    """The ledger's notes about windows that closed."""
    return [note for note in live.notes() if note.topic == "window"]


def test_an_activation_outside_the_windows_is_refused_and_says_when_the_next_one_opens(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    window = hours(timedelta(hours=2), timedelta(hours=4))
    live = fleet(any_server, windows={"later": window})
    live.start_heartbeat()
    with pytest.raises(RefusedError, match="outside every trading window") as caught:
        live.activate(wait_s=0)
    assert f"the next one, later, opens on {datetime.now(UTC) + timedelta(hours=2):%a}" in (
        caught.value.hint
    )
    assert f"{window['from']} UTC, which is" in caught.value.hint
    assert not live.raw.exists("golive:active")


def test_a_term_ends_with_the_window_and_cannot_be_extended_past_it(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    live = fleet(any_server, windows={"now": hours(timedelta(hours=-1), timedelta(hours=2))})
    live.start_heartbeat()
    told: list[str] = []
    ends = live.activate(wait_s=0, say=told.append).grant.record.not_after_ms
    assert ends % MINUTE_MS == 0
    assert 0 < ends - clock.wall_ms() <= 2 * 60 * MINUTE_MS
    assert told[0] == grants.CLOSES_FIRST
    assert told[1] == "not registered, so it may not beat for this term: hb-2, hb-3"
    with (
        Operator(live.config) as operator,
        pytest.raises(RefusedError, match="until the trading windows close already"),
    ):
        grants.loosen(operator, GrantKind.EXTEND, reason="longer", minutes=600)


def test_a_term_may_be_extended_up_to_the_close_and_is_told_which_end_it_is(
    fleet: Callable[..., Any], any_server: EmbeddedServer
) -> None:
    live = fleet(any_server, windows={"now": hours(timedelta(hours=-1), timedelta(hours=2))})
    live.start_heartbeat()
    told: list[str] = []
    before = live.activate(wait_s=0, minutes=30, say=told.append).grant.record
    assert grants.CLOSES_FIRST not in told
    told.clear()
    with Operator(live.config) as operator:
        for minutes, closes_first in ((60, False), (600, True)):
            done = grants.loosen(
                operator, GrantKind.EXTEND, reason="longer", minutes=minutes, say=told.append
            )
            grant = done.grant
            assert told == [grants.CLOSES_FIRST] * closes_first
            assert grant.record.not_after_ms > before.not_after_ms
    assert grant.record.not_after_ms % MINUTE_MS == 0


@pytest.mark.parametrize(
    ("window", "says"),
    [
        ({"time_zone": "Europe/Berln"}, "unknown time zone 'Europe/Berln'"),
        ({"calendar": "XNYZ"}, "unknown exchange calendar 'XNYZ'"),
    ],
)
def test_a_window_that_cannot_be_computed_lets_nobody_activate(
    fleet: Callable[..., Any], any_server: EmbeddedServer, window: dict[str, str], says: str
) -> None:
    both = hours(timedelta(hours=-1), timedelta(hours=2))
    live = fleet(any_server, windows={"wrong": both | window, "good": both})
    with pytest.raises(ConfigError, match=says) as caught:
        live.activate(wait_s=0)
    assert caught.value.hint
    live.config.keyset()  # and everything else of the file still works: `golive revoke` needs it


def test_the_line_of_an_unknown_zone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "go_live.yaml"
    path.write_text(
        "environment: test\nprofiles: {micro: {currency: USD, max_order_notional: '1', "
        "max_position_notional: '1', max_daily_loss: '1', max_orders_per_minute: 1}}\n"
        "windows:\n  day:\n    from: '09:00'\n    to: '17:00'\n    time_zone: Europe/Berln\n"
    )
    with pytest.raises(ConfigError, match=r"go_live.yaml:7: windows\.day: unknown time") as caught:
        Conditions.of(configuration.load(path, environ={}))
    assert caught.value.hint == "did you mean Europe/Berlin?"
