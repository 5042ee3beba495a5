"""One screen of 80 by 24: the head, the counts and the problems are on it, whatever else is not."""

from __future__ import annotations

import pytest

from golive_cli import fleetboard
from golive_cli.fleetboard import Size
from golive_cli.output import Painted
from golive_redis.operator.fleet import FleetStatus, HeartbeatStatus, KeysetInUse, WorkerStatus

NOW = 1_800_000_000_000
SCREEN = Size(80, 24)


def worker(number, state="armed", reason=""):
    return WorkerStatus(
        f"pod-{number:02}",
        "ab" * 16,
        True,
        state,
        reason,
        1,
        0,
        9,
        9,
        "yes",
        {},
        "1",
        "h",
        1,
        9,
        [],
        "own",
    )


def fleet(workers, problems=(), headline="LIVE: 1 of 1 worker can trade", heartbeats=1):
    beats = [
        HeartbeatStatus(f"hb-{n}", "cd" * 16, True, "beating", "", 1, "yes", "1", "h", 9, NOW)
        for n in range(heartbeats)
    ]
    armed = sum(item.state == "armed" for item in workers)
    return FleetStatus(
        "testnet", "golive", "live", headline, list(problems), armed, None, None, beats, workers,
        "", [], NOW, KeysetInUse(1, True, None),
    )  # fmt: skip


def texts(lines):
    return [
        "".join(piece.text if isinstance(piece, Painted) else piece for piece in line).rstrip()
        for line in lines
    ]


def test_forty_workers_fit_and_those_that_do_not_trade_are_seen_first():
    pods = [worker(n) for n in range(40)]
    pods[38] = worker(38, "lapsed", "lapsed")
    pods[39] = worker(39, "gone", "not heard for 10 s")
    shown = texts(fleetboard.screen(fleet(pods), SCREEN))
    assert len(shown) == SCREEN.height
    assert shown[0] == "LIVE: 1 of 1 worker can trade"
    assert "workers: 1 gone, 1 lapsed, 38 armed; heartbeats: 1 beating" in " ".join(
        map(str.strip, shown[1:3])
    )
    names = [line.split()[0] for line in shown if line.startswith("pod-")]
    assert names[:3] == ["pod-39", "pod-38", "pod-00"]
    assert shown[-1] == f"{40 - len(names)} more workers: {40 - len(names)} armed"


@pytest.mark.parametrize("height", range(4, 40))
@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_screen_is_overrun_and_its_head_is_always_there(width, height):
    pods = [worker(n, "lapsed", "a-long-reason " * 9) for n in range(30)]
    found = fleet(pods, ["it is not as it should be, " * 5] * 9, "LIVE", heartbeats=9)
    shown = texts(fleetboard.screen(found, Size(width, height)))
    assert len(shown) <= height
    assert max(map(len, shown)) <= width
    assert shown[0] == "LIVE"


def test_what_is_left_out_of_problems_and_heartbeats_is_counted():
    found = fleet([worker(1)], [f"problem {n}" for n in range(9)], heartbeats=7)
    shown = texts(fleetboard.screen(found, SCREEN))
    assert "! problem 3" in shown
    assert "5 more lines of problems" in shown
    assert "5 more heartbeats: 5 beating" in shown


def test_a_name_without_end_leaves_room_for_the_rest_and_moves_no_cursor():
    pod = worker(1, "lapsed", "lapsed")
    long = WorkerStatus(
        "\x1b[2J" + "x" * 500, *[getattr(pod, n) for n in pod.__struct_fields__[1:]]
    )
    line = texts(fleetboard.screen(fleet([long]), SCREEN))[-1]
    assert "\x1b" not in line
    assert line.split()[2] == "lapsed"


def test_a_table_on_a_screen_keeps_the_colours_of_its_cells():
    lines = fleetboard.screen(fleet([worker(1, "lapsed", "lapsed")]), SCREEN)
    assert any(p.colour == "yellow" for p in lines[-1] if isinstance(p, Painted))
