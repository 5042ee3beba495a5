"""What `golive revoke` prints of a pod that has not answered."""

import re

import msgspec
import pytest

from golive_cli.commands.revoke import show
from golive_cli.output import Output
from golive_redis.clock import wall_ms
from golive_redis.core.barrier import HeartbeatRow, Outcome, Pod, Result, WorkerRow
from golive_redis.core.timing import TIMINGS
from golive_redis.records.receipt import Durable
from golive_redis.stop.progress import LedgerState, StopReport

DAY_MS = 86_400_000
SILENT = Outcome(
    Result.NOT_CONFIRMED,
    None,
    (HeartbeatRow("hb-1", None, None, attested_dead=False),),
    (WorkerRow(Pod("pod-1", "a" * 32), None, None, None, None, None, None),),
)


@pytest.fixture
def report():
    """A stop a minute ago, in a term that ends in two days; nobody has answered."""
    now_ms = wall_ms()
    return StopReport(
        outcome=SILENT,
        epoch=2,
        term=1,
        in_redis_ms=9.0,
        ledger=LedgerState.SPOOLED,
        bound_ms=now_ms + 2 * DAY_MS + DAY_MS // 2,
        problems=(),
        timing=TIMINGS["standard"],
        environment="testnet",
        namespace="golive",
        wall_ms=now_ms - 60_000,
        called_at=0.0,
        cut_off_ms=2_509.0,
    )


def printed(report, capsys):
    show(report, Output())
    return capsys.readouterr().out


def lines(report, capsys):
    return [line for line in printed(report, capsys).splitlines() if line]


def test_what_a_silent_heartbeat_means_is_said_with_durations_first_and_dates_last(report, capsys):
    said = lines(report, capsys)
    only = "Only for a heartbeat that is dead and stays dead"
    assert said[-4:] == [
        "No answer from heartbeat hb-1: it may keep workers alive that have not heard of the stop.",
        "A worker that cannot reach Redis is off within 2.5 s of the stop, by itself.",
        said[-2],
        f"Start hb-1, and run this again. {only}: --heartbeat-dead hb-1.",
    ]
    assert said[-2].startswith("Any other is off at the latest by 20")  # dated: it is not today
    assert said[-2].endswith(" (in 2 d 12 h), when the window ends.")


def test_a_stop_that_redis_has_not_taken_says_so_first_and_blames_no_heartbeat(report, capsys):
    """Row 76."""
    kept = "It is kept on this host, and sent when a command or a heartbeat here reaches Redis."
    said = lines(msgspec.structs.replace(report, in_redis_ms=None, cut_off_ms=None), capsys)
    assert said[-4:-2] == [
        f"The stop is not in Redis: no pod is known to have been told. {kept}",
        "A worker that cannot reach Redis is off within 2.5 s, by itself.",
    ]
    assert said[-2] == (
        "One that reaches Redis may trade on. Run this where Redis can be reached, or stop every "
        "heartbeat on its host: then all are off within 5.5 s of the last beat."
    )
    assert said[-1].startswith("The fleet is off at the latest by 20")
    assert "--heartbeat-dead" not in "".join(said)


def test_in_the_redis_of_another_fleet_nobody_is_named_dead(report, capsys):
    """Row 54."""
    said = "this store belongs to fleet f1ee7000..., and this keyset to fleet eeeeeeee..."
    elsewhere = lines(msgspec.structs.replace(report, another_fleet=said), capsys)
    first, then = elsewhere[-2:]
    assert first == (
        "This store belongs to fleet f1ee7000..., and this keyset to fleet eeeeeeee...: your own fleet "
        "was not stopped by this, unless it is there. Name its Redis in store.url or $GOLIVE_REDIS_URL, "
        "and run this again."
    )
    assert then.startswith("What traded there is off, until its own people start it again")
    assert "--heartbeat-dead" not in "".join(elsewhere)


def test_a_bound_that_is_not_known_is_said_not_to_be(report, capsys):
    said = printed(msgspec.structs.replace(report, bound_ms=None), capsys)
    assert "Any other has no bound that is known on this host." in said


def test_once_every_heartbeat_has_stopped_what_is_left_is_a_known_time(report, capsys):
    beat = HeartbeatRow("hb-1", 20.0, Durable.YES, attested_dead=False)
    off_by = 60_000.0 + 2 * DAY_MS + 1_000_000.0  # of the steady clock: the call was at 0
    worker = WorkerRow(Pod("pod-1", "a" * 32), None, None, None, None, None, off_by)
    outcome = Outcome(Result.NOT_CONFIRMED, None, (beat,), (worker,))
    said = lines(msgspec.structs.replace(report, outcome=outcome), capsys)
    assert said[-1].startswith(
        "Every heartbeat has stopped: all workers are off within 2 d 1 h, by 20"
    )
    heads = next(line for line in said if line.startswith("worker "))
    assert heads.split("  ")[-1] == "off by"
    assert any(re.match(r"pod-1 +aaaaaa +no answer +unknown +20\d\d-", line) for line in said)


def test_only_of_who_has_not_answered_it_is_said_by_when_it_is_off(report, capsys):
    dead = WorkerRow(
        Pod("pod-1", "a" * 32), None, None, None, None, None, 60_000.0, attested_dead=True
    )
    outcome = Outcome(Result.COMPLETE, None, (), (dead,))
    said = lines(msgspec.structs.replace(report, outcome=outcome), capsys)
    heads = next(line for line in said if line.startswith("worker "))
    assert heads.split("  ")[-1] == "durable"


def test_an_audit_entry_that_is_only_on_this_host_says_so(report, capsys):
    assert "epoch 2, audit entry saved on this host; it is sent later\n" in printed(report, capsys)
