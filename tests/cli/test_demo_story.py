"""The demo's words: they fit a terminal of 80 columns and say what the figures say."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from golive_cli.demo import events
from golive_cli.demo.events import Act, Event
from golive_cli.demo.result import DemoResult, outage_act, revoke_act
from golive_cli.demo.story import Story
from golive_cli.demo.verdict import Figures, Timeline
from golive_cli.output import Output
from golive_redis.core.barrier import By, HeartbeatRow, Outcome, Pod, Result, WorkerRow
from golive_redis.core.timing import TIMINGS
from golive_redis.records.receipt import Durable
from golive_redis.records.report import Finding
from golive_redis.records.report import Outcome as Found
from golive_redis.stop.progress import LedgerState, StopReport

CONFIG = Path("/tmp/golive-demo-abcdefgh/config/go_live.yaml")
FIGURES = Figures(644, 305, 50, 0, 4323.0, {"revoked": 305})
PICTURE = Timeline(125.0, 8, 52, (9,) * 43 + (0,) * 17, (6,) * 60)
PASS = Finding(
    check="check_database_redis",
    outcome=Found.PASS,
    explain="durable, noeviction, primary, writable",
    facts={"version": "valkey 9.1.2"},
)
OUTCOME = Outcome(
    Result.COMPLETE,
    By.RECEIPTS,
    (HeartbeatRow("hb-1", 34.2, Durable.YES, attested_dead=False),),
    (
        WorkerRow(Pod("pod-1", "a"), 40.26, 1, 41.5, 0, Durable.YES, None),
        WorkerRow(Pod("pod-2", "b"), None, None, None, None, None, 9.0),
    ),
)
REPORT = StopReport(
    OUTCOME, 2, 1, 6.7, LedgerState.WRITTEN, None, (), TIMINGS["standard"], "demo", "golive", 0, 0.0
)
EVENTS: tuple[Event, ...] = (
    events.FleetStarted(
        server="Valkey 9.1.2",
        server_port=29955,
        venue_port=34749,
        heartbeat="hb-1",
        beat_every_ms=1000,
        pods=("pod-1", "pod-2"),
        control="control",
        rate_per_s=50.0,
        saboteur="pod-2",
    ),
    events.DefaultOff(1234, 1234, 0, 125, {"not-activated": 1234}),
    events.ActStarted(Act.REVOKE),
    events.ActivationRefused(CONFIG, f"activation_enabled is false in {CONFIG}"),
    events.Edited(CONFIG, "activation_enabled: false", "activation_enabled: true"),
    events.Activated(1, "alice", (PASS,), 6, 1953.5),
    events.Traded(644),
    events.Revoked(REPORT, 61.4),
    events.Judged(revoke_act(OUTCOME, FIGURES), FIGURES, PICTURE, ()),
    events.ActStarted(Act.HEARTBEAT_KILLED),
    events.Killed(Act.HEARTBEAT_KILLED, 4194304, 5500),
    events.Repaired(REPORT, "hb-1", 4194305),
    events.ActStarted(Act.SERVER_FROZEN),
    events.Killed(Act.SERVER_FROZEN, 4194303, 2500),
    events.Judged(
        outage_act("server-frozen", 2500, FIGURES),
        msgspec.structs.replace(FIGURES, accepted_after=12),
        PICTURE,
        ("pod-4 was not denied 40 of 50 times afterwards",),
    ),
    events.Finished(DemoResult([], ok=False), 27678.9),
)


def told(capsys: pytest.CaptureFixture[str], *happened: Event, as_json: bool = False):
    story = Story(Output(as_json=as_json))
    for event in happened:
        story.tell(event)
    return capsys.readouterr()


def test_every_line_fits_eighty_columns_without_colours_where_none_belong(capsys):
    out = told(capsys, *EVENTS).out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert out.isascii()


def test_the_figures_are_told_on_one_line_each(capsys):
    lines = told(capsys, *EVENTS).out.splitlines()
    assert (
        "default off      1234 orders tried, 1234 denied (not-activated); control traded" in lines
    )
    assert "golive activate  refused: activation_enabled is false in go_live.yaml" in lines
    assert "go_live.yaml     - activation_enabled: false" in lines
    assert "                 + activation_enabled: true" in lines
    assert "preflight        pass, valkey 9.1.2: durable, noeviction, primary, writable" in lines
    assert "golive activate  term 1 signed by alice, 6 pods armed after 2.0 s" in lines
    assert "golive revoke    COMPLETE by receipts after 61 ms; the key was gone after 7 ms" in lines
    assert "the venue        last guarded order 4.32 s after the kill, 0 after the bound" in lines
    assert "afterwards       305 orders tried, 305 denied (revoked); control traded 50" in lines


def test_the_receipts_are_a_table_and_a_missing_one_is_a_dash(capsys):
    lines = told(capsys, events.Revoked(REPORT, 61.4)).out.splitlines()
    assert "worker  latched ms  in flight  drained ms  left" in lines
    assert "pod-1         40.3          1        41.5     0" in lines
    assert "pod-2            -          -           -     -" in lines


def test_the_picture_marks_the_kill_and_the_bound(capsys):
    lines = told(capsys, EVENTS[-2]).out.splitlines()
    pods = next(line for line in lines if line.startswith("pods"))
    control = next(line for line in lines if line.startswith("control"))
    marks = next(line for line in lines if "bound" in line and "^" in line)
    assert pods == "pods             ########|" + "#" * 35 + "." * 9 + "|........"
    assert control.count("#") == 60
    assert [at for at, sign in enumerate(marks) if sign == "^"] == [
        at for at, sign in enumerate(pods) if sign == "|"
    ]


@pytest.mark.parametrize("columns", range(20))
def test_a_bound_close_to_the_call_does_not_run_into_its_caption(capsys, columns):
    close = msgspec.structs.replace(PICTURE, bound=PICTURE.called + columns)
    judged = events.Judged(revoke_act(OUTCOME, FIGURES), FIGURES, close, ())
    lines = told(capsys, judged).out.splitlines()
    marks = next(line for line in lines if "^" in line)
    assert "^ golive revoke" in marks
    assert "revoke^" not in marks
    assert ("^ bound" in marks) == (columns > 15)


def test_a_fault_is_told_and_the_verdict_says_so(capsys):
    out = told(capsys, *EVENTS[-2:]).out
    assert "fault            pod-4 was not denied 40 of 50 times afterwards\n" in out
    assert "verdict          NOT PROVED\n" in out
    assert out.endswith("NOT OK  28 s; every process is stopped, every file removed\n")


def test_with_json_only_faults_are_told_and_not_on_stdout(capsys):
    streams = told(capsys, *EVENTS, as_json=True)
    assert streams.out == ""
    assert streams.err == "pod-4 was not denied 40 of 50 times afterwards\n"


def shape(line: str) -> str:
    """A line with its figures, reasons and pictures made equal; where a bound is marked varies."""
    line = re.sub(r"(?<= )[#.|]{8,}", "PICTURE", line).replace(" ^ bound", "")
    line = re.sub(r"\d+(\.\d+)?", "N", line)
    return " ".join(re.sub(r"\((revoked|lapsed)\)", "(REASON)", line).split())


def test_what_the_readme_shows_of_it_is_what_it_says(capsys):
    """Here shortened, as it says there: each of its lines is one of these, in this order."""
    killed, frozen = (
        events.Judged(outage_act(name, 2500, FIGURES), FIGURES, PICTURE, ())
        for name in ("heartbeat-killed", "server-frozen")
    )
    done = events.Finished(DemoResult([], ok=True), 25_000.0)
    told_of = (
        EVENTS[2], *EVENTS[5:10], events.Traded(596), EVENTS[10], killed,
        EVENTS[12], events.Traded(531), EVENTS[13], frozen, done,
    )  # fmt: skip
    lines = [shape(line) for line in told(capsys, *told_of).out.splitlines()]
    page = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    (block,) = re.findall(r"<!-- demo output -->\n```text\n(.*?)```", page, re.DOTALL)
    at = 0
    for line in filter(None, map(shape, block.splitlines())):
        assert line in lines[at:], line
        at = lines.index(line, at) + 1
    assert max(map(len, block.splitlines())) <= 80
