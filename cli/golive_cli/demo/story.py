"""The demo in words, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from golive_cli.demo import events
from golive_cli.demo.events import Act, Event
from golive_cli.demo.result import RevokeAct
from golive_cli.demo.verdict import Timeline
from golive_cli.output import Output, Painted, Piece
from golive_redis.core.barrier import WorkerRow

WIDTH = 80
LABEL = 17

_TITLES = {
    Act.REVOKE: "Act 1: revoke",
    Act.HEARTBEAT_KILLED: "Act 2: kill -9 the heartbeat",
    Act.SERVER_FROZEN: "Act 3: freeze the server (SIGSTOP)",
}
_CALLS = {
    Act.REVOKE: "golive revoke",
    Act.HEARTBEAT_KILLED: "kill -9",
    Act.SERVER_FROZEN: "kill -STOP",
}


class Story:
    """Tells the events of the demo on an output.

    Args:
        out: Where; as JSON it says nothing.
    """

    def __init__(self, out: Output) -> None:
        self._out = out
        self._act = Act.REVOKE

    def tell(self, event: Event) -> None:
        """Tell one event."""
        match event:
            case events.FleetStarted():
                self._fleet_started(event)
            case events.DefaultOff():
                self._default_off(event)
            case events.ActStarted():
                self._act_started(event)
            case events.ActivationRefused() | events.Edited():
                self._gate(event)
            case events.Activated():
                self._activated(event)
            case events.Traded():
                self._say("trading", f"the venue accepted {event.accepted} orders of the pods")
            case events.Revoked():
                self._revoked(event)
            case events.Killed():
                self._killed(event)
            case events.Judged():
                self._judged(event)
            case events.Repaired():
                self._repaired(event)
            case events.Finished():
                self._finished(event)

    # -- before ------------------------------------------------------------------------------------

    def _fleet_started(self, event: events.FleetStarted) -> None:
        pods = f"{event.pods[0]} to {event.pods[-1]}"
        self._say("server", f"{event.server} on 127.0.0.1:{event.server_port}")
        self._say("heartbeat", f"{event.heartbeat}, a signed beat every {_s(event.beat_every_ms)}")
        self._say("workers", f"{pods}, each asks its guard {event.rate_per_s:.0f} times a second")
        self._say("control", "a worker without a guard: while it trades, the venue is open")
        self._say("venue", f"127.0.0.1:{event.venue_port}, the witness: it stamps what it accepts")
        if event.saboteur is not None:
            self._say("sabotage", f"{event.saboteur} will not obey its guard", colour="red")

    def _default_off(self, event: events.DefaultOff) -> None:
        denied = f"{event.denied} denied ({_listed(event.reasons)})"
        control = f"control traded {event.control_accepted}"
        self._say("default off", f"{event.attempts} orders tried, {denied}; {control}")
        if event.accepted:
            self._fault(f"the venue accepted {event.accepted} guarded orders before any activation")

    # -- the acts ----------------------------------------------------------------------------------

    def _act_started(self, event: events.ActStarted) -> None:
        self._act = event.act
        title = f"-- {_TITLES[event.act]} "
        self._out.line()
        self._out.line(Painted(title.ljust(WIDTH, "-"), "bold"))

    def _gate(self, event: events.ActivationRefused | events.Edited) -> None:
        name = event.config.name
        if isinstance(event, events.ActivationRefused):
            refusal = event.message.replace(str(event.config), name)
            self._say("golive activate", f"refused: {refusal}")
        else:
            self._say(name, f"- {event.before}", colour="red")
            self._say("", f"+ {event.after}", colour="green")

    def _activated(self, event: events.Activated) -> None:
        if self._act is Act.REVOKE:  # the others would only repeat it
            for found in event.findings:
                version = found.facts.get("version", found.check)
                self._say("preflight", f"{found.outcome}, {version}: {found.explain}")
        self._say(
            "golive activate",
            f"term {event.term} signed by {event.by}, {event.armed} pods armed "
            f"after {_s(event.took_ms)}",
        )

    def _revoked(self, event: events.Revoked) -> None:
        report, outcome = event.report, event.report.outcome
        gone = f"; the key was gone after {report.in_redis_ms:.0f} ms" if report.in_redis_ms else ""
        by = f" by {outcome.by} after {event.took_ms:.0f} ms" if outcome.by else ""
        colour = "green" if outcome.settled else "red"
        self._say("golive revoke", f"{outcome.result}{by}{gone}", colour=colour)
        headers = ("worker", "latched ms", "in flight", "drained ms", "left")
        rows = [(row.pod.worker, *_cells(row, headers[1:])) for row in outcome.workers]
        self._out.line()
        self._out.table(headers, rows)
        self._out.line()

    def _killed(self, event: events.Killed) -> None:
        whom = "the server" if event.act is Act.SERVER_FROZEN else "the heartbeat"
        bound = f"everything must be off within {_s(event.bound_ms)}"
        self._say(_CALLS[event.act], f"{whom}, pid {event.pid}: {bound}")

    def _judged(self, event: events.Judged) -> None:
        act, counted = event.act, event.figures
        if isinstance(act, RevokeAct):
            last = f"{act.last_accept_after_revoke_ms:.1f} ms after the call"
            after = f"{act.accepted_after_complete} after COMPLETE"
        else:
            last = f"{_s(act.all_off_ms, 2)} after the kill"
            after = f"{act.accepted_after_bound} after the bound"
        self._say("the venue", f"last guarded order {last}, {after}")
        denied = f"{sum(counted.reasons.values())} denied ({_listed(counted.reasons)})"
        control = f"control traded {counted.control_accepted_after}"
        self._say("afterwards", f"{counted.attempts_after} orders tried, {denied}; {control}")
        self._out.line()
        for line in _picture(event.timeline, _CALLS[Act(act.name)]):
            self._out.line(*line)
        self._out.line()
        for fault in event.faults:
            self._fault(fault)
        self._say("verdict", *(("NOT PROVED", "red") if event.faults else ("proved", "green")))

    def _repaired(self, event: events.Repaired) -> None:
        outcome = event.report.outcome
        text = f"{outcome.result} by {outcome.by}; {event.heartbeat} restarted"
        self._say("golive revoke", f"--heartbeat-dead {event.heartbeat}: {text}")

    def _finished(self, event: events.Finished) -> None:
        ok = event.result.ok
        self._out.line()
        self._out.line(
            Painted("ok" if ok else "NOT OK", "green" if ok else "red"),
            f"  {event.took_ms / 1000:.0f} s; every process is stopped, every file removed",
        )

    def _fault(self, text: str) -> None:
        if self._out.as_json:  # the object has no place for it, and its reader wants to know
            self._out.note(text)
        self._say("fault", text, colour="red")

    def _say(self, label: str, text: str, colour: str = "") -> None:
        for line in wrap(text, WIDTH - LABEL, break_on_hyphens=False):
            self._out.line(
                Painted(label.ljust(LABEL), "dim"), Painted(line, colour) if colour else line
            )
            label = ""


def _picture(seen: Timeline, call: str) -> Iterator[list[Piece]]:
    """Draw who was accepted when: a column is a step of time, `#` at least one accept."""
    # The bound of a stop by receipts is where its call is: one mark says both.
    apart = seen.bound - seen.called > len(call) + 2
    marks = [seen.called, seen.bound] if apart else [seen.called]
    for name, counts, colour in (("pods", seen.pods, "green"), ("control", seen.control, "blue")):
        pieces: list[Piece] = [name.ljust(LABEL)]
        start = 0
        for end in (*marks, len(counts)):
            text = "".join("#" if count else "." for count in counts[start:end])
            pieces += [Painted(text, colour), "|"] if end in marks else [Painted(text, colour)]
            start = end
        yield pieces
    captions = dict(zip(marks, (call, "bound"), strict=False))
    line = f"1 column: {seen.step_ms:.0f} ms"
    for number, (mark, caption) in enumerate(captions.items()):
        line = line.ljust(LABEL + mark + number) + f"^ {caption}"
    yield [Painted(line, "dim")]


def _s(duration_ms: float, digits: int = 1) -> str:
    return f"{duration_ms / 1000:.{digits}f} s"


def _cells(row: WorkerRow, headers: Sequence[str]) -> Iterator[str]:
    """Right-align the figures of a receipt under their headers; a dash is an unknown value."""
    times = (None if ms is None else f"{ms:.1f}" for ms in (row.latched_ms, row.drained_ms))
    latched, drained = times
    for header, value in zip(headers, (latched, row.in_flight, drained, row.left), strict=True):
        yield ("-" if value is None else str(value)).rjust(len(header))


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(sorted(reasons)) or "no reason"
