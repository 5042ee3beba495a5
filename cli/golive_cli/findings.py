"""The table of a preflight: each finding as it comes, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from golive_cli.output import Output, Painted, Piece
from golive_cli.results import FindingResult

if TYPE_CHECKING:
    from rich.live import Live

    from golive_redis.records.report import Finding

COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}
HEADERS = ["", "check", "value", "wanted", "ms", "why"]


class FindingTable:
    """Shows findings as they come, in a table that grows on a terminal; elsewhere once all are there.

    Args:
        out: Where to.
        title: Of the last line, which counts them.
    """

    def __init__(self, out: Output, title: str) -> None:
        self._out = out
        self._title = title
        self._rows: list[list[Piece]] = []
        self._live: Live | None = None
        self._drawn = False

    def told(self, item: Finding) -> None:
        """Take in one finding; called by one thread at a time."""
        self._rows.append(_row(item))
        if self._live is not None:
            self._drawn = True
            self._live.update(self._out.drawing(HEADERS, self._rows), refresh=True)

    def verdict(self, findings: Sequence[Finding]) -> bool:
        """Print what it amounts to; tell whether all have passed."""
        self._stop()
        if not self._drawn:  # no live table, or findings of a report file
            for item in findings:
                self._out.line(*_line(item))
        passed = sum(item.outcome == "pass" for item in findings)
        if findings:
            self._out.line(f"{self._title}: {passed} passed, {len(findings) - passed} failed")
        return passed == len(findings)

    def __enter__(self) -> FindingTable:
        if self._out.terminal and not self._out.as_json:
            self._live = self._out.live()
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def _row(item: Finding) -> list[Piece]:
    return [
        Painted(item.outcome.upper(), COLOURS[item.outcome]),
        item.check,
        item.value,
        item.expected,
        str(item.took_ms),
        item.explain if item.outcome != "pass" or item.warning else "",
    ]


def _line(item: Finding) -> list[Piece]:
    verdict = Painted(item.outcome.upper().ljust(7), COLOURS[item.outcome])
    return [verdict, f" {item.check} ({item.took_ms} ms): {item.explain}"]


def finding_results(findings: Sequence[Finding]) -> list[FindingResult]:
    """Return findings as `--json` shows them."""
    return [
        FindingResult(
            item.check,
            item.outcome,
            item.explain,
            dict(item.facts),
            item.took_ms,
            item.value,
            item.expected,
            item.warning,
        )
        for item in findings
    ]
