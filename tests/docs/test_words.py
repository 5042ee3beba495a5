"""Words, keys, numbers and messages in the documents are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from golive_cli.exits import Exit
from golive_redis.core.barrier import Result
from golive_redis.core.incidents import What
from golive_redis.core.permit import EXPLAIN, Intent, Phase, Reason
from golive_redis.core.timing import TIMINGS
from golive_redis.guard.guard import Health
from golive_redis.records.directive import GrantKind, Label, Mode, Profile, RestrictionKind
from golive_redis.records.keyset import Role
from golive_redis.records.ledger import TOPICS, Note
from golive_redis.records.receipt import Durable, Stage
from golive_redis.store.keyspace import PRESENCE_MS

ROOT = Path(__file__).resolve().parents[2]
KEYS = "docs/reference/redis-keys.md"


def test_every_reason_has_a_section_with_its_sentence_and_what_to_do(docs):
    text = docs.read("docs/reference/reasons.md")
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [str(reason) for reason in Reason]
    for reason, section in sections.items():
        assert section.startswith(f"\n`{EXPLAIN[Reason(reason)]}`\n\n")
        assert "What to do: " in section


def test_the_glossary_has_every_word_of_the_code(docs):
    text = docs.read("docs/reference/glossary.md")
    for words in (Mode, Label, Profile, GrantKind, RestrictionKind, Stage, Durable, Intent):
        for word in words:
            assert f"`{word}`" in text
    for words in (Phase, Role, Result):
        for word in words:
            assert f"| **{word}** |" in text


def patterns(docs) -> dict[str, tuple[str, str]]:
    """Type and TTL of each key on the page, by a pattern for its name."""
    found = {}
    for key, kind, ttl, _ in docs.table(KEYS, "Keys in Redis"):
        pattern = re.escape(key.strip("`"))
        for word, form in {
            "DIRECTIVE": "[0-9a-f]{64}",
            "INSTANCE": "[0-9a-f]{32}",
            "NAME": "[^:]+",
            "ID": "[^:]+",
        }.items():
            pattern = pattern.replace(f":{word}", f":{form}")
        found[pattern] = kind, ttl
    return found


@pytest.mark.session
def test_the_keys_in_redis_are_those_on_the_page(docs, every_command):
    page, seen = patterns(docs), set()
    for key, (kind, ttl_ms, _) in every_command.keys.items():
        pattern = next((p for p in page if re.fullmatch(p, key)), None)
        assert pattern, f"{key} is not on the page"
        seen.add(pattern)
        assert page[pattern][0] == kind, key
        assert (page[pattern][1] == "none") == (ttl_ms == -1), key
    assert seen | {r"golive:preflight"} == set(page)


@pytest.mark.session
def test_the_fields_of_the_keys_are_those_on_the_page(docs, every_command):
    rows = {row[0].strip("`").split(":")[1]: row[1] for row in docs.table(KEYS, "Fields")}
    for key, (_, _, fields) in every_command.keys.items():
        name = key.split(":")[1]
        if name in rows:
            named = re.sub(r"\([^()]*\)", "", rows[name])  # what the fields mean, in brackets
            listed = set(re.findall(r"`([a-z_]+|r:EPOCH)`", named))
            real = {"r:EPOCH" if field.startswith("r:") else field for field in fields}
            assert real <= listed, key
    seen = {
        name: set().union(
            *(f for k, (_, _, f) in every_command.keys.items() if k.split(":")[1] == name)
        )
        for name in rows
    }
    assert seen["revoked"] == {"epoch", "record", "id", "origin", "confirmed"}
    assert seen["active"] > {"term", "epoch", "last", "grant", "origin"}


def test_the_page_of_keys_names_the_life_of_presence(docs):
    assert f"| {PRESENCE_MS // 1000} s, renewed at each read |" in docs.read(KEYS)


def test_the_timers_of_the_readme_are_the_real_ones(docs):
    rows = docs.table("README.md", "Timers")
    for words, standard, tight in rows:
        name = re.findall(r"`(\w+)`", words)[-1]
        for shown, which in ((standard, "standard"), (tight, "tight")):
            assert float(shown.removesuffix(" s")) * 1000 == getattr(TIMINGS[which], name)
    assert len(rows) == 5


def test_bounds_in_the_text_are_those_of_the_standard_timers(docs):
    standard = TIMINGS["standard"]
    for page, words in {
        "docs/explanation/how-it-stays-safe.md": f"the bound of {standard.lease_ms / 1000} seconds",
        "README.md": f"a failover of up to {standard.failover_ms // 1000} seconds",
        "docs/tutorial/first-fleet.md": f"more than {standard.beat_ms / 1000} seconds",
        "docs/tutorial/first-fleet.md ": f"After {standard.ttl_ms // 1000} seconds without a beat",
        "docs/how-to/guard-your-bot.md": f"`drain_ms` ({standard.drain_ms // 1000} s)",
        "docs/how-to/operate.md": f"(`ttl_ms`, {standard.ttl_ms // 1000} s)",
    }.items():
        assert words in " ".join(docs.read(page.strip()).split())


def test_every_field_of_health_is_explained(docs):
    rows = docs.table("docs/how-to/guard-your-bot.md", "Liveness and readiness")
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(Health.__struct_fields__)


def test_every_exit_code_that_a_page_names_exists_and_means_that(docs):
    found = []
    for page in docs.all:
        for code in re.findall(r"[Ee]xit(?:s|ed)?(?: codes?| with)? (\d+)", page.read_text()):
            found.append(int(code))
    assert set(found) <= {int(code) for code in Exit}
    assert len(found) >= 5
    rows = {row[0]: int(row[1]) for row in docs.table("docs/how-to/operate.md", "Stop everything")}
    assert rows == {
        "COMPLETE by receipts": Exit.DONE,
        "COMPLETE by time": Exit.DONE,
        "STOPPED": Exit.NOT_DRAINED,
        "STOPPED, drain unknown": Exit.NOT_DRAINED,
        "NOT CONFIRMED": Exit.NOT_CONFIRMED,
    }


def literals() -> str:
    """All text in the code, each sentence on one line: `{}` for what is filled in."""
    found = []
    for folder in ("golive_redis", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = [v.value if isinstance(v, ast.Constant) else "{}" for v in node.values]
                    found.append("".join(map(str, parts)))
    return "\n".join(found)


def test_the_messages_of_the_troubleshooting_tables_are_real_ones(docs):
    pages = "docs/how-to/troubleshoot.md", "docs/OPERATOR_MANUAL.md"
    text, code = "\n".join(map(docs.read, pages)), literals()
    tables = re.findall(r"^\| message \|.*\n\|[ -|]*\n((?:\|.*\n)*)", text, re.MULTILINE)
    assert len(tables) == 7
    checked = 0
    for row in "".join(tables).splitlines():
        for message in re.findall(r"`([^`]+)`", row.split("|")[1]):
            for piece in filter(None, (part.strip(" ,;:") for part in message.split("..."))):
                assert piece in code, f"{message}: nothing in the code says {piece!r}"
                checked += 1
    assert checked > 40


def test_no_message_sends_its_reader_to_a_page_that_is_not_installed():
    for folder in ("golive_redis", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text())
            docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    assert id(node) in docstrings or not re.search(r"docs/|\w\.md\b", node.value), (
                        path
                    )
    for path in (ROOT / "cli").rglob("*.yaml"):
        assert "docs/" not in path.read_text()


def test_the_legend_of_the_readme_has_its_ten_words(docs):
    assert [row[0].strip("*") for row in docs.table("README.md", "Ten words")] == (
        ["term", "epoch", "arm", "lapse", "latch", "drain", "receipt", "heartbeat", "halt", "fence"]
    )


def test_the_topics_of_notes_are_those_that_are_written(docs):
    rows = docs.table("docs/reference/records.md", "note")
    assert [row[0].strip("`") for row in rows] == [
        name for name in Note.__struct_fields__ if name in ("topic", "text", "facts")
    ]
    code = "".join(path.read_text() for path in (ROOT / "golive_redis").rglob("*.py"))
    topics = re.findall(
        r'(?:[._](?:note|signed)\(\s*(?:signer, )?|topic=|Account\()"([a-z-]+)"', code
    )
    page = (
        docs.read("docs/reference/records.md").partition("\n### note\n")[2].partition("\n### ")[0]
    )
    listed = dict(
        re.findall(
            r"^\| `([a-z]+-?[a-z-]*)` \| (?:as many )?(revoker|heartbeat|approver)(?:s as a grant)? \|",
            page,
            re.MULTILINE,
        )
    )
    assert listed == {topic: str(role) for topic, role in TOPICS.items()}
    assert {*topics, *map(str, What)} <= set(listed)


@pytest.mark.parametrize("goal", ["demo", "test"])
def test_the_two_commands_of_the_readme_are_goals_of_make(docs, goal):
    assert f"    make {goal} " in docs.read("README.md")
    assert re.search(rf"^{goal}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_first_screen_of_the_readme_has_what_it_must(docs):
    screen = "\n".join(docs.read("README.md").splitlines()[:45])
    assert "make demo" in screen
    assert "make test" in screen
    # A run of the demo is a test of its own; here only: what the lines begin with is what it says.
    shown = re.search(r"<!-- demo output -->\n```text\n(.*?)```", screen, re.DOTALL)
    assert shown
    code = literals()
    for line in shown[1].splitlines():
        label = re.split(r"  |: \d|: [a-z]| \(| -{3}", line.removeprefix("-- "))[0]
        assert label in code, line
    assert shown[1].count("-- Act ") == 3
