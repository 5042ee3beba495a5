"""`examples/verify-node/verify.mjs` and `golive audit verify` say the same of an export, offline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from golive_redis.operator import keysets
from golive_redis.records.keyset import parse_keyset
from golive_redis.testing import EVERYBODY, START_MS, Signers
from golive_redis.testing.server import EmbeddedServer
from kit import nodejs
from kit.ledgers import CLI, Book, chained, day

Audited = Any  # the `audited` fixture's class: test modules cannot import a conftest
ROOTED = {**EVERYBODY, "omar": ("root",), "ruth": ("root",)}
NOWHERE = "redis://127.0.0.1:1/0"


def in_json(folder: Path, name: str = "keyset.json") -> Path:
    """The keyset of a folder as the page says to write it for Node."""
    path = folder / name
    value = yaml.safe_load((folder / "config" / "keyset.yaml").read_text())
    path.write_text(json.dumps(value, default=str))
    return path


def of_golive(audited: Audited, file: Path, *words: str | Path) -> tuple[int, Any]:
    done = audited(
        "audit", "verify", "--file", file, *words, "--json", cwd="/", GOLIVE_REDIS_URL=NOWHERE
    )
    found = json.loads(done.stdout)
    if "result" not in found:  # an empty file: an error, not a verdict
        return done.returncode, None
    broken = found["broken"] or {"index": None, "rule": None}
    return done.returncode, (found["result"], broken["index"], broken["rule"], found["anchored"])


def of_node(node: str, file: Path, *words: str | Path) -> tuple[int, Any]:
    done = nodejs.run(node, "verify.mjs", file, *words, "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    if found["namespace"] == "-":
        return done.returncode, None
    told = found["verdict"], found.get("index"), found.get("rule"), found["remembered"]
    return done.returncode, told


def both(audited: Audited, node: str, file: Path, *words: str | Path) -> Any:
    """Their one verdict."""
    ours, theirs = of_golive(audited, file, *words), of_node(node, file, *words)
    assert ours == theirs
    return ours


@pytest.fixture
def book(server: EmbeddedServer) -> Book:
    made = day(CLI)
    with server.client() as client:
        made.put(client)
    return made


def exported(audited: Audited, name: str = "ledger.jsonl") -> Path:
    done = audited("audit", "export", "--out", name)
    assert done.returncode == 0, done.stderr
    return audited.folder / name


def test_both_say_the_same_of_a_good_ledger(audited: Audited, book: Book, node: str):
    file, keyset = exported(audited), ("--keyset", in_json(audited.folder))
    count, end = len(book.entries), book.entries[-1].head
    assert both(audited, node, file, *keyset) == (0, ("CONSISTENT", None, None, None))
    for head, remembered in ((end, count), (book.entries[3].head, 4)):
        found = both(audited, node, file, *keyset, "--head", head)
        assert found == (0, ("VERIFIED", None, None, remembered))
    assert both(audited, node, file, *keyset, "--head", "f" * 64) == (
        5, ("NOT VERIFIED", count, "V14", None),
    )  # fmt: skip
    said = nodejs.run(node, "verify.mjs", file, *keyset, "--head", end)
    assert said.stdout.splitlines() == [
        f"{count} entries",
        f"VERIFIED testnet (golive) up to entry {count - 1}, which the head that you kept remembers",
        f"keep this head apart from the file: {end}",
    ]


def test_both_name_the_same_line_of_an_export_that_was_changed(
    audited: Audited, book: Book, node: str
):
    keyset = ("--keyset", in_json(audited.folder))
    lines = exported(audited).read_bytes().splitlines(keepends=True)
    shown = json.loads(lines[3])

    def line(**changes: Any) -> bytes:
        return json.dumps({**shown, **changes}).encode() + b"\n"

    changes = {
        "another reason in clear": (
            3, "V1", [*lines[:3], lines[3].replace(b'"reason":"test"', b'"reason":"fine"'), *lines[4:]],
        ),
        "another time in clear": (
            3, "V1", [*lines[:3], line(at="2020-01-01 00:00:00.000"), *lines[4:]],
        ),
        "a line lost": (3, "V1", [*lines[:3], *lines[4:]]),
        "the first line lost": (0, "V2", lines[1:]),
        "a line twice": (4, "V1", [*lines[:4], lines[3], *lines[4:]]),
        "a line of nothing": (4, "V1", [*lines[:4], b"\n", *lines[4:]]),
        "torn in the middle": (len(lines) - 1, "V1", [*lines[:-1], lines[-1][:200]]),
        "a member more": (3, "V1", [*lines[:3], line(x=1), *lines[4:]]),
        "true where 0 was signed": (
            1, "V1", [lines[0], lines[1].replace(b'drops_up_to":0', b'drops_up_to":false'), *lines[2:]],
        ),
    }  # fmt: skip
    for name, (index, rule, changed) in changes.items():
        file = audited.folder / "changed.jsonl"
        file.write_bytes(b"".join(changed))
        if changed == lines:
            pytest.fail(f"{name} changes nothing")
        code, (word, *found, _) = both(audited, node, file, *keyset)
        assert (name, code, word, found) == (name, 5, "NOT VERIFIED", [index, rule])
    file.write_bytes(b"".join(lines)[:-1])  # only the last end of a line
    assert both(audited, node, file, *keyset)[0] == 0
    file.write_bytes(b"")
    assert both(audited, node, file, *keyset) == (5, None)


def test_node_reads_what_keys_draft_and_keys_take_write(
    audited: Audited, node: str, server: EmbeddedServer
):
    """And the entries of each version are judged by its own keyset."""
    one, two = (Signers(ROOTED, environment="testnet", version=version) for version in (1, 2))
    first = Book(one)
    first.activate()
    first.halt()
    second = Book(two, first.at_ms)
    second.epoch, second.term, second.prev = first.epoch, first.term, first.prev
    second.resume()
    second.revoke()
    entries = chained([*first.entries, *second.entries])
    (audited.folder / "config" / "keyset.yaml").write_text(json.dumps(one.keyset_file))
    old = in_json(audited.folder, "keyset-1.json")
    draft, taken = audited.folder / "keyset-2.json", audited.folder / "keyset.yaml"
    keysets.write(draft, keysets.new_draft(one.trust, two.keyset, by="ruth", now_ms=START_MS))
    taken.write_bytes(keysets.text_of([two.keyset]))
    with server.client() as client:
        first.entries = entries
        first.put(client)
    file = exported(audited)
    good = ("CONSISTENT", None, None, None)
    assert of_golive(audited, file, "--keyset", old, "--keyset", taken) == (0, good)
    for newer in (draft, taken):
        assert of_node(node, file, "--keyset", old, "--keyset", newer) == (0, good)
    assert both(audited, node, file, "--keyset", old) == (
        5, ("NOT VERIFIED", len(first.entries) - 2, "V3", None),
    )  # fmt: skip
    assert both(audited, node, file, "--keyset", taken)[1][1:3] == (0, "V3")


def test_what_node_cannot_use_is_an_error_and_no_verdict(
    audited: Audited, book: Book, node: str, tmp_path: Path
):
    file, keyset = exported(audited), in_json(audited.folder)
    other = tmp_path / "other.json"
    other.write_text(
        json.dumps({**json.loads(keyset.read_text()), "fleet": "e" * 32, "version": 2})
    )
    assert parse_keyset(json.loads(other.read_text())).version == 2
    yaml_file = tmp_path / "keyset.yaml"
    yaml_file.write_text("version: 1\n")
    gone = tmp_path / "gone"
    for words, says in (
        ((), "usage: node verify.mjs"),
        ((file,), "usage: node verify.mjs"),
        ((file, "--keyset", keyset, "--head", "x"), "--head is 64 hex digits"),
        ((file, "--keyset", keyset, "--what"), "usage: node verify.mjs"),
        ((gone, "--keyset", keyset), "no such file"),
        ((file, "--keyset", gone), "no such file"),
        ((file, "--keyset", yaml_file), "keyset.yaml is no keyset"),
        ((file, "--keyset", keyset, "--keyset", keyset), "two keysets of version 1"),
        ((file, "--keyset", keyset, "--keyset", other), "of different fleets"),
    ):
        done = nodejs.run(node, "verify.mjs", *words)
        assert (done.returncode, done.stdout) == (6, ""), words
        assert says in done.stderr
    assert nodejs.run(node, "verify.mjs", "--help").stdout.startswith("usage: node verify.mjs")
