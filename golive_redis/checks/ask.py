"""Questions are asked: the source fetches a value, the expectation judges it, a finding says both."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import msgspec

from golive_redis import clock
from golive_redis.checks.expectation import Judgement, judge, shown
from golive_redis.checks.parallel import Work, said_by, side_by_side
from golive_redis.checks.parse import time_ms
from golive_redis.checks.question import WORKERS, Question, Several
from golive_redis.checks.runner import Check
from golive_redis.checks.secrets import secrets_of
from golive_redis.checks.source import Fetched, Surroundings
from golive_redis.masking import masked
from golive_redis.records.record import wording
from golive_redis.records.report import Finding, Outcome

# Beyond the longest deadline: for the threads, and to import a library at the first question.
GRACE_MS = 2_000
# Of a deadline for the source, so that it can end what it started, and say itself what was late.
SHARE = 0.9
MAX_FACT, MAX_FACT_NAME = 200, 64


def ask(question: Question, where: Surroundings) -> Fetched:
    """Fetch the value that a question is about.

    Raises:
        UnansweredError: There is none, or none that could be judged.
        Exception: Whatever a library raises; it may name secrets, which `finding` masks. Fails
            closed: all of it is unknown.
    """
    source = _source(question.kind)
    fetched: Fetched = source.fetch(question.source, where, SHARE * question.deadline_ms)
    if question.newer_than is None:
        return fetched
    value = fetched.value
    if isinstance(value, str):  # what is not a time is said, cut short
        value = masked(value, secrets_of(question.source, where.environ))
    return msgspec.structs.replace(
        fetched,
        value=None if value is None else time_ms(value),
        series={name: time_ms(value) for name, value in fetched.series.items()},
    )


def _source(kind: str) -> Any:
    """Return the module of a source, imported when the first question needs it."""
    return import_module(f"golive_redis.checks.sources.{kind}")


def check(name: str, questions: Sequence[Question], where: Surroundings) -> Check:
    """Return a check that the runner can run."""
    longest_ms = max((question.deadline_ms for question in questions), default=0)
    return Check(lambda: finding(name, questions, where), longest_ms + GRACE_MS)


def finding(name: str, questions: Sequence[Question], where: Surroundings) -> Finding:
    """Ask all questions of a check side by side; it passes when each of them does.

    A question that fails makes it `fail`, else one that is unknown makes it `unknown`. No questions
    are no evidence: unknown.
    """
    began_ms = clock.now_ms()
    for kind in {question.kind for question in questions}:
        _source(kind)  # before a deadline runs
    works = [
        Work(f"{name}-{at}", partial(_answer, question, where), float(question.deadline_ms))
        for at, question in enumerate(questions, 1)
    ]
    answers: dict[int, _Answer] = {}
    for at, result in side_by_side(works):
        answers[at] = (
            result if isinstance(result, _Answer) else _unanswered(questions[at], where, result)
        )
    return _summed(name, [answers[at] for at in range(len(works))], clock.now_ms() - began_ms)


class _Answer(msgspec.Struct, frozen=True):
    """One question answered: what was seen, without secrets."""

    kind: str
    judgement: Judgement
    expected: str
    value: str = ""
    facts: dict[str, str] = {}
    took_ms: float = 0

    @property
    def severity(self) -> int:
        """What decides over a check: fail before unknown before pass."""
        return self.judgement.outcome.severity

    @property
    def is_notable(self) -> bool:
        """Whether a person should read it although others may decide."""
        return self.judgement.outcome is not Outcome.PASS or self.judgement.warning


def _answer(question: Question, where: Surroundings) -> _Answer:
    began_ms = clock.now_ms()
    fetched = ask(question, where)
    took_ms = clock.now_ms() - began_ms
    secrets = secrets_of(question.source, where.environ)
    judgement, value = _judged(question, fetched, secrets)
    return _Answer(
        question.called,
        judgement,
        str(question),
        value,
        {fact: masked(text, secrets) for fact, text in fetched.facts.items()},
        took_ms,
    )


def _judged(question: Question, fetched: Fetched, secrets: Sequence[str]) -> tuple[Judgement, str]:
    """Judge the value; of several series the one that decides."""
    now_ms = clock.wall_ms()
    value = fetched.value
    if not fetched.series:
        found = judge(question, value, now_ms=now_ms)
        hidden = masked(value, secrets) if isinstance(value, str) else value
        if hidden != value:  # before it is cut short: half a secret could not be found any more
            explain = judge(question, hidden, now_ms=now_ms).explain
            found = msgspec.structs.replace(found, explain=explain)
        if fetched.who:
            who = masked(fetched.who, secrets)
            found = msgspec.structs.replace(found, explain=f"{found.explain} ({who})")
        return found, shown(hidden)
    decides = min if question.prometheus and question.prometheus.series is Several.ANY else max
    judged = {name: judge(question, value, now_ms=now_ms) for name, value in fetched.series.items()}
    name = decides(judged, key=lambda each: judged[each].outcome.severity)
    explain = masked(f"{judged[name].explain}: {name}", secrets)
    return msgspec.structs.replace(judged[name], explain=explain), shown(fetched.series[name])


def _unanswered(question: Question, where: Surroundings, error: BaseException) -> _Answer:
    text = masked(said_by(error), secrets_of(question.source, where.environ))
    return _Answer(question.called, Judgement(Outcome.UNKNOWN, text), str(question))


def _all_pass(name: str, answers: Sequence[_Answer]) -> str:
    count = next((a.facts["workers"] for a in answers if "workers" in a.facts), None)
    if name != WORKERS or count is None:
        return f"{len(answers)} of {len(answers)} questions pass"
    return f"{count} of {count} workers run one version and this configuration"


def _summed(name: str, answers: Sequence[_Answer], took_ms: float) -> Finding:
    if not answers:
        return Finding(check=name, outcome=Outcome.UNKNOWN, explain="no question is configured")
    worst = max(answers, key=lambda answer: answer.severity)
    value, expected, explain = worst.value, worst.expected, worst.judgement.explain
    facts = worst.facts
    if len(answers) > 1:
        labels = [f"{at} {answer.kind}" for at, answer in enumerate(answers, 1)]
        notable = [
            f"{label}: {answer.judgement.explain}"
            for label, answer in zip(labels, answers, strict=True)
            if answer.is_notable
        ]
        explain = "; ".join(notable) or _all_pass(name, answers)
        facts = {
            label: f"{answer.value}, wanted {answer.expected}, {answer.took_ms:.0f} ms"
            for label, answer in zip(labels, answers, strict=True)
        }
        if worst.severity == 0:
            value, expected = f"{len(answers)} of {len(answers)}", "all"
    return Finding(
        check=name,
        outcome=worst.judgement.outcome,
        explain=wording(explain),
        facts={fact[:MAX_FACT_NAME]: wording(text)[:MAX_FACT] for fact, text in facts.items()},
        took_ms=int(took_ms),
        value=value,
        expected=expected,
        warning=worst.severity == 0 and any(answer.judgement.warning for answer in answers),
    )
