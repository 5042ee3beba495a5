"""What a preflight prints: a line for each finding, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from golive_cli.output import Output, Painted, Piece
from golive_cli.results import FindingResult

if TYPE_CHECKING:
    from golive_redis.records.report import Finding

COLOURS = {"pass": "green", "fail": "red", "unknown": "yellow"}


class FindingLines:
    """Shows findings on a terminal as they come; elsewhere once all are there, in their order.

    Args:
        out: Where to.
        title: Of the last line, which counts them.
    """

    def __init__(self, out: Output, title: str) -> None:
        self._out = out
        self._title = title
        self._shown = False

    def told(self, item: Finding) -> None:
        """Take in one finding; called by one thread at a time."""
        if self._out.terminal:
            self._shown = True
            self._out.line(*_line(item))

    def verdict(self, findings: Sequence[Finding]) -> bool:
        """Print what it amounts to; tell whether all have passed."""
        if not self._shown:  # no terminal, or findings of a report file
            for item in findings:
                self._out.line(*_line(item))
        passed = sum(item.outcome == "pass" for item in findings)
        if findings:
            self._out.line(f"{self._title}: {passed} passed, {len(findings) - passed} failed")
        return passed == len(findings)


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
