"""Every command on the pages that people follow runs, in order, and prints what the page shows."""

from __future__ import annotations

import re

import pytest

# As in conftest.py, which is asked whether it has the same.
PAGES = [
    "README.md",
    "docs/tutorial/first-fleet.md",
    "docs/OPERATOR_MANUAL.md",
    "docs/GO_LIVE_ROLLBACK.md",
    "docs/how-to/operate.md",
    "docs/how-to/guard-your-bot.md",
    "docs/how-to/troubleshoot.md",
    "docs/how-to/audit.md",
    "docs/how-to/report.md",
]
NOT_RUN = {
    "README.md": ["python3 -m venv .venv && . .venv/bin/activate", "pip install ."],
    "docs/tutorial/first-fleet.md": [
        "python3 -m venv .venv && . .venv/bin/activate",
        "pip install .",
    ],
    "docs/how-to/operate.md": ["golive keys new bob --role approver"],
}

# Whoever follows these is in a hurry, so what stands in their tables and sentences is run, too.
HURRIED = ["docs/OPERATOR_MANUAL.md", "docs/GO_LIVE_ROLLBACK.md"]


# Each on a fleet of its own.
@pytest.mark.session
@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_a_session_that_really_runs(session, docs, page):
    commands = sum(
        len(docs.steps(block))
        for path in docs.all
        for block in docs.blocks(path)
        if str(path).endswith(f"/{page}") and block.language == "console" and block.run
    )
    assert commands > 10
    assert session(page) == commands


def test_no_other_page_shows_a_session_and_little_is_left_out(docs, session_pages):
    assert session_pages == PAGES
    left_out: dict[str, list[str]] = {}
    for page in docs.all:
        name = str(page).partition("/docs/")[2]
        name = f"docs/{name}" if name else page.name
        for block in docs.blocks(page):
            if block.language != "console":
                assert block.run
                continue
            assert name in PAGES
            if not block.run:
                left_out[name] = [step.command for step in docs.steps(block)]
    assert left_out == NOT_RUN


@pytest.mark.parametrize("page", HURRIED)
def test_every_command_in_the_sentences_of_the_page_is_one_that_is_run(docs, page):
    def anonymous(command: str) -> str:
        return " ".join(re.sub(r'"[^"]*"', '"WHY"', command).split())

    (path,) = (path for path in docs.all if str(path).endswith(f"/{page}"))
    sessions = [block for block in docs.blocks(path) if block.language == "console"]
    run = [anonymous(step.command) for block in sessions for step in docs.steps(block)]
    named = {anonymous(code) for code in re.findall(r"`(golive [^`]+)`", path.read_text())}
    assert len(named) > 3
    for command in named:
        assert any(command in line for line in run), command
