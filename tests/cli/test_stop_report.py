"""What `golive revoke` prints of a pod that has not answered."""

import msgspec
import pytest

from golive_cli.commands.revoke import show
from golive_cli.output import Output
from golive_redis.clock import wall_ms
from golive_redis.core.barrier import HeartbeatRow, Outcome, Pod, Result, WorkerRow
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
        bound_ms=now_ms + 2 * DAY_MS,
        problems=(),
        wall_ms=now_ms - 60_000,
        called_at=0.0,
        cut_off_ms=2_509.0,
    )


def printed(report, capsys):
    show(report, Output())
    return capsys.readouterr().out


def test_a_silent_worker_is_off_since_its_lease_if_it_is_cut_off_and_else_at_a_dated_end(
    report, capsys
):
    said = printed(report, capsys)
    (row,) = (line for line in said.splitlines() if line.startswith("pod-1"))
    assert "no answer; off since " in row
    assert " if it cannot reach Redis; otherwise off by 20" in row  # the date, for it is not today


def test_a_lease_that_is_not_over_is_no_since(report, capsys):
    later = msgspec.structs.replace(report, cut_off_ms=float(DAY_MS))
    assert "off since" not in printed(later, capsys)


def test_without_an_effect_in_redis_nothing_is_said_of_the_lease(report, capsys):
    said = printed(msgspec.structs.replace(report, cut_off_ms=None), capsys)
    assert "if it cannot reach Redis" not in said
    assert "no answer; off by 20" in said


def test_an_audit_entry_that_is_only_on_this_host_says_so(report, capsys):
    assert "audit entry saved on this host; it is sent later)" in printed(report, capsys)
