"""`golive doctor`: every check there is, and what is wrong with the server and with this host."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from golive_cli.exits import Exit
from golive_cli.findings import FindingLines, finding_results
from golive_cli.options import AsJson, ConfigFile
from golive_cli.output import Output, Painted, place
from golive_cli.results import DiagnosisResult, DoctorResult

if TYPE_CHECKING:
    from golive_redis.operator.doctor import Diagnosis

COLOURS = {"ok": "green", "warning": "yellow", "red": "red", "unknown": "yellow"}


def doctor(config: ConfigFile = None, as_json: AsJson = False) -> int:
    """Run every check there is, and examine the server and this host; changes nothing.

    Each finding says what was seen, why it matters and what mends it. Exits 1 when a check fails or a
    finding is red. Some findings take the login of an administrator, in $GOLIVE_REDIS_URL.
    """
    from golive_redis import config as configuration
    from golive_redis.operator import doctor as examining
    from golive_redis.operator import preflight
    from golive_redis.operator.findings import diagnose
    from golive_redis.operator.session import Operator, send_spool

    out = Output(as_json=as_json)
    # As whoever: being the user `default` is one of the findings.
    with Operator(configuration.load(config), takes_away=True) as operator:
        send_spool(operator, out.note)
        where = place(operator.trust.environment, operator.trust.namespace)
        lines = FindingLines(out, f"PREFLIGHT RESULTS in {where}")
        findings = preflight.run(operator, only=preflight.known(operator.config), told=lines.told)
        passed = lines.verdict(findings)
        found = diagnose(examining.examine(operator))
        trust = operator.trust
    red = any(item.level == "red" for item in found)
    out.result(
        DoctorResult(
            trust.environment,
            trust.namespace,
            passed and not red,
            finding_results(findings),
            [DiagnosisResult(d.name, d.level, d.seen, d.why, d.mend) for d in found],
        )
    )
    _show(out, found, where)
    return Exit.DONE if passed and not red else Exit.REFUSED


def _show(out: Output, found: list[Diagnosis], where: str) -> None:
    for item in found:
        out.line(
            Painted(item.level.upper().ljust(7), COLOURS[item.level]), f" {item.name}: {item.seen}"
        )
        if item.why:
            out.line(f"        why:  {item.why}")
            out.line(f"        mend: {item.mend}")
    counts = Counter(str(item.level) for item in found)
    said = ", ".join(f"{counts[level]} {level}" for level in COLOURS)
    out.line(f"FINDINGS in {where}: {said}")
