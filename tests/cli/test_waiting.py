"""A stop says what it waits for: one live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import io
import sys

from golive_cli.output import Output
from golive_cli.waiting import WaitingLine
from golive_redis.core.barrier import HeartbeatRow, Outcome, Pod, Result, WorkerRow
from golive_redis.records.receipt import Durable
from golive_redis.stop.progress import Waiting

CALLED = 5_000.0


def worker(number, drained_ms=None, off_by=None, goodbye_ms=None):
    pod = Pod(f"pod-{number}", "a" * 32)
    left = None if drained_ms is None else 0
    return WorkerRow(pod, drained_ms, 0, drained_ms, left, None, off_by, goodbye_ms=goodbye_ms)


def heartbeat(latched_ms=None):
    durable = None if latched_ms is None else Durable.YES
    return HeartbeatRow("hb-1", latched_ms, durable, attested_dead=False)


BEATS = (heartbeat(),)
WORKERS = (worker(1), worker(2, 9.0))


def waiting(after_ms, beats=BEATS, workers=WORKERS, in_redis=True):
    outcome = Outcome(Result.NOT_CONFIRMED, None, beats, workers)
    return Waiting(outcome, 7_500.0 - after_ms, in_redis, CALLED, CALLED + after_ms)


class Terminal(io.StringIO):
    """A stderr that is one."""

    def isatty(self):
        return True


class Gone(Terminal):
    """And that cannot be written to any more."""

    def write(self, _):
        raise OSError(5, "Input/output error")


def test_the_first_second_is_silent(capsys):
    with WaitingLine(Output()) as line:
        line.tell(waiting(999))
    assert capsys.readouterr().err == ""


def test_elsewhere_than_on_a_terminal_it_repeats_itself_each_five_seconds_only(capsys):
    with WaitingLine(Output()) as line:
        for after_ms in range(0, 7_500, 250):
            line.tell(waiting(after_ms))
    said = "more; no answer yet from heartbeat hb-1, 1 of 2 workers (pod-1)\n"
    assert capsys.readouterr().err == f"waiting for 6.5 s {said}waiting for 1.5 s {said}"


def test_who_is_missing_now_is_news(capsys):
    with WaitingLine(Output()) as line:
        line.tell(waiting(1_000))
        line.tell(waiting(1_250, beats=(heartbeat(20.0),)))  # a second apart at least
        line.tell(waiting(2_000, (heartbeat(20.0),), (worker(1, off_by=CALLED + 6_000.0),)))
    _, said = capsys.readouterr().err.splitlines()
    assert said == (
        "waiting for 5.5 s more; every permission is over in 4 s; "
        "no answer yet from 1 of 1 workers (pod-1)"
    )


def test_a_stop_that_redis_has_not_taken_blames_nobody_else(capsys):
    with WaitingLine(Output()) as line:
        line.tell(waiting(1_000, in_redis=False))
    assert capsys.readouterr().err == (
        "waiting for 6.5 s more; Redis has not taken the stop yet; trying each second\n"
    )


def test_on_a_terminal_it_is_one_line_that_goes_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with WaitingLine(Output()) as line:
        line.tell(waiting(1_000))
        line.tell(waiting(1_250))
        line.note("Redis answers")
    said = sys.stderr.getvalue()
    *drawn, _ = said.split("\x1b[K")
    assert drawn[0].startswith("\rwaiting for 6.5 s more; no answer yet from heartbeat hb-1")
    assert said.count("\n") == 1
    assert "\r\x1b[KRedis answers\n\rwaiting for" in said
    assert said.endswith("\r\x1b[K")
    assert all(len(part.lstrip("\r")) < 80 for part in said.split("\x1b[K") if "\n" not in part)


def test_a_terminal_that_is_gone_ends_no_stop(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Gone())
    with WaitingLine(Output()) as line:
        line.tell(waiting(1_000))


def test_who_has_left_is_not_waited_for_and_an_id_is_named_once(capsys):
    rows = (worker(1), worker(1), worker(2, goodbye_ms=3.0), worker(3, 9.0), worker(4))
    with WaitingLine(Output()) as line:
        line.tell(waiting(1_000, (heartbeat(20.0),), rows))
    said = capsys.readouterr().err
    assert said.endswith("no answer yet from 3 of 5 workers (pod-1, pod-4)\n")


def test_on_a_narrow_terminal_names_are_left_out_whole_and_the_time_stays(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    rows = tuple(worker(f"of-the-desk-for-{name}") for name in ("options", "futures", "spot"))
    with WaitingLine(Output()) as line:
        line.tell(waiting(1_000, (heartbeat(20.0),), rows[:1]))
        line.tell(waiting(1_000, (heartbeat(20.0),), rows))
        line.tell(waiting(1_000, BEATS, rows))
    first, second, third = sys.stderr.getvalue().split("\x1b[K")[:3]
    begins = "\rwaiting for 6.5 s more; no answer yet from "
    assert first == f"{begins}1 of 1 workers"
    assert second == f"{begins}3 of 3 workers"
    assert third == f"{begins}heartbeat hb-1, 3 of 3 workers"


def test_as_many_names_as_fit_are_shown(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    rows = tuple(worker(number) for number in range(6))
    with WaitingLine(Output()) as line:
        line.tell(waiting(1_000, (heartbeat(20.0),), rows))
    assert sys.stderr.getvalue().startswith(
        "\rwaiting for 6.5 s more; no answer yet from 6 of 6 workers (pod-0 and 5 more)\x1b"
    )
